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

/// What the bodies do to one row of pixels: a list for each value, so that the loops over them can use wide registers.
#[derive(Debug, Default)]
pub(crate) struct TouchRow {
    /// Share of each pixel that is replaced, in 256ths.
    pub(crate) weight: Vec<u16>,
    /// Whose surface it is; 0 where nothing is touched.
    pub(crate) slot: Vec<u8>,
    /// The surface's luma.
    pub(crate) y: Vec<u8>,
    /// The surface's chroma, blue.
    pub(crate) cb: Vec<u8>,
    /// The surface's chroma, red.
    pub(crate) cr: Vec<u8>,
}

impl TouchRow {
    /// Makes it a row of untouched pixels.
    pub(crate) fn clear(&mut self, width: usize) {
        let Self { weight, slot, y, cb, cr } = self;
        weight.clear();
        weight.resize(width, 0);
        for values in [slot, y, cb, cr] {
            values.clear();
            values.resize(width, 0);
        }
    }

    #[inline]
    fn set(&mut self, x: usize, weight: u16, slot: u8, ycc: [u8; 3]) {
        self.weight[x] = weight;
        self.slot[x] = slot;
        [self.y[x], self.cb[x], self.cr[x]] = ycc;
    }
}

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

    /// Resolves pixel row `y` into `row`, which is clear, and returns the range of pixels that may be touched.
    pub(crate) fn row(&self, samples: &Samples<'_>, ink: &Ink, y: usize, row: &mut TouchRow) -> Range<usize> {
        if samples.supersample == 1 { self.smooth_row(samples, ink, y, row) } else { self.mean_row(samples, ink, y, row) }
    }

    fn smooth_row(&self, samples: &Samples<'_>, ink: &Ink, y: usize, row: &mut TouchRow) -> Range<usize> {
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
            if slot != 0 {
                row.set(x, self.weights[covered], slot, ink.of(slot, tone));
            } else if covered != 0 {
                let [tone, slot] = nearest_covered(samples, x, [above, y, below]);
                row.set(x, self.weights[covered], slot, ink.of(slot, tone));
            }
        }
        first..last + 1
    }

    fn mean_row(&self, samples: &Samples<'_>, ink: &Ink, y: usize, row: &mut TouchRow) -> Range<usize> {
        let (upper, lower) = (samples.row(2 * y).as_chunks::<2>().0, samples.row(2 * y + 1).as_chunks::<2>().0);
        let empty = |x: usize| (upper[x][0][1] | upper[x][1][1] | lower[x][0][1] | lower[x][1][1]) == 0;
        let Some(first) = (0..samples.width).find(|&x| !empty(x)) else { return 0..0 };
        let last = (first..samples.width).rev().find(|&x| !empty(x)).unwrap_or(first);
        for x in first..=last {
            let [[a, b], [c, d]] = [upper[x], lower[x]];
            let slot = a[1];
            if slot != 0 && [b[1], c[1], d[1]] == [slot; 3] {
                // inside of a body, where nearly all pixels are
                let tone = (u16::from(a[0]) + u16::from(b[0]) + u16::from(c[0]) + u16::from(d[0]) + 2) / 4;
                row.set(x, self.weights[4], slot, ink.of(slot, tone as u8));
            } else if let Some((count, slot, ycc)) = mean_of_covered([a, b, c, d], ink) {
                row.set(x, self.weights[count], slot, ycc);
            }
        }
        first..last + 1
    }
}

/// How many of the samples are covered, the slot of the first that is, and their mean colour.
fn mean_of_covered(samples: [[u8; SAMPLE_BYTES]; 4], ink: &Ink) -> Option<(usize, u8, [u8; 3])> {
    let covered = || samples.into_iter().filter(|&[_, slot]| slot != 0);
    let [_, first] = covered().next()?;
    let count = covered().count() as u16;
    let sum = covered().fold([0_u16; 3], |sum, [tone, slot]| {
        let ycc = ink.of(slot, tone);
        std::array::from_fn(|c| sum[c] + u16::from(ycc[c]))
    });
    Some((usize::from(count), first, sum.map(|s| ((s + count / 2) / count) as u8)))
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
    use halfpipe_core::{Colour, Matrix, Range as ColourRange, Rgb, Shading};

    fn ink() -> Ink {
        Ink::new(
            [Rgb(255, 255, 255), Rgb(255, 0, 0)].into_iter(),
            Shading::Soft,
            Colour { matrix: Matrix::Bt601, range: ColourRange::Full },
        )
    }

    /// One pixel of a row: weight, slot, colour.
    #[derive(Debug, Clone, PartialEq)]
    struct Touch(u16, u8, [u8; 3]);
    const UNTOUCHED: Touch = Touch(0, 0, [0; 3]);

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
        let resolve_row = |y| {
            let mut row = TouchRow::default();
            row.clear(width);
            let range = resolver.row(&samples, &ink(), y, &mut row);
            let touches: Vec<_> = (0..width).map(|x| Touch(row.weight[x], row.slot[x], [row.y[x], row.cb[x], row.cr[x]])).collect();
            assert!(touches.iter().enumerate().all(|(x, t)| range.contains(&x) || *t == UNTOUCHED));
            touches
        };
        (0..height).map(resolve_row).collect()
    }

    #[test]
    fn a_straight_edge_is_softened_by_a_quarter() {
        let rows = resolve(&[[0, 0, 1, 1, 1]; 3], 1, 256);
        assert_eq!(rows[1].iter().map(|t| t.0).collect::<Vec<_>>(), [0, 64, 192, 256, 256]);
        assert_eq!(rows[1][1].2, [200, 128, 128], "outside it has its neighbour's colour");
        assert_eq!(rows[0], rows[1], "the patch's edge does not fade");
    }

    #[test]
    fn a_lone_pixel_keeps_its_whole_weight_in_sum() {
        let rows = resolve(&[[0; 5], [0; 5], [0, 0, 2, 0, 0], [0; 5], [0; 5]], 1, 256);
        let weight: u32 = rows.iter().flatten().map(|t| u32::from(t.0)).sum();
        assert_eq!(weight, 256);
        assert_eq!(rows[1][1], Touch(16, 2, rows[2][2].2));
    }

    #[test]
    fn four_samples_are_averaged() {
        let rows = resolve(&[[0, 0, 1, 0, 1, 2], [0, 0, 0, 0, 1, 2]], 2, 128);
        assert_eq!(rows[0][0], UNTOUCHED);
        assert_eq!(rows[0][1], Touch(32, 1, [200, 128, 128]));
        let (white, red) = (ink().of(1, 200), ink().of(2, 200));
        let mean = std::array::from_fn(|c| (u16::from(white[c]) + u16::from(red[c])).div_ceil(2) as u8);
        assert_eq!(rows[0][2], Touch(128, 1, mean));
    }
}
