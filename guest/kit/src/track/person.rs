//! One person over time.

use super::motion::Motion;
use super::{Observation, Predicted, Removed, RemovedReason, TrackId, TrackOptions, TrackState, matching};
use crate::blazepose::{Roi, RoiLimits};
use crate::movenet::{KEYPOINTS, Keypoint, Rect};

/// What is known of a person.
#[derive(Debug, Clone)]
pub(super) struct Track {
    pub id: TrackId,
    pub state: TrackState,
    /// When it was first and last seen, seconds.
    pub born: f64,
    pub seen: f64,
    hits: u32,
    score: f32,
    /// Smoothed diagonal of the box, pixels.
    pub size: f32,
    pub bbox: Rect,
    pub keypoints: [Keypoint; KEYPOINTS],
    roi: Roi,
    pub motion: Motion,
    /// When it went out of sight.
    pub missed_at: Option<f64>,
    /// Since when its crops have been far from the predicted ones, implausible or badly scored, if they are.
    pub suspect_at: Option<f64>,
    /// Whose observation explains that it is not seen, and since when.
    pub shadow: Option<(TrackId, f64)>,
}

impl Track {
    /// Somebody new.
    pub fn new(id: TrackId, o: &Observation, now: f64, frame: (u32, u32), options: &TrackOptions) -> Self {
        let size = o.bbox.diagonal();
        Self {
            id,
            state: TrackState::Tentative,
            born: now,
            seen: now,
            hits: 1,
            score: o.score,
            size,
            bbox: o.bbox,
            keypoints: o.keypoints,
            roi: o.roi,
            motion: Motion::new(f64::from(size)),
            missed_at: None,
            suspect_at: o.roi.fault(frame, None, &options.roi).map(|_| now),
            shadow: None,
        }
    }

    /// Takes a sight of the person.
    pub fn see(&mut self, o: &Observation, now: f64, frame: (u32, u32), options: &TrackOptions) {
        let dt = now - self.seen;
        let expected = self.roi.shifted(self.shift(now));
        let fault = o.roi.fault(frame, Some((&expected, dt)), &options.roi);
        let suspect = fault.is_some() || o.score < options.new_score;
        self.suspect_at = suspect.then(|| self.suspect_at.unwrap_or(now));
        let moved = matching::displacement(&self.keypoints, &self.bbox, o);
        self.motion.update(moved.map(f64::from), dt, f64::from(self.size));
        // Arms that swing and legs that bend change the box from frame to frame, the person's size they do not.
        self.size = self.size.powf(0.7) * o.bbox.diagonal().powf(0.3);
        (self.bbox, self.keypoints, self.roi, self.score) = (o.bbox, o.keypoints, o.roi, o.score);
        (self.seen, self.missed_at, self.shadow) = (now, None, None);
        self.hits = self.hits.saturating_add(1);
        if self.state == TrackState::Lost {
            self.state = TrackState::Confirmed;
        }
    }

    /// Believes in the person if there is reason to; gives 1 if that is new.
    pub fn confirm(&mut self, options: &TrackOptions) -> u32 {
        let believed = self.score >= options.strong_score || self.hits >= options.confirm_hits;
        if self.state != TrackState::Tentative || !believed {
            return 0;
        }
        self.state = TrackState::Confirmed;
        1
    }

    /// How much it matters when there are too many: sure and large people first, those out of sight last.
    pub fn rank(&self) -> f32 {
        self.score * self.size * if self.state == TrackState::Lost { 0.5 } else { 1.0 }
    }

    /// How far the person should have moved since the last sight, pixels.
    pub fn shift(&self, now: f64) -> [f32; 2] {
        self.motion.shift(now - self.seen).map(|v| v as f32)
    }

    /// Where the box should be.
    pub fn predicted_box(&self, now: f64) -> Rect {
        self.bbox.shifted(self.shift(now))
    }

    /// Where everything should be.
    pub fn predicted(&self, now: f64, frame: (u32, u32), limits: &RoiLimits) -> Predicted {
        let shift = self.shift(now);
        let roi = self.roi.shifted(shift);
        Predicted {
            id: self.id,
            state: self.state,
            bbox: self.bbox.shifted(shift),
            roi,
            fault: roi.fault(frame, None, limits),
            unseen: now - self.seen,
            shadowed: self.shadow.is_some(),
        }
    }

    /// The note of its end.
    pub fn removed(&self, reason: RemovedReason) -> Removed {
        Removed { id: self.id, reason, confirmed: self.state != TrackState::Tentative }
    }
}
