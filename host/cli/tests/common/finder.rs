//! A detector made up for tests, described in a catalog of its own beside the fixture's models.

use std::path::PathBuf;

use halfpipe_testkit::places;

use crate::common::{Desk, text};
use crate::onnx;

/// The fixture's models in a folder of the desk's, but for `without`.
pub fn models_without(desk: &Desk, without: &str) -> PathBuf {
    let models = desk.path("models");
    std::fs::create_dir(&models).unwrap();
    for entry in std::fs::read_dir(places::hmr2_fixture()).unwrap().flatten().filter(|e| e.file_name() != without) {
        std::os::unix::fs::symlink(entry.path(), models.join(entry.file_name())).unwrap();
    }
    models
}

/// Describes a detector `finder` in a catalog of its own, beside the other models: it finds somebody in the same box (left, top, right,
/// bottom of the squats' frame) of every picture. It is one that nobody has written code for: boxes as centre and size in fractions of
/// a padded square, classes as whole numbers, one picture a call, overlapping boxes left in. It also finds the same person again, a
/// dog, and somebody too faint.
pub fn finder(desk: &Desk, [left, top, right, bottom]: [f32; 4]) -> [String; 6] {
    let models = models_without(desk, "");
    let floats = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    // a frame of 720 x 1280 lies at half size in the middle of 640 x 640, 140 pixels from the left
    let fraction = |x: f32, y: f32| [(x / 2.0 + 140.0) / 640.0, y / 2.0 / 640.0];
    let ([x0, y0], [x1, y1]) = (fraction(left, top), fraction(right, bottom));
    let person = [(x0 + x1) / 2.0, (y0 + y1) / 2.0, x1 - x0, y1 - y0];
    let again = [person[0] + 0.02 * person[2], person[1], person[2], person[3]];
    let boxes = [person, again, [0.3, 0.8, 0.2, 0.2], [0.7, 0.2, 0.1, 0.2]];
    let whole = |values: &[i64]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let outputs = [
        onnx::Constant { name: "dets", ty: 1, dims: &[1, 4, 4], little_endian: floats(boxes.as_flattened()) },
        onnx::Constant { name: "conf", ty: 1, dims: &[1, 4], little_endian: floats(&[0.875, 0.75, 0.95, 0.4]) },
        onnx::Constant { name: "labels", ty: 7, dims: &[1, 4], little_endian: whole(&[1, 1, 18, 1]) },
    ];
    let (sha256, size) = onnx::write_constants(&models.join("finder.onnx"), ("picture", &[1, 3, 640, 640]), &outputs);
    let entry = format!(
        r#"schema = 1
[[model]]
name = "finder"
file = "finder.onnx"
sha256 = "{sha256}"
bytes = {size}
licence = "CC0-1.0"
credit = "this test"
source = "this test"
recipe = "host/cli/tests/hmr2.rs"
summary = "Finds the same people in every picture."
inputs = [{{ name = "picture", type = "f32", dims = [1, 3, 640, 640] }}]
outputs = [
    {{ name = "dets", type = "f32", dims = [1, 4, 4] }},
    {{ name = "conf", type = "f32", dims = [1, 4] }},
    {{ name = "labels", type = "i64", dims = [1, 4] }},
]
mean = [0.0, 0.0, 0.0]
std = [1.0, 1.0, 1.0]
[model.detector]
input = "picture"
fit = "letterbox_center"
fill = 114
size = {{ fixed = {{ width = 640, height = 640 }} }}
score = 0.5
overlap = 0.6
[model.detector.heads.boxes]
boxes = "dets"
format = "cxcywh"
units = "normalized"
scores = "conf"
score_kind = "single"
classes = "labels"
person = 1
suppressed = false
"#
    );
    let catalog = desk.path("finder.toml");
    std::fs::write(&catalog, entry).unwrap();
    ["--models", text(&models), "--catalog", text(&catalog), "--set", "detector=finder"].map(str::to_owned)
}
