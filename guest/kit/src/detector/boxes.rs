//! Boxes and scores of candidates, in pixels of the frame.

use super::columns::{Columns, Output, Table};
use super::{DetectError, PersonBox, merge};
use crate::movenet::{Letterbox, Rect};

/// How far a score may lie outside of 0 to 1 and count as rounding.
const SLACK: f32 = 1e-3;

/// What the four numbers of a box are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoxFormat {
    /// Left, top, right, bottom.
    Xyxy,
    /// Top, left, bottom, right.
    Yxyx,
    /// Left, top, width, height.
    Xywh,
    /// Centre x, centre y, width, height.
    CxCyWh,
}

/// Units of a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoxUnits {
    /// Pixels of the network's input.
    Pixels,
    /// Fractions of the input's width and height.
    Normalized,
}

/// What a candidate's score is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScoreKind {
    /// One number, of the class that `classes` names, or of a person where there are no classes.
    Single,
    /// One number a class.
    PerClass {
        /// Number of classes; none where every further column is one.
        classes: Option<usize>,
    },
}

/// What the numbers of a score are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScoreForm {
    /// 0 to 1.
    Probability,
    /// Any number; 1 / (1 + e^-x) is the probability.
    Logit,
    /// One number a class; the softmax over all of them is the probability. Objectness beside it is a logit.
    Softmax,
}

/// What a detector's outputs mean.
#[derive(Debug, Clone, PartialEq)]
pub struct BoxContract {
    /// Order of a box's numbers.
    pub format: BoxFormat,
    /// Unit of a box's numbers.
    pub units: BoxUnits,
    /// Where not empty, boxes are YOLOX's raw ones (Ge et al. 2021): the centre in cells from the corner of the candidate's own cell, width
    /// and height as logarithms of cells. Sides of a cell, pixels: one grid a number, its cells row by row, one grid after the other.
    pub grids: Vec<u32>,
    /// What a score is.
    pub score_kind: ScoreKind,
    /// What its numbers are.
    pub score_form: ScoreForm,
    /// The class that means a person, counted from 0.
    pub person: usize,
    /// The network has already dropped boxes that overlap a better one.
    pub suppressed: bool,
}

/// A detector's outputs.
#[derive(Debug, Clone, Copy)]
pub struct BoxOutputs<'a> {
    /// Four columns.
    pub boxes: Columns<'a>,
    /// One column, or one a class.
    pub scores: Columns<'a>,
    /// One column: how sure it is that there is anything. The score is multiplied by it.
    pub objectness: Option<Columns<'a>>,
    /// One column: the class as a number.
    pub classes: Option<Columns<'a>>,
    /// One column: which picture of the run a row is of, counted from 0. Rows of all pictures are then in one list.
    pub frames: Option<Columns<'a>>,
    /// How many candidates of a picture count, from the first on: a number a picture.
    pub count: Option<Output<'a>>,
}

/// What to take for a person.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoxOptions {
    /// Candidates must score above this, 0..=1.
    pub min_score: f32,
    /// Of two boxes that overlap by more than this (intersection over union) the weaker one is dropped.
    pub max_overlap: f32,
    /// People of a frame, the strongest first.
    pub limit: usize,
}

/// Outputs whose shapes have been checked.
#[derive(Debug, Clone)]
pub struct Boxes<'a> {
    contract: &'a BoxContract,
    /// Frames of the run.
    frames: usize,
    input: (u32, u32),
    boxes: Table<'a>,
    scores: Table<'a>,
    /// Columns of scores that are classes.
    classes_scored: usize,
    objectness: Option<Table<'a>>,
    classes: Option<Table<'a>>,
    /// Which frame a row is of, where rows are in one list.
    rows: Option<Table<'a>>,
    count: Option<&'a [f32]>,
}

impl<'a> Boxes<'a> {
    /// Outputs of a run of `frames` frames. `input` is the input's width and height.
    ///
    /// # Errors
    /// [`DetectError`] that names the output which does not fit, and how.
    pub fn new(contract: &'a BoxContract, frames: usize, input: (u32, u32), outputs: &BoxOutputs<'a>) -> Result<Self, DetectError> {
        let rank = outputs.boxes.output.dims.len();
        let listed = outputs.frames.is_some();
        let boxes = outputs.boxes.table(rank, 4)?;
        // one list of rows has no dimension of frames, but perhaps one of 1
        let expected = if listed { 1 } else { frames };
        let table = |columns: &Columns<'a>, width: usize| {
            let table = columns.table(rank, width)?;
            let fits = table.frames == expected && table.candidates == boxes.candidates;
            let wanted = || columns.output.shape(format!("that of {expected} times {} candidates", boxes.candidates));
            if fits { Ok(table) } else { Err(wanted()) }
        };
        table(&outputs.boxes, 4)?;
        let one = |columns: &Option<Columns<'a>>| columns.as_ref().map(|c| table(c, 1)).transpose();
        let scores = table(&outputs.scores, 1)?;
        let classes_scored = match contract.score_kind {
            ScoreKind::Single => 1,
            ScoreKind::PerClass { classes } => {
                let classes = classes.unwrap_or(scores.columns);
                table(&outputs.scores, classes)?;
                if contract.person >= classes {
                    return Err(DetectError::Class { person: contract.person, classes });
                }
                classes
            }
        };
        let cells = cells(&contract.grids, input);
        if !contract.grids.is_empty() && cells != boxes.candidates {
            return Err(DetectError::Cells { grids: contract.grids.clone(), cells, candidates: boxes.candidates });
        }
        let count = outputs.count.map(|count| {
            count.check_len()?;
            if count.values.len() == frames { Ok(count.values) } else { Err(count.shape(format!("a number for each of {frames} frames"))) }
        });
        Ok(Self {
            contract,
            frames,
            input,
            boxes,
            scores,
            classes_scored,
            objectness: one(&outputs.objectness)?,
            classes: one(&outputs.classes)?,
            rows: one(&outputs.frames)?,
            count: count.transpose()?,
        })
    }

    /// The people of one frame, the strongest first. `map` is how the frame lies in the input.
    ///
    /// # Errors
    /// [`DetectError::Frame`] where there is no such frame, [`DetectError::Score`] where a score is none (logits, per cent).
    pub fn decode(&self, frame: usize, map: &Letterbox, options: &BoxOptions) -> Result<Vec<PersonBox>, DetectError> {
        if frame >= self.frames {
            return Err(DetectError::Frame { index: frame, len: self.frames });
        }
        // a negative count, or one that is no number, is 0
        let rows = self.count.map_or(self.boxes.candidates, |count| (count[frame] as usize).min(self.boxes.candidates));
        let mut found = Vec::new();
        for row in 0..rows {
            let table = match &self.rows {
                Some(of) if of.get(0, row, 0) != frame as f32 => continue,
                Some(_) => 0,
                None => frame,
            };
            let Some(score) = self.score(table, row).filter(|s| *s > options.min_score) else { continue };
            if score > 1.0 + SLACK {
                return Err(DetectError::Score { score: score.to_string() });
            }
            let bbox = map.rect_to_frame(&self.rect(table, row));
            if bbox.is_finite() && bbox.area() > 0.0 {
                found.push(PersonBox { score: score.min(1.0), bbox, keypoints: None });
            }
        }
        // nothing overlaps by more than everything
        let max_overlap = if self.contract.suppressed { f32::INFINITY } else { options.max_overlap };
        Ok(merge(found, max_overlap, options.limit))
    }

    /// How sure it is that a candidate is a person; none where it is something else.
    fn score(&self, frame: usize, row: usize) -> Option<f32> {
        let person = self.contract.person;
        if self.classes.is_some_and(|classes| classes.get(frame, row, 0) != person as f32) {
            return None;
        }
        let column = match self.contract.score_kind {
            ScoreKind::Single => 0,
            ScoreKind::PerClass { .. } => person,
        };
        let number = self.scores.get(frame, row, column);
        let score = match self.contract.score_form {
            ScoreForm::Probability => number,
            ScoreForm::Logit => sigmoid(number),
            ScoreForm::Softmax => {
                // every class over the person's, so that no exponential overflows into a quotient of infinities
                let over = |class: usize| (self.scores.get(frame, row, class) - number).exp();
                (0..self.classes_scored).map(over).sum::<f32>().recip()
            }
        };
        let objectness = self.objectness.map_or(1.0, |table| match self.contract.score_form {
            ScoreForm::Probability => table.get(frame, row, 0),
            ScoreForm::Logit | ScoreForm::Softmax => sigmoid(table.get(frame, row, 0)),
        });
        Some(score * objectness)
    }

    /// A candidate's box in pixels of the input.
    fn rect(&self, frame: usize, row: usize) -> Rect {
        let mut b: [f32; 4] = std::array::from_fn(|i| self.boxes.get(frame, row, i));
        if let Some(cell) = self.cell(row) {
            b = [(b[0] + cell.column) * cell.side, (b[1] + cell.row) * cell.side, b[2].exp() * cell.side, b[3].exp() * cell.side];
        }
        let rect = match self.contract.format {
            BoxFormat::Xyxy => Rect::new(b[0], b[1], b[2], b[3]),
            BoxFormat::Yxyx => Rect::new(b[1], b[0], b[3], b[2]),
            BoxFormat::Xywh => Rect::new(b[0], b[1], b[0] + b[2], b[1] + b[3]),
            BoxFormat::CxCyWh => Rect::new(b[0] - b[2] / 2.0, b[1] - b[3] / 2.0, b[0] + b[2] / 2.0, b[1] + b[3] / 2.0),
        };
        match self.contract.units {
            BoxUnits::Pixels => rect,
            BoxUnits::Normalized => {
                let (w, h) = (self.input.0 as f32, self.input.1 as f32);
                Rect::new(rect.x0 * w, rect.y0 * h, rect.x1 * w, rect.y1 * h)
            }
        }
    }

    /// The cell that a candidate belongs to; none where there are no grids.
    fn cell(&self, row: usize) -> Option<Cell> {
        let mut before = 0;
        for side in &self.contract.grids {
            let (across, down) = ((self.input.0 / side) as usize, (self.input.1 / side) as usize);
            let within = row - before;
            if within < across * down {
                return Some(Cell { column: (within % across) as f32, row: (within / across) as f32, side: *side as f32 });
            }
            before += across * down;
        }
        None
    }
}

/// A cell of a grid over the input.
struct Cell {
    column: f32,
    row: f32,
    /// Pixels.
    side: f32,
}

fn cells(grids: &[u32], (width, height): (u32, u32)) -> usize {
    grids.iter().filter(|side| **side > 0).map(|side| (width / side) as usize * (height / side) as usize).sum()
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests;
