//! One sight of a person, whoever saw it.

use super::TrackId;
use crate::blazepose::{Landmarks, Roi};
use crate::detector::PersonBox;
use crate::movenet::{KEYPOINTS, Keypoint, Rect};

/// A person seen in one frame. Pixels of the frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// How sure it is that there is a person, 0..=1: a detection's score, or the presence of landmarks.
    pub score: f32,
    /// The person's box.
    pub bbox: Rect,
    /// COCO key points.
    pub keypoints: [Keypoint; KEYPOINTS],
    /// Where to look for the same person next.
    pub roi: Roi,
    /// The track whose predicted crop showed this, if any: a hint, not a claim.
    pub hint: Option<TrackId>,
}

impl Observation {
    /// Somebody a detector found, with or without key points; `None` if no crop follows from the find.
    #[must_use]
    pub fn from_person(p: &PersonBox) -> Option<Self> {
        let keypoints = p.keypoints.unwrap_or_default();
        let roi = Roi::from_keypoints(&keypoints, &p.bbox)?;
        Some(Self { score: p.score, bbox: p.bbox, keypoints, roi, hint: None })
    }

    /// What the landmark network saw in a crop, which may have been predicted for the track `hint`; `None` if no next crop follows.
    #[must_use]
    pub fn from_landmarks(landmarks: &Landmarks, hint: Option<TrackId>) -> Option<Self> {
        let roi = Roi::from_landmarks(landmarks)?;
        Some(Self { score: landmarks.presence, bbox: landmarks.bbox(), keypoints: landmarks.keypoints(), roi, hint })
    }

    /// Whether it can be tracked at all.
    pub(super) fn is_valid(&self) -> bool {
        self.score.is_finite()
            && self.bbox.is_finite()
            && self.bbox.area() > 0.0
            && self.roi.is_finite()
            && self.roi.side > 0.0
            && self.keypoints.iter().all(|k| k.x.is_finite() && k.y.is_finite() && k.score.is_finite())
    }

    /// How much it matters when there are too many.
    pub(super) fn rank(&self) -> f32 {
        self.score * self.bbox.diagonal()
    }
}
