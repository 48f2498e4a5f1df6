//! Made-up people in front of a camera: poses within human reach, and the landmarks a perfect network would give.

use crate::axes;
use crate::camera::Pinhole;
use crate::rig::Rig;
use crate::rotation::{self, Mat3, Vec3};
use crate::skeleton::{JOINT_LANDMARKS, JOINTS, LANDMARK_NAMES, LANDMARKS, SURFACE_LANDMARKS, joint as j, landmark as l};

/// A small repeatable source of numbers (SplitMix64), so that tests need no crate for it and never change.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    /// A number between -1 and 1, evenly spread.
    pub fn signed(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    /// A roughly normal number with a standard deviation of 1.
    pub fn normal(&mut self) -> f64 {
        // the sum of twelve has a variance of 4
        (0..12).map(|_| self.signed()).sum::<f64>() / 2.0
    }
}

/// Local rotations of a pose that a person could take: bent limbs and spine, knees and elbows only the way they go.
/// `orientation` is the global orientation in body axes (identity: upright, facing the camera).
pub fn pose(random: &mut Random, orientation: &Mat3) -> [Mat3; JOINTS] {
    let mut local = [Mat3::identity(); JOINTS];
    local[j::PELVIS] = *orientation;
    let mut any = |x: f64, y: f64, z: f64| Vec3::new(random.signed() * x, random.signed() * y, random.signed() * z);
    for k in [j::SPINE1, j::SPINE2, j::SPINE3] {
        local[k] = rotation::exp(&any(0.15, 0.1, 0.08));
    }
    for k in [j::NECK, j::HEAD] {
        local[k] = rotation::exp(&any(0.2, 0.25, 0.1));
    }
    for (side, sign) in [(0, 1.0), (1, -1.0)] {
        // arms hang, swing and lift; the elbow folds forwards
        let down = Vec3::new(0.0, 0.0, -0.7 * sign);
        local[j::LEFT_SHOULDER + side] = rotation::exp(&(down + any(0.3, 0.6, 0.6)));
        local[j::LEFT_ELBOW + side] = rotation::exp(&(Vec3::new(0.0, -0.9 * sign, 0.0) + any(0.2, 0.7, 0.0)));
        local[j::LEFT_WRIST + side] = rotation::exp(&any(0.15, 0.15, 0.2));
        // thighs lift forwards, knees fold backwards
        local[j::LEFT_HIP + side] = rotation::exp(&(Vec3::new(-0.5, 0.0, 0.1 * sign) + any(0.5, 0.2, 0.1)));
        local[j::LEFT_KNEE + side] = rotation::exp(&(Vec3::new(0.7, 0.0, 0.0) + any(0.6, 0.0, 0.0)));
        local[j::LEFT_ANKLE + side] = rotation::exp(&any(0.25, 0.1, 0.1));
    }
    local
}

/// A posed person as a camera and a perfect landmark network see them.
#[derive(Debug, Clone)]
pub struct Person {
    /// Landmarks in the picture, pixels.
    pub image: [[f32; 2]; LANDMARKS],
    /// Landmarks in space, metres, camera axes, from the middle of the hips.
    pub world: [[f32; 3]; LANDMARKS],
    /// All 1.
    pub visibility: [f32; LANDMARKS],
    /// Joints in camera axes, metres.
    pub joints: [[f64; 3]; JOINTS],
}

/// Landmarks of a posed body. Those that no joint or surface point stands for are made up from their neighbours.
///
/// # Panics
///
/// If the rig is not [`humanoid`](super::humanoid)-like or the betas do not fit it. Points behind the camera are mirrored
/// through it, as the bare formula has it.
pub fn observe(rig: &Rig, betas: &[f64], local: &[Mat3; JOINTS], translation: &Vec3, camera: &Pinhole) -> Person {
    let shaped = rig.shaped(betas).expect("betas fit the rig");
    let posed = shaped.pose(local);
    let mut points = [Vec3::zeros(); LANDMARKS];
    for (landmark, joint) in JOINT_LANDMARKS {
        points[landmark] = posed.joints[joint];
    }
    for (landmark, name) in SURFACE_LANDMARKS {
        points[landmark] = shaped.surface_point(&posed, rig.surface_index(name).expect("the rig has every fitted surface point"));
    }
    for (i, name) in LANDMARK_NAMES.iter().enumerate() {
        let neighbours = match *name {
            "left_eye_inner" | "left_eye_outer" => [l::LEFT_EYE, l::LEFT_EYE],
            "right_eye_inner" | "right_eye_outer" => [l::RIGHT_EYE, l::RIGHT_EYE],
            "mouth_left" => [l::NOSE, l::LEFT_EAR],
            "mouth_right" => [l::NOSE, l::RIGHT_EAR],
            "left_thumb" => [l::LEFT_WRIST, l::LEFT_INDEX],
            "right_thumb" => [l::RIGHT_WRIST, l::RIGHT_INDEX],
            _ => continue,
        };
        points[i] = (points[neighbours[0]] + points[neighbours[1]]) / 2.0;
    }
    let points = points.map(|p| axes::camera_from_body(&p, translation));
    let middle = (points[l::LEFT_HIP] + points[l::RIGHT_HIP]) / 2.0;
    let pixel = |p: &Vec3, c: usize| (camera.focal * p[c] / p.z + camera.center[c]) as f32;
    Person {
        image: points.map(|p| [pixel(&p, 0), pixel(&p, 1)]),
        world: points.map(|p| <[f64; 3]>::from(p - middle).map(|x| x as f32)),
        visibility: [1.0; LANDMARKS],
        joints: posed.joints.map(|p| axes::camera_from_body(&p, translation).into()),
    }
}
