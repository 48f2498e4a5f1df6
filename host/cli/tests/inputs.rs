//! Inputs of every kind, made here and sent through the whole program: the same frames, times and sound come out, upright.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]

mod common;

use std::path::Path;

use common::{Desk, poses, text};
use halfpipe_testkit::{clips, pictures};
use serde_json::Value;

/// Runs the default pipeline and checks count, times, sound and the pose file against the input.
fn comes_out_right(desk: &Desk, input: &Path, size: (u64, u64)) -> Value {
    let (out, lines) = (desk.path("out.mp4"), desk.path("poses.jsonl"));
    let report = desk.report(&[text(input), "-o", text(&out), "--poses", text(&lines), "-y"]);
    let times = clips::frame_times(input);
    assert_eq!(clips::frame_times(&out), times, "{}", input.display());
    assert_eq!(report["counts"]["frames"], times.len());
    assert_eq!(clips::audio_hashes(&out), clips::audio_hashes(input), "{}", input.display());
    let shape = clips::ffprobe(&out, &["-select_streams", "v:0", "-show_entries", "stream=codec_name,width,height,pix_fmt"]);
    assert_eq!(shape, [format!("h264,{},{},yuv420p", size.0, size.1)]);
    let lines = poses(&lines);
    assert_eq!(lines.len(), times.len() + 1);
    for (i, line) in lines[1..].iter().enumerate() {
        assert_eq!(line["index"], i);
        let (said, due) = (line["timestamp"].as_f64().unwrap(), times[i].parse::<f64>().unwrap());
        assert!((said - due).abs() < 1e-6, "frame {i}: {said} is not {due}");
    }
    report
}

#[test]
fn ordinary_with_sound() {
    let desk = Desk::new();
    let input = clips::test_pattern(&desk.path("in.mp4"), "320x180", "30", 40, true);
    comes_out_right(&desk, &input, (320, 180));
}

#[test]
fn variable_rate() {
    let desk = Desk::new();
    let uneven = "testsrc2=size=320x180:rate=30,setpts='(N+floor(N/3)*2+mod(N*7,5)*0.1)/30/TB'";
    let args = ["-f", "lavfi", "-i", uneven, "-fps_mode", "passthrough", "-frames:v", "25", "-c:v", "libx264", "-pix_fmt", "yuv420p"];
    let input = clips::ffmpeg(&args, &desk.path("in.mkv"));
    let times = clips::frame_times(&input);
    let gaps: std::collections::BTreeSet<String> =
        times.windows(2).map(|w| format!("{:.3}", w[1].parse::<f64>().unwrap() - w[0].parse::<f64>().unwrap())).collect();
    assert!(gaps.len() > 2, "the clip must really vary: {gaps:?}");
    comes_out_right(&desk, &input, (320, 180));
}

#[test]
fn a_start_other_than_zero() {
    let desk = Desk::new();
    let args = [
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=320x180:rate=25",
        "-frames:v",
        "20",
        "-output_ts_offset",
        "7.5",
        "-c:v",
        "libx264",
        "-pix_fmt",
        "yuv420p",
    ];
    let input = clips::ffmpeg(&args, &desk.path("in.mkv"));
    assert!(clips::frame_times(&input)[0].parse::<f64>().unwrap() > 7.0);
    comes_out_right(&desk, &input, (320, 180));
}

#[test]
fn portrait_from_a_phone() {
    let desk = Desk::new();
    let flat = clips::test_pattern(&desk.path("flat.mp4"), "320x180", "30", 10, false);
    let input = clips::ffmpeg(&["-i", text(&flat), "-c", "copy", "-metadata:s:v", "rotate=90"], &desk.path("in.mp4"));
    let report = comes_out_right(&desk, &input, (180, 320));
    assert_ne!(report["input"]["rotation"], 0);
    // upright: the same pictures as ffmpeg's own turned ones
    let (ours, due) = (clips::rgb_frames(&desk.path("out.mp4"), (180, 320)), clips::rgb_frames(&input, (180, 320)));
    assert!(pictures::mean_difference(&ours[5], &due[5]) < 6.0);
}

#[test]
fn odd_sides() {
    let desk = Desk::new();
    let args = ["-f", "lavfi", "-i", "testsrc=size=177x99:rate=30", "-frames:v", "10", "-c:v", "ffv1", "-pix_fmt", "yuv444p"];
    let input = clips::ffmpeg(&args, &desk.path("in.mkv"));
    let report = comes_out_right(&desk, &input, (178, 100));
    assert!(report["warnings"].to_string().contains("178"), "the added row and column must be told: {}", report["warnings"]);
}

#[test]
fn a_single_frame() {
    let desk = Desk::new();
    let input = clips::test_pattern(&desk.path("in.mp4"), "320x180", "30", 1, false);
    comes_out_right(&desk, &input, (320, 180));
}

#[test]
fn four_four_four_and_ten_bits() {
    for format in ["yuv444p", "yuv420p10le", "yuv422p10le"] {
        let desk = Desk::new();
        let args = ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30", "-frames:v", "10", "-c:v", "ffv1", "-pix_fmt", format];
        let input = clips::ffmpeg(&args, &desk.path("in.mkv"));
        comes_out_right(&desk, &input, (320, 180));
        let (ours, due) = (clips::rgb_frames(&desk.path("out.mp4"), (320, 180)), clips::rgb_frames(&input, (320, 180)));
        let difference = pictures::mean_difference(&ours[5], &due[5]);
        assert!(difference < 8.0, "{format}: {difference}");
    }
}

#[test]
fn two_sound_tracks_are_copied() {
    let desk = Desk::new();
    let args = [
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=320x180:rate=30",
        "-f",
        "lavfi",
        "-i",
        "sine=440",
        "-f",
        "lavfi",
        "-i",
        "sine=660",
        "-map",
        "0",
        "-map",
        "1",
        "-map",
        "2",
        "-t",
        "1",
        "-c:v",
        "libx264",
        "-pix_fmt",
        "yuv420p",
        "-c:a",
        "aac",
    ];
    let input = clips::ffmpeg(&args, &desk.path("in.mp4"));
    assert_eq!(clips::audio_hashes(&input).len(), 2);
    comes_out_right(&desk, &input, (320, 180));
}

#[test]
fn a_part_of_the_clip() {
    let desk = Desk::new();
    let input = clips::test_pattern(&desk.path("in.mp4"), "320x180", "30", 60, false);
    let report = desk.report(&[text(&input), "-o", "out.mp4", "--poses", "p.jsonl", "--from", "0.5", "--to", "1"]);
    assert_eq!(report["counts"]["frames"], 15);
    let due: Vec<String> = clips::frame_times(&input).into_iter().filter(|t| (0.5..1.0).contains(&t.parse::<f64>().unwrap())).collect();
    let said: Vec<f64> = poses(&desk.path("p.jsonl"))[1..].iter().map(|l| l["timestamp"].as_f64().unwrap()).collect();
    assert_eq!(said.len(), due.len());
    assert!(said.iter().zip(&due).all(|(a, b)| (a - b.parse::<f64>().unwrap()).abs() < 1e-6), "{said:?}");
}

#[test]
fn nobody_anywhere_is_a_finished_job_that_says_so() {
    let desk = Desk::new();
    let input = clips::test_pattern(&desk.path("in.mp4"), "320x180", "30", 20, false);
    let report =
        desk.report(&[text(&input), "-o", "o.mp4", "--poses", "p.jsonl", "--glb", "m.glb", "--bvh", "m.bvh", "--report", "r.json"]);
    assert_eq!(report["counts"]["people"], 0);
    assert_eq!(report["counts"]["frames_drawn"], 0);
    assert_eq!(report["counts"]["statuses"]["no_person"], 20);
    assert!(report["warnings"].to_string().contains("nobody was found"), "{}", report["warnings"]);
    for file in ["o.mp4", "p.jsonl", "m.glb", "m.bvh", "r.json"] {
        assert!(desk.path(file).is_file(), "{file}");
    }
    // no pixel was drawn on: what comes out is what went in, encoded once more
    let (ours, due) = (clips::rgb_frames(&desk.path("o.mp4"), (320, 180)), clips::rgb_frames(&input, (320, 180)));
    assert!(pictures::mean_difference(&ours[10], &due[10]) < 4.0);
}
