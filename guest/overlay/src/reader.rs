//! The video's batches in order, with a look at the one that comes next.

use halfpipe_bindings::host::exports::halfpipe::job::runner::Failure;
use halfpipe_bindings::host::failed;
use halfpipe_bindings::host::halfpipe::media::frames::FrameBatch;
use halfpipe_bindings::host::halfpipe::media::video::Source;

/// A batch, with what is asked of it again and again.
pub struct Batch {
    /// The frames.
    pub frames: FrameBatch,
    /// Number of the first in the video.
    pub first: u64,
    /// When each is shown, seconds.
    pub times: Vec<f64>,
}

/// Frames in the first batch: what comes after the decoder need not wait until a whole batch is there.
const FIRST: u32 = 2;

/// Reads batches.
pub struct Reader {
    source: Source,
    most: u32,
    /// Frames of the next one that is read.
    count: u32,
    /// The next batch where it has been read already; nothing in it at the video's end.
    next: Option<Option<Batch>>,
}

impl Reader {
    /// Batches of at most so many frames, the first ones of fewer.
    pub fn new(source: Source, most: u32) -> Self {
        Self { source, most, count: FIRST.min(most), next: None }
    }

    /// The next batch; none at the end.
    ///
    /// # Errors
    /// The video cannot be read on.
    pub fn next(&mut self) -> Result<Option<Batch>, Failure> {
        if let Some(next) = self.next.take() {
            return Ok(next);
        }
        let frames = self.source.next(self.count).map_err(failed)?;
        self.count = self.count.saturating_mul(2).min(self.most);
        Ok(frames.map(|frames| Batch { first: frames.first_index(), times: frames.timestamps(), frames }))
    }

    /// The batch that [`next`](Self::next) will give.
    ///
    /// # Errors
    /// As there.
    pub fn peek(&mut self) -> Result<Option<&Batch>, Failure> {
        let next = self.next()?;
        Ok(self.next.insert(next).as_ref())
    }
}
