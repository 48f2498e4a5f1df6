//! What the fit minimises: residuals of the fitted points, their derivatives, and the first guess of the translation.
//!
//! For each point, all in camera axes, with `p` the posed body's point and `m` the middle of its hips:
//! - image: `e = w * 10 / d * (project(p + t) - landmark)`, `d` the diagonal of the person's box in pixels, robust as
//!   `e / sqrt(1 + |e|^2)` (Geman-McClure), so that a landmark far off loses its pull;
//! - space: `1.8 * w * (p - m - world landmark)`, metres.
//!
//! For each free joint `0.35 * theta`, radians away from the closed-form pose.

use super::tree::{FREE, NormalEquations, Residual, Rows, Tree};
use crate::axes;
use crate::camera::{NEAREST, Pinhole};
use crate::rig::{Posed, Rig, RigError, Shaped, SkinBone};
use crate::rotation::{self, Mat3, Vec3};
use crate::skeleton::{JOINT_LANDMARKS, JOINTS, LANDMARKS, SURFACE_LANDMARKS, joint as j, moves};

/// Fitted points: 12 joints, then 13 surface points.
pub(super) const POINTS: usize = JOINT_LANDMARKS.len() + SURFACE_LANDMARKS.len();

/// Image residual of a point that is off by the whole diagonal of the person's box.
const IMAGE_WEIGHT: f64 = 10.0;
/// Space residual of a point that is off by a metre.
const WORLD_WEIGHT: f64 = 1.8;
/// Residual of a joint a radian away from the closed-form pose.
const PRIOR_WEIGHT: f64 = 0.35;
/// Visibility that every landmark is granted, so that hidden limbs follow the network's guess weakly.
const LEAST_VISIBILITY: f64 = 0.02;
/// Weight above which a landmark counts for the size of the person.
const SIZE_WEIGHT: f64 = 0.3;

/// A point of the body that is compared with a landmark.
#[derive(Debug, Clone)]
pub(super) struct FittedPoint {
    pub(super) landmark: usize,
    source: Source,
    /// Share of a visible landmark's weight.
    scale: f64,
    /// Deepest node that moves the point.
    node: usize,
    /// For each node of the path below the translation: how much of each bone's weight it moves.
    moved: Vec<Vec<f64>>,
}

#[derive(Debug, Clone, Copy)]
enum Source {
    Joint(usize),
    Surface(usize),
}

/// The fitted points of a rig, joints first.
///
/// # Errors
///
/// [`RigError::NoSurfacePoint`], or [`RigError::BranchingBones`] where a point moves with two limbs.
pub(super) fn fitted_points(rig: &Rig, tree: &Tree) -> Result<Vec<FittedPoint>, RigError> {
    let mut points = vec![];
    for (landmark, joint) in JOINT_LANDMARKS {
        // its own rotation leaves a joint where it is
        let bones = [(joint, 1.0)];
        let node = deepest(tree, &bones, |free, bone| free != bone);
        points.push(FittedPoint { landmark, source: Source::Joint(joint), scale: 1.0, node, moved: shares(tree, node, &bones) });
    }
    for (landmark, name) in SURFACE_LANDMARKS {
        let index = rig.surface_index(name)?;
        let bones = &rig.surface()[index].bones;
        let node = deepest(tree, bones, |_, _| true);
        let chain = |free: &usize| tree.path(node)[1..].iter().any(|n| FREE[n - 1] == *free);
        if FREE.iter().any(|f| bones.iter().any(|b| moves(*f, b.0)) && !chain(f)) {
            return Err(RigError::BranchingBones { name: name.to_owned() });
        }
        // feet say where a leg ends as well as ankles do; faces and fingers are soft evidence
        let scale = match name {
            "left_heel" | "right_heel" | "left_toe" | "right_toe" => 1.0,
            "left_index" | "right_index" | "left_pinky" | "right_pinky" => 0.3,
            _ => 0.5,
        };
        points.push(FittedPoint { landmark, source: Source::Surface(index), scale, node, moved: shares(tree, node, bones) });
    }
    Ok(points)
}

fn deepest(tree: &Tree, bones: &[(usize, f64)], allowed: impl Fn(usize, usize) -> bool) -> usize {
    let moving = FREE.iter().enumerate().filter(|(_, f)| bones.iter().any(|b| moves(**f, b.0) && allowed(**f, b.0)));
    moving.map(|(n, _)| n + 1).max_by_key(|n| tree.path(*n).len()).unwrap_or(0)
}

fn shares(tree: &Tree, node: usize, bones: &[(usize, f64)]) -> Vec<Vec<f64>> {
    let share = |n: &usize| bones.iter().map(|b| if moves(FREE[n - 1], b.0) { b.1 } else { 0.0 }).collect();
    tree.path(node)[1..].iter().map(share).collect()
}

/// The unknowns: rotation vectors of [`FREE`], right of the closed-form rotations, and the translation in camera axes.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) theta: [Vec3; FREE.len()],
    pub(super) translation: Vec3,
}

/// The body as a state poses it. Positions are in camera axes without the translation.
#[derive(Debug, Clone)]
pub(super) struct Pose {
    pub(super) local: [Mat3; JOINTS],
    posed: Posed,
    /// Where each bone alone would put each point, bones of all points in a row.
    parts: Vec<Vec3>,
    pub(super) points: [Vec3; POINTS],
    /// Middle of the hips.
    middle: Vec3,
}

impl Pose {
    /// Joints in camera axes, metres from the camera.
    pub(super) fn joints(&self, translation: &Vec3) -> [Vec3; JOINTS] {
        self.posed.joints.map(|p| axes::camera_from_body(&p, translation))
    }
}

/// One person's landmarks and the body to be fitted to them.
pub(super) struct Problem<'a> {
    tree: &'a Tree,
    points: &'a [FittedPoint],
    camera: &'a Pinhole,
    shaped: Shaped,
    /// Closed-form local rotations.
    start: [Mat3; JOINTS],
    bones: Vec<Vec<SkinBone>>,
    /// Weight of each point: visibility times share.
    weights: [f64; POINTS],
    pixels: [[f64; 2]; POINTS],
    world: [Vec3; POINTS],
    /// Image residuals per pixel at weight 1.
    per_pixel: f64,
}

impl<'a> Problem<'a> {
    /// `None` if the image landmarks coincide, so that the person has no size.
    pub(super) fn new(
        (tree, points, camera): (&'a Tree, &'a [FittedPoint], &'a Pinhole),
        shaped: Shaped,
        start: [Mat3; JOINTS],
        image: &[[f64; 2]; LANDMARKS],
        (world, visibility): (&[Vec3; LANDMARKS], &[f64; LANDMARKS]),
    ) -> Option<Self> {
        let weights: [f64; POINTS] = std::array::from_fn(|i| visibility[points[i].landmark].clamp(LEAST_VISIBILITY, 1.0) * points[i].scale);
        let pixels: [[f64; 2]; POINTS] = std::array::from_fn(|i| image[points[i].landmark]);
        let few = weights.iter().filter(|w| **w > SIZE_WEIGHT).count() <= 3;
        let (mut low, mut high) = ([f64::INFINITY; 2], [f64::NEG_INFINITY; 2]);
        for (pixel, _) in pixels.iter().zip(weights).filter(|(_, w)| few || *w > SIZE_WEIGHT) {
            for c in 0..2 {
                low[c] = low[c].min(pixel[c]);
                high[c] = high[c].max(pixel[c]);
            }
        }
        let diagonal = (high[0] - low[0]).hypot(high[1] - low[1]);
        if !(diagonal > 1e-3 && diagonal.is_finite()) {
            return None;
        }
        let bones = points
            .iter()
            .map(|p| match p.source {
                Source::Joint(joint) => vec![SkinBone { joint, weight: 1.0, offset: Vec3::zeros() }],
                Source::Surface(index) => shaped.surface[index].clone(),
            })
            .collect();
        let world = std::array::from_fn(|i| world[points[i].landmark]);
        Some(Self { tree, points, camera, shaped, start, bones, weights, pixels, world, per_pixel: IMAGE_WEIGHT / diagonal })
    }

    /// The closed-form local rotations that `theta` counts from.
    pub(super) fn start(&self) -> &[Mat3; JOINTS] {
        &self.start
    }

    /// Poses the body.
    pub(super) fn pose(&self, theta: &[Vec3; FREE.len()]) -> Pose {
        let mut local = self.start;
        for (joint, t) in FREE.iter().zip(theta) {
            local[*joint] *= rotation::exp(t);
        }
        let posed = self.shaped.pose(&local);
        let mut parts = Vec::with_capacity(64);
        let mut points = [Vec3::zeros(); POINTS];
        for (point, bones) in points.iter_mut().zip(&self.bones) {
            for bone in bones {
                let part = axes::flip(&bone.place(&posed));
                *point += part * bone.weight;
                parts.push(part);
            }
        }
        let middle = axes::flip(&(posed.joints[j::LEFT_HIP] + posed.joints[j::RIGHT_HIP])) / 2.0;
        Pose { local, posed, parts, points, middle }
    }

    /// The translation that puts the posed points on their pixels, by weighted linear least squares; `None` if undefined.
    pub(super) fn translation(&self, pose: &Pose) -> Option<Vec3> {
        let (mut a, mut b) = (Mat3::zeros(), Vec3::zeros());
        for ((p, pixel), weight) in pose.points.iter().zip(&self.pixels).zip(self.weights) {
            for c in 0..2 {
                let slope = (pixel[c] - self.camera.center[c]) / self.camera.focal;
                // p_c + t_c = slope * (p_z + t_z)
                let mut row = Vec3::ith(c, weight);
                row.z = -slope * weight;
                a += row * row.transpose();
                b += row * (weight * (slope * p.z - p[c]));
            }
        }
        Some(a.cholesky()?.solve(&b))
    }

    /// Sum of squared residuals; infinite if a point lies nearer than the camera can see.
    pub(super) fn cost(&self, pose: &Pose, state: &State) -> f64 {
        let mut sum: f64 = state.theta.iter().map(|t| (t * PRIOR_WEIGHT).norm_squared()).sum();
        for i in 0..POINTS {
            let q = pose.points[i] + state.translation;
            if q.z.is_nan() || q.z < NEAREST {
                return f64::INFINITY;
            }
            sum += self.residual(pose, i, &q).0.norm_squared();
        }
        sum
    }

    /// Residual of point `i` at `q` (camera axes), and the square root in its robust image part.
    fn residual(&self, pose: &Pose, i: usize, q: &Vec3) -> (Residual, f64) {
        let s = self.per_pixel * self.weights[i];
        let u = self.camera.focal * q.x / q.z + self.camera.center[0] - self.pixels[i][0];
        let v = self.camera.focal * q.y / q.z + self.camera.center[1] - self.pixels[i][1];
        let rho = (1.0 + s * s * (u * u + v * v)).sqrt();
        let d = (pose.points[i] - pose.middle - self.world[i]) * (WORLD_WEIGHT * self.weights[i]);
        (Residual::new(u * s / rho, v * s / rho, d.x, d.y, d.z), rho)
    }

    /// Normal equations of the residuals linearised at a state.
    pub(super) fn linearise(&self, pose: &Pose, state: &State) -> NormalEquations {
        // what turns a step of theta into an angular velocity in camera axes
        let spin: [Mat3; FREE.len()] =
            std::array::from_fn(|n| axes::flip_rows(&pose.posed.global[FREE[n]]) * rotation::right_jacobian(&state.theta[n]));
        let hinge: [Vec3; FREE.len()] = std::array::from_fn(|n| axes::flip(&pose.posed.joints[FREE[n]]));
        let mut equations = NormalEquations::new();
        let mut rows = [Rows::zeros(); super::tree::DEPTH];
        let mut first = 0;
        for (i, point) in self.points.iter().enumerate() {
            let parts = &pose.parts[first..first + self.bones[i].len()];
            first += parts.len();
            let q = pose.points[i] + state.translation;
            let (residual, rho) = self.residual(pose, i, &q);
            let e = residual.fixed_rows::<2>(0);
            let robust = (nalgebra::Matrix2::identity() - e * e.transpose()) * (self.per_pixel * self.weights[i] / rho);
            let image = robust * self.camera.project_jacobian(&q);
            let space = WORLD_WEIGHT * self.weights[i];
            let path = self.tree.path(point.node);
            rows[0] = Rows::zeros();
            rows[0].fixed_rows_mut::<2>(0).copy_from(&image);
            for (depth, shares) in point.moved.iter().enumerate() {
                let n = path[depth + 1] - 1;
                let lever: Vec3 = parts.iter().zip(shares).map(|(part, share)| (part - hinge[n]) * *share).sum();
                let moved = -rotation::skew(&lever) * spin[n];
                let row = &mut rows[depth + 1];
                row.fixed_rows_mut::<2>(0).copy_from(&(image * moved));
                // the pelvis turns the middle of the hips as well, which the space residual is counted from
                let relative = if depth == 0 { -rotation::skew(&(lever - pose.middle + hinge[n])) * spin[n] } else { moved };
                row.fixed_rows_mut::<3>(2).copy_from(&(relative * space));
            }
            equations.add_point(path, &rows[..path.len()], &residual);
        }
        for (n, theta) in state.theta.iter().enumerate() {
            equations.add_prior(self.tree, n + 1, PRIOR_WEIGHT, theta);
        }
        equations
    }

    /// All residuals in a row, for finite differences.
    #[cfg(test)]
    pub(super) fn residuals(&self, state: &State) -> nalgebra::DVector<f64> {
        let pose = self.pose(&state.theta);
        let points =
            (0..POINTS).flat_map(|i| self.residual(&pose, i, &(pose.points[i] + state.translation)).0.iter().copied().collect::<Vec<_>>());
        let prior = state.theta.iter().flat_map(|t| [t.x * PRIOR_WEIGHT, t.y * PRIOR_WEIGHT, t.z * PRIOR_WEIGHT]);
        nalgebra::DVector::from_vec(points.chain(prior).collect())
    }
}
