//! The nine joint angles that coaches read.
//!
//! Each is the angle at the middle one of three joints, in degrees from 0 (folded) to 180 (straight).

use crate::rotation::Vec3;
use crate::skeleton::{JOINTS, joint};

/// Number of angles.
pub const ANGLES: usize = 9;

/// Name of each angle and the joints it is measured between: the angle is at the second.
pub const ANGLE_JOINTS: [(&str, [usize; 3]); ANGLES] = [
    ("left_knee", [joint::LEFT_HIP, joint::LEFT_KNEE, joint::LEFT_ANKLE]),
    ("right_knee", [joint::RIGHT_HIP, joint::RIGHT_KNEE, joint::RIGHT_ANKLE]),
    ("left_hip", [joint::SPINE1, joint::LEFT_HIP, joint::LEFT_KNEE]),
    ("right_hip", [joint::SPINE1, joint::RIGHT_HIP, joint::RIGHT_KNEE]),
    ("left_elbow", [joint::LEFT_SHOULDER, joint::LEFT_ELBOW, joint::LEFT_WRIST]),
    ("right_elbow", [joint::RIGHT_SHOULDER, joint::RIGHT_ELBOW, joint::RIGHT_WRIST]),
    ("left_shoulder", [joint::NECK, joint::LEFT_SHOULDER, joint::LEFT_ELBOW]),
    ("right_shoulder", [joint::NECK, joint::RIGHT_SHOULDER, joint::RIGHT_ELBOW]),
    ("spine", [joint::PELVIS, joint::SPINE2, joint::NECK]),
];

/// The nine angles of a body, degrees, in the order of [`ANGLE_JOINTS`], from its 24 joints in any right-handed axes and
/// any unit. `None` where an angle is undefined: a joint that is not finite, or two that coincide.
pub fn joint_angles(joints: &[[f64; 3]; JOINTS]) -> [Option<f64>; ANGLES] {
    ANGLE_JOINTS.map(|(_, [a, b, c])| angle_at(&joints[a].into(), &joints[b].into(), &joints[c].into()))
}

/// Degrees at `b` between the directions to `a` and to `c`; `None` if undefined.
pub fn angle_at(a: &Vec3, b: &Vec3, c: &Vec3) -> Option<f64> {
    let (u, v) = (a - b, c - b);
    // a vector shorter than this has no direction that single-precision joints could give it
    let shortest = u.norm().min(v.norm());
    // atan2 keeps its digits at 0 and 180 degrees, where acos of a cosine loses half of them
    (shortest > 1e-6 && (u + v).norm().is_finite()).then(|| u.cross(&v).norm().atan2(u.dot(&v)).to_degrees())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::testrig;
    use crate::rotation::{self, Mat3};

    fn angle(name: &str, joints: &[[f64; 3]; JOINTS]) -> Option<f64> {
        let i = ANGLE_JOINTS.iter().position(|(n, _)| *n == name).unwrap();
        joint_angles(joints)[i]
    }

    /// Joints of a test body that stands straight but for `joint` turned by `degrees` about `axis`.
    fn bent(joint: usize, axis: Vec3, degrees: f64) -> [[f64; 3]; JOINTS] {
        let rig = testrig::humanoid();
        let shaped = rig.shaped(&vec![0.0; rig.shape_names().len()]).unwrap();
        let mut local = [Mat3::identity(); JOINTS];
        local[joint] = rotation::exp(&(axis * degrees.to_radians()));
        shaped.pose(&local).joints.map(Into::into)
    }

    #[test]
    fn three_points_measure_what_they_are() {
        let o = Vec3::zeros();
        for degrees in [0.0, 1e-4, 30.0, 90.0, 135.0, 179.9999, 180.0f64] {
            let c = Vec3::new(degrees.to_radians().cos(), degrees.to_radians().sin(), 0.0) * 0.4;
            let got = angle_at(&Vec3::new(0.3, 0.0, 0.0), &o, &c).unwrap();
            assert!((got - degrees).abs() < 1e-9, "{degrees} measured as {got}");
        }
        assert_eq!(angle_at(&o, &o, &Vec3::x()), None);
        assert_eq!(angle_at(&Vec3::x(), &o, &Vec3::new(f64::NAN, 0.0, 0.0)), None);
        assert_eq!(angle_at(&Vec3::x(), &o, &Vec3::new(f64::INFINITY, 0.0, 0.0)), None);
    }

    #[test]
    fn a_knee_bent_by_a_known_angle_measures_it_and_the_other_stays() {
        let straight = bent(joint::HEAD, Vec3::x(), 0.0);
        let rest = [angle("left_knee", &straight).unwrap(), angle("right_knee", &straight).unwrap()];
        assert!(rest.iter().all(|a| *a > 170.0), "{rest:?}");
        // the shin hinges about x, across the plane in which the test rig's leg lies, so that angles add up
        for flexion in [90.0, 45.0] {
            let want = rest[0] - flexion;
            let joints = bent(joint::LEFT_KNEE, Vec3::x(), flexion);
            let got = angle("left_knee", &joints).unwrap();
            assert!((got - want).abs() < 0.05, "bent by {flexion}: {got}, wanted {want}");
            assert!((angle("right_knee", &joints).unwrap() - rest[1]).abs() < 1e-9);
        }
        // bent so that the shin is square to the thigh
        let square = bent(joint::RIGHT_KNEE, Vec3::x(), rest[1] - 90.0);
        assert!((angle("right_knee", &square).unwrap() - 90.0).abs() < 0.05);
        assert!((angle("left_knee", &square).unwrap() - rest[0]).abs() < 1e-9);
    }

    #[test]
    fn every_angle_follows_its_own_joint_only() {
        let straight = joint_angles(&bent(joint::HEAD, Vec3::x(), 0.0)).map(Option::unwrap);
        let expected = [
            (joint::LEFT_KNEE, Vec3::x(), vec!["left_knee"]),
            (joint::RIGHT_HIP, Vec3::x(), vec!["right_hip"]),
            (joint::LEFT_ELBOW, Vec3::y(), vec!["left_elbow"]),
            (joint::RIGHT_SHOULDER, Vec3::y(), vec!["right_shoulder"]),
            (joint::SPINE2, Vec3::x(), vec!["spine"]),
        ];
        for (turned, axis, names) in expected {
            let now = joint_angles(&bent(turned, axis, 40.0)).map(Option::unwrap);
            for (i, (name, _)) in ANGLE_JOINTS.iter().enumerate() {
                let moved = (now[i] - straight[i]).abs() > 1.0;
                assert_eq!(moved, names.contains(name), "{name} when joint {turned} turns: {} -> {}", straight[i], now[i]);
            }
        }
    }

    #[test]
    fn missing_joints_leave_their_angles_out() {
        let mut joints = bent(joint::HEAD, Vec3::x(), 0.0);
        joints[joint::LEFT_ANKLE] = [f64::NAN; 3];
        joints[joint::RIGHT_WRIST] = joints[joint::RIGHT_ELBOW];
        let angles = joint_angles(&joints);
        for ((name, _), angle) in ANGLE_JOINTS.iter().zip(angles) {
            assert_eq!(angle.is_none(), ["left_knee", "right_elbow"].contains(name), "{name}");
        }
    }
}
