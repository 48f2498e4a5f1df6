//! A body as data: joints, shape directions, surface landmarks, forward kinematics.
//!
//! Mirrors the record `rig` of the catalog interface, checked once in [`Rig::new`]. Everything is in body axes (see
//! [`crate::axes`]) and metres. A rig may be any size and shape, but its skeleton is always the 24-joint tree of SMPL
//! ([`crate::skeleton`]), so that rotations mean the same whatever body they pose.

#[cfg(any(test, feature = "testrig"))]
pub mod testrig;

use crate::rotation::{self, Mat3, Vec3};
use crate::skeleton::{JOINT_NAMES, JOINT_PARENTS, JOINTS};

/// One joint.
#[derive(Debug, Clone, PartialEq)]
pub struct Joint {
    /// Its SMPL name.
    pub name: String,
    /// Index of its parent; none for the root.
    pub parent: Option<usize>,
    /// Position in the mesh's rest pose.
    pub rest: [f64; 3],
    /// Change of `rest` for one unit of each shape parameter.
    pub shape: Vec<[f64; 3]>,
    /// Rotation from the T pose, where all local rotations are identity, to the mesh's own rest pose.
    pub bind: Mat3,
}

/// A skinned point of the body's surface that corresponds to a landmark.
#[derive(Debug, Clone, PartialEq)]
pub struct SurfacePoint {
    /// Name, e.g. `left_heel`.
    pub name: String,
    /// Position in the mesh's rest pose.
    pub rest: [f64; 3],
    /// Change of `rest` for one unit of each shape parameter.
    pub shape: Vec<[f64; 3]>,
    /// Joints it is skinned to, with weights that add up to 1.
    pub bones: Vec<(usize, f64)>,
}

/// What is wrong with a rig or with the shape parameters given for it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RigError {
    /// The skeleton is another one.
    #[error("the rig has {found} joints; a body needs the {JOINTS} SMPL joints, pelvis to right_hand")]
    JointCount {
        /// How many it has.
        found: usize,
    },
    /// A joint is misnamed, out of order or under another parent.
    #[error("joint {index} of the rig is {found:?} under parent {parent:?}; SMPL has {} under parent {:?} there", JOINT_NAMES[*.index], JOINT_PARENTS[*.index])]
    WrongJoint {
        /// Index of the joint.
        index: usize,
        /// Name it has.
        found: String,
        /// Parent it has.
        parent: Option<usize>,
    },
    /// A joint or surface point moves with more or fewer shape parameters than there are.
    #[error("{name} has {found} shape directions; the rig names {expected} shape parameters")]
    ShapeCount {
        /// Joint or surface point.
        name: String,
        /// Directions it has.
        found: usize,
        /// Shape parameters of the rig.
        expected: usize,
    },
    /// A position or direction is not finite.
    #[error("{name} has a position or shape direction that is not a finite number")]
    NotFinite {
        /// Joint or surface point.
        name: String,
    },
    /// A bind matrix is no rotation.
    #[error("the bind matrix of joint {name} is not a rotation to within 1e-3")]
    BindNotRotation {
        /// Joint.
        name: String,
    },
    /// Skinning weights of a surface point are out of order.
    #[error(
        "the bones of surface point {name} must be joints below {JOINTS} with weights of 0 or more that add up to 1 (they add up to {sum})"
    )]
    BadBones {
        /// Surface point.
        name: String,
        /// Sum of the weights.
        sum: f64,
    },
    /// A surface point that a computation needs is missing.
    #[error("the rig has no surface point named {name}; add it to the body's catalog entry")]
    NoSurfacePoint {
        /// The name looked for.
        name: &'static str,
    },
    /// A surface point that is fitted hangs on two limbs.
    #[error("surface point {name} is skinned to bones of different limbs; a fitted point must move with one chain of joints")]
    BranchingBones {
        /// Surface point.
        name: String,
    },
    /// Two joints whose distance matters coincide.
    #[error("joints {from} and {to} of the rig coincide; a limb needs a length")]
    ZeroLength {
        /// First joint or point.
        from: &'static str,
        /// Second joint or point.
        to: &'static str,
    },
    /// Shape parameters do not fit the rig.
    #[error("{found} finite shape parameters were given; the rig takes {expected}")]
    Betas {
        /// Finite numbers given.
        found: usize,
        /// Shape parameters of the rig.
        expected: usize,
    },
}

/// A checked body rig.
#[derive(Debug, Clone, PartialEq)]
pub struct Rig {
    shape_names: Vec<String>,
    joints: Vec<Joint>,
    surface: Vec<SurfacePoint>,
}

impl Rig {
    /// Checks and keeps a rig. Skinning weights may be off 1 in sum by rounding (1e-3) and are normalised;
    /// bones of weight 0, with which meshes fill up to four, are dropped.
    ///
    /// # Errors
    ///
    /// Says what does not fit: another skeleton than SMPL's, a wrong number of shape directions, numbers that are not
    /// finite, bind matrices that are no rotations, bones that do not exist or whose weights do not add up to 1.
    pub fn new(shape_names: Vec<String>, joints: Vec<Joint>, mut surface: Vec<SurfacePoint>) -> Result<Self, RigError> {
        if joints.len() != JOINTS {
            return Err(RigError::JointCount { found: joints.len() });
        }
        for (index, j) in joints.iter().enumerate() {
            if j.name != JOINT_NAMES[index] || j.parent != JOINT_PARENTS[index] {
                return Err(RigError::WrongJoint { index, found: j.name.clone(), parent: j.parent });
            }
            check_point(&j.name, &j.rest, &j.shape, shape_names.len())?;
            if !rotation::is_rotation(&j.bind, 1e-3) {
                return Err(RigError::BindNotRotation { name: j.name.clone() });
            }
        }
        for p in &mut surface {
            check_point(&p.name, &p.rest, &p.shape, shape_names.len())?;
            let sum: f64 = p.bones.iter().map(|b| b.1).sum();
            let adds_up = (sum - 1.0).abs() <= 1e-3;
            if !(adds_up && p.bones.iter().all(|(k, w)| *k < JOINTS && *w >= 0.0)) {
                return Err(RigError::BadBones { name: p.name.clone(), sum });
            }
            p.bones.retain(|(_, weight)| *weight > 0.0);
            for bone in &mut p.bones {
                bone.1 /= sum;
            }
        }
        Ok(Self { shape_names, joints, surface })
    }

    /// Names of the shape parameters, in the order of betas.
    pub fn shape_names(&self) -> &[String] {
        &self.shape_names
    }

    /// The 24 joints in SMPL order.
    pub fn joints(&self) -> &[Joint] {
        &self.joints
    }

    /// The surface points.
    pub fn surface(&self) -> &[SurfacePoint] {
        &self.surface
    }

    /// Index of a surface point.
    ///
    /// # Errors
    ///
    /// [`RigError::NoSurfacePoint`].
    pub fn surface_index(&self, name: &'static str) -> Result<usize, RigError> {
        self.surface.iter().position(|p| p.name == name).ok_or(RigError::NoSurfacePoint { name })
    }

    /// Rest position of a joint of the mean body.
    pub fn rest(&self, joint: usize) -> Vec3 {
        self.joints[joint].rest.into()
    }

    /// The body with one set of shape parameters, ready to be posed.
    ///
    /// # Errors
    ///
    /// [`RigError::Betas`] unless there is one finite number for each shape parameter.
    pub fn shaped(&self, betas: &[f64]) -> Result<Shaped, RigError> {
        let found = betas.iter().filter(|b| b.is_finite()).count();
        if found != self.shape_names.len() || betas.len() != found {
            return Err(RigError::Betas { found, expected: self.shape_names.len() });
        }
        let rest: [Vec3; JOINTS] = std::array::from_fn(|k| shape(&self.joints[k].rest, &self.joints[k].shape, betas));
        let offsets = std::array::from_fn(|k| match JOINT_PARENTS[k] {
            None => rest[k],
            Some(p) => self.joints[p].bind.tr_mul(&(rest[k] - rest[p])),
        });
        let surface = self
            .surface
            .iter()
            .map(|s| {
                let v = shape(&s.rest, &s.shape, betas);
                s.bones
                    .iter()
                    .map(|&(k, weight)| SkinBone { joint: k, weight, offset: self.joints[k].bind.tr_mul(&(v - rest[k])) })
                    .collect()
            })
            .collect();
        Ok(Shaped { rest, offsets, surface })
    }
}

/// One bone of a skinned point: it puts the point at `global[joint] * offset + joints[joint]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SkinBone {
    /// Index of the joint.
    pub joint: usize,
    /// Skinning weight.
    pub weight: f64,
    /// The point from the joint, in the bone's T-pose axes.
    pub offset: Vec3,
}

/// A rig with its shape applied. All lengths are fixed; only rotations are left.
#[derive(Debug, Clone, PartialEq)]
pub struct Shaped {
    /// Rest positions of the joints (the mesh's rest pose).
    pub rest: [Vec3; JOINTS],
    /// Each joint from its parent, in the parent's T-pose axes; the root's own rest position.
    pub offsets: [Vec3; JOINTS],
    /// Bones of each surface point, in the order of [`Rig::surface`].
    pub surface: Vec<Vec<SkinBone>>,
}

/// A posed skeleton.
#[derive(Debug, Clone, PartialEq)]
pub struct Posed {
    /// Rotation of each bone from its T-pose axes to body axes.
    pub global: [Mat3; JOINTS],
    /// Joint positions.
    pub joints: [Vec3; JOINTS],
}

impl Shaped {
    /// Forward kinematics. `local` are SMPL's local rotations: each relative to its parent, identity in the T pose, the
    /// root's the global orientation. The root joint itself stays where the shape puts it.
    pub fn pose(&self, local: &[Mat3; JOINTS]) -> Posed {
        let mut posed = Posed { global: *local, joints: self.offsets };
        for k in 1..JOINTS {
            let p = JOINT_PARENTS[k].unwrap_or(0);
            posed.global[k] = posed.global[p] * local[k];
            posed.joints[k] = posed.joints[p] + posed.global[p] * self.offsets[k];
        }
        posed
    }

    /// Position of a surface point (linear blend skinning).
    pub fn surface_point(&self, posed: &Posed, index: usize) -> Vec3 {
        self.surface[index].iter().map(|b| b.place(posed) * b.weight).sum()
    }
}

impl SkinBone {
    /// Where this bone alone would put the point.
    pub fn place(&self, posed: &Posed) -> Vec3 {
        posed.global[self.joint] * self.offset + posed.joints[self.joint]
    }
}

fn check_point(name: &str, rest: &[f64; 3], shape: &[[f64; 3]], expected: usize) -> Result<(), RigError> {
    if shape.len() != expected {
        return Err(RigError::ShapeCount { name: name.to_owned(), found: shape.len(), expected });
    }
    if !rest.iter().chain(shape.iter().flatten()).all(|x| x.is_finite()) {
        return Err(RigError::NotFinite { name: name.to_owned() });
    }
    Ok(())
}

fn shape(rest: &[f64; 3], directions: &[[f64; 3]], betas: &[f64]) -> Vec3 {
    directions.iter().zip(betas).fold(Vec3::from(*rest), |v, (d, b)| v + Vec3::from(*d) * *b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skeleton::joint;

    type Parts = (Vec<String>, Vec<Joint>, Vec<SurfacePoint>);

    fn parts() -> Parts {
        let rig = testrig::humanoid();
        (rig.shape_names.clone(), rig.joints.clone(), rig.surface)
    }

    fn broken(change: impl FnOnce(&mut Parts)) -> RigError {
        let mut p = parts();
        change(&mut p);
        Rig::new(p.0, p.1, p.2).unwrap_err()
    }

    #[test]
    fn a_rig_that_does_not_fit_is_refused_by_name() {
        assert!(matches!(broken(|p| drop(p.1.pop())), RigError::JointCount { found: 23 }));
        assert!(matches!(broken(|p| p.1.swap(4, 5)), RigError::WrongJoint { index: 4, .. }));
        assert!(matches!(broken(|p| p.1[7].parent = Some(40)), RigError::WrongJoint { index: 7, .. }));
        assert!(matches!(broken(|p| p.1[3].shape.truncate(2)), RigError::ShapeCount { name, .. } if name == "spine1"));
        assert!(matches!(broken(|p| p.2[0].rest[1] = f64::NAN), RigError::NotFinite { name } if name == "nose"));
        assert!(matches!(broken(|p| p.1[16].bind *= -1.0), RigError::BindNotRotation { name } if name == "left_shoulder"));
        assert!(matches!(broken(|p| p.2[0].bones[0].0 = 24), RigError::BadBones { .. }));
        assert!(matches!(broken(|p| p.2[0].bones[0].1 = 0.5), RigError::BadBones { .. }));
        assert!(matches!(broken(|p| p.2[0].bones = vec![(0, 1.5), (1, -0.5)]), RigError::BadBones { .. }));
        assert!(matches!(broken(|p| p.2[0].bones.clear()), RigError::BadBones { .. }));
    }

    #[test]
    fn bones_of_no_weight_are_dropped_and_the_rest_adds_up_to_one() {
        let (names, joints, mut surface) = parts();
        surface[0].bones = vec![(joint::HEAD, 0.7), (joint::PELVIS, 0.0), (joint::NECK, 0.2999)];
        let rig = Rig::new(names, joints, surface).unwrap();
        let bones = &rig.surface()[0].bones;
        assert_eq!(bones.iter().map(|b| b.0).collect::<Vec<_>>(), [joint::HEAD, joint::NECK]);
        assert!((bones[0].1 + bones[1].1 - 1.0).abs() < 1e-12);
    }

    #[test]
    fn wrong_betas_are_refused() {
        let rig = testrig::humanoid();
        let n = rig.shape_names().len();
        assert!(rig.shaped(&vec![0.0; n]).is_ok());
        for bad in [vec![], vec![0.0; n - 1], vec![0.0; n + 1], vec![f64::NAN; n]] {
            assert!(matches!(rig.shaped(&bad), Err(RigError::Betas { .. })), "{bad:?}");
        }
    }

    #[test]
    fn the_zero_pose_is_the_t_pose_and_the_bind_pose_is_the_mesh() {
        let rig = testrig::humanoid();
        let betas: Vec<f64> = (0..rig.shape_names().len()).map(|i| 0.3 - 0.1 * i as f64).collect();
        let shaped = rig.shaped(&betas).unwrap();
        let t = shaped.pose(&[Mat3::identity(); JOINTS]);
        // legs and spine have no bind rotation: the T pose leaves them at rest; the arms point to the sides
        for k in (0..JOINTS).filter(|k| *k < joint::LEFT_ELBOW) {
            assert!((t.joints[k] - shaped.rest[k]).norm() < 1e-12, "{}", JOINT_NAMES[k]);
        }
        for (shoulder, wrist, side) in [(joint::LEFT_SHOULDER, joint::LEFT_WRIST, 1.0), (joint::RIGHT_SHOULDER, joint::RIGHT_WRIST, -1.0)] {
            let arm = t.joints[wrist] - t.joints[shoulder];
            assert!(arm.x * side > 0.99 * arm.norm(), "{arm:?}");
        }
        // posing with the bind rotations gives back the mesh's own rest pose: joints and surface
        let local = std::array::from_fn(|k| match JOINT_PARENTS[k] {
            None => rig.joints()[k].bind,
            Some(p) => rig.joints()[p].bind.transpose() * rig.joints()[k].bind,
        });
        let rest = shaped.pose(&local);
        for (k, name) in JOINT_NAMES.iter().enumerate() {
            assert!((rest.joints[k] - shaped.rest[k]).norm() < 1e-9, "{name}");
        }
        for (i, s) in rig.surface().iter().enumerate() {
            assert!((shaped.surface_point(&rest, i) - shape(&s.rest, &s.shape, &betas)).norm() < 1e-9, "{}", s.name);
        }
    }

    #[test]
    fn turning_a_joint_carries_what_hangs_on_it_and_keeps_lengths() {
        let rig = testrig::humanoid();
        let shaped = rig.shaped(&vec![0.0; rig.shape_names().len()]).unwrap();
        let mut local = [Mat3::identity(); JOINTS];
        local[joint::RIGHT_HIP] = rotation::exp(&Vec3::new(-1.2, 0.3, 0.1));
        let (t, p) = (shaped.pose(&[Mat3::identity(); JOINTS]), shaped.pose(&local));
        for (k, name) in JOINT_NAMES.iter().enumerate() {
            let carried = crate::skeleton::moves(joint::RIGHT_HIP, k) && k != joint::RIGHT_HIP;
            assert_eq!((t.joints[k] - p.joints[k]).norm() > 0.05, carried, "{name}");
            if let Some(parent) = JOINT_PARENTS[k] {
                let length = (p.joints[k] - p.joints[parent]).norm();
                assert!((length - (shaped.rest[k] - shaped.rest[parent]).norm()).abs() < 1e-9);
            }
        }
        // a thigh lifted forwards brings the knee to the front
        assert!(p.joints[joint::RIGHT_KNEE].z > t.joints[joint::RIGHT_KNEE].z + 0.2);
    }
}
