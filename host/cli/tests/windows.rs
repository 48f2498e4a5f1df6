//! A long video over many workers: split, run window by window, joined; compared with the same video in one window.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{Desk, poses, text};
use halfpipe_testkit::{clips, places};
use serde_json::Value;

/// What keeps the runs short.
const QUICK: [&str; 6] = ["--landmarks", "lite", "--preset", "ultrafast", "--set", "detector_sizes=[256]"];
/// Frames to either side of a cut that count as being at the seam.
const AT_SEAM: u64 = 3;
/// Largest mean distance between the joints of a joined run and those of a run in one window, at the seams, millimetres. Where there is
/// no seam the same clip gives about a tenth of it; between two frames a walker's joints move further.
const MOST_MM: f64 = 40.0;

/// What a split, its windows and their join came to.
struct Joined {
    video: PathBuf,
    poses: Vec<Value>,
    report: Value,
}

/// Runs all windows and joins them.
fn in_windows(desk: &Desk, clip: &Path, count: u32, more: &[&str]) -> Joined {
    let (plan, parts) = (format!("plan{count}.json"), format!("parts{count}"));
    std::fs::create_dir(desk.path(&parts)).unwrap();
    let ran = desk.run(&["split", text(clip), "--windows", &count.to_string(), "-o", &plan]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for k in 0..count {
        run_window(desk, clip, &plan, &parts, k, more);
    }
    let (video, lines) = (format!("joined{count}.mp4"), format!("joined{count}.jsonl"));
    let report = join(desk, &[&plan, "--parts", &parts, "-o", &video, "--poses", &lines]);
    Joined { video: desk.path(&video), poses: poses(&desk.path(&lines)), report }
}

fn run_window(desk: &Desk, clip: &Path, plan: &str, parts: &str, k: u32, more: &[&str]) {
    let (window, video, lines) = (format!("{plan}:{k}"), format!("{parts}/out_{k}.mp4"), format!("{parts}/poses_{k}.jsonl"));
    desk.report(&[&[text(clip), "--window", &window, "-o", &video, "--poses", &lines, "-y"], &QUICK[..], more].concat());
}

fn join(desk: &Desk, args: &[&str]) -> Value {
    let ran = desk.run(&[&["join", "--json"], args].concat());
    assert_eq!(ran.code, Some(0), "{args:?}: {}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

fn people(frame: &Value) -> &[Value] {
    frame["people"].as_array().unwrap()
}

/// Intersection over union of two boxes `[x, y, width, height]`.
fn overlap(a: &Value, b: &Value) -> f64 {
    let of = |v: &Value| -> [f64; 4] { std::array::from_fn(|i| v[i].as_f64().unwrap()) };
    let (a, b) = (of(a), of(b));
    let side = |i: usize| ((a[i] + a[i + 2]).min(b[i] + b[i + 2]) - a[i].max(b[i])).max(0.0);
    let both = side(0) * side(1);
    both / (a[2] * a[3] + b[2] * b[3] - both)
}

/// Mean distance of two poses' joints, millimetres.
fn distance(a: &Value, b: &Value) -> Option<f64> {
    let (a, b) = (a["pose"]["joints3d"].as_array()?, b["pose"]["joints3d"].as_array()?);
    let axis = |p: &Value, q: &Value, i: usize| (p[i].as_f64().unwrap() - q[i].as_f64().unwrap()).powi(2);
    let sum: f64 = a.iter().zip(b).map(|(p, q)| (0..3).map(|i| axis(p, q, i)).sum::<f64>().sqrt()).sum();
    Some(1000.0 * sum / a.len() as f64)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Mean difference of each pair of frames, 0 to 255.
fn differences(a: &Path, b: &Path, size: (usize, usize)) -> Vec<f64> {
    let of = |file: &Path| clips::rgb_frames(file, size);
    let frame = |(a, b): (&Vec<u8>, &Vec<u8>)| a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64;
    of(a).iter().zip(&of(b)).map(frame).collect()
}

#[test]
fn one_three_and_seven_windows_make_the_same_video() {
    let desk = Desk::new();
    let people_walking = places::clip("intel_one_by_one_person.mp4");
    // people come and go; a minute, with sound and key frames as an encoder likes them
    let cut = ["-ss", "38", "-i", text(&people_walking), "-f", "lavfi", "-i", "sine=frequency=300:sample_rate=48000"];
    let coded =
        ["-vf", "scale=256:-2", "-frames:v", "600", "-t", "60", "-c:v", "libx264", "-preset", "veryfast", "-g", "45", "-c:a", "aac"];
    let clip = clips::ffmpeg(&[&cut[..], &coded[..]].concat(), &desk.path("minute.mp4"));
    let whole = in_windows(&desk, &clip, 1, &[]);
    let times = clips::frame_times(&clip);
    assert_eq!(times.len(), 600);
    let tracks = whole.report["tracks"].as_u64().unwrap();
    assert!(tracks >= 3, "several people must be told apart: {}", whole.report);
    for count in [3, 7] {
        let joined = in_windows(&desk, &clip, count, &[]);
        assert_eq!(clips::frame_times(&joined.video), times, "{count} windows: every frame at its time");
        assert_eq!(clips::audio_hashes(&joined.video), clips::audio_hashes(&clip), "{count} windows: the sound is the source's");
        assert_eq!(joined.poses.len(), 601);
        assert_eq!(joined.report["seams"].as_array().unwrap().len() as u32, count - 1);
        let seams: Vec<u64> = joined.report["seams"].as_array().unwrap().iter().map(|s| s["frame"].as_u64().unwrap()).collect();
        let at_seam = |i: u64| seams.iter().any(|s| (s.saturating_sub(AT_SEAM)..s + AT_SEAM).contains(&i));

        let (mut near, mut far) = (Vec::new(), Vec::new());
        let (mut same, mut seen) = (0_u32, 0_u32);
        let mut numbers: BTreeMap<(u64, u64), u32> = BTreeMap::new();
        for (a, b) in whole.poses[1..].iter().zip(&joined.poses[1..]) {
            assert_eq!((&a["index"], &a["timestamp"]), (&b["index"], &b["timestamp"]));
            for p in people(a).iter().filter(|p| p["status"] != "low_confidence") {
                seen += 1;
                let best = people(b).iter().max_by(|x, y| overlap(&p["box"], &x["box"]).total_cmp(&overlap(&p["box"], &y["box"])));
                let Some(q) = best.filter(|q| overlap(&p["box"], &q["box"]) > 0.5) else { continue };
                same += 1;
                *numbers.entry((p["track"].as_u64().unwrap(), q["track"].as_u64().unwrap())).or_default() += 1;
                if let Some(d) = distance(p, q) {
                    if at_seam(a["index"].as_u64().unwrap()) { near.push(d) } else { far.push(d) }
                }
            }
        }
        let statuses = |j: &Joined| j.report["statuses"].to_string();
        let video = differences(&whole.video, &joined.video, (256, 144));
        let pixels = |seam: bool| mean(&video.iter().zip(0..).filter(|(_, i)| at_seam(*i) == seam).map(|(d, _)| *d).collect::<Vec<_>>());
        println!(
            "{count} windows: joints differ from one window's by {:.1} mm at the seams (worst {:.1}), {:.1} mm elsewhere; pixels by {:.2} and {:.2} of 255; \
             {same} of {seen} sights are the same, as {numbers:?}; {} and {}",
            mean(&near),
            near.iter().copied().fold(0.0, f64::max),
            mean(&far),
            pixels(true),
            pixels(false),
            statuses(&whole),
            statuses(&joined),
        );
        for seam in joined.report["seams"].as_array().unwrap() {
            println!("    {seam}");
        }
        assert!(numbers.keys().all(|(a, b)| a == b), "{count} windows: a person has another number: {numbers:?}");
        assert!(f64::from(same) >= 0.97 * f64::from(seen), "{count} windows: {same} of {seen} sights");
        assert!(near.len() >= 10, "people must be there at the seams");
        assert!(mean(&near) < MOST_MM, "{count} windows: joints differ by {} mm at the seams", mean(&near));
        assert!(pixels(true) < 3.0, "{count} windows: pixels differ by {} at the seams", pixels(true));
    }
    // what the single window gives is what a run without a plan gives
    let direct = ["-o", "direct.mp4", "--poses", "direct.jsonl", "--set", "one_colour=true"];
    desk.report(&[&[text(&clip)], &direct[..], &QUICK[..]].concat());
    let direct = poses(&desk.path("direct.jsonl"));
    let boxes =
        |lines: &[Value]| lines[1..].iter().map(|l| people(l).iter().map(|p| p["box"].clone()).collect::<Vec<_>>()).collect::<Vec<_>>();
    assert_eq!(boxes(&direct), boxes(&whole.poses));
}

#[test]
fn every_number_drawn_into_a_frame_comes_back_and_faults_are_named() {
    let desk = Desk::new();
    // eight columns of 16 pixels, the bits of the frame's number; nobody is in the picture
    let drawn = "color=s=128x64:r=25:d=4,format=gray,geq=lum='if(mod(floor(N/pow(2,floor(X/16))),2),230,20)'";
    let clip =
        clips::ffmpeg(&["-f", "lavfi", "-i", drawn, "-pix_fmt", "yuv420p", "-c:v", "libx264", "-g", "30", "-bf", "3"], &desk.path("n.mp4"));
    let joined = in_windows(&desk, &clip, 3, &["--quality", "10"]);
    let number = |rgb: &Vec<u8>| (0..8).filter(|bit| rgb[(32 * 128 + bit * 16 + 8) * 3] > 128).map(|bit| 1 << bit).sum::<usize>();
    let numbers: Vec<usize> = clips::rgb_frames(&joined.video, (128, 64)).iter().map(number).collect();
    assert_eq!(numbers, (0..100).collect::<Vec<_>>(), "each frame once, in order");
    let parts = &joined.poses[0]["provenance"]["joined"]["parts"];
    assert_eq!(parts.as_array().unwrap().len(), 3, "the header names the parts: {}", joined.poses[0]["provenance"]);
    assert_eq!(joined.report["statuses"]["no_person"], 100);

    let again = ["join", "plan3.json", "--parts", "parts3", "-o", "again.mp4", "--poses", "again.jsonl"];
    let part = |k: u32| desk.path(&format!("parts3/poses_{k}.jsonl"));
    let original = std::fs::read_to_string(part(1)).unwrap();
    let refused = |altered: &str, words: &[&str]| {
        std::fs::write(part(1), altered).unwrap();
        desk.fails(&again, 3, words);
    };
    refused(
        &original.replacen("\"one_colour\":true", "\"one_colour\":false", 1),
        &["poses_1.jsonl", "option one_colour: false instead of true", "plan3.json:1"],
    );
    refused(&original.replacen("\"guest_sha256\":\"", "\"guest_sha256\":\"0", 1), &["window 1", "guest_sha256", "halfpipe run"]);
    refused(&original.replacen("\"quality\":10", "\"quality\":30", 1), &["window 1", "quality: 30 instead of 10"]);
    let lines = original.trim_end().rsplit_once('\n').unwrap().0.to_owned() + "\n";
    refused(&lines, &["window 1", "frames, not the", "halfpipe run"]);
    refused(&lines[..lines.len() - 20], &["poses_1.jsonl", "not a valid frame", "halfpipe run"]);
    refused(&std::fs::read_to_string(part(0)).unwrap(), &["poses_1.jsonl", "was made for window 0"]);
    std::fs::remove_file(part(1)).unwrap();
    std::fs::remove_file(desk.path("parts3/out_2.mp4")).unwrap();
    desk.fails(
        &again,
        3,
        &["windows 1, 2 of 3 have no part in parts3", "--window plan3.json:1 -o parts3/out_1.mp4", "--window plan3.json:2"],
    );
    // the lost windows are run again, and the join repeated
    run_window(&desk, &clip, "plan3.json", "parts3", 1, &["--quality", "10"]);
    run_window(&desk, &clip, "plan3.json", "parts3", 2, &["--quality", "10"]);
    join(&desk, &[&again[1..], &["--glb", "again.glb", "--bvh", "again.bvh"]].concat());
    assert_eq!(clips::rgb_frames(&desk.path("again.mp4"), (128, 64)).iter().map(number).collect::<Vec<_>>(), numbers);
    assert_eq!(poses(&desk.path("again.jsonl")), joined.poses, "made again, they are the same");
    assert!(desk.path("again.glb").is_file() && desk.path("again.bvh").is_file());

    let other = clips::test_pattern(&desk.path("other.mp4"), "128x64", "25", 100, false);
    desk.fails(&[&again[..], &["--source", "other.mp4", "-y"]].concat(), 3, &["other.mp4 is not the video of the plan"]);
    desk.fails(
        &["run", text(&other), "--window", "plan3.json:0", "--poses", "p.jsonl"],
        3,
        &["other.mp4 is not the video of the plan", "bytes"],
    );
    desk.fails(&["run", text(&clip), "--window", "plan3.json:3", "--poses", "p.jsonl"], 3, &["no window 3", "0 to 2"]);
    desk.fails(&["split", text(&clip), "--windows", "20", "-o", "p.json"], 3, &["20 windows of 100 frames", "ask for fewer"]);
    desk.fails(&["split", text(&clip), "--windows", "2", "-o", "plan3.json"], 3, &["plan3.json exists"]);
    desk.fails(&again, 3, &["again.mp4 exists"]);
    let plan = std::fs::read_to_string(desk.path("plan3.json")).unwrap();
    std::fs::write(desk.path("altered.json"), plan.replace("\"frames\": 100", "\"frames\": 101")).unwrap();
    desk.fails(&["join", "altered.json", "--parts", "parts3", "--poses", "p.jsonl"], 3, &["altered.json is not a usable plan"]);
}
