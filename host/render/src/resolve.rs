//! From samples to pixels: how much of a pixel the bodies cover, and with what colour.
//!
//! With one sample a pixel, coverage is all or nothing and silhouettes would be stairs. They are smoothed by the binomial kernel
//! 1 2 1 along both axes: a pixel's coverage is the weighted share of covered pixels around it, which leaves the inside and the
//! line of half coverage where they are. Colours are not blurred: a covered pixel keeps its own, and a pixel just outside takes
//! that of its nearest covered neighbour. With two samples along each axis, coverage and colour are the means over four samples.

use std::ops::Range;

use crate::gpu_data::SAMPLE_BYTES;
use crate::ink::Ink;

/// A patch's samples as they were read back: rows of `(tone, slot)`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Samples<'a> {
    pub(crate) bytes: &'a [u8],
    /// Bytes from row to row.
    pub(crate) stride: usize,
    /// Size in pixels.
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// Samples along each axis of a pixel, 1 or 2.
    pub(crate) supersample: usize,
}

impl<'a> Samples<'a> {
    /// One row of samples as `[tone, slot]`.
    fn row(&self, y: usize) -> &'a [[u8; SAMPLE_BYTES]] {
        let start = y * self.stride;
        self.bytes[start..start + self.width * self.supersample * SAMPLE_BYTES].as_chunks().0
    }
}

/// What the bodies do to one pixel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Touch {
    /// Share of the pixel that is replaced, in 256ths.
    pub(crate) weight: u16,
    /// Whose surface it is; 0 where nothing is touched.
    pub(crate) slot: u8,
    /// The surface's `[y, cb, cr]`.
    pub(crate) ycc: [u8; 3],
}

const UNTOUCHED: Touch = Touch { weight: 0, slot: 0, ycc: [0; 3] };
/// Sum of the kernel 1 2 1 along both axes.
const FULL: usize = 16;

/// Turns rows of samples into rows of touches.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    /// For each pixel of the patch, the kernel's sum over its row: 0..=4.
    across: Vec<u8>,
    covered: Vec<u8>,
    /// Weight of each coverage, in units of 1 / [`FULL`] or of a quarter.
    weights: [u16; FULL + 1],
}

impl Resolver {
    /// Prepares for a patch; `opacity` in 256ths.
    pub(crate) fn start(&mut self, samples: &Samples<'_>, opacity: u16) {
        let steps = if samples.supersample == 1 { FULL } else { 4 };
        for (covered, weight) in self.weights.iter_mut().enumerate() {
            *weight = ((covered.min(steps) * usize::from(opacity) * 2 + steps) / (2 * steps)) as u16;
        }
        if samples.supersample != 1 {
            return;
        }
        self.across.resize(samples.width * samples.height, 0);
        self.covered.resize(samples.width + 2, 0);
        for (y, across) in self.across.chunks_exact_mut(samples.width).enumerate() {
            for (covered, [_, slot]) in self.covered[1..].iter_mut().zip(samples.row(y)) {
                *covered = u8::from(*slot != 0);
            }
            // beyond the patch it goes on as at its edge: a body may go on beyond the frame
            self.covered[0] = self.covered[1];
            self.covered[samples.width + 1] = self.covered[samples.width];
            for (sum, c) in across.iter_mut().zip(self.covered.array_windows::<3>()) {
                *sum = c[0] + 2 * c[1] + c[2];
            }
        }
    }

    /// Resolves pixel row `y` into `touches` (one for each pixel) and returns the range of pixels that may be touched.
    pub(crate) fn row(&self, samples: &Samples<'_>, ink: &Ink, y: usize, touches: &mut [Touch]) -> Range<usize> {
        if samples.supersample == 1 { self.smooth_row(samples, ink, y, touches) } else { self.mean_row(samples, ink, y, touches) }
    }

    fn smooth_row(&self, samples: &Samples<'_>, ink: &Ink, y: usize, touches: &mut [Touch]) -> Range<usize> {
        let width = samples.width;
        let above = y.saturating_sub(1);
        let below = (y + 1).min(samples.height - 1);
        let sums = |y: usize| &self.across[y * width..(y + 1) * width];
        let (a, b, c) = (sums(above), sums(y), sums(below));
        let own = samples.row(y);

        let Some(first) = (0..width).find(|&x| (a[x] | b[x] | c[x]) != 0) else { return 0..0 };
        let last = (first..width).rev().find(|&x| (a[x] | b[x] | c[x]) != 0).unwrap_or(first);
        for x in first..=last {
            let covered = usize::from(a[x] + 2 * b[x] + c[x]);
            let [tone, slot] = own[x];
            touches[x] = if slot != 0 {
                Touch { weight: self.weights[covered], slot, ycc: ink.of(slot, tone) }
            } else if covered != 0 {
                let [tone, slot] = nearest_covered(samples, x, [above, y, below]);
                Touch { weight: self.weights[covered], slot, ycc: ink.of(slot, tone) }
            } else {
                UNTOUCHED
            };
        }
        first..last + 1
    }

    fn mean_row(&self, samples: &Samples<'_>, ink: &Ink, y: usize, touches: &mut [Touch]) -> Range<usize> {
        let (upper, lower) = (samples.row(2 * y).as_chunks::<2>().0, samples.row(2 * y + 1).as_chunks::<2>().0);
        let empty = |x: usize| (upper[x][0][1] | upper[x][1][1] | lower[x][0][1] | lower[x][1][1]) == 0;
        let Some(first) = (0..samples.width).find(|&x| !empty(x)) else { return 0..0 };
        let last = (first..samples.width).rev().find(|&x| !empty(x)).unwrap_or(first);
        for x in first..=last {
            let mut count = 0;
            let mut sum = [0_u16; 3];
            let mut seen = 0;
            for [tone, slot] in upper[x].into_iter().chain(lower[x]) {
                if slot != 0 {
                    count += 1;
                    seen = if seen == 0 { slot } else { seen };
                    let ycc = ink.of(slot, tone);
                    sum = std::array::from_fn(|c| sum[c] + u16::from(ycc[c]));
                }
            }
            touches[x] = if count == 0 {
                UNTOUCHED
            } else {
                Touch { weight: self.weights[usize::from(count)], slot: seen, ycc: sum.map(|s| ((s + count / 2) / count) as u8) }
            };
        }
        first..last + 1
    }
}

/// The sample of a covered neighbour of an uncovered pixel, sides before corners. `rows` are those above, at and below it.
fn nearest_covered(samples: &Samples<'_>, x: usize, [above, y, below]: [usize; 3]) -> [u8; SAMPLE_BYTES] {
    let (left, right) = (x.saturating_sub(1), (x + 1).min(samples.width - 1));
    let around = [(left, y), (right, y), (x, above), (x, below), (left, above), (right, above), (left, below), (right, below)];
    around.into_iter().map(|(x, y)| samples.row(y)[x]).find(|&[_, slot]| slot != 0).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use halfpipe_core::{Colour, Matrix, Range as ColourRange, Rgb};

    fn ink() -> Ink {
        Ink::new([Rgb(255, 255, 255), Rgb(255, 0, 0)].into_iter(), Colour { matrix: Matrix::Bt601, range: ColourRange::Full })
    }

    fn resolve<const W: usize>(slots: &[[u8; W]], supersample: usize, opacity: u16) -> Vec<Vec<Touch>> {
        let stride = W * 2 + 6;
        let mut bytes = vec![0; stride * slots.len()];
        for (y, row) in slots.iter().enumerate() {
            for (x, &slot) in row.iter().enumerate() {
                bytes[y * stride + 2 * x] = if slot == 0 { 0 } else { 200 };
                bytes[y * stride + 2 * x + 1] = slot;
            }
        }
        let (width, height) = (W / supersample, slots.len() / supersample);
        let samples = Samples { bytes: &bytes, stride, width, height, supersample };
        let mut resolver = Resolver::default();
        resolver.start(&samples, opacity);
        (0..height)
            .map(|y| {
                let mut touches = vec![UNTOUCHED; width];
                let range = resolver.row(&samples, &ink(), y, &mut touches);
                assert!(touches.iter().enumerate().all(|(x, t)| range.contains(&x) || *t == UNTOUCHED));
                touches
            })
            .collect()
    }

    #[test]
    fn a_straight_edge_is_softened_by_a_quarter() {
        let rows = resolve(&[[0, 0, 1, 1, 1]; 3], 1, 256);
        assert_eq!(rows[1].iter().map(|t| t.weight).collect::<Vec<_>>(), [0, 64, 192, 256, 256]);
        assert_eq!(rows[1][1].ycc, [200, 128, 128], "outside it has its neighbour's colour");
        assert_eq!(rows[0], rows[1], "the patch's edge does not fade");
    }

    #[test]
    fn a_lone_pixel_keeps_its_whole_weight_in_sum() {
        let rows = resolve(&[[0; 5], [0; 5], [0, 0, 2, 0, 0], [0; 5], [0; 5]], 1, 256);
        let weight: u32 = rows.iter().flatten().map(|t| u32::from(t.weight)).sum();
        assert_eq!(weight, 256);
        assert!(rows[1][1] == Touch { weight: 16, slot: 2, ycc: rows[2][2].ycc });
    }

    #[test]
    fn four_samples_are_averaged() {
        let rows = resolve(&[[0, 0, 1, 0, 1, 2], [0, 0, 0, 0, 1, 2]], 2, 128);
        assert_eq!(rows[0][0], UNTOUCHED);
        assert_eq!(rows[0][1], Touch { weight: 32, slot: 1, ycc: [200, 128, 128] });
        let (white, red) = (ink().of(1, 200), ink().of(2, 200));
        let mean = std::array::from_fn(|c| (u16::from(white[c]) + u16::from(red[c])).div_ceil(2) as u8);
        assert_eq!(rows[0][2], Touch { weight: 128, slot: 1, ycc: mean });
    }
}
