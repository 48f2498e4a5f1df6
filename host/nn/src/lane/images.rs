//! Image operations beyond the common letterbox and crops: frames placed otherwise, and crops as 4D-Humans cuts them.

use halfpipe_core::{Crop, Fit, FrameBatch, LetterboxMap, Normalization, Pending, Size, StageClock};

use super::{NnLane, image_command};
use crate::image::ImageJob;
use crate::{NnError, Tensor};

impl NnLane {
    /// Queues the scaling of frames (indices within the batch) into `target`, placed as `fit` says, the rest of the grey level
    /// `fill`. The tensor is `[n, 3, height, width]`, f32, RGB; the map says where a frame lies in it.
    ///
    /// # Errors
    /// [`NnError::InvalidArgument`] at once where an argument is out of range (limits in [`crate::image`]).
    #[expect(clippy::too_many_arguments, reason = "the frames, where they go and how they are normalised")]
    pub async fn fitted(
        &self,
        batch: &FrameBatch,
        frames: &[u32],
        target: Size,
        fit: Fit,
        fill: u8,
        norm: Normalization,
        clock: &StageClock,
    ) -> Result<(Pending<Tensor>, LetterboxMap), NnError> {
        let job = ImageJob::fitted(batch, frames, target, fit, fill, norm)?;
        let (command, tensor) = image_command("fitted", batch, job, clock);
        self.send(command).await?;
        Ok((tensor, LetterboxMap::of(fit, batch.format.size, target)))
    }

    /// Queues the cutting of squares out of frames as 4D-Humans does it: bilinear by pixel index, out of a frame blurred by a
    /// Gaussian of standard deviation `blur[i]` (pixels of the frame): `[n, 3, side, side]`, f32, RGB, black outside the frame.
    ///
    /// # Errors
    /// [`NnError::InvalidArgument`] at once where an argument is out of range (limits in [`crate::image`]).
    pub async fn blurred_crops(
        &self,
        batch: &FrameBatch,
        crops: &[Crop],
        blur: &[f32],
        side: u32,
        norm: Normalization,
        clock: &StageClock,
    ) -> Result<Pending<Tensor>, NnError> {
        let job = ImageJob::blurred_crops(batch, crops, blur, side, norm)?;
        let (command, tensor) = image_command("blurred-crops", batch, job, clock);
        self.send(command).await?;
        Ok(tensor)
    }
}
