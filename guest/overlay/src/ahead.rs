//! The detector ahead of the frames' turn.
//!
//! Most of its looks are foreseen: it is due after a pause, and which frames that ends on is known before their turn comes. Such a look
//! is queued while an earlier frame's landmarks are read, so that people are not waited for where nothing happens. Where something does,
//! the look is given up; the detector looks at the same frames in the same sizes, and finds the same, with and without this.

use std::collections::BTreeMap;

use halfpipe_bindings::detector::{Detector, Look};
use halfpipe_bindings::host::exports::halfpipe::job::runner::Failure;
use halfpipe_bindings::host::halfpipe::media::frames::FrameBatch;
use halfpipe_kit::track::{DetectorSchedule, Tracker};

use crate::reader::Reader;

/// How many frames ahead. A look takes as long as the landmarks of two or three frames.
const FRAMES: usize = 4;

/// A frame whose turn it is, and what comes after it.
pub struct Turn<'a> {
    /// The batch that it is in.
    pub batch: &'a FrameBatch,
    /// Where in it.
    pub at: u32,
    /// Its number in the video.
    pub index: u64,
    /// When it is shown, seconds.
    pub time: f64,
    /// When the frames after it in its batch are shown.
    pub later: &'a [f64],
    /// The batches after that.
    pub reader: &'a mut Reader,
}

/// Looks at frames to come.
#[derive(Default)]
pub struct Ahead {
    queued: BTreeMap<u64, Look>,
}

impl Ahead {
    /// Queues the looks that are foreseen, in these longer sides of the detector's input, and gives up those that no longer are.
    pub fn queue(
        &mut self,
        turn: &mut Turn<'_>,
        detector: &Detector,
        sizes: &[u32],
        schedule: &DetectorSchedule,
        tracker: &Tracker,
    ) -> Result<(), Failure> {
        let next = if turn.later.len() < FRAMES { turn.reader.peek()? } else { None };
        let times = turn.later.iter().chain(next.iter().flat_map(|batch| &batch.times)).take(FRAMES);
        let frames = (turn.index + 1..).zip(times.copied());
        let foreseen = schedule.foreseen(frames, tracker);
        self.queued.retain(|index, _| foreseen.contains(index));
        for index in foreseen {
            if self.queued.contains_key(&index) {
                continue;
            }
            // at most FRAMES further, so it fits
            let further = (index - turn.index) as usize;
            let look = match (further.checked_sub(turn.later.len() + 1), next) {
                (Some(at), Some(next)) => detector.look(&next.frames, &[at as u32], sizes)?,
                _ => detector.look(turn.batch, &[turn.at + further as u32], sizes)?,
            };
            self.queued.insert(index, look);
        }
        Ok(())
    }

    /// The look at this frame, if there is one.
    pub fn take(&mut self, index: u64) -> Option<Look> {
        self.queued.remove(&index)
    }
}
