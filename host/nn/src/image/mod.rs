//! Image operations: pictures in YCbCr 4:2:0 become normalised RGB tensors `[n, 3, height, width]`, f32.
//!
//! Pixel centres lie at +0.5. Chroma samples are taken to lie at the centre of the 2 x 2 luma pixels they cover, so the
//! frame position (x, y) is (x / 2, y / 2) in a chroma plane.

mod blur;
mod colour;
mod crop;
mod letterbox;
#[cfg(test)]
mod reference;

use std::sync::Arc;

use halfpipe_core::{Crop, Fit, FrameBatch, LetterboxMap, Normalization, Picture, Size};

use crate::{NnError, Tensor};
use crop::Cropper;
use letterbox::Letterboxer;

/// Longest side of a letterbox, pixels.
pub const MAX_TARGET: u32 = 4096;
/// Longest side of a crop's target, pixels.
pub const MAX_SIDE: u32 = 2048;
/// Most pictures of one call.
pub const MAX_COUNT: usize = 1024;
/// Most bytes of the tensor that one call may make.
pub const MAX_BYTES: usize = 1 << 30;
/// Largest standard deviation of a blur, pixels of the frame.
pub const MAX_BLUR: f32 = 64.0;
/// Most pixels times weights that the blurs of one call may take, about a minute on one core.
pub const MAX_BLUR_WORK: f64 = 6e10;
/// Largest coordinate and side of a crop, pixels of the frame.
pub const MAX_COORDINATE: f32 = 1e6;

/// Where the pictures of a tensor go: a letterbox or squares, with the normalisation.
#[derive(Debug, Clone, PartialEq)]
pub enum ImageJob {
    /// Whole frames, scaled.
    Letterbox {
        /// Frames within the batch.
        frames: Vec<u32>,
        /// Size of the tensor's pictures.
        target: Size,
        /// Where a frame lies in it.
        map: LetterboxMap,
        /// Grey level of the rest, 0..=255.
        fill: u8,
        /// Per-channel normalisation.
        norm: Normalization,
    },
    /// Squares of frames, perhaps turned.
    Crops {
        /// The squares.
        crops: Vec<Crop>,
        /// How they are resampled.
        sampling: Sampling,
        /// Side of the tensor's pictures, pixels.
        side: u32,
        /// Per-channel normalisation.
        norm: Normalization,
    },
}

/// How a crop is resampled.
#[derive(Debug, Clone, PartialEq)]
pub enum Sampling {
    /// Averaged down where the crop is much larger than its target, then bilinear; pixel centres at +0.5.
    Averaged,
    /// As 4D-Humans does it: bilinear by pixel index, out of a frame blurred by a Gaussian of these standard deviations, one a
    /// crop, pixels of the frame.
    Blurred(Vec<f32>),
}

impl ImageJob {
    /// A letterbox at the top left corner, the rest black, of some of a batch's frames, checked.
    ///
    /// # Errors
    /// [`NnError::InvalidArgument`] that names the argument and its range.
    pub fn letterbox(batch: &FrameBatch, frames: &[u32], target: Size, norm: Normalization) -> Result<Self, NnError> {
        Self::fitted(batch, frames, target, Fit::LetterboxCorner, 0, norm)
    }

    /// Some of a batch's frames, scaled and placed as `fit` says with the grey `fill` around them, checked.
    ///
    /// # Errors
    /// [`NnError::InvalidArgument`] that names the argument and its range.
    pub fn fitted(batch: &FrameBatch, frames: &[u32], target: Size, fit: Fit, fill: u8, norm: Normalization) -> Result<Self, NnError> {
        for (name, value) in [("width", target.width), ("height", target.height)] {
            check((1..=MAX_TARGET).contains(&value), || format!("the target's {name} is {value}, not 1 to {MAX_TARGET}"))?;
        }
        check_count("frames", frames.len(), target)?;
        frames.iter().try_for_each(|f| check_frame(*f, batch))?;
        check_norm(norm)?;
        let map = LetterboxMap::of(fit, batch.format.size, target);
        Ok(Self::Letterbox { frames: frames.to_vec(), target, map, fill, norm })
    }

    /// Squares of a batch's frames, checked.
    ///
    /// # Errors
    /// [`NnError::InvalidArgument`] that names the argument and its range.
    pub fn crops(batch: &FrameBatch, crops: &[Crop], side: u32, norm: Normalization) -> Result<Self, NnError> {
        check_crops(batch, crops, side, norm)?;
        Ok(Self::Crops { crops: crops.to_vec(), sampling: Sampling::Averaged, side, norm })
    }

    /// Squares of a batch's frames, resampled as 4D-Humans does it, checked. `blur` has one standard deviation a crop, pixels
    /// of the frame.
    ///
    /// # Errors
    /// [`NnError::InvalidArgument`] that names the argument and its range.
    pub fn blurred_crops(batch: &FrameBatch, crops: &[Crop], blur: &[f32], side: u32, norm: Normalization) -> Result<Self, NnError> {
        check_crops(batch, crops, side, norm)?;
        check(blur.len() == crops.len(), || format!("there are {} blurs for {} crops", blur.len(), crops.len()))?;
        for (i, sigma) in blur.iter().enumerate() {
            check((0.0..=MAX_BLUR).contains(sigma), || format!("the blur of crop {i} is {sigma}, not 0 to {MAX_BLUR}"))?;
        }
        let frame = batch.format.size.area() as f64;
        let work = |(crop, sigma): (&Crop, &f32)| f64::from(crop.side).powi(2).min(frame) * 4.0 * blur::radius(*sigma) as f64;
        let work: f64 = crops.iter().zip(blur).map(work).sum();
        check(work <= MAX_BLUR_WORK, || "the blurs of these crops are too much work for one call; give fewer crops a call".into())?;
        Ok(Self::Crops { crops: crops.to_vec(), sampling: Sampling::Blurred(blur.to_vec()), side, norm })
    }

    /// Pictures in the tensor.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::Letterbox { frames, .. } => frames.len(),
            Self::Crops { crops, .. } => crops.len(),
        }
    }

    /// Size of the tensor's pictures.
    #[must_use]
    pub fn target(&self) -> Size {
        match self {
            Self::Letterbox { target, .. } => *target,
            Self::Crops { side, .. } => Size::new(*side, *side),
        }
    }
}

/// Does image jobs; keeps its scratch memory from one to the next.
#[derive(Debug, Default)]
pub struct ImageWorker {
    letterboxer: Letterboxer,
    cropper: Cropper,
}

impl ImageWorker {
    /// Makes the tensor `[n, 3, height, width]` of a job on the pictures of its batch.
    ///
    /// # Errors
    /// [`NnError::InvalidArgument`] where the pictures are not those the batch promised.
    pub fn run(&mut self, batch: &FrameBatch, pictures: &[Arc<Picture>], job: &ImageJob) -> Result<Tensor, NnError> {
        let size = batch.format.size;
        let as_promised = pictures.len() == batch.len() && pictures.iter().all(|p| p.size() == size);
        check(as_promised, || format!("the batch promised {} pictures of {size}, but others came", batch.len()))?;
        let target = job.target();
        let colour = batch.format.colour;
        let mut values = vec![0.0; job.count() * 3 * target.area()];
        let planes = values.chunks_exact_mut(3 * target.area());
        match job {
            ImageJob::Letterbox { frames, map, fill, norm, .. } => {
                for (frame, planes) in frames.iter().zip(planes) {
                    self.letterboxer.run(&pictures[*frame as usize], colour, map, *fill, target, *norm, planes)?;
                }
            }
            ImageJob::Crops { crops, sampling, side, norm } => {
                for (i, (crop, planes)) in crops.iter().zip(planes).enumerate() {
                    let picture = &pictures[crop.frame as usize];
                    match sampling {
                        Sampling::Averaged => self.cropper.run(picture, colour, crop, *side, *norm, planes),
                        Sampling::Blurred(blur) => self.cropper.run_blurred(picture, colour, crop, blur[i], *side, *norm, planes),
                    }
                }
            }
        }
        Ok(Tensor::from_vec(vec![job.count(), 3, target.height as usize, target.width as usize], values)?)
    }
}

fn check(holds: bool, message: impl FnOnce() -> String) -> Result<(), NnError> {
    if holds { Ok(()) } else { Err(NnError::InvalidArgument(message())) }
}

fn check_count(what: &str, count: usize, target: Size) -> Result<(), NnError> {
    let most = (MAX_BYTES / (12 * target.area())).min(MAX_COUNT);
    check(count >= 1 && count <= most, || format!("there are {count} {what}, not 1 to {most} (of {target})"))
}

fn check_crops(batch: &FrameBatch, crops: &[Crop], side: u32, norm: Normalization) -> Result<(), NnError> {
    check((1..=MAX_SIDE).contains(&side), || format!("the target's side is {side}, not 1 to {MAX_SIDE}"))?;
    check_count("crops", crops.len(), Size::new(side, side))?;
    for (i, crop) in crops.iter().enumerate() {
        check_frame(crop.frame, batch)?;
        let inside = crop.center.iter().all(|c| c.abs() <= MAX_COORDINATE);
        check(inside, || format!("the centre of crop {i} is {:?}, not within {MAX_COORDINATE} pixels of 0", crop.center))?;
        let side = crop.side > 0.0 && crop.side <= MAX_COORDINATE;
        check(side, || format!("the side of crop {i} is {}, not above 0 and up to {MAX_COORDINATE}", crop.side))?;
        check(crop.rotation.is_finite(), || format!("the rotation of crop {i} is {}, not a finite number", crop.rotation))?;
    }
    check_norm(norm)
}

fn check_frame(frame: u32, batch: &FrameBatch) -> Result<(), NnError> {
    check((frame as usize) < batch.len(), || format!("there is no frame {frame} in a batch of {}", batch.len()))
}

fn check_norm(norm: Normalization) -> Result<(), NnError> {
    let usable = norm.mean.iter().chain(&norm.std).all(|v| v.is_finite()) && norm.std.iter().all(|s| s.recip().is_finite());
    check(usable, || format!("the normalisation must be finite with a std that is not 0, not {norm:?}"))
}

#[cfg(test)]
mod tests;
