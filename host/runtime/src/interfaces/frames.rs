//! `halfpipe:media/frames`: frame batches, pictures for networks, and crops.

use halfpipe_core as core;
use halfpipe_core::Pending;
use halfpipe_nn::image;
use wasmtime::component::Resource;

use crate::bindings::halfpipe::media::errors::Error;
use crate::bindings::halfpipe::media::frames::{
    ChannelOrder, Crop, Fit, Host, HostFrameBatch, Letterboxed, Normalization, PictureFormat, PixelLayout, Sampling, Size,
};
use crate::error::HostError;
use crate::resources::{BookedTensor, FramesHandle, TensorHandle, host_type};
use crate::state::JobState;

const fn normalization(n: &Normalization) -> core::Normalization {
    core::Normalization { mean: [n.mean.0, n.mean.1, n.mean.2], std: [n.std.0, n.std.1, n.std.2] }
}

fn crops(list: &[Crop]) -> Vec<core::Crop> {
    list.iter().map(|c| core::Crop { frame: c.frame, center: [c.center_x, c.center_y], side: c.side, rotation: c.rotation }).collect()
}

const fn core_size(size: Size) -> core::Size {
    core::Size::new(size.width, size.height)
}

const fn picture_format(format: &PictureFormat) -> image::PictureFormat {
    image::PictureFormat {
        size: core_size(format.size),
        fit: match format.fit {
            Fit::LetterboxCorner => core::Fit::LetterboxCorner,
            Fit::LetterboxCenter => core::Fit::LetterboxCenter,
            Fit::Stretch => core::Fit::Stretch,
        },
        fill: [format.fill.0, format.fill.1, format.fill.2],
        norm: normalization(&format.norm),
        layout: match format.layout {
            PixelLayout::Nchw => image::PixelLayout::Nchw,
            PixelLayout::Nhwc => image::PixelLayout::Nhwc,
            PixelLayout::Chw => image::PixelLayout::Chw,
            PixelLayout::Hwc => image::PixelLayout::Hwc,
        },
        channels: match format.channels {
            ChannelOrder::Rgb => image::ChannelOrder::Rgb,
            ChannelOrder::Bgr => image::ChannelOrder::Bgr,
        },
        element: host_type(format.element),
    }
}

impl JobState {
    /// Frames of a batch as pictures for a network.
    async fn fit_frames(
        &mut self,
        this: &Resource<FramesHandle>,
        frames: &[u32],
        format: image::PictureFormat,
    ) -> Result<Letterboxed, HostError> {
        let batch = self.table.get(this)?.batch.clone();
        let queued = self.shared()?.nn.fitted(&batch, frames, format, &self.stages).await;
        let (tensor, map) = queued.map_err(|e| Error::InvalidArgument(e.to_string()))?;
        let tensor = self.hand_out(tensor, format.bytes(frames.len())).await?;
        Ok(Letterboxed { tensor, scale_x: map.scale[0], scale_y: map.scale[1], offset_x: map.offset[0], offset_y: map.offset[1] })
    }

    /// Hands out a tensor whose size is known before it is computed, booked at once.
    async fn hand_out(&mut self, tensor: Pending<halfpipe_nn::Tensor>, bytes: usize) -> Result<Resource<TensorHandle>, HostError> {
        let lease = self.budget.try_take(bytes as u64)?;
        self.pace(&tensor).await;
        let value = tensor.map(|t| Ok(BookedTensor { tensor: halfpipe_nn::Tensor::clone(&t), lease }));
        Ok(self.table.push(TensorHandle { value })?)
    }
}

impl Host for JobState {}

impl HostFrameBatch for JobState {
    fn len(&mut self, this: Resource<FramesHandle>) -> wasmtime::Result<u32> {
        self.touch();
        Ok(self.table.get(&this)?.batch.len() as u32)
    }

    fn first_index(&mut self, this: Resource<FramesHandle>) -> wasmtime::Result<u64> {
        self.touch();
        Ok(self.table.get(&this)?.batch.first_index)
    }

    fn timestamps(&mut self, this: Resource<FramesHandle>) -> wasmtime::Result<Vec<f64>> {
        self.touch();
        let batch = &self.table.get(&this)?.batch;
        Ok((0..batch.len()).map(|i| batch.seconds(i)).collect())
    }

    fn size(&mut self, this: Resource<FramesHandle>) -> wasmtime::Result<Size> {
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
        self.fit_frames(&this, &frames, image::PictureFormat::letterbox(core_size(target), normalization(&norm))).await
    }

    async fn fitted(&mut self, this: Resource<FramesHandle>, frames: Vec<u32>, format: PictureFormat) -> Result<Letterboxed, HostError> {
        self.touch();
        self.fit_frames(&this, &frames, picture_format(&format)).await
    }

    async fn crops(
        &mut self,
        this: Resource<FramesHandle>,
        crops: Vec<Crop>,
        sampling: Sampling,
        side: u32,
        norm: Normalization,
    ) -> Result<Resource<TensorHandle>, HostError> {
        self.touch();
        let batch = self.table.get(&this)?.batch.clone();
        let crops = self::crops(&crops);
        let sampling = match sampling {
            Sampling::Averaged => image::Sampling::Averaged,
            Sampling::Blurred(blur) => image::Sampling::Blurred(blur),
        };
        let tensor = self
            .shared()?
            .nn
            .crops(&batch, &crops, sampling, side, normalization(&norm), &self.stages)
            .await
            .map_err(|e| Error::InvalidArgument(e.to_string()))?;
        let size = core::Size::new(side, side);
        self.hand_out(tensor, image::PictureFormat::letterbox(size, normalization(&norm)).bytes(crops.len())).await
    }

    fn drop(&mut self, this: Resource<FramesHandle>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
