//! Where the pixels of a crop lie in its frame.

use std::ops::Range;

use halfpipe_core::{Crop, Size};

/// Where the pixels of the target lie: `origin + u * along_u + v * along_v`, in pixels; whole numbers are pixel centres.
#[derive(Debug, Clone, Copy)]
pub(super) struct Samples {
    pub(super) origin: [f64; 2],
    pub(super) along_u: [f64; 2],
    pub(super) along_v: [f64; 2],
}

/// Pixels of the averaged-down frame that a crop reads: columns `x`, rows `y`.
#[derive(Debug, Clone)]
pub(super) struct Window {
    pub(super) x: Range<usize>,
    pub(super) y: Range<usize>,
}

impl Samples {
    /// The factor to average down by, and where target pixels lie in the frame averaged down by it. Index i of a grid
    /// stands for its pixel centre at i + 0.5.
    pub(super) fn of(crop: &Crop, side: u32) -> (usize, Self) {
        let pixel = f64::from(crop.side) / f64::from(side);
        // the largest even number that does not pass it; even, so that the blocks of luma and chroma lie on each other
        let factor = if pixel < 2.0 { 1 } else { 2 * (pixel / 2.0) as usize };
        let (sin, cos) = f64::from(crop.rotation).sin_cos();
        let step = pixel / factor as f64;
        let along_u = [cos * step, sin * step];
        let along_v = [-sin * step, cos * step];
        let half = (f64::from(side) - 1.0) / 2.0;
        let origin = std::array::from_fn(|a| f64::from(crop.center[a]) / factor as f64 - 0.5 - half * (along_u[a] + along_v[a]));
        (factor, Self { origin, along_u, along_v })
    }

    /// Where target pixels lie in the frame by 4D-Humans' rule (`gen_trans_from_patch_cv` of its `datasets/utils.py`, and
    /// OpenCV's `warpAffine`): pixels count by index, so neither grid's half pixel is added.
    pub(super) fn by_index(crop: &Crop, side: u32) -> Self {
        let step = f64::from(crop.side) / f64::from(side);
        let (sin, cos) = f64::from(crop.rotation).sin_cos();
        let (along_u, along_v) = ([cos * step, sin * step], [-sin * step, cos * step]);
        let half = f64::from(side) / 2.0;
        let origin = std::array::from_fn(|a| f64::from(crop.center[a]) - half * (along_u[a] + along_v[a]));
        Self { origin, along_u, along_v }
    }

    /// The same, counted from this pixel.
    pub(super) fn from(mut self, [x, y]: [f64; 2]) -> Self {
        self.origin[0] -= x;
        self.origin[1] -= y;
        self
    }

    /// The pixels that the target's rows `band` read, with `margin` pixels around them and one to spare for rounding; none
    /// where all of that lies outside the frame.
    pub(super) fn window(&self, size: Size, factor: usize, side: u32, band: &Range<u32>, margin: usize) -> Option<Window> {
        let across = f64::from(side - 1);
        let (first, last) = (f64::from(band.start), f64::from(band.end - 1));
        let margin = margin as f64;
        let range = |a: usize, pixels: u32| {
            let (u, v) = (self.along_u[a] * across, [self.along_v[a] * first, self.along_v[a] * last]);
            let low = (self.origin[a] + u.min(0.0) + v[0].min(v[1]) - margin).floor() - 1.0;
            let high = (self.origin[a] + u.max(0.0) + v[0].max(v[1]) + margin).floor() + 3.0;
            let blocks = (pixels as usize).div_ceil(factor);
            // a cast from below 0 gives 0; an even start lies on a chroma sample
            let (start, end) = (low as usize & !1, (high as usize).min(blocks));
            (start < end).then_some(start..end)
        };
        Some(Window { x: range(0, size.width)?, y: range(1, size.height)? })
    }
}
