//! Names and parents of the joints, keypoints and landmarks, and which of them correspond.
//!
//! Three vocabularies meet in a pose pipeline: the 24 joints of the SMPL kinematic tree (what a body is posed with and
//! what goes into data files), the 33 landmarks of BlazePose (what the fit sees) and the 17 COCO keypoints (what the
//! person detector gives). Left and right are the person's own. A fourth, the 25 keypoints of OpenPose that 4D-Humans gives
//! with a body, is kept apart in [`openpose`].

pub mod openpose;

/// Number of body joints.
pub const JOINTS: usize = 24;
/// Number of BlazePose landmarks.
pub const LANDMARKS: usize = 33;
/// Number of COCO keypoints.
pub const KEYPOINTS: usize = 17;

/// The SMPL joints in their published order (Loper et al. 2015, "SMPL: A Skinned Multi-Person Linear Model").
pub const JOINT_NAMES: [&str; JOINTS] = [
    "pelvis",
    "left_hip",
    "right_hip",
    "spine1",
    "left_knee",
    "right_knee",
    "spine2",
    "left_ankle",
    "right_ankle",
    "spine3",
    "left_foot",
    "right_foot",
    "neck",
    "left_collar",
    "right_collar",
    "head",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hand",
    "right_hand",
];

/// Parent of each joint; every parent stands before its children, the root (pelvis) has none.
pub const JOINT_PARENTS: [Option<usize>; JOINTS] = [
    None,
    Some(0),
    Some(0),
    Some(0),
    Some(1),
    Some(2),
    Some(3),
    Some(4),
    Some(5),
    Some(6),
    Some(7),
    Some(8),
    Some(9),
    Some(9),
    Some(9),
    Some(12),
    Some(13),
    Some(14),
    Some(16),
    Some(17),
    Some(18),
    Some(19),
    Some(20),
    Some(21),
];

/// Indices into [`JOINT_NAMES`]. A right-hand joint follows its left-hand twin directly.
pub mod joint {
    #![allow(missing_docs, reason = "each constant is the index of the joint it is named after")]
    pub const PELVIS: usize = 0;
    pub const LEFT_HIP: usize = 1;
    pub const RIGHT_HIP: usize = 2;
    pub const SPINE1: usize = 3;
    pub const LEFT_KNEE: usize = 4;
    pub const RIGHT_KNEE: usize = 5;
    pub const SPINE2: usize = 6;
    pub const LEFT_ANKLE: usize = 7;
    pub const RIGHT_ANKLE: usize = 8;
    pub const SPINE3: usize = 9;
    pub const LEFT_FOOT: usize = 10;
    pub const RIGHT_FOOT: usize = 11;
    pub const NECK: usize = 12;
    pub const LEFT_COLLAR: usize = 13;
    pub const RIGHT_COLLAR: usize = 14;
    pub const HEAD: usize = 15;
    pub const LEFT_SHOULDER: usize = 16;
    pub const RIGHT_SHOULDER: usize = 17;
    pub const LEFT_ELBOW: usize = 18;
    pub const RIGHT_ELBOW: usize = 19;
    pub const LEFT_WRIST: usize = 20;
    pub const RIGHT_WRIST: usize = 21;
    pub const LEFT_HAND: usize = 22;
    pub const RIGHT_HAND: usize = 23;
}

/// BlazePose's landmarks in the network's order (MediaPipe Pose).
pub const LANDMARK_NAMES: [&str; LANDMARKS] = [
    "nose",
    "left_eye_inner",
    "left_eye",
    "left_eye_outer",
    "right_eye_inner",
    "right_eye",
    "right_eye_outer",
    "left_ear",
    "right_ear",
    "mouth_left",
    "mouth_right",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_pinky",
    "right_pinky",
    "left_index",
    "right_index",
    "left_thumb",
    "right_thumb",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
    "left_heel",
    "right_heel",
    "left_foot_index",
    "right_foot_index",
];

/// Indices into [`LANDMARK_NAMES`], those that the geometry uses. A right-hand one follows its left-hand twin directly.
pub mod landmark {
    #![allow(missing_docs, reason = "each constant is the index of the landmark it is named after")]
    pub const NOSE: usize = 0;
    pub const LEFT_EYE: usize = 2;
    pub const RIGHT_EYE: usize = 5;
    pub const LEFT_EAR: usize = 7;
    pub const RIGHT_EAR: usize = 8;
    pub const LEFT_SHOULDER: usize = 11;
    pub const RIGHT_SHOULDER: usize = 12;
    pub const LEFT_ELBOW: usize = 13;
    pub const RIGHT_ELBOW: usize = 14;
    pub const LEFT_WRIST: usize = 15;
    pub const RIGHT_WRIST: usize = 16;
    pub const LEFT_PINKY: usize = 17;
    pub const RIGHT_PINKY: usize = 18;
    pub const LEFT_INDEX: usize = 19;
    pub const RIGHT_INDEX: usize = 20;
    pub const LEFT_HIP: usize = 23;
    pub const RIGHT_HIP: usize = 24;
    pub const LEFT_KNEE: usize = 25;
    pub const RIGHT_KNEE: usize = 26;
    pub const LEFT_ANKLE: usize = 27;
    pub const RIGHT_ANKLE: usize = 28;
    pub const LEFT_HEEL: usize = 29;
    pub const RIGHT_HEEL: usize = 30;
    pub const LEFT_FOOT_INDEX: usize = 31;
    pub const RIGHT_FOOT_INDEX: usize = 32;
}

/// COCO's person keypoints in their published order, as MoveNet gives them.
pub const KEYPOINT_NAMES: [&str; KEYPOINTS] = [
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
];

/// BlazePose landmark of each COCO keypoint.
pub const KEYPOINT_LANDMARKS: [usize; KEYPOINTS] = [0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28];

/// Landmarks that lie at a joint of the body: `(landmark, joint)`.
pub const JOINT_LANDMARKS: [(usize, usize); 12] = [
    (landmark::LEFT_SHOULDER, joint::LEFT_SHOULDER),
    (landmark::RIGHT_SHOULDER, joint::RIGHT_SHOULDER),
    (landmark::LEFT_ELBOW, joint::LEFT_ELBOW),
    (landmark::RIGHT_ELBOW, joint::RIGHT_ELBOW),
    (landmark::LEFT_WRIST, joint::LEFT_WRIST),
    (landmark::RIGHT_WRIST, joint::RIGHT_WRIST),
    (landmark::LEFT_HIP, joint::LEFT_HIP),
    (landmark::RIGHT_HIP, joint::RIGHT_HIP),
    (landmark::LEFT_KNEE, joint::LEFT_KNEE),
    (landmark::RIGHT_KNEE, joint::RIGHT_KNEE),
    (landmark::LEFT_ANKLE, joint::LEFT_ANKLE),
    (landmark::RIGHT_ANKLE, joint::RIGHT_ANKLE),
];

/// Landmarks that lie on the body's surface: `(landmark, name of the rig's surface point)`.
pub const SURFACE_LANDMARKS: [(usize, &str); 13] = [
    (landmark::NOSE, "nose"),
    (landmark::LEFT_EYE, "left_eye"),
    (landmark::RIGHT_EYE, "right_eye"),
    (landmark::LEFT_EAR, "left_ear"),
    (landmark::RIGHT_EAR, "right_ear"),
    (landmark::LEFT_HEEL, "left_heel"),
    (landmark::RIGHT_HEEL, "right_heel"),
    (landmark::LEFT_FOOT_INDEX, "left_toe"),
    (landmark::RIGHT_FOOT_INDEX, "right_toe"),
    (landmark::LEFT_INDEX, "left_index"),
    (landmark::RIGHT_INDEX, "right_index"),
    (landmark::LEFT_PINKY, "left_pinky"),
    (landmark::RIGHT_PINKY, "right_pinky"),
];

/// Index of a joint by its name.
pub fn joint_index(name: &str) -> Option<usize> {
    JOINT_NAMES.iter().position(|n| *n == name)
}

/// Index of a BlazePose landmark by its name.
pub fn landmark_index(name: &str) -> Option<usize> {
    LANDMARK_NAMES.iter().position(|n| *n == name)
}

/// Whether `ancestor` is `joint` itself or lies above it in the kinematic tree.
pub fn moves(ancestor: usize, joint: usize) -> bool {
    let mut at = Some(joint);
    while let Some(j) = at {
        if j == ancestor {
            return true;
        }
        at = JOINT_PARENTS.get(j).copied().flatten();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_stand_before_children_and_sides_do_not_mix() {
        for (j, parent) in JOINT_PARENTS.iter().enumerate() {
            let Some(p) = *parent else {
                assert_eq!(j, joint::PELVIS);
                continue;
            };
            assert!(p < j, "{}", JOINT_NAMES[j]);
            for (side, other) in [("left", "right"), ("right", "left")] {
                if JOINT_NAMES[j].starts_with(side) {
                    assert!(!JOINT_NAMES[p].starts_with(other), "{} under {}", JOINT_NAMES[j], JOINT_NAMES[p]);
                }
            }
        }
        assert_eq!(JOINT_PARENTS[joint::LEFT_ELBOW], Some(joint::LEFT_SHOULDER));
        assert_eq!(JOINT_PARENTS[joint::HEAD], Some(joint::NECK));
    }

    #[test]
    fn constants_and_tables_name_the_same_things() {
        assert_eq!(joint_index("right_wrist"), Some(joint::RIGHT_WRIST));
        assert_eq!(joint_index("spine3"), Some(joint::SPINE3));
        assert_eq!(joint_index("tail"), None);
        assert_eq!(landmark_index("right_foot_index"), Some(landmark::RIGHT_FOOT_INDEX));
        for (l, j) in JOINT_LANDMARKS {
            assert_eq!(LANDMARK_NAMES[l], JOINT_NAMES[j]);
        }
        for (l, name) in SURFACE_LANDMARKS {
            assert_eq!(LANDMARK_NAMES[l].replace("foot_index", "toe"), name);
        }
        for (k, l) in KEYPOINT_LANDMARKS.iter().enumerate() {
            assert_eq!(KEYPOINT_NAMES[k], LANDMARK_NAMES[*l]);
        }
    }

    #[test]
    fn a_joint_moves_itself_and_what_hangs_on_it() {
        assert!(moves(joint::PELVIS, joint::RIGHT_HAND));
        assert!(moves(joint::LEFT_KNEE, joint::LEFT_KNEE));
        assert!(moves(joint::LEFT_KNEE, joint::LEFT_FOOT));
        assert!(!moves(joint::LEFT_KNEE, joint::LEFT_HIP));
        assert!(!moves(joint::LEFT_KNEE, joint::RIGHT_FOOT));
    }
}
