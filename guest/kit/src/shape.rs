//! Body shape from bone lengths.
//!
//! Distances between 3D landmarks are compared with the rig's; the shape parameters that change lengths (total height,
//! leg, arm and torso length, shoulder and hip width) are solved for by linear least squares with a prior that keeps
//! them near the mean body where the landmarks say little. Any other shape parameter of a rig (weight, age, ...) cannot
//! be seen in bone lengths and stays 0. One picture's lengths are noisy, so videos average over a track:
//! [`ShapeEstimator`].

use nalgebra::{SMatrix, SVector};

use crate::analytic::{LandmarkError, checked_world};
use crate::rig::{Rig, RigError};
use crate::skeleton::{JOINT_NAMES, LANDMARKS, joint as j, landmark as l};

/// Shape parameters that bone lengths show, each with the weight of the prior that keeps it near 0: the error of a fully
/// seen length, metres, that costs as much as one unit.
const SHAPES: [(&str, f64); 6] =
    [("height", 0.02), ("leg_length", 0.06), ("arm_length", 0.06), ("torso_length", 0.06), ("shoulder_width", 0.03), ("hip_width", 0.03)];

/// Measured lengths: two landmarks and the joints they stand for.
const SEGMENTS: [([usize; 2], [usize; 2]); 12] = [
    ([l::LEFT_SHOULDER, l::LEFT_ELBOW], [j::LEFT_SHOULDER, j::LEFT_ELBOW]),
    ([l::RIGHT_SHOULDER, l::RIGHT_ELBOW], [j::RIGHT_SHOULDER, j::RIGHT_ELBOW]),
    ([l::LEFT_ELBOW, l::LEFT_WRIST], [j::LEFT_ELBOW, j::LEFT_WRIST]),
    ([l::RIGHT_ELBOW, l::RIGHT_WRIST], [j::RIGHT_ELBOW, j::RIGHT_WRIST]),
    ([l::LEFT_HIP, l::LEFT_KNEE], [j::LEFT_HIP, j::LEFT_KNEE]),
    ([l::RIGHT_HIP, l::RIGHT_KNEE], [j::RIGHT_HIP, j::RIGHT_KNEE]),
    ([l::LEFT_KNEE, l::LEFT_ANKLE], [j::LEFT_KNEE, j::LEFT_ANKLE]),
    ([l::RIGHT_KNEE, l::RIGHT_ANKLE], [j::RIGHT_KNEE, j::RIGHT_ANKLE]),
    ([l::LEFT_SHOULDER, l::RIGHT_SHOULDER], [j::LEFT_SHOULDER, j::RIGHT_SHOULDER]),
    ([l::LEFT_HIP, l::RIGHT_HIP], [j::LEFT_HIP, j::RIGHT_HIP]),
    ([l::LEFT_SHOULDER, l::LEFT_HIP], [j::LEFT_SHOULDER, j::LEFT_HIP]),
    ([l::RIGHT_SHOULDER, l::RIGHT_HIP], [j::RIGHT_SHOULDER, j::RIGHT_HIP]),
];

const K: usize = SHAPES.len();

/// Solves for shape parameters of one rig.
#[derive(Debug, Clone)]
pub struct ShapeFitter {
    /// Length of each segment of the mean body, metres, and its change for one unit of each of [`SHAPES`].
    segments: [(f64, SVector<f64, K>); SEGMENTS.len()],
    /// Where each of [`SHAPES`] stands in the rig's betas; none if the rig lacks it.
    columns: [Option<usize>; K],
    betas: usize,
}

/// Normal equations of the length fit, `a * x = b` before the prior.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Lengths {
    a: SMatrix<f64, K, K>,
    b: SVector<f64, K>,
}

impl ShapeFitter {
    /// Prepares for a rig. Of the six shape parameters that lengths show, those that the rig names are used.
    ///
    /// # Errors
    ///
    /// [`RigError::ZeroLength`] if two joints of a segment coincide.
    pub fn new(rig: &Rig) -> Result<Self, RigError> {
        let columns = SHAPES.map(|(name, _)| rig.shape_names().iter().position(|n| n == name));
        let mut segments = [(0.0, SVector::zeros()); SEGMENTS.len()];
        for (segment, (_, [a, b])) in segments.iter_mut().zip(SEGMENTS) {
            let d = rig.rest(b) - rig.rest(a);
            let length = d.norm();
            if length < 1e-6 {
                return Err(RigError::ZeroLength { from: JOINT_NAMES[a], to: JOINT_NAMES[b] });
            }
            let gradient = SVector::from_fn(|k, _| {
                columns[k]
                    .map_or(0.0, |c| (0..3).map(|x| d[x] / length * (rig.joints()[b].shape[c][x] - rig.joints()[a].shape[c][x])).sum())
            });
            *segment = (length, gradient);
        }
        Ok(Self { segments, columns, betas: rig.shape_names().len() })
    }

    /// Betas of one picture: `world` in metres (any axes), `visibility` 0 to 1. Each within -1 to 1.
    ///
    /// # Errors
    ///
    /// [`LandmarkError`] if a landmark or visibility is not finite.
    pub fn fit(&self, world: &[[f32; 3]; LANDMARKS], visibility: &[f32; LANDMARKS]) -> Result<Vec<f64>, LandmarkError> {
        Ok(self.solve(&self.lengths(world, visibility)?))
    }

    fn lengths(&self, world: &[[f32; 3]; LANDMARKS], visibility: &[f32; LANDMARKS]) -> Result<Lengths, LandmarkError> {
        let (world, visibility) = checked_world(world, visibility)?;
        let mut sum = Lengths { a: SMatrix::zeros(), b: SVector::zeros() };
        for ((length, gradient), ([i, k], _)) in self.segments.iter().zip(SEGMENTS) {
            let weight = visibility[i].min(visibility[k]).powi(2);
            sum.a += gradient * gradient.transpose() * weight;
            sum.b += gradient * (weight * ((world[i] - world[k]).norm() - length));
        }
        Ok(sum)
    }

    fn solve(&self, lengths: &Lengths) -> Vec<f64> {
        let prior = SMatrix::<f64, K, K>::from_diagonal(&SVector::from_fn(|k, _| SHAPES[k].1.powi(2)));
        // a is positive semi-definite and the prior is definite, so only an overflow could make this fail
        let x = (lengths.a + prior).cholesky().map_or_else(SVector::zeros, |c| c.solve(&lengths.b));
        let mut betas = vec![0.0; self.betas];
        for (column, value) in self.columns.iter().zip(&x) {
            if let Some(c) = *column {
                betas[c] = value.clamp(-1.0, 1.0);
            }
        }
        betas
    }
}

/// A running estimate of one person's shape over the frames of a track, so that the body does not breathe.
///
/// Frames add to the least-squares problem, not to its solution: the estimate is that of the mean of all frames' lengths,
/// each weighted by how visible its limbs were, under the same prior as one frame's. It moves by about `1/n` of a
/// frame's deviation at the `n`-th frame and needs the same memory after any number of them.
#[derive(Debug, Clone)]
pub struct ShapeEstimator {
    sum: Lengths,
    frames: f64,
}

impl Default for ShapeEstimator {
    fn default() -> Self {
        Self { sum: Lengths { a: SMatrix::zeros(), b: SVector::zeros() }, frames: 0.0 }
    }
}

impl ShapeEstimator {
    /// Takes in one frame's landmarks and gives the betas as they are now known (see [`ShapeFitter::fit`]).
    ///
    /// # Errors
    ///
    /// [`LandmarkError`] if a landmark or visibility is not finite; the estimate is left as it was.
    pub fn add(
        &mut self,
        fitter: &ShapeFitter,
        world: &[[f32; 3]; LANDMARKS],
        visibility: &[f32; LANDMARKS],
    ) -> Result<Vec<f64>, LandmarkError> {
        let lengths = fitter.lengths(world, visibility)?;
        self.sum.a += lengths.a;
        self.sum.b += lengths.b;
        self.frames += 1.0;
        Ok(self.betas(fitter))
    }

    /// The betas as they are known now; those of the mean body before any frame.
    pub fn betas(&self, fitter: &ShapeFitter) -> Vec<f64> {
        let n = self.frames.max(1.0);
        fitter.solve(&Lengths { a: self.sum.a / n, b: self.sum.b / n })
    }
}
