//! The 4D-Humans pipeline through the whole program, with a reduced HMR2 of random weights and a made-up SMPL: what it writes is checked
//! against its own networks run by hand, not against its own numbers.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]

mod common;
#[path = "common/finder.rs"]
mod finder;
#[path = "common/onnx.rs"]
mod onnx;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{Desk, poses, text};
use finder::{finder, models_without};
use halfpipe_kit::skeleton::JOINT_NAMES;
use halfpipe_kit::skeleton::openpose::{OPENPOSE_NAMES, openpose_index};
use halfpipe_nn::ort::{OrtConfig, OrtEngine};
use halfpipe_nn::{Catalog, Device, Engine, Model, Tensor};
use halfpipe_testkit::{clips, places};
use serde_json::Value;

/// Frames of the clip; somebody squats in each of them.
const FRAMES: usize = 65;

/// Of so many frames, one is done again by hand.
const EVERY: usize = 16;

/// A finished run of the pipeline over the squats.
struct Run {
    desk: Desk,
    report: Value,
    header: Value,
    frames: Vec<Value>,
}

impl Run {
    /// With these options, and every output.
    fn with(settings: &[&str]) -> Self {
        let desk = Desk::new();
        let (clip, models) = (places::clip("tfjs_pose_squats.mp4"), places::hmr2_fixture());
        let mut args = vec![text(&clip), "--pipeline", "hmr2", "--models", text(&models)];
        args.extend(["-o", "o.mp4", "--poses", "p.jsonl", "--glb", "m.glb", "--bvh", "m.bvh", "--report", "r.json"]);
        args.extend(settings.iter().flat_map(|s| ["--set", s]));
        let report = desk.report(&args);
        let mut lines = poses(&desk.path("p.jsonl"));
        let header = lines.remove(0);
        assert_eq!(lines.len(), FRAMES);
        Self { desk, report, header, frames: lines }
    }

    /// The one person of each frame.
    fn people(&self) -> Vec<&Value> {
        assert!(self.frames.iter().all(|f| f["people"].as_array().is_some_and(|people| people.len() == 1)), "one person in every frame");
        self.frames.iter().map(|f| &f["people"][0]).collect()
    }

    fn count(&self, name: &str) -> u64 {
        self.report["counts"]["other"][name].as_f64().unwrap_or_else(|| panic!("no {name} in {}", self.report["counts"])) as u64
    }

    fn size(&self) -> (usize, usize) {
        let side = |name: &str| self.header["video"][name].as_u64().unwrap() as usize;
        (side("width"), side("height"))
    }
}

fn numbers<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap_or_else(|e| panic!("{e}: {value}"))
}

fn model(name: &str) -> Box<dyn Model> {
    let models_dir = places::hmr2_fixture();
    let catalog = Catalog::load(&models_dir.join("catalog.d/hmr2.toml")).unwrap();
    let config = OrtConfig { library: None, device: Device::Cpu, intra_threads: Some(1), catalog: Arc::new(catalog), models_dir };
    OrtEngine::new(config).unwrap().load(name).unwrap()
}

/// Runs a model and gives its outputs by name.
fn run(model: &mut dyn Model, inputs: &[(&str, Vec<usize>, Vec<f32>)]) -> BTreeMap<String, Vec<f32>> {
    let tensor = |dims: &[usize], values: &[f32]| Tensor::from_vec(dims.to_vec(), values.to_vec()).unwrap();
    let inputs: Vec<(String, Tensor)> = inputs.iter().map(|(n, dims, v)| ((*n).to_owned(), tensor(dims, v))).collect();
    let names: Vec<String> = model.ports().outputs.iter().map(|p| p.name.clone()).collect();
    names.into_iter().zip(model.run(&inputs).unwrap()).map(|(n, t)| (n, t.as_f32().unwrap().to_vec())).collect()
}

/// A picture blurred by a Gaussian of standard deviation `sigma`, cut off at 4 of them, its edge going on beyond it (scikit-image's
/// `gaussian`, which 4D-Humans calls).
fn blurred(rgb: &[u8], (width, height): (usize, usize), sigma: f64) -> Vec<f64> {
    let radius = (4.0 * sigma + 0.5) as isize;
    let weights: Vec<f64> = (-radius..=radius).map(|k| (-0.5 * (k as f64 / sigma).powi(2)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let pass = |from: &[f64], dx: isize, dy: isize| -> Vec<f64> {
        let moved = |v: usize, by: isize, end: usize| v.saturating_add_signed(by).min(end - 1);
        let at = |x: usize, y: usize, c: usize| from[(y * width + x) * 3 + c];
        let value = |x: usize, y: usize, c: usize| {
            let near = |k: isize| at(moved(x, k * dx, width), moved(y, k * dy, height), c);
            (-radius..=radius).zip(&weights).map(|(k, w)| near(k) * w).sum::<f64>() / sum
        };
        (0..width * height * 3).map(|i| value(i / 3 % width, i / 3 / width, i % 3)).collect()
    };
    let picture: Vec<f64> = rgb.iter().map(|v| f64::from(*v)).collect();
    pass(&pass(&picture, 1, 0), 0, 1)
}

/// 4D-Humans' crop of a frame as the network takes it: the blur of its rule, OpenCV's bilinear warp of the square of side `b` around the
/// box, ImageNet's normalisation.
fn crop(rgb: &[u8], (width, height): (usize, usize), [cx, cy]: [f64; 2], b: f64) -> Vec<f32> {
    let shrink = b / 512.0;
    let picture =
        if shrink > 1.1 { blurred(rgb, (width, height), (shrink - 1.0) / 2.0) } else { rgb.iter().map(|v| f64::from(*v)).collect() };
    let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    let at = |x: f64, y: f64, c: usize| {
        let inside = x >= 0.0 && y >= 0.0 && x < width as f64 && y < height as f64;
        if inside { picture[(y as usize * width + x as usize) * 3 + c] } else { 0.0 }
    };
    let mut out = vec![0.0; 3 * 256 * 256];
    for v in 0..256 {
        for u in 0..256 {
            let (x, y) = (cx + (u as f64 - 128.0) * b / 256.0, cy + (v as f64 - 128.0) * b / 256.0);
            let (x0, y0) = (x.floor(), y.floor());
            let (fx, fy) = (x - x0, y - y0);
            for c in 0..3 {
                let top = at(x0, y0, c) * (1.0 - fx) + at(x0 + 1.0, y0, c) * fx;
                let bottom = at(x0, y0 + 1.0, c) * (1.0 - fx) + at(x0 + 1.0, y0 + 1.0, c) * fx;
                out[c * 65536 + v * 256 + u] = ((top * (1.0 - fy) + bottom * fy) / 255.0 - mean[c]) as f32 / std[c] as f32;
            }
        }
    }
    out
}

#[test]
fn squats_without_smoothing() {
    let run = Run::with(&["smoothing=false", "crop_batch=16"]);
    every_output_is_there_and_says_what_it_is(&run);
    bodies_are_those_that_the_networks_give_by_hand(&run);
}

fn every_output_is_there_and_says_what_it_is(run: &Run) {
    let (width, height) = run.size();
    let input = places::clip("tfjs_pose_squats.mp4");
    assert_eq!(clips::frame_times(&run.desk.path("o.mp4")), clips::frame_times(&input));
    assert_eq!(run.report["counts"]["frames"], FRAMES);
    assert_eq!(run.report["counts"]["statuses"]["detected"], FRAMES);
    assert_eq!(run.report["counts"]["tracks"], 1);
    // random weights put many bodies beside the picture
    let drawn = run.people().iter().filter(|p| p["mesh_drawn"] == true).count();
    assert_eq!(run.report["counts"]["frames_drawn"], drawn);
    assert_eq!((run.count("detector_frames"), run.count("filled_boxes"), run.count("crops")), (65, 0, 65));
    assert_eq!(run.count("network_runs"), FRAMES.div_ceil(8) as u64, "a run holds the crops of a whole batch of frames");
    assert_eq!(run.report["provenance"]["guest"], "hmr2");
    let models = run.report["provenance"]["models"].to_string();
    for name in ["hmr2", "smpl_neutral", "movenet_multipose"] {
        assert!(models.contains(name), "{name} is missing in {models}");
    }
    let settings = &run.report["settings"]["guest"];
    assert_eq!(&run.header["settings"], settings);
    assert!(settings["detector_score"].is_f64() && settings["detector_stride"] == 1, "every default is filled in: {settings}");

    let focal = run.header["camera"]["focal"].as_f64().unwrap();
    assert!((focal - 5000.0 / 256.0 * width.max(height) as f64).abs() < 1e-2, "{focal}");
    let names: Vec<String> = numbers(&run.header["openpose_names"]);
    assert_eq!(names, OPENPOSE_NAMES);
    let names: Vec<String> = numbers(&run.header["skeleton"]["joint_names"]);
    assert_eq!(names, JOINT_NAMES);
    for person in run.people() {
        let pose = &person["pose"];
        let (joints, points): (Vec<[f64; 3]>, Vec<[f64; 3]>) = (numbers(&pose["joints3d"]), numbers(&pose["openpose"]["points3d"]));
        let (joints2d, points2d): (Vec<[f64; 2]>, Vec<[f64; 2]>) = (numbers(&pose["joints2d"]), numbers(&pose["openpose"]["points2d"]));
        for (p, px) in joints.iter().zip(&joints2d).chain(points.iter().zip(&points2d)) {
            let seen = [focal * p[0] / p[2] + width as f64 / 2.0, focal * p[1] / p[2] + height as f64 / 2.0];
            assert!((seen[0] - px[0]).hypot(seen[1] - px[1]) < 0.1, "{p:?} at {px:?} instead of {seen:?}");
        }
        assert!(joints[0][2] > 10.0, "a long lens stands far off");
        assert_eq!(person["keypoints2d"].as_array().unwrap().len(), 17, "MoveNet's");
    }
    assert!(std::fs::read(run.desk.path("m.glb")).unwrap().starts_with(b"glTF"));
    assert!(std::fs::read(run.desk.path("m.bvh")).unwrap().starts_with(b"HIERARCHY"));
}

/// Box to crop to network to camera to body, done by hand with the same two models: 4D-Humans' arithmetic on a frame that ffmpeg
/// decoded. The bodies must stand where the pose file says.
fn bodies_are_those_that_the_networks_give_by_hand(pipeline: &Run) {
    let (width, height) = pipeline.size();
    // the clip says nothing of its colours: from 720 lines on that means BT.709, which ffmpeg alone would not take
    let filter = format!("select=not(mod(n\\,{EVERY})),scale=in_color_matrix=bt709:flags=accurate_rnd+full_chroma_int");
    let (clip, plain) = (places::clip("tfjs_pose_squats.mp4"), pipeline.desk.path("plain.mkv"));
    clips::ffmpeg(&["-i", text(&clip), "-vf", &filter, "-fps_mode", "passthrough", "-c:v", "ffv1", "-pix_fmt", "bgr0", "-an"], &plain);
    let pictures = clips::rgb_frames(&plain, (width, height));
    let (mut network, mut smpl) = (model("hmr2"), model("smpl_neutral"));
    let focal = 5000.0 / 256.0 * width.max(height) as f64;
    let (mut worst_px, mut worst_turn, mut worst_depth) = (0.0f64, 0.0f64, 0.0f64);
    assert_eq!(pictures.len(), FRAMES.div_ceil(EVERY));
    for (picture, person) in pictures.iter().zip(pipeline.people().into_iter().step_by(EVERY)) {
        let [x, y, w, h]: [f64; 4] = numbers(&person["box"]);
        let (center, b) = ([x + w / 2.0, y + h / 2.0], h.max(w * 256.0 / 192.0));
        let out = run(&mut *network, &[("img", vec![1, 3, 256, 256], crop(picture, (width, height), center, b))]);
        let camera = out["pred_cam"].iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
        let bs = b * camera[0] + 1e-9;
        let t = [
            2.0 * (center[0] - width as f64 / 2.0) / bs + camera[1],
            2.0 * (center[1] - height as f64 / 2.0) / bs + camera[2],
            2.0 * focal / bs,
        ];
        // the network's own rotations, straight into camera axes
        let rotations = [&out["global_orient"][..], &out["body_pose"]].concat();
        let body = run(&mut *smpl, &[("rotations", vec![1, 24, 3, 3], rotations), ("shape", vec![1, 10], out["betas"].clone())]);
        let mut compare = |mine: &[f32], field: &Value| {
            let told: Vec<[f64; 3]> = numbers(field);
            assert_eq!(mine.len(), 3 * told.len());
            let place = |k: usize| [0, 1, 2].map(|c| f64::from(mine[3 * k + c]) + t[c]);
            let project = |p: [f64; 3]| [focal * p[0] / p[2], focal * p[1] / p[2]];
            for (k, p) in told.iter().enumerate() {
                let (a, b) = (project(place(k)), project(*p));
                worst_px = worst_px.max((a[0] - b[0]).hypot(a[1] - b[1]));
                worst_depth = worst_depth.max((place(k)[2] / p[2] - 1.0).abs());
                // from the first point, so that the place does not count
                let (a, b) = ([0, 1, 2].map(|c| place(k)[c] - place(0)[c]), [0, 1, 2].map(|c| p[c] - told[0][c]));
                worst_turn = worst_turn.max((0..3).map(|c| (a[c] - b[c]).abs()).fold(0.0, f64::max));
            }
        };
        compare(&body["joints"], &person["pose"]["joints3d"]);
        compare(&body["openpose"], &person["pose"]["openpose"]["points3d"]);
        let wrist = openpose_index("left_wrist").unwrap();
        let joint = JOINT_NAMES.iter().position(|n| *n == "left_wrist").unwrap();
        let (a, b): ([f64; 3], [f64; 3]) =
            (numbers(&person["pose"]["openpose"]["points3d"][wrist]), numbers(&person["pose"]["joints3d"][joint]));
        assert!((0..3).all(|c| (a[c] - b[c]).abs() < 0.002), "left wrist by both names: {a:?} {b:?}");
    }
    println!(
        "worst against the networks by hand: {worst_px:.3} px, {:.2} mm from the first point, depth {:.4} %",
        1e3 * worst_turn,
        1e2 * worst_depth
    );
    // random weights exaggerate: a crop that is off by half a pixel moves these bodies by about 20 pixels, other colours by 100
    assert!(worst_px < 5.0 && worst_turn < 0.01 && worst_depth < 0.005, "{worst_px} px, {worst_turn} m, {worst_depth}");
}

#[test]
fn with_a_stride_boxes_are_filled_in_and_the_report_says_so() {
    let run = Run::with(&["detector_stride=5", "crop_batch=3"]);
    assert_eq!(run.count("detector_frames"), 14, "every fifth, and the last");
    assert_eq!((run.count("filled_boxes"), run.count("crops")), (51, 65));
    assert_eq!(run.report["settings"]["guest"]["detector_stride"], 5);
    assert_eq!(run.report["counts"]["statuses"]["detected"], FRAMES, "every pose is measured in its own frame");
    let people = run.people();
    for (i, person) in people.iter().enumerate() {
        let looked = i % 5 == 0 || i == FRAMES - 1;
        assert_eq!(person["score"].is_null(), !looked, "frame {i}");
        assert_eq!(person["keypoints2d"].as_array().unwrap().is_empty(), !looked, "frame {i}");
        if !looked {
            let ends = [i / 5 * 5, (i / 5 * 5 + 5).min(FRAMES - 1)].map(|k| people[k]["confidence"].as_f64().unwrap());
            assert!((person["confidence"].as_f64().unwrap() - ends[0].min(ends[1])).abs() < 1e-9, "frame {i}");
        }
    }
}

/// Runs the pipeline with that detector over the first two seconds.
fn run_with_finder(desk: &Desk, rect: [f32; 4], more: &[&str]) -> (Value, Vec<Value>) {
    let (clip, finder) = (places::clip("tfjs_pose_squats.mp4"), finder(desk, rect));
    let mut args = vec![text(&clip), "--pipeline", "hmr2", "--to", "2", "--poses", "p.jsonl"];
    args.extend(finder.iter().map(String::as_str).chain(more.iter().copied()));
    let report = desk.report(&args);
    (report, poses(&desk.path("p.jsonl")))
}

#[test]
fn any_detector_that_the_catalog_describes_finds_people() {
    let desk = Desk::new();
    let (report, lines) = run_with_finder(&desk, [200.0, 300.0, 520.0, 1100.0], &[]);
    assert_eq!(report["counts"]["tracks"], 1, "{}", report["counts"]);
    assert_eq!(lines[0]["keypoint_names"], serde_json::json!([]));
    assert_eq!(lines[0]["settings"]["detector_score"], 0.5, "the catalog's threshold is in effect");
    assert!(lines.len() > 5);
    for line in &lines[1..] {
        let [person] = &line["people"].as_array().unwrap()[..] else { panic!("one person in {line}") };
        let found: [f64; 4] = numbers(&person["box"]);
        assert!(found.iter().zip([200.0, 300.0, 320.0, 800.0]).all(|(a, b)| (a - b).abs() < 0.02), "{found:?}");
        assert_eq!((&person["score"], &person["status"]), (&serde_json::json!(0.875), &serde_json::json!("detected")));
    }
}

/// Crops one at a time, in half precision, and with the detector on every third frame: the bodies of a box that does not move are those
/// of the whole run.
#[test]
fn batches_precision_and_stride_do_not_change_the_bodies() {
    let rect = [412.0, 436.0, 508.0, 564.0];
    let run = |more: &[&str]| run_with_finder(&Desk::new(), rect, &[&["--set", "smoothing=false"], more].concat()).1;
    let joints = |line: &Value| -> Vec<[f64; 2]> { numbers(&line["people"][0]["pose"]["joints2d"]) };
    let whole = run(&[]);
    for (more, close) in [(["--set", "crop_batch=1"], 0.02), (["--set", "detector_stride=3"], 0.02), (["--set", "network=hmr2_fp16"], 2.0)]
    {
        let other = run(&more);
        assert_eq!(other.len(), whole.len());
        let pairs = whole[1..].iter().zip(&other[1..]).flat_map(|(a, b)| joints(a).into_iter().zip(joints(b)));
        let worst = pairs.map(|(a, b)| (a[0] - b[0]).hypot(a[1] - b[1])).fold(0.0, f64::max);
        println!("{more:?}: {worst:.4} px");
        assert!(worst < close, "{more:?}: {worst} px");
    }
}

/// The screen goes black for three frames.
#[test]
fn somebody_out_of_sight_for_a_moment_is_interpolated_and_flagged() {
    let desk = Desk::new();
    let black = "drawbox=w=iw:h=ih:color=black:t=fill:enable='between(n,6,8)'";
    let squats = places::clip("tfjs_pose_squats.mp4");
    let clip = clips::ffmpeg(&["-i", text(&squats), "-t", "3", "-vf", black, "-c:v", "libx264", "-an"], &desk.path("blink.mp4"));
    let models = places::hmr2_fixture();
    let report = desk.report(&[text(&clip), "--pipeline", "hmr2", "--models", text(&models), "--poses", "p.jsonl"]);
    let lines = poses(&desk.path("p.jsonl"));
    assert_eq!(lines.len(), 16);
    let counts = &report["counts"];
    assert_eq!((&counts["statuses"]["detected"], &counts["statuses"]["interpolated"]), (&12.into(), &3.into()), "{counts}");
    assert_eq!((&counts["tracks"], &counts["other"]["crops"]), (&1.into(), &12.0.into()), "nothing is measured in the dark");
    let people: Vec<&Value> = lines[1..].iter().map(|l| &l["people"][0]).collect();
    let (before, after) = (people[5], people[9]);
    let depth = |p: &Value| p["pose"]["translation"][2].as_f64().unwrap();
    for person in &people[6..9] {
        assert_eq!((&person["status"], &person["track"]), (&"interpolated".into(), &before["track"]));
        assert!(person["score"].is_null());
        let lower = before["confidence"].as_f64().unwrap().min(after["confidence"].as_f64().unwrap());
        assert!((person["confidence"].as_f64().unwrap() - lower).abs() < 1e-9);
        let (low, high) = (depth(before).min(depth(after)), depth(before).max(depth(after)));
        assert!((low - 1e-3..=high + 1e-3).contains(&depth(person)), "between {low} m and {high} m: {}", depth(person));
        assert_eq!(person["pose"]["openpose"]["points3d"].as_array().unwrap().len(), 25);
    }
}

/// In the air the detector sees the jumper only faintly, on every fourth frame at that.
#[test]
fn a_jumper_keeps_the_number_through_the_air() {
    let desk = Desk::new();
    let (clip, models) = (places::clip("sports2d_demo.mp4"), places::hmr2_fixture());
    let args = [text(&clip), "--pipeline", "hmr2", "--models", text(&models), "--poses", "p.jsonl", "--set", "detector_stride=4"];
    let report = desk.report(&args);
    assert_eq!(report["counts"]["other"]["detector_frames"], 59.0, "every fourth of 230, and the last");
    let mut tracks: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for line in &poses(&desk.path("p.jsonl"))[1..] {
        let index = line["index"].as_u64().unwrap();
        for person in line["people"].as_array().unwrap() {
            tracks.entry(person["track"].as_u64().unwrap()).or_insert((index, index)).1 = index;
        }
    }
    assert!(tracks.values().any(|t| *t == (0, 229)), "the jumper, from the first frame to the last: {tracks:?}");
    assert_eq!(report["counts"]["tracks"], 2, "the jumper and the walker: {tracks:?}");
}

#[test]
fn without_people_the_video_goes_out_as_it_came() {
    let desk = Desk::new();
    let grey = ["-f", "lavfi", "-i", "color=gray:size=320x180:rate=30", "-frames:v", "20", "-c:v", "libx264", "-pix_fmt", "yuv420p"];
    let (nobody, models) = (clips::ffmpeg(&grey, &desk.path("nobody.mp4")), places::hmr2_fixture());
    let args = [text(&nobody), "--pipeline", "hmr2", "--models", text(&models), "-o", "o.mp4", "--poses", "p.jsonl"];
    let report = desk.report(&args);
    let counts = &report["counts"];
    assert_eq!((&counts["people"], &counts["frames_drawn"], &counts["statuses"]["no_person"]), (&0.into(), &0.into(), &20.into()));
    assert_eq!(counts["other"]["network_runs"], 0.0);
    assert!(report["warnings"].as_array().unwrap().iter().any(|w| w["code"] == "no_person"), "{}", report["warnings"]);
    assert_eq!(poses(&desk.path("p.jsonl")).len(), 21);
    assert_eq!(clips::frame_times(&desk.path("o.mp4")), clips::frame_times(&nobody));
}

/// A small box right of the middle keeps the bodies of random weights inside of the picture.
#[test]
fn bodies_are_drawn_in_light_blue() {
    let desk = Desk::new();
    let (report, lines) = run_with_finder(&desk, [412.0, 436.0, 508.0, 564.0], &["-o", "o.mp4", "--set", "layout=mesh-only"]);
    let pictures = clips::rgb_frames(&desk.path("o.mp4"), (720, 1280));
    assert_eq!(report["counts"]["frames_drawn"], pictures.len());
    for (picture, line) in pictures.iter().zip(&lines[1..]) {
        assert_eq!(line["people"][0]["mesh_drawn"], true);
        let background = &picture[..3];
        let differs = |p: &&[u8]| p.iter().zip(background).any(|(a, b)| a.abs_diff(*b) > 30);
        let drawn: Vec<&[u8]> = picture.chunks_exact(3).filter(differs).collect();
        assert!(drawn.len() > 500, "{} pixels in frame {}", drawn.len(), line["index"]);
        let mean = [0, 1, 2].map(|c| drawn.iter().map(|p| f64::from(p[c])).sum::<f64>() / drawn.len() as f64);
        assert!(mean[0] < mean[1] && mean[1] < mean[2], "light blue has more blue than green than red: {mean:?}");
    }
}

#[test]
fn models_that_are_not_there_or_do_not_fit_are_named() {
    let desk = Desk::new();
    let clip = places::clip("tfjs_pose_squats.mp4");
    // as if nothing had been imported
    let bare = models_without(&desk, "catalog.d");
    let args = ["run", text(&clip), "--pipeline", "hmr2", "-o", "o.mp4", "--models"];
    desk.fails(&[&args[..], &[text(&bare)]].concat(), 4, &["`hmr2`"]);
    let models = places::hmr2_fixture();
    let with = |set: &'static str| [&args[..], &[text(&models), "--set", set]].concat();
    desk.fails(&with("detector=hmr2"), 4, &["hmr2", "[model.detector]"]);
    desk.fails(&with("body=halfpipe_body"), 4, &["halfpipe_body", "12 shape parameters", "10"]);
}
