//! Memory is flat: a clip five times as long needs no more of it. `make bench ARGS='--only memory'` does the same with 30,000 frames,
//! and `allocations.rs` counts what a frame leaves behind.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]

mod common;

use common::{Desk, text};
use halfpipe_testkit::{clips, places};

/// How often the longer clip repeats the shorter one, which has 300 frames.
const REPEATS: u64 = 5;
/// Most that the longer clip may need of what the shorter one needs: repeated runs differ by 3 %. So a frame may leave 19 KB behind, which
/// is less than its picture; smaller leaks show in `allocations.rs`.
const MOST: f64 = 1.1;

#[test]
fn a_clip_five_times_as_long_needs_no_more() {
    let desk = Desk::new();
    let person = places::clip("intel_one_by_one_person.mp4");
    // somebody walks through and is gone, and nobody comes for as long again; small, so that the frames are many
    let filter = "trim=start=56:end=71,setpts=PTS-STARTPTS,tpad=stop_mode=clone:stop=150,scale=192:-2";
    let cut = ["-i", text(&person), "-vf", filter, "-frames:v", "300", "-c:v", "libx264", "-preset", "ultrafast", "-an"];
    let short = clips::ffmpeg(&cut, &desk.path("short.mp4"));
    let again = (REPEATS - 1).to_string();
    let long = clips::ffmpeg(&["-stream_loop", &again, "-i", text(&short), "-c", "copy"], &desk.path("long.mp4"));
    let peak = |input: &std::path::Path, frames: u64| {
        let args = [
            text(input),
            "-o",
            "o.mp4",
            "--poses",
            "p.jsonl",
            "-y",
            "--landmarks",
            "lite",
            "--preset",
            "ultrafast",
            "--set",
            "detector_sizes=[128]",
            // with more, a network gets a second session, which takes 50 MiB, once cores stand idle: in the longer clip alone, perhaps
            "--threads",
            "1",
        ];
        let report = desk.report(&args);
        assert_eq!(report["counts"]["frames"], frames);
        assert!(report["counts"]["people"].as_u64().unwrap() > frames / 4, "somebody must be drawn: {}", report["counts"]);
        report["peak_rss_bytes"].as_f64().unwrap()
    };
    let (once, often) = (peak(&short, 300), peak(&long, 300 * REPEATS));
    println!("peak memory: {:.0} MiB for 300 frames, {:.0} MiB for {}", once / 1048576.0, often / 1048576.0, 300 * REPEATS);
    assert!(often < once * MOST, "{often} bytes against {once}");
}
