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

use std::ops::Range;

use thiserror::Error;

use crate::planes::{Planes, Slice, read};

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

/// The six heads of a run, each `[N, channels, H/4, W/4]`. Offsets and sizes are in cells, y before x.
///
/// | output | channels | |
/// |---|---|---|
/// | `center` | 1 | how likely a cell holds the centre of a person, 0..=1 |
/// | `box_scale` | 2 | height and width of the box |
/// | `box_offset` | 2 | from the cell to the centre of the box |
/// | `kpt_regress` | 34 | from the cell to each key point, coarse |
/// | `kpt_heatmap` | 17 | how likely a cell holds the key point, of anyone, 0..=1 |
/// | `kpt_offset` | 34 | from a key point's cell to its exact position |
///
/// Of `center` a frame is read whole, of the others what lies at and around people.
#[derive(Debug, Clone, Copy)]
pub struct Heads<'a, P> {
    frames: usize,
    height: usize,
    width: usize,
    planes: &'a P,
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

/// A centre that passed the threshold: its cell, its box in cells, and the cells within that.
struct Center {
    score: f32,
    cell: Cell,
    cells: Rect,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Center {
    fn is_empty(&self) -> bool {
        self.rows.is_empty() || self.columns.is_empty()
    }
}

/// Row and column.
type Cell = (usize, usize);
/// A score, and the cell that has it.
type Best = (f64, Cell);

impl<'a, P: Planes> Heads<'a, P> {
    /// Heads of `frames` frames on a grid of `height` x `width` cells.
    pub const fn new(frames: usize, height: usize, width: usize, planes: &'a P) -> Self {
        Self { frames, height, width, planes }
    }

    /// The people of one frame (counted from 0 within the run), strongest first, in pixels of the video's frame. `map` says how the
    /// network's input was made of that frame.
    ///
    /// # Errors
    /// [`DecodeError::Index`] if there is no such frame, [`DecodeError::Values`] if the heads do not fit; those of reading them.
    pub fn decode(&self, frame: usize, map: &Letterbox, options: &DetectOptions) -> Result<Vec<Detection>, P::Error> {
        if frame >= self.frames {
            return Err(self.planes.misfit(DecodeError::Index { index: frame, len: self.frames }));
        }
        let mut kept: Vec<(Center, Rect)> = Vec::new();
        for center in self.centers(frame, options.min_score)? {
            if kept.len() >= options.limit {
                break;
            }
            let bbox = map.rect_to_frame(&center.cells.scaled(STRIDE));
            // boxes are compared before key points are read: reading them is the costly part
            let known = kept.iter().any(|(_, k)| k.iou(&bbox) > options.max_overlap);
            if bbox.is_finite() && !known && !center.is_empty() {
                kept.push((center, bbox));
            }
        }
        let centers: Vec<&Center> = kept.iter().map(|(center, _)| center).collect();
        let keypoints = self.keypoints(frame, &centers, map)?;
        let person = |((center, bbox), keypoints): (&(Center, Rect), _)| Detection { score: center.score, bbox: *bbox, keypoints };
        Ok(kept.iter().zip(keypoints).map(person).collect())
    }

    /// Local maxima of the centre map above `min_score`, strongest first.
    fn centers(&self, frame: usize, min_score: f32) -> Result<Vec<Center>, P::Error> {
        if self.height == 0 || self.width == 0 {
            return Ok(Vec::new());
        }
        let map = read(self.planes, "center", &[Slice { plane: frame, rows: 0..self.height, columns: 0..self.width }])?;
        let mut found: Vec<(f32, Cell)> = Vec::new();
        // most rows hold no centre at all
        for (y, row) in map.chunks_exact(self.width).enumerate().filter(|(_, row)| highest(row) > min_score) {
            for (x, &score) in row.iter().enumerate() {
                if score > min_score && self.is_peak(&map, y, x, score) {
                    found.push((score, (y, x)));
                }
            }
        }
        if found.is_empty() {
            return Ok(Vec::new());
        }
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        found.truncate(MAX_CENTERS);
        let cells = found.iter().flat_map(|&(_, (y, x))| [0, 1].map(|channel| Slice::at(frame * 2 + channel, y, x)));
        let cells: Vec<Slice> = cells.collect();
        let (scales, offsets) = (read(self.planes, "box_scale", &cells)?, read(self.planes, "box_offset", &cells)?);
        let boxes = scales.as_chunks::<2>().0.iter().zip(offsets.as_chunks::<2>().0);
        let center = |score: f32, cell: Cell, [h, w]: [f32; 2], [dy, dx]: [f32; 2]| {
            let (h, w, cy, cx) = (h.max(0.0), w.max(0.0), cell.0 as f32 + dy, cell.1 as f32 + dx);
            let cells = Rect::new(cx - w / 2.0, cy - h / 2.0, cx + w / 2.0, cy + h / 2.0);
            let inside = |low: f32, high: f32, end: usize| {
                let first = low.clamp(0.0, end as f32).ceil() as usize;
                first..(high.clamp(0.0, end as f32).ceil() as usize).min(end)
            };
            let (rows, columns) = (inside(cells.y0, cells.y1, self.height), inside(cells.x0, cells.x1, self.width));
            Center { score, cell, cells, rows, columns }
        };
        Ok(found.iter().zip(boxes).map(|(&(score, cell), (scale, offset))| center(score, cell, *scale, *offset)).collect())
    }

    /// Whether nothing within two cells is stronger.
    fn is_peak(&self, map: &[f32], y: usize, x: usize, score: f32) -> bool {
        let rows = y.saturating_sub(2)..(y + 3).min(self.height);
        let (left, right) = (x.saturating_sub(2), (x + 3).min(self.width));
        rows.into_iter().all(|r| map[r * self.width + left..r * self.width + right].iter().all(|&v| v.is_nan() || v <= score))
    }

    /// The key points of the person at each centre.
    fn keypoints(&self, frame: usize, centers: &[&Center], map: &Letterbox) -> Result<Vec<[Keypoint; KEYPOINTS]>, P::Error> {
        if centers.is_empty() {
            return Ok(Vec::new());
        }
        let channels = 2 * KEYPOINTS;
        let coarse = centers.iter().flat_map(|c| (0..channels).map(move |i| Slice::at(frame * channels + i, c.cell.0, c.cell.1)));
        let coarse = read(self.planes, "kpt_regress", &coarse.collect::<Vec<_>>())?;
        let mut best = Vec::with_capacity(centers.len());
        for (center, coarse) in centers.iter().zip(coarse.as_chunks::<{ 2 * KEYPOINTS }>().0) {
            best.push(self.best_cells(frame, center, coarse)?);
        }
        let exact = best.iter().flatten().enumerate().flat_map(|(i, &(_, (y, x)))| {
            let plane = frame * channels + 2 * (i % KEYPOINTS);
            [Slice::at(plane, y, x), Slice::at(plane + 1, y, x)]
        });
        let exact = read(self.planes, "kpt_offset", &exact.collect::<Vec<_>>())?;
        let exact = exact.as_chunks::<2>().0.as_chunks::<KEYPOINTS>().0;
        let keypoint = |(score, (y, x)): Best, [dy, dx]: [f32; 2]| {
            let [x, y] = map.to_frame([(x as f32 + dx) * STRIDE, (y as f32 + dy) * STRIDE]);
            // a position that is no number is a key point that was not found
            let found = x.is_finite() && y.is_finite() && score.is_finite();
            if found { Keypoint { x, y, score: score.clamp(0.0, 1.0) as f32 } } else { Keypoint::default() }
        };
        Ok(best.iter().zip(exact).map(|(best, exact)| std::array::from_fn(|joint| keypoint(best[joint], exact[joint]))).collect())
    }

    /// The cell of each key point of the person at `center`, and its score there.
    fn best_cells(&self, frame: usize, center: &Center, coarse: &[f32; 2 * KEYPOINTS]) -> Result<[Best; KEYPOINTS], P::Error> {
        let Center { cell, rows, columns, .. } = center;
        let around = |joint| Slice { plane: frame * KEYPOINTS + joint, rows: rows.clone(), columns: columns.clone() };
        let heat = read(self.planes, "kpt_heatmap", &std::array::from_fn::<_, KEYPOINTS, _>(around))?;
        // the variance is the graph's own: 0.15 of the shorter side of the grid, in cells
        let spread = 0.3 * self.height.min(self.width) as f64;
        let mut weights = (vec![0.0f64; rows.len()], vec![0.0f64; columns.len()]);
        let mut cells = [(f64::NEG_INFINITY, (rows.start, columns.start)); KEYPOINTS];
        for (joint, (heat, best)) in heat.chunks_exact(rows.len() * columns.len()).zip(&mut cells).enumerate() {
            let (ry, rx) = (cell.0 as f64 + f64::from(coarse[2 * joint]), cell.1 as f64 + f64::from(coarse[2 * joint + 1]));
            // the Gaussian is the product of one along y and one along x
            weights.0.iter_mut().zip(rows.clone()).for_each(|(w, y)| *w = (-(y as f64 - ry).powi(2) / spread).exp());
            weights.1.iter_mut().zip(columns.clone()).for_each(|(w, x)| *w = (-(x as f64 - rx).powi(2) / spread).exp());
            // what the row nearest to the coarse position reaches: the best is at least as good, and mostly in one of a few rows
            let near = (ry.max(0.0) as usize).clamp(rows.start, rows.end - 1) - rows.start;
            let weighted =
                heat[near * columns.len()..][..columns.len()].iter().zip(&weights.1).map(|(&h, wx)| f64::from(h) * weights.0[near] * wx);
            let reached = weighted.fold(f64::NEG_INFINITY, f64::max);
            for ((y, wy), row) in rows.clone().zip(&weights.0).zip(heat.chunks_exact(columns.len())) {
                // the weights are at most 1, so a row that nowhere reaches as much cannot win
                let most = f64::from(highest(row)) * wy;
                if most < reached || most <= best.0 {
                    continue;
                }
                for ((x, wx), &h) in columns.clone().zip(&weights.1).zip(row) {
                    let h = f64::from(h);
                    if h > best.0 && h * wy * wx > best.0 {
                        *best = (h * wy * wx, (y, x));
                    }
                }
            }
        }
        Ok(cells)
    }
}

/// The highest of some values, of those that are numbers.
fn highest(values: &[f32]) -> f32 {
    let higher = |high: f32, value: f32| if value > high { value } else { high };
    // four at a time, as vector instructions have them
    let (fours, rest) = values.as_chunks::<4>();
    let high = fours.iter().fold([f32::NEG_INFINITY; 4], |high, four| std::array::from_fn(|i| higher(high[i], four[i])));
    high.iter().chain(rest).fold(f32::NEG_INFINITY, |high, value| higher(high, *value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planes::Whole;

    #[test]
    fn the_highest_is_found_among_numbers_and_others() {
        for n in 0..11u8 {
            let mut values: Vec<f32> = (0..n).map(|i| -f32::from(i)).collect();
            assert_eq!(highest(&values), if n == 0 { f32::NEG_INFINITY } else { 0.0 });
            values.reverse();
            values.insert(n as usize / 2, f32::NAN);
            assert_eq!(highest(&values), if n == 0 { f32::NEG_INFINITY } else { 0.0 });
        }
    }

    #[test]
    fn a_head_of_the_wrong_length_is_named() {
        let (center, one) = (vec![0.9; 16], vec![0.0; 16]);
        let planes = Whole(vec![("center", &center, [4, 4]), ("box_scale", &one, [4, 4])]);
        let map = Letterbox::fit((16, 16), (16, 16));
        let error = Heads::new(1, 4, 4, &planes).decode(0, &map, &DetectOptions::default()).unwrap_err();
        assert!(matches!(error, DecodeError::Values { name: "box_scale", .. }), "{error}");
        let error = Heads::new(1, 4, 4, &planes).decode(1, &map, &DetectOptions::default()).unwrap_err();
        assert_eq!(error, DecodeError::Index { index: 1, len: 1 });
    }
}
