//! The one place where axis conventions are converted.
//!
//! - *Body axes* (also glTF's): x to the body's left, y up, z to its front, towards the viewer when it faces the camera.
//! - *Camera axes* (OpenCV's): x right, y down, z forward, away from the viewer.
//!
//! They differ by half a turn about x, `diag(1, -1, -1)`, which is its own inverse. Both are right-handed.

use crate::rotation::{Mat3, Vec3};

/// Rows of the rotation that takes body axes to camera axes, as a renderer's placement wants them.
pub const CAMERA_FROM_BODY: [[f32; 3]; 3] = [[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]];

/// A vector in body axes from one in camera axes, or the other way round.
pub fn flip(v: &Vec3) -> Vec3 {
    Vec3::new(v.x, -v.y, -v.z)
}

/// The rows of a matrix turned from one kind of axes to the other: the columns are vectors, what the matrix takes stays.
/// With a global rotation of a bone (body axes) this gives the bone's axes as seen by the camera.
pub fn flip_rows(m: &Mat3) -> Mat3 {
    Mat3::new(m.m11, m.m12, m.m13, -m.m21, -m.m22, -m.m23, -m.m31, -m.m32, -m.m33)
}

/// The same rotation expressed in the other kind of axes: `F * m * F`.
pub fn flip_rotation(m: &Mat3) -> Mat3 {
    Mat3::new(m.m11, -m.m12, -m.m13, -m.m21, m.m22, m.m23, -m.m31, m.m32, m.m33)
}

/// A point of a posed body (body axes, metres) in camera axes: `F * p + translation`.
pub fn camera_from_body(p: &Vec3, translation: &Vec3) -> Vec3 {
    flip(p) + translation
}

/// The inverse of [`camera_from_body`].
pub fn body_from_camera(p: &Vec3, translation: &Vec3) -> Vec3 {
    flip(&(p - translation))
}

/// A matrix as rows of single-precision numbers, as placements and models take it.
pub fn rows(m: &Mat3) -> [[f32; 3]; 3] {
    std::array::from_fn(|r| std::array::from_fn(|c| m[(r, c)] as f32))
}

/// A matrix from its rows.
pub fn from_rows(rows: &[[f32; 3]; 3]) -> Mat3 {
    Mat3::from_fn(|r, c| f64::from(rows[r][c]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rotation;

    #[test]
    fn conversions_undo_themselves() {
        let (p, t) = (Vec3::new(0.3, 1.2, -0.4), Vec3::new(-0.5, 0.1, 4.0));
        assert_eq!(flip(&flip(&p)), p);
        assert!((body_from_camera(&camera_from_body(&p, &t), &t) - p).norm() < 1e-15);
        let r = rotation::exp(&Vec3::new(0.4, -1.0, 0.7));
        assert_eq!(flip_rotation(&flip_rotation(&r)), r);
        assert_eq!(flip_rows(&flip_rows(&r)), r);
        assert!((from_rows(&rows(&r)) - r).abs().max() < 1e-7);
    }

    #[test]
    fn the_head_is_up_in_the_picture_and_the_left_hand_is_on_its_right() {
        // a body that faces the camera from 3 m: its head has the smaller v, its left side the larger u, its nose the smaller z
        let t = Vec3::new(0.0, 0.0, 3.0);
        let origin = camera_from_body(&Vec3::zeros(), &t);
        assert!(camera_from_body(&Vec3::new(0.0, 0.6, 0.0), &t).y < origin.y);
        assert!(camera_from_body(&Vec3::new(0.5, 0.0, 0.0), &t).x > origin.x);
        assert!(camera_from_body(&Vec3::new(0.0, 0.0, 0.1), &t).z < origin.z);
    }

    #[test]
    fn matrix_helpers_agree_with_the_matrix() {
        let f = from_rows(&CAMERA_FROM_BODY);
        assert!((f.determinant() - 1.0).abs() < 1e-12, "both kinds of axes are right-handed");
        let r = rotation::exp(&Vec3::new(-0.2, 0.9, 1.4));
        assert!((flip_rotation(&r) - f * r * f).abs().max() < 1e-12);
        assert!((flip_rows(&r) - f * r).abs().max() < 1e-12);
        let v = Vec3::new(1.0, 2.0, 3.0);
        assert_eq!(flip(&v), f * v);
    }
}
