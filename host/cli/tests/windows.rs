//! A long video over many workers: split, run window by window, joined; compared with the same video in one window.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]

mod common;
#[path = "common/server.rs"]
mod server;
#[path = "common/worker.rs"]
mod worker;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{Desk, poses, text};
use halfpipe_testkit::moto::Moto;
use halfpipe_testkit::{clips, places};
use serde_json::{Value, json};
use worker::Yard;

/// What keeps the runs short.
const QUICK: [&str; 4] = ["--preset", "ultrafast", "--set", "detector_sizes=[256]"];
/// Frames to either side of a cut that count as being at the seam.
const AT_SEAM: u64 = 3;
/// Largest mean distance between the joints of a joined run and those of a run in one window, at the seams, millimetres: most of it is
/// depth, which one camera tells badly.
const MOST_MM: f64 = 100.0;
/// Tracks in fewer frames are false alarms, which depend on the frames that the detector happens to look at.
const FEW: u32 = 20;

/// What a split, its windows and their join came to.
struct Joined {
    video: PathBuf,
    poses: Vec<Value>,
    report: Value,
}

/// Runs all windows and joins them.
fn in_windows(desk: &Desk, clip: &Path, count: u32) -> Joined {
    let (plan, parts) = (format!("plan{count}.json"), format!("parts{count}"));
    std::fs::create_dir(desk.path(&parts)).unwrap();
    let ran = desk.run(&["split", text(clip), "--windows", &count.to_string(), "-o", &plan]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for k in 0..count {
        run_window(desk, clip, &plan, &parts, k);
    }
    let (video, lines) = (format!("joined{count}.mp4"), format!("joined{count}.jsonl"));
    let report = join(desk, &[&plan, "--parts", &parts, "-o", &video, "--poses", &lines]);
    Joined { video: desk.path(&video), poses: poses(&desk.path(&lines)), report }
}

fn run_window(desk: &Desk, clip: &Path, plan: &str, parts: &str, k: u32) {
    let (window, video, lines) = (format!("{plan}:{k}"), format!("{parts}/out_{k}.mp4"), format!("{parts}/poses_{k}.jsonl"));
    desk.report(&[&[text(clip), "--window", &window, "-o", &video, "--poses", &lines, "-y"], &QUICK[..]].concat());
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

/// Mean distance of two poses' joints: pixels, or millimetres.
fn distance(a: &Value, b: &Value, joints: &str) -> Option<f64> {
    let (a, b) = (a["pose"][joints].as_array()?, b["pose"][joints].as_array()?);
    let axis = |(p, q): (&Value, &Value)| (p.as_f64().unwrap() - q.as_f64().unwrap()).powi(2);
    let point = |(p, q): (&Value, &Value)| p.as_array().unwrap().iter().zip(q.as_array().unwrap()).map(axis).sum::<f64>().sqrt();
    let sum: f64 = a.iter().zip(b).map(point).sum();
    Some(if joints == "joints3d" { 1000.0 } else { 1.0 } * sum / a.len() as f64)
}

/// How far people's joints move between two frames, pixels: the mean.
fn motion(frames: &[Value]) -> f64 {
    let pairs = frames.windows(2).flat_map(|w| people(&w[0]).iter().flat_map(|p| people(&w[1]).iter().map(move |q| (p, q))));
    mean(&pairs.filter(|(p, q)| p["track"] == q["track"]).filter_map(|(p, q)| distance(p, q, "joints2d")).collect::<Vec<_>>())
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

/// Two runs of one video, frame by frame.
struct Compared {
    /// Sights of the first, and those of them that the second has too (boxes overlap by more than half).
    seen: u32,
    same: u32,
    /// How often a number of the first is a number of the second.
    numbers: BTreeMap<u64, BTreeMap<u64, u32>>,
    /// Distances of joints, millimetres and pixels, at the seams and elsewhere.
    near: Vec<(f64, f64)>,
    far: Vec<(f64, f64)>,
}

impl Compared {
    fn of(whole: &[Value], joined: &[Value], at_seam: impl Fn(u64) -> bool) -> Self {
        let mut c = Self { seen: 0, same: 0, numbers: BTreeMap::new(), near: Vec::new(), far: Vec::new() };
        assert_eq!(whole.len(), joined.len());
        for (a, b) in whole.iter().zip(joined) {
            assert_eq!((&a["index"], &a["timestamp"]), (&b["index"], &b["timestamp"]));
            for p in people(a).iter().filter(|p| p["status"] != "low_confidence") {
                c.seen += 1;
                let best = people(b).iter().max_by(|x, y| overlap(&p["box"], &x["box"]).total_cmp(&overlap(&p["box"], &y["box"])));
                let Some(q) = best.filter(|q| overlap(&p["box"], &q["box"]) > 0.5) else { continue };
                c.same += 1;
                let number = |v: &Value| v["track"].as_u64().unwrap();
                *c.numbers.entry(number(p)).or_default().entry(number(q)).or_default() += 1;
                let Some(both) = distance(p, q, "joints3d").zip(distance(p, q, "joints2d")) else { continue };
                if at_seam(a["index"].as_u64().unwrap()) { c.near.push(both) } else { c.far.push(both) }
            }
        }
        c
    }

    /// Everybody that was there for longer has one number in the second run, and a number of their own, in the same order.
    fn check_numbers(&self, count: u32) {
        let lasting = self.numbers.values().filter(|to| to.values().sum::<u32>() >= FEW);
        let carried: Vec<u64> = lasting
            .map(|to| {
                let (number, most) = to.iter().max_by_key(|(_, n)| **n).unwrap();
                assert!(
                    f64::from(*most) >= 0.95 * f64::from(to.values().sum::<u32>()),
                    "{count} windows: numbers change: {:?}",
                    self.numbers
                );
                *number
            })
            .collect();
        assert!(carried.len() >= 3, "several people must be told apart: {:?}", self.numbers);
        assert!(carried.is_sorted_by(|a, b| a < b), "{count} windows: {:?}", self.numbers);
    }
}

fn mm(distances: &[(f64, f64)]) -> f64 {
    mean(&distances.iter().map(|d| d.0).collect::<Vec<_>>())
}

fn px(distances: &[(f64, f64)]) -> f64 {
    mean(&distances.iter().map(|d| d.1).collect::<Vec<_>>())
}

#[test]
fn one_three_and_seven_windows_make_the_same_video() {
    let desk = Desk::new();
    let people_walking = places::clip("intel_one_by_one_person.mp4");
    // people come and go; a minute, with sound and key frames as an encoder likes them
    let cut = ["-ss", "38", "-i", text(&people_walking), "-f", "lavfi", "-i", "sine=frequency=300:sample_rate=48000"];
    let coded =
        ["-vf", "scale=384:-2", "-frames:v", "600", "-t", "60", "-c:v", "libx264", "-preset", "veryfast", "-g", "45", "-c:a", "aac"];
    let clip = clips::ffmpeg(&[&cut[..], &coded[..]].concat(), &desk.path("minute.mp4"));
    let times = clips::frame_times(&clip);
    assert_eq!(times.len(), 600);
    let whole = in_windows(&desk, &clip, 1);
    let moved = motion(&whole.poses[1..]);
    for count in [3, 7] {
        let joined = in_windows(&desk, &clip, count);
        assert_eq!(clips::frame_times(&joined.video), times, "{count} windows: every frame at its time");
        assert_eq!(clips::audio_hashes(&joined.video), clips::audio_hashes(&clip), "{count} windows: the sound is the source's");
        assert_eq!(joined.poses.len(), 601);
        let seams: Vec<u64> = joined.report["seams"].as_array().unwrap().iter().map(|s| s["frame"].as_u64().unwrap()).collect();
        assert_eq!(seams.len() as u32, count - 1);
        let at_seam = |i: u64| seams.iter().any(|s| (s.saturating_sub(AT_SEAM)..s + AT_SEAM).contains(&i));
        let c = Compared::of(&whole.poses[1..], &joined.poses[1..], at_seam);
        let video = differences(&whole.video, &joined.video, (384, 216));
        let colours = |seam: bool| mean(&video.iter().zip(0..).filter(|(_, i)| at_seam(*i) == seam).map(|(d, _)| *d).collect::<Vec<_>>());
        println!(
            "{count} windows against one: joints differ by {:.2} pixels and {:.1} mm at the seams ({} poses), {:.2} and {:.1} elsewhere, \
             and move by {moved:.2} pixels a frame; colours differ by {:.2} and {:.2} of 255; {} of {} sights are the same, as {:?}",
            px(&c.near),
            mm(&c.near),
            c.near.len(),
            px(&c.far),
            mm(&c.far),
            colours(true),
            colours(false),
            c.same,
            c.seen,
            c.numbers,
        );
        for seam in joined.report["seams"].as_array().unwrap() {
            println!("    {seam}");
        }
        c.check_numbers(count);
        assert!(f64::from(c.same) >= 0.97 * f64::from(c.seen), "{count} windows: {} of {} sights", c.same, c.seen);
        assert!(c.near.len() >= 10, "people must be there at the seams");
        assert!(px(&c.near) < moved, "{count} windows: {} pixels at the seams, {moved} from frame to frame", px(&c.near));
        assert!(mm(&c.near) < MOST_MM, "{count} windows: joints differ by {} mm at the seams", mm(&c.near));
        assert!(colours(true) < 3.0, "{count} windows: colours differ by {} at the seams", colours(true));
    }
}

/// A hundred frames of eight columns of 16 pixels, the bits of the frame's number; nobody is in the picture.
fn numbered(desk: &Desk) -> PathBuf {
    let drawn = "color=s=128x64:r=25:d=4,format=gray,geq=lum='if(mod(floor(N/pow(2,floor(X/16))),2),230,20)'";
    let coded = ["-pix_fmt", "yuv420p", "-c:v", "libx264", "-g", "30", "-bf", "3"];
    clips::ffmpeg(&[&["-f", "lavfi", "-i", drawn], &coded[..]].concat(), &desk.path("n.mp4"))
}

/// The numbers drawn into a video's frames.
fn drawn_numbers(video: &Path) -> Vec<usize> {
    let number = |rgb: &Vec<u8>| (0..8).filter(|bit| rgb[(32 * 128 + bit * 16 + 8) * 3] > 128).map(|bit| 1 << bit).sum();
    clips::rgb_frames(video, (128, 64)).iter().map(number).collect()
}

#[test]
fn every_number_drawn_into_a_frame_comes_back_and_faults_are_named() {
    let desk = Desk::new();
    let clip = numbered(&desk);
    let joined = in_windows(&desk, &clip, 3);
    let numbers = drawn_numbers(&joined.video);
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
    refused(
        &original.replacen("\"preset\":\"ultrafast\"", "\"preset\":\"slow\"", 1),
        &["window 1", "preset: \"slow\" instead of \"ultrafast\""],
    );
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
    run_window(&desk, &clip, "plan3.json", "parts3", 1);
    run_window(&desk, &clip, "plan3.json", "parts3", 2);
    join(&desk, &[&again[1..], &["--glb", "again.glb", "--bvh", "again.bvh"]].concat());
    assert_eq!(drawn_numbers(&desk.path("again.mp4")), numbers);
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

#[test]
fn windows_are_jobs_of_a_front_door_and_its_workers() {
    let yard = Yard::new(20);
    let desk = &yard.desk;
    let clip = numbered(desk);
    yard.put("incoming/n.mp4", &clip);
    let other = clips::test_pattern(&desk.path("other.mp4"), "128x64", "25", 100, false);
    yard.put("incoming/other.mp4", &other);
    let (door, workers) = (yard.front_door(), [yard.worker(&[]), yard.worker(&[])]);
    std::fs::create_dir(desk.path("parts")).unwrap();
    assert_eq!(desk.run(&["split", text(&clip), "--windows", "3", "-o", "plan.json"]).code, Some(0));
    let plan: Value = serde_json::from_str(&std::fs::read_to_string(desk.path("plan.json")).unwrap()).unwrap();
    let ask = |input: &str, window: &Value| {
        let wish = json!({ "input": input, "window": window, "pipeline": "overlay", "outputs": ["video", "poses"] }).to_string();
        door.curl(&["-H", "Content-Type: application/json", "-d", &wish], "/process_video_async")
    };
    let accepted = |input: &str, window: &Value| {
        let answer = ask(input, window);
        assert_eq!(answer.status, 202, "{}\n{}", String::from_utf8_lossy(&answer.body), door.log());
        answer.json()["job_id"].as_str().unwrap().to_owned()
    };
    let windows = plan["windows"].as_array().unwrap();
    let jobs: Vec<String> = windows.iter().map(|window| accepted("incoming/n.mp4", window)).collect();
    let stray = accepted("incoming/other.mp4", &windows[1]);
    yard.until_done(&workers.iter().collect::<Vec<_>>());
    for (k, job) in jobs.iter().enumerate() {
        assert_eq!(door.until(job, &["complete", "error"])["status"], "complete", "{}", workers[0].log());
        for (of, name) in [("video", format!("out_{k}.mp4")), ("poses", format!("poses_{k}.jsonl"))] {
            let answer = door.curl(&[], &format!("/jobs/{job}/{of}"));
            assert_eq!(answer.status, 200);
            std::fs::write(desk.path("parts").join(name), &answer.body).unwrap();
        }
    }
    join(desk, &["plan.json", "--parts", "parts", "-o", "out.mp4", "--poses", "out.jsonl"]);
    assert_eq!(drawn_numbers(&desk.path("out.mp4")), (0..100).collect::<Vec<_>>());
    assert_eq!(clips::frame_times(&desk.path("out.mp4")), clips::frame_times(&clip));

    let error = &door.get(&format!("/jobs/{stray}"))["error"];
    assert_eq!(error["code"], "bad_input", "{error}");
    assert!(error["message"].as_str().unwrap().contains("incoming/other.mp4 is not the video of the plan"), "{error}");
    let mut torn = windows[1].clone();
    torn["after_pts"] = torn["first_pts"].clone();
    let refused = ask("incoming/n.mp4", &torn);
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (400, &json!("bad_window")));
}

#[test]
fn a_job_that_is_split_is_worked_on_by_all_and_joined_by_one() {
    let yard = Yard::new(20);
    let desk = &yard.desk;
    let clip = numbered(desk);
    yard.put("incoming/n.mp4", &clip);
    let door = yard.front_door();
    let args = ["--pipeline", "overlay", "--lease", "4", "--hold", "4", "--attempts", "2", "--window-seconds", "2"];
    let (first, second) = (yard.worker(&args), yard.worker(&args));
    first.until_ready();
    second.until_ready();
    let ask = |wish: &Value| {
        let answer = door.curl(&["-H", "Content-Type: application/json", "-d", &wish.to_string()], "/process_video_async");
        assert_eq!(answer.status, 202, "{}\n{}", String::from_utf8_lossy(&answer.body), door.log());
        answer.json()["job_id"].as_str().unwrap().to_owned()
    };
    // asked for; and a worker dies with a window
    let by_wish = ask(&json!({ "input": "incoming/n.mp4", "split": { "windows": 3, "overlap": 1 } }));
    // they are noted before they are submitted
    let windows_of = |whole: &str| -> Vec<Value> {
        let parts = door.get(&format!("/jobs/{whole}"))["parts"]["jobs"].clone();
        let asked = parts.as_array().into_iter().flatten().map(|job| door.curl(&[], &format!("/jobs/{}", job.as_str().unwrap())));
        asked.filter(|answer| answer.status == 200).map(|answer| answer.json()).collect()
    };
    worker::until("no window is worked on", &[&first, &second], || windows_of(&by_wish).iter().any(|job| job["state"] == "processing"));
    first.kill();
    let third = yard.worker(&args);
    // by its length: two windows of two seconds
    let event = json!({ "Records": [{ "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
        "s3": { "bucket": { "name": worker::BUCKET }, "object": { "key": "incoming/n.mp4" } } }] });
    yard.send(&event.to_string());
    let by_form = door.submit(&clip, &["-F", "split={\"windows\":2}"]);
    let failing =
        ask(&json!({ "input": "incoming/n.mp4", "split": { "windows": 2 }, "pipeline": "test_hostile", "options": { "mode": "escape" } }));

    let workers = [&second, &third];
    yard.until_done(&workers);
    let jobs = door.get("/jobs?limit=200");
    let whole = |input: &dyn Fn(&Value) -> bool| -> Value {
        let found: Vec<&Value> = jobs["jobs"].as_array().unwrap().iter().filter(|job| input(job)).collect();
        assert_eq!(found.len(), 1, "{jobs}");
        found[0].clone()
    };
    let by_event = whole(&|job| job["spec"]["output_prefix"] == "results/n.mp4/")["id"].as_str().unwrap().to_owned();
    for (job, count) in [(&by_wish, 3), (&by_event, 2), (&by_form, 2)] {
        let record = door.get(&format!("/jobs/{job}"));
        assert_eq!(record["state"], "complete", "{record}\n{}\n{}", second.log(), third.log());
        let windows = windows_of(job);
        assert_eq!(windows.len(), count);
        assert!(windows.iter().all(|w| w["state"] == "complete" && w["spec"]["part_of"] == job.as_str()), "{windows:?}");
        assert_eq!(record["report"]["counts"]["frames"], 100);
        let video = desk.path(&format!("{job}.mp4"));
        std::fs::write(&video, door.curl(&[], &format!("/jobs/{job}/video")).body).unwrap();
        assert_eq!(drawn_numbers(&video), (0..100).collect::<Vec<_>>(), "each frame once, in order");
        assert_eq!(clips::frame_times(&video), clips::frame_times(&clip));
        let frames = door.get(&format!("/jobs/{job}/frames?from=99&to=100"));
        assert_eq!(frames["frames"][0]["index"], 99, "{frames}");
        for result in ["glb", "bvh", "report"] {
            assert_eq!(door.curl(&[], &format!("/jobs/{job}/{result}")).status, 200, "{result}");
        }
        assert!(yard.keys(&format!("uploads/{job}/")).is_empty(), "{:?}", yard.keys("uploads/"));
    }
    let error = &door.get(&format!("/jobs/{failing}"))["error"];
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("window ") && message.contains("of 2 (job ") && message.contains("no files, no environment"), "{error}");
    worker::until("messages are left", &workers, || yard.messages("jobs") == (0, 0));
    assert_eq!(yard.messages("jobs-dead"), (0, 0));
    let refused =
        door.curl(&["-H", "Content-Type: application/json", "-d", r#"{"input":"incoming/n.mp4","split":{}}"#], "/process_video_async");
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (400, &json!("bad_split")));
}

#[test]
fn the_state_machine_for_long_videos_runs_and_survives_a_lost_window() {
    let desk = Desk::new();
    let clip = numbered(&desk);
    let program = Path::new(env!("CARGO_BIN_EXE_halfpipe"));
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let script = places::root().join("infra/lambda/run_states.py");
    let mut command = std::process::Command::new(Moto::python());
    command.arg(script).args([text(&clip), "2", "results", "--lose", "1"]).current_dir(desk.dir.path());
    command
        .env("PATH", path)
        .env("HALFPIPE_GUESTS", places::guests())
        .env("HALFPIPE_MODELS", places::models())
        .env("HALFPIPE_DEVICE", "cpu");
    let ran = common::Ran::from(command.output().unwrap());
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.stdout, ran.stderr);
    let told: Value = serde_json::from_str(&ran.stdout).unwrap();
    let mut jobs: Vec<&str> = told["jobs"].as_array().unwrap().iter().map(|job| job.as_str().unwrap()).collect();
    assert_eq!((jobs[0], *jobs.last().unwrap()), ("split", "join"), "{told}");
    jobs.sort_unstable();
    assert_eq!(jobs, ["join", "split", "window 0", "window 1", "window 1"], "the window that was lost is tried again");
    assert!(!told["keys"].as_array().unwrap().iter().any(|key| key.as_str().unwrap().contains("/parts/")), "{told}");
    assert_eq!(drawn_numbers(&desk.path("results/overlay.mp4")), (0..100).collect::<Vec<_>>());
    assert_eq!(poses(&desk.path("results/poses.jsonl")).len(), 101);
}
