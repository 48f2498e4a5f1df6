//! Smoothing of placed bodies: rotations, shape, and the place in picture and depth.

use std::collections::BTreeMap;

use super::{OneEuroOptions, SmoothVec, alpha};
use crate::axes;
use crate::body::PlacedBody;
use crate::rig::{Rig, RigError};
use crate::rotation::{self, Mat3, Vec3};
use crate::skeleton::JOINTS;
use crate::track::TrackId;

/// Height that speeds in the picture are measured in, metres.
const HEIGHT: f64 = 1.7;
/// Shape parameters that are smoothed; a body with more has the others left alone.
const BETAS: usize = 16;

/// How bodies are smoothed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BodyOptions {
    /// Local rotations; speeds are in radians a second.
    pub rotations: OneEuroOptions,
    /// The pelvis in the picture; speeds are in body heights a second.
    pub picture: OneEuroOptions,
    /// The logarithm of the pelvis' depth; speeds are in parts of the depth a second.
    pub depth: OneEuroOptions,
    /// Shape parameters. A person's shape does not change, so their cut-off should not rise with speed.
    pub betas: OneEuroOptions,
}

impl Default for BodyOptions {
    /// Chosen so that what stands still is held at about 1 Hz, while a limb that turns at 6 rad/s (a fast arm) or a person who
    /// crosses the picture at half a height a second is followed at 10 Hz and more. Depth is found from size alone and jitters most.
    fn default() -> Self {
        let one_euro = |min_cutoff, beta| OneEuroOptions { min_cutoff, beta, derivative_cutoff: 1.0, reset_after: 0.5 };
        Self { rotations: one_euro(1.0, 1.5), picture: one_euro(1.0, 20.0), depth: one_euro(0.7, 10.0), betas: one_euro(0.2, 0.0) }
    }
}

/// A One-Euro filter for a rotation: it moves on the shortest way towards the new one, further the faster the turn.
#[derive(Debug, Clone)]
pub struct SmoothRotation {
    options: OneEuroOptions,
    state: Option<State>,
}

/// What is known after the last rotation.
#[derive(Debug, Clone)]
struct State {
    time: f64,
    raw: Mat3,
    /// Rotation vector a second, in the body's own axes.
    speed: Vec3,
    smooth: Mat3,
}

impl SmoothRotation {
    /// A filter that has seen nothing.
    #[must_use]
    pub fn new(options: OneEuroOptions) -> Self {
        Self { options, state: None }
    }

    /// The smoothed rotation at `time` (seconds). As with [`SmoothVec::apply`]: the first, and one after a long pause or a step back
    /// in time, comes out as it goes in; a second one at the same time, and one that is no rotation, gives the last again.
    pub fn apply(&mut self, time: f64, r: &Mat3) -> Mat3 {
        let usable = time.is_finite() && r.iter().all(|v| v.is_finite());
        let fresh = || State { time, raw: *r, speed: Vec3::zeros(), smooth: *r };
        let Some(state) = &mut self.state else {
            self.state = usable.then(fresh);
            return *r;
        };
        let dt = time - state.time;
        if !usable || dt == 0.0 {
            return state.smooth;
        }
        if dt < 0.0 || dt > self.options.reset_after {
            *state = fresh();
            return *r;
        }
        let speed = rotation::log(&(state.raw.transpose() * r)) / dt;
        state.speed += (speed - state.speed) * alpha(self.options.derivative_cutoff, dt);
        let cutoff = self.options.min_cutoff + self.options.beta * state.speed.norm();
        state.smooth = rotation::slerp(&state.smooth, r, alpha(cutoff, dt));
        (state.time, state.raw) = (time, *r);
        state.smooth
    }
}

/// Smooths the body of one person.
#[derive(Debug, Clone)]
struct BodySmoother {
    rotations: [SmoothRotation; JOINTS],
    picture: SmoothVec<2>,
    depth: SmoothVec<1>,
    betas: SmoothVec<BETAS>,
}

impl BodySmoother {
    fn new(options: &BodyOptions) -> Self {
        Self {
            rotations: std::array::from_fn(|_| SmoothRotation::new(options.rotations)),
            picture: SmoothVec::new(options.picture),
            depth: SmoothVec::new(options.depth),
            betas: SmoothVec::new(options.betas),
        }
    }

    fn apply(&mut self, time: f64, body: &PlacedBody, rig: &Rig) -> Result<PlacedBody, RigError> {
        let local = std::array::from_fn(|j| self.rotations[j].apply(time, &body.local[j]));
        let padded = std::array::from_fn(|k| body.betas.get(k).copied().unwrap_or(0.0));
        let mut betas = body.betas.clone();
        for (beta, smooth) in betas.iter_mut().zip(self.betas.apply(time, padded, 1.0)) {
            *beta = smooth;
        }
        let pelvis = |betas: &[f64]| rig.shaped(betas).map(|shaped| axes::flip(&shaped.rest[0]));
        let at = pelvis(&body.betas)? + Vec3::from(body.translation);
        // the picture and the depth apart: a depth that is smoothed must not pull the body off the person
        let [x, y] = self.picture.apply(time, [at.x / at.z, at.y / at.z], HEIGHT / at.z);
        let [depth] = self.depth.apply(time, [at.z.ln()], 1.0);
        let z = depth.exp();
        let translation = Vec3::new(x * z, y * z, z) - pelvis(&betas)?;
        Ok(PlacedBody { local, betas, translation: translation.into() })
    }
}

/// One smoother for each track.
#[derive(Debug, Clone)]
pub struct BodySmoothers {
    options: BodyOptions,
    people: BTreeMap<TrackId, BodySmoother>,
}

impl BodySmoothers {
    /// Smoothers for nobody yet.
    #[must_use]
    pub fn new(options: BodyOptions) -> Self {
        Self { options, people: BTreeMap::new() }
    }

    /// The smoothed body of track `id` at `time` (seconds). A track seen for the first time, or again after a pause, starts anew.
    ///
    /// # Errors
    /// [`RigError::Betas`] if the shape parameters are not the rig's.
    pub fn apply(&mut self, id: TrackId, time: f64, body: &PlacedBody, rig: &Rig) -> Result<PlacedBody, RigError> {
        let options = &self.options;
        self.people.entry(id).or_insert_with(|| BodySmoother::new(options)).apply(time, body, rig)
    }

    /// Drops a track's smoother; call it when the tracker removes the track.
    pub fn remove(&mut self, id: TrackId) {
        self.people.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::Pinhole;
    use crate::rig::testrig::{self, Random};

    const STEP: f64 = 1.0 / 30.0;

    fn filter() -> SmoothRotation {
        SmoothRotation::new(BodyOptions::default().rotations)
    }

    #[test]
    fn a_trembling_joint_is_held_and_a_turning_one_is_followed() {
        let mut random = Random(5);
        let (mut smooth, truth) = (filter(), rotation::exp(&Vec3::new(0.3, -1.0, 0.4)));
        let (mut before, mut after) = (0.0, 0.0);
        for f in 0..120 {
            let noise = Vec3::new(random.normal(), random.normal(), random.normal()) * 0.03;
            let noisy = truth * rotation::exp(&noise);
            let out = smooth.apply(f64::from(f) * STEP, &noisy);
            assert!(rotation::is_rotation(&out, 1e-9));
            if f > 30 {
                before += rotation::angle_between(&truth, &noisy).powi(2);
                after += rotation::angle_between(&truth, &out).powi(2);
            }
        }
        assert!(after < 0.25 * before, "the tremble is more than halved: {before} to {after}");

        let mut smooth = filter();
        let turned = |f: i32| rotation::exp(&Vec3::new(0.0, 6.0 * f64::from(f) * STEP, 0.0));
        let lag = (0..60).map(|f| rotation::angle_between(&smooth.apply(f64::from(f) * STEP, &turned(f)), &turned(f))).last().unwrap();
        assert!(lag < 0.15, "a turn of 6 rad/s lags by {lag} rad");
    }

    #[test]
    fn half_a_turn_and_odd_input_do_no_harm() {
        let mut smooth = filter();
        let (a, b) = (rotation::exp(&Vec3::new(0.0, 3.1, 0.0)), rotation::exp(&Vec3::new(0.0, -3.1, 0.0)));
        smooth.apply(0.0, &a);
        let out = smooth.apply(STEP, &b);
        assert!(rotation::angle_between(&a, &out) < 0.09, "it goes the short way across half a turn");
        assert_eq!(smooth.apply(STEP, &a), out, "the same time again");
        assert_eq!(smooth.apply(2.0 * STEP, &Mat3::from_element(f64::NAN)), out);
        assert_eq!(smooth.apply(9.0, &a), a, "after a pause it starts anew");
        assert_eq!(smooth.apply(1.0, &b), b, "and after a step back");
    }

    #[test]
    fn a_body_whose_depth_jitters_stays_on_the_person() {
        let (rig, camera, mut random) = (testrig::humanoid(), Pinhole { focal: 25_000.0, center: [640.0, 360.0] }, Random(2));
        let mut smoothers = BodySmoothers::new(BodyOptions::default());
        let local = testrig::pose(&mut random, &Mat3::identity());
        let (mut rough, mut smooth) = (Vec::new(), Vec::new());
        for f in 0..60 {
            let (time, z) = (f64::from(f) * STEP, 110.0 * (1.0 + 0.02 * random.normal()));
            // the network shows the person at the same pixel whatever depth it guesses
            let betas = vec![0.2 + 0.1 * random.normal(); rig.shape_names().len()];
            let pelvis = axes::flip(&rig.shaped(&betas).unwrap().rest[0]);
            let translation = (Vec3::new(0.01 * z, -0.004 * z, z) - pelvis).into();
            let body = PlacedBody { local, betas, translation };
            let out = smoothers.apply(4, time, &body, &rig).unwrap();
            let joints = out.joints(&rig, &camera).unwrap().unwrap();
            let px = joints.px[0];
            assert!((px[0] - 890.0).hypot(px[1] - 260.0) < 0.5, "frame {f}: the pelvis at {px:?}");
            if f > 20 {
                rough.push(z);
                smooth.push(joints.camera[0][2]);
            }
        }
        let spread = |v: &[f64]| {
            let mean = v.iter().sum::<f64>() / v.len() as f64;
            v.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / v.len() as f64
        };
        assert!(spread(&smooth) < 0.3 * spread(&rough), "{} to {}", spread(&rough), spread(&smooth));
        smoothers.remove(4);
        assert!(smoothers.people.is_empty());
    }
}
