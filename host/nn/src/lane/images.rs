//! Image operations: whole frames as the pictures that a network takes, and crops.

use halfpipe_core::{Crop, FrameBatch, LetterboxMap, Normalization, Pending, StageClock};

use super::{NnLane, image_command};
use crate::image::{ImageJob, PictureFormat, Sampling};
use crate::{NnError, Tensor};

impl NnLane {
    /// Queues the making of pictures out of frames (indices within the batch). The map says where a frame lies in them.
    ///
    /// # Errors
    /// [`NnError::InvalidArgument`] at once where an argument is out of range (limits in [`crate::image`]).
    pub async fn fitted(
        &self,
        batch: &FrameBatch,
        frames: &[u32],
        format: PictureFormat,
        clock: &StageClock,
    ) -> Result<(Pending<Tensor>, LetterboxMap), NnError> {
        let job = ImageJob::fitted(batch, frames, format)?;
        let (command, tensor) = image_command("fitted", batch, job, clock);
        self.send(command).await?;
        Ok((tensor, LetterboxMap::of(format.fit, batch.format.size, format.size)))
    }

    /// Queues the cutting of squares out of frames, resampled to `side` x `side`: `[n, 3, side, side]`, f32, RGB, black
    /// outside the frame.
    ///
    /// # Errors
    /// [`NnError::InvalidArgument`] at once where an argument is out of range (limits in [`crate::image`]).
    pub async fn crops(
        &self,
        batch: &FrameBatch,
        crops: &[Crop],
        sampling: Sampling,
        side: u32,
        norm: Normalization,
        clock: &StageClock,
    ) -> Result<Pending<Tensor>, NnError> {
        let (command, tensor) = image_command("crops", batch, ImageJob::crops(batch, crops, sampling, side, norm)?, clock);
        self.send(command).await?;
        Ok(tensor)
    }
}
