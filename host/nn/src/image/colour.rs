//! From samples to normalised RGB in one step a channel.

use halfpipe_core::{Colour, Normalization, Range};

/// The inverse luma/chroma matrix with the sample range folded in. RGB on the scale 0..=255.
#[derive(Debug, Clone, Copy)]
pub(super) struct ToRgb {
    luma: f32,
    black: f32,
    red_cr: f32,
    green_cb: f32,
    green_cr: f32,
    blue_cb: f32,
}

impl ToRgb {
    pub(super) fn new(colour: Colour) -> Self {
        let (kr, kb) = colour.matrix.kr_kb();
        let kg = 1.0 - kr - kb;
        let (luma, chroma, black) = match colour.range {
            Range::Full => (1.0, 1.0, 0.0),
            Range::Limited => (255.0 / 219.0, 255.0 / 224.0, 16.0),
        };
        Self {
            luma,
            black,
            red_cr: 2.0 * (1.0 - kr) * chroma,
            green_cb: -2.0 * (1.0 - kb) * kb / kg * chroma,
            green_cr: -2.0 * (1.0 - kr) * kr / kg * chroma,
            blue_cb: 2.0 * (1.0 - kb) * chroma,
        }
    }

    /// RGB on the scale 0..=255 of a sample, clamped.
    #[inline]
    pub(super) fn apply(self, y: f32, cb: f32, cr: f32) -> [f32; 3] {
        let (y, cb, cr) = ((y - self.black) * self.luma, cb - 128.0, cr - 128.0);
        let cut = |v: f32| v.clamp(0.0, 255.0);
        [cut(y + self.red_cr * cr), cut(y + self.green_cb * cb + self.green_cr * cr), cut(y + self.blue_cb * cb)]
    }
}

/// `value * scale + offset`, which is `(value / 255 - mean) / std`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Affine {
    pub(super) scale: [f32; 3],
    /// Also what black becomes.
    pub(super) offset: [f32; 3],
}

impl Affine {
    pub(super) fn new(norm: Normalization) -> Self {
        Self { scale: std::array::from_fn(|c| 1.0 / (255.0 * norm.std[c])), offset: std::array::from_fn(|c| -norm.mean[c] / norm.std[c]) }
    }
}

#[cfg(test)]
mod tests {
    use halfpipe_core::Matrix;

    use super::*;

    #[test]
    fn the_folded_matrix_is_the_plain_one() {
        for matrix in [Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020] {
            for range in [Range::Limited, Range::Full] {
                let colour = Colour { matrix, range };
                for ycc in [[16.0, 128.0, 128.0], [235.0, 128.0, 128.0], [63.0, 102.0, 240.0], [90.0, 200.0, 30.0], [255.0, 0.0, 255.0]] {
                    let (got, want) = (ToRgb::new(colour).apply(ycc[0], ycc[1], ycc[2]), colour.to_rgb(ycc));
                    assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-3), "{colour:?} {ycc:?}: {got:?}, not {want:?}");
                }
            }
        }
    }

    #[test]
    fn normalisation_maps_the_mean_to_zero() {
        let affine = Affine::new(Normalization { mean: [0.5, 0.25, 0.0], std: [0.5, 0.25, 1.0] });
        let of = |v: f32| -> [f32; 3] { std::array::from_fn(|c| v * affine.scale[c] + affine.offset[c]) };
        assert_eq!(affine.offset, [-1.0, -1.0, 0.0]);
        for (got, want) in of(255.0).iter().zip([1.0, 3.0, 1.0]) {
            assert!((got - want).abs() < 1e-6);
        }
    }
}
