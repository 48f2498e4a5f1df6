//! Everything together, as on many machines: `infra/local/stack.sh` sets up S3 and SQS, a front door and two workers, uploads clips by
//! presigned addresses, and lets the bucket's events do the rest.

use std::process::Command;

use halfpipe_testkit::{clips, places};

/// Of the two clips.
const FRAMES: [u32; 2] = [10, 12];

#[test]
fn uploads_go_through_bucket_event_queue_and_worker() {
    let kept = tempfile::tempdir().unwrap();
    let clip = |n: u32| clips::first_frames("tfjs_pose_squats.mp4", FRAMES[n as usize], &kept.path().join(format!("in{n}.mp4")));
    let output = Command::new(places::root().join("infra/local/stack.sh"))
        .args([clip(0), clip(1)])
        .env("HALFPIPE", env!("CARGO_BIN_EXE_halfpipe"))
        .env("HALFPIPE_GUESTS", places::guests())
        .env("HALFPIPE_MODELS", places::models())
        .env("KEEP", kept.path())
        .env_remove("S3_ENDPOINT")
        .env_remove("SQS_ENDPOINT")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    // the script itself compares every video with its report; here it is that it did so for both clips, and left nothing behind
    for (n, frames) in FRAMES.into_iter().enumerate() {
        assert!(said.lines().any(|line| line.contains(&format!("result {n}: job "))), "{said}");
        let report = std::fs::read(kept.path().join(format!("clip{n}.report.json"))).unwrap();
        let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
        assert_eq!(report["counts"]["frames"], frames, "{report}");
    }
    assert!(said.contains("messages left in the queue: 0"), "{said}");
}
