//! `--video`: what decodes and encodes. This machine has no GPU: what a GPU would do is done by an ffmpeg that notes what it is asked for and
//! does it in software, so everything but the hardware is tested. Not run on a GPU.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]

mod common;

use common::{Desk, Ran, poses, text};
use halfpipe_testkit::clips;
use halfpipe_testkit::gpu::GpuFfmpeg;
use serde_json::{Value, json};

/// Runs the program with this ffmpeg.
fn run_with(desk: &Desk, gpu: &GpuFfmpeg, args: &[&str]) -> Ran {
    Ran::from(desk.command().env("HALFPIPE_FFMPEG", &gpu.path).args(args).output().unwrap())
}

/// The report of a job that must succeed with this ffmpeg.
fn report_with(desk: &Desk, gpu: &GpuFfmpeg, args: &[&str]) -> Value {
    let ran = run_with(desk, gpu, &[&["run", "--json"], args].concat());
    assert_eq!(ran.code, Some(0), "{args:?}: {}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

fn finding(ran: &Ran) -> Value {
    let findings: Value = serde_json::from_str(&ran.stdout).unwrap();
    findings.as_array().unwrap().iter().find(|f| f["check"] == "video codecs").unwrap().clone()
}

#[test]
fn a_gpu_that_is_not_there_is_an_error_and_the_doctor_names_it() {
    let desk = Desk::new();
    clips::test_pattern(&desk.path("in.mp4"), "320x180", "30", 5, true);
    let words = ["GPU 0", "NVIDIA", "--video software", "--video auto"];
    desk.fails(&["run", "in.mp4", "-o", "out.mp4", "--video", "nvidia"], 4, &words);
    for choice in ["software", "auto"] {
        let report = desk.report(&["in.mp4", "-o", "out.mp4", "-y", "--video", choice]);
        assert_eq!(report["settings"]["video"], json!({ "decoder": "software", "encoder": "libx264" }), "{choice}");
        assert_eq!(clips::frame_times(&desk.path("out.mp4")).len(), 5);
    }
    let absent = desk.run(&["doctor", "--json"]);
    let absent = finding(&absent);
    assert_eq!(absent["ok"], true, "nobody asked for it: {absent}");
    let message = absent["message"].as_str().unwrap();
    assert!(message.starts_with("software") && message.contains("NVIDIA"), "{message}");
    let asked = desk.run(&["doctor", "--json", "--video", "nvidia"]);
    assert_eq!((asked.code, &finding(&asked)["ok"]), (Some(4), &json!(false)));
    for word in words {
        assert!(finding(&asked)["message"].as_str().unwrap().contains(word), "{}", asked.stdout);
    }
}

#[test]
fn a_whole_job_is_decoded_and_encoded_by_the_gpu() {
    let desk = Desk::new();
    let person = clips::first_frames("tfjs_pose_squats.mp4", 12, &desk.path("person.mp4"));
    let tone = ["-i", text(&person), "-f", "lavfi", "-i", "sine=sample_rate=48000", "-c:v", "copy", "-c:a", "aac", "-shortest"];
    let input = clips::ffmpeg(&tone, &desk.path("in.mp4"));
    let gpu = GpuFfmpeg::new(desk.dir.path(), "format=nv12", "");
    let quick = ["--set", "detector_sizes=[256]"];
    let on_gpu = [&["in.mp4", "-o", "gpu.mp4", "--poses", "gpu.jsonl", "--video", "nvidia", "--gpu", "1", "--quality", "23"], &quick[..]];
    let report = report_with(&desk, &gpu, &on_gpu.concat());
    assert_eq!(report["settings"]["video"], json!({ "decoder": "nvidia", "encoder": "h264_nvenc" }));
    assert_eq!((&report["settings"]["preset"], &report["settings"]["quality"]), (&json!("p4"), &json!(23)));
    assert_eq!(clips::frame_times(&desk.path("gpu.mp4")), clips::frame_times(&input));
    assert_eq!(clips::audio_hashes(&desk.path("gpu.mp4")), clips::audio_hashes(&input));
    let calls = gpu.calls();
    let asked = |of: &str, words: &[&str]| {
        let call = calls.iter().rfind(|call| call.contains(of)).unwrap_or_else(|| panic!("no {of} in {calls:?}"));
        assert!(words.iter().all(|word| call.contains(word)), "{call} lacks some of {words:?}");
    };
    asked("file:in.mp4 -map 0:0", &["-hwaccel cuda -hwaccel_device 1", "format=yuv420p"]);
    asked("pipe:0", &["-c:v h264_nvenc", "-preset p4", "-gpu 1", "-rc vbr -cq 23 -b:v 0", "-c:a:0 copy"]);

    // the same frames were seen and drawn on as in software
    let software = desk.report(&[&["in.mp4", "-o", "cpu.mp4", "--poses", "cpu.jsonl", "--video", "software"], &quick[..]].concat());
    assert_eq!(poses(&desk.path("gpu.jsonl"))[1..], poses(&desk.path("cpu.jsonl"))[1..]);
    assert_eq!(report["counts"], software["counts"]);

    let before = gpu.calls().len();
    let ran = run_with(&desk, &gpu, &["run", "in.mp4", "-o", "gpu.mp4", "-y", "--video", "nvidia", quick[0], quick[1]]);
    assert!(ran.stdout.contains("decoder nvidia, encoder h264_nvenc"), "{}", ran.stdout);
    // where networks run on the CPU, auto does not even look for a GPU
    let auto_from = gpu.calls().len();
    assert!(auto_from > before);
    report_with(&desk, &gpu, &["in.mp4", "-o", "gpu.mp4", "-y", "--video", "auto", quick[0], quick[1]]);
    let auto = &gpu.calls()[auto_from..];
    assert!(!auto.is_empty() && auto.iter().all(|call| !call.contains("nvenc") && !call.contains("hwaccel")), "{auto:?}");
    let doctor = finding(&run_with(&desk, &gpu, &["doctor", "--json"]));
    assert!(doctor["ok"] == true && doctor["message"].as_str().unwrap().contains("--video nvidia"), "{doctor}");
}

#[test]
fn a_preset_is_its_encoders_or_is_refused() {
    let desk = Desk::new();
    clips::test_pattern(&desk.path("in.mp4"), "320x180", "30", 5, false);
    let job = ["run", "in.mp4", "-o", "out.mp4", "--preset"];
    desk.fails(&[&job[..], &["p5", "--video", "software"]].concat(), 3, &["libx264", "not p5", "ultrafast", "--video nvidia"]);
    let gpu = GpuFfmpeg::new(desk.dir.path(), "format=nv12", "");
    let ran = run_with(&desk, &gpu, &[&job[..], &["medium", "--video", "nvidia"]].concat());
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.error().contains("h264_nvenc") && ran.error().contains("p1, p2") && ran.error().contains("--video software"));
    assert!(!desk.path("out.mp4").exists());
    let report = report_with(&desk, &gpu, &["in.mp4", "-o", "out.mp4", "--preset", "p7", "--video", "nvidia"]);
    assert_eq!(report["settings"]["preset"], "p7");
    assert!(gpu.calls().iter().any(|call| call.contains("-preset p7 -gpu 0")), "{:?}", gpu.calls());
}

#[test]
fn parts_of_two_encoders_are_not_joined() {
    let desk = Desk::new();
    clips::test_pattern(&desk.path("in.mp4"), "320x180", "30", 40, false);
    let gpu = GpuFfmpeg::new(desk.dir.path(), "format=nv12", "");
    assert_eq!(desk.run(&["split", "in.mp4", "--windows", "2", "--overlap", "0.2", "-o", "plan.json"]).code, Some(0));
    std::fs::create_dir(desk.path("parts")).unwrap();
    let part = |k: u32, video: &str| {
        let (window, out, lines) = (format!("plan.json:{k}"), format!("parts/out_{k}.mp4"), format!("parts/poses_{k}.jsonl"));
        report_with(&desk, &gpu, &["in.mp4", "--window", &window, "-o", &out, "--poses", &lines, "-y", "--video", video]);
    };
    part(0, "nvidia");
    part(1, "software");
    let join = ["join", "plan.json", "--parts", "parts", "-o", "out.mp4", "--poses", "poses.jsonl"];
    desk.fails(&join, 3, &["window 1", "encoder: \"libx264\" instead of \"h264_nvenc\"", "plan.json:1"]);
    // poses alone do not depend on it
    assert_eq!(desk.run(&["join", "plan.json", "--parts", "parts", "--poses", "alone.jsonl"]).code, Some(0));
    part(1, "nvidia");
    let joined = desk.run(&join);
    assert_eq!(joined.code, Some(0), "{}", joined.stderr);
    assert_eq!(clips::frame_times(&desk.path("out.mp4")), clips::frame_times(&desk.path("in.mp4")));
}
