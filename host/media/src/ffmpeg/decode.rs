//! A frame source that is an ffmpeg process: one thread reads ahead, within a budget of bytes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use halfpipe_core::{ByteBudget, FrameBatch, Pending, Picture, Recycler, StageClock};
use tempfile::TempPath;
use tokio::sync::mpsc;

use super::child::{Child, Input};
use super::decode_args::decode_args;
use super::reader::{Item, Reader};
use super::stop::{StopHandle, stop_signal};
use super::threads::half_the_cores;
use crate::spares::Decoding;
use crate::tools::{FFMPEG_VARIABLE, MINIMUM_VERSION, Tools};
use crate::{Decoder, FrameSource, MediaError, SourceReport, VideoInfo, Window, probe};

/// Frames read ahead at most, however small they are.
const AHEAD_FRAMES: usize = 1024;

/// Bytes of pictures that are gone, kept for the next ones; one picture however large.
const FREE_BYTES: usize = 32 << 20;

/// How to decode.
#[derive(Debug, Clone)]
pub struct DecodeOptions {
    /// Only this stretch of the video; its frames keep their timestamps.
    pub window: Option<Window>,
    /// Bytes of frames read ahead and not yet asked for. One frame passes even where it is larger.
    pub ahead: ByteBudget,
    /// Books the stage `decode`: seconds in which the reader waited for frames, and frames.
    pub clock: StageClock,
    /// Decoder threads; 0 leaves the number to ffmpeg.
    pub threads: u32,
    /// What decodes.
    pub decoder: Decoder,
}

impl DecodeOptions {
    /// The whole video, `ahead` bytes read ahead, in software on half of the cores.
    #[must_use]
    pub fn new(ahead: ByteBudget) -> Self {
        Self { window: None, ahead, clock: StageClock::default(), threads: half_the_cores(), decoder: Decoder::Software }
    }
}

/// A video being decoded by ffmpeg. Dropped, it ends the process and the thread before it returns.
#[derive(Debug)]
pub struct FfmpegSource {
    info: VideoInfo,
    path: PathBuf,
    items: mpsc::Receiver<Item>,
    /// Frames received and not yet given, when `next` was dropped while it waited.
    gathered: Vec<(i64, Arc<Picture>)>,
    /// Frames given.
    given: u64,
    end: Option<Result<(), MediaError>>,
    report: Arc<Mutex<SourceReport>>,
    stop: Option<StopHandle>,
    thread: Option<JoinHandle<()>>,
    /// What an ffmpeg that was started beforehand reads its file's name from.
    _list: Option<TempPath>,
}

impl FfmpegSource {
    /// Probes the file, starts ffmpeg and reads ahead. Waits for ffprobe, some 50 ms.
    ///
    /// # Errors
    /// Those of [`probe`]; [`MediaError::InvalidArgument`] for a window that ends before it starts; [`MediaError::ToolMissing`].
    /// A window without frames shows at the first [`FrameSource::next`], as [`MediaError::EmptyWindow`].
    pub fn open(tools: &Tools, path: &Path, options: DecodeOptions) -> Result<Self, MediaError> {
        if let Some(window) = options.window {
            window.check()?;
        }
        Self::open_probed(tools, path, probe(tools, path)?, options)
    }

    /// [`open`](Self::open) for a file of which [`probe`] has told already, to spare another ffprobe.
    ///
    /// # Errors
    /// The same.
    pub fn open_probed(tools: &Tools, path: &Path, info: VideoInfo, options: DecodeOptions) -> Result<Self, MediaError> {
        if let Some(window) = options.window {
            window.check()?;
        }
        let not_started = |source: std::io::Error| MediaError::ToolMissing {
            tool: tools.ffmpeg.clone(),
            variable: FFMPEG_VARIABLE,
            minimum: MINIMUM_VERSION,
            source: Arc::new(source),
        };
        let (decoder, refused) = match options.decoder {
            decoder if decoder.takes(&info.codec) => (decoder, None),
            _ => (Decoder::Software, Some(format!("videos in {} are not given to it", info.codec))),
        };
        let spare = tools.spares.as_ref().filter(|_| options.window.is_none() && decoder == Decoder::Software);
        let (child, stop, list) = match spare.and_then(|spares| spares.decode(path, &info, options.threads)) {
            Some(Decoding { child, stop, list }) => (child, stop, Some(list)),
            None => {
                let (stop, signal) = stop_signal().map_err(not_started)?;
                let args = decode_args(path, &info, options.window, options.threads, decoder);
                (Child::spawn(&tools.ffmpeg, args, Input::Nothing, signal).map_err(not_started)?, stop, None)
            }
        };
        tracing::debug!(path = %path.display(), pid = child.id(), size = %info.format.size, codec = info.codec, decoder = decoder.name(), "decoding");
        let announced = info.frame_count.filter(|_| options.window.is_none());
        let report = Arc::new(Mutex::new(SourceReport { announced, decoder, refused, ..SourceReport::default() }));
        let (sender, items) = mpsc::channel(AHEAD_FRAMES);
        let reader = Reader {
            child,
            info: info.clone(),
            path: path.to_owned(),
            window: options.window,
            ahead: options.ahead,
            clock: options.clock,
            report: Arc::clone(&report),
            items: sender,
            recycler: Recycler::new((FREE_BYTES / info.format.size.picture_bytes().max(1)).clamp(1, 16)),
        };
        let thread = std::thread::Builder::new()
            .name("video-reader".to_owned())
            .spawn(move || {
                halfpipe_core::sched::compute_in_long_turns();
                reader.run();
            })
            .map_err(not_started)?;
        let path = path.to_owned();
        Ok(Self {
            info,
            path,
            items,
            gathered: Vec::new(),
            given: 0,
            end: None,
            report,
            stop: Some(stop),
            thread: Some(thread),
            _list: list,
        })
    }

    async fn gather(&mut self, max: usize) -> Result<Option<FrameBatch>, MediaError> {
        if max == 0 {
            return Err(MediaError::InvalidArgument { what: "the number of frames asked for must be at least 1, not 0".to_owned() });
        }
        while self.gathered.len() < max && self.end.is_none() {
            match self.items.recv().await {
                // the bytes count as read ahead until here
                Some(Item::Frame(frame)) => self.gathered.push((frame.pts, frame.picture)),
                Some(Item::End(end)) => self.end = Some(end),
                None => {
                    let cause = "its reader thread ended without a word".to_owned();
                    self.end = Some(Err(MediaError::Decode { path: self.path.clone(), frames: self.given, cause }));
                }
            }
        }
        if self.gathered.is_empty() {
            return self.end.clone().unwrap_or(Ok(())).map(|()| None);
        }
        let rest = self.gathered.split_off(max.min(self.gathered.len()));
        let (pts, pictures): (Vec<i64>, Vec<Arc<Picture>>) = std::mem::replace(&mut self.gathered, rest).into_iter().unzip();
        let batch = FrameBatch { format: self.info.format, first_index: self.given, pts: pts.into(), pictures: Pending::ready(pictures) };
        self.given += batch.len() as u64;
        Ok(Some(batch))
    }
}

impl FrameSource for FfmpegSource {
    fn info(&self) -> &VideoInfo {
        &self.info
    }

    fn next(&mut self, max: usize) -> BoxFuture<'_, Result<Option<FrameBatch>, MediaError>> {
        self.gather(max).boxed()
    }

    fn report(&self) -> SourceReport {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for FfmpegSource {
    fn drop(&mut self) {
        self.items.close();
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // a panic of the reader has been told by the panic hook
            thread.join().ok();
        }
    }
}
