//! `halfpipe:media/frames`: frame batches, letterboxes and crops.

use halfpipe_core as core;
use halfpipe_core::Pending;
use wasmtime::component::Resource;

use crate::bindings::halfpipe::media::errors::Error;
use crate::bindings::halfpipe::media::frames::{Crop, Fit, Host, HostFrameBatch, Letterboxed, Normalization, Size};
use crate::error::HostError;
use crate::resources::{BookedTensor, FramesHandle, TensorHandle};
use crate::state::JobState;

const fn normalization(n: &Normalization) -> core::Normalization {
    core::Normalization { mean: [n.mean.0, n.mean.1, n.mean.2], std: [n.std.0, n.std.1, n.std.2] }
}

fn crops(list: &[Crop]) -> Vec<core::Crop> {
    list.iter().map(|c| core::Crop { frame: c.frame, center: [c.center_x, c.center_y], side: c.side, rotation: c.rotation }).collect()
}

/// The core's way to fill a picture.
pub const fn core_fit(fit: Fit) -> core::Fit {
    match fit {
        Fit::LetterboxCorner => core::Fit::LetterboxCorner,
        Fit::LetterboxCenter => core::Fit::LetterboxCenter,
        Fit::Stretch => core::Fit::Stretch,
    }
}

impl JobState {
    /// Hands out a tensor whose size is known before it is computed, booked at once.
    async fn hand_out(&mut self, tensor: Pending<halfpipe_nn::Tensor>, bytes: u64) -> Result<Resource<TensorHandle>, HostError> {
        let lease = self.budget.try_take(bytes)?;
        self.pace(&tensor).await;
        let value = tensor.map(|t| Ok(BookedTensor { tensor: halfpipe_nn::Tensor::clone(&t), lease }));
        Ok(self.table.push(TensorHandle { value })?)
    }
}

/// Bytes of `n` RGB pictures of f32.
const fn tensor_bytes(n: usize, width: u32, height: u32) -> u64 {
    n as u64 * 3 * 4 * width as u64 * height as u64
}

impl Host for JobState {}

impl HostFrameBatch for JobState {
    async fn len(&mut self, this: Resource<FramesHandle>) -> wasmtime::Result<u32> {
        self.touch();
        Ok(self.table.get(&this)?.batch.len() as u32)
    }

    async fn first_index(&mut self, this: Resource<FramesHandle>) -> wasmtime::Result<u64> {
        self.touch();
        Ok(self.table.get(&this)?.batch.first_index)
    }

    async fn timestamps(&mut self, this: Resource<FramesHandle>) -> wasmtime::Result<Vec<f64>> {
        self.touch();
        let batch = &self.table.get(&this)?.batch;
        Ok((0..batch.len()).map(|i| batch.seconds(i)).collect())
    }

    async fn size(&mut self, this: Resource<FramesHandle>) -> wasmtime::Result<Size> {
        self.touch();
        let size = self.table.get(&this)?.batch.format.size;
        Ok(Size { width: size.width, height: size.height })
    }

    async fn letterbox(
        &mut self,
        this: Resource<FramesHandle>,
        frames: Vec<u32>,
        target: Size,
        norm: Normalization,
    ) -> Result<Letterboxed, HostError> {
        self.touch();
        let batch = self.table.get(&this)?.batch.clone();
        let size = core::Size::new(target.width, target.height);
        let (tensor, map) = self
            .shared()?
            .nn
            .letterbox(&batch, &frames, size, normalization(&norm), &self.stages)
            .await
            .map_err(|e| Error::InvalidArgument(e.to_string()))?;
        let tensor = self.hand_out(tensor, tensor_bytes(frames.len(), target.width, target.height)).await?;
        Ok(Letterboxed { tensor, scale_x: map.scale[0], scale_y: map.scale[1], offset_x: map.offset[0], offset_y: map.offset[1] })
    }

    async fn fitted(
        &mut self,
        this: Resource<FramesHandle>,
        frames: Vec<u32>,
        target: Size,
        fit: Fit,
        fill: u8,
        norm: Normalization,
    ) -> Result<Letterboxed, HostError> {
        self.touch();
        let batch = self.table.get(&this)?.batch.clone();
        let size = core::Size::new(target.width, target.height);
        let (tensor, map) = self
            .shared()?
            .nn
            .fitted(&batch, &frames, size, core_fit(fit), fill, normalization(&norm), &self.stages)
            .await
            .map_err(|e| Error::InvalidArgument(e.to_string()))?;
        let tensor = self.hand_out(tensor, tensor_bytes(frames.len(), target.width, target.height)).await?;
        Ok(Letterboxed { tensor, scale_x: map.scale[0], scale_y: map.scale[1], offset_x: map.offset[0], offset_y: map.offset[1] })
    }

    async fn crops(
        &mut self,
        this: Resource<FramesHandle>,
        crops: Vec<Crop>,
        side: u32,
        norm: Normalization,
    ) -> Result<Resource<TensorHandle>, HostError> {
        self.touch();
        let batch = self.table.get(&this)?.batch.clone();
        let crops = self::crops(&crops);
        let tensor = self
            .shared()?
            .nn
            .crops(&batch, &crops, side, normalization(&norm), &self.stages)
            .await
            .map_err(|e| Error::InvalidArgument(e.to_string()))?;
        self.hand_out(tensor, tensor_bytes(crops.len(), side, side)).await
    }

    async fn blurred_crops(
        &mut self,
        this: Resource<FramesHandle>,
        crops: Vec<Crop>,
        blur: Vec<f32>,
        side: u32,
        norm: Normalization,
    ) -> Result<Resource<TensorHandle>, HostError> {
        self.touch();
        let batch = self.table.get(&this)?.batch.clone();
        let crops = self::crops(&crops);
        let tensor = self
            .shared()?
            .nn
            .blurred_crops(&batch, &crops, &blur, side, normalization(&norm), &self.stages)
            .await
            .map_err(|e| Error::InvalidArgument(e.to_string()))?;
        self.hand_out(tensor, tensor_bytes(crops.len(), side, side)).await
    }

    async fn drop(&mut self, this: Resource<FramesHandle>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
