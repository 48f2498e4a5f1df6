//! When to look at the whole frame.
//!
//! Once people are known, their crops follow from their own landmarks, which is cheaper than the detector and steadier. The detector is
//! needed to find new people and to recover lost ones. The policy, with its price:
//!
//! - on the first frame;
//! - while nobody is tracked, on every [`DetectorOptions::empty_frames`]th frame: somebody who enters an empty scene is seen at most that
//!   many frames late, and an empty video costs a detector run only every so often;
//! - while somebody is visible, after [`DetectorOptions::max_seconds`] or [`DetectorOptions::max_frames`], whichever is first: a further
//!   person who enters is seen at most that late. This is the main dial between speed and how soon people are noticed;
//! - at once when somebody gets lost, or somebody's crop jumps, leaves the frame or scores low; as long as that lasts, on every
//!   [`DetectorOptions::search_frames`]th frame. Somebody who leaves the picture for good thus costs one second of denser runs.

use super::person::Track;
use super::{TrackState, Tracker};

/// How often the detector runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DetectorOptions {
    /// Longest pause while somebody is visible, seconds.
    pub max_seconds: f64,
    /// Longest pause while somebody is visible, frames; 1 runs it on every frame.
    pub max_frames: u64,
    /// Pause while nobody is tracked, frames.
    pub empty_frames: u64,
    /// Pause while somebody is lost or badly seen, frames.
    pub search_frames: u64,
}

impl Default for DetectorOptions {
    fn default() -> Self {
        Self { max_seconds: 0.5, max_frames: 15, empty_frames: 3, search_frames: 3 }
    }
}

/// Why the detector should run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DetectorReason {
    /// It has not run yet.
    First,
    /// It has not run for long.
    Interval,
    /// Nobody is there; somebody might enter.
    Empty,
    /// Somebody is out of sight.
    Lost,
    /// Somebody's crop is not to be trusted.
    Suspect,
}

/// Decides on which frames the detector runs.
#[derive(Debug, Clone)]
pub struct DetectorSchedule {
    options: DetectorOptions,
    last: Option<(u64, f64)>,
}

impl DetectorSchedule {
    /// A schedule of a video of which nothing has been seen.
    #[must_use]
    pub fn new(options: DetectorOptions) -> Self {
        Self { options, last: None }
    }

    /// Whether, and why, the detector should look at this frame (index and timestamp in seconds), given the tracker as the last frame left
    /// it. Tell [`DetectorSchedule::ran`] when it has.
    #[must_use]
    pub fn due(&self, frame: u64, time: f64, tracker: &Tracker) -> Option<DetectorReason> {
        let Some(last) = self.last else {
            return Some(DetectorReason::First);
        };
        let empty = tracker.tracks().is_empty();
        if let Some(reason) = self.after_pause((frame, time), last, empty) {
            return Some(reason);
        }
        if empty {
            return None;
        }
        // What happened after the last run is looked into at once, what lasts is looked into from time to time.
        let searching = self.is_search_due(frame, last.0);
        let trouble = |since: fn(&Track) -> Option<f64>| tracker.tracks().iter().filter_map(since).any(|at| searching || at > last.1);
        if trouble(|t| t.missed_at) {
            return Some(DetectorReason::Lost);
        }
        if trouble(|t| t.suspect_at) {
            return Some(DetectorReason::Suspect);
        }
        let off = |p: &super::Predicted| p.state != TrackState::Lost && p.fault.is_some();
        (searching && tracker.predict(time).iter().any(off)).then_some(DetectorReason::Suspect)
    }

    /// On which of the frames to come (indices and timestamps in seconds, in order) the detector will be due, and why, if until then
    /// all stays as it is: nobody comes, gets lost, or is found or well seen again.
    #[must_use]
    pub fn foreseen(&self, frames: impl IntoIterator<Item = (u64, f64)>, tracker: &Tracker) -> Vec<(u64, DetectorReason)> {
        let Some(mut last) = self.last else { return Vec::new() };
        let tracks = tracker.tracks();
        let trouble = if tracks.iter().any(|track| track.missed_at.is_some()) {
            Some(DetectorReason::Lost)
        } else {
            tracks.iter().any(|track| track.suspect_at.is_some()).then_some(DetectorReason::Suspect)
        };
        let mut due = Vec::new();
        for frame in frames {
            let searching = trouble.filter(|_| self.is_search_due(frame.0, last.0));
            if let Some(reason) = self.after_pause(frame, last, tracks.is_empty()).or(searching) {
                due.push((frame.0, reason));
                last = frame;
            }
        }
        due
    }

    /// Whether somebody lost or badly seen is looked for in this frame where the detector last ran on that one.
    fn is_search_due(&self, frame: u64, last: u64) -> bool {
        frame.saturating_sub(last) >= self.options.search_frames.max(1)
    }

    /// Whether the pause that began with `last` is over with this frame, where nobody is tracked (`empty`) or somebody is.
    fn after_pause(&self, (frame, time): (u64, f64), last: (u64, f64), empty: bool) -> Option<DetectorReason> {
        let is_over = |limit: u64| frame.saturating_sub(last.0) >= limit.max(1);
        if empty {
            return is_over(self.options.empty_frames).then_some(DetectorReason::Empty);
        }
        (is_over(self.options.max_frames) || time - last.1 >= self.options.max_seconds).then_some(DetectorReason::Interval)
    }

    /// The detector has looked at this frame.
    pub fn ran(&mut self, frame: u64, time: f64) {
        self.last = Some((frame, time));
    }
}
