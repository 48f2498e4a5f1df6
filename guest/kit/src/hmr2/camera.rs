//! From the crop's weak camera to a place before the frame's camera (4D-Humans' `cam_crop_to_full`).

use super::{Estimate, INPUT, PersonCrop};
use crate::axes;
use crate::body::PlacedBody;
use crate::camera::Pinhole;
use crate::rig::{Rig, RigError};
use crate::rotation::Vec3;
use crate::skeleton::JOINTS;

/// Focal length that the network was trained with, pixels of its input.
const FOCAL: f64 = 5000.0;
/// What 4D-Humans adds so that nothing is divided by 0.
const TINY: f64 = 1e-9;

/// The camera that 4D-Humans draws a whole frame with: 5000 / 256 of the longer side, the principal point in the middle.
#[must_use]
pub fn frame_camera(width: u32, height: u32) -> Pinhole {
    let focal = FOCAL / f64::from(INPUT) * f64::from(width.max(height));
    Pinhole { focal, center: [f64::from(width) / 2.0, f64::from(height) / 2.0] }
}

/// Where the network's body stands before the frame's camera, metres in camera axes: `p_camera = p_network + translation`, where
/// the network's own axes are the camera's. `None` where the network puts it behind the camera (a scale of 0 or less).
#[must_use]
pub fn translation(crop: &PersonCrop, [scale, x, y]: [f64; 3], camera: &Pinhole) -> Option<[f64; 3]> {
    let size = f64::from(crop.side) * scale + TINY;
    let [cx, cy] = [0, 1].map(|k| f64::from(crop.center[k]) - camera.center[k]);
    let t = [2.0 * cx / size + x, 2.0 * cy / size + y, 2.0 * camera.focal / size];
    (size > 0.0 && t.iter().all(|v| v.is_finite())).then_some(t)
}

/// The network's body placed before the frame's camera, in this project's convention: the global orientation in body axes, and
/// the flip between body and camera in the placement alone. `None` where it would stand behind the camera.
///
/// The network turns the body about its pelvis straight into camera axes: `p_camera = G * (p - J0) + J0 + t`, with `J0` the
/// pelvis at rest. Written as `F * (R * (p - J0) + J0) + t'` with `F = diag(1, -1, -1)` this is `R = F * G` and
/// `t' = t + J0 - F * J0`.
///
/// # Errors
/// [`RigError::Betas`] if the rig does not take the network's ten shape parameters.
pub fn place(estimate: &Estimate, crop: &PersonCrop, camera: &Pinhole, rig: &Rig) -> Result<Option<PlacedBody>, RigError> {
    let betas = estimate.betas.to_vec();
    let pelvis = rig.shaped(&betas)?.rest[0];
    let Some(t) = translation(crop, estimate.camera, camera) else { return Ok(None) };
    let translation = (Vec3::from(t) + pelvis - axes::flip(&pelvis)).into();
    let local = std::array::from_fn::<_, JOINTS, _>(|j| match j {
        0 => axes::flip_rows(&estimate.global_orient),
        _ => estimate.body_pose[j - 1],
    });
    Ok(Some(PlacedBody { local, betas, translation }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::{Joint, testrig};
    use crate::rotation::{self, Mat3};
    use crate::skeleton::{JOINT_NAMES, JOINT_PARENTS};

    /// The test body with the ten shape parameters that the network gives, none of which changes anything but the first.
    fn rig() -> Rig {
        let body = testrig::humanoid();
        let joints = (0..JOINTS).map(|j| Joint {
            name: JOINT_NAMES[j].into(),
            parent: JOINT_PARENTS[j],
            rest: (body.rest(j) + Vec3::new(0.01, 0.23, -0.04)).into(),
            shape: (0..10).map(|k| if k == 0 { [0.001, 0.02, 0.003] } else { [0.0; 3] }).collect(),
            bind: Mat3::identity(),
        });
        Rig::new((0..10).map(|k| format!("beta{k}")).collect(), joints.collect(), Vec::new()).unwrap()
    }

    fn estimate(camera: [f64; 3]) -> Estimate {
        let local = testrig::pose(&mut testrig::Random(3), &Mat3::identity());
        let mut betas = [0.0; 10];
        betas[0] = 1.5;
        // upright in a picture: y of the body goes up, y of the camera down
        let global_orient = axes::flip_rows(&rotation::exp(&Vec3::new(0.1, -0.6, 0.05)));
        Estimate { global_orient, body_pose: std::array::from_fn(|j| local[j + 1]), betas, camera }
    }

    #[test]
    fn the_focal_length_is_5000_for_a_crop_of_256() {
        assert_eq!(frame_camera(256, 100), Pinhole { focal: 5000.0, center: [128.0, 50.0] });
        assert_eq!(frame_camera(720, 1280).focal, 25_000.0);
    }

    /// The crop's camera is weak: a point `x` to the side, as far away as the body's origin, lies `s * (x + tx)` half sides from the
    /// crop's middle; a point `z` deeper is drawn smaller by `Z / (Z + z)`. So the frame's camera must show it.
    #[test]
    fn bodies_project_as_the_closed_form_says_at_centre_and_edge() {
        let (width, height) = (1920, 1080);
        let camera = frame_camera(width, height);
        for center in [[960.0, 540.0], [30.0, 540.0], [1900.0, 1060.0], [5.0, 8.0]] {
            for (side, weak) in [(400.0, [0.9, 0.1, -0.05]), (90.0, [0.6, -0.3, 0.4]), (1300.0, [1.2, 0.0, 0.0])] {
                let crop = PersonCrop { center, side, blur: 0.0 };
                let t = translation(&crop, weak, &camera).unwrap();
                for p in [[0.0, 0.0, 0.0], [0.5, -0.8, 0.0], [-0.3, 0.9, 0.25], [0.2, 0.1, -0.4]] {
                    let seen = camera.project(&(Vec3::from(p) + Vec3::from(t))).unwrap();
                    let deep = t[2] / (t[2] + p[2]);
                    for k in 0..2 {
                        let (c, half) = (f64::from(center[k]), f64::from(side) / 2.0);
                        // off the middle of the frame the perspective of the whole frame adds its own part
                        let expected = c + half * weak[0] * (p[k] + weak[k + 1]) * deep + (c - camera.center[k]) * (deep - 1.0);
                        assert!((seen[k] - expected).abs() < 0.1, "{center:?} {side} {p:?}: {} instead of {expected}", seen[k]);
                    }
                }
            }
        }
    }

    #[test]
    fn the_placed_body_is_the_networks_own() {
        let (rig, camera) = (rig(), frame_camera(1280, 720));
        for center in [[640.0, 360.0], [1270.0, 20.0]] {
            let (crop, estimate) = (PersonCrop { center, side: 300.0, blur: 0.0 }, estimate([0.8, 0.05, -0.1]));
            let placed = place(&estimate, &crop, &camera, &rig).unwrap().unwrap();
            let joints = placed.joints(&rig, &camera).unwrap().unwrap();
            // SMPL posed by the network's numbers as they are, then moved by its camera
            let mut local = placed.local;
            local[0] = estimate.global_orient;
            let posed = rig.shaped(&estimate.betas).unwrap().pose(&local);
            let t = Vec3::from(translation(&crop, estimate.camera, &camera).unwrap());
            for (j, name) in JOINT_NAMES.iter().enumerate() {
                let own = posed.joints[j] + t;
                assert!((own - Vec3::from(joints.camera[j])).norm() < 1e-9, "{name}");
                let px = camera.project(&own).unwrap();
                assert!((px[0] - joints.px[j][0]).hypot(px[1] - joints.px[j][1]) < 0.1, "{name}");
            }
            let (head, foot) = (joints.px[15], joints.px[10]);
            assert!(head[1] < foot[1], "upright in the picture");
        }
    }

    #[test]
    fn behind_the_camera_there_is_no_body() {
        let (crop, camera) = (PersonCrop { center: [10.0, 10.0], side: 100.0, blur: 0.0 }, frame_camera(640, 480));
        for scale in [0.0, -0.5, f64::NAN] {
            assert!(translation(&crop, [scale, 0.0, 0.0], &camera).is_none_or(|t| t[2] > 1e6), "{scale}");
        }
        assert_eq!(place(&estimate([-0.5, 0.0, 0.0]), &crop, &camera, &rig()), Ok(None));
        assert!(place(&estimate([0.9, 0.0, 0.0]), &crop, &camera, &testrig::humanoid()).is_err(), "a rig of eight shape parameters");
    }
}
