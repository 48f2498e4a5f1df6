//! BlazePose: crops, landmark decoding.
//!
//! The landmark network (MediaPipe Pose, Apache-2.0) looks at one square crop, turned so that the person stands upright in it, and
//! gives 33 landmarks of the body plus two alignment points from which the next crop follows.

mod roi;

pub use roi::{Roi, RoiFault, RoiLimits};

use crate::movenet::{DecodeError, KEYPOINTS, Keypoint, Rect, expect_len};

/// Landmarks of a body.
pub const LANDMARKS: usize = 33;
/// Side of the network's input, pixels.
pub const INPUT: u32 = 256;
/// For each COCO key point, the landmark that is the same point of the body.
pub const COCO_LANDMARKS: [usize; KEYPOINTS] = [0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28];

/// Points that the network gives: the landmarks, two alignment points (33 the middle of the hips, 34 on the circle around the person),
/// and four that are not used.
const POINTS: usize = 39;
/// Numbers of a point in the `landmarks` output: x, y, z in pixels of the crop, visibility and presence as logits.
const POINT_VALUES: usize = 5;
/// Cells along a side of a point's heat map.
const GRID: usize = 64;
/// Cells on either side of the regressed one that refine it (MediaPipe's kernel size is 7).
const WINDOW: usize = 3;
/// A box around landmarks grows by this part of its longer side: landmarks end at the eyes, a person does not.
const BOX_MARGIN: f32 = 0.06;
/// Landmarks less visible than this do not stretch a person's box.
const BOX_VISIBILITY: f32 = 0.3;

/// The network's outputs for a batch of crops, row-major.
#[derive(Debug, Clone, Copy)]
pub struct Outputs<'a> {
    /// `[N, 195]`.
    pub landmarks: &'a [f32],
    /// `[N, 1]`: whether there is a person in the crop, 0..=1. The graph ends in a sigmoid; none is applied here.
    pub presence: &'a [f32],
    /// `[N, 39, 64, 64]`, logits.
    pub heatmap: &'a [f32],
    /// `[N, 117]`: x, y, z in metres, the middle of the hips at the origin, axes of the crop.
    pub world_landmarks: &'a [f32],
}

/// One person as the landmark network sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Landmarks {
    /// Whether there is a person, 0..=1; above 0.5 there is (MediaPipe's threshold).
    pub presence: f32,
    /// Pixels of the frame.
    pub image: [[f32; 2]; LANDMARKS],
    /// Depth relative to the middle of the hips, in pixels of the frame, away from the camera.
    pub depth: [f32; LANDMARKS],
    /// How likely each landmark is in sight, 0..=1.
    pub visibility: [f32; LANDMARKS],
    /// Metres, the middle of the hips at the origin, x and y along the frame's (right, down), z away from the camera.
    pub world: [[f32; 3]; LANDMARKS],
    /// Middle of the hips and a point on the circle around the person straight above it (along the body), pixels of the frame.
    pub alignment: [[f32; 2]; 2],
    /// The crop that this was read from.
    pub roi: Roi,
}

impl Landmarks {
    /// The person's box: around the landmarks that are in sight (all of them where fewer than three are), with a margin.
    #[must_use]
    pub fn bbox(&self) -> Rect {
        let seen = || self.image.iter().zip(&self.visibility).filter(|&(_, &v)| v >= BOX_VISIBILITY).map(|(p, _)| *p);
        let rect = if seen().count() >= 3 { Rect::around(seen()) } else { Rect::around(self.image) };
        // There are always landmarks, so there is always a box.
        rect.unwrap_or(Rect::new(0.0, 0.0, 0.0, 0.0)).grown(BOX_MARGIN)
    }

    /// The COCO key points among the landmarks, scored by visibility.
    #[must_use]
    pub fn keypoints(&self) -> [Keypoint; KEYPOINTS] {
        COCO_LANDMARKS.map(|i| Keypoint { x: self.image[i][0], y: self.image[i][1], score: self.visibility[i] })
    }

    /// Whether every number is one.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        self.presence.is_finite()
            && self.image.iter().chain(&self.alignment).flatten().all(|v| v.is_finite())
            && self.world.iter().flatten().chain(&self.depth).chain(&self.visibility).all(|v| v.is_finite())
    }
}

impl Outputs<'_> {
    /// The landmarks of each crop, in the order of `rois`; `None` where the network gave something that is no number.
    ///
    /// # Errors
    /// [`DecodeError::Values`] names the output whose length does not fit the number of crops.
    pub fn decode(&self, rois: &[Roi]) -> Result<Vec<Option<Landmarks>>, DecodeError> {
        let n = rois.len();
        expect_len("landmarks", self.landmarks, n.checked_mul(POINTS * POINT_VALUES))?;
        expect_len("presence", self.presence, Some(n))?;
        expect_len("heatmap", self.heatmap, n.checked_mul(POINTS * GRID * GRID))?;
        expect_len("world_landmarks", self.world_landmarks, n.checked_mul(POINTS * 3))?;
        Ok(rois.iter().enumerate().map(|(i, roi)| self.person(i, roi)).collect())
    }

    /// One crop's landmarks. The lengths have been checked.
    fn person(&self, i: usize, roi: &Roi) -> Option<Landmarks> {
        let points = &self.landmarks[i * POINTS * POINT_VALUES..(i + 1) * POINTS * POINT_VALUES];
        let world = &self.world_landmarks[i * POINTS * 3..(i + 1) * POINTS * 3];
        let heat = &self.heatmap[i * POINTS * GRID * GRID..(i + 1) * POINTS * GRID * GRID];
        let at = |k: usize| {
            let p = &points[k * POINT_VALUES..];
            let [x, y] = refine([p[0], p[1]], &heat[k * GRID * GRID..(k + 1) * GRID * GRID]);
            roi.to_frame([x / INPUT as f32, y / INPUT as f32])
        };
        let (sin, cos) = roi.rotation.sin_cos();
        let found = Landmarks {
            presence: self.presence[i],
            image: std::array::from_fn(at),
            depth: std::array::from_fn(|k| points[k * POINT_VALUES + 2] / INPUT as f32 * roi.side),
            visibility: std::array::from_fn(|k| sigmoid(points[k * POINT_VALUES + 3])),
            world: std::array::from_fn(|k| {
                let [x, y, z] = [world[k * 3], world[k * 3 + 1], world[k * 3 + 2]];
                [cos * x - sin * y, sin * x + cos * y, z]
            }),
            alignment: [at(LANDMARKS), at(LANDMARKS + 1)],
            roi: *roi,
        };
        found.is_finite().then_some(found)
    }
}

/// The point (pixels of the crop) moved to the centroid of its heat map around it, where the map is sure (MediaPipe's
/// `RefineLandmarksFromHeatmap`: some cell of the window reaches 0.5).
fn refine(point: [f32; 2], heat: &[f32]) -> [f32; 2] {
    let to_cell = GRID as f32 / INPUT as f32;
    let [cx, cy] = point.map(|v| (v * to_cell).trunc());
    let inside = |v: f32| v >= 0.0 && v < GRID as f32;
    if !inside(cx) || !inside(cy) {
        return point;
    }
    let range = |c: f32| (c as usize).saturating_sub(WINDOW)..(c as usize + WINDOW + 1).min(GRID);
    let (xs, ys) = (range(cx), range(cy));
    let rows = || ys.clone().map(|y| (y, &heat[y * GRID + xs.start..y * GRID + xs.end]));
    // A probability of 0.5 is a logit of 0: only sure windows pay for the exponentials.
    if !rows().any(|(_, row)| row.iter().any(|&v| v >= 0.0)) {
        return point;
    }
    let (mut sum, mut sum_x, mut sum_y) = (0.0f32, 0.0f32, 0.0f32);
    for (y, row) in rows() {
        for (x, &logit) in xs.clone().zip(row) {
            let p = sigmoid(logit);
            sum += p;
            sum_x += p * (x as f32 - cx);
            sum_y += p * (y as f32 - cy);
        }
    }
    [(cx + sum_x / sum) / to_cell, (cy + sum_y / sum) / to_cell]
}

fn sigmoid(v: f32) -> f32 {
    1.0 / (1.0 + (-v).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sure_heat_map_moves_a_point_and_an_unsure_one_does_not() {
        let mut heat = vec![-20.0; GRID * GRID];
        heat[30 * GRID + 22] = 3.0;
        let near = refine([20.0 * 4.0 + 1.0, 30.0 * 4.0], &heat);
        assert!((near[0] - 88.0).abs() < 0.01 && (near[1] - 120.0).abs() < 0.01, "{near:?}");
        let far = [60.0, 120.0];
        assert_eq!(refine(far, &heat), far, "the peak is outside the window");
        heat[30 * GRID + 22] = -0.1;
        assert_eq!(refine([81.0, 120.0], &heat), [81.0, 120.0]);
        assert_eq!(refine([-9.0, 300.0], &heat), [-9.0, 300.0], "outside the crop");
        assert!(refine([f32::NAN, 3.0], &heat)[0].is_nan());
    }
}
