//! A posed and placed body, whatever network it came from.

use crate::axes;
use crate::camera::Pinhole;
use crate::rig::{Rig, RigError};
use crate::rotation::{self, Mat3, Vec3};
use crate::skeleton::JOINTS;

/// Pose, shape and place of one body.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacedBody {
    /// Local rotations in SMPL's convention (relative to the parent, identity in the T pose), body axes; the first is the
    /// global orientation.
    pub local: [Mat3; JOINTS],
    /// Shape parameters, in the rig's order.
    pub betas: Vec<f64>,
    /// `p_camera = diag(1, -1, -1) * p_body + translation` for every point of the posed body, metres.
    pub translation: [f64; 3],
}

/// Where a body's joints are.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacedJoints {
    /// In camera axes, metres.
    pub camera: [[f64; 3]; JOINTS],
    /// In the picture, pixels.
    pub px: [[f64; 2]; JOINTS],
}

impl PlacedBody {
    /// The joints of the body under its rig; `None` if any of them lies behind the camera.
    ///
    /// # Errors
    /// [`RigError::Betas`] if the shape parameters are not the rig's.
    pub fn joints(&self, rig: &Rig, camera: &Pinhole) -> Result<Option<PlacedJoints>, RigError> {
        let posed = rig.shaped(&self.betas)?.pose(&self.local);
        let translation = Vec3::from(self.translation);
        let mut joints = PlacedJoints { camera: [[0.0; 3]; JOINTS], px: [[0.0; 2]; JOINTS] };
        for (j, joint) in posed.joints.iter().enumerate() {
            let p = axes::camera_from_body(joint, &translation);
            let Some(px) = camera.project(&p) else { return Ok(None) };
            (joints.camera[j], joints.px[j]) = (p.into(), px);
        }
        Ok(Some(joints))
    }

    /// The body at `part` (0..=1) of the way to `end`: rotations take the shorter way, the rest runs straight.
    #[must_use]
    pub fn lerp(&self, end: &Self, part: f64) -> Self {
        let mix = |a: f64, b: f64| a + (b - a) * part;
        Self {
            local: std::array::from_fn(|j| rotation::slerp(&self.local[j], &end.local[j], part)),
            betas: self.betas.iter().zip(&end.betas).map(|(a, b)| mix(*a, *b)).collect(),
            translation: std::array::from_fn(|k| mix(self.translation[k], end.translation[k])),
        }
    }

    /// Whether every number is finite.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        let rotations = self.local.iter().all(|m| m.iter().all(|v| v.is_finite()));
        rotations && self.betas.iter().chain(&self.translation).all(|v| v.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::testrig;

    fn body(z: f64) -> PlacedBody {
        let betas = vec![0.1; testrig::humanoid().shape_names().len()];
        let local = testrig::pose(&mut testrig::Random(7), &rotation::exp(&Vec3::new(0.1, 0.4, 0.0)));
        PlacedBody { local, betas, translation: [0.2, -0.1, z] }
    }

    #[test]
    fn joints_are_where_the_rig_puts_them_and_project_there() {
        let (rig, camera) = (testrig::humanoid(), Pinhole::for_size(640, 480));
        let joints = body(4.0).joints(&rig, &camera).unwrap().unwrap();
        let rest = rig.shaped(&body(4.0).betas).unwrap().rest[0];
        let root = axes::flip(&rest) + Vec3::new(0.2, -0.1, 4.0);
        assert!((Vec3::from(joints.camera[0]) - root).norm() < 1e-12);
        for (p, px) in joints.camera.iter().zip(joints.px) {
            assert_eq!(camera.project(&Vec3::from(*p)), Some(px));
        }
        assert_eq!(body(-4.0).joints(&rig, &camera), Ok(None), "behind the camera nothing is seen");
        assert!(PlacedBody { betas: vec![], ..body(4.0) }.joints(&rig, &camera).is_err());
    }

    #[test]
    fn between_two_bodies_every_rotation_is_one() {
        let (a, b) = (body(4.0), PlacedBody { local: testrig::pose(&mut testrig::Random(8), &Mat3::identity()), ..body(6.0) });
        let half = a.lerp(&b, 0.5);
        assert!(half.local.iter().all(|m| rotation::is_rotation(m, 1e-9)));
        assert_eq!(half.translation, [0.2, -0.1, 5.0]);
        assert!(
            (rotation::angle_between(&a.local[4], &half.local[4]) * 2.0 - rotation::angle_between(&a.local[4], &b.local[4])).abs() < 1e-9
        );
        assert!(half.is_finite() && !PlacedBody { translation: [f64::NAN; 3], ..a }.is_finite());
    }
}
