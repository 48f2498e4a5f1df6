//! BlazePose: crops, landmark decoding.
//!
//! The landmark network (MediaPipe Pose, Apache-2.0) looks at one square crop, turned so that the person stands upright in it, and
//! gives 33 landmarks of the body plus two alignment points from which the next crop follows.

mod roi;

pub use roi::{Roi, RoiFault, RoiLimits};

use crate::movenet::{DecodeError, KEYPOINTS, Keypoint, Rect, expect_len};
use crate::planes::{Planes, Slice, read};

/// Landmarks of a body.
pub const LANDMARKS: usize = 33;
/// Side of the network's input, pixels.
pub const INPUT: u32 = 256;
/// For each COCO key point, the landmark that is the same point of the body.
pub const COCO_LANDMARKS: [usize; KEYPOINTS] = [0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28];

/// Points that the network gives: the landmarks, two alignment points (33 the middle of the hips, 34 on the circle around the person),
/// and four that are not used.
const POINTS: usize = 39;
/// Points that are used: the landmarks and the two alignment points.
const USED: usize = LANDMARKS + 2;
/// Numbers of a point in the `landmarks` output: x, y, z in pixels of the crop, visibility and presence as logits.
const POINT_VALUES: usize = 5;
/// Cells along a side of a point's heat map.
const GRID: usize = 64;
/// Cells of a heat map for a pixel of the crop.
const TO_CELL: f32 = GRID as f32 / INPUT as f32;
/// Cells on either side of the regressed one that refine it (MediaPipe's kernel size is 7).
const WINDOW: usize = 3;
/// A box around landmarks grows by this part of its longer side: landmarks end at the eyes, a person does not.
const BOX_MARGIN: f32 = 0.06;
/// Landmarks less visible than this do not stretch a person's box.
const BOX_VISIBILITY: f32 = 0.3;

/// The network's outputs for a batch of crops, row-major; beside them the heat maps, `heatmap`, `[N, 39, 64, 64]`, logits, of which only
/// the cells around each point are read.
#[derive(Debug, Clone, Copy)]
pub struct Outputs<'a, P> {
    /// `[N, 195]`.
    pub landmarks: &'a [f32],
    /// `[N, 1]`: whether there is a person in the crop, 0..=1. The graph ends in a sigmoid; none is applied here.
    pub presence: &'a [f32],
    /// `[N, 117]`: x, y, z in metres, the middle of the hips at the origin, axes of the crop.
    pub world_landmarks: &'a [f32],
    /// Where the heat maps are.
    pub heatmap: &'a P,
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

impl<P: Planes> Outputs<'_, P> {
    /// The landmarks of each crop, in the order of `rois`; `None` where the network gave something that is no number.
    ///
    /// # Errors
    /// [`DecodeError::Values`] names the output whose length does not fit the number of crops; those of reading the heat maps.
    pub fn decode(&self, rois: &[Roi]) -> Result<Vec<Option<Landmarks>>, P::Error> {
        let n = rois.len();
        self.expect_lens(n).map_err(|e| self.heatmap.misfit(e))?;
        let points = (0..n).flat_map(|i| (0..USED).map(move |k| (i, k)));
        let around: Vec<Option<Slice>> = points.map(|(i, k)| around(i * POINTS + k, self.point(i, k))).collect();
        let slices: Vec<Slice> = around.iter().flatten().cloned().collect();
        let heat = if slices.is_empty() { None } else { Some(read(self.heatmap, "heatmap", &slices)?) };
        let (mut rest, mut points) = (heat.as_deref().unwrap_or_default(), Vec::with_capacity(around.len()));
        for (at, slice) in around.iter().enumerate() {
            let point = self.point(at / USED, at % USED);
            points.push(slice.as_ref().map_or(point, |slice| {
                let (heat, further) = rest.split_at(slice.values());
                rest = further;
                refine(point, slice, heat)
            }));
        }
        Ok(rois.iter().zip(points.as_chunks::<USED>().0).enumerate().map(|(i, (roi, points))| self.person(i, roi, points)).collect())
    }

    fn expect_lens(&self, n: usize) -> Result<(), DecodeError> {
        expect_len("landmarks", self.landmarks, n.checked_mul(POINTS * POINT_VALUES))?;
        expect_len("presence", self.presence, Some(n))?;
        expect_len("world_landmarks", self.world_landmarks, n.checked_mul(POINTS * 3))
    }

    /// The values of a crop's point.
    fn values(&self, i: usize, k: usize) -> &[f32] {
        &self.landmarks[(i * POINTS + k) * POINT_VALUES..][..POINT_VALUES]
    }

    /// Where it is, pixels of the crop, by regression.
    fn point(&self, i: usize, k: usize) -> [f32; 2] {
        let values = self.values(i, k);
        [values[0], values[1]]
    }

    /// One crop's landmarks out of its points, pixels of the crop. The lengths have been checked.
    fn person(&self, i: usize, roi: &Roi, points: &[[f32; 2]; USED]) -> Option<Landmarks> {
        let world = &self.world_landmarks[i * POINTS * 3..(i + 1) * POINTS * 3];
        let at = |k: usize| roi.to_frame(points[k].map(|v| v / INPUT as f32));
        let (sin, cos) = roi.rotation.sin_cos();
        let found = Landmarks {
            presence: self.presence[i],
            image: std::array::from_fn(at),
            depth: std::array::from_fn(|k| self.values(i, k)[2] / INPUT as f32 * roi.side),
            visibility: std::array::from_fn(|k| sigmoid(self.values(i, k)[3])),
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

/// The cell that a point (pixels of the crop) lies in, if the map has it.
fn cell(point: [f32; 2]) -> Option<[usize; 2]> {
    let cell = point.map(|v| (v * TO_CELL).trunc());
    cell.iter().all(|v| (0.0..GRID as f32).contains(v)).then(|| cell.map(|v| v as usize))
}

/// The cells of a heat map that refine a point.
fn around(plane: usize, point: [f32; 2]) -> Option<Slice> {
    let [columns, rows] = cell(point)?.map(|c| c.saturating_sub(WINDOW)..(c + WINDOW + 1).min(GRID));
    Some(Slice { plane, rows, columns })
}

/// The point (pixels of the crop) moved to the centroid of its heat map around it, where the map is sure (MediaPipe's
/// `RefineLandmarksFromHeatmap`: some cell of the window reaches 0.5). `heat` are the values of the slice [`around`] it.
fn refine(point: [f32; 2], slice: &Slice, heat: &[f32]) -> [f32; 2] {
    // A probability of 0.5 is a logit of 0: only sure windows pay for the exponentials.
    if !heat.iter().any(|&v| v >= 0.0) {
        return point;
    }
    let Some([cx, cy]) = cell(point).map(|c| c.map(|v| v as f32)) else { return point };
    let (mut sum, mut sum_x, mut sum_y) = (0.0f32, 0.0f32, 0.0f32);
    for (y, row) in slice.rows.clone().zip(heat.chunks_exact(slice.columns.len())) {
        for (x, &logit) in slice.columns.clone().zip(row) {
            let p = sigmoid(logit);
            sum += p;
            sum_x += p * (x as f32 - cx);
            sum_y += p * (y as f32 - cy);
        }
    }
    [(cx + sum_x / sum) / TO_CELL, (cy + sum_y / sum) / TO_CELL]
}

fn sigmoid(v: f32) -> f32 {
    1.0 / (1.0 + (-v).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refined(point: [f32; 2], heat: &[f32]) -> [f32; 2] {
        let Some(slice) = around(0, point) else { return point };
        let whole = crate::planes::Whole(vec![("heatmap", heat, [GRID, GRID])]);
        refine(point, &slice, &read(&whole, "heatmap", std::slice::from_ref(&slice)).unwrap())
    }

    #[test]
    fn a_sure_heat_map_moves_a_point_and_an_unsure_one_does_not() {
        let mut heat = vec![-20.0; GRID * GRID];
        heat[30 * GRID + 22] = 3.0;
        let near = refined([20.0 * 4.0 + 1.0, 30.0 * 4.0], &heat);
        assert!((near[0] - 88.0).abs() < 0.01 && (near[1] - 120.0).abs() < 0.01, "{near:?}");
        let far = [60.0, 120.0];
        assert_eq!(refined(far, &heat), far, "the peak is outside the window");
        heat[30 * GRID + 22] = -0.1;
        assert_eq!(refined([81.0, 120.0], &heat), [81.0, 120.0]);
        assert_eq!(refined([-9.0, 300.0], &heat), [-9.0, 300.0], "outside the crop");
        assert!(refined([f32::NAN, 3.0], &heat)[0].is_nan());
    }
}
