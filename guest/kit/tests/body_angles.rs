//! A posed body whose nine angles are known by construction, read by SMPL's names and by OpenPose's.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use halfpipe_kit::angles::{ANGLE_JOINTS, joint_angles};
use halfpipe_kit::rig::{Joint, Rig};
use halfpipe_kit::rotation::{self, Mat3, Vec3};
use halfpipe_kit::skeleton::openpose::{OPENPOSE, OPENPOSE_JOINTS, OPENPOSE_NAMES, OpenPose, openpose_index};
use halfpipe_kit::skeleton::{JOINT_NAMES, JOINT_PARENTS, JOINTS, joint as j};

/// A body of right angles: limbs and spine are straight, shoulders level with the neck, spine1 as high above the hips' line as a hip is
/// beside it. So at rest knees, elbows, shoulders and spine measure 180 degrees and hips 135.
fn rig() -> Rig {
    let rest = |name: &str| {
        let (sign, part) = name.split_once('_').map_or((0.0, name), |(side, part)| (if side == "left" { 1.0 } else { -1.0 }, part));
        let [x, y] = match part {
            "pelvis" => [0.0, 0.0],
            "hip" => [0.1, 0.0],
            "spine1" => [0.0, 0.1],
            "knee" => [0.1, -0.4],
            "spine2" => [0.0, 0.25],
            "ankle" => [0.1, -0.8],
            "spine3" => [0.0, 0.35],
            "foot" => [0.1, -0.9],
            "neck" => [0.0, 0.5],
            "collar" => [0.06, 0.47],
            "head" => [0.0, 0.65],
            "shoulder" => [0.18, 0.5],
            "elbow" => [0.45, 0.5],
            "wrist" => [0.7, 0.5],
            "hand" => [0.78, 0.5],
            _ => panic!("{part}"),
        };
        [sign * x, y, 0.0]
    };
    let joints = (0..JOINTS).map(|k| Joint {
        name: JOINT_NAMES[k].into(),
        parent: JOINT_PARENTS[k],
        rest: rest(JOINT_NAMES[k]),
        shape: vec![],
        bind: Mat3::identity(),
    });
    Rig::new(vec![], joints.collect(), vec![]).unwrap()
}

/// Turns each joint by a known number of degrees about the axis along which its angle changes one for one, the whole body by some
/// rotation, and gives its joints and the nine angles that it then has.
fn posed() -> ([[f64; 3]; JOINTS], [f64; 9]) {
    let turns = [
        (j::PELVIS, Vec3::new(0.3, -0.8, 0.5).normalize(), 70.0),
        (j::LEFT_KNEE, Vec3::x(), 75.0),
        (j::RIGHT_KNEE, Vec3::x(), 20.0),
        (j::LEFT_HIP, Vec3::z(), 15.0),
        (j::RIGHT_HIP, Vec3::z(), 25.0),
        (j::LEFT_ELBOW, Vec3::y(), -110.0),
        (j::RIGHT_ELBOW, Vec3::y(), 35.0),
        (j::LEFT_SHOULDER, Vec3::z(), -80.0),
        (j::RIGHT_SHOULDER, Vec3::z(), 50.0),
        (j::SPINE2, Vec3::x(), 33.0),
    ];
    let mut local = [Mat3::identity(); JOINTS];
    for (k, axis, degrees) in turns {
        local[k] = rotation::exp(&(axis * f64::to_radians(degrees)));
    }
    let joints = rig().shaped(&[]).unwrap().pose(&local).joints.map(Into::into);
    // the left thigh turned outwards opens the angle to spine1, the right one turned to the same side closes it
    let angles = [105.0, 160.0, 150.0, 110.0, 70.0, 145.0, 100.0, 130.0, 147.0];
    (joints, angles)
}

/// The body's keypoints by OpenPose's names; those on the surface lie a little off a joint.
fn openpose(joints: &[[f64; 3]; JOINTS]) -> OpenPose {
    let mut points = [[0.0; 3]; OPENPOSE];
    for (name, k) in OPENPOSE_JOINTS {
        points[openpose_index(name).unwrap()] = joints[k];
    }
    for (i, name) in OPENPOSE_NAMES.iter().enumerate().filter(|(_, name)| OPENPOSE_JOINTS.iter().all(|(n, _)| n != *name)) {
        let left = name.starts_with("left");
        let near = match name.split_once('_').map_or(*name, |(_, part)| part) {
            "nose" | "eye" | "ear" => j::HEAD,
            _ if left => j::LEFT_FOOT,
            _ => j::RIGHT_FOOT,
        };
        let off = Vec3::new(if left { 0.03 } else { -0.03 }, 0.02, 0.08);
        points[i] = (Vec3::from(joints[near]) + off).into();
    }
    OpenPose(points)
}

#[test]
fn all_nine_angles_are_what_the_body_was_bent_by() {
    let (joints, expected) = posed();
    let got = joint_angles(&joints);
    for (i, (name, _)) in ANGLE_JOINTS.iter().enumerate() {
        assert!((got[i].unwrap() - expected[i]).abs() < 1e-6, "{name}: {:?} instead of {}", got[i], expected[i]);
    }
}

#[test]
fn by_their_right_names_openpose_keypoints_give_the_same_angles() {
    let (joints, expected) = posed();
    let got = openpose(&joints).angles();
    let undefined = ["left_hip", "right_hip", "spine"];
    for (i, (name, _)) in ANGLE_JOINTS.iter().enumerate() {
        match got[i] {
            Some(angle) => assert!((angle - expected[i]).abs() < 1e-6, "{name}: {angle} instead of {}", expected[i]),
            None => assert!(undefined.contains(name), "{name} is defined"),
        }
        assert_eq!(got[i].is_none(), undefined.contains(name), "{name}");
    }
    assert_eq!(openpose(&joints).get("left_wrist"), Some(joints[j::LEFT_WRIST]));
    assert_eq!(openpose(&joints).get("spine1"), None);
}

/// The mistake that the types prevent: the first 24 keypoints taken for SMPL's joints. Each of the nine angles would be wrong.
#[test]
fn keypoints_read_in_smpl_order_give_other_angles() {
    let (joints, expected) = posed();
    let OpenPose(points) = openpose(&joints);
    let confused = joint_angles(&std::array::from_fn(|k| points[k]));
    for (i, (name, _)) in ANGLE_JOINTS.iter().enumerate() {
        assert!(confused[i].is_none_or(|a| (a - expected[i]).abs() > 5.0), "{name}: {:?} passes for {}", confused[i], expected[i]);
    }
    // and the other way round
    let swapped = OpenPose(std::array::from_fn(|k| joints.get(k).copied().unwrap_or_default())).angles();
    assert!(swapped.iter().zip(expected).filter_map(|(a, e)| a.map(|a| (a - e).abs())).all(|off| off > 5.0), "{swapped:?}");
}
