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

/// Frames in the first batch: what comes after the decoder need not wait until a whole batch is there. And in the last ones: what the
/// encoder has left to do at the end, when nothing else is done, is little.
const FEW: u32 = 2;

/// Reads batches.
pub struct Reader {
    source: Source,
    most: u32,
    /// Frames of the next one, but for the end.
    count: u32,
    /// Frames of the video that were not read yet, where that is known.
    left: Option<u64>,
    /// The next batch where it has been read already; nothing in it at the video's end.
    next: Option<Option<Batch>>,
}

impl Reader {
    /// Batches of at most so many frames, the first and, where the container says how many frames there are, the last ones of fewer.
    pub fn new(source: Source, most: u32) -> Self {
        let left = source.info().frames;
        Self { source, most, count: FEW.min(most), left, next: None }
    }

    /// Frames of the next batch: half of what is left at the end.
    fn count(&self) -> u32 {
        // more than was said: nobody knows how many
        let half = self.left.filter(|left| *left > 0).map_or(u64::MAX, |left| left / 2);
        u32::try_from(half).unwrap_or(u32::MAX).max(FEW).min(self.count)
    }

    /// The next batch; none at the end.
    ///
    /// # Errors
    /// The video cannot be read on.
    pub fn next(&mut self) -> Result<Option<Batch>, Failure> {
        if let Some(next) = self.next.take() {
            return Ok(next);
        }
        let frames = self.source.next(self.count()).map_err(failed)?;
        self.count = self.count.saturating_mul(2).min(self.most);
        let batch = frames.map(|frames| Batch { first: frames.first_index(), times: frames.timestamps(), frames });
        let read = batch.as_ref().map_or(0, |batch| batch.times.len() as u64);
        self.left = self.left.map(|left| left.saturating_sub(read));
        Ok(batch)
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
