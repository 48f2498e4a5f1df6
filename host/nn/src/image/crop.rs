//! Crops: squares of a frame, perhaps turned, resampled to the side of a tensor; black outside the frame.
//!
//! The plain way: the part of the frame under the square is first made into a patch of RGB pixels, averaged down by a whole factor where
//! the square is much larger than its target, with a border of black; then every pixel of the target is interpolated
//! bilinearly between four pixels of the patch. What lies outside the frame counts as black pixels in both steps.
//!
//! 4D-Humans' way: the patch has the frame's own pixels and is blurred by a Gaussian instead, which knows nothing of the black
//! around the frame, and pixels count by their index as in OpenCV. A large upright patch is made in bands.
//!
//! All but the blur is compiled twice, for any processor and for those with AVX2, and `Arch::dispatch` calls the one that fits. What is to be in
//! the second has to be inlined. Both compute the same numbers.

use std::ops::Range;

use glam::{Mat4, Vec4};
use halfpipe_core::{Colour, Crop, Normalization, Picture, Size};
use pulp::{Arch, NullaryFnOnce};

use super::blur::{self, Blur};
use super::colour::{Affine, ToRgb};

/// A patch larger than this is not kept for the next crop.
const KEPT_PIXELS: usize = 1 << 21;
/// Pixels of the frame under one band of a blurred crop, about.
const BAND_PIXELS: f64 = 1e6;

/// Cuts squares out of pictures; keeps its scratch memory.
#[derive(Debug, Default)]
pub(super) struct Cropper {
    /// RGB on the scale 0..=255 and an unused lane, so that one pixel is one vector.
    patch: Vec<Vec4>,
    luma: Vec<f32>,
    chroma: [Vec<f32>; 2],
    rows: Scratch,
    blur: Blur,
}

/// One row of samples combined from several, and one row of the target.
#[derive(Debug, Default)]
struct Scratch {
    sums: Vec<u32>,
    mixed: Vec<f32>,
    spots: Vec<Spot>,
    target: Vec<Vec4>,
}

/// Where a pixel of the target lies in the patch: the index of the pixel left above it, and how far it is beyond that, 0..=1.
#[derive(Debug, Clone, Copy, Default)]
struct Spot {
    at: u32,
    x: f32,
    y: f32,
}

/// Pixels of the averaged-down frame that a crop reads: columns `x.0..x.1`, rows `y.0..y.1`.
#[derive(Debug, Clone, Copy)]
struct Window {
    /// Frame pixels along the side of one averaged pixel: 1 or an even number.
    factor: usize,
    x: (usize, usize),
    y: (usize, usize),
}

/// Where the pixels of the target lie in the patch: `origin + u * along_u + v * along_v`.
#[derive(Debug, Clone, Copy)]
struct Samples {
    origin: [f64; 2],
    along_u: [f64; 2],
    along_v: [f64; 2],
}

/// Part of a crop, to be cut out: the rows `band` of the target.
struct Cut<'a> {
    cropper: &'a mut Cropper,
    picture: &'a Picture,
    to_rgb: ToRgb,
    window: Window,
    /// Standard deviation of the Gaussian, pixels.
    blur: Option<f32>,
    /// From the patch's corner.
    samples: Samples,
    side: u32,
    band: Range<u32>,
    affine: Affine,
    planes: &'a mut [f32],
}

impl NullaryFnOnce for Cut<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Cut { cropper, picture, to_rgb, window, blur, samples, side, band, affine, planes } = self;
        cropper.fill_patch(picture, to_rgb, window);
        if let Some(sigma) = blur {
            cropper.blur.run(sigma, &mut cropper.patch, window.x.1 - window.x.0 + 2);
        }
        cropper.sample(samples, window, side, band, affine, planes);
    }
}

impl Cropper {
    /// Writes one crop into the planes `[3, side, side]`.
    pub(super) fn run(&mut self, picture: &Picture, colour: Colour, crop: &Crop, side: u32, norm: Normalization, planes: &mut [f32]) {
        let affine = Affine::new(norm);
        let (factor, mut samples) = Samples::of(crop, side);
        let area = side as usize * side as usize;
        match samples.window(picture.size(), factor, side, &(0..side), 0) {
            None => planes.chunks_exact_mut(area).zip(affine.offset).for_each(|(plane, black)| plane.fill(black)),
            Some(window) => {
                samples.start_at(window);
                let to_rgb = ToRgb::new(colour);
                let blur = None;
                Arch::new().dispatch(Cut { cropper: self, picture, to_rgb, window, blur, samples, side, band: 0..side, affine, planes });
            }
        }
        self.forget_large_patch();
    }

    /// Writes one crop into the planes `[3, side, side]`, out of a frame blurred by a Gaussian of standard deviation `sigma`.
    #[expect(clippy::too_many_arguments, reason = "the crop, where it comes from and where it goes")]
    pub(super) fn run_blurred(
        &mut self,
        picture: &Picture,
        colour: Colour,
        crop: &Crop,
        sigma: f32,
        side: u32,
        norm: Normalization,
        planes: &mut [f32],
    ) {
        let (affine, to_rgb) = (Affine::new(norm), ToRgb::new(colour));
        let samples = Samples::by_index(crop, side);
        // bands of a turned crop would lie across the frame, and each need most of it
        let upright = crop.rotation == 0.0;
        let pixels = if upright { f64::from(crop.side).powi(2).min(picture.size().area() as f64) } else { 0.0 };
        let bands = (pixels / BAND_PIXELS).ceil().clamp(1.0, f64::from(side)) as u32;
        let height = side.div_ceil(bands);
        for top in (0..side).step_by(height as usize) {
            let band = top..(top + height).min(side);
            match samples.window(picture.size(), 1, side, &band, blur::radius(sigma)) {
                None => {
                    let (start, end) = (band.start as usize * side as usize, band.end as usize * side as usize);
                    let planes = planes.chunks_exact_mut(side as usize * side as usize);
                    planes.zip(affine.offset).for_each(|(plane, black)| plane[start..end].fill(black));
                }
                Some(window) => {
                    let mut samples = samples;
                    samples.start_at(window);
                    let blur = Some(sigma);
                    Arch::new().dispatch(Cut { cropper: self, picture, to_rgb, window, blur, samples, side, band, affine, planes });
                }
            }
        }
        self.forget_large_patch();
    }

    fn forget_large_patch(&mut self) {
        if self.patch.len() > KEPT_PIXELS {
            self.patch = Vec::new();
        }
    }

    #[inline(always)]
    fn fill_patch(&mut self, picture: &Picture, to_rgb: ToRgb, window: Window) {
        let Window { factor, x, y } = window;
        let Size { width, height } = picture.size();
        let chroma = picture.size().chroma();
        let luma_plane = Plane::new(picture.planes()[0], width, height);
        let chroma_planes = [1, 2].map(|i| Plane::new(picture.planes()[i], chroma.width, chroma.height));
        let (columns, across) = (x.1 - x.0, x.1 - x.0 + 2);
        // every pixel is written below, so an old patch need not be cleared
        self.patch.resize(across * (y.1 - y.0 + 2), Vec4::ZERO);
        self.patch[..across].fill(Vec4::ZERO);
        self.patch[across * (y.1 - y.0 + 1)..].fill(Vec4::ZERO);
        for (row, pixels) in (y.0..y.1).zip(self.patch.chunks_exact_mut(across).skip(1)) {
            luma_plane.block_means(factor, x, row, &mut self.rows.sums, &mut self.luma);
            for (plane, values) in chroma_planes.iter().zip(&mut self.chroma) {
                if factor == 1 {
                    plane.upsampled(x, row, &mut self.rows.mixed, values);
                } else {
                    plane.block_means(factor / 2, x, row, &mut self.rows.sums, values);
                }
            }
            pixels[0] = Vec4::ZERO;
            pixels[columns + 1] = Vec4::ZERO;
            let pixels = &mut pixels[1..=columns];
            let [cb, cr] = &self.chroma;
            for (pixel, ((y, cb), cr)) in pixels.iter_mut().zip(self.luma.iter().zip(cb).zip(cr)) {
                *pixel = to_rgb.lanes(*y, *cb, *cr);
            }
            // blocks at the right and bottom edge may hang over the frame
            let covered = |end: usize, size: u32| (size as usize + factor - end * factor).min(factor) as f32 / factor as f32;
            let (beside, below) = (covered(x.1, width), covered(row + 1, height));
            if below < 1.0 {
                pixels.iter_mut().for_each(|pixel| *pixel *= below);
            }
            if beside < 1.0
                && let Some(last) = pixels.last_mut()
            {
                *last *= beside;
            }
        }
    }

    /// Interpolates the target's rows `band` between pixels of the patch.
    #[inline(always)]
    fn sample(&mut self, samples: Samples, window: Window, side: u32, band: Range<u32>, affine: Affine, planes: &mut [f32]) {
        let side = side as usize;
        let across = window.x.1 - window.x.0 + 2;
        let down = window.y.1 - window.y.0 + 2;
        let (last_x, last_y) = ((across - 1) as f32, (down - 1) as f32);
        let step = samples.along_u.map(|v| v as f32);
        let (scale, offset) = affine.lanes();
        let Scratch { spots, target, .. } = &mut self.rows;
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
                let (upper, lower) = (&self.patch[at..at + 2], &self.patch[at + across..at + across + 2]);
                let above = upper[0].lerp(upper[1], spot.x);
                *pixel = above.lerp(lower[0].lerp(lower[1], spot.x), spot.y) * scale + offset;
            }
            spread(target, r, g, b);
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

impl Samples {
    /// The factor to average down by, and where target pixels lie in the frame averaged down by it. Index i of a grid
    /// stands for its pixel centre at i + 0.5.
    fn of(crop: &Crop, side: u32) -> (usize, Self) {
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
    fn by_index(crop: &Crop, side: u32) -> Self {
        let step = f64::from(crop.side) / f64::from(side);
        let (sin, cos) = f64::from(crop.rotation).sin_cos();
        let (along_u, along_v) = ([cos * step, sin * step], [-sin * step, cos * step]);
        let half = f64::from(side) / 2.0;
        let origin = std::array::from_fn(|a| f64::from(crop.center[a]) - half * (along_u[a] + along_v[a]));
        Self { origin, along_u, along_v }
    }

    /// Counts pixels from the patch's corner, which lies one black pixel before the window.
    fn start_at(&mut self, window: Window) {
        self.origin[0] += 1.0 - window.x.0 as f64;
        self.origin[1] += 1.0 - window.y.0 as f64;
    }

    /// The pixels that the target's rows `band` read, with `margin` pixels around them and one to spare for rounding; none
    /// where all of that lies outside the frame.
    fn window(&self, size: Size, factor: usize, side: u32, band: &Range<u32>, margin: usize) -> Option<Window> {
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
            (start < end).then_some((start, end))
        };
        Some(Window { factor, x: range(0, size.width)?, y: range(1, size.height)? })
    }
}

/// Means of blocks of `N` columns, whose samples have been summed up over `high` rows.
#[inline(always)]
fn means_of_columns<const N: usize>(sums: &[u32], high: usize, means: &mut Vec<f32>) {
    let (blocks, rest) = sums.as_chunks::<N>();
    let samples = (N * high) as f32;
    // no overflow: so few columns of a picture, which has fewer than 2^24 rows
    means.extend(blocks.iter().map(|block| block.iter().fold(0u32, |sum, column| sum.wrapping_add(*column)) as f32 / samples));
    means.extend((!rest.is_empty()).then(|| mean_of_columns(rest, high)));
}

#[inline(always)]
fn mean_of_columns(block: &[u32], high: usize) -> f32 {
    // 64 bits: a block may be a whole picture
    let sum: u64 = block.iter().map(|s| u64::from(*s)).sum();
    sum as f32 / (block.len() * high) as f32
}

/// One plane of a picture.
struct Plane<'a> {
    samples: &'a [u8],
    width: usize,
    height: usize,
}

impl<'a> Plane<'a> {
    fn new(samples: &'a [u8], width: u32, height: u32) -> Self {
        Self { samples, width: width as usize, height: height as usize }
    }

    #[inline(always)]
    fn row(&self, y: usize) -> &'a [u8] {
        &self.samples[y * self.width..(y + 1) * self.width]
    }

    /// Means of the blocks of `factor` x `factor` samples in columns `blocks` of block row `row`, of the samples that exist.
    #[inline(always)]
    fn block_means(&self, factor: usize, blocks: (usize, usize), row: usize, sums: &mut Vec<u32>, means: &mut Vec<f32>) {
        let columns = blocks.0 * factor..(blocks.1 * factor).min(self.width);
        let rows = row * factor..((row + 1) * factor).min(self.height);
        means.clear();
        if factor == 1 {
            means.extend(self.row(row)[columns].iter().map(|s| f32::from(*s)));
            return;
        }
        sums.clear();
        sums.resize(columns.len(), 0);
        for y in rows.clone() {
            for (sum, sample) in sums.iter_mut().zip(&self.row(y)[columns.clone()]) {
                // no overflow, for a picture has fewer than 2^24 rows; a checked sum would not be vectorised
                *sum = sum.wrapping_add(u32::from(*sample));
            }
        }
        // the usual factors by themselves: a loop of a known length costs a fraction
        match factor {
            2 => means_of_columns::<2>(sums, rows.len(), means),
            4 => means_of_columns::<4>(sums, rows.len(), means),
            6 => means_of_columns::<6>(sums, rows.len(), means),
            _ => means.extend(sums.chunks(factor).map(|block| mean_of_columns(block, rows.len()))),
        }
    }

    /// Chroma at the luma pixels `x.0..x.1` of luma row `y`, interpolated: a luma pixel lies a quarter of a chroma sample
    /// to one side of the chroma sample that covers it, so the nearer of two counts three times the other.
    #[inline(always)]
    fn upsampled(&self, x: (usize, usize), y: usize, mixed: &mut Vec<f32>, values: &mut Vec<f32>) {
        let near = y / 2;
        let far = if y.is_multiple_of(2) { near.saturating_sub(1) } else { (near + 1).min(self.height - 1) };
        let (near, far) = (self.row(near), self.row(far));
        // one more sample on either side, repeated at the edge
        let (first, last) = (x.0 / 2, (x.1 - 1) / 2);
        let (before, after) = (first.saturating_sub(1), (last + 1).min(self.width - 1));
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
}
