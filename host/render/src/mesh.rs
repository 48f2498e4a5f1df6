//! A body's geometry on the CPU: placing it before the camera, its bounds on the screen, and its vertex normals.

use glam::{Mat3A, Vec2, Vec3A};
use halfpipe_core::{Pinhole, Placement};

use crate::gpu_data::{BodyVertex, NEAR_PLANE_METRES};

/// Writes the body's points in camera axes to `points`; `false` where one is not finite.
///
/// `positions` are x, y, z of each vertex in body axes, metres.
pub(crate) fn place(positions: &[f32], placement: &Placement, points: &mut Vec<Vec3A>) -> bool {
    let camera_from_body = Mat3A::from_cols_array_2d(&placement.rotation).transpose();
    let translation = Vec3A::from(placement.translation);
    points.clear();
    points.extend(positions.as_chunks::<3>().0.iter().map(|&p| camera_from_body * Vec3A::from(p) + translation));
    // a sum is not finite if one of its terms is not; what overflows here is far outside of any picture as well
    points.iter().fold(Vec3A::ZERO, |sum, p| sum + *p).is_finite()
}

/// Least and greatest screen position of what is in front of the near plane, pixels; `None` if nothing is.
pub(crate) fn screen_bounds(points: &[Vec3A], faces: &[[u32; 3]], camera: &Pinhole) -> Option<(Vec2, Vec2)> {
    let mut bounds = (Vec2::INFINITY, Vec2::NEG_INFINITY);
    let center = Vec2::from(camera.center);
    let mut include = |p: Vec3A| {
        let at = Vec2::new(p.x, p.y) * (camera.focal / p.z) + center;
        bounds = (bounds.0.min(at), bounds.1.max(at));
    };
    let in_front = |p: Vec3A| p.z >= NEAR_PLANE_METRES;

    if is_all_in_front(points) {
        points.iter().for_each(|&p| include(p));
    } else {
        points.iter().filter(|&&p| in_front(p)).for_each(|&p| include(p));
        // where a face crosses the near plane, its cut edge is seen too
        for corners in faces {
            for k in 0..3 {
                let (a, b) = (points[corners[k] as usize], points[corners[(k + 1) % 3] as usize]);
                if in_front(a) != in_front(b) {
                    let mut cut = a.lerp(b, (NEAR_PLANE_METRES - a.z) / (b.z - a.z));
                    cut.z = NEAR_PLANE_METRES;
                    include(cut);
                }
            }
        }
    }
    (bounds.0.x <= bounds.1.x).then_some(bounds)
}

/// Whether no point is cut off by the near plane.
pub(crate) fn is_all_in_front(points: &[Vec3A]) -> bool {
    points.iter().fold(f32::INFINITY, |z, p| z.min(p.z)) >= NEAR_PLANE_METRES
}

/// Appends the body's vertices with smooth normals: the mean of the surrounding faces' normals, weighted by their areas. Returns
/// whether the faces of a closed surface look outward (a mirroring placement turns them inward), by the sign of its volume.
///
/// `normals` is scratch space.
pub(crate) fn write_vertices(points: &[Vec3A], faces: &[[u32; 3]], normals: &mut Vec<Vec3A>, vertices: &mut Vec<BodyVertex>) -> bool {
    let mut six_volumes = 0.0;
    normals.clear();
    normals.resize(points.len(), Vec3A::ZERO);
    for corners in faces {
        let [a, b, c] = corners.map(|i| i as usize);
        let normal = (points[b] - points[a]).cross(points[c] - points[a]);
        six_volumes += normal.dot(points[a]);
        normals[a] += normal;
        normals[b] += normal;
        normals[c] += normal;
    }
    vertices.extend(points.iter().zip(&*normals).map(|(point, normal)| {
        let [x, y, z] = (normal.normalize_or_zero() * f32::from(i16::MAX)).to_array().map(|v| v as i16);
        BodyVertex { point_in_camera: point.to_array(), normal_in_camera: [x, y, z, 0] }
    }));
    six_volumes > 0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use halfpipe_core::Rgb;

    const CAMERA: Pinhole = Pinhole { focal: 100.0, center: [50.0, 40.0] };

    fn placement(rotation: [[f32; 3]; 3], translation: [f32; 3]) -> Placement {
        Placement { frame: 0, rotation, translation, colour: Rgb(0, 0, 0) }
    }

    #[test]
    fn rows_of_the_rotation_multiply_the_point() {
        // a quarter turn about z: x goes to y
        let p = placement([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], [0.0, 0.0, 5.0]);
        let mut points = Vec::new();
        assert!(place(&[1.0, 0.0, 0.0], &p, &mut points));
        assert_eq!(points, [Vec3A::new(0.0, 1.0, 5.0)]);
        assert!(!place(&[f32::NAN, 0.0, 0.0], &p, &mut points));
        assert!(!place(&[0.0, f32::INFINITY, 0.0, 0.0, f32::NEG_INFINITY, 0.0], &p, &mut points));
    }

    #[test]
    fn bounds_are_the_projection() {
        let points = [Vec3A::new(0.0, 0.0, 2.0), Vec3A::new(1.0, -0.5, 2.0), Vec3A::new(0.0, 1.0, 4.0)];
        let (low, high) = screen_bounds(&points, &[[0, 1, 2]], &CAMERA).unwrap();
        assert_eq!((low, high), (Vec2::new(50.0, 15.0), Vec2::new(100.0, 65.0)));
    }

    #[test]
    fn bounds_follow_the_cut_at_the_near_plane() {
        let points = [Vec3A::new(0.0, 0.0, 1.0), Vec3A::new(0.1, 0.0, -1.0), Vec3A::new(0.0, 0.1, 1.0)];
        let (_, high) = screen_bounds(&points, &[[0, 1, 2]], &CAMERA).unwrap();
        // the edge from the first point to the second is cut at x = 0.1 * 0.475
        assert!((high.x - (50.0 + 100.0 * 0.0475 / 0.05)).abs() < 1e-3, "{high}");
        let behind = points.map(|p| p - Vec3A::new(0.0, 0.0, 2.0));
        assert_eq!(screen_bounds(&behind, &[[0, 1, 2]], &CAMERA), None);
    }

    #[test]
    fn normals_point_out_of_counter_clockwise_faces() {
        let points = [Vec3A::ZERO, Vec3A::X, Vec3A::Y, Vec3A::ONE];
        let mut vertices = Vec::new();
        write_vertices(&points, &[[0, 1, 2]], &mut Vec::new(), &mut vertices);
        assert_eq!(vertices[0].normal_in_camera, [0, 0, i16::MAX, 0]);
        assert_eq!(vertices[3].normal_in_camera, [0; 4], "a vertex without faces has none");
        assert_eq!(vertices[1].point_in_camera, [1.0, 0.0, 0.0]);
    }

    #[test]
    fn a_mirrored_body_looks_inward() {
        let faces = [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]];
        let points = [Vec3A::ZERO, Vec3A::X, Vec3A::Y, Vec3A::Z].map(|p| p + Vec3A::new(-2.0, 0.5, 7.0));
        let outward = |points: &[Vec3A]| write_vertices(points, &faces, &mut Vec::new(), &mut Vec::new());
        assert!(outward(&points));
        assert!(!outward(&points.map(|p| p * Vec3A::new(-1.0, 1.0, 1.0))));
    }
}
