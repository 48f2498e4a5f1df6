//! Squares of a picture, sampled straight from its planes: luma and chroma are each interpolated bilinearly between four samples, and
//! only what comes of that is made RGB. A crop has fewer pixels than the part of the frame under it, and nothing is written but the result.
//!
//! Beyond the frame there is only black: a pixel of the target counts as much as its footprint, one pixel of the source, covers of the frame.

use halfpipe_core::Size;

use super::colour::{Affine, ToRgb};
use super::grid::Samples;

/// Samples of one channel, rows without padding; two columns and two rows at least, so that there are four around every position.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plane<'a> {
    pub(super) samples: &'a [u8],
    pub(super) width: usize,
    pub(super) height: usize,
}

impl<'a> Plane<'a> {
    /// None where there are fewer than two columns or rows, or not as many samples.
    pub(super) fn new(samples: &'a [u8], width: usize, height: usize) -> Option<Self> {
        (width >= 2 && height >= 2 && samples.len() == width * height).then_some(Self { samples, width, height })
    }

    #[cfg(test)]
    pub(super) fn sample(&self, x: usize, y: usize) -> u8 {
        self.samples[y * self.width + x]
    }
}

/// What is sampled. Positions are in pixels of luma, and those of pixel centres are whole numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    luma: Plane<'a>,
    chroma: [Plane<'a>; 2],
    /// Where a position lies in the chroma planes: this times it, and this more.
    to_chroma: (f32, f32),
    /// How far the frame reaches, counted from the left and upper edge of the first pixel.
    end: [f32; 2],
}

impl<'a> Source<'a> {
    /// A frame's planes, of which those of chroma have a sample for 2 x 2 pixels.
    pub(super) const fn of_frame([luma, cb, cr]: [Plane<'a>; 3], size: Size) -> Self {
        // a chroma sample lies in the middle of the pixels that it covers
        Self { luma, chroma: [cb, cr], to_chroma: (0.5, -0.25), end: [size.width as f32, size.height as f32] }
    }

    /// Planes of the same size, of a frame that ends at `end`.
    pub(super) const fn of_planes([luma, cb, cr]: [Plane<'a>; 3], end: [f32; 2]) -> Self {
        Self { luma, chroma: [cb, cr], to_chroma: (1.0, 0.0), end }
    }
}

/// Samples squares; keeps its scratch memory, which is that of one row of the target.
///
/// Each step is a loop of its own over the row, so that all but fetching samples become vector instructions.
#[derive(Debug, Default)]
pub(super) struct Bilinear {
    row: Row,
    luma: Spots,
    chroma: Spots,
    /// The four samples around each position, a byte each: the upper two, then the lower two.
    corners: Vec<u32>,
    /// Y, Cb and Cr.
    mixed: [Vec<f32>; 3],
}

/// Positions of a row of the target in a source.
#[derive(Debug, Default)]
struct Row {
    /// 0, 1, 2 ...: an index that is counted along is one that Rust checks for overflow.
    ramp: Vec<f32>,
    x: Vec<f32>,
    y: Vec<f32>,
    /// How much of a pixel's footprint the frame covers, 0 to 1.
    covered: Vec<f32>,
}

/// The same positions in a plane.
#[derive(Debug, Default)]
struct Spots {
    /// The index of the sample left above.
    at: Vec<u32>,
    /// How far beyond it, 0 to 1.
    x: Vec<f32>,
    y: Vec<f32>,
}

impl Bilinear {
    /// Writes one square into the planes `[3, side, side]`, normalised.
    #[inline(always)]
    pub(super) fn run(&mut self, source: &Source<'_>, samples: Samples, side: usize, to_rgb: ToRgb, affine: Affine, planes: &mut [f32]) {
        let Source { luma, chroma: [cb, cr], to_chroma, end } = *source;
        let channels = [0, 1, 2].map(|c| Channel::new(to_rgb, affine, c));
        let (red, rest) = planes.split_at_mut(side * side);
        let (green, blue) = rest.split_at_mut(side * side);
        let [red, green, blue] = [red, green, blue].map(|plane| plane.chunks_exact_mut(side));
        for (v, ((red, green), blue)) in red.zip(green).zip(blue).enumerate() {
            self.row.place(samples, v, side, end);
            self.luma.locate(luma, &self.row, (1.0, 0.0));
            self.chroma.locate(cb, &self.row, to_chroma);
            for ((plane, spots), mixed) in [(luma, &self.luma), (cb, &self.chroma), (cr, &self.chroma)].into_iter().zip(&mut self.mixed) {
                gather(plane, &spots.at, &mut self.corners);
                spots.mix(&self.corners, mixed);
            }
            let [y, cb, cr] = &self.mixed;
            for (channel, values) in channels.iter().zip([red, green, blue]) {
                channel.convert([y, cb, cr], &self.row.covered, values);
            }
        }
    }
}

impl Row {
    #[inline(always)]
    fn place(&mut self, samples: Samples, v: usize, side: usize, end: [f32; 2]) {
        let [x_0, y_0]: [f32; 2] = std::array::from_fn(|a| (samples.origin[a] + v as f64 * samples.along_v[a]) as f32);
        let ([x_step, y_step], [x_end, y_end]) = (samples.along_u.map(|step| step as f32), end);
        if self.ramp.len() != side {
            self.ramp = (0..side).map(|u| u as f32).collect();
        }
        [&mut self.x, &mut self.y, &mut self.covered].into_iter().for_each(|values| values.resize(side, 0.0));
        // a footprint reaches half a pixel to each side, and so does the first pixel, whose centre is at 0
        let overlap = |at: f32, end: f32| ((at + 1.0).min(end) - at.max(0.0)).max(0.0);
        for (u, ((x, y), covered)) in self.ramp.iter().zip(self.x.iter_mut().zip(&mut self.y).zip(&mut self.covered)) {
            let at = (x_0 + u * x_step, y_0 + u * y_step);
            (*x, *y) = at;
            *covered = overlap(at.0, x_end) * overlap(at.1, y_end);
        }
    }
}

impl Spots {
    /// Positions that lie beyond the plane are moved to its edge.
    #[inline(always)]
    fn locate(&mut self, plane: Plane<'_>, row: &Row, (times, more): (f32, f32)) {
        let side = row.x.len();
        self.at.resize(side, 0);
        [&mut self.x, &mut self.y].into_iter().for_each(|values| values.resize(side, 0.0));
        let (width, [last_x, last_y]) = (plane.width as i32, [plane.width, plane.height].map(|length| (length - 1) as f32));
        let positions = row.x.iter().zip(&row.y);
        for ((x, y), ((at, beyond_x), beyond_y)) in positions.zip(self.at.iter_mut().zip(&mut self.x).zip(&mut self.y)) {
            let (x, y) = ((x * times + more).max(0.0).min(last_x), (y * times + more).max(0.0).min(last_y));
            let ((left, whole_x), (top, whole_y)) = (before(x, last_x - 1.0), before(y, last_y - 1.0));
            // no overflow: a picture has fewer than 2^31 samples
            *at = top.wrapping_mul(width).wrapping_add(left) as u32;
            (*beyond_x, *beyond_y) = (x - whole_x, y - whole_y);
        }
    }

    /// Interpolates between the samples around each position.
    #[inline(always)]
    fn mix(&self, corners: &[u32], mixed: &mut Vec<f32>) {
        mixed.resize(corners.len(), 0.0);
        for ((corners, (x, y)), mixed) in corners.iter().zip(self.x.iter().zip(&self.y)).zip(mixed) {
            let sample = |i: u32| (corners >> (8 * i) & 0xff) as i32 as f32;
            let above = sample(0) + (sample(1) - sample(0)) * x;
            let below = sample(2) + (sample(3) - sample(2)) * x;
            *mixed = above + (below - above) * y;
        }
    }
}

/// The whole number at or before a position, as one and as a float; the position is 0 or above, and at most 1 beyond `most`, which is whole
/// and below 2^22.
///
/// A cast would look at each number whether it fits, one by one. Added to 2^23 a number loses what is after its point, by rounding, and
/// what is left is in its lowest bits. Of a whole number that one before it may come, which is as good.
#[inline(always)]
fn before(position: f32, most: f32) -> (i32, f32) {
    const MAGIC: f32 = (1 << 23) as f32;
    let sum = (position - 0.5).max(0.0).min(most) + MAGIC;
    ((sum.to_bits() & 0x7f_ffff) as i32, sum - MAGIC)
}

/// Fetches the samples around each position.
#[inline(always)]
fn gather(plane: Plane<'_>, spots: &[u32], corners: &mut Vec<u32>) {
    corners.resize(spots.len(), 0);
    let around = plane.width + 2;
    let pair = |pair: Option<&[u8; 2]>| u32::from(u16::from_le_bytes(pair.copied().unwrap_or_default()));
    for (at, corners) in spots.iter().zip(corners) {
        let around = &plane.samples[*at as usize..][..around];
        *corners = pair(around.first_chunk()) | pair(around.last_chunk()) << 16;
    }
}

/// From samples to a normalised channel.
struct Channel {
    /// Of Y, Cb and Cr, and what is added.
    weights: [f32; 4],
    /// What black and full brightness become, without the offset, by size.
    range: [f32; 2],
    /// What black becomes.
    offset: f32,
}

impl Channel {
    fn new(to_rgb: ToRgb, affine: Affine, c: usize) -> Self {
        let (scale, full) = (affine.scale[c], 255.0 * affine.scale[c]);
        Self { weights: to_rgb.channel(c).map(|weight| weight * scale), range: [full.min(0.0), full.max(0.0)], offset: affine.offset[c] }
    }

    #[inline(always)]
    fn convert(&self, [y, cb, cr]: [&[f32]; 3], covered: &[f32], values: &mut [f32]) {
        let ([of_y, of_cb, of_cr, more], [low, high]) = (self.weights, self.range);
        for (((y, (cb, cr)), covered), value) in y.iter().zip(cb.iter().zip(cr)).zip(covered).zip(values) {
            let inside = y * of_y + cb * of_cb + cr * of_cr + more;
            *value = inside.max(low).min(high) * covered + self.offset;
        }
    }
}
