//! People out of any detector that the catalog describes: boxes with scores and perhaps classes, in outputs of many forms.
//!
//! The contract mirrors the record `detector` of the catalog interface. MoveNet's own heads have a decoder of their own
//! ([`crate::movenet`]), whose detections are people as well.

mod boxes;
mod columns;

pub use boxes::{BoxContract, BoxFormat, BoxOptions, BoxOutputs, BoxUnits, Boxes, ScoreForm, ScoreKind};
pub use columns::{Columns, Output};

use thiserror::Error;

use crate::movenet::{Detection, KEYPOINTS, Keypoint, Rect, same_person};

/// Why a detector's outputs could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DetectError {
    /// An output has other dimensions than its entry says.
    #[error("output `{name}` has the shape {dims:?}, not {wanted}: correct the detector's catalog entry")]
    Shape {
        /// Name of the output.
        name: String,
        /// Its dimensions.
        dims: Vec<usize>,
        /// What is needed.
        wanted: String,
    },
    /// An output ends before a column that it should have.
    #[error("output `{name}` has {columns} columns, but column {column} is asked for: correct the detector's catalog entry")]
    Column {
        /// Name of the output.
        name: String,
        /// Columns that are there.
        columns: usize,
        /// The column, counted from 0.
        column: usize,
    },
    /// The class that means a person is none of the network's.
    #[error("the person's class is {person}, but there are scores of {classes} classes: correct the detector's catalog entry")]
    Class {
        /// The catalog's number of the class.
        person: usize,
        /// Classes that have scores.
        classes: usize,
    },
    /// Grids that do not have a cell for each candidate.
    #[error("grids of {grids:?} pixels have {cells} cells, but there are {candidates} candidates: correct the detector's catalog entry")]
    Cells {
        /// Sides of a cell, pixels.
        grids: Vec<u32>,
        /// Cells of all grids.
        cells: usize,
        /// Candidates of a picture.
        candidates: usize,
    },
    /// A number where a probability should be.
    #[error("a score is {score}, which is not within 0 to 1: give the detector's catalog entry its `score_form`")]
    Score {
        /// The number.
        score: String,
    },
    /// A frame was asked for that the outputs do not hold.
    #[error("frame {index} was asked for, but the outputs are of {len}")]
    Frame {
        /// What was asked for, counted from 0.
        index: usize,
        /// How many there are.
        len: usize,
    },
}

/// Somebody in a frame, whatever found them.
#[derive(Debug, Clone, PartialEq)]
pub struct PersonBox {
    /// How sure it is, 0..=1.
    pub score: f32,
    /// The person's box, pixels of the frame; it may reach beyond it.
    pub bbox: Rect,
    /// COCO key points, where the detector gives any.
    pub keypoints: Option<[Keypoint; KEYPOINTS]>,
}

impl PersonBox {
    /// The key points as the pose file has them: `[x, y, score]`; empty where there are none.
    #[must_use]
    pub fn keypoint_list(&self) -> Vec<[f32; 3]> {
        self.keypoints.iter().flatten().map(|k| [k.x, k.y, k.score]).collect()
    }
}

impl From<Detection> for PersonBox {
    fn from(d: Detection) -> Self {
        Self { score: d.score, bbox: d.bbox, keypoints: Some(d.keypoints) }
    }
}

/// Joins people of one frame, perhaps found at several input sizes: of two that are the same person (boxes overlap by more than
/// `max_overlap`, or key points coincide) the surer one stays. The surest first, at most `limit`.
#[must_use]
pub fn merge(mut found: Vec<PersonBox>, max_overlap: f32, limit: usize) -> Vec<PersonBox> {
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept: Vec<PersonBox> = Vec::new();
    for person in found {
        if kept.len() >= limit {
            break;
        }
        let keypoints = person.keypoints.unwrap_or_default();
        let same = |k: &PersonBox| same_person((&k.bbox, &k.keypoints.unwrap_or_default()), (&person.bbox, &keypoints), max_overlap);
        if person.bbox.is_finite() && !kept.iter().any(same) {
            kept.push(person);
        }
    }
    kept
}
