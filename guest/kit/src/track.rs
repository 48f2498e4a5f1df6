//! Who is who over time.
//!
//! A frame runs like this:
//!
//! 1. [`Tracker::predict`] says where everybody should be now, and which crop to look at.
//! 2. If [`DetectorSchedule::due`] says so, the detector looks at the whole frame; [`Tracker::assign`] tells which of its people are known
//!    already (their crop is the prediction, or the detection's where the prediction has a fault) and which are new.
//! 3. The landmark network reads all crops; what it finds, with its presence as score, goes into [`Tracker::update`].
//!
//! Detections alone can be tracked as well: then they go into `update` directly, as [`Follower`] does.
//!
//! Observations and tracks are matched at the lowest total cost (Hungarian method) of predicted box overlap, key-point similarity, distance
//! and size. Prediction is a constant-velocity Kalman filter on real timestamps whose noise allows for gravity, so that a jumper is found
//! again after some frames without a detection. People that hide each other keep their ids: whoever is out of sight coasts on its own
//! velocity, and an observation that two crops made of one person counts once. Who comes back after
//! [`TrackOptions::max_lost`] seconds is somebody new.

mod assignment;
mod follow;
mod matching;
mod motion;
mod observation;
mod person;
mod schedule;
mod tracker;

pub use assignment::assign;
pub use follow::{Followed, Follower, Sight};
pub use observation::Observation;
pub use schedule::{DetectorOptions, DetectorReason, DetectorSchedule};
pub use tracker::Tracker;

use crate::blazepose::{Roi, RoiFault, RoiLimits};
use crate::movenet::Rect;

/// A person's number, counted from 1; never used twice. Numbers of people that were never confirmed are skipped.
pub type TrackId = u32;

/// How people are tracked. Scores are those of the observations: presence for landmarks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrackOptions {
    /// Observations below this score are ignored.
    pub keep_score: f32,
    /// Somebody new needs at least this score.
    pub new_score: f32,
    /// With this score somebody new is confirmed at once; with the next sight, where the box overlaps that of a person seen in the same
    /// frame by more than half.
    pub strong_score: f32,
    /// Otherwise after being seen in this many frames running.
    pub confirm_hits: u32,
    /// How long somebody may be out of sight and keep the number, seconds.
    pub max_lost: f64,
    /// Most people at a time; the more confident and larger ones are kept, with those already tracked preferred.
    pub max_people: usize,
    /// How long two tracks must share one person until the younger is dropped as a ghost, seconds.
    pub ghost_after: f64,
    /// When a crop is not to be trusted.
    pub roi: RoiLimits,
}

impl Default for TrackOptions {
    fn default() -> Self {
        Self {
            keep_score: 0.4,
            new_score: 0.5,
            strong_score: 0.7,
            confirm_hits: 3,
            max_lost: 1.0,
            max_people: 20,
            ghost_after: 0.4,
            roi: RoiLimits::default(),
        }
    }
}

/// Where a track is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrackState {
    /// Seen, but not yet often or surely enough to be believed.
    Tentative,
    /// Believed and seen in the last frame.
    Confirmed,
    /// Believed and out of sight.
    Lost,
}

/// Where somebody should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Predicted {
    /// Who.
    pub id: TrackId,
    /// State as of the last update.
    pub state: TrackState,
    /// Predicted box.
    pub bbox: Rect,
    /// Predicted crop.
    pub roi: Roi,
    /// Why the crop should not be trusted, if so; a detection's crop should be taken instead.
    pub fault: Option<RoiFault>,
    /// Seconds since the last sight.
    pub unseen: f64,
    /// Hidden behind, or a ghost of, another track: its crop would show that one, so it is not worth looking at.
    pub shadowed: bool,
}

/// What became of an observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is this person.
    Confirmed(TrackId),
    /// It is this person, who is not yet believed in.
    Tentative(TrackId),
    /// It shows the person that another observation shows already.
    Ghost(TrackId),
    /// It scored too low, fitted nobody and could not start a track, or was no valid observation.
    Ignored,
}

impl Outcome {
    /// The person, if the observation counts as a sight of one.
    #[must_use]
    pub fn id(&self) -> Option<TrackId> {
        match *self {
            Self::Confirmed(id) | Self::Tentative(id) => Some(id),
            Self::Ghost(_) | Self::Ignored => None,
        }
    }
}

/// Why a track ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemovedReason {
    /// Out of sight for too long, or never confirmed.
    Gone,
    /// It turned out to be the same person as another track.
    Ghost {
        /// The track that stays.
        of: TrackId,
    },
    /// Somebody larger or surer needed the place.
    Crowded,
}

/// A track that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removed {
    /// Who.
    pub id: TrackId,
    /// Why.
    pub reason: RemovedReason,
    /// Whether it had been confirmed, that is, counted as a person.
    pub confirmed: bool,
}

/// What an update came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// One for each observation, in their order.
    pub outcomes: Vec<Outcome>,
    /// Tracks that ended.
    pub removed: Vec<Removed>,
}
