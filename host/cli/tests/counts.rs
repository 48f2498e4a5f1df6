//! What a job does, counted: regressions show here without a clock.
//!
//! Relations hold exactly. Levels are those of the clip and of the shipped policy; who lowers one may lower its bound with it, who
//! raises one has to say why.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]

mod common;

use common::{Desk, text};
use halfpipe_testkit::places;
use serde_json::Value;

/// Frames of the squats: one person throughout, 720x1280, 5 frames/s.
const FRAMES: u64 = 65;
/// Width and height of the frames as yuv420p, bytes.
const PICTURE_BYTES: u64 = 720 * 1280 * 3 / 2;

/// Pixels that the squatting body covers, all frames together.
const PIXELS: u64 = 6_409_563;

/// Items of a stage; 0 where it never ran.
fn items(report: &Value, stage: &str) -> u64 {
    report["stages"][stage]["items"].as_u64().unwrap_or(0)
}

fn count(report: &Value, name: &str) -> u64 {
    let counts = &report["counts"];
    counts[name].as_u64().or_else(|| counts["other"][name].as_f64().map(|n| n as u64)).unwrap()
}

fn job(desk: &Desk, more: &[&str]) -> Value {
    let clip = places::clip("tfjs_pose_squats.mp4");
    desk.report(&[&[text(&clip), "-o", "o.mp4", "--poses", "p.jsonl", "-y"], more].concat())
}

/// What must hold of every report of the squats.
fn consistent(desk: &Desk, report: &Value) {
    assert_eq!(count(report, "frames"), FRAMES);
    assert_eq!(count(report, "frames_drawn"), FRAMES);
    assert_eq!(count(report, "people"), FRAMES);
    let runs = count(report, "detector_frames");
    let inputs = items(report, "nn.infer.movenet_multipose");
    assert!((runs..=2 * runs).contains(&inputs), "{inputs} inputs of one or two sizes for {runs} runs of the detector");
    assert_eq!(items(report, "nn.letterbox"), inputs, "no letterbox that nobody reads");
    let crops = count(report, "landmark_crops");
    assert_eq!(items(report, "nn.infer.pose_landmark_full"), crops);
    assert_eq!(items(report, "nn.crops"), crops, "no crop that nobody reads");
    assert_eq!(items(report, "nn.infer.halfpipe_body"), FRAMES, "each body is posed once");
    assert_eq!(items(report, "draw: normals"), FRAMES, "each body is drawn once");
    let copied = &report["copied_bytes"];
    assert_eq!(copied["from_decoder"], FRAMES * PICTURE_BYTES, "pictures come as yuv420p, once");
    assert_eq!(copied["to_encoder"], FRAMES * PICTURE_BYTES, "and leave so");
    assert_eq!(copied["from_guest"], std::fs::metadata(desk.path("p.jsonl")).unwrap().len());
    assert_eq!(copied["to_guest"], report["sandbox"]["tensor_bytes_read"]);
}

#[test]
fn the_shipped_policy_does_no_more_than_it_has_to() {
    let desk = Desk::new();
    let report = job(&desk, &[]);
    consistent(&desk, &report);
    let at_most = |name: &str, got: u64, most: u64| assert!(got <= most, "{name}: {got}, at most {most}: {report}");
    // at 5 frames/s the detector's longest pause of 0.5 s ends with every third frame
    at_most("detector frames", count(&report, "detector_frames"), FRAMES.div_ceil(3));
    // both sizes where it starts, then their mean: nobody gets lost
    at_most("detector inputs", items(&report, "nn.infer.movenet_multipose"), FRAMES.div_ceil(3) + 1);
    at_most("landmark crops", count(&report, "landmark_crops"), FRAMES + 1);
    at_most("host calls a frame", report["sandbox"]["host_calls"].as_u64().unwrap() / FRAMES, 14);
    at_most("bytes to the guest", report["copied_bytes"]["to_guest"].as_u64().unwrap(), 3_320_000);
    let pixels = count(&report, "pixels_drawn");
    assert!((PIXELS * 97 / 100..=PIXELS * 103 / 100).contains(&pixels), "{pixels} pixels drawn where the body covers about {PIXELS}");
}

#[test]
fn equal_work_is_what_it_says() {
    let desk = Desk::new();
    let report = job(&desk, &["--set", "detector_frames=1", "--set", "landmark_passes=2", "--set", "detector_sizes=[256]"]);
    consistent(&desk, &report);
    assert_eq!(count(&report, "detector_frames"), FRAMES);
    assert_eq!(items(&report, "nn.infer.movenet_multipose"), FRAMES);
    assert_eq!(count(&report, "landmark_crops"), 2 * FRAMES);
}
