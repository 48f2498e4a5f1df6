//! The pinhole camera.
//!
//! Camera axes: x right, y down, z forward, metres. Pixels: x right, y down, pixel centres at +0.5.

use crate::rotation::{self, Mat3, Vec3};
use crate::skeleton::LANDMARKS;

/// What lies nearer than this (metres along the optical axis), or behind the camera, has no projection.
pub const NEAREST: f64 = 0.05;

/// Focal length over the longer side of the picture where nothing is known of the camera: a field of view of 49 degrees.
pub const DEFAULT_FOCAL: f64 = 1.1;

/// An ideal camera: `u = focal * x / z + center[0]`, `v = focal * y / z + center[1]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pinhole {
    /// Focal length, pixels.
    pub focal: f64,
    /// Principal point, pixels.
    pub center: [f64; 2],
}

impl Pinhole {
    /// The camera assumed for a picture of `width` x `height` pixels: focal length [`DEFAULT_FOCAL`] times the longer
    /// side, principal point in the middle.
    pub fn for_size(width: u32, height: u32) -> Self {
        Self { focal: DEFAULT_FOCAL * f64::from(width.max(height)), center: [f64::from(width) / 2.0, f64::from(height) / 2.0] }
    }

    /// Whether all numbers are finite and the focal length is above zero.
    pub fn is_valid(&self) -> bool {
        self.focal > 0.0 && self.focal.is_finite() && self.center.iter().all(|c| c.is_finite())
    }

    /// Pixel of a point in camera axes; `None` nearer than [`NEAREST`], behind the camera or not finite.
    pub fn project(&self, p: &Vec3) -> Option<[f64; 2]> {
        if !(p.z >= NEAREST && p.iter().all(|c| c.is_finite())) {
            return None;
        }
        Some([self.focal * p.x / p.z + self.center[0], self.focal * p.y / p.z + self.center[1]])
    }

    /// Derivative of [`project`](Self::project) by the point: 2x3, pixels per metre. Meaningless where that gives `None`.
    pub fn project_jacobian(&self, p: &Vec3) -> nalgebra::Matrix2x3<f64> {
        let s = self.focal / p.z;
        nalgebra::Matrix2x3::new(s, 0.0, -s * p.x / p.z, 0.0, s, -s * p.y / p.z)
    }

    /// Unit vector from the camera through a pixel.
    pub fn ray(&self, pixel: [f64; 2]) -> Vec3 {
        Vec3::new((pixel[0] - self.center[0]) / self.focal, (pixel[1] - self.center[1]) / self.focal, 1.0).normalize()
    }

    /// The rotation from the axes of a camera that looks straight through `pixel` to this camera's axes.
    ///
    /// A pose network sees a crop as if its centre were straight ahead; its 3D landmarks are in the axes of such a camera.
    pub fn rotation_to_ray(&self, pixel: [f64; 2]) -> Mat3 {
        let ray = self.ray(pixel);
        // a ray has z > 0, so it is never opposite to the optical axis
        let k = rotation::skew(&Vec3::z().cross(&ray));
        Mat3::identity() + k + k * k / (1.0 + ray.z)
    }

    /// World landmarks of a crop centred at `pixel`, turned into this camera's axes (see
    /// [`rotation_to_ray`](Self::rotation_to_ray)). Metres, origin at the middle of the hips before and after.
    pub fn rotate_to_ray(&self, pixel: [f64; 2], world: &[[f32; 3]; LANDMARKS]) -> [[f32; 3]; LANDMARKS] {
        let r = self.rotation_to_ray(pixel);
        world.map(|p| {
            let q = r * Vec3::new(f64::from(p[0]), f64::from(p[1]), f64::from(p[2]));
            [q.x as f32, q.y as f32, q.z as f32]
        })
    }

    /// Smallest rectangle `[left, top, right, bottom]` in pixels around the projections of `points` (not clipped to any
    /// picture); `None` if there are no points or any of them has no projection.
    pub fn bounding_box<'a>(&self, points: impl IntoIterator<Item = &'a [f64; 3]>) -> Option<[f64; 4]> {
        let mut found: Option<[f64; 4]> = None;
        for p in points {
            let [u, v] = self.project(&Vec3::from(*p))?;
            found = Some(match found {
                None => [u, v, u, v],
                Some([l, t, r, b]) => [l.min(u), t.min(v), r.max(u), b.max(v)],
            });
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_point_lands_on_its_pixel() {
        let camera = Pinhole::for_size(1280, 720);
        assert_eq!(camera, Pinhole { focal: 1408.0, center: [640.0, 360.0] });
        assert_eq!(camera.project(&Vec3::new(0.0, 0.0, 2.0)), Some([640.0, 360.0]));
        assert_eq!(camera.project(&Vec3::new(0.5, -0.25, 2.0)), Some([992.0, 184.0]));
        assert_eq!(Pinhole::for_size(720, 1280).focal, 1408.0);
    }

    #[test]
    fn nothing_behind_the_camera_is_projected() {
        let camera = Pinhole::for_size(640, 480);
        for z in [0.0, -1.0, NEAREST / 2.0, f64::NAN, f64::INFINITY] {
            assert_eq!(camera.project(&Vec3::new(0.1, 0.1, z)), None, "z = {z}");
        }
        assert_eq!(camera.project(&Vec3::new(f64::NAN, 0.1, 2.0)), None);
        assert!(!Pinhole { focal: 0.0, center: [1.0, 1.0] }.is_valid());
        assert!(!Pinhole { focal: 1.0, center: [f64::NAN, 1.0] }.is_valid());
    }

    #[test]
    fn jacobian_agrees_with_finite_differences() {
        let camera = Pinhole::for_size(1920, 1080);
        let p = Vec3::new(0.7, -0.4, 3.1);
        let j = camera.project_jacobian(&p);
        for c in 0..3 {
            let e = Vec3::ith(c, 1e-6);
            let (a, b) = (camera.project(&(p + e)).unwrap(), camera.project(&(p - e)).unwrap());
            for r in 0..2 {
                assert!((j[(r, c)] - (a[r] - b[r]) / 2e-6).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn a_ray_is_what_a_pixel_sees() {
        let camera = Pinhole::for_size(1280, 720);
        let pixel = [1200.0, 50.0];
        let back = camera.project(&(camera.ray(pixel) * 4.0)).unwrap();
        assert!((back[0] - pixel[0]).abs() < 1e-9 && (back[1] - pixel[1]).abs() < 1e-9);
        let r = camera.rotation_to_ray(pixel);
        assert!(rotation::is_rotation(&r, 1e-12));
        assert!((r * Vec3::z() - camera.ray(pixel)).norm() < 1e-12);
        assert!((camera.rotation_to_ray(camera.center) - Mat3::identity()).abs().max() < 1e-15);
        let mut world = [[0.0f32; 3]; LANDMARKS];
        world[3] = [0.0, 0.0, 2.0];
        let turned = camera.rotate_to_ray(pixel, &world)[3];
        assert!((Vec3::new(f64::from(turned[0]), f64::from(turned[1]), f64::from(turned[2])) - camera.ray(pixel) * 2.0).norm() < 1e-6);
    }

    #[test]
    fn bounding_boxes_hold_every_point_or_are_none() {
        let camera = Pinhole { focal: 100.0, center: [50.0, 50.0] };
        assert_eq!(camera.bounding_box(&[[0.0, 0.0, 1.0], [1.0, -1.0, 2.0], [-0.5, 0.25, 1.0]]), Some([0.0, 0.0, 100.0, 75.0]));
        assert_eq!(camera.bounding_box(&[[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]), None);
        assert_eq!(camera.bounding_box(&[]), None);
    }
}
