//! A body as motion files need it: mesh, joints, skin, shape directions.

use halfpipe_kit::axes;
use halfpipe_kit::poses::{Header, JOINTS};
use halfpipe_kit::rotation::{Mat3, Vec3, is_rotation};

use crate::MotionError;

/// How far the columns of a bind rotation may be from orthonormal.
const ROTATION_TOLERANCE: f64 = 1e-3;

/// A body's mesh and rig. Metres, body axes: x to the body's left, y up, z to its front.
///
/// The mesh rests in a pose of its own (often an A pose), while identity rotations mean the T pose; `bind` joins the two. With
/// shaped rest joints `J`, bind rotations `B` and local rotations `R` (Loper et al. 2015, with a bind pose added), joint `k` of
/// parent `p` has `G[k] = G[p] R[k]`, `t[k] = t[p] + G[p] B[p]^T (J[k] - J[p])`, and a vertex becomes
/// `sum_k w[k] (G[k] B[k]^T (v - J[k]) + t[k])`.
#[derive(Debug, Clone, PartialEq)]
pub struct BodyRig {
    /// The body's name in the model catalog.
    pub name: String,
    /// Names of the K shape parameters.
    pub shape_names: Vec<String>,
    /// Names of the 24 joints, parents before children.
    pub joint_names: [String; JOINTS],
    /// Index of each joint's parent; -1 for the root, joint 0.
    pub parents: [i32; JOINTS],
    /// Rest position of each joint, `[24, 3]`.
    pub joints: [[f32; 3]; JOINTS],
    /// Change of the joints for one unit of each shape parameter, `[24, 3, K]`, row-major.
    pub joint_shapes: Vec<f32>,
    /// Rows of the rotation from the T pose to the mesh's rest pose, `[24, 3, 3]`.
    pub bind: [[[f32; 3]; 3]; JOINTS],
    /// Rest position of each vertex, `[V, 3]`.
    pub vertices: Vec<[f32; 3]>,
    /// Change of the vertices for one unit of each shape parameter, `[V, 3, K]`, row-major.
    pub vertex_shapes: Vec<f32>,
    /// Triangles, counter-clockwise seen from outside.
    pub faces: Vec<[u32; 3]>,
    /// Up to four joints that move each vertex.
    pub skin_joints: Vec<[u16; 4]>,
    /// Their weights, which add up to 1.
    pub skin_weights: Vec<[f32; 4]>,
}

/// A rig with shape parameters applied.
pub(crate) struct Shaped {
    /// Rest mesh.
    pub vertices: Vec<[f32; 3]>,
    /// Rest joints.
    pub joints: [Vec3; JOINTS],
    /// Where each joint lies in its parent's axes in the T pose; the root's rest position for the root.
    pub offsets: [Vec3; JOINTS],
    /// Bind rotations.
    pub bind: [Mat3; JOINTS],
}

impl BodyRig {
    /// Checks that the rig's parts fit each other.
    ///
    /// # Errors
    /// [`MotionError::Rig`] names the first part that does not.
    pub fn check(&self) -> Result<(), MotionError> {
        let fault = |fault: String| Err(MotionError::Rig { body: self.name.clone(), fault });
        let (v, k) = (self.vertices.len(), self.shape_names.len());
        for (part, len, due) in [
            ("vertex_shapes", self.vertex_shapes.len(), v * 3 * k),
            ("joint_shapes", self.joint_shapes.len(), JOINTS * 3 * k),
            ("skin_joints", self.skin_joints.len(), v),
            ("skin_weights", self.skin_weights.len(), v),
        ] {
            if len != due {
                return fault(format!("{part} has {len} entries, {v} vertices and {k} shape parameters need {due}"));
            }
        }
        if v == 0 || self.faces.is_empty() {
            return fault("it has no mesh".into());
        }
        let numbers = [
            self.vertices.as_flattened(),
            &self.vertex_shapes,
            self.joints.as_flattened(),
            &self.joint_shapes,
            self.skin_weights.as_flattened(),
        ];
        if numbers.iter().any(|list| list.iter().any(|x| !x.is_finite())) {
            return fault("it holds a number that is not finite".into());
        }
        for (joint, parent) in self.parents.iter().enumerate() {
            let valid = if joint == 0 { *parent == -1 } else { (0..joint as i32).contains(parent) };
            if !valid {
                return fault(format!("joint {joint} has parent {parent}; joint 0 must be the root and parents stand before children"));
            }
        }
        for (joint, rows) in self.bind.iter().enumerate() {
            if !is_rotation(&axes::from_rows(rows), ROTATION_TOLERANCE) {
                return fault(format!("bind of joint {joint} is not a rotation"));
            }
        }
        for (i, [a, b, c]) in self.faces.iter().enumerate() {
            if [a, b, c].into_iter().any(|x| *x as usize >= v) || a == b || b == c || c == a {
                return fault(format!("face {i} is no triangle of its {v} vertices"));
            }
        }
        for (i, (joints, weights)) in self.skin_joints.iter().zip(&self.skin_weights).enumerate() {
            let sum: f32 = weights.iter().sum();
            if joints.iter().any(|j| usize::from(*j) >= JOINTS) || weights.iter().any(|w| *w < 0.0) || (sum - 1.0).abs() > 0.01 {
                return fault(format!("the skin of vertex {i} names a joint that does not exist or weights that do not add up to 1"));
            }
        }
        Ok(())
    }

    /// Checks that the poses of a file were made with this body.
    pub(crate) fn check_header(&self, header: &Header) -> Result<(), MotionError> {
        let other = |what| Err(MotionError::OtherBody { rig: self.name.clone(), what });
        if header.body.name != self.name {
            return other("names");
        }
        if header.body.shape_names != self.shape_names {
            return other("shape parameters");
        }
        if header.skeleton.joint_names != self.joint_names || header.skeleton.parents != self.parents {
            return other("joints");
        }
        Ok(())
    }

    /// Applies shape parameters, as many as there are names.
    pub(crate) fn shaped(&self, betas: &[f32]) -> Shaped {
        let add = |rest: &[f32; 3], shapes: &[f32]| -> [f64; 3] {
            std::array::from_fn(|c| {
                let row = &shapes[c * betas.len()..(c + 1) * betas.len()];
                f64::from(rest[c]) + row.iter().zip(betas).map(|(s, b)| f64::from(*s) * f64::from(*b)).sum::<f64>()
            })
        };
        let stride = 3 * betas.len();
        let vertices =
            self.vertices.iter().enumerate().map(|(i, v)| add(v, &self.vertex_shapes[i * stride..(i + 1) * stride]).map(|x| x as f32));
        let joints: [Vec3; JOINTS] =
            std::array::from_fn(|i| Vec3::from(add(&self.joints[i], &self.joint_shapes[i * stride..(i + 1) * stride])));
        let bind: [Mat3; JOINTS] = std::array::from_fn(|i| axes::from_rows(&self.bind[i]));
        let offsets = std::array::from_fn(|i| match usize::try_from(self.parents[i]) {
            Ok(p) => bind[p].transpose() * (joints[i] - joints[p]),
            Err(_) => joints[i],
        });
        Shaped { vertices: vertices.collect(), joints, offsets, bind }
    }
}
