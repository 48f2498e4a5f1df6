//! The trait of anything that takes frames in order.

use futures::future::BoxFuture;
use halfpipe_core::{FrameBatch, Size};

use crate::MediaError;

/// Takes the frames of one video in order. Dropped unfinished, it leaves nothing behind.
pub trait FrameSink: Send {
    /// Takes the frames; they are written behind. Waits while there is no room.
    ///
    /// Dropped while it waits, it has taken nothing.
    ///
    /// # Errors
    /// [`MediaError::InvalidArgument`] for frames of another format, or not later than those before; else whatever ended
    /// the writing, perhaps of an earlier batch, and the same error again on every later call.
    fn write(&mut self, batch: FrameBatch) -> BoxFuture<'_, Result<(), MediaError>>;

    /// Writes what is left, closes the output and waits until it is whole.
    ///
    /// Dropped while it waits, it ends like a sink dropped unfinished.
    ///
    /// # Errors
    /// Whatever ended the writing; then there is no output.
    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Written, MediaError>>;
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Frames.
    pub frames: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Size of the frames in the file: even where the frames given were odd.
    pub size: Size,
    /// One sentence for each thing that is not as in the source.
    pub warnings: Vec<String>,
}
