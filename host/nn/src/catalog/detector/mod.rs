//! How an ONNX model is used as a detector of people: what goes in, and how boxes and scores come out.
//!
//! `docs/hmr2.md` has the table `[model.detector]` for those who write one.

mod check;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use halfpipe_core::{Fit, Size};
use serde::Deserialize;

use crate::image::{ChannelOrder, PixelLayout};

pub(super) use check::check;

/// People of a picture at most, where an entry does not say.
const MOST: u32 = 64;

/// The table `[model.detector]`. Its normalisation is the model's `mean` and `std`; an input of u8 has none.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectorEntry {
    /// The input that takes the picture, f32, f16 or u8.
    pub input: String,
    /// Order of its dimensions. How many pictures it takes a call is its first dimension, or one where the layout has none.
    #[serde(default)]
    pub layout: PixelLayout,
    /// Order of its channels.
    #[serde(default)]
    pub channels: ChannelOrder,
    /// How a frame fills it.
    #[serde(deserialize_with = "fit")]
    pub fit: Fit,
    /// What is around the frame, before normalisation; black where not given.
    #[serde(default)]
    fill: Option<Fill>,
    /// Which pictures it takes.
    pub size: InputSize,
    /// What the model's other inputs are given, by their names.
    #[serde(default)]
    pub other_inputs: BTreeMap<String, InputValue>,
    /// Candidates below this score are usually dropped, 0 to 1.
    pub score: f32,
    /// Of two boxes whose intersection over union is above this one is the same person's, 0 to 1.
    pub overlap: f32,
    /// People of a picture at most, the surest.
    #[serde(default = "most")]
    pub most: u32,
    /// What its outputs are.
    pub heads: Heads,
}

impl DetectorEntry {
    /// Red, green and blue around the frame, 0 to 255.
    #[must_use]
    pub fn fill(&self) -> [u8; 3] {
        match self.fill {
            None => [0; 3],
            Some(Fill::Grey(level)) => [level; 3],
            Some(Fill::Rgb(levels)) => levels,
        }
    }
}

/// A colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "`fill` is a level of grey, 0 to 255, or [red, green, blue]")]
enum Fill {
    Grey(u8),
    Rgb([u8; 3]),
}

/// Which pictures a detector takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum InputSize {
    /// One size only.
    Fixed {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// Any width and height that are multiples of a number.
    Flexible {
        /// What width and height must be multiples of.
        multiple: u32,
        /// Length of the longer side that is usual, pixels.
        long_side: u32,
    },
}

impl InputSize {
    /// The one size, where there is only one.
    #[must_use]
    pub const fn fixed(self) -> Option<Size> {
        match self {
            Self::Fixed { width, height } => Some(Size::new(width, height)),
            Self::Flexible { .. } => None,
        }
    }
}

/// What an input beside the picture is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputValue {
    /// 1 everywhere. Free dimensions are the number of pictures, and last the picture's height and width.
    Ones,
    /// The picture's height and width, `[n, 2]` or `[2]`.
    HeightWidth,
    /// The picture's width and height, `[n, 2]` or `[2]`.
    WidthHeight,
}

/// What the four numbers of a box are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BoxFormat {
    /// Left, top, right, bottom.
    Xyxy,
    /// Top, left, bottom, right.
    Yxyx,
    /// Left, top, width, height.
    Xywh,
    /// Centre x, centre y, width, height.
    Cxcywh,
}

/// Units of a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BoxUnits {
    /// Pixels of the network's input.
    Pixels,
    /// Fractions of the input's width and height.
    Normalized,
}

/// What a candidate's score is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScoreKind {
    /// One number, of the class that `classes` names, or of a person where there are no classes.
    Single,
    /// One number a class.
    PerClass,
}

/// What the numbers of a score are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScoreForm {
    /// 0 to 1.
    #[default]
    Probability,
    /// Any number; 1 / (1 + e^-x) is the probability.
    Logit,
    /// One number a class; the softmax over all of them is the probability. Objectness beside it is a logit.
    Softmax,
}

/// Where an output has its candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CandidateAxis {
    /// `[n, candidates, columns]`.
    #[default]
    First,
    /// `[n, columns, candidates]`.
    Last,
}

/// What an output says of each candidate: some of its columns, written as `"output"` or as a table.
///
/// Outputs are `[n, candidates, columns]`. The first dimension is left out by networks that take one picture a call or say of each row
/// which picture it is of, and the last one by outputs with one column, which have one dimension less than that of the boxes. A
/// fourth dimension before these must be 1.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "ColumnsForm")]
pub struct Columns {
    /// Name of the output.
    pub output: String,
    /// The first column that counts, from 0.
    pub column: u32,
    /// Where the candidates are.
    pub candidates: CandidateAxis,
}

/// How [`Columns`] are written.
#[derive(Deserialize)]
#[serde(untagged, expecting = "the name of an output, or { output = \"name\", column = 0, candidates = \"first\" or \"last\" }")]
enum ColumnsForm {
    Whole(String),
    Part(Part),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    output: String,
    #[serde(default)]
    column: u32,
    #[serde(default)]
    candidates: CandidateAxis,
}

impl From<ColumnsForm> for Columns {
    fn from(form: ColumnsForm) -> Self {
        match form {
            ColumnsForm::Whole(output) => Self { output, column: 0, candidates: CandidateAxis::First },
            ColumnsForm::Part(Part { output, column, candidates }) => Self { output, column, candidates },
        }
    }
}

/// A detector that gives boxes with scores, each in an output of its own or as columns of one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoxHeads {
    /// Four columns.
    pub boxes: Columns,
    /// What the four numbers are.
    pub format: BoxFormat,
    /// Their units.
    pub units: BoxUnits,
    /// Where not empty, boxes are YOLOX's raw ones: the centre in cells from the corner of the candidate's own cell, width and
    /// height as logarithms of cells. Sides of a cell, pixels: one grid a number, its cells row by row, one grid after the other.
    #[serde(default)]
    pub grids: Vec<u32>,
    /// One column, or one a class.
    pub scores: Columns,
    /// What a score is.
    pub score_kind: ScoreKind,
    /// What its numbers are.
    #[serde(default)]
    pub score_form: ScoreForm,
    /// Number of classes, where further columns follow them; with scores per class only.
    #[serde(default)]
    pub class_count: Option<u32>,
    /// One column: how sure it is that there is anything. The score is multiplied by it.
    #[serde(default)]
    pub objectness: Option<Columns>,
    /// One column: the class as a number; with single scores only.
    #[serde(default)]
    pub classes: Option<Columns>,
    /// One column: which picture of the run a row is of, counted from 0. Rows of all pictures are then in one list.
    #[serde(default)]
    pub frames: Option<Columns>,
    /// An output `[n]`, `[n, 1]` or of one number: how many candidates of a picture count, from the first on.
    #[serde(default)]
    pub count: Option<String>,
    /// The class that means a person, counted from 0.
    pub person: u32,
    /// Whether the network has already dropped boxes that overlap a better one.
    pub suppressed: bool,
}

/// What a detector's outputs are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Heads {
    /// Boxes and scores of candidates.
    Boxes(Box<BoxHeads>),
    /// The six raw heads of MoveNet MultiPose, under their own names.
    Movenet,
}

const fn most() -> u32 {
    MOST
}

fn fit<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Fit, D::Error> {
    /// The core's type under the catalog's names.
    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case", remote = "Fit")]
    enum Named {
        LetterboxCorner,
        LetterboxCenter,
        Stretch,
    }
    Named::deserialize(from)
}
