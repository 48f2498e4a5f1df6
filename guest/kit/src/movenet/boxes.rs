//! Boxes, key points, and when two of them are the same person.

use super::KEYPOINTS;

/// Key points scoring below this say nothing about where a person is.
pub(crate) const MIN_KEYPOINT_SCORE: f32 = 0.1;
/// COCO's per-key-point spread, as a part of the square root of the person's area (twice the sigma of the COCO evaluation code).
const SPREAD: [f32; KEYPOINTS] =
    [0.052, 0.050, 0.050, 0.070, 0.070, 0.158, 0.158, 0.144, 0.144, 0.124, 0.124, 0.214, 0.214, 0.174, 0.174, 0.178, 0.178];
/// Two poses more alike than this are one person seen twice.
const SAME_POSE: f32 = 0.75;

/// An upright box, pixels of the frame (x right, y down).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rect {
    /// Left edge.
    pub x0: f32,
    /// Top edge.
    pub y0: f32,
    /// Right edge.
    pub x1: f32,
    /// Bottom edge.
    pub y1: f32,
}

/// A point of the body in a picture.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Keypoint {
    /// Pixels of the frame, to the right.
    pub x: f32,
    /// Pixels of the frame, down.
    pub y: f32,
    /// 0 (not found) to 1.
    pub score: f32,
}

impl Rect {
    /// The box with these edges: left, top, right, bottom.
    #[must_use]
    pub fn new(x0: f32, y0: f32, x1: f32, y1: f32) -> Self {
        Self { x0, y0, x1, y1 }
    }

    /// The smallest box around the points; `None` without any.
    #[must_use]
    pub fn around(points: impl IntoIterator<Item = [f32; 2]>) -> Option<Self> {
        points.into_iter().fold(None, |rect: Option<Self>, [x, y]| {
            Some(match rect {
                None => Self::new(x, y, x, y),
                Some(r) => Self::new(r.x0.min(x), r.y0.min(y), r.x1.max(x), r.y1.max(y)),
            })
        })
    }

    /// Width, never below 0.
    #[must_use]
    pub fn width(&self) -> f32 {
        (self.x1 - self.x0).max(0.0)
    }

    /// Height, never below 0.
    #[must_use]
    pub fn height(&self) -> f32 {
        (self.y1 - self.y0).max(0.0)
    }

    /// Width times height.
    #[must_use]
    pub fn area(&self) -> f32 {
        self.width() * self.height()
    }

    /// Length of the diagonal: how large a person appears, whichever way round.
    #[must_use]
    pub fn diagonal(&self) -> f32 {
        self.width().hypot(self.height())
    }

    /// Left, top, width, height, as the pose file has boxes.
    #[must_use]
    pub fn xywh(&self) -> [f32; 4] {
        [self.x0, self.y0, self.width(), self.height()]
    }

    /// The middle.
    #[must_use]
    pub fn center(&self) -> [f32; 2] {
        [(self.x0 + self.x1) / 2.0, (self.y0 + self.y1) / 2.0]
    }

    /// The box moved.
    #[must_use]
    pub fn shifted(&self, by: [f32; 2]) -> Self {
        Self::new(self.x0 + by[0], self.y0 + by[1], self.x1 + by[0], self.y1 + by[1])
    }

    /// The box at `part` (0..=1) of the way to `end`.
    #[must_use]
    pub fn lerp(&self, end: &Self, part: f32) -> Self {
        let mix = |a: f32, b: f32| a + (b - a) * part;
        Self::new(mix(self.x0, end.x0), mix(self.y0, end.y0), mix(self.x1, end.x1), mix(self.y1, end.y1))
    }

    /// The box with its edges times a factor.
    #[must_use]
    pub fn scaled(&self, by: f32) -> Self {
        Self::new(self.x0 * by, self.y0 * by, self.x1 * by, self.y1 * by)
    }

    /// The box grown on each side by a part of its longer side.
    #[must_use]
    pub fn grown(&self, part: f32) -> Self {
        let by = part * self.width().max(self.height());
        Self::new(self.x0 - by, self.y0 - by, self.x1 + by, self.y1 + by)
    }

    /// Area that both cover.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> f32 {
        Self::new(self.x0.max(other.x0), self.y0.max(other.y0), self.x1.min(other.x1), self.y1.min(other.y1)).area()
    }

    /// Intersection over union, 0..=1; 0 where both are empty.
    #[must_use]
    pub fn iou(&self, other: &Self) -> f32 {
        let inter = self.intersection(other);
        let union = self.area() + other.area() - inter;
        if inter > 0.0 && union > 0.0 { inter / union } else { 0.0 }
    }

    /// Whether all four edges are numbers.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        [self.x0, self.y0, self.x1, self.y1].iter().all(|v| v.is_finite())
    }
}

/// How alike two poses are, 0..=1: COCO's object key-point similarity over the key points that both sides found. `area` is the person's in
/// square pixels; `slack` widens COCO's spread (1 leaves it). `None` when fewer than three key points can be compared.
#[must_use]
pub fn keypoint_similarity(a: &[Keypoint; KEYPOINTS], b: &[Keypoint; KEYPOINTS], area: f32, slack: f32) -> Option<f32> {
    let (mut sum, mut count) = (0.0, 0u8);
    for ((p, q), spread) in a.iter().zip(b).zip(SPREAD) {
        if p.score >= MIN_KEYPOINT_SCORE && q.score >= MIN_KEYPOINT_SCORE {
            let distance = (p.x - q.x).powi(2) + (p.y - q.y).powi(2);
            let variance = area * (spread * slack).powi(2);
            sum += if variance > 0.0 { (-distance / (2.0 * variance)).exp() } else { 0.0 };
            count += 1;
        }
    }
    (count >= 3).then(|| sum / f32::from(count))
}

/// Whether two boxes with key points are one person seen twice: their boxes overlap by more than `max_overlap`, or their poses coincide
/// (which a person and the part of it that another tile or crop showed do, although their boxes differ).
#[must_use]
pub fn same_person(a: (&Rect, &[Keypoint; KEYPOINTS]), b: (&Rect, &[Keypoint; KEYPOINTS]), max_overlap: f32) -> bool {
    if a.0.intersection(b.0) <= 0.0 {
        return false;
    }
    let area = a.0.area().max(b.0.area());
    a.0.iou(b.0) > max_overlap || keypoint_similarity(a.1, b.1, area, 1.0).is_some_and(|s| s > SAME_POSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_of_boxes() {
        let a = Rect::new(0.0, 0.0, 10.0, 10.0);
        assert!((a.iou(&Rect::new(5.0, 0.0, 15.0, 10.0)) - 1.0 / 3.0).abs() < 1e-6);
        assert_eq!(a.iou(&Rect::new(20.0, 0.0, 30.0, 10.0)), 0.0);
        let empty = Rect::new(3.0, 3.0, 3.0, 3.0);
        assert_eq!(empty.iou(&empty), 0.0, "no division by zero");
    }

    #[test]
    fn similarity_needs_three_shared_key_points() {
        let found = Keypoint { x: 5.0, y: 5.0, score: 0.9 };
        let mut a = [Keypoint::default(); KEYPOINTS];
        a[5] = found;
        a[6] = found;
        assert_eq!(keypoint_similarity(&a, &a, 100.0, 1.0), None);
        a[11] = found;
        assert_eq!(keypoint_similarity(&a, &a, 100.0, 1.0), Some(1.0));
        assert_eq!(keypoint_similarity(&a, &a, 0.0, 1.0), Some(0.0), "a person without area is like nobody");
    }
}
