//! `halfpipe:job/objects`: granted objects by role. Paths stay on this side.

use std::io::{BufWriter, Write};

use halfpipe_core::{ByteBudget, Size, VideoFormat};
use halfpipe_media::{DecodeOptions, EncodeOptions, FfmpegSink, FfmpegSource, SourceFile};
use wasmtime::component::Resource;

use crate::bindings::halfpipe::job::objects::{Host, HostFile};
use crate::bindings::halfpipe::media::errors::Error;
use crate::bindings::halfpipe::media::video::Encoding;
use crate::error::HostError;
use crate::grants::role;
use crate::report::Warning;
use crate::resources::{FileHandle, SinkHandle, SourceHandle};
use crate::state::JobState;

/// Most bytes of one append.
const LARGEST_APPEND: usize = 4 << 20;
/// Frames that may wait in front of the guest, and as many behind it: four batches of the usual size.
const QUEUE_FRAMES: u64 = 32;
/// But no more than these bytes, about two batches at 1080p.
const QUEUE_BYTES: u64 = 48 << 20;

/// A queue of frames before or behind the guest; in lockstep it holds one batch at a time.
pub(crate) fn queue(picture_bytes: u64, lockstep: bool) -> ByteBudget {
    let wanted = QUEUE_FRAMES * picture_bytes;
    ByteBudget::new(if lockstep { 1 } else { wanted.min(QUEUE_BYTES) })
}

impl JobState {
    fn denied(&self, what: &str, wanted: &str, granted: impl Iterator<Item = String>) -> HostError {
        let granted: Vec<String> = granted.collect();
        Error::Denied(format!("this job was not granted {what} {wanted:?} (granted: {})", granted.join(", "))).into()
    }

    /// The staged output of a role, taken by the guest once.
    fn start_output(&mut self, wanted: &str) -> Result<std::path::PathBuf, HostError> {
        if !self.grants.outputs.contains_key(wanted) {
            return Err(self.denied("the output", wanted, self.grants.outputs.keys().cloned()));
        }
        match self.grants.outputs.get_mut(wanted) {
            Some(staged) if !staged.created => {
                staged.created = true;
                Ok(staged.path.clone())
            }
            _ => Err(Error::InvalidArgument(format!("the output {wanted:?} was started already")).into()),
        }
    }
}

impl JobState {
    /// What encodes frames of this size; told where it is not what this job's videos are encoded with.
    fn settle_encoder(&mut self, size: Size) -> wasmtime::Result<()> {
        let wanted = self.encoder;
        self.encoder = self.shared()?.codecs.encoder_for(wanted, size);
        if self.encoder != wanted {
            let message = format!("{} does not take frames of {size}, so {} encoded the video", wanted.name(), self.encoder.name());
            self.warnings.push(Warning { code: "software_video".into(), message });
        }
        Ok(())
    }
}

impl Host for JobState {
    async fn open_video(&mut self, wanted: String) -> Result<Resource<SourceHandle>, HostError> {
        self.touch();
        let Some(path) = self.grants.inputs.get(&wanted).cloned() else {
            return Err(self.denied("the input", &wanted, self.grants.inputs.keys().cloned()));
        };
        let ready = if wanted == role::INPUT { self.ready.take() } else { None };
        let source = match ready {
            Some(source) => source,
            None => {
                let mut options = DecodeOptions::new(queue(self.picture_bytes, self.lockstep));
                options.window = self.window;
                options.clock = self.stages.clone();
                options.decoder = self.decoder;
                let opened = FfmpegSource::open(&self.shared()?.tools, &path, options);
                self.blame(opened)?
            }
        };
        if wanted == role::INPUT {
            self.input = Some(halfpipe_media::FrameSource::info(&source).clone());
        }
        Ok(self.table.push(SourceHandle { source: Box::new(source), ended: false })?)
    }

    async fn create_video(&mut self, wanted: String, encoding: Encoding) -> Result<Resource<SinkHandle>, HostError> {
        self.touch();
        let Some(info) = self.input.clone() else {
            return Err(Error::InvalidArgument("open the input first: rate, timestamps, colour and sound follow it".into()).into());
        };
        let size = Size::new(encoding.size.width, encoding.size.height);
        if !(1..=16384).contains(&size.width) || !(1..=16384).contains(&size.height) {
            return Err(Error::InvalidArgument(format!("a video of {size}; each side must be 1 to 16384")).into());
        }
        if encoding.quality.is_some_and(|q| q > 51) {
            return Err(Error::InvalidArgument("quality must be 0 to 51".into()).into());
        }
        let path = self.start_output(&wanted)?;
        self.settle_encoder(size)?;
        let format = VideoFormat { size, ..info.format };
        let mut options = EncodeOptions::new(format, info.frame_rate, queue(self.picture_bytes, self.lockstep)).with_encoder(self.encoder);
        if let Some(input) = self.grants.inputs.get(role::INPUT) {
            options.source = Some(SourceFile { path: input.clone(), info });
        }
        options.window = self.window;
        options.clock = self.stages.clone();
        if let Some(quality) = self.quality.or(encoding.quality) {
            options.quality = quality;
        }
        if let Some(preset) = &self.preset {
            options.preset.clone_from(preset);
        }
        // what the report says
        (self.quality, self.preset) = (Some(options.quality), Some(options.preset.clone()));
        let sink = FfmpegSink::create(&self.shared()?.tools, &path, options)?;
        Ok(self.table.push(SinkHandle { sink: Box::new(sink), role: wanted, size })?)
    }

    async fn create_file(&mut self, wanted: String, content_type: String) -> Result<Resource<FileHandle>, HostError> {
        self.touch();
        tracing::debug!(job = self.id, role = wanted, content_type, "data file");
        let path = self.start_output(&wanted)?;
        let file = std::fs::File::create(&path).map_err(|e| Error::Failed(format!("cannot write {wanted}: {e}")))?;
        Ok(self.table.push(FileHandle { writer: BufWriter::with_capacity(1 << 18, file), bytes: 0, role: wanted })?)
    }
}

impl HostFile for JobState {
    async fn append(&mut self, this: Resource<FileHandle>, bytes: Vec<u8>) -> Result<(), HostError> {
        self.touch();
        if bytes.len() > LARGEST_APPEND {
            return Err(Error::InvalidArgument(format!("{} bytes in one append; at most {LARGEST_APPEND}", bytes.len())).into());
        }
        if self.file_bytes + bytes.len() as u64 > self.limits.file_bytes {
            return Err(Error::OverBudget(format!("data files of this job may hold {} bytes", self.limits.file_bytes)).into());
        }
        self.file_bytes += bytes.len() as u64;
        let file = self.table.get_mut(&this)?;
        file.bytes += bytes.len() as u64;
        file.writer.write_all(&bytes).map_err(|e| Error::Failed(format!("cannot write {}: {e}", file.role)))?;
        Ok(())
    }

    async fn finish(&mut self, this: Resource<FileHandle>) -> Result<u64, HostError> {
        self.touch();
        let mut file = self.table.delete(this)?;
        file.writer.flush().map_err(|e| Error::Failed(format!("cannot write {}: {e}", file.role)))?;
        self.clock.progressed();
        if let Some(staged) = self.grants.outputs.get_mut(&file.role) {
            staged.finished = true;
            staged.bytes = file.bytes;
        }
        Ok(file.bytes)
    }

    async fn drop(&mut self, this: Resource<FileHandle>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
