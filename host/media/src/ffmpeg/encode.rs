//! A frame sink that is an ffmpeg process: one thread writes behind, fed through a queue with a budget of bytes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use futures::FutureExt as _;
use futures::channel::oneshot;
use futures::future::{BoxFuture, Shared};
use halfpipe_core::{ByteBudget, FrameBatch, Rational, Size, StageClock, VideoFormat};
use tokio::sync::mpsc;

use super::child::{Child, Input};
use super::encode_args::{AudioRoute, audio_route, encode_args, shift_ticks};
use super::matroska;
use super::stop::{StopHandle, stop_signal};
use super::threads::half_the_cores;
use super::writer::{Message, Writer};
use crate::tools::{FFMPEG_VARIABLE, MINIMUM_VERSION, Tools};
use crate::{Container, Encoder, FrameSink, MediaError, VideoInfo, Window, Written};

/// Batches queued at most, however small they are.
const QUEUED_BATCHES: usize = 64;

/// A video whose rate, shape of pixels, colour tags and sound an output follows.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// The file.
    pub path: PathBuf,
    /// What [`crate::probe`] said of it.
    pub info: VideoInfo,
}

/// How to encode.
#[derive(Debug, Clone)]
pub struct EncodeOptions {
    /// Size, colour and time base of the frames that will be written.
    pub format: VideoFormat,
    /// Average frames per second: a hint for the encoder.
    pub frame_rate: Rational,
    /// What the output follows; without it there is no sound and pixels are square.
    pub source: Option<SourceFile>,
    /// The stretch of the source that is written; its sound is cut to it. Of a window that is part of a plan only its own frames
    /// are written, without sound; the sink takes the others and lets them go.
    pub window: Option<Window>,
    /// What encodes.
    pub encoder: Encoder,
    /// Constant quality, 0 (lossless) to 51 (worst): x264's rate factor, or NVENC's target quality. The scales are alike, not the same.
    pub quality: u8,
    /// One of the encoder's presets. The two fastest of x264 get its macroblock tree back, see `encode_args`.
    pub preset: String,
    /// Threads of x264; 0 leaves the number to ffmpeg.
    pub threads: u32,
    /// Bytes of frames accepted and not yet written. One batch passes even where it is larger.
    pub queue: ByteBudget,
    /// Books the stage `encode`: seconds in which the writer waited for the encoder, and frames.
    pub clock: StageClock,
}

impl EncodeOptions {
    /// Frames of this format at about this rate: by x264, constant rate factor 20, preset superfast, half of the cores, no sound.
    #[must_use]
    pub fn new(format: VideoFormat, frame_rate: Rational, queue: ByteBudget) -> Self {
        let (clock, encoder) = (StageClock::default(), Encoder::X264);
        let preset = encoder.default_preset().to_owned();
        Self { format, frame_rate, source: None, window: None, encoder, quality: 20, preset, threads: half_the_cores(), queue, clock }
    }

    /// The same by another encoder, with its default preset.
    #[must_use]
    pub fn with_encoder(self, encoder: Encoder) -> Self {
        Self { encoder, preset: encoder.default_preset().to_owned(), ..self }
    }

    /// Frames as in the source, with its sound.
    #[must_use]
    pub fn following(source: SourceFile, queue: ByteBudget) -> Self {
        Self { source: Some(source.clone()), ..Self::new(source.info.format, source.info.frame_rate, queue) }
    }

    fn check(&self) -> Result<(), MediaError> {
        let VideoFormat { size, time_base, .. } = self.format;
        let what = if size.width == 0 || size.height == 0 || size.width > 16384 || size.height > 16384 {
            format!("the frames' sides must be 1 to 16384 pixels, not {size}")
        } else if !matroska::can_carry(time_base) {
            format!("the time base must be above 0 and not finer than 2 ns, not {}/{}", time_base.num, time_base.den)
        } else if self.frame_rate.num <= 0 || self.frame_rate.den <= 0 {
            format!("the frame rate must be above 0, not {}/{}", self.frame_rate.num, self.frame_rate.den)
        } else if self.quality > 51 {
            format!("the quality must be 0 (lossless) to 51 (worst), not {}", self.quality)
        } else {
            self.encoder.check_preset(&self.preset)?;
            self.encoder.check_size(even(size))?;
            return self.window.map_or(Ok(()), Window::check);
        };
        Err(MediaError::InvalidArgument { what })
    }
}

/// The writer's last word, for whoever asks, as often as they ask.
type Outcome = Shared<BoxFuture<'static, Result<Written, MediaError>>>;

/// A video being encoded by ffmpeg. Dropped unfinished, it ends the process and the thread and removes the file.
#[derive(Debug)]
pub struct FfmpegSink {
    path: PathBuf,
    format: VideoFormat,
    shift: i64,
    last_pts: Option<i64>,
    queue: ByteBudget,
    messages: Option<mpsc::Sender<Message>>,
    outcome: Outcome,
    stop: Option<StopHandle>,
    thread: Option<JoinHandle<()>>,
}

impl FfmpegSink {
    /// Starts ffmpeg writing to `path`, a staging file that will be overwritten.
    ///
    /// H.264, yuv420p, index first (MP4, MOV), colour tags and pixel shape of the source; its audio streams are copied packet
    /// by packet, or made AAC where the container cannot hold them. Frames with an odd side get one more row or column,
    /// a copy of the last. Whatever differs from the source is told in [`Written::warnings`].
    ///
    /// # Errors
    /// [`MediaError::OutputContainer`], [`MediaError::InvalidArgument`] or [`MediaError::ToolMissing`]; [`MediaError::Io`] where
    /// no file can be made there.
    pub fn create(tools: &Tools, path: &Path, options: EncodeOptions) -> Result<Self, MediaError> {
        let container = Container::of(path)?;
        options.check()?;
        let shift = shift_ticks(options.source.as_ref());
        let args = encode_args(path, container, &options, shift)?;
        std::fs::File::create(path).map_err(|e| MediaError::io("write", path, e))?;
        let started = Self::start(tools, path, &options, args, shift, warnings(container, &options, shift));
        if started.is_err() {
            std::fs::remove_file(path).ok();
        }
        started
    }

    fn start(
        tools: &Tools,
        path: &Path,
        options: &EncodeOptions,
        args: Vec<std::ffi::OsString>,
        shift: i64,
        warnings: Vec<String>,
    ) -> Result<Self, MediaError> {
        let not_started = |source: std::io::Error| MediaError::ToolMissing {
            tool: tools.ffmpeg.clone(),
            variable: FFMPEG_VARIABLE,
            minimum: MINIMUM_VERSION,
            source: Arc::new(source),
        };
        let (stop, signal) = stop_signal().map_err(not_started)?;
        let child = Child::spawn(&tools.ffmpeg, args, Input::Frames, signal).map_err(not_started)?;
        tracing::debug!(path = %path.display(), pid = child.id(), size = %options.format.size, encoder = options.encoder.name(), "encoding");
        let (sender, messages) = mpsc::channel(QUEUED_BATCHES);
        let (told, outcome) = oneshot::channel();
        let writer = Writer {
            child,
            path: path.to_owned(),
            format: options.format,
            frame_rate: options.frame_rate,
            shift,
            part: options.window.and_then(|w| w.part),
            clock: options.clock.clone(),
            warnings,
            messages,
            frames: 0,
        };
        let thread = std::thread::Builder::new()
            .name("video-writer".to_owned())
            .spawn(move || {
                halfpipe_core::sched::compute_in_long_turns();
                // nobody may be waiting: then the sink was dropped
                told.send(writer.run()).ok();
            })
            .map_err(not_started)?;
        let lost = MediaError::Encode { path: path.to_owned(), frames: 0, cause: "its writer thread ended without a word".to_owned() };
        Ok(Self {
            path: path.to_owned(),
            format: options.format,
            shift,
            last_pts: None,
            queue: options.queue.clone(),
            messages: Some(sender),
            outcome: async move { outcome.await.unwrap_or(Err(lost)) }.boxed().shared(),
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    fn check(&self, batch: &FrameBatch) -> Result<(), MediaError> {
        let invalid = |what: String| Err(MediaError::InvalidArgument { what });
        if batch.format != self.format {
            return invalid(format!("frames to write must be {:?}, not {:?}", self.format, batch.format));
        }
        let mut last = self.last_pts;
        for &pts in batch.pts.iter() {
            if last.is_some_and(|last| pts <= last) {
                return invalid(format!("timestamps must increase, but {pts} ticks come after {} ticks", last.unwrap_or(pts)));
            }
            if matroska::nanos(pts.saturating_add(self.shift), self.format.time_base).is_none() {
                return invalid(format!("the timestamp {pts} ticks is before the start of the video, or too large"));
            }
            last = Some(pts);
        }
        Ok(())
    }

    async fn accept(&mut self, batch: FrameBatch) -> Result<(), MediaError> {
        self.check(&batch)?;
        let last = batch.pts.last().copied();
        let lease = self.queue.take(batch.bytes()).await;
        let sent = match &self.messages {
            Some(messages) => messages.send(Message::Batch(batch, lease)).await.is_ok(),
            None => false,
        };
        if sent {
            self.last_pts = last.or(self.last_pts);
            return Ok(());
        }
        // the writer is gone, and has said why
        self.outcome.clone().await.map(|_| ())
    }
}

impl FrameSink for FfmpegSink {
    fn write(&mut self, batch: FrameBatch) -> BoxFuture<'_, Result<(), MediaError>> {
        self.accept(batch).boxed()
    }

    fn finish(mut self: Box<Self>) -> BoxFuture<'static, Result<Written, MediaError>> {
        async move {
            if let Some(messages) = self.messages.take() {
                // where the writer is gone already, the outcome says why
                messages.send(Message::Finish).await.ok();
            }
            self.outcome.clone().await
        }
        .boxed()
    }
}

impl Drop for FfmpegSink {
    fn drop(&mut self) {
        self.messages = None;
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            // the panic has been told by the panic hook; what it left behind looks like a video and is none
            std::fs::remove_file(&self.path).ok();
        }
    }
}

/// What will not be as in the source.
fn warnings(container: Container, options: &EncodeOptions, shift: i64) -> Vec<String> {
    let mut warnings = Vec::new();
    let (size, tb) = (options.format.size, options.format.time_base);
    if even(size) != size {
        warnings.push(format!("the frames were padded from {size} to {}, since H.264 needs even sides", even(size)));
    }
    if shift > 0 {
        let secs = shift as f64 * tb.as_f64();
        warnings.push(format!("all times were moved {secs:.6} s later, since the output cannot hold times below 0"));
    }
    if container == Container::Mkv && (tb.num * 1000) % tb.den != 0 {
        warnings.push("timestamps were rounded to milliseconds, since Matroska counts in these".to_owned());
    }
    // the parts of a plan get their sound when they are joined
    if let Some(source) = options.source.as_ref().filter(|_| options.window.is_none_or(|w| w.part.is_none())) {
        warnings.extend(warnings_of_sound(container, source));
    }
    warnings
}

/// What will not be as in the source's sound.
pub fn warnings_of_sound(container: Container, source: &SourceFile) -> Vec<String> {
    let mut warnings = Vec::new();
    for stream in &source.info.audio {
        let codec = stream.codec.as_deref().unwrap_or("unknown");
        match audio_route(container, stream) {
            AudioRoute::Copy => {}
            AudioRoute::Transcode => warnings
                .push(format!("audio stream {} was converted from {codec} to AAC, since the container cannot hold it", stream.index)),
            AudioRoute::Leave => {
                warnings.push(format!("audio stream {} was left out, since this ffmpeg does not know its codec", stream.index));
            }
        }
    }
    warnings
}

/// The size rounded up to even sides.
pub fn even(size: Size) -> Size {
    Size::new(size.width.next_multiple_of(2), size.height.next_multiple_of(2))
}
