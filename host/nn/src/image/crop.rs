//! Crops: squares of a frame, perhaps turned, resampled to the side of a tensor; black outside the frame.
//!
//! The plain way: samples are interpolated straight from the frame's planes or, where the square is much larger than its target, from
//! what lies under it averaged down by a whole factor. 4D-Humans' way goes through a blurred patch of RGB pixels.
//!
//! All but the blur is compiled twice, for any processor and for those with AVX2, and `Arch::dispatch` calls the one that fits. What is to be in
//! the second has to be inlined. Both compute the same numbers.

use std::ops::Range;

use halfpipe_core::{Colour, Crop, Normalization, Picture, Size};
use pulp::{Arch, NullaryFnOnce};

use super::average::{Channel, Means};
use super::bilinear::{Bilinear, Plane, Source};
use super::blur;
use super::colour::{Affine, ToRgb};
use super::grid::{Samples, Window};
use super::patch::Patch;

/// Pixels of the frame under one band of a blurred crop, about.
const BAND_PIXELS: f64 = 1e6;

/// Cuts squares out of pictures; keeps its scratch memory.
#[derive(Debug, Default)]
pub(super) struct Cropper {
    bilinear: Bilinear,
    means: [Means; 3],
    patch: Patch,
}

/// What a square is cut out of, and what its pixels become.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) picture: &'a Picture,
    pub(super) colour: Colour,
    /// Length of its sides, pixels.
    pub(super) side: u32,
    pub(super) norm: Normalization,
}

impl Target<'_> {
    /// Makes rows of the planes `[3, side, side]` black.
    fn blacken(&self, rows: &Range<u32>, planes: &mut [f32]) {
        let side = self.side as usize;
        let rows = rows.start as usize * side..rows.end as usize * side;
        let planes = planes.chunks_exact_mut(side * side);
        planes.zip(Affine::new(self.norm).offset).for_each(|(plane, black)| plane[rows.clone()].fill(black));
    }
}

impl Cropper {
    /// Writes one crop into the planes `[3, side, side]`.
    pub(super) fn run(&mut self, target: Target<'_>, crop: &Crop, planes: &mut [f32]) {
        let (factor, samples) = Samples::of(crop, target.side);
        match samples.window(target.picture.size(), factor, target.side, &(0..target.side), 0) {
            None => target.blacken(&(0..target.side), planes),
            Some(window) => Arch::new().dispatch(Cut { cropper: self, target, factor, window, samples, planes }),
        }
    }

    /// Writes one crop into the planes `[3, side, side]`, out of a frame blurred by a Gaussian of standard deviation `sigma`.
    pub(super) fn run_blurred(&mut self, target: Target<'_>, crop: &Crop, sigma: f32, planes: &mut [f32]) {
        let Target { picture, side, .. } = target;
        let samples = Samples::by_index(crop, side);
        // bands of a turned crop would lie across the frame, and each need most of it
        let upright = crop.rotation == 0.0;
        let pixels = if upright { f64::from(crop.side).powi(2).min(picture.size().area() as f64) } else { 0.0 };
        let bands = (pixels / BAND_PIXELS).ceil().clamp(1.0, f64::from(side)) as u32;
        let height = side.div_ceil(bands);
        for top in (0..side).step_by(height as usize) {
            let band = top..(top + height).min(side);
            match samples.window(picture.size(), 1, side, &band, blur::radius(sigma)) {
                None => target.blacken(&band, planes),
                Some(window) => Arch::new().dispatch(CutBlurred { patch: &mut self.patch, target, window, sigma, samples, band, planes }),
            }
        }
        self.patch.forget_if_large();
    }
}

/// A crop to be cut out of the frame averaged down by `factor`.
struct Cut<'a> {
    cropper: &'a mut Cropper,
    target: Target<'a>,
    factor: usize,
    window: Window,
    samples: Samples,
    planes: &'a mut [f32],
}

impl NullaryFnOnce for Cut<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Cut { cropper: Cropper { bilinear, means, .. }, target, factor, window, samples, planes } = self;
        let Target { picture, colour, side, norm } = target;
        let (size, channels) = (picture.size(), channels(picture));
        let own = channels.map(|channel| Plane::new(channel.samples, channel.width, channel.height));
        let (source, samples) = match (factor, own) {
            (1, [Some(luma), Some(cb), Some(cr)]) => (Source::of_frame([luma, cb, cr], size), samples),
            // the frame is so small that its samples have to be repeated for there to be four around every position
            (1, _) => {
                for (channel, means) in channels.iter().zip(&mut *means) {
                    means.fill(*channel, 1, &(0..channel.width), &(0..channel.height));
                }
                (Source::of_frame(means.each_ref().map(Means::plane), size), samples)
            }
            _ => {
                for (channel, (means, factor)) in channels.iter().zip(means.iter_mut().zip([factor, factor / 2, factor / 2])) {
                    means.fill(*channel, factor, &window.x, &window.y);
                }
                let corner = [window.x.start as f64, window.y.start as f64];
                let end = |pixels: u32, corner: f64| (f64::from(pixels) / factor as f64 - corner) as f32;
                let end = [end(size.width, corner[0]), end(size.height, corner[1])];
                (Source::of_planes(means.each_ref().map(Means::plane), end), samples.from(corner))
            }
        };
        // called in one place, so that it is inlined
        bilinear.run(&source, samples, side as usize, ToRgb::new(colour), Affine::new(norm), planes);
    }
}

/// Part of a blurred crop, to be cut out: the rows `band` of the target.
struct CutBlurred<'a> {
    patch: &'a mut Patch,
    target: Target<'a>,
    window: Window,
    sigma: f32,
    samples: Samples,
    band: Range<u32>,
    planes: &'a mut [f32],
}

impl NullaryFnOnce for CutBlurred<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let CutBlurred { patch, target: Target { picture, colour, side, norm }, window, sigma, samples, band, planes } = self;
        patch.fill(channels(picture), ToRgb::new(colour), &window);
        patch.blur(sigma);
        patch.sample(samples, side, band, Affine::new(norm), planes);
    }
}

/// The picture's planes.
fn channels(picture: &Picture) -> [Channel<'_>; 3] {
    let (Size { width, height }, chroma) = (picture.size(), picture.size().chroma());
    let [luma, cb, cr] = picture.planes();
    [(luma, width, height), (cb, chroma.width, chroma.height), (cr, chroma.width, chroma.height)].map(|(samples, width, height)| Channel {
        samples,
        width: width as usize,
        height: height as usize,
    })
}
