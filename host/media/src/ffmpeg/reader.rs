//! The thread that turns ffmpeg's output into frames with timestamps.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use halfpipe_core::{ByteBudget, ByteLease, Picture, Recycler, StageClock};
use tokio::sync::mpsc;

use super::child::{Child, Transfer, describe};
use super::log::{FrameTime, Log};
use crate::{Decoder, MediaError, SourceReport, VideoInfo, Window};

/// What the reader hands over.
pub enum Item {
    /// The next frame.
    Frame(Frame),
    /// The last item: the end, good or bad.
    End(Result<(), MediaError>),
}

/// A frame read ahead.
pub struct Frame {
    /// Ticks of the video's time base.
    pub pts: i64,
    /// Its samples.
    pub picture: Arc<Picture>,
    /// Its share of the read-ahead budget, given back when the frame is taken.
    pub _lease: ByteLease,
}

/// All that the thread needs.
pub struct Reader {
    pub child: Child,
    pub info: VideoInfo,
    pub path: PathBuf,
    pub window: Option<Window>,
    pub ahead: ByteBudget,
    pub clock: StageClock,
    pub report: Arc<Mutex<SourceReport>>,
    pub items: mpsc::Sender<Item>,
    pub recycler: Recycler,
}

impl Reader {
    /// Reads to the end of the video, or until the source is dropped.
    pub fn run(mut self) {
        let mut times = Times { last: None, step: self.info.frame_ticks(), start: self.info.start_pts.unwrap_or(0) };
        loop {
            match self.next_frame(&mut times) {
                Ok(Some(frame)) => {
                    if !self.send(Item::Frame(frame)) {
                        return;
                    }
                }
                Ok(None) => {
                    self.end(Ok(()));
                    return;
                }
                Err(Halt::Stopped) => return,
                Err(Halt::Failed(what)) => {
                    self.end(Err(what));
                    return;
                }
            }
        }
    }

    /// False where the source was dropped, so that nobody wants to hear more.
    fn send(&mut self, item: Item) -> bool {
        let Self { child, items, .. } = self;
        matches!(child.stop().block_on(items.send(item)), Some(Ok(())))
    }

    /// The next frame; `None` where ffmpeg closed its output between frames.
    fn next_frame(&mut self, times: &mut Times) -> Result<Option<Frame>, Halt> {
        let size = self.info.format.size;
        let bytes = size.picture_bytes();
        let lease = {
            let Self { child, ahead, .. } = self;
            child.stop().block_on(ahead.take(bytes as u64)).ok_or(Halt::Stopped)?
        };
        let start = Instant::now();
        let mut data = self.recycler.buffer(bytes);
        match self.child.read(&mut data, bytes)? {
            Transfer::Whole => {}
            Transfer::Stopped => return Err(Halt::Stopped),
            Transfer::Closed if data.is_empty() => return Ok(None),
            Transfer::Closed => return Err(Halt::Failed("its output broke off within a frame".to_owned())),
        }
        // told before the frame is written, so it is there or on its way
        let Some(time) = self.child.next_time()? else {
            return Err(Halt::Failed("ffmpeg told no timestamp for a frame".to_owned()));
        };
        let (pts, repaired) = times.next(time);
        self.clock.add("decode", start.elapsed(), 1);
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.frames += 1;
        report.repaired_timestamps += u64::from(repaired);
        note(&mut report, self.child.log());
        drop(report);
        let picture = Picture::recycled(size, data, &self.recycler).ok_or_else(|| Halt::Failed("a frame has the wrong size".to_owned()))?;
        Ok(Some(Frame { pts, picture: Arc::new(picture), _lease: lease }))
    }

    /// Waits for ffmpeg's exit, judges it, and hands over the last item.
    fn end(&mut self, output: Result<(), String>) {
        let status = match self.child.finish() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => return,
            Err(e) => Err(e.to_string()),
        };
        let log = self.child.log();
        let frames = {
            let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
            note(&mut report, log);
            report.tail = log.tail();
            report.frames
        };
        let failed = |cause: String| Err(MediaError::Decode { path: self.path.clone(), frames, cause });
        let end = match (status, output) {
            (Err(what), _) => failed(what),
            (Ok(status), _) if !status.success() => failed(format!("{} ({})", describe(status), log.cause())),
            (Ok(_), Err(what)) => failed(what),
            (Ok(_), Ok(())) if frames > 0 => Ok(()),
            (Ok(_), Ok(())) => match self.window {
                Some(window) => Err(self.empty(window)),
                None => failed(format!("no frame could be decoded ({})", log.cause())),
            },
        };
        // a dropped source needs no answer
        self.send(Item::End(end));
    }

    fn empty(&self, window: Window) -> MediaError {
        let first_secs = self.info.start_secs();
        MediaError::EmptyWindow {
            path: self.path.clone(),
            start_secs: window.start_secs,
            end_secs: window.end_secs,
            first_secs,
            last_secs: self.info.duration_secs.map_or_else(|| "an unknown end".to_owned(), |d| format!("{:.3} s", first_secs + d)),
        }
    }
}

/// What the decoder has said so far.
fn note(report: &mut SourceReport, log: &Log) {
    report.decode_errors = log.errors();
    if report.decoder != Decoder::Software
        && let Some(why) = log.refused()
    {
        report.decoder = Decoder::Software;
        report.refused = Some(why.to_owned());
    }
}

/// Why there is no next frame.
enum Halt {
    Stopped,
    Failed(String),
}

impl From<io::Error> for Halt {
    fn from(error: io::Error) -> Self {
        Self::Failed(format!("reading from ffmpeg failed: {error}"))
    }
}

/// Keeps timestamps strictly increasing.
struct Times {
    last: Option<i64>,
    /// Ticks from one frame to the next, for frames without a timestamp.
    step: i64,
    /// For a first frame without one.
    start: i64,
}

impl Times {
    /// The timestamp to use, and whether it had to be repaired: as little as possible.
    fn next(&mut self, told: FrameTime) -> (i64, bool) {
        let (pts, repaired) = match (told, self.last) {
            (Some(pts), None) => (pts, false),
            (Some(pts), Some(last)) => (pts.max(last + 1), pts <= last),
            (None, None) => (self.start, true),
            (None, Some(last)) => (last + self.step, true),
        };
        self.last = Some(pts);
        (pts, repaired)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_repaired_no_more_than_needed() {
        let mut times = Times { last: None, step: 10, start: 7 };
        let told = [None, Some(20), Some(20), Some(5), Some(30), None, Some(45)];
        let used = told.map(|t| times.next(t));
        assert_eq!(used, [(7, true), (20, false), (21, true), (22, true), (30, false), (40, true), (45, false)]);
    }
}
