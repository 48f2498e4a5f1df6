//! How an ONNX model is used as a detector of people: what goes in, and how boxes and scores come out.

use halfpipe_core::{Fit, Size};
use serde::Deserialize;

use super::{ModelEntry, PortEntry};
use crate::TensorType;

/// The table `[model.detector]`. Its normalisation is the model's `mean` and `std`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectorEntry {
    /// The input that takes the picture: `[n, 3, height, width]`, f32, RGB.
    pub input: String,
    /// How a frame fills it.
    #[serde(deserialize_with = "fit")]
    pub fit: Fit,
    /// Level of grey around the frame, 0 to 255, before normalisation.
    #[serde(default)]
    pub fill: u8,
    /// Which pictures it takes.
    pub size: InputSize,
    /// Candidates below this score are usually dropped, 0 to 1.
    pub score: f32,
    /// Of two boxes whose intersection over union is above this one is the same person's, 0 to 1.
    pub overlap: f32,
    /// What its outputs are.
    pub heads: Heads,
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

/// What the four numbers of a box are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BoxFormat {
    /// Left, top, right, bottom.
    Xyxy,
    /// Top, left, bottom, right.
    Yxyx,
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
    /// `[n, candidates]`: one number, of the class that `classes` names, or of a person where there are no classes.
    Single,
    /// `[n, candidates, classes]`: one number a class.
    PerClass,
}

/// A detector that gives boxes with scores. Networks that take one picture a call leave out the first dimension.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoxHeads {
    /// Output of the boxes: `[n, candidates, 4]` or `[candidates, 4]`.
    pub boxes: String,
    /// What the four numbers are.
    pub format: BoxFormat,
    /// Their units.
    pub units: BoxUnits,
    /// Output of the scores.
    pub scores: String,
    /// What a score is.
    pub score_kind: ScoreKind,
    /// Output of the classes as numbers, `[n, candidates]`; with single scores only.
    #[serde(default)]
    pub classes: Option<String>,
    /// The class that means a person.
    pub person: u32,
    /// Whether the network has already dropped boxes that overlap a better one.
    pub suppressed: bool,
}

/// What a detector's outputs are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Heads {
    /// Boxes and scores, one row a candidate.
    Boxes(BoxHeads),
    /// The six raw heads of MoveNet MultiPose, under their own names.
    Movenet,
}

/// MoveNet's heads and their channels.
const MOVENET: [(&str, usize); 6] =
    [("center", 1), ("box_scale", 2), ("box_offset", 2), ("kpt_regress", 34), ("kpt_heatmap", 17), ("kpt_offset", 34)];

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

/// Checks a model's detector table against its inputs and outputs; the error is one sentence.
pub(super) fn check(model: &ModelEntry) -> Result<(), String> {
    let Some(detector) = &model.detector else { return Ok(()) };
    detector.fault(model).map_or(Ok(()), |fault| Err(format!("`{}`, detector: {fault}", model.name)))
}

impl DetectorEntry {
    /// What of it cannot be, in one sentence.
    fn fault(&self, model: &ModelEntry) -> Option<String> {
        let Some(input) = model.inputs.iter().find(|p| p.name == self.input) else {
            return Some(format!("there is no input `{}`; it has: {}", self.input, names(&model.inputs)));
        };
        if input.ty != TensorType::F32 || input.dims.len() != 4 || !matches!(input.dims[1], 0 | 3) {
            return Some(format!("the input `{}` is not f32 [n, 3, height, width]", self.input));
        }
        if model.inputs.len() != 1 {
            return Some("a detector has one input, the picture".into());
        }
        if model.normalization().is_none() {
            return Some("it needs the model's `mean` and `std`".into());
        }
        for (key, value) in [("score", self.score), ("overlap", self.overlap)] {
            if !(0.0..=1.0).contains(&value) {
                return Some(format!("`{key}` is {value}, not 0 to 1"));
            }
        }
        self.size.fault(&input.dims[2..]).or_else(|| match &self.heads {
            Heads::Boxes(heads) => heads.fault(&model.outputs),
            Heads::Movenet => MOVENET.iter().find_map(|(name, channels)| {
                let port = match port(&model.outputs, name) {
                    Ok(port) => port,
                    Err(fault) => return Some(fault),
                };
                let fits = port.ty == TensorType::F32 && port.dims.len() == 4 && [0, *channels].contains(&port.dims[1]);
                (!fits).then(|| format!("the output `{name}` is not f32 [n, {channels}, height, width]"))
            }),
        })
    }
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

    /// `dims` are the input's height and width as the catalog states them, 0 where free.
    fn fault(self, dims: &[usize]) -> Option<String> {
        let most = crate::image::MAX_TARGET;
        let side = |value: u32| (1..=most).contains(&value);
        match self {
            Self::Fixed { width, height } if !side(width) || !side(height) => {
                Some(format!("its size is {width}x{height}, not 1 to {most} along each side"))
            }
            Self::Fixed { width, height } => {
                let fits = dims.iter().zip([height, width]).all(|(stated, side)| *stated == 0 || *stated == side as usize);
                (!fits).then(|| format!("its size is {width}x{height}, but its input's height and width are {dims:?}"))
            }
            Self::Flexible { multiple, long_side } if !side(multiple) || !side(long_side) || long_side % multiple != 0 => {
                Some(format!("`long_side` is {long_side}, not a multiple of `multiple` ({multiple}) up to {most}"))
            }
            Self::Flexible { .. } => {
                (dims != [0, 0]).then(|| format!("its size is flexible, but its input's height and width are {dims:?}; write `fixed`"))
            }
        }
    }
}

impl BoxHeads {
    fn fault(&self, outputs: &[PortEntry]) -> Option<String> {
        let ranks = |name: &str, ranks: [usize; 2], last: usize| -> Result<(), String> {
            let port = port(outputs, name)?;
            // an open last dimension may be any
            let fits = ranks.contains(&port.dims.len()) && (last == 0 || matches!(port.dims.last(), Some(n) if [0, last].contains(n)));
            if fits { Ok(()) } else { Err(format!("the output `{name}` has the dimensions {:?}", port.dims)) }
        };
        let floats = |name: &str| match port(outputs, name)?.ty {
            TensorType::F32 => Ok(()),
            ty => Err(format!("the output `{name}` is {ty}, not f32")),
        };
        let classes = |name: &str| match port(outputs, name)?.ty {
            TensorType::F32 | TensorType::I32 | TensorType::I64 => ranks(name, [1, 2], 0),
            ty => Err(format!("the output `{name}` is {ty}, not f32, i32 or i64")),
        };
        let scores = match self.score_kind {
            ScoreKind::Single => [1, 2],
            ScoreKind::PerClass => [2, 3],
        };
        let check = || {
            floats(&self.boxes)?;
            ranks(&self.boxes, [2, 3], 4)?;
            floats(&self.scores)?;
            ranks(&self.scores, scores, 0)?;
            match (&self.classes, self.score_kind) {
                (None, _) => Ok(()),
                (Some(name), ScoreKind::Single) => classes(name),
                (Some(_), ScoreKind::PerClass) => Err("`classes` goes with `score_kind = \"single\"` only".into()),
            }
        };
        check().err()
    }
}

fn port<'a>(ports: &'a [PortEntry], name: &str) -> Result<&'a PortEntry, String> {
    ports.iter().find(|p| p.name == name).ok_or_else(|| format!("there is no output `{name}`; it has: {}", names(ports)))
}

fn names(ports: &[PortEntry]) -> String {
    ports.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use crate::Catalog;

    const MODEL: &str = r#"
schema = 1
[[model]]
name = "finder"
file = "finder.onnx"
sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
bytes = 3
licence = "Apache-2.0"
credit = "someone"
source = "somewhere"
recipe = "by hand"
summary = "Finds people."
inputs = [{ name = "image", type = "f32", dims = [0, 3, 480, 640] }]
outputs = [
    { name = "boxes", type = "f32", dims = [0, 300, 4] },
    { name = "scores", type = "f32", dims = [0, 300] },
    { name = "labels", type = "i64", dims = [0, 300] },
]
mean = [0.0, 0.0, 0.0]
std = [1.0, 1.0, 1.0]

[model.detector]
input = "image"
fit = "letterbox_center"
fill = 114
size = { fixed = { width = 640, height = 480 } }
score = 0.4
overlap = 0.6

[model.detector.heads.boxes]
boxes = "boxes"
format = "xyxy"
units = "pixels"
scores = "scores"
score_kind = "single"
classes = "labels"
person = 0
suppressed = true
"#;

    #[test]
    fn a_detector_is_read_in_full() {
        use super::*;
        let catalog = Catalog::parse(MODEL, "test.toml").unwrap();
        let detector = catalog.models()[0].detector.clone().unwrap();
        assert_eq!((detector.fit, detector.fill, detector.size.fixed()), (Fit::LetterboxCenter, 114, Some(Size::new(640, 480))));
        let Heads::Boxes(heads) = detector.heads else { panic!("{:?}", detector.heads) };
        assert_eq!((heads.format, heads.units, heads.score_kind), (BoxFormat::Xyxy, BoxUnits::Pixels, ScoreKind::Single));
        assert_eq!((heads.classes.as_deref(), heads.person, heads.suppressed), (Some("labels"), 0, true));
    }

    #[test]
    fn the_builtin_detector_is_movenet() {
        let catalog = Catalog::builtin().unwrap();
        let found: Vec<_> = catalog.models().iter().filter(|m| m.detector.is_some()).collect();
        assert_eq!(found.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(), ["movenet_multipose"]);
        assert_eq!(found[0].detector.as_ref().unwrap().heads, super::Heads::Movenet);
    }

    #[test]
    fn what_does_not_fit_the_ports_is_named() {
        for (from, to, wanted) in [
            ("input = \"image\"", "input = \"picture\"", "there is no input `picture`; it has: image"),
            ("dims = [0, 3, 480, 640]", "dims = [0, 480, 640, 3]", "not f32 [n, 3, height, width]"),
            ("mean = [0.0, 0.0, 0.0]\nstd = [1.0, 1.0, 1.0]", "", "`mean` and `std`"),
            ("score = 0.4", "score = 4.0", "`score` is 4, not 0 to 1"),
            ("overlap = 0.6", "overlap = nan", "`overlap` is NaN"),
            ("width = 640", "width = 512", "its size is 512x480, but its input's height and width are [480, 640]"),
            ("width = 640", "width = 0", "its size is 0x480"),
            ("fixed = { width = 640, height = 480 }", "flexible = { multiple = 32, long_side = 640 }", "write `fixed`"),
            ("boxes = \"boxes\"", "boxes = \"box\"", "there is no output `box`; it has: boxes, scores, labels"),
            ("boxes = \"boxes\"", "boxes = \"scores\"", "the output `scores` has the dimensions [0, 300]"),
            ("scores = \"scores\"", "scores = \"labels\"", "the output `labels` is i64, not f32"),
            ("score_kind = \"single\"", "score_kind = \"per_class\"", "`classes` goes with"),
            ("[model.detector.heads.boxes]", "[model.detector.heads.box]", "box"),
            ("format = \"xyxy\"", "format = \"xywh\"", "xywh"),
            ("fit = \"letterbox_center\"", "fit = \"letterbox\"", "letterbox"),
            ("fill = 114", "filling = 114", "filling"),
            ("person = 0", "", "person"),
        ] {
            let changed = MODEL.replace(from, to);
            assert_ne!(changed, MODEL, "{from}");
            let text = Catalog::parse(&changed, "test.toml").unwrap_err().to_string();
            assert!(text.contains(wanted), "{from} -> {to}: {text}");
        }
    }

    #[test]
    fn movenet_needs_its_six_heads() {
        let start = MODEL.find("[model.detector.heads.boxes]").unwrap();
        let changed = MODEL[..start].replace("overlap = 0.6", "overlap = 0.6\nheads = \"movenet\"");
        let text = Catalog::parse(&changed, "test.toml").unwrap_err().to_string();
        assert!(text.contains("there is no output `center`"), "{text}");
    }
}
