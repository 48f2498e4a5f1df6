//! The shipped path: what crosses into the guest is small and never pixels, vertices or weights; the report says what made it.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]
// the engines' types are deep: wgpu's resources stand behind the host
#![recursion_limit = "256"]

mod common;

use common::{Bench, guest, host, run, runtime};
use halfpipe_testkit::clips;
use serde_json::json;

/// Frames of the clip: three batches of 8, the last one not full.
const FRAMES: u32 = 20;

/// The beginning of a real clip through the default pipeline.
fn squats(lockstep: bool) -> (Bench, halfpipe_runtime::JobReport) {
    let bench = Bench::new();
    let report = run(async || {
        let mut job = bench.job(guest("overlay").await, json!({ "detector_sizes": [256] }));
        job.input = clips::first_frames("tfjs_pose_squats.mp4", FRAMES, &bench.dir.path().join("squats.mp4"));
        job.outputs.poses = Some(bench.out("poses.jsonl"));
        job.lockstep = lockstep;
        job.batch = if lockstep { 1 } else { 8 };
        job
    });
    (bench, report.unwrap())
}

#[test]
fn the_guest_reads_far_less_than_a_frame() {
    let (_bench, report) = squats(false);
    assert_eq!(report.counts.frames, u64::from(FRAMES));
    assert_eq!(report.counts.frames_drawn, u64::from(FRAMES));
    // every byte that a guest reads of a tensor passes `tensor.data`, which is counted
    let per_frame = report.sandbox.tensor_bytes_read as f64 / f64::from(FRAMES);
    let frame = f64::from(720 * 1280 * 3);
    assert!(per_frame < frame / 2.0, "{per_frame} bytes a frame, a frame has {frame}");
    let declared = report.sandbox.tensors_read.keys().cloned().collect::<Vec<_>>();
    assert!(declared.iter().all(|from| from.starts_with("compute(")), "only what networks computed is read: {declared:?}");
    assert!(!declared.iter().any(|from| from.contains("halfpipe_body")), "vertices were read: {declared:?}");
}

#[test]
fn overlap_changes_nothing_but_the_time() {
    let (a, overlapped) = squats(false);
    let (b, lockstep) = squats(true);
    assert_eq!(overlapped.counts.statuses, lockstep.counts.statuses);
    assert_eq!(overlapped.counts.people, lockstep.counts.people);
    let frames = |bench: &Bench| {
        let text = std::fs::read_to_string(bench.out("poses.jsonl")).unwrap();
        text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(frames(&a), frames(&b), "the same poses, to the last digit");
}

#[test]
fn the_sandbox_costs_little_and_says_so() {
    let (_bench, report) = squats(false);
    assert!(report.sandbox.cpu_seconds["fit"] > 0.0);
    assert!(report.sandbox.cpu_seconds["logic"] > 0.0);
    assert!(report.sandbox.host_calls > u64::from(FRAMES));
    assert!(report.sandbox.share_without_fit < 0.02, "{} of the job's CPU time", report.sandbox.share_without_fit);
}

#[test]
fn a_report_names_what_made_it() {
    let (_bench, report) = squats(false);
    let p = &report.provenance;
    assert_eq!(p.guest_sha256.len(), 64);
    let names: Vec<&str> = p.models.keys().map(String::as_str).collect();
    let rig = "halfpipe_body/halfpipe_body.rig.safetensors";
    assert_eq!(names, ["halfpipe_body", rig, "movenet_multipose", "pose_landmark_full"], "graphs, and what lies beside them");
    assert!(p.models.values().all(|digest| digest.len() == 64));
    assert!(p.licences.values().all(|licence| !licence.is_empty()));
    assert!(p.execution_provider.contains("CPU"));
    assert_eq!(p.adapter_software, report.warnings.iter().any(|w| w.code == "software_renderer"));
}

#[test]
fn two_jobs_at_once_both_come_out_right() {
    let bench = Bench::new();
    runtime().block_on(async {
        let guest = guest("example").await;
        let mut first = bench.job(std::sync::Arc::clone(&guest), json!({}));
        let mut second = first.clone();
        first.id = "first".into();
        second.id = "second".into();
        second.outputs.video = Some(bench.out("second.mp4"));
        let (a, b) = tokio::join!(host().run(first), host().run(second));
        assert_eq!((a.unwrap().counts.frames_drawn, b.unwrap().counts.frames_drawn), (30, 30));
    });
    let pictures = |name: &str| clips::rgb_frames(&bench.out(name), (320, 180));
    assert_eq!(pictures("out.mp4"), pictures("second.mp4"));
}
