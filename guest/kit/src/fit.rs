//! Gauss-Newton refinement of a pose on 2D and 3D landmarks.
//!
//! The closed form ([`crate::analytic`]) gives 24 rotations from world landmarks, the shape ([`crate::shape`]) bone
//! lengths, a linear system the translation. Their projection is off by some percent of the person's size, because the
//! network's 3D and 2D disagree with each other and with one rigid skeleton. A few damped Gauss-Newton steps over 18
//! joints and the translation then bring the body onto the image while it stays near the 3D landmarks and the closed form.

mod problem;
mod tree;

use crate::analytic::{AnalyticPose, LandmarkError, checked_world};
use crate::body::{PlacedBody, PlacedJoints};
use crate::camera::Pinhole;
use crate::rig::{Rig, RigError};
use crate::rotation::{self, Mat3, Vec3};
use crate::shape::ShapeFitter;
use crate::skeleton::{JOINT_LANDMARKS, JOINTS, LANDMARK_NAMES, LANDMARKS};
use problem::{FittedPoint, Pose, Problem, State, fitted_points};
use tree::{FREE, Tree};

/// A body nearer than this to the camera (metres along the optical axis) is no fit.
pub const LEAST_DISTANCE: f64 = 0.3;
/// Visibility above which a landmark counts as seen.
pub const SEEN: f32 = 0.5;
/// Landmarks, of the 25 that are fitted, that must be seen.
pub const LEAST_SEEN: usize = 4;
/// Damping of the first step, and of every step while steps succeed.
const DAMPING: f64 = 1e-4;
/// A warm start further than this (radians) from a joint's closed form is not taken for that joint.
const WARM_REACH: f64 = 1.5;

/// One person's landmarks in one picture, in BlazePose's order.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// Positions in the picture, pixels of the frame (not of a crop).
    pub image: &'a [[f32; 2]; LANDMARKS],
    /// How surely each landmark is seen, 0 to 1.
    pub visibility: &'a [f32; LANDMARKS],
    /// Positions in space, metres, camera axes, origin at the middle of the hips: already turned from the crop's axes to
    /// the camera's, see [`Pinhole::rotate_to_ray`].
    pub world: &'a [[f32; 3]; LANDMARKS],
}

/// How to fit.
#[derive(Debug, Clone, Copy)]
pub struct FitOptions<'a> {
    /// Gauss-Newton steps at most; 0 keeps the closed form. Rejected steps count.
    pub steps: usize,
    /// Steps end once no unknown moves by more than this (radians, metres).
    pub tolerance: f64,
    /// Shape parameters to use, e.g. a track's ([`crate::shape::ShapeEstimator`]); without, this picture's own lengths.
    pub betas: Option<&'a [f64]>,
    /// A fit to start from, e.g. the same person's in the frame before. Taken only where it explains this picture better
    /// than the closed form does, so a wrong one costs time and nothing else.
    pub previous: Option<&'a Fit>,
}

impl Default for FitOptions<'_> {
    fn default() -> Self {
        Self { steps: 6, tolerance: 5e-4, betas: None, previous: None }
    }
}

/// A fitted body.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// Local rotations in SMPL's convention (relative to the parent, identity in the T pose), body axes; the first is the
    /// global orientation.
    pub local: [Mat3; JOINTS],
    /// Shape parameters, in the rig's order.
    pub betas: Vec<f64>,
    /// `p_camera = diag(1, -1, -1) * p_body + translation` for every point of the posed body, metres.
    pub translation: [f64; 3],
    /// Joints in camera axes, metres.
    pub joints_camera: [[f64; 3]; JOINTS],
    /// Joints in the picture, pixels.
    pub joints_px: [[f64; 2]; JOINTS],
    /// Median distance, pixels, between seen landmarks at joints (shoulders to ankles) and those joints; over all twelve
    /// where none is seen.
    pub residual_px: f64,
    /// Gauss-Newton steps tried.
    pub steps: usize,
}

impl Fit {
    /// Pose, shape and place.
    #[must_use]
    pub fn placed(&self) -> PlacedBody {
        PlacedBody { local: self.local, betas: self.betas.clone(), translation: self.translation }
    }

    /// The joints.
    #[must_use]
    pub fn joints(&self) -> PlacedJoints {
        PlacedJoints { camera: self.joints_camera, px: self.joints_px }
    }
}

/// Why a body could not be fitted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FitError {
    /// The landmarks give no pose.
    #[error(transparent)]
    Landmarks(#[from] LandmarkError),
    /// A landmark's pixel position is not finite.
    #[error("landmark {} has a pixel position that is not a finite number", LANDMARK_NAMES[*.index])]
    ImageNotFinite {
        /// Index of the landmark.
        index: usize,
    },
    /// The landmarks coincide in the picture.
    #[error("the landmarks lie on one spot of the picture, so the person has no size")]
    NoSize,
    /// Too little of the person is seen.
    #[error("{seen} of the fitted landmarks are seen; at least {LEAST_SEEN} must be")]
    TooFewSeen {
        /// Landmarks seen.
        seen: usize,
    },
    /// The camera's numbers make no camera.
    #[error("the camera's focal length must be above 0 and all its numbers finite")]
    BadCamera,
    /// The shape parameters do not fit the rig.
    #[error(transparent)]
    Shape(RigError),
    /// The body would stand in or behind the camera.
    #[error(
        "the landmarks put the body at {z:.2} m along the camera's axis; a body must stand wholly in front of it, beyond {LEAST_DISTANCE} m"
    )]
    TooNear {
        /// Depth of the nearest point that decided, metres.
        z: f64,
    },
    /// The equations broke down.
    #[error("the landmarks do not fix the body's pose and place")]
    Undetermined,
}

/// Fits the body of one rig.
#[derive(Debug, Clone)]
pub struct Fitter {
    rig: Rig,
    analytic: AnalyticPose,
    shape: ShapeFitter,
    tree: Tree,
    points: Vec<FittedPoint>,
}

impl Fitter {
    /// Prepares for a rig.
    ///
    /// # Errors
    ///
    /// [`RigError`] if the rig lacks a surface point of [`crate::skeleton::SURFACE_LANDMARKS`], has one that hangs on two
    /// limbs, or a limb without length.
    pub fn new(rig: &Rig) -> Result<Self, RigError> {
        let tree = Tree::new();
        Ok(Self {
            analytic: AnalyticPose::new(rig)?,
            shape: ShapeFitter::new(rig)?,
            points: fitted_points(rig, &tree)?,
            tree,
            rig: rig.clone(),
        })
    }

    /// The rig that is fitted.
    pub fn rig(&self) -> &Rig {
        &self.rig
    }

    /// The shape solver, for use with a [`crate::shape::ShapeEstimator`].
    pub fn shape(&self) -> &ShapeFitter {
        &self.shape
    }

    /// Fits the body to one person.
    ///
    /// # Errors
    ///
    /// [`FitError`] whenever the result would not be a body in front of the camera that the landmarks determine: numbers
    /// that are not finite, limbs without direction, too little seen, a place in or behind the camera.
    pub fn fit(&self, observation: &Observation, camera: &Pinhole, options: &FitOptions) -> Result<Fit, FitError> {
        if !camera.is_valid() {
            return Err(FitError::BadCamera);
        }
        if let Some(index) = observation.image.iter().position(|p| !(p[0].is_finite() && p[1].is_finite())) {
            return Err(FitError::ImageNotFinite { index });
        }
        let (world, visibility) = checked_world(observation.world, observation.visibility)?;
        let seen = self.points.iter().filter(|p| observation.visibility[p.landmark] > SEEN).count();
        if seen < LEAST_SEEN {
            return Err(FitError::TooFewSeen { seen });
        }
        let betas = match options.betas {
            Some(given) => given.to_vec(),
            None => self.shape.fit(observation.world, observation.visibility)?,
        };
        let shaped = self.rig.shaped(&betas).map_err(FitError::Shape)?;
        let start = self.analytic.solve_checked(&world, &visibility)?;
        let image = observation.image.map(|p| p.map(f64::from));
        let parts = (&self.tree, self.points.as_slice(), camera);
        let problem = Problem::new(parts, shaped, start, &image, (&world, &visibility)).ok_or(FitError::NoSize)?;
        let found = self.minimise(&problem, options)?;
        finish(&found, betas, observation, camera)
    }

    fn minimise(&self, problem: &Problem, options: &FitOptions) -> Result<Found, FitError> {
        let mut at = first_guess(problem, [Vec3::zeros(); FREE.len()])?;
        if let Some(previous) = options.previous {
            // a warm start that stands nowhere is no error: the closed form does
            if let Ok(warm) = first_guess(problem, warm_theta(problem.start(), &previous.local))
                && warm.cost < at.cost
            {
                at = warm;
            }
        }
        if !at.cost.is_finite() {
            return Err(FitError::TooNear { z: at.nearest() });
        }
        let mut damping = DAMPING;
        let mut equations = None;
        while at.steps < options.steps {
            at.steps += 1;
            let step = equations
                .get_or_insert_with(|| problem.linearise(&at.pose, &at.state))
                .solve(&self.tree, damping)
                .ok_or(FitError::Undetermined)?;
            let state =
                State { theta: std::array::from_fn(|n| at.state.theta[n] + step[n + 1]), translation: at.state.translation + step[0] };
            let pose = problem.pose(&state.theta);
            let cost = problem.cost(&pose, &state);
            if cost <= at.cost {
                at = Found { state, pose, cost, steps: at.steps };
                equations = None;
                damping = (damping * 0.1).max(DAMPING);
                if step.iter().all(|x| x.amax() < options.tolerance) {
                    break;
                }
            } else {
                // too long a step: the same equations with a shorter one; NaN ends up here too and shrinks to nothing
                damping = (damping * 100.0).max(1e-2);
            }
        }
        Ok(at)
    }
}

/// The best state so far.
struct Found {
    state: State,
    pose: Pose,
    cost: f64,
    steps: usize,
}

impl Found {
    fn nearest(&self) -> f64 {
        self.pose.points.iter().map(|p| p.z + self.state.translation.z).fold(f64::INFINITY, f64::min)
    }
}

fn first_guess(problem: &Problem, theta: [Vec3; FREE.len()]) -> Result<Found, FitError> {
    let pose = problem.pose(&theta);
    let translation = problem.translation(&pose).ok_or(FitError::Undetermined)?;
    let state = State { theta, translation };
    let cost = problem.cost(&pose, &state);
    Ok(Found { state, pose, cost, steps: 0 })
}

/// Rotation vectors from the closed form to an earlier fit, where they are near enough to be the same pose.
fn warm_theta(start: &[Mat3; JOINTS], previous: &[Mat3; JOINTS]) -> [Vec3; FREE.len()] {
    FREE.map(|k| {
        let theta = rotation::log(&start[k].tr_mul(&previous[k]));
        if theta.norm() < WARM_REACH { theta } else { Vec3::zeros() }
    })
}

fn finish(found: &Found, betas: Vec<f64>, observation: &Observation, camera: &Pinhole) -> Result<Fit, FitError> {
    let t = found.state.translation;
    let joints = found.pose.joints(&t);
    if t.z.is_nan() || t.z <= LEAST_DISTANCE {
        return Err(FitError::TooNear { z: t.z });
    }
    if !found.pose.local.iter().flatten().all(|x| x.is_finite()) {
        return Err(FitError::Undetermined);
    }
    let mut joints_px = [[0.0; 2]; JOINTS];
    for (pixel, p) in joints_px.iter_mut().zip(&joints) {
        *pixel = camera.project(p).ok_or(FitError::TooNear { z: p.z })?;
    }
    let distances = |all: bool| {
        let at_joints = JOINT_LANDMARKS.iter().filter(|(l, _)| all || observation.visibility[*l] > SEEN);
        let distance = |&(l, k): &(usize, usize)| {
            let [u, v] = observation.image[l].map(f64::from);
            (joints_px[k][0] - u).hypot(joints_px[k][1] - v)
        };
        at_joints.map(distance).collect::<Vec<_>>()
    };
    let residual_px = median(distances(false)).or_else(|| median(distances(true))).ok_or(FitError::Undetermined)?;
    Ok(Fit {
        local: found.pose.local,
        betas,
        translation: t.into(),
        joints_camera: joints.map(Into::into),
        joints_px,
        residual_px,
        steps: found.steps,
    })
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    (n > 0).then(|| f64::midpoint(values[(n - 1) / 2], values[n / 2]))
}

#[cfg(test)]
mod tests;
