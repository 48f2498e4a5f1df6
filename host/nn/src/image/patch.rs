//! A patch of a frame in RGB, with a border of black pixels: blurred, then sampled by pixel index as in OpenCV. This is 4D-Humans' way
//! of cropping; the blur knows nothing of the black around the frame.

use std::ops::Range;

use glam::{Mat4, Vec4};

use super::average::Channel;
use super::blur::Blur;
use super::colour::{Affine, ToRgb};
use super::grid::{Samples, Window};

/// A patch larger than this is not kept for the next crop.
const KEPT_PIXELS: usize = 1 << 21;

/// The patch; keeps its memory.
#[derive(Debug, Default)]
pub(super) struct Patch {
    /// RGB on the scale 0..=255 and an unused lane, so that one pixel is one vector.
    pixels: Vec<Vec4>,
    /// Pixels of a row, and rows, with the border.
    size: (usize, usize),
    /// The frame's pixel under the first that is not border.
    corner: [f64; 2],
    chroma: [Vec<f32>; 2],
    /// A row of samples mixed from two.
    mixed: Vec<f32>,
    spots: Vec<Spot>,
    /// A row of the target.
    target: Vec<Vec4>,
    blur: Blur,
}

/// Where a pixel of the target lies in the patch: the index of the pixel left above it, and how far it is beyond that, 0..=1.
#[derive(Debug, Clone, Copy, Default)]
struct Spot {
    at: u32,
    x: f32,
    y: f32,
}

impl Patch {
    /// Converts the frame's pixels in the window.
    #[inline(always)]
    pub(super) fn fill(&mut self, channels: [Channel<'_>; 3], to_rgb: ToRgb, window: &Window) {
        let Window { x, y } = window;
        let [luma, chroma @ ..] = channels;
        let (columns, across) = (x.len(), x.len() + 2);
        self.size = (across, y.len() + 2);
        self.corner = [x.start as f64, y.start as f64];
        // every pixel is written below, so an old patch need not be cleared
        self.pixels.resize(across * (y.len() + 2), Vec4::ZERO);
        self.pixels[..across].fill(Vec4::ZERO);
        self.pixels[across * (y.len() + 1)..].fill(Vec4::ZERO);
        for (row, pixels) in y.clone().zip(self.pixels.chunks_exact_mut(across).skip(1)) {
            for (channel, values) in chroma.iter().zip(&mut self.chroma) {
                upsampled(*channel, x, row, &mut self.mixed, values);
            }
            pixels[0] = Vec4::ZERO;
            pixels[columns + 1] = Vec4::ZERO;
            let luma = &luma.samples[row * luma.width..][x.clone()];
            let [cb, cr] = &self.chroma;
            for (pixel, ((y, cb), cr)) in pixels[1..=columns].iter_mut().zip(luma.iter().zip(cb).zip(cr)) {
                *pixel = to_rgb.lanes(f32::from(*y), *cb, *cr);
            }
        }
    }

    /// Blurs all but the border by a Gaussian of standard deviation `sigma`, pixels.
    pub(super) fn blur(&mut self, sigma: f32) {
        self.blur.run(sigma, &mut self.pixels, self.size.0);
    }

    /// Interpolates the target's rows `band`; `samples` count from the frame's corner.
    #[inline(always)]
    pub(super) fn sample(&mut self, samples: Samples, side: u32, band: Range<u32>, affine: Affine, planes: &mut [f32]) {
        // from the patch's corner, which lies one black pixel before the window
        let samples = samples.from(self.corner.map(|corner| corner - 1.0));
        let side = side as usize;
        let (across, down) = self.size;
        let (last_x, last_y) = ((across - 1) as f32, (down - 1) as f32);
        let step = samples.along_u.map(|v| v as f32);
        let (scale, offset) = affine.lanes();
        let Self { pixels, spots, target, .. } = self;
        spots.resize(side, Spot::default());
        target.resize(side, Vec4::ZERO);
        let (red, rest) = planes.split_at_mut(side * side);
        let (green, blue) = rest.split_at_mut(side * side);
        let in_band = band.start as usize * side..band.end as usize * side;
        let [red, green, blue] = [red, green, blue].map(|plane| plane[in_band.clone()].chunks_exact_mut(side));
        // a patch has fewer than 2^31 pixels: its frame's fit into memory, 16 bytes each
        let (row, rightmost, lowest) = (across as i32, across as i32 - 2, down as i32 - 2);
        for (v, ((r, g), b)) in band.zip(red.zip(green).zip(blue)) {
            let start: [f32; 2] = std::array::from_fn(|a| (samples.origin[a] + f64::from(v) * samples.along_v[a]) as f32);
            // apart from the interpolation, so that both become vector instructions
            for (u, spot) in spots.iter_mut().enumerate() {
                // beyond the patch there is only black, like its border
                let x = (start[0] + u as i32 as f32 * step[0]).max(0.0).min(last_x);
                let y = (start[1] + u as i32 as f32 * step[1]).max(0.0).min(last_y);
                let (left, top) = ((x as i32).min(rightmost), (y as i32).min(lowest));
                *spot = Spot { at: top.wrapping_mul(row).wrapping_add(left) as u32, x: x - left as f32, y: y - top as f32 };
            }
            for (spot, pixel) in spots.iter().zip(target.iter_mut()) {
                let at = spot.at as usize;
                let (upper, lower) = (&pixels[at..at + 2], &pixels[at + across..at + across + 2]);
                let above = upper[0].lerp(upper[1], spot.x);
                *pixel = above.lerp(lower[0].lerp(lower[1], spot.x), spot.y) * scale + offset;
            }
            spread(target, r, g, b);
        }
    }

    /// Gives back the memory of a large patch.
    pub(super) fn forget_if_large(&mut self) {
        if self.pixels.len() > KEPT_PIXELS {
            self.pixels = Vec::new();
        }
    }
}

/// Pixels to planes.
#[inline(always)]
fn spread(pixels: &[Vec4], r: &mut [f32], g: &mut [f32], b: &mut [f32]) {
    let (fours, rest) = pixels.as_chunks::<4>();
    let mut planes = [r, g, b].map(|plane| plane.as_chunks_mut::<4>());
    for (i, four) in fours.iter().enumerate() {
        let columns = Mat4::from_cols(four[0], four[1], four[2], four[3]).transpose();
        for (plane, values) in planes.iter_mut().zip([columns.x_axis, columns.y_axis, columns.z_axis]) {
            plane.0[i] = values.to_array();
        }
    }
    for (i, pixel) in rest.iter().enumerate() {
        for (plane, value) in planes.iter_mut().zip(pixel.to_array()) {
            plane.1[i] = value;
        }
    }
}

/// Chroma at the luma pixels `x` of luma row `y`, interpolated: a luma pixel lies a quarter of a chroma sample to one side of the chroma
/// sample that covers it, so the nearer of two counts three times the other.
#[inline(always)]
fn upsampled(chroma: Channel<'_>, x: &Range<usize>, y: usize, mixed: &mut Vec<f32>, values: &mut Vec<f32>) {
    let near = y / 2;
    let far = if y.is_multiple_of(2) { near.saturating_sub(1) } else { (near + 1).min(chroma.height - 1) };
    let [near, far] = [near, far].map(|row| &chroma.samples[row * chroma.width..][..chroma.width]);
    // one more sample on either side, repeated at the edge
    let (first, last) = (x.start / 2, (x.end - 1) / 2);
    let (before, after) = (first.saturating_sub(1), (last + 1).min(chroma.width - 1));
    let vertical = |near: &u8, far: &u8| 0.75 * f32::from(*near) + 0.25 * f32::from(*far);
    mixed.clear();
    mixed.push(vertical(&near[before], &far[before]));
    mixed.extend(near[first..=last].iter().zip(&far[first..=last]).map(|(n, f)| vertical(n, f)));
    mixed.push(vertical(&near[after], &far[after]));
    // the window starts at an even column, where a chroma sample's first pixel lies
    values.resize(2 * (last + 1 - first), 0.0);
    for (three, two) in mixed.windows(3).zip(values.as_chunks_mut::<2>().0) {
        *two = [0.75 * three[1] + 0.25 * three[0], 0.75 * three[1] + 0.25 * three[2]];
    }
}
