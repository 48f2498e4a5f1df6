//! The detector ahead of the frames' turn.
//!
//! Most of its looks are foreseen: it is due after a pause, or as long as somebody is looked for, and which frames that falls on is known
//! before their turn comes. Such a look is queued while an earlier frame's landmarks are read, so that nobody waits for it. Where something
//! happens in between, the look is given up; the detector looks at the same frames in the same sizes, and finds the same, with and without
//! this.

use std::collections::BTreeMap;

use halfpipe_bindings::detector::{Detector, Look};
use halfpipe_bindings::host::exports::halfpipe::job::runner::Failure;
use halfpipe_bindings::host::halfpipe::media::frames::FrameBatch;
use halfpipe_kit::track::{DetectorSchedule, Tracker};

use crate::options::Options;
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
    /// By frame, with the longer sides of the detector's input.
    queued: BTreeMap<u64, (Vec<u32>, Look)>,
}

impl Ahead {
    /// Queues the looks that are foreseen, and gives up those that no longer are.
    pub fn queue(
        &mut self,
        turn: &mut Turn<'_>,
        detector: &Detector,
        options: &Options,
        schedule: &DetectorSchedule,
        tracker: &Tracker,
    ) -> Result<(), Failure> {
        let next = if turn.later.len() < FRAMES { turn.reader.peek()? } else { None };
        let times = turn.later.iter().chain(next.iter().flat_map(|batch| &batch.times)).take(FRAMES);
        let frames = (turn.index + 1..).zip(times.copied());
        let foreseen: BTreeMap<u64, Vec<u32>> =
            schedule.foreseen(frames, tracker).into_iter().map(|(index, reason)| (index, options.sizes_for(reason))).collect();
        self.queued.retain(|index, (sizes, _)| foreseen.get(index) == Some(sizes));
        for (index, sizes) in foreseen {
            if self.queued.contains_key(&index) {
                continue;
            }
            // at most FRAMES further, so it fits
            let further = (index - turn.index) as usize;
            let look = match (further.checked_sub(turn.later.len() + 1), next) {
                (Some(at), Some(next)) => detector.look(&next.frames, &[at as u32], &sizes)?,
                _ => detector.look(turn.batch, &[turn.at + further as u32], &sizes)?,
            };
            self.queued.insert(index, (sizes, look));
        }
        Ok(())
    }

    /// The look at this frame in these longer sides, if there is one; a look in others is given up.
    pub fn take(&mut self, index: u64, sizes: &[u32]) -> Option<Look> {
        self.queued.remove(&index).filter(|(queued, _)| queued == sizes).map(|(_, look)| look)
    }

    /// The look at this frame is not needed.
    pub fn give_up(&mut self, index: u64) {
        self.queued.remove(&index);
    }
}
