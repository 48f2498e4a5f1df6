//! The square that the landmark network looks at: where it comes from, and when not to trust it.

use std::f32::consts::{FRAC_PI_2, PI, TAU};

use super::Landmarks;
use crate::movenet::{Keypoint, Rect};

/// The crop is this much larger than the circle around the person (MediaPipe's scale).
const SCALE: f32 = 1.25;
/// MoveNet's key points end at eyes, wrists and ankles; the circle around a person is this much larger.
const KEYPOINT_SCALE: f32 = 1.15;
/// Key points scoring below this are left out of the circle.
const MIN_SCORE: f32 = 0.1;

/// A square of a frame, turned so that the person stands upright in it. Pixels of the frame; rotation in radians, clockwise on the screen:
/// the crop's x axis points along (cos, sin) of the frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Roi {
    /// Centre, pixels.
    pub center: [f32; 2],
    /// Length of a side, pixels.
    pub side: f32,
    /// Radians, -π..π; 0 for an upright person.
    pub rotation: f32,
}

/// What a crop that follows a track must look like to be trusted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RoiLimits {
    /// Shortest side, pixels: there is no person to be read from fewer.
    pub min_side: f32,
    /// Longest side, in diagonals of the frame.
    pub max_side: f32,
    /// Smallest part of the square that lies in the frame, 0..=1.
    pub min_inside: f32,
    /// Farthest way of the centre between two frames, in sides: a constant part.
    pub max_jump: f32,
    /// And a part per second: 6 sides a second is about 15 m/s across the picture.
    pub max_speed: f32,
    /// Largest factor by which the side may change between two frames.
    pub max_growth: f32,
}

impl Default for RoiLimits {
    fn default() -> Self {
        Self { min_side: 24.0, max_side: 3.0, min_inside: 0.2, max_jump: 0.3, max_speed: 6.0, max_growth: 1.6 }
    }
}

/// Why a crop is not to be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoiFault {
    /// Some part of it is no number, or it has no size.
    Invalid,
    /// Smaller than any person that can be read.
    TooSmall,
    /// Far larger than the frame.
    TooLarge,
    /// Too little of it lies in the frame.
    Outside,
    /// Too far from where it was expected.
    Jumped,
    /// Its size changed too fast.
    Resized,
}

impl Roi {
    /// The crop for a detected person: centred on the hips, its top towards the shoulders, around all key points that were found. Where
    /// neither hip or neither shoulder was found, the box serves. `None` if that leaves no square.
    #[must_use]
    pub fn from_keypoints(keypoints: &[Keypoint; 17], bbox: &Rect) -> Option<Self> {
        let middle = |l: usize, r: usize| {
            let (a, b) = (keypoints[l], keypoints[r]);
            (a.score.max(b.score) > MIN_SCORE).then_some([(a.x + b.x) / 2.0, (a.y + b.y) / 2.0])
        };
        let (Some(hip), Some(shoulder)) = (middle(11, 12), middle(5, 6)) else {
            return Self::from_box(bbox);
        };
        let found = keypoints.iter().filter(|k| k.score > MIN_SCORE);
        let radius = found.map(|k| (k.x - hip[0]).hypot(k.y - hip[1])).fold(0.0, f32::max) * KEYPOINT_SCALE;
        Self { center: hip, side: 2.0 * radius * SCALE, rotation: turn(hip, shoulder) }.valid()
    }

    /// The next frame's crop from this frame's landmarks (MediaPipe's own way: the circle through the second alignment point).
    #[must_use]
    pub fn from_landmarks(landmarks: &Landmarks) -> Option<Self> {
        let [hip, circle] = landmarks.alignment;
        let radius = (circle[0] - hip[0]).hypot(circle[1] - hip[1]);
        Self { center: hip, side: 2.0 * radius * SCALE, rotation: turn(hip, circle) }.valid()
    }

    /// An upright crop around a box, where nothing better is known.
    #[must_use]
    pub fn from_box(bbox: &Rect) -> Option<Self> {
        Self { center: bbox.center(), side: bbox.width().max(bbox.height()) * SCALE, rotation: 0.0 }.valid()
    }

    /// Itself, if it is a square at all.
    fn valid(self) -> Option<Self> {
        (self.is_finite() && self.side > 0.0).then_some(self)
    }

    /// Whether every number is one.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        [self.center[0], self.center[1], self.side, self.rotation].iter().all(|v| v.is_finite())
    }

    /// The frame position of the point (u, v) of the crop, both 0..=1 inside.
    #[must_use]
    pub fn to_frame(&self, [u, v]: [f32; 2]) -> [f32; 2] {
        let (sin, cos) = self.rotation.sin_cos();
        let (x, y) = ((u - 0.5) * self.side, (v - 0.5) * self.side);
        [self.center[0] + cos * x - sin * y, self.center[1] + sin * x + cos * y]
    }

    /// The square moved.
    #[must_use]
    pub fn shifted(&self, by: [f32; 2]) -> Self {
        Self { center: [self.center[0] + by[0], self.center[1] + by[1]], ..*self }
    }

    /// The square a part of the way to another one; the rotation takes the shorter way round.
    #[must_use]
    pub fn lerp(&self, other: &Self, part: f32) -> Self {
        let mix = |a: f32, b: f32| a + (b - a) * part;
        Self {
            center: [mix(self.center[0], other.center[0]), mix(self.center[1], other.center[1])],
            side: mix(self.side, other.side),
            rotation: wrap(self.rotation + wrap(other.rotation - self.rotation) * part),
        }
    }

    /// What is wrong with the square in a frame of this size (width, height), if anything; `expected` is where the square should have
    /// been (the last one, or a prediction) and the seconds since it was seen.
    #[must_use]
    pub fn fault(&self, frame: (u32, u32), expected: Option<(&Self, f64)>, limits: &RoiLimits) -> Option<RoiFault> {
        let Some(roi) = self.valid() else {
            return Some(RoiFault::Invalid);
        };
        let (w, h) = (frame.0 as f32, frame.1 as f32);
        if roi.side < limits.min_side {
            return Some(RoiFault::TooSmall);
        }
        if roi.side > limits.max_side * w.hypot(h) {
            return Some(RoiFault::TooLarge);
        }
        // The upright square stands for the turned one: the part inside is compared with a coarse limit only.
        let half = roi.side / 2.0;
        let square = Rect::new(roi.center[0] - half, roi.center[1] - half, roi.center[0] + half, roi.center[1] + half);
        // A close-up crop is larger than the frame: then the part of the frame that it shows counts.
        let shown = square.intersection(&Rect::new(0.0, 0.0, w, h)) / square.area().min(w * h).max(1.0);
        if shown < limits.min_inside {
            return Some(RoiFault::Outside);
        }
        let (last, seconds) = expected?;
        let way = (roi.center[0] - last.center[0]).hypot(roi.center[1] - last.center[1]);
        if way > roi.side.max(last.side) * (limits.max_jump + limits.max_speed * seconds.max(0.0) as f32) {
            return Some(RoiFault::Jumped);
        }
        let growth = (roi.side / last.side).max(last.side / roi.side);
        // Not-a-number and infinite growth (an empty last square) are faults as well.
        if growth <= limits.max_growth { None } else { Some(RoiFault::Resized) }
    }
}

/// The rotation that brings `top` straight above `from`; 0 where they coincide.
fn turn(from: [f32; 2], top: [f32; 2]) -> f32 {
    let (dx, dy) = (top[0] - from[0], top[1] - from[1]);
    if dx.hypot(dy) < 1e-3 { 0.0 } else { wrap(FRAC_PI_2 - (-dy).atan2(dx)) }
}

/// The angle within -π..π.
fn wrap(angle: f32) -> f32 {
    (angle + PI).rem_euclid(TAU) - PI
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: (u32, u32) = (640, 480);

    fn roi(x: f32, y: f32, side: f32) -> Roi {
        Roi { center: [x, y], side, rotation: 0.0 }
    }

    #[test]
    fn turning_clockwise_is_positive() {
        assert!(turn([0.0, 0.0], [0.0, -1.0]).abs() < 1e-6, "upright");
        assert!((turn([0.0, 0.0], [1.0, 0.0]) - FRAC_PI_2).abs() < 1e-6, "lying with the head to the right: turned clockwise");
        assert!((turn([0.0, 0.0], [-1.0, 0.0]) + FRAC_PI_2).abs() < 1e-6, "head to the left");
        assert!((turn([0.0, 0.0], [0.0, 1.0]).abs() - PI).abs() < 1e-5, "upside down");
        assert_eq!(turn([3.0, 3.0], [3.0, 3.0]), 0.0);
    }

    #[test]
    fn faults() {
        let limits = RoiLimits::default();
        let fault = |r: Roi, last: Option<Roi>| r.fault(FRAME, last.as_ref().map(|l| (l, 1.0 / 30.0)), &limits);
        assert_eq!(fault(roi(320.0, 240.0, 200.0), None), None);
        assert_eq!(fault(roi(f32::NAN, 240.0, 200.0), None), Some(RoiFault::Invalid));
        assert_eq!(fault(roi(320.0, 240.0, -3.0), None), Some(RoiFault::Invalid));
        assert_eq!(fault(roi(320.0, 240.0, 10.0), None), Some(RoiFault::TooSmall));
        assert_eq!(fault(roi(320.0, 240.0, 9000.0), None), Some(RoiFault::TooLarge));
        assert_eq!(fault(roi(-90.0, 240.0, 200.0), None), Some(RoiFault::Outside));
        assert_eq!(fault(roi(320.0, 700.0, 1800.0), None), None, "a close-up whose hips are below the picture");
        assert_eq!(fault(roi(320.0, 240.0, 200.0), Some(roi(450.0, 240.0, 200.0))), Some(RoiFault::Jumped));
        assert_eq!(fault(roi(320.0, 240.0, 200.0), Some(roi(390.0, 240.0, 200.0))), None);
        assert_eq!(fault(roi(320.0, 240.0, 200.0), Some(roi(320.0, 240.0, 90.0))), Some(RoiFault::Resized));
        assert_eq!(fault(roi(320.0, 240.0, 200.0), Some(roi(320.0, 240.0, 0.0))), Some(RoiFault::Resized));
    }

    #[test]
    fn rotation_is_interpolated_the_short_way() {
        let (a, b) = (Roi { rotation: 3.0, ..roi(0.0, 0.0, 10.0) }, Roi { rotation: -3.0, ..roi(10.0, 0.0, 20.0) });
        let middle = a.lerp(&b, 0.5);
        assert!((middle.rotation.abs() - PI).abs() < 1e-5, "{}", middle.rotation);
        assert_eq!((middle.center, middle.side), ([5.0, 0.0], 15.0));
    }
}
