//! Tests of detectors' entries: what is read, and what is refused in which words.

use halfpipe_core::{Fit, Size};

use super::*;
use crate::Catalog;

/// A detector with boxes, scores and labels of their own.
const SEPARATE: &str = r#"
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

/// A detector with everything in one output, candidates last, and further columns after two classes.
const FUSED: &str = r#"
inputs = [{ name = "images", type = "u8", dims = [1, 640, 640, 3] }, { name = "sizes", type = "i64", dims = [1, 2] }]
outputs = [{ name = "output0", type = "f16", dims = [1, 39, 8400] }, { name = "number", type = "i32", dims = [1, 1] }]

[model.detector]
input = "images"
layout = "nhwc"
channels = "bgr"
fit = "letterbox_corner"
fill = [10, 20, 30]
size = { fixed = { width = 640, height = 640 } }
other_inputs = { sizes = "width_height" }
score = 0.25
overlap = 0.45
most = 100

[model.detector.heads.boxes]
boxes = { output = "output0", candidates = "last" }
format = "cxcywh"
units = "pixels"
grids = [8, 16, 32]
objectness = { output = "output0", column = 4, candidates = "last" }
scores = { output = "output0", column = 5, candidates = "last" }
score_kind = "per_class"
score_form = "logit"
class_count = 2
count = "number"
person = 1
suppressed = false
"#;

fn parse(model: &str) -> Result<Catalog, String> {
    let head = r#"schema = 1
[[model]]
name = "finder"
file = "finder.onnx"
sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
bytes = 3
licence = "Apache-2.0"
credit = "someone"
source = "somewhere"
recipe = "by hand"
summary = "Finds people.""#;
    Catalog::parse(&format!("{head}{model}"), "test.toml").map_err(|e| e.to_string())
}

fn detector(model: &str) -> DetectorEntry {
    parse(model).unwrap().models()[0].detector.clone().unwrap()
}

fn refused(model: &str, changes: &[(&str, &str, &str)]) {
    for (from, to, wanted) in changes {
        let changed = model.replace(from, to);
        assert_ne!(changed, model, "{from}");
        let text = parse(&changed).unwrap_err();
        assert!(text.contains(wanted), "{from} -> {to}: {text}");
    }
}

#[test]
fn a_detector_is_read_in_full() {
    let found = detector(SEPARATE);
    assert_eq!((found.fit, found.fill(), found.size.fixed()), (Fit::LetterboxCenter, [114; 3], Some(Size::new(640, 480))));
    assert_eq!((found.layout, found.channels, found.most), (PixelLayout::Nchw, ChannelOrder::Rgb, 64));
    let Heads::Boxes(heads) = found.heads else { panic!("{:?}", found.heads) };
    assert_eq!((heads.format, heads.units, heads.score_kind), (BoxFormat::Xyxy, BoxUnits::Pixels, ScoreKind::Single));
    assert_eq!((heads.score_form, heads.person, heads.suppressed), (ScoreForm::Probability, 0, true));
    let labels = Columns { output: "labels".into(), column: 0, candidates: CandidateAxis::First };
    assert_eq!((heads.classes, heads.objectness, heads.frames, heads.count), (Some(labels), None, None, None));
}

#[test]
fn everything_in_one_output_is_read_in_full() {
    let found = detector(FUSED);
    assert_eq!((found.layout, found.channels, found.fill(), found.most), (PixelLayout::Nhwc, ChannelOrder::Bgr, [10, 20, 30], 100));
    assert_eq!(found.other_inputs, BTreeMap::from([("sizes".to_owned(), InputValue::WidthHeight)]));
    let Heads::Boxes(heads) = found.heads else { panic!("{:?}", found.heads) };
    let part = |column| Columns { output: "output0".into(), column, candidates: CandidateAxis::Last };
    assert_eq!((heads.boxes, heads.objectness, heads.scores), (part(0), Some(part(4)), part(5)));
    assert_eq!((heads.class_count, heads.score_form, heads.grids), (Some(2), ScoreForm::Logit, vec![8, 16, 32]));
    assert_eq!(heads.count.as_deref(), Some("number"));
}

#[test]
fn the_builtin_detector_is_movenet() {
    let catalog = Catalog::builtin().unwrap();
    let found: Vec<_> = catalog.models().iter().filter(|m| m.detector.is_some()).collect();
    assert_eq!(found.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(), ["movenet_multipose"]);
    assert_eq!(found[0].detector.as_ref().unwrap().heads, Heads::Movenet);
}

#[test]
fn what_does_not_fit_the_input_is_named() {
    refused(
        SEPARATE,
        &[
            ("input = \"image\"", "input = \"picture\"", "there is no input `picture`; it has: image"),
            ("dims = [0, 3, 480, 640]", "dims = [0, 480, 640, 3]", "not laid out as [n, 3, height, width]: write `layout = \"nhwc\"`"),
            ("dims = [0, 3, 480, 640]", "dims = [3, 480, 640]", "write `layout = \"chw\"`"),
            ("dims = [0, 3, 480, 640]", "dims = [0, 1, 480, 640]", "no picture of three channels"),
            ("type = \"f32\", dims = [0, 3,", "type = \"i64\", dims = [0, 3,", "pictures are f32, f16 or u8"),
            ("type = \"f32\", dims = [0, 3,", "type = \"u8\", dims = [0, 3,", "takes the frame's levels: remove `mean` and `std`"),
            ("mean = [0.0, 0.0, 0.0]\nstd = [1.0, 1.0, 1.0]", "", "needs the model's `mean` and `std`"),
            ("fit = \"letterbox_center\"", "fit = \"stretch\"", "a stretched frame has nothing around it: remove `fill`"),
            ("fit = \"letterbox_center\"", "fit = \"letterbox\"", "letterbox"),
            ("fill = 114", "fill = 300", "a level of grey, 0 to 255, or [red, green, blue]"),
            ("fill = 114", "filling = 114", "filling"),
            ("input = \"image\"", "input = \"image\"\nchannels = \"gbr\"", "gbr"),
            ("width = 640", "width = 512", "its size is 512x480, but its input's height and width are [480, 640]"),
            ("width = 640", "width = 0", "its size is 0x480"),
            ("fixed = { width = 640, height = 480 }", "flexible = { multiple = 32, long_side = 640 }", "write `fixed`"),
            ("score = 0.4", "score = 4.0", "`score` is 4, not 0 to 1"),
            ("overlap = 0.6", "overlap = nan", "`overlap` is NaN"),
            ("overlap = 0.6", "overlap = 0.6\nmost = 0", "`most` is 0, not 1 to 1000"),
            ("overlap = 0.6", "overlap = 0.6\nother_inputs = { mask = \"ones\" }", "`mask`, which is no other input"),
        ],
    );
    refused(
        FUSED,
        &[
            ("other_inputs = { sizes = \"width_height\" }", "", "say in `other_inputs` what the input `sizes` is given"),
            ("dims = [1, 2] }", "dims = [1, 4] }", "the input `sizes` is i64 [1, 4], which cannot be given WidthHeight"),
        ],
    );
}

#[test]
fn what_does_not_fit_the_outputs_is_named() {
    refused(
        SEPARATE,
        &[
            ("boxes = \"boxes\"", "boxes = \"box\"", "there is no output `box`; it has: boxes, scores, labels"),
            ("boxes = \"boxes\"", "boxes = \"scores\"", "`scores` and `boxes` both take column 0 of the output `scores`"),
            ("dims = [0, 300, 4]", "dims = [0, 300, 3]", "`boxes` takes columns 0 to 3 of the output `boxes`, which has 3"),
            ("dims = [0, 300, 4]", "dims = [300]", "not [n, candidates, columns]"),
            ("dims = [0, 300, 4]", "dims = [0, 100, 4]", "the output `scores` (`scores`) has 300 candidates, but `boxes` (`boxes`) 100"),
            ("dims = [0, 300, 4]", "dims = [2, 2, 300, 4]", "of which the first must be 1"),
            ("scores = \"scores\"", "scores = \"labels\"", "the output `labels` is i64, not one of f32, f16"),
            ("scores = \"scores\"", "scores = { output = \"scores\", column = 1 }", "one column"),
            ("scores = \"scores\"", "scores = { output = \"scores\", columns = 1 }", "the name of an output, or {"),
            ("score_kind = \"single\"", "score_kind = \"per_class\"", "one column"),
            ("classes = \"labels\"", "score_form = \"softmax\"", "a softmax is over one score a class"),
            ("classes = \"labels\"", "class_count = 3", "remove it"),
            ("classes = \"labels\"\nperson = 0", "person = 15", "write `person = 0`, or name `classes`"),
            ("person = 0", "", "person"),
            ("person = 0", "count = \"scores\"\nperson = 0", "not one number a picture"),
            ("person = 0", "grids = [8]\nperson = 0", "`grids` are for raw boxes"),
            ("[model.detector.heads.boxes]", "[model.detector.heads.box]", "box"),
            ("format = \"xyxy\"", "format = \"xyhw\"", "xyhw"),
        ],
    );
}

#[test]
fn what_contradicts_itself_in_one_output_is_named() {
    refused(
        FUSED,
        &[
            ("column = 4", "column = 3", "`objectness` and `boxes` both take column 3 of the output `output0`"),
            ("column = 4", "column = 6", "both take column 6"),
            ("column = 5", "column = 38", "`scores` takes columns 38 to 39 of the output `output0`, which has 39"),
            ("boxes = { output = \"output0\", candidates = \"last\" }", "boxes = \"output0\"", "give both the same `candidates`"),
            ("person = 1", "person = 2", "`person` is 2, but there are scores of 2 classes, counted from 0"),
            ("person = 1", "classes = { output = \"output0\", column = 8, candidates = \"last\" }\nperson = 1", "`classes` goes with"),
            ("person = 1", "frames = { output = \"output0\", column = 8, candidates = \"last\" }\nperson = 1", "remove one"),
            ("grids = [8, 16, 32]", "grids = [8, 16]", "have 8000 cells in 640x640, but `output0` has 8400 candidates"),
            ("grids = [8, 16, 32]", "grids = [7]", "not whole numbers of cells"),
            ("grids = [8, 16, 32]", "grids = [0, 16]", "not whole numbers of cells"),
        ],
    );
}

#[test]
fn rows_of_several_pictures_must_say_of_which() {
    let rows = SEPARATE
        .replace("dims = [0, 300, 4]", "dims = [0, 7]")
        .replace("scores = \"scores\"", "scores = { output = \"boxes\", column = 4 }")
        .replace("classes = \"labels\"", "classes = { output = \"boxes\", column = 5 }\nframes = { output = \"boxes\", column = 6 }");
    assert!(parse(&rows).is_ok());
    let four = rows.replace("dims = [0, 3, 480, 640]", "dims = [4, 3, 480, 640]");
    assert!(parse(&four).is_ok());
    let fault = parse(&four.replace("frames = { output = \"boxes\", column = 6 }", "")).unwrap_err();
    assert!(fault.contains("a run has 4 pictures, but the boxes [0, 7] do not say of which they are"), "{fault}");
}

#[test]
fn movenet_needs_its_six_heads_and_its_input() {
    let start = SEPARATE.find("[model.detector.heads.boxes]").unwrap();
    let movenet = SEPARATE[..start].replace("overlap = 0.6", "overlap = 0.6\nheads = \"movenet\"");
    let fault = parse(&movenet).unwrap_err();
    assert!(fault.contains("there is no output `center`"), "{fault}");
    let fault = parse(&movenet.replace("fill = 114", "channels = \"bgr\"")).unwrap_err();
    assert!(fault.contains("MoveNet's heads go with an input of f32 in RGB order"), "{fault}");
}

/// The entries that `docs/hmr2.md` shows.
#[test]
fn the_documented_entries_are_read() {
    let page = include_str!("../../../../../docs/hmr2.md");
    let entries: Vec<String> = page
        .split("\n    schema = 1\n")
        .skip(1)
        .map(|rest| rest.lines().take_while(|l| l.is_empty() || l.starts_with("    ")).map(|l| format!("{l}\n")).collect())
        .collect();
    let names = entries.iter().map(|entry| {
        let text = format!("schema = 1\n{}", entry.replace("SHA256", &"0".repeat(64)));
        let catalog = Catalog::parse(&text, "docs/hmr2.md").unwrap();
        assert!(catalog.models()[0].detector.is_some());
        catalog.models()[0].name.clone()
    });
    assert_eq!(names.collect::<Vec<_>>(), ["yolov8n", "vitdet"]);
}
