//! Detectors of every form that the catalog can describe, through the whole host: tiny networks of the fixture see a rectangle that moves
//! through a clip, if its frames come as their entries say, and name it in their own way. It must end up where it was drawn.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]
// the engines' types are deep: wgpu's resources stand behind the host
#![recursion_limit = "256"]

mod common;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use common::{Bench, limits, runtime};
use halfpipe_nn::{Catalog, Device};
use halfpipe_runtime::{Host, HostConfig, Outputs, Precompiled};
use halfpipe_testkit::{clips, places};
use serde_json::{Value, json};

/// Frames of the clip, which are no multiple of the pictures that any of the networks takes a run.
const FRAMES: usize = 5;
/// How far an edge may be off, pixels of the frame: a pixel or two of the networks' input, which is half as large.
const TOLERANCE: f64 = 4.0;

/// The catalog of the fixture's detectors, as text.
fn described() -> String {
    std::fs::read_to_string(places::hmr2_fixture().join("detectors.toml")).unwrap()
}

/// Entries of the fixture that are described otherwise: a new name, the detector's name, and what stands instead of what.
const OTHERWISE: [(&str, &str, &str, &str); 7] = [
    ("wrong_channels", "yolox", "channels = \"bgr\"", "channels = \"rgb\""),
    ("wrong_range", "yolov8", "std = [1.0, 1.0, 1.0]", "std = [0.5, 0.5, 0.5]"),
    ("wrong_place", "yolov8", "letterbox_center", "letterbox_corner"),
    ("wrong_fill", "yolov8", "fill = 114", "fill = 120"),
    ("wrong_class", "yolov8", "person = 0", "person = 1"),
    ("wrong_form", "half", "score_form = \"logit\"", ""),
    ("wrong_batch", "yolov8", "dims = [1, 3, 160, 160]", "dims = [0, 3, 160, 160]"),
];

/// One host with HMR2 and all of these detectors.
fn host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| {
        let mut text = described();
        for (name, of, from, to) in OTHERWISE {
            let start = text.find(&format!("[[model]]\nname = \"{of}\"")).unwrap();
            let entry = text[start..].split("\n[[model]]").next().unwrap();
            assert!(entry.contains(from), "{of} has no {from}");
            let entry = entry.replacen(&format!("name = \"{of}\""), &format!("name = \"{name}\""), 1).replace(from, to);
            text.push('\n');
            text.push_str(&entry);
        }
        let models = places::hmr2_fixture();
        let catalog = Catalog::installed(&models, Some(&models.join("published.toml"))).unwrap();
        let catalog = catalog.merge(Catalog::parse(&text, "detectors.toml").unwrap()).unwrap();
        let precompiled = Precompiled::default().with_cache(places::compiled());
        let config = HostConfig { device: Device::Cpu, limits: limits(), precompiled, ..HostConfig::new(catalog, models) };
        Host::start(config).unwrap()
    })
}

/// Left, top, right, bottom of the rectangle in a frame of 320 x 240.
fn rectangle(frame: usize) -> [f64; 4] {
    let left = 64.0 + 16.0 * frame as f64;
    [left, 40.0, left + 64.0, 200.0]
}

/// A clip of the rectangle in its colour, on its background.
fn clip(out: &Path) -> PathBuf {
    let picture =
        "color=0x283c5a:size=320x240:rate=30[back];color=0xdc7828:size=64x160:rate=30[front];[back][front]overlay=x='64+480*t':y=40";
    clips::ffmpeg(&["-f", "lavfi", "-i", picture, "-frames:v", "5", "-c:v", "libx264", "-qp", "10", "-pix_fmt", "yuv420p"], out)
}

/// Runs the pipeline with a detector; the frames of its pose file.
fn run(bench: &Bench, input: &Path, detector: &str) -> Result<Vec<Value>, String> {
    let poses = bench.out(&format!("{detector}.jsonl"));
    let outcome = runtime().block_on(async {
        let guest = host().load_guest(&places::guest("hmr2")).await.unwrap();
        let mut job = bench.job(guest, json!({ "detector": detector, "smoothing": false }));
        job.input = input.to_owned();
        job.outputs = Outputs { poses: Some(poses.clone()), ..Outputs::default() };
        job.progress = Arc::new(|_| {});
        host().run(job).await
    });
    outcome.map_err(|e| e.to_string())?;
    let lines = std::fs::read_to_string(poses).unwrap();
    Ok(lines.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// Boxes of the people of each frame: left, top, width, height.
fn boxes(frames: &[Value]) -> Vec<Vec<[f64; 4]>> {
    let of =
        |frame: &Value| frame["people"].as_array().unwrap().iter().map(|p| serde_json::from_value(p["box"].clone()).unwrap()).collect();
    frames.iter().map(of).collect()
}

#[test]
fn every_form_of_detector_finds_the_rectangle() {
    let bench = Bench::new();
    let input = clip(&bench.dir.path().join("rectangle.mp4"));
    let text = described();
    let names: Vec<&str> = text.split("[[model]]\nname = \"").skip(1).map(|entry| entry.split('"').next().unwrap()).collect();
    assert!(names.len() >= 11, "{names:?}");
    for name in names {
        let frames = run(&bench, &input, name).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(frames.len(), FRAMES, "{name}");
        for (i, (people, frame)) in boxes(&frames).into_iter().zip(&frames).enumerate() {
            let [[x, y, w, h]] = people[..] else { panic!("{name}, frame {i}: one person, not {people:?}") };
            let worst = [x, y, x + w, y + h].iter().zip(rectangle(i)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(worst <= TOLERANCE, "{name}, frame {i}: {:?} is {worst} pixels off", [x, y, x + w, y + h]);
            let score = frame["people"][0]["score"].as_f64().unwrap();
            assert!((score - 0.9).abs() < 0.01, "{name}, frame {i}: {score}");
        }
    }
}

/// The networks do look at what they are given, and the class decides who is a person.
#[test]
fn a_detector_that_is_described_otherwise_finds_nothing_or_is_refused() {
    let bench = Bench::new();
    let input = clip(&bench.dir.path().join("rectangle.mp4"));
    for name in ["wrong_channels", "wrong_range", "wrong_place", "wrong_fill"] {
        let found = boxes(&run(&bench, &input, name).unwrap());
        assert!(found.iter().all(Vec::is_empty), "{name}: {found:?}");
    }
    let dogs = boxes(&run(&bench, &input, "wrong_class").unwrap());
    assert!(dogs.iter().flatten().all(|[x, ..]| (x - 10.0).abs() <= TOLERANCE) && dogs.iter().all(|d| d.len() == 1), "{dogs:?}");
    let fault = run(&bench, &input, "wrong_form").unwrap_err();
    assert!(fault.contains("wrong_form: a score is 2.") && fault.contains("`score_form`"), "{fault}");
    let fault = run(&bench, &input, "wrong_batch").unwrap_err();
    assert!(fault.contains("`wrong_batch` does not fit its catalog entry: the file's input `image` f32 [1, 3, 160, 160]"), "{fault}");
}

/// CenterNet, trained by others on COCO and found by its description alone, sees the person that MoveNet sees.
#[test]
fn a_published_detector_sees_whom_movenet_sees() {
    let bench = Bench::new();
    let input = clips::first_frames("tfjs_pose_squats.mp4", 6, &bench.dir.path().join("squats.mp4"));
    let [theirs, movenets] = ["centernet", "movenet_multipose"].map(|name| boxes(&run(&bench, &input, name).unwrap()));
    assert_eq!((theirs.len(), movenets.len()), (6, 6));
    for (i, (a, b)) in theirs.iter().zip(&movenets).enumerate() {
        let ([a], [b]) = (&a[..], &b[..]) else { panic!("frame {i}: one person in {a:?} and in {b:?}") };
        let found = overlap(a, b);
        println!("frame {i}: IoU {found:.3}");
        assert!(found > 0.7, "frame {i}: {a:?} and {b:?} overlap by {found}");
    }
}

/// Intersection over union of two boxes.
fn overlap(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    let side = |k: usize| ((a[k] + a[k + 2]).min(b[k] + b[k + 2]) - a[k].max(b[k])).max(0.0);
    let both = side(0) * side(1);
    both / (a[2] * a[3] + b[2] * b[3] - both)
}
