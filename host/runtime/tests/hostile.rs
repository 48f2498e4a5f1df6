//! Guests that break a rule: each ends as one failed job with a clear error, the host unharmed and everything freed.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]
// the engines' types are deep: wgpu's resources stand behind the host
#![recursion_limit = "256"]

mod common;

use std::sync::{Mutex, MutexGuard, PoisonError};

use common::{Bench, children, guest, host, run, runtime};
use halfpipe_runtime::{FaultKind, Outputs, RuntimeError};
use halfpipe_testkit::clips;
use serde_json::json;

/// Tests of one process run one after the other: they look at the process's children.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs one mode and checks that it fails with `words`, leaves nothing behind, and that the host still works.
fn fails(mode: &str, words: &[&str], kind: FaultKind) {
    let _alone = alone();
    let bench = Bench::new();
    let outcome = run(async || {
        let mut job = bench.job(guest("test_hostile").await, json!({ "mode": mode }));
        // a data file is granted only where the mode writes to one: an output that is not made is a fault of its own
        job.outputs.poses = (mode == "push_gigabyte").then(|| bench.out("poses.jsonl"));
        job
    });
    let error = outcome.expect_err(mode);
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{mode}: {text:?} lacks {word:?}");
    }
    assert_eq!(error.kind(), kind, "{mode}: {text}");
    assert_eq!(text.lines().count(), 1, "{mode}: one line, not {text:?}");
    assert!(bench.leftovers().is_empty(), "{mode} left {:?}", bench.leftovers());
    assert_eq!(children(), Vec::<String>::new(), "{mode} left children");
    counting_still_works();
}

/// Reading and writing data.
fn counting_still_works() {
    let bench = Bench::new();
    let report = run(async || {
        let mut job = bench.job(guest("test_hostile").await, json!({ "mode": "count_frames" }));
        job.outputs = Outputs { poses: Some(bench.out("lines.jsonl")), ..Outputs::default() };
        job
    });
    assert_eq!(report.unwrap().counts.frames, 30);
    let lines = std::fs::read_to_string(bench.out("lines.jsonl")).unwrap();
    assert_eq!(lines.lines().last(), Some("30"));
}

/// Reading and writing videos.
fn well_behaved_still_works() {
    let bench = Bench::new();
    let report = run(async || bench.job(guest("test_hostile").await, json!({ "mode": "well_behaved" }))).unwrap();
    assert_eq!(report.counts.frames, 30);
    assert_eq!(clips::frame_times(&bench.out("out.mp4")).len(), 30);
}

#[test]
fn an_endless_loop() {
    fails("spin", &["hostile", "endless loop"], FaultKind::BadGuest);
}

#[test]
fn endless_chatter_without_progress() {
    fails("chatter", &["neither read nor wrote a frame"], FaultKind::BadGuest);
}

#[test]
fn memory_without_end() {
    fails("grow_memory", &["hostile was stopped", "memory"], FaultKind::BadGuest);
}

#[test]
fn recursion_without_end() {
    // its stack lies in its own memory, below everything else, so running over its end is an access out of bounds
    fails("deep_recursion", &["hostile was stopped", "trap"], FaultKind::BadGuest);
}

#[test]
fn handles_without_end() {
    fails("leak_handles", &["hostile was stopped", "resource table"], FaultKind::BadGuest);
}

#[test]
fn bytes_behind_handles_without_end() {
    fails("leak_frames", &["handles of this job", "limit"], FaultKind::Failed);
    well_behaved_still_works();
}

#[test]
fn a_gigabyte_through_a_call() {
    fails("push_gigabyte", &["hostile was stopped"], FaultKind::BadGuest);
}

#[test]
fn a_trap_in_the_middle() {
    fails("trap_midway", &["hostile was stopped", "unreachable"], FaultKind::BadGuest);
    well_behaved_still_works();
}

#[test]
fn a_sink_that_is_never_finished() {
    fails("never_finish", &["ended without"], FaultKind::BadGuest);
    well_behaved_still_works();
}

#[test]
fn an_input_that_was_not_granted() {
    fails("ungranted_input", &["not granted", "/etc/passwd", "granted: input"], FaultKind::Failed);
}

#[test]
fn an_output_that_was_not_granted() {
    fails("ungranted_output", &["not granted", "../escape"], FaultKind::Failed);
}

#[test]
fn a_model_that_was_not_declared() {
    fails("ungranted_model", &["movenet_multipose", "needs"], FaultKind::Failed);
}

#[test]
fn a_body_that_was_not_declared() {
    fails("ungranted_body", &["halfpipe_body_small", "needs"], FaultKind::Failed);
}

#[test]
fn slices_that_are_not_there_or_too_many() {
    fails("wild_slice", &["Slice", "[2, 16, 8]"], FaultKind::Failed);
    fails("many_slices", &["65537 slices", "at most 65536"], FaultKind::Failed);
    fails("large_slices", &["33554432 bytes", "at most"], FaultKind::Failed);
}

#[test]
fn raw_model_bytes() {
    fails("raw_model", &["models come from the catalog"], FaultKind::Failed);
}

#[test]
fn tensors_of_the_wrong_shape() {
    fails("wrong_shape", &["halfpipe_body", "rotations"], FaultKind::BadGuest);
}

#[test]
fn crops_of_nonsense() {
    fails("wild_crop", &["InvalidArgument"], FaultKind::Failed);
}

#[test]
fn blurs_of_nonsense() {
    fails("wild_blur", &["InvalidArgument", "the blur of crop 0"], FaultKind::Failed);
}

#[test]
fn blurs_without_end() {
    fails("endless_blur", &["InvalidArgument", "too much work for one call"], FaultKind::Failed);
}

#[test]
fn pictures_of_no_size() {
    fails("wild_fit", &["InvalidArgument", "the target's width"], FaultKind::Failed);
}

#[test]
fn a_frame_that_is_dropped() {
    fails("drop_frame", &["wrote 29 frames where 30 were read"], FaultKind::BadGuest);
}

#[test]
fn a_claim_that_bodies_were_drawn() {
    fails("claim_drawn", &["reports 30 frames drawn on where 0 changed"], FaultKind::BadGuest);
}

#[test]
fn the_end_of_the_input_not_reached() {
    fails("stop_early", &["before the end of the input"], FaultKind::BadGuest);
}

#[test]
fn files_environment_and_network_are_out_of_reach() {
    fails("escape", &["no files, no environment, no network"], FaultKind::Failed);
}

#[test]
fn options_that_the_schema_does_not_know_never_reach_the_guest() {
    let _alone = alone();
    let bench = Bench::new();
    let error = run(async || bench.job(guest("overlay").await, json!({ "opaqueness": 1 }))).unwrap_err();
    assert!(matches!(error, RuntimeError::Options { .. }), "{error}");
    assert!(error.to_string().contains("opaqueness"), "{error}");
    assert!(bench.leftovers().is_empty());
}

#[test]
fn a_stop_request_ends_a_spinning_guest_too() {
    let _alone = alone();
    let bench = Bench::new();
    let error = runtime().block_on(async {
        let job = bench.job(guest("test_hostile").await, json!({ "mode": "spin" }));
        job.cancel.cancel();
        host().run(job).await.unwrap_err()
    });
    assert!(matches!(error, RuntimeError::Cancelled), "{error}");
    assert!(bench.leftovers().is_empty());
    well_behaved_still_works();
}
