//! Image operations: pictures in YCbCr 4:2:0 become normalised RGB tensors `[n, 3, height, width]`, f32; whole frames also become
//! tensors of other layouts, channel orders and element types ([`PictureFormat`]).
//!
//! Pixel centres lie at +0.5. Chroma samples are taken to lie at the centre of the 2 x 2 luma pixels they cover, so the
//! frame position (x, y) is (x / 2, y / 2) in a chroma plane.

mod average;
mod bilinear;
mod blur;
mod colour;
mod crop;
mod format;
mod grid;
mod letterbox;
mod patch;
#[cfg(test)]
mod reference;

use std::sync::Arc;

use halfpipe_core::{Crop, FrameBatch, LetterboxMap, Normalization, Picture, Size};

use crate::{NnError, Tensor};
use crop::{Cropper, Target};
use format::Packed;
use letterbox::Letterboxer;

pub use format::{ChannelOrder, PictureFormat, PixelLayout};

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

/// What a tensor's pictures show: whole frames or squares of them.
#[derive(Debug, Clone, PartialEq)]
pub enum ImageJob {
    /// Whole frames, scaled.
    Fitted {
        /// Frames within the batch.
        frames: Vec<u32>,
        /// The pictures wanted.
        format: PictureFormat,
        /// Where a frame lies in them.
        map: LetterboxMap,
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
    /// Some of a batch's frames as the pictures that a network takes, checked.
    ///
    /// # Errors
    /// [`NnError::InvalidArgument`] that names the argument and its range.
    pub fn fitted(batch: &FrameBatch, frames: &[u32], format: PictureFormat) -> Result<Self, NnError> {
        let PictureFormat { size, fit, norm, layout, element, .. } = format;
        for (name, value) in [("width", size.width), ("height", size.height)] {
            check((1..=MAX_TARGET).contains(&value), || format!("the target's {name} is {value}, not 1 to {MAX_TARGET}"))?;
        }
        check_count("frames", frames.len(), size)?;
        check(layout.has_batch() || frames.len() == 1, || format!("there are {} frames where the layout has room for one", frames.len()))?;
        frames.iter().try_for_each(|f| check_frame(*f, batch))?;
        check_norm(norm)?;
        check(PictureFormat::ELEMENTS.contains(&element), || format!("pictures are f32, f16 or u8, not {element}"))?;
        let map = LetterboxMap::of(fit, batch.format.size, size);
        Ok(Self::Fitted { frames: frames.to_vec(), format, map })
    }

    /// Squares of a batch's frames, checked. [`Sampling::Blurred`] has one standard deviation a crop.
    ///
    /// # Errors
    /// [`NnError::InvalidArgument`] that names the argument and its range.
    pub fn crops(batch: &FrameBatch, crops: &[Crop], sampling: Sampling, side: u32, norm: Normalization) -> Result<Self, NnError> {
        check_crops(batch, crops, side, norm)?;
        if let Sampling::Blurred(blur) = &sampling {
            check_blur(batch, crops, blur)?;
        }
        Ok(Self::Crops { crops: crops.to_vec(), sampling, side, norm })
    }

    /// Pictures in the tensor.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::Fitted { frames, .. } => frames.len(),
            Self::Crops { crops, .. } => crops.len(),
        }
    }

    /// Size of the tensor's pictures.
    #[must_use]
    pub fn target(&self) -> Size {
        match self {
            Self::Fitted { format, .. } => format.size,
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
    /// Makes the tensor of a job on the pictures of its batch.
    ///
    /// # Errors
    /// [`NnError::InvalidArgument`] where the pictures are not those the batch promised.
    pub fn run(&mut self, batch: &FrameBatch, pictures: &[Arc<Picture>], job: &ImageJob) -> Result<Tensor, NnError> {
        let size = batch.format.size;
        let as_promised = pictures.len() == batch.len() && pictures.iter().all(|p| p.size() == size);
        check(as_promised, || format!("the batch promised {} pictures of {size}, but others came", batch.len()))?;
        let (target, values) = (job.target(), job.count() * 3 * job.target().area());
        let (width, height) = (target.width as usize, target.height as usize);
        let colour = batch.format.colour;
        match job {
            ImageJob::Fitted { frames, format, map } => {
                let frames = frames.iter().map(|frame| &*pictures[*frame as usize]);
                let dims = format.layout.dims(job.count(), height, width);
                if format.is_as_made() {
                    let mut values = vec![0.0; values];
                    for (picture, planes) in frames.zip(values.chunks_exact_mut(3 * target.area())) {
                        self.letterboxer.run(picture, colour, map, format, planes)?;
                    }
                    return Ok(Tensor::from_vec(dims, values)?);
                }
                let unknown = || NnError::InvalidArgument(format!("pictures are not of {}", format.element));
                let mut packed = Packed::with_room(format.element, values).ok_or_else(unknown)?;
                let mut planes = vec![0.0; 3 * target.area()];
                for picture in frames {
                    self.letterboxer.run(picture, colour, map, format, &mut planes)?;
                    packed.push(&planes, format.layout, format.channels);
                }
                Ok(packed.tensor(dims)?)
            }
            ImageJob::Crops { crops, sampling, side, norm } => {
                let mut values = vec![0.0; values];
                for (i, (crop, planes)) in crops.iter().zip(values.chunks_exact_mut(3 * target.area())).enumerate() {
                    let target = Target { picture: &pictures[crop.frame as usize], colour, side: *side, norm: *norm };
                    match sampling {
                        Sampling::Averaged => self.cropper.run(target, crop, planes),
                        Sampling::Blurred(blur) => self.cropper.run_blurred(target, crop, blur[i], planes),
                    }
                }
                Ok(Tensor::from_vec(vec![job.count(), 3, height, width], values)?)
            }
        }
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

fn check_blur(batch: &FrameBatch, crops: &[Crop], blur: &[f32]) -> Result<(), NnError> {
    check(blur.len() == crops.len(), || format!("there are {} blurs for {} crops", blur.len(), crops.len()))?;
    for (i, sigma) in blur.iter().enumerate() {
        check((0.0..=MAX_BLUR).contains(sigma), || format!("the blur of crop {i} is {sigma}, not 0 to {MAX_BLUR}"))?;
    }
    let frame = batch.format.size.area() as f64;
    let work = |(crop, sigma): (&Crop, &f32)| f64::from(crop.side).powi(2).min(frame) * 4.0 * blur::radius(*sigma) as f64;
    let work: f64 = crops.iter().zip(blur).map(work).sum();
    check(work <= MAX_BLUR_WORK, || "the blurs of these crops are too much work for one call; give fewer crops a call".into())
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
