//! Rotations as 3x3 matrices: exponential, logarithm, smallest rotation between directions, interpolation.
//!
//! Matrices act on column vectors from the left. Rotation vectors are axis times angle in radians.

use nalgebra::{Quaternion, Rotation3, UnitQuaternion};

/// A vector or point, double precision.
pub type Vec3 = nalgebra::Vector3<f64>;
/// A 3x3 matrix, double precision.
pub type Mat3 = nalgebra::Matrix3<f64>;

/// The matrix that takes `w` to `v x w`.
pub fn skew(v: &Vec3) -> Mat3 {
    Mat3::new(0.0, -v.z, v.y, v.z, 0.0, -v.x, -v.y, v.x, 0.0)
}

/// Rotation by `v.norm()` radians about `v` (Rodrigues).
pub fn exp(v: &Vec3) -> Mat3 {
    UnitQuaternion::from_scaled_axis(*v).to_rotation_matrix().into_inner()
}

/// The rotation vector of `r`, of length at most pi. Goes through the quaternion, so it is exact near no rotation and
/// near half a turn alike, where formulas on the matrix's trace lose their digits.
pub fn log(r: &Mat3) -> Vec3 {
    quaternion(r).scaled_axis()
}

/// The right Jacobian of SO(3): `exp(v + d) = exp(v) * exp(right_jacobian(v) * d)` to first order in `d`.
pub fn right_jacobian(v: &Vec3) -> Mat3 {
    let angle2 = v.norm_squared();
    // below 1e-4 rad the closed forms cancel; their series are exact to 1e-17 there
    let (a, b) = if angle2 < 1e-8 {
        (0.5 - angle2 / 24.0, 1.0 / 6.0 - angle2 / 120.0)
    } else {
        let angle = angle2.sqrt();
        ((1.0 - angle.cos()) / angle2, (angle - angle.sin()) / (angle2 * angle))
    };
    let k = skew(v);
    Mat3::identity() - k * a + k * k * b
}

/// The smallest rotation that takes the direction of `a` to that of `b`; `None` if either is (nearly) zero or not finite.
/// Where they point opposite ways any half turn about a perpendicular axis does; one is chosen from `a` alone.
pub fn between(a: &Vec3, b: &Vec3) -> Option<Mat3> {
    let (a, b) = (unit(a)?, unit(b)?);
    // 1 + cos of the angle, which a dot product gives with few digits where the directions are nearly opposite
    let c1 = (a + b).norm_squared() / 2.0;
    if c1 < 1e-12 {
        let smallest = a.map(f64::abs).imin();
        let axis = a.cross(&Vec3::ith(smallest, 1.0)).normalize();
        return Some(axis * axis.transpose() * 2.0 - Mat3::identity());
    }
    let k = skew(&a.cross(&b));
    Some(Mat3::identity() + k + k * k / c1)
}

/// `v` at length 1; `None` if it is shorter than a nanometre (in metres) or not finite.
pub fn unit(v: &Vec3) -> Option<Vec3> {
    let n = v.norm();
    (n > 1e-9 && n.is_finite()).then(|| v / n)
}

/// The unit vector along `a x b`; `None` if either is (nearly) zero or they are parallel to within a microradian.
pub fn normal(a: &Vec3, b: &Vec3) -> Option<Vec3> {
    let cross = unit(a)?.cross(&unit(b)?);
    let sine = cross.norm();
    (sine > 1e-6).then(|| cross / sine)
}

/// Quaternion `[x, y, z, w]` (glTF's order) of a rotation.
pub fn to_quaternion(r: &Mat3) -> [f64; 4] {
    let q = quaternion(r);
    [q.i, q.j, q.k, q.w]
}

/// Rotation of a quaternion `[x, y, z, w]` of any length above zero; `None` if it has none or is not finite.
pub fn from_quaternion(q: &[f64; 4]) -> Option<Mat3> {
    let q = Quaternion::new(q[3], q[0], q[1], q[2]);
    let n = q.norm();
    (n > 1e-12 && n.is_finite()).then(|| UnitQuaternion::from_quaternion(q).to_rotation_matrix().into_inner())
}

/// The rotation at `s` (0 to 1) on the shortest way from `a` to `b`, at constant angular speed.
pub fn slerp(a: &Mat3, b: &Mat3, s: f64) -> Mat3 {
    a * exp(&(log(&(a.transpose() * b)) * s))
}

/// Radians between two rotations, 0 to pi.
pub fn angle_between(a: &Mat3, b: &Mat3) -> f64 {
    log(&(a.transpose() * b)).norm()
}

/// The rotation nearest to `m` (least squares, by its singular vectors); `None` if `m` is not finite or of rank below 2,
/// where none is nearest.
pub fn orthonormalise(m: &Mat3) -> Option<Mat3> {
    if !m.iter().all(|x| x.is_finite()) {
        return None;
    }
    let svd = m.svd(true, true);
    if svd.singular_values[1] <= 1e-9 * svd.singular_values[0].max(1e-300) {
        return None;
    }
    let (u, vt) = (svd.u?, svd.v_t?);
    // a reflection is undone along the weakest direction
    let sign = (u * vt).determinant().signum();
    Some(u * Mat3::from_diagonal(&Vec3::new(1.0, 1.0, sign)) * vt)
}

/// Whether `m` is a rotation: finite, orthonormal and of determinant +1, each to within `tolerance`.
pub fn is_rotation(m: &Mat3, tolerance: f64) -> bool {
    (m.transpose() * m - Mat3::identity()).abs().max() <= tolerance && (m.determinant() - 1.0).abs() <= tolerance
}

fn quaternion(r: &Mat3) -> UnitQuaternion<f64> {
    UnitQuaternion::from_rotation_matrix(&Rotation3::from_matrix_unchecked(*r))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::PI;

    fn directions() -> Vec<Vec3> {
        let mut all = vec![];
        for x in -2..=2 {
            for y in -2..=2 {
                for z in -2..=2 {
                    let v = Vec3::new(f64::from(x), f64::from(y) + 0.1, f64::from(z) - 0.3);
                    all.push(v.normalize());
                }
            }
        }
        all.extend([Vec3::x(), Vec3::y(), Vec3::z(), -Vec3::x(), -Vec3::y(), -Vec3::z()]);
        all
    }

    #[test]
    fn log_undoes_exp_from_nothing_to_half_a_turn() {
        for d in directions() {
            for angle in [0.0, 1e-12, 1e-8, 1e-4, 0.3, 1.5, 3.0, PI - 1e-3, PI - 1e-6, PI - 1e-9] {
                let v = d * angle;
                let back = log(&exp(&v));
                assert!((back - v).norm() < 1e-7, "{v:?} came back as {back:?}");
            }
            // at exactly pi the axis' sign is free
            let back = log(&exp(&(d * PI)));
            assert!((back.norm() - PI).abs() < 1e-9 && back.cross(&d).norm() < 1e-7);
        }
    }

    #[test]
    fn exp_turns_the_right_way() {
        let r = exp(&Vec3::new(0.0, 0.0, PI / 2.0));
        assert!((r * Vec3::x() - Vec3::y()).norm() < 1e-12);
        assert!(is_rotation(&r, 1e-12));
    }

    #[test]
    fn right_jacobian_agrees_with_finite_differences() {
        for d in directions() {
            for angle in [0.0, 1e-5, 0.2, 1.7, 3.1] {
                let v = d * angle;
                let analytic = right_jacobian(&v);
                for c in 0..3 {
                    let h = 1e-5;
                    let e = Vec3::ith(c, h);
                    let numeric = log(&(exp(&(v - e)).transpose() * exp(&(v + e)))) / (2.0 * h);
                    assert!((analytic.column(c) - numeric).norm() < 1e-6, "{v:?} column {c}: {} against {numeric}", analytic.column(c));
                }
            }
        }
    }

    #[test]
    fn between_takes_one_direction_to_the_other_by_the_smallest_turn() {
        for a in directions() {
            for b in directions() {
                let r = between(&(a * 3.0), &(b * 0.2)).unwrap();
                assert!(is_rotation(&r, 1e-6));
                assert!((r * a - b).norm() < 1e-6);
                let want = a.dot(&b).clamp(-1.0, 1.0).acos();
                assert!((log(&r).norm() - want).abs() < 1e-5);
            }
            let back = between(&a, &-a).unwrap();
            assert!((back * a + a).norm() < 1e-9 && is_rotation(&back, 1e-9));
        }
        // just off opposite, where digits are lost
        for off in [1e-4, 1e-5, 3e-6, 1e-6, 1e-8] {
            let r = between(&Vec3::x(), &Vec3::new(-1.0, off, off / 3.0)).unwrap();
            assert!(is_rotation(&r, 1e-8), "{off}");
        }
        assert!(normal(&Vec3::x(), &(Vec3::x() * -2.0)).is_none());
        assert_eq!(normal(&Vec3::x(), &Vec3::new(5.0, 3.0, 0.0)), Some(Vec3::z()));
        assert!(between(&Vec3::zeros(), &Vec3::x()).is_none());
        assert!(between(&Vec3::x(), &Vec3::new(f64::NAN, 0.0, 0.0)).is_none());
    }

    #[test]
    fn quaternions_round_trip() {
        for d in directions() {
            let r = exp(&(d * 2.9));
            let q = to_quaternion(&r);
            assert!((from_quaternion(&q).unwrap() - r).abs().max() < 1e-12);
            assert!((from_quaternion(&q.map(|x| x * -4.0)).unwrap() - r).abs().max() < 1e-12);
        }
        let half = to_quaternion(&exp(&Vec3::new(PI / 2.0, 0.0, 0.0)));
        assert!((half[0] - (0.5f64).sqrt()).abs() < 1e-12 && (half[3] - (0.5f64).sqrt()).abs() < 1e-12);
        assert!(from_quaternion(&[0.0; 4]).is_none());
    }

    #[test]
    fn slerp_is_steady() {
        let (a, b) = (exp(&Vec3::new(0.3, 0.1, -0.7)), exp(&Vec3::new(-1.0, 0.8, 0.4)));
        let whole = angle_between(&a, &b);
        assert!((slerp(&a, &b, 0.0) - a).abs().max() < 1e-12 && (slerp(&a, &b, 1.0) - b).abs().max() < 1e-12);
        assert!((angle_between(&a, &slerp(&a, &b, 0.25)) - whole * 0.25).abs() < 1e-12);
    }

    #[test]
    fn orthonormalise_finds_the_rotation_under_noise() {
        let r = exp(&Vec3::new(0.5, -2.0, 1.0));
        let noisy = r + Mat3::new(0.01, -0.02, 0.0, 0.03, 0.01, -0.01, 0.0, 0.02, 0.01);
        let clean = orthonormalise(&noisy).unwrap();
        assert!(is_rotation(&clean, 1e-12) && angle_between(&clean, &r) < 0.05);
        assert!(is_rotation(&orthonormalise(&-r).unwrap(), 1e-12));
        assert!(orthonormalise(&Mat3::zeros()).is_none());
        assert!(orthonormalise(&Mat3::from_element(f64::NAN)).is_none());
        assert!(orthonormalise(&(Vec3::x() * Vec3::y().transpose())).is_none());
    }
}
