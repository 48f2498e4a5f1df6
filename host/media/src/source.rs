//! The trait of anything that gives frames in order.

use futures::future::BoxFuture;
use halfpipe_core::FrameBatch;

use crate::{Decoder, MediaError, VideoInfo};

/// Gives the frames of one video in order, each once.
pub trait FrameSource: Send {
    /// What is known of the video.
    fn info(&self) -> &VideoInfo;

    /// The next frames: `max` of them, fewer only at the end or before an error; `None` after the last.
    ///
    /// May be dropped while it waits: no frame is lost, the next call gives it.
    ///
    /// # Errors
    /// [`MediaError::InvalidArgument`] where `max` is 0. Whatever ended the video early, after all frames before it were given;
    /// the same error again on every later call.
    fn next(&mut self, max: usize) -> BoxFuture<'_, Result<Option<FrameBatch>, MediaError>>;

    /// How reading went so far; complete once `next` gave `None` or an error.
    fn report(&self) -> SourceReport;
}

/// How reading a video went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourceReport {
    /// Frames decoded.
    pub frames: u64,
    /// Frames the container announced, where it did and no window was asked for.
    pub announced: Option<u64>,
    /// Frames whose timestamp was missing or not after the one before, and was moved just behind it.
    pub repaired_timestamps: u64,
    /// Error messages of the decoder; frames still came out around them.
    pub decode_errors: u64,
    /// The last of its messages.
    pub tail: Vec<String>,
    /// What decodes. That of a GPU which does not know this kind of video gives way to software.
    pub decoder: Decoder,
    /// Where a GPU was to decode and software did: why.
    pub refused: Option<String>,
}

impl SourceReport {
    /// One sentence for each thing a user should know; empty where all went well.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(why) = &self.refused {
            warnings.push(format!("the input was decoded in software, not by the GPU: {why}"));
        }
        if self.decode_errors > 0 {
            let last = self.tail.last().map_or("", String::as_str);
            warnings.push(format!("the input is damaged: {} decoding errors, the last one: {last}", self.decode_errors));
        }
        if let Some(announced) = self.announced.filter(|&n| n != self.frames) {
            warnings.push(format!("the input announces {announced} frames, but {} could be decoded", self.frames));
        }
        if self.repaired_timestamps > 0 {
            warnings
                .push(format!("{} frames had no timestamp after the one before; each was moved just behind it", self.repaired_timestamps));
        }
        warnings
    }
}
