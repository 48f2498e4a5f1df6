//! OpenPose's BODY_25 keypoints: a vocabulary of its own, kept apart from SMPL's joints by its type.
//!
//! 4D-Humans lists what its body model gives in this order (25 keypoints, then 19 others), not in SMPL's. Read as SMPL joints
//! they would name a wrist a knee, so that every angle is wrong and none looks it. Hence [`OpenPose`] is no array of joints: it
//! is asked by name, and only [`OpenPose::angles`] makes angles of it.

use super::joint;
use crate::angles::{ANGLES, angle_at};
use crate::rotation::Vec3;

/// Number of keypoints.
pub const OPENPOSE: usize = 25;

/// The keypoints in OpenPose's published order (`POSE_BODY_25_BODY_PARTS`, without the background).
pub const OPENPOSE_NAMES: [&str; OPENPOSE] = [
    "nose",
    "neck",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "mid_hip",
    "right_hip",
    "right_knee",
    "right_ankle",
    "left_hip",
    "left_knee",
    "left_ankle",
    "right_eye",
    "left_eye",
    "right_ear",
    "left_ear",
    "left_big_toe",
    "left_small_toe",
    "left_heel",
    "right_big_toe",
    "right_small_toe",
    "right_heel",
];

/// Keypoints that are joints of the body: OpenPose's name and SMPL's joint. The others lie on the surface.
pub const OPENPOSE_JOINTS: [(&str, usize); 14] = [
    ("neck", joint::NECK),
    ("right_shoulder", joint::RIGHT_SHOULDER),
    ("right_elbow", joint::RIGHT_ELBOW),
    ("right_wrist", joint::RIGHT_WRIST),
    ("left_shoulder", joint::LEFT_SHOULDER),
    ("left_elbow", joint::LEFT_ELBOW),
    ("left_wrist", joint::LEFT_WRIST),
    ("mid_hip", joint::PELVIS),
    ("right_hip", joint::RIGHT_HIP),
    ("right_knee", joint::RIGHT_KNEE),
    ("right_ankle", joint::RIGHT_ANKLE),
    ("left_hip", joint::LEFT_HIP),
    ("left_knee", joint::LEFT_KNEE),
    ("left_ankle", joint::LEFT_ANKLE),
];

/// The nine angles' middle and outer keypoints where OpenPose has them, in the order of [`crate::angles::ANGLE_JOINTS`]. Hips
/// and spine are measured against joints of the spine, of which OpenPose has none.
const ANGLE_KEYPOINTS: [Option<[&str; 3]>; ANGLES] = [
    Some(["left_hip", "left_knee", "left_ankle"]),
    Some(["right_hip", "right_knee", "right_ankle"]),
    None,
    None,
    Some(["left_shoulder", "left_elbow", "left_wrist"]),
    Some(["right_shoulder", "right_elbow", "right_wrist"]),
    Some(["neck", "left_shoulder", "left_elbow"]),
    Some(["neck", "right_shoulder", "right_elbow"]),
    None,
];

/// The 25 keypoints of one body in any right-handed axes and any unit, in OpenPose's order.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenPose(pub [[f64; 3]; OPENPOSE]);

impl OpenPose {
    /// One keypoint by its name; `None` for a name that OpenPose does not have.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<[f64; 3]> {
        openpose_index(name).map(|i| self.0[i])
    }

    /// The nine angles of a body, degrees, in the order of [`crate::angles::ANGLE_JOINTS`]; `None` for those that OpenPose's
    /// keypoints do not define (hips, spine), and where a side has no direction.
    #[must_use]
    pub fn angles(&self) -> [Option<f64>; ANGLES] {
        ANGLE_KEYPOINTS.map(|names| {
            let [a, b, c] = names?.map(|name| self.get(name).map(Vec3::from));
            angle_at(&a?, &b?, &c?)
        })
    }
}

/// Index of a keypoint by its OpenPose name.
#[must_use]
pub fn openpose_index(name: &str) -> Option<usize> {
    OPENPOSE_NAMES.iter().position(|n| *n == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skeleton::JOINT_NAMES;

    #[test]
    fn keypoints_that_are_joints_have_the_joints_names() {
        for (name, j) in OPENPOSE_JOINTS {
            assert!(openpose_index(name).is_some(), "{name}");
            assert_eq!(if name == "mid_hip" { "pelvis" } else { name }, JOINT_NAMES[j]);
        }
        assert_eq!(openpose_index("pelvis"), None, "SMPL's name is not OpenPose's");
    }

    #[test]
    fn no_name_stands_twice_and_sides_are_complete() {
        for (i, name) in OPENPOSE_NAMES.iter().enumerate() {
            assert_eq!(openpose_index(name), Some(i));
            if let Some(part) = name.strip_prefix("left_") {
                assert!(openpose_index(&format!("right_{part}")).is_some(), "{name}");
            }
        }
    }
}
