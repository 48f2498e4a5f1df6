//! A made-up body for tests: the 24 joints at plausible places, 8 shape parameters, 13 surface points.
//!
//! 1.7 m tall, arms 40 degrees below the horizontal in its rest pose, so that bind rotations matter. Not a model of
//! anybody; compiled only for tests (feature `testrig`).

mod scene;

use super::{Joint, Rig, SurfacePoint};
use crate::rotation::{self, Mat3, Vec3};
use crate::skeleton::{JOINT_NAMES, JOINT_PARENTS, JOINTS, joint};

pub use scene::{Person, Random, observe, pose};

/// Left-hand and middle joints: name, rest position. The right side is their mirror image.
const REST: [(&str, [f64; 3]); 15] = [
    ("pelvis", [0.0, 0.0, 0.0]),
    ("left_hip", [0.1, -0.06, 0.0]),
    ("spine1", [0.0, 0.11, -0.02]),
    ("left_knee", [0.1, -0.47, 0.01]),
    ("spine2", [0.0, 0.24, -0.02]),
    ("left_ankle", [0.1, -0.87, -0.03]),
    ("spine3", [0.0, 0.33, -0.01]),
    ("left_foot", [0.12, -0.92, 0.09]),
    ("neck", [0.0, 0.52, -0.03]),
    ("left_collar", [0.05, 0.43, -0.02]),
    ("head", [0.0, 0.61, 0.01]),
    ("left_shoulder", [0.17, 0.45, -0.03]),
    ("left_elbow", [0.37, 0.28, -0.05]),
    ("left_wrist", [0.56, 0.12, -0.01]),
    ("left_hand", [0.62, 0.06, 0.02]),
];

/// Left-hand and middle surface points: name, rest position, bones.
type Surface = (&'static str, [f64; 3], &'static [(usize, f64)]);
const SURFACE: [Surface; 7] = [
    ("nose", [0.0, 0.66, 0.12], &[(joint::HEAD, 1.0)]),
    ("left_eye", [0.032, 0.69, 0.09], &[(joint::HEAD, 1.0)]),
    ("left_ear", [0.075, 0.67, 0.0], &[(joint::HEAD, 0.9), (joint::NECK, 0.1)]),
    ("left_heel", [0.1, -0.94, -0.08], &[(joint::LEFT_ANKLE, 0.95), (joint::LEFT_KNEE, 0.05)]),
    ("left_toe", [0.13, -0.94, 0.16], &[(joint::LEFT_FOOT, 0.9), (joint::LEFT_ANKLE, 0.1)]),
    ("left_index", [0.63, 0.06, 0.05], &[(joint::LEFT_HAND, 0.6), (joint::LEFT_WRIST, 0.4)]),
    ("left_pinky", [0.61, 0.05, -0.02], &[(joint::LEFT_HAND, 0.4), (joint::LEFT_WRIST, 0.6)]),
];

/// Shape parameters; the first and third change no length that landmarks show much of.
const SHAPES: [&str; 8] = ["gender", "height", "weight", "leg_length", "arm_length", "torso_length", "shoulder_width", "hip_width"];

/// The test body.
///
/// # Panics
///
/// Only if its own tables are inconsistent, which its tests would show.
pub fn humanoid() -> Rig {
    let rest: [Vec3; JOINTS] = std::array::from_fn(|k| {
        let name = JOINT_NAMES[k];
        let (sign, left) = side(name);
        let (_, p) = REST.iter().find(|(n, _)| *n == left).expect("every joint or its left twin stands in REST");
        Vec3::new(p[0] * sign, p[1], p[2])
    });
    let bind = bind_rotations(&rest);
    let joints = (0..JOINTS)
        .map(|k| Joint {
            name: JOINT_NAMES[k].to_owned(),
            parent: JOINT_PARENTS[k],
            rest: rest[k].into(),
            shape: directions(&rest[k], k),
            bind: bind[k],
        })
        .collect();
    let mut surface = vec![];
    for (name, p, bones) in SURFACE {
        for sign in [1.0, -1.0] {
            if sign < 0.0 && !name.starts_with("left_") {
                continue;
            }
            let rest = Vec3::new(p[0] * sign, p[1], p[2]);
            // a right-hand joint follows its left-hand twin
            let bones: Vec<_> =
                bones.iter().map(|&(k, w)| (if sign < 0.0 && JOINT_NAMES[k].starts_with("left_") { k + 1 } else { k }, w)).collect();
            let shape = directions(&rest, bones[0].0);
            let name = if sign < 0.0 { name.replace("left_", "right_") } else { name.to_owned() };
            surface.push(SurfacePoint { name, rest: rest.into(), shape, bones });
        }
    }
    Rig::new(SHAPES.map(str::to_owned).to_vec(), joints, surface).expect("the test rig is consistent")
}

/// Sign of the side (+1 left or middle) and the left-hand name.
fn side(name: &str) -> (f64, String) {
    match name.strip_prefix("right_") {
        Some(rest) => (-1.0, format!("left_{rest}")),
        None => (1.0, name.to_owned()),
    }
}

/// Bind rotations along the arms: the smallest ones that turn T-pose bones, first along +-x, into the rest pose.
fn bind_rotations(rest: &[Vec3; JOINTS]) -> [Mat3; JOINTS] {
    let mut bind = [Mat3::identity(); JOINTS];
    for (sign, first) in [(1.0, joint::LEFT_SHOULDER), (-1.0, joint::RIGHT_SHOULDER)] {
        let (mut r, mut previous) = (Mat3::identity(), Vec3::new(sign, 0.0, 0.0));
        for k in [first, first + 2, first + 4] {
            let bone = rest[k + 2] - rest[k];
            r = rotation::between(&previous, &bone).expect("arm bones have a length") * r;
            bind[k] = r;
            previous = bone;
        }
        bind[first + 6] = r;
    }
    bind
}

/// How a point on `bone` moves for one unit of each shape parameter. A "unit" is of a size with the default body's.
fn directions(p: &Vec3, bone: usize) -> Vec<[f64; 3]> {
    let sign = p.x.signum() * f64::from(u8::from(p.x != 0.0));
    let is = |names: &[&str]| names.iter().any(|n| JOINT_NAMES[bone].ends_with(n));
    let (arm, leg) = (is(&["elbow", "wrist", "hand"]), is(&["knee", "ankle", "foot"]));
    let upper = !leg && !is(&["hip", "pelvis"]);
    let above_shoulder = is(&["shoulder", "elbow", "wrist", "hand"]);
    let along_leg = (-0.06 - p.y).max(0.0);
    let along_arm = Vec3::new(p.x - 0.17 * sign, p.y - 0.45, p.z + 0.03);
    vec![
        [0.01 * p.x, 0.02 * p.y, 0.01 * p.z],
        (p * 0.25).into(),
        [0.05 * p.x, 0.0, 0.1 * p.z],
        [0.0, if leg { -0.19 * along_leg } else { 0.0 }, 0.0],
        if arm { (along_arm * 0.22).into() } else { [0.0; 3] },
        [0.0, if upper { 0.14 * p.y.clamp(0.0, 0.5) } else { 0.0 }, 0.0],
        [if above_shoulder { 0.02 * sign } else { 0.0 }, 0.0, 0.0],
        [if leg || is(&["hip"]) { 0.02 * sign } else { 0.0 }, 0.0, 0.0],
    ]
}
