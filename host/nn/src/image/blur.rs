//! A Gaussian over the inside of a patch of pixels, as `skimage.filters.gaussian` computes it: cut off at four standard
//! deviations, and going on beyond the inside as at its edge.

use glam::Vec4;

/// Standard deviations after which the kernel is cut off.
const TRUNCATE: f64 = 4.0;
/// A scratch buffer larger than this is not kept for the next patch.
const KEPT_PIXELS: usize = 1 << 21;

/// Pixels on either side of a pixel that a Gaussian of this standard deviation takes in.
pub(super) fn radius(sigma: f32) -> usize {
    // a half is rounded up, as scipy does
    (TRUNCATE * f64::from(sigma) + 0.5) as usize
}

/// Blurs patches; keeps its scratch memory.
#[derive(Debug, Default)]
pub(super) struct Blur {
    /// Weights of the pixel itself, its neighbours, and so on outwards; those of both sides and the pixel's own add up to 1.
    kernel: Vec<f32>,
    /// The patch's inside after the vertical pass.
    blurred: Vec<Vec4>,
}

impl Blur {
    /// Blurs all but a border of one pixel of a patch that is `across` pixels wide. Nothing happens where the radius is 0.
    pub(super) fn run(&mut self, sigma: f32, patch: &mut [Vec4], across: usize) {
        let radius = radius(sigma);
        if radius == 0 {
            return;
        }
        self.prepare(sigma, radius);
        let (width, height) = (across - 2, patch.len() / across - 2);
        let (own, sides) = (self.kernel[0], &self.kernel[1..]);
        self.blurred.clear();
        for y in 0..height {
            let row = |y: usize| &patch[(y + 1) * across + 1..][..width];
            let start = self.blurred.len();
            self.blurred.extend(row(y).iter().map(|pixel| own * *pixel));
            let sums = &mut self.blurred[start..];
            for (distance, weight) in (1..).zip(sides) {
                let (above, below) = (row(y.saturating_sub(distance)), row((y + distance).min(height - 1)));
                for (sum, (above, below)) in sums.iter_mut().zip(above.iter().zip(below)) {
                    *sum += *weight * (*above + *below);
                }
            }
        }
        for (from, to) in self.blurred.chunks_exact(width).zip(patch.chunks_exact_mut(across).skip(1)) {
            for (x, pixel) in to[1..=width].iter_mut().enumerate() {
                let side =
                    |(distance, weight): (usize, &f32)| *weight * (from[x.saturating_sub(distance)] + from[(x + distance).min(width - 1)]);
                *pixel = own * from[x] + (1..).zip(sides).map(side).sum::<Vec4>();
            }
        }
        if self.blurred.len() > KEPT_PIXELS {
            self.blurred = Vec::new();
        }
    }

    fn prepare(&mut self, sigma: f32, radius: usize) {
        let sigma = f64::from(sigma);
        let weight = |distance: usize| (-0.5 * (distance as f64 / sigma).powi(2)).exp();
        let sum = 1.0 + 2.0 * (1..=radius).map(weight).sum::<f64>();
        self.kernel.clear();
        self.kernel.extend((0..=radius).map(|distance| (weight(distance) / sum) as f32));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn radii_are_those_of_scipy() {
        assert_eq!([0.0, 0.1, 0.125, 0.37, 0.38, 1.0, 2.6].map(radius), [0, 0, 1, 1, 2, 4, 10]);
    }

    #[test]
    fn a_level_stays_and_the_border_is_left_alone() {
        let mut patch = vec![Vec4::ZERO; 9 * 7];
        for y in 1..6 {
            patch[y * 9 + 1..y * 9 + 8].fill(Vec4::splat(90.0));
        }
        let before = patch.clone();
        Blur::default().run(2.5, &mut patch, 9);
        assert!(patch.iter().zip(&before).all(|(a, b)| (*a - *b).abs().max_element() < 1e-3));
    }

    #[test]
    fn a_point_becomes_the_kernel() {
        let mut patch = vec![Vec4::ZERO; 23 * 23];
        patch[11 * 23 + 11] = Vec4::ONE;
        Blur::default().run(1.5, &mut patch, 23);
        // scipy 1.17.1, ndimage.gaussian_filter(point, 1.5, mode="nearest", truncate=4.0): at the point and two pixels beside it
        assert!((patch[11 * 23 + 11].x - 0.070_737).abs() < 1e-5, "{}", patch[11 * 23 + 11]);
        assert!((patch[11 * 23 + 13].x - 0.029_081).abs() < 1e-5, "{}", patch[11 * 23 + 13]);
        assert!((patch.iter().map(|p| p.x).sum::<f32>() - 1.0).abs() < 1e-5);
    }
}
