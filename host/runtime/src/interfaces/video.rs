//! `halfpipe:media/video`: reading and writing videos batch by batch.

use std::sync::Arc;

use halfpipe_media::Verifier;
use wasmtime::component::Resource;

use crate::bindings::halfpipe::media::errors::Error;
use crate::bindings::halfpipe::media::frames::Size;
use crate::bindings::halfpipe::media::video::{Host, HostSink, HostSource, Info, Written};
use crate::error::HostError;
use crate::grants::role;
use crate::resources::{FramesHandle, SinkHandle, SourceHandle};
use crate::state::JobState;

/// Most frames in a batch.
const LARGEST_BATCH: u32 = 64;

impl Host for JobState {}

impl HostSource for JobState {
    async fn info(&mut self, this: Resource<SourceHandle>) -> wasmtime::Result<Info> {
        self.touch();
        let info = self.table.get(&this)?.source.info();
        Ok(Info {
            size: Size { width: info.format.size.width, height: info.format.size.height },
            frame_rate: info.frame_rate.as_f64(),
            frames: info.frame_count,
            duration: info.duration_secs,
            audio: !info.audio.is_empty(),
        })
    }

    async fn next(&mut self, this: Resource<SourceHandle>, max: u32) -> Result<Option<Resource<FramesHandle>>, HostError> {
        self.touch();
        if !(1..=LARGEST_BATCH).contains(&max) {
            return Err(Error::InvalidArgument(format!("a batch of {max} frames; it must be 1 to {LARGEST_BATCH}")).into());
        }
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled.into());
        }
        let next = self.table.get_mut(&this)?.source.next(max as usize).await;
        let Some(batch) = self.blame(next)? else {
            self.input_ended = true;
            let handle = self.table.get_mut(&this)?;
            handle.ended = true;
            let report = handle.source.report();
            self.source_warnings = report.warnings();
            self.decoder = report.decoder;
            return Ok(None);
        };
        self.clock.progressed();
        self.frames_read += batch.len() as u64;
        self.pts.extend(batch.pts.iter());
        self.copied.from_decoder += batch.bytes();
        if self.first_batch.is_none() {
            let after = self.begun.elapsed();
            tracing::info!(job = self.id, milliseconds = after.as_secs_f64() * 1e3, "the guest has its first frames");
            self.first_batch = Some(after);
        }
        let lease = Arc::new(self.budget.try_take(batch.bytes())?);
        Ok(Some(self.table.push(FramesHandle { batch, lease })?))
    }

    async fn drop(&mut self, this: Resource<SourceHandle>) -> wasmtime::Result<()> {
        let SourceHandle { source, ended } = self.table.delete(this)?;
        // one is enough: whoever opens the input again and again pays for it
        if ended {
            self.ended_source.get_or_insert(source);
        }
        Ok(())
    }
}

impl HostSink for JobState {
    async fn write(&mut self, this: Resource<SinkHandle>, frames: Resource<FramesHandle>) -> Result<(), HostError> {
        self.touch();
        let frames = self.table.delete(frames)?;
        let (count, bytes) = (frames.batch.len() as u64, frames.batch.bytes());
        let sink = self.table.get_mut(&this)?;
        if frames.batch.format.size != sink.size {
            let (got, want) = (frames.batch.format.size, sink.size);
            return Err(Error::InvalidArgument(format!("frames of {got} for a video of {want}")).into());
        }
        sink.sink.write(frames.batch).await?;
        self.clock.progressed();
        self.frames_written += count;
        self.copied.to_encoder += bytes;
        self.count_drawn(false).await?;
        Ok(())
    }

    async fn finish(&mut self, this: Resource<SinkHandle>) -> Result<Written, HostError> {
        self.touch();
        let SinkHandle { sink, role, .. } = self.table.delete(this)?;
        if role == role::OUTPUT {
            self.verifier = Verifier::start(&self.shared()?.tools);
        }
        let written = sink.finish().await?;
        self.clock.progressed();
        self.warnings.extend(written.warnings.iter().map(|w| crate::report::Warning { code: "encoding".into(), message: w.clone() }));
        if let Some(staged) = self.grants.outputs.get_mut(&role) {
            staged.finished = true;
            staged.frames = Some(written.frames);
            staged.size = Some(written.size);
            staged.bytes = written.bytes;
        }
        Ok(Written { frames: written.frames, bytes: written.bytes })
    }

    async fn drop(&mut self, this: Resource<SinkHandle>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
