//! Memory is flat: a clip twenty times as long needs no more of it.

mod common;

use common::{Desk, text};
use halfpipe_testkit::{clips, places};

/// Frames of the shorter and the longer clip.
const FRAMES: [u64; 2] = [300, 6000];

#[test]
fn a_clip_twenty_times_as_long_needs_no_more() {
    let desk = Desk::new();
    let person = places::clip("intel_one_by_one_person.mp4");
    // the last person of the clip, over and over, small enough that thousands of frames take a minute
    let loop_of = |frames: u64| {
        let name = desk.path(&format!("{frames}.mp4"));
        let count = frames.to_string();
        let args = ["-stream_loop", "-1", "-i", text(&person), "-vf", "scale=384:-2", "-frames:v", &count, "-c:v", "libx264", "-preset", "ultrafast", "-an"];
        clips::ffmpeg(&args, &name)
    };
    let peak = |frames: u64| {
        let input = loop_of(frames);
        let args = [text(&input), "-o", "o.mp4", "--poses", "p.jsonl", "-y", "--landmarks", "lite", "--preset", "ultrafast", "--set", "detector_sizes=[256]"];
        let report = desk.report(&args);
        assert_eq!(report["counts"]["frames"], frames);
        assert!(report["counts"]["people"].as_u64().unwrap() > frames / 20, "somebody must be drawn: {}", report["counts"]);
        report["peak_rss_bytes"].as_f64().unwrap()
    };
    let [short, long] = FRAMES.map(peak);
    println!("peak memory: {:.0} MiB for {} frames, {:.0} MiB for {}", short / 1048576.0, FRAMES[0], long / 1048576.0, FRAMES[1]);
    assert!(long < short * 1.1, "{long} bytes against {short}");
}
