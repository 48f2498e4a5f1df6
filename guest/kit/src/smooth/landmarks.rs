//! Smoothing of one person's landmarks, and of everybody's.

use std::collections::BTreeMap;

use super::{OneEuroOptions, SmoothVec};
use crate::blazepose::{LANDMARKS, Landmarks};
use crate::track::TrackId;

/// Numbers of 33 points in 3D.
const VALUES: usize = 3 * LANDMARKS;

/// How landmarks are smoothed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LandmarkOptions {
    /// Landmarks in the picture; speeds are in sides of the crop a second.
    pub image: OneEuroOptions,
    /// World landmarks, metres.
    pub world: OneEuroOptions,
    /// The two points that the next crop is made of; speeds are in sides of the crop a second.
    pub alignment: OneEuroOptions,
    /// Weight of a new visibility at 30 frames a second, 0..=1; scaled to the frames' real spacing.
    pub visibility_alpha: f32,
}

impl Default for LandmarkOptions {
    /// The values of MediaPipe's pose graph as TensorFlow.js publishes them (`blazepose_tfjs/constants.ts`).
    fn default() -> Self {
        let one_euro = |min_cutoff, beta| OneEuroOptions { min_cutoff, beta, derivative_cutoff: 1.0, reset_after: 0.5 };
        Self { image: one_euro(0.05, 80.0), world: one_euro(0.1, 40.0), alignment: one_euro(0.01, 10.0), visibility_alpha: 0.1 }
    }
}

/// Smooths the landmarks of one person.
#[derive(Debug, Clone)]
pub struct LandmarkSmoother {
    image: SmoothVec<VALUES>,
    world: SmoothVec<VALUES>,
    alignment: SmoothVec<4>,
    visibility_alpha: f32,
    reset_after: f64,
    last: Option<(f64, [f32; LANDMARKS])>,
}

impl LandmarkSmoother {
    /// A smoother that has seen nothing.
    #[must_use]
    pub fn new(options: &LandmarkOptions) -> Self {
        Self {
            image: SmoothVec::new(options.image),
            world: SmoothVec::new(options.world),
            alignment: SmoothVec::new(options.alignment),
            visibility_alpha: options.visibility_alpha.clamp(0.0, 1.0),
            reset_after: options.image.reset_after,
            last: None,
        }
    }

    /// Forgets the person: the next landmarks come out as they go in.
    pub fn reset(&mut self) {
        self.image.reset();
        self.world.reset();
        self.alignment.reset();
        self.last = None;
    }

    /// The smoothed landmarks at `time` (seconds). Presence and the crop are left alone.
    #[must_use]
    pub fn apply(&mut self, time: f64, landmarks: &Landmarks) -> Landmarks {
        let mut out = landmarks.clone();
        let side = f64::from(landmarks.roi.side);
        let image = std::array::from_fn(|i| match i % 3 {
            2 => f64::from(landmarks.depth[i / 3]),
            axis => f64::from(landmarks.image[i / 3][axis]),
        });
        for (i, v) in self.image.apply(time, image, side).into_iter().enumerate() {
            match i % 3 {
                2 => out.depth[i / 3] = v as f32,
                axis => out.image[i / 3][axis] = v as f32,
            }
        }
        let world = std::array::from_fn(|i| f64::from(landmarks.world[i / 3][i % 3]));
        for (i, v) in self.world.apply(time, world, 1.0).into_iter().enumerate() {
            out.world[i / 3][i % 3] = v as f32;
        }
        let alignment = std::array::from_fn(|i| f64::from(landmarks.alignment[i / 2][i % 2]));
        for (i, v) in self.alignment.apply(time, alignment, side).into_iter().enumerate() {
            out.alignment[i / 2][i % 2] = v as f32;
        }
        out.visibility = self.visibility(time, &landmarks.visibility);
        out
    }

    /// A plain low-pass, whose weight is given for 30 frames a second.
    fn visibility(&mut self, time: f64, new: &[f32; LANDMARKS]) -> [f32; LANDMARKS] {
        let out = match &self.last {
            Some((last, old)) if (0.0..=self.reset_after).contains(&(time - last)) => {
                let alpha = 1.0 - (1.0 - self.visibility_alpha).powf((30.0 * (time - last)) as f32);
                std::array::from_fn(|i| if new[i].is_finite() { old[i] + alpha * (new[i] - old[i]) } else { old[i] })
            }
            _ => *new,
        };
        if time.is_finite() && out.iter().all(|v| v.is_finite()) {
            self.last = Some((time, out));
        }
        out
    }
}

/// One smoother for each track.
#[derive(Debug, Clone)]
pub struct Smoothers {
    options: LandmarkOptions,
    people: BTreeMap<TrackId, LandmarkSmoother>,
}

impl Smoothers {
    /// Smoothers for nobody yet.
    #[must_use]
    pub fn new(options: LandmarkOptions) -> Self {
        Self { options, people: BTreeMap::new() }
    }

    /// The smoothed landmarks of track `id` at `time` (seconds). A track seen for the first time, or again after a pause, starts anew.
    #[must_use]
    pub fn apply(&mut self, id: TrackId, time: f64, landmarks: &Landmarks) -> Landmarks {
        let options = &self.options;
        self.people.entry(id).or_insert_with(|| LandmarkSmoother::new(options)).apply(time, landmarks)
    }

    /// Drops a track's smoother; call it when the tracker removes the track.
    pub fn remove(&mut self, id: TrackId) {
        self.people.remove(&id);
    }

    /// How many tracks have a smoother.
    #[must_use]
    pub fn len(&self) -> usize {
        self.people.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.people.is_empty()
    }
}
