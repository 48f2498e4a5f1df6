//! Truth on real footage: three clips through the whole program, looked at from every side.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use common::{Desk, poses, text};
use halfpipe_kit::camera::Pinhole;
use halfpipe_kit::rotation::Vec3;
use halfpipe_testkit::{clips, places};
use serde_json::Value;

/// A finished run.
struct Run {
    desk: Desk,
    input: PathBuf,
    report: Value,
    header: Value,
    frames: Vec<Value>,
}

impl Run {
    /// Runs the default pipeline with every output and checks what holds for any clip.
    fn of(clip: &str, frames: usize) -> Self {
        let desk = Desk::new();
        let input = places::clip(clip);
        let args = [text(&input), "-o", "o.mp4", "--poses", "p.jsonl", "--glb", "m.glb", "--bvh", "m.bvh", "--report", "r.json"];
        let report = desk.report(&args);
        let mut lines = poses(&desk.path("p.jsonl"));
        let header = lines.remove(0);
        let run = Self { desk, input, report, header, frames: lines };
        run.frames_and_times(frames);
        run.provenance();
        run.drawn_means_changed();
        run.bodies_sit_on_people();
        run
    }

    fn frames_and_times(&self, frames: usize) {
        assert_eq!(self.frames.len(), frames);
        assert_eq!(self.report["counts"]["frames"], frames);
        let out = self.desk.path("o.mp4");
        assert_eq!(clips::frame_times(&out), clips::frame_times(&self.input));
        assert_eq!(clips::audio_hashes(&out), clips::audio_hashes(&self.input));
    }

    fn provenance(&self) {
        let said = &self.report["provenance"];
        assert_eq!(&self.header["provenance"], said, "the pose file says the same as the report");
        for key in
            ["host_version", "guest", "guest_version", "guest_sha256", "models", "execution_provider", "precision", "adapter", "ffmpeg"]
        {
            assert!(!said[key].is_null(), "{key}");
        }
        assert_eq!(said["guest_sha256"].as_str().unwrap().len(), 64);
        assert_eq!(self.header["settings"], self.report["settings"]["guest"]);
        let stored: Value = serde_json::from_str(&std::fs::read_to_string(self.desk.path("r.json")).unwrap()).unwrap();
        assert_eq!(stored["counts"], self.report["counts"]);
    }

    fn people(&self) -> impl Iterator<Item = (usize, &Value)> {
        self.frames.iter().enumerate().flat_map(|(i, f)| f["people"].as_array().unwrap().iter().map(move |p| (i, p)))
    }

    /// `mesh_drawn` is said only where pixels differ: frames without it are as they came, frames with it are not.
    fn drawn_means_changed(&self) {
        let drawn: BTreeSet<usize> = self.people().filter(|(_, p)| p["mesh_drawn"] == true).map(|(i, _)| i).collect();
        assert_eq!(self.report["counts"]["frames_drawn"], drawn.len());
        for (i, frame) in self.frames.iter().enumerate() {
            if frame["status"] == "no_person" {
                assert!(!drawn.contains(&i) && frame["people"].as_array().unwrap().is_empty(), "frame {i}");
            }
        }
    }

    /// Landmarks of limbs against the joints of the fitted body, projected: the median, in pixels of a 640 wide frame.
    fn bodies_sit_on_people(&self) {
        // (landmark, joint): shoulders, elbows, wrists, hips, knees, ankles
        const PAIRS: [(usize, usize); 12] =
            [(11, 16), (12, 17), (13, 18), (14, 19), (15, 20), (16, 21), (23, 1), (24, 2), (25, 4), (26, 5), (27, 7), (28, 8)];
        let scale = 640.0 / self.report["input"]["width"].as_f64().unwrap();
        let mut distances = Vec::new();
        for (_, person) in self.people().filter(|(_, p)| p["status"] == "detected") {
            for (landmark, joint) in PAIRS {
                let (l, j) = (&person["landmarks2d"][landmark], &person["pose"]["joints2d"][joint]);
                let at = |v: &Value, k: usize| v[k].as_f64().unwrap();
                if at(l, 2) > 0.5 {
                    distances.push(scale * (at(l, 0) - at(j, 0)).hypot(at(l, 1) - at(j, 1)));
                }
            }
        }
        distances.sort_by(f64::total_cmp);
        let median = distances[distances.len() / 2];
        println!("{}: median distance {median:.2} px at 640 wide over {} landmarks", self.input.display(), distances.len());
        assert!(median < 5.0, "{median} px");
    }

    /// First and last frame, and number of frames, of each track with a pose.
    fn tracks(&self) -> BTreeMap<u64, (usize, usize, usize)> {
        let mut tracks = BTreeMap::new();
        for (i, person) in self.people().filter(|(_, p)| !p["pose"].is_null()) {
            let entry = tracks.entry(person["track"].as_u64().unwrap()).or_insert((i, i, 0));
            entry.1 = i;
            entry.2 += 1;
        }
        tracks
    }
}

#[test]
fn squats_from_first_to_last_frame() {
    let run = Run::of("tfjs_pose_squats.mp4", 65);
    assert_eq!(run.report["counts"]["statuses"]["detected"], 65, "the person is in every frame");
    assert_eq!(run.report["counts"]["frames_drawn"], 65);
    assert_eq!(run.report["counts"]["tracks"], 1);
    assert!(run.report["sandbox"]["share_without_fit"].as_f64().unwrap() < 0.02, "{}", run.report["sandbox"]);
}

/// The makers' reference was recorded by MediaPipe's Python solution, whose filters are told that frames come at 30 a second
/// whatever the clip says, and in the axes of the crop; the clip is given those times, and our camera axes are turned back.
#[test]
fn squats_against_the_makers_reference() {
    let desk = Desk::new();
    let slow = places::clip("tfjs_pose_squats.mp4");
    let input = clips::ffmpeg(&["-itsscale", "0.1666666667", "-i", text(&slow), "-c", "copy", "-an"], &desk.path("in.mp4"));
    let report = desk.report(&[text(&input), "--poses", "p.jsonl"]);
    let lines = poses(&desk.path("p.jsonl"));
    let camera = Pinhole::for_size(report["input"]["width"].as_u64().unwrap() as u32, report["input"]["height"].as_u64().unwrap() as u32);
    let reference =
        |name: &str| -> Vec<Vec<[f64; 3]>> { serde_json::from_str(&std::fs::read_to_string(places::clip(name)).unwrap()).unwrap() };
    let (flat, solid) = (reference("tfjs_pose_squats.full.json"), reference("tfjs_pose_squats_3d.full.json"));
    let (mut worst_px, mut worst_m) = (0.0f64, 0.0f64);
    for (i, frame) in lines[1..].iter().enumerate() {
        let person = &frame["people"][0];
        let points = |field: &str| -> Vec<[f64; 3]> { serde_json::from_value(person[field].clone()).unwrap() };
        let (ours, world) = (points("landmarks2d"), points("landmarks3d"));
        let hips = [0, 1].map(|k| (ours[23][k] + ours[24][k]) / 2.0);
        let crop_from_camera = camera.rotation_to_ray(hips).transpose();
        for l in 0..33 {
            let in_crop = crop_from_camera * Vec3::from(world[l]);
            for k in 0..3 {
                worst_m = worst_m.max((in_crop[k] - solid[i][l][k]).abs());
            }
            for k in 0..2 {
                worst_px = worst_px.max((ours[l][k] - flat[i][l][k]).abs());
            }
        }
    }
    println!("worst coordinate against the makers' reference: {worst_px:.1} px, {worst_m:.3} m");
    assert!(worst_px < 28.0, "{worst_px} px");
    assert!(worst_m < 0.19, "{worst_m} m");
}

#[test]
fn a_jump_keeps_its_jumper() {
    let run = Run::of("sports2d_demo.mp4", 230);
    let tracks = run.tracks();
    println!("tracks (first, last, frames): {tracks:?}");
    assert_eq!(tracks.len(), 2, "the jumper and the walker: {tracks:?}");
    let (id, (first, last, frames)) = tracks.iter().max_by_key(|(_, t)| t.2).unwrap();
    assert!(*first < 3 && *last > 220, "one id from start to end: {tracks:?}");
    assert_eq!(*frames, last - first + 1, "a pose in every frame in between");
    let boxes: Vec<f64> = run
        .people()
        .filter(|(_, p)| p["track"] == *id)
        .map(|(_, p)| {
            assert_eq!(p["mesh_drawn"], true);
            p["box"][1].as_f64().unwrap() + p["box"][3].as_f64().unwrap()
        })
        .collect();
    let (top, bottom) = boxes.iter().fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
    assert!(bottom - top > 350.0, "the same track stands on the block and lands below: {top} to {bottom}");
}

#[test]
fn people_one_by_one() {
    let run = Run::of("intel_one_by_one_person.mp4", 1394);
    let statuses = &run.report["counts"]["statuses"];
    println!("statuses: {statuses}, tracks: {:?}", run.tracks());
    assert!(statuses["no_person"].as_u64().unwrap() > 50, "the room is empty at times: {statuses}");
    assert!(statuses["detected"].as_u64().unwrap() > 500, "{statuses}");
    let tracks = run.tracks();
    assert!(tracks.len() >= 4, "people come one after the other, each with a new id: {tracks:?}");
    // ids are given in order of appearance
    let starts: Vec<usize> = tracks.values().map(|t| t.0).collect();
    assert!(starts.is_sorted(), "{tracks:?}");
}
