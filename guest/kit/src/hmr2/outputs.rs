//! The network's four outputs, checked and by person.

use super::BETAS;
use crate::movenet::{DecodeError, expect_len};
use crate::rotation::{self, Mat3};
use crate::skeleton::JOINTS;

/// Joints below the pelvis.
const LIMBS: usize = JOINTS - 1;

/// The outputs of one run, row-major.
#[derive(Debug, Clone, Copy)]
pub struct Outputs<'a> {
    /// `[N, 1, 3, 3]`: rotation of the pelvis, to camera axes.
    pub global_orient: &'a [f32],
    /// `[N, 23, 3, 3]`: rotations of the other joints against their parents, in SMPL's order.
    pub body_pose: &'a [f32],
    /// `[N, 10]`: shape.
    pub betas: &'a [f32],
    /// `[N, 3]`: the crop's camera, `s, tx, ty`.
    pub pred_cam: &'a [f32],
}

/// What the network says of one crop.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// Rotation of the whole body, to camera axes (x right, y down, z forward).
    pub global_orient: Mat3,
    /// Rotations of joints 1 to 23 against their parents.
    pub body_pose: [Mat3; LIMBS],
    /// Shape.
    pub betas: [f64; BETAS],
    /// `s, tx, ty`: a point x metres to the right of the body's origin lies `s * (x + tx)` half sides right of the crop's middle.
    pub camera: [f64; 3],
}

impl Outputs<'_> {
    /// One estimate for each of `people` crops; `None` where the network gave no numbers.
    ///
    /// # Errors
    /// [`DecodeError::Values`] names the output whose length does not fit.
    pub fn decode(&self, people: usize) -> Result<Vec<Option<Estimate>>, DecodeError> {
        for (name, values, width) in [
            ("global_orient", self.global_orient, 9),
            ("body_pose", self.body_pose, 9 * LIMBS),
            ("betas", self.betas, BETAS),
            ("pred_cam", self.pred_cam, 3),
        ] {
            expect_len(name, values, people.checked_mul(width))?;
        }
        Ok((0..people).map(|i| self.estimate(i)).collect())
    }

    fn estimate(&self, i: usize) -> Option<Estimate> {
        let mut body_pose = [Mat3::identity(); LIMBS];
        for (j, joint) in body_pose.iter_mut().enumerate() {
            *joint = rotation_at(self.body_pose, i * LIMBS + j)?;
        }
        let estimate = Estimate {
            global_orient: rotation_at(self.global_orient, i)?,
            body_pose,
            betas: std::array::from_fn(|k| f64::from(self.betas[BETAS * i + k])),
            camera: std::array::from_fn(|k| f64::from(self.pred_cam[3 * i + k])),
        };
        estimate.betas.iter().chain(&estimate.camera).all(|v| v.is_finite()).then_some(estimate)
    }
}

/// The rotation nearest to the `i`th matrix: the network's are rotations but for rounding, more so in half precision.
fn rotation_at(values: &[f32], i: usize) -> Option<Mat3> {
    rotation::orthonormalise(&Mat3::from_row_iterator(values[9 * i..9 * i + 9].iter().map(|v| f64::from(*v))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rotation::Vec3;

    #[test]
    fn people_are_told_apart_and_rows_are_rows() {
        let turn = |k: usize| rotation::exp(&Vec3::new(0.01 * k as f64, 0.3, -0.2));
        let rows = |m: Mat3| m.transpose().as_slice().iter().map(|v| *v as f32).collect::<Vec<_>>();
        let global: Vec<f32> = (0..2).flat_map(|p| rows(turn(100 * p))).collect();
        let limbs: Vec<f32> = (0..2).flat_map(|p| (1..24).flat_map(move |j| rows(turn(100 * p + j)))).collect();
        let betas: Vec<f32> = (0..20).map(|k| k as f32).collect();
        let outputs = Outputs { global_orient: &global, body_pose: &limbs, betas: &betas, pred_cam: &[0.9, 0.1, 0.2, 0.8, -0.1, f32::NAN] };
        let found = outputs.decode(2).unwrap();
        let first = found[0].as_ref().unwrap();
        assert!((first.global_orient - turn(0)).abs().max() < 1e-6);
        assert!((first.body_pose[22] - turn(23)).abs().max() < 1e-6);
        assert_eq!(first.betas[9], 9.0);
        assert!((first.camera[2] - 0.2).abs() < 1e-6);
        assert_eq!(found[1], None, "a camera that is no number");
    }

    #[test]
    fn an_output_of_the_wrong_length_is_named() {
        let (nine, many) = (vec![0.0; 9], vec![0.0; 9 * 23]);
        let outputs = Outputs { global_orient: &nine, body_pose: &many, betas: &[0.0; 11], pred_cam: &[0.0; 3] };
        assert!(matches!(outputs.decode(1), Err(DecodeError::Values { name: "betas", expected: 10, found: 11 })));
        assert!(outputs.decode(usize::MAX).is_err());
    }
}
