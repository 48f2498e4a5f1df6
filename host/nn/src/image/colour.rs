//! From samples to normalised RGB in one step a channel.

use glam::Vec4;
use halfpipe_core::{Colour, Normalization, Range};

/// The inverse luma/chroma matrix with the sample range folded in, by RGB channel and one unused lane: a pixel is then one
/// vector. RGB on the scale 0..=255.
#[derive(Debug, Clone, Copy)]
pub(super) struct ToRgb {
    y: Vec4,
    cb: Vec4,
    cr: Vec4,
    offset: Vec4,
}

impl ToRgb {
    pub(super) fn new(colour: Colour) -> Self {
        let (kr, kb) = colour.matrix.kr_kb();
        let kg = 1.0 - kr - kb;
        let (luma, chroma, black) = match colour.range {
            Range::Full => (1.0, 1.0, 0.0),
            Range::Limited => (255.0 / 219.0, 255.0 / 224.0, 16.0),
        };
        let y = Vec4::new(luma, luma, luma, 0.0);
        let cb = Vec4::new(0.0, -2.0 * (1.0 - kb) * kb / kg, 2.0 * (1.0 - kb), 0.0) * chroma;
        let cr = Vec4::new(2.0 * (1.0 - kr), -2.0 * (1.0 - kr) * kr / kg, 0.0, 0.0) * chroma;
        Self { y, cb, cr, offset: -black * y - 128.0 * (cb + cr) }
    }

    /// What Y, Cb and Cr count for in a channel of RGB, and what is added; the sum is not clamped yet.
    pub(super) fn channel(&self, c: usize) -> [f32; 4] {
        [self.y, self.cb, self.cr, self.offset].map(|lanes| lanes[c])
    }

    /// RGB of a sample, clamped; the last lane is 0.
    #[inline]
    pub(super) fn lanes(&self, y: f32, cb: f32, cr: f32) -> Vec4 {
        (y * self.y + cb * self.cb + cr * self.cr + self.offset).max(Vec4::ZERO).min(Vec4::splat(255.0))
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

    /// Scale and offset as vectors, like those of [`ToRgb::lanes`].
    pub(super) fn lanes(self) -> (Vec4, Vec4) {
        let lanes = |[r, g, b]: [f32; 3]| Vec4::new(r, g, b, 0.0);
        (lanes(self.scale), lanes(self.offset))
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
                    let (got, want) = (ToRgb::new(colour).lanes(ycc[0], ycc[1], ycc[2]), colour.to_rgb(ycc));
                    assert!(
                        got.to_array().iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-3),
                        "{colour:?} {ycc:?}: {got:?}, not {want:?}"
                    );
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
