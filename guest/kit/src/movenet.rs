//! MoveNet MultiPose: people out of its raw heads.
//!
//! The network (Google, Apache-2.0) is a CenterNet: one heat map says where the centres of people are, and further maps, read at a
//! centre, give its box and a coarse position of each of 17 COCO key points. A key point's final position is the best cell of its own
//! heat map under a Gaussian around that coarse position, limited to the person's box. Only the network's heads are exported, not the
//! decoding that its authors put into the graph, so there is no limit of six people.

mod boxes;
mod letterbox;

pub use boxes::{Keypoint, Rect, keypoint_similarity, same_person};
pub use letterbox::{Letterbox, input_size};

use thiserror::Error;

/// COCO key points of a person, in COCO's order: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles, left before right.
pub const KEYPOINTS: usize = 17;
/// Pixels of the network's input for one cell of its heads.
pub const STRIDE: f32 = 4.0;
/// Centres looked at in one frame, the strongest first.
const MAX_CENTERS: usize = 100;

/// Why a network's output could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// A tensor does not have the number of values that its shape asks for.
    #[error("output `{name}` has {found} values where {expected} are needed: check that the model's file is the one of the catalog")]
    Values {
        /// Name of the network's output.
        name: &'static str,
        /// Values that the shape asks for.
        expected: usize,
        /// Values that are there.
        found: usize,
    },
    /// A frame or person was asked for that the tensors do not hold.
    #[error("entry {index} was asked for, but the outputs hold {len}")]
    Index {
        /// What was asked for, counted from 0.
        index: usize,
        /// How many there are.
        len: usize,
    },
}

/// Fails unless `values` has `expected` elements.
pub(crate) fn expect_len(name: &'static str, values: &[f32], expected: Option<usize>) -> Result<(), DecodeError> {
    match expected {
        Some(n) if n == values.len() => Ok(()),
        _ => Err(DecodeError::Values { name, expected: expected.unwrap_or(usize::MAX), found: values.len() }),
    }
}

/// The six heads as they come from the network, each `[N, channels, H/4, W/4]`, row-major. Offsets and sizes are in cells, y before x.
#[derive(Debug, Clone, Copy)]
pub struct HeadTensors<'a> {
    /// 1 channel: how likely a cell holds the centre of a person, 0..=1.
    pub center: &'a [f32],
    /// 2 channels: height and width of the box.
    pub box_scale: &'a [f32],
    /// 2 channels: from the cell to the centre of the box.
    pub box_offset: &'a [f32],
    /// 34 channels: from the cell to each key point, coarse.
    pub kpt_regress: &'a [f32],
    /// 17 channels: how likely a cell holds the key point, of anyone, 0..=1.
    pub kpt_heatmap: &'a [f32],
    /// 34 channels: from a key point's cell to its exact position.
    pub kpt_offset: &'a [f32],
}

/// Heads whose sizes have been checked.
#[derive(Debug, Clone, Copy)]
pub struct Heads<'a> {
    frames: usize,
    height: usize,
    width: usize,
    tensors: HeadTensors<'a>,
}

/// What to take for a person.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DetectOptions {
    /// Centres must score above this, 0..=1.
    pub min_score: f32,
    /// Of two boxes that overlap by more than this (intersection over union) the weaker one is dropped.
    pub max_overlap: f32,
    /// People of a frame, the strongest first.
    pub limit: usize,
}

impl Default for DetectOptions {
    fn default() -> Self {
        Self { min_score: 0.3, max_overlap: 0.5, limit: 64 }
    }
}

/// One person that the detector found, in pixels of the frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    /// Score of the centre, 0..=1.
    pub score: f32,
    /// The person's box; it may reach beyond the frame.
    pub bbox: Rect,
    /// Key points in COCO's order.
    pub keypoints: [Keypoint; KEYPOINTS],
}

/// A centre that passed the threshold: its cell, and its box in cells.
struct Center {
    score: f32,
    cell: (usize, usize),
    cells: Rect,
}

impl<'a> Heads<'a> {
    /// Heads of `frames` frames on a grid of `height` x `width` cells.
    ///
    /// # Errors
    /// [`DecodeError::Values`] names the head whose length does not fit the shape.
    pub fn new(frames: usize, height: usize, width: usize, tensors: HeadTensors<'a>) -> Result<Self, DecodeError> {
        let cells = height.checked_mul(width).and_then(|n| n.checked_mul(frames));
        for (name, values, channels) in [
            ("center", tensors.center, 1),
            ("box_scale", tensors.box_scale, 2),
            ("box_offset", tensors.box_offset, 2),
            ("kpt_regress", tensors.kpt_regress, 2 * KEYPOINTS),
            ("kpt_heatmap", tensors.kpt_heatmap, KEYPOINTS),
            ("kpt_offset", tensors.kpt_offset, 2 * KEYPOINTS),
        ] {
            expect_len(name, values, cells.and_then(|n| n.checked_mul(channels)))?;
        }
        Ok(Self { frames, height, width, tensors })
    }

    /// How many frames the heads hold.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// The people of one frame (counted from 0 within the tensors), strongest first, in pixels of the video's frame. `map` says how the
    /// network's input was made of that frame.
    ///
    /// # Errors
    /// [`DecodeError::Index`] if there is no such frame.
    pub fn decode(&self, frame: usize, map: &Letterbox, options: &DetectOptions) -> Result<Vec<Detection>, DecodeError> {
        if frame >= self.frames {
            return Err(DecodeError::Index { index: frame, len: self.frames });
        }
        let mut people: Vec<Detection> = Vec::new();
        let mut kept: Vec<Rect> = Vec::new();
        for center in self.centers(frame, options.min_score) {
            if people.len() >= options.limit {
                break;
            }
            let bbox = map.rect_to_frame(&center.cells.scaled(STRIDE));
            // Boxes are compared before key points are read: reading them is the costly part.
            if !bbox.is_finite() || kept.iter().any(|k| k.iou(&bbox) > options.max_overlap) {
                continue;
            }
            kept.push(bbox);
            if let Some(keypoints) = self.keypoints(frame, &center, map) {
                people.push(Detection { score: center.score, bbox, keypoints });
            }
        }
        Ok(people)
    }

    /// Local maxima of the centre map above `min_score`, strongest first.
    fn centers(&self, frame: usize, min_score: f32) -> Vec<Center> {
        let map = self.plane(self.tensors.center, 1, frame, 0);
        let mut found: Vec<(f32, usize, usize)> = Vec::new();
        for (y, row) in map.chunks_exact(self.width.max(1)).enumerate() {
            for (x, &score) in row.iter().enumerate() {
                if score > min_score && self.is_peak(map, y, x, score) {
                    found.push((score, y, x));
                }
            }
        }
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        found.truncate(MAX_CENTERS);
        found
            .into_iter()
            .map(|(score, y, x)| {
                let at = |head, channel| self.plane(head, 2, frame, channel)[y * self.width + x];
                let (h, w) = (at(self.tensors.box_scale, 0).max(0.0), at(self.tensors.box_scale, 1).max(0.0));
                let (cy, cx) = (y as f32 + at(self.tensors.box_offset, 0), x as f32 + at(self.tensors.box_offset, 1));
                Center { score, cell: (y, x), cells: Rect::new(cx - w / 2.0, cy - h / 2.0, cx + w / 2.0, cy + h / 2.0) }
            })
            .collect()
    }

    /// Whether nothing within two cells is stronger.
    fn is_peak(&self, map: &[f32], y: usize, x: usize, score: f32) -> bool {
        let rows = y.saturating_sub(2)..(y + 3).min(self.height);
        let (left, right) = (x.saturating_sub(2), (x + 3).min(self.width));
        rows.into_iter().all(|r| map[r * self.width + left..r * self.width + right].iter().all(|&v| v.is_nan() || v <= score))
    }

    /// The key points of the person at `center`; `None` if its box holds no cell.
    fn keypoints(&self, frame: usize, center: &Center, map: &Letterbox) -> Option<[Keypoint; KEYPOINTS]> {
        let (cell_y, cell_x) = center.cell;
        let cells = |low: f32, high: f32, end: usize| {
            let first = low.clamp(0.0, end as f32).ceil() as usize;
            first..(high.clamp(0.0, end as f32).ceil() as usize).min(end)
        };
        let (ys, xs) = (cells(center.cells.y0, center.cells.y1, self.height), cells(center.cells.x0, center.cells.x1, self.width));
        if ys.is_empty() || xs.is_empty() {
            return None;
        }
        // The variance is the graph's own: 0.15 of the shorter side of the grid, in cells.
        let spread = 0.3 * self.height.min(self.width) as f64;
        let mut weights = (vec![0.0f64; ys.len()], vec![0.0f64; xs.len()]);
        let mut keypoints = [Keypoint::default(); KEYPOINTS];
        for (joint, keypoint) in keypoints.iter_mut().enumerate() {
            let coarse = |c: usize| f64::from(self.plane(self.tensors.kpt_regress, 2 * KEYPOINTS, frame, c)[cell_y * self.width + cell_x]);
            let (ry, rx) = (cell_y as f64 + coarse(2 * joint), cell_x as f64 + coarse(2 * joint + 1));
            // The Gaussian is the product of one along y and one along x.
            weights.0.iter_mut().zip(ys.clone()).for_each(|(w, y)| *w = (-(y as f64 - ry).powi(2) / spread).exp());
            weights.1.iter_mut().zip(xs.clone()).for_each(|(w, x)| *w = (-(x as f64 - rx).powi(2) / spread).exp());
            let heat = self.plane(self.tensors.kpt_heatmap, KEYPOINTS, frame, joint);
            let (mut best, mut cell) = (f64::NEG_INFINITY, (ys.start, xs.start));
            for (y, wy) in ys.clone().zip(&weights.0) {
                let row = &heat[y * self.width + xs.start..y * self.width + xs.end];
                for ((x, wx), &h) in xs.clone().zip(&weights.1).zip(row) {
                    let h = f64::from(h);
                    // The weights are at most 1, so a cell that is not above the best already cannot win.
                    if h > best && h * wy * wx > best {
                        (best, cell) = (h * wy * wx, (y, x));
                    }
                }
            }
            let exact = |c: usize| self.plane(self.tensors.kpt_offset, 2 * KEYPOINTS, frame, c)[cell.0 * self.width + cell.1];
            let at = [(cell.1 as f32 + exact(2 * joint + 1)) * STRIDE, (cell.0 as f32 + exact(2 * joint)) * STRIDE];
            let [x, y] = map.to_frame(at);
            // A position that is no number is a key point that was not found.
            let found = x.is_finite() && y.is_finite() && best.is_finite();
            *keypoint = if found { Keypoint { x, y, score: best.clamp(0.0, 1.0) as f32 } } else { Keypoint::default() };
        }
        Some(keypoints)
    }

    /// One channel of one frame of a head.
    fn plane(&self, head: &'a [f32], channels: usize, frame: usize, channel: usize) -> &'a [f32] {
        let cells = self.height * self.width;
        let start = (frame * channels + channel) * cells;
        &head[start..start + cells]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_of_the_wrong_length_is_named() {
        let (one, two, many) = (vec![0.0; 16], vec![0.0; 32], vec![0.0; 16 * 34]);
        let tensors =
            HeadTensors { center: &one, box_scale: &two, box_offset: &two, kpt_regress: &many, kpt_heatmap: &one, kpt_offset: &many };
        let error = Heads::new(1, 4, 4, tensors).unwrap_err();
        assert_eq!(error, DecodeError::Values { name: "kpt_heatmap", expected: 16 * 17, found: 16 });
        assert!(Heads::new(usize::MAX, 4, 4, tensors).is_err(), "an overflowing shape is an error, not a panic");
    }
}
