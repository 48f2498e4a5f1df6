//! Serialises numbers with as many decimals as their unit deserves, which halves the file.

use serde::{Serialize, Serializer};

/// `x` with `decimals` decimals; never -0. The nearest f32 prints as that decimal number.
fn round(x: f32, decimals: usize) -> f32 {
    let scale = SCALES[decimals];
    // exact, an f32 times such a scale has fewer bits than an f64; half away from 0 like `f64::round`, which is a call in WebAssembly
    let units = f64::from(x) * scale;
    let units = (units.abs() + 0.5).floor().copysign(units);
    (units / scale) as f32 + 0.0
}

/// Powers of ten.
const SCALES: [f64; 6] = [1.0, 10.0, 100.0, 1e3, 1e4, 1e5];

fn list<S: Serializer>(values: &[f32], decimals: usize, s: S) -> Result<S::Ok, S::Error> {
    s.collect_seq(values.iter().map(|v| round(*v, decimals)))
}

fn rows<const N: usize, S: Serializer>(rows: &[[f32; N]], decimals: usize, s: S) -> Result<S::Ok, S::Error>
where
    [f32; N]: Serialize,
{
    s.collect_seq(rows.iter().map(|row| row.map(|v| round(v, decimals))))
}

fn option<S: Serializer>(value: Option<f32>, decimals: usize, s: S) -> Result<S::Ok, S::Error> {
    value.map(|v| round(v, decimals)).serialize(s)
}

pub(super) fn pixels<S: Serializer>(v: &[f32; 4], s: S) -> Result<S::Ok, S::Error> {
    list(v, 2, s)
}

pub(super) fn pixel_option<S: Serializer>(v: &Option<f32>, s: S) -> Result<S::Ok, S::Error> {
    option(*v, 2, s)
}

pub(super) fn points2d<S: Serializer>(v: &[[f32; 2]], s: S) -> Result<S::Ok, S::Error> {
    rows(v, 2, s)
}

/// Pixels and a score.
pub(super) fn seen_points<S: Serializer>(v: &[[f32; 3]], s: S) -> Result<S::Ok, S::Error> {
    s.collect_seq(v.iter().map(|p| [round(p[0], 2), round(p[1], 2), round(p[2], 3)]))
}

pub(super) fn points3d<S: Serializer>(v: &[[f32; 3]], s: S) -> Result<S::Ok, S::Error> {
    rows(v, 4, s)
}

pub(super) fn metres<S: Serializer>(v: &[f32; 3], s: S) -> Result<S::Ok, S::Error> {
    list(v, 4, s)
}

pub(super) fn betas<S: Serializer>(v: &[f32], s: S) -> Result<S::Ok, S::Error> {
    list(v, 4, s)
}

/// Half a unit of the fifth decimal turns a bone by at most 1e-5 rad: below 0.1 mm over a chain of joints.
pub(super) fn quaternions<S: Serializer>(v: &[[f32; 4]], s: S) -> Result<S::Ok, S::Error> {
    rows(v, 5, s)
}

pub(super) fn score<S: Serializer>(v: &f32, s: S) -> Result<S::Ok, S::Error> {
    round(*v, 3).serialize(s)
}

pub(super) fn score_option<S: Serializer>(v: &Option<f32>, s: S) -> Result<S::Ok, S::Error> {
    option(*v, 3, s)
}

pub(super) fn degrees<S: Serializer>(v: &Option<f32>, s: S) -> Result<S::Ok, S::Error> {
    option(*v, 1, s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_no_more_digits_than_asked_and_no_negative_zero() {
        let text = |x, decimals| serde_json::to_string(&round(x, decimals)).unwrap();
        assert_eq!(text(1.234_56, 2), "1.23");
        assert_eq!(text(1919.996, 2), "1920.0");
        assert_eq!(text(-0.000_01, 4), "0.0");
        assert_eq!(text(3840.129, 2), "3840.13");
        assert_eq!(text(-12.345_67, 4), "-12.3457");
        assert_eq!((text(0.125, 2), text(-0.125, 2), text(0.375, 2)), ("0.13".into(), "-0.13".into(), "0.38".into()), "half away from 0");
    }

    #[test]
    fn rounds_as_the_standard_library_does() {
        for i in 0..200_000u32 {
            let x = f32::from_bits(i.wrapping_mul(2_654_435_761) & 0x4fff_ffff);
            let x = if i % 2 == 0 { x } else { -x };
            for (decimals, scale) in SCALES.into_iter().enumerate() {
                assert_eq!(round(x, decimals), ((f64::from(x) * scale).round() / scale) as f32, "{x} {decimals}");
            }
        }
    }
}
