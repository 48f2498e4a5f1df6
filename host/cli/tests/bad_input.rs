//! Everything a user can get wrong: each is one line that says what to do, a non-zero exit code, and no leftover.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use common::{Desk, Ran, text};
use halfpipe_testkit::{clips, places};

fn desk_with_clip() -> Desk {
    let desk = Desk::new();
    clips::test_pattern(&desk.path("in.mp4"), "320x180", "30", 12, false);
    desk
}

#[test]
fn inputs_that_are_no_video() {
    let desk = desk_with_clip();
    std::fs::write(desk.path("empty.mp4"), b"").unwrap();
    std::fs::write(desk.path("text.mp4"), "not a video\n".repeat(50)).unwrap();
    std::fs::create_dir(desk.path("folder")).unwrap();
    let whole = std::fs::read(desk.path("in.mp4")).unwrap();
    std::fs::write(desk.path("truncated.mp4"), &whole[..whole.len() / 3]).unwrap();
    clips::ffmpeg(&["-f", "lavfi", "-i", "sine=duration=1"], &desk.path("song.m4a"));
    desk.fails(&["run", "nowhere.mp4", "-o", "out.mp4"], 3, &["nowhere.mp4"]);
    desk.fails(&["run", "folder", "-o", "out.mp4"], 3, &["folder", "regular file"]);
    desk.fails(&["run", "empty.mp4", "-o", "out.mp4"], 3, &["empty.mp4", "empty"]);
    desk.fails(&["run", "text.mp4", "-o", "out.mp4"], 3, &["text.mp4"]);
    desk.fails(&["run", "truncated.mp4", "-o", "out.mp4"], 3, &["truncated.mp4"]);
    desk.fails(&["run", "song.m4a", "-o", "out.mp4"], 3, &["song.m4a"]);
}

#[test]
fn outputs_that_cannot_be() {
    let desk = desk_with_clip();
    std::fs::create_dir(desk.path("folder")).unwrap();
    std::fs::write(desk.path("there.mp4"), b"mine").unwrap();
    desk.fails(&["run", "in.mp4"], 3, &["nothing to write", "-o"]);
    desk.fails(&["run", "in.mp4", "-o", "nowhere/out.mp4"], 4, &["nowhere/out.mp4", "folder"]);
    desk.fails(&["run", "in.mp4", "-o", "folder"], 4, &["folder", "directory"]);
    desk.fails(&["run", "in.mp4", "-o", "/proc/out.mp4"], 4, &["/proc/out.mp4"]);
    desk.fails(&["run", "in.mp4", "-o", "in.mp4", "-y"], 3, &["input itself"]);
    desk.fails(&["run", "in.mp4", "-o", "a.mp4", "--poses", "./a.mp4"], 3, &["same file"]);
    desk.fails(&["run", "in.mp4", "-o", "there.mp4"], 3, &["there.mp4", "-y"]);
    desk.fails(&["run", "in.mp4", "-o", "out.xyz"], 3, &["mp4"]);
    assert_eq!(std::fs::read(desk.path("there.mp4")).unwrap(), b"mine");
    // through a link, too
    std::os::unix::fs::symlink(desk.path("in.mp4"), desk.path("link.mp4")).unwrap();
    desk.fails(&["run", "in.mp4", "-o", "link.mp4", "-y"], 3, &["input itself"]);
}

#[test]
fn options_out_of_range() {
    let desk = desk_with_clip();
    desk.fails(&["run", "in.mp4", "-o", "o.mp4", "--from", "3", "--to", "3"], 3, &["3"]);
    desk.fails(&["run", "in.mp4", "-o", "o.mp4", "--from", "90", "--to", "91"], 3, &["90"]);
    desk.fails(&["run", "in.mp4", "-o", "o.mp4", "--opacity", "7"], 3, &["opacity", "7"]);
    desk.fails(&["run", "in.mp4", "-o", "o.mp4", "--people", "0"], 3, &["people"]);
    desk.fails(&["run", "in.mp4", "-o", "o.mp4", "--set", "opaqueness=1"], 3, &["opaqueness", "halfpipe guest inspect"]);
    desk.fails(&["run", "in.mp4", "-o", "o.mp4", "--pipeline", "nobody"], 3, &["nobody", "overlay", "make guests"]);
    assert_eq!(desk.run(&["run", "in.mp4", "--batch", "65"]).code, Some(2));
    assert_eq!(desk.run(&["run", "in.mp4", "--preset", "turbo"]).code, Some(2));
}

#[test]
fn components_that_are_none() {
    let desk = desk_with_clip();
    std::fs::write(desk.path("text.wasm"), b"hello").unwrap();
    std::fs::write(desk.path("broken.wasm"), b"\0asm\x0d\0\x01\0garbage").unwrap();
    desk.fails(&["run", "in.mp4", "-o", "o.mp4", "--pipeline", "text.wasm"], 5, &["text.wasm", "not WebAssembly"]);
    desk.fails(&["run", "in.mp4", "-o", "o.mp4", "--pipeline", "broken.wasm"], 5, &["broken.wasm", "make guests"]);
    desk.fails(&["guest", "inspect", "nowhere.wasm"], 3, &["nowhere.wasm"]);
}

#[test]
fn models_missing_or_altered() {
    let desk = desk_with_clip();
    std::fs::create_dir(desk.path("none")).unwrap();
    desk.fails(&["run", "in.mp4", "-o", "o.mp4", "--models", "none"], 4, &["movenet_multipose", "make models"]);
    std::fs::create_dir(desk.path("altered")).unwrap();
    for file in std::fs::read_dir(places::models()).unwrap().flatten() {
        std::os::unix::fs::symlink(file.path(), desk.path("altered").join(file.file_name())).unwrap();
    }
    let victim = desk.path("altered").join("pose_landmark_full.onnx");
    let mut bytes = std::fs::read(&victim).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::remove_file(&victim).unwrap();
    std::fs::write(&victim, bytes).unwrap();
    desk.fails(&["run", "in.mp4", "-o", "o.mp4", "--models", "altered"], 4, &["pose_landmark_full", "sha256", "make models"]);
    desk.fails(&["models", "--check", "--models", "altered"], 4, &["pose_landmark_full"]);
}

#[test]
fn the_runtime_library_is_missing() {
    let desk = desk_with_clip();
    desk.fails(&["run", "in.mp4", "-o", "o.mp4", "--ort-lib", "nowhere.so"], 4, &["nowhere.so", "ONNX Runtime"]);
    std::fs::write(desk.path("text.so"), b"no library").unwrap();
    desk.fails(&["run", "in.mp4", "-o", "o.mp4", "--ort-lib", "text.so"], 4, &["text.so"]);
}

#[test]
fn ffmpeg_is_missing() {
    let desk = desk_with_clip();
    let ran = Ran::from(desk.command().env("PATH", "/nowhere").args(["run", "in.mp4", "-o", "o.mp4"]).output().unwrap());
    assert_eq!(ran.code, Some(4), "{}", ran.stderr);
    assert!(ran.error().contains("ffmpeg"), "{}", ran.stderr);
}

#[test]
fn a_gpu_that_is_not_there_is_no_quiet_success() {
    let desk = desk_with_clip();
    desk.fails(&["run", "in.mp4", "-o", "o.mp4", "--device", "cuda"], 4, &["CUDA", "halfpipe doctor"]);
    desk.fails(&["run", "in.mp4", "-o", "o.mp4", "--device", "tensorrt"], 4, &["Tensorrt", "halfpipe doctor"]);
    let doctor = desk.run(&["doctor", "--json"]);
    let software = doctor.stdout.contains("software");
    if software {
        desk.fails(&["run", "in.mp4", "-o", "o.mp4", "--renderer", "hardware"], 4, &["software"]);
    } else {
        assert_eq!(desk.run(&["run", "in.mp4", "-o", "o.mp4", "--renderer", "hardware"]).code, Some(0));
    }
}

#[test]
fn a_full_disk() {
    let desk = desk_with_clip();
    let mount = desk.path("small");
    std::fs::create_dir(&mount).unwrap();
    let mounted = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=128k", "tmpfs"]).arg(&mount).output();
    let mounted = mounted.is_ok_and(|m| m.status.success());
    assert!(mounted || std::env::var_os("CI").is_none(), "CI promises this test and runs as root, which may mount a tmpfs");
    if !mounted {
        eprintln!("not run: mounting a small tmpfs needs root");
        return;
    }
    clips::ffmpeg(
        &["-f", "lavfi", "-i", "nullsrc=size=640x360:rate=30,geq=random(1)*255:128:128", "-frames:v", "40"],
        &desk.path("noise.mp4"),
    );
    let ran = desk.run(&["run", "noise.mp4", "-o", "small/out.mp4", "--quality", "5"]);
    let left: Vec<_> = std::fs::read_dir(&mount).unwrap().flatten().map(|e| e.file_name()).collect();
    let unmounted = std::process::Command::new("umount").arg(&mount).status().unwrap().success();
    assert_ne!(ran.code, Some(0));
    assert!(ran.error().contains("No space left") || ran.error().contains("space"), "{}", ran.stderr);
    assert!(left.is_empty(), "{left:?}");
    assert!(unmounted);
}

/// Starts a long job and waits until it runs.
fn start_long(desk: &Desk) -> std::process::Child {
    clips::test_pattern(&desk.path("long.mp4"), "640x360", "30", 3000, false);
    let child = desk.command().args(["run", "long.mp4", "-o", "out.mp4"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while children_of(child.id()).len() < 2 {
        assert!(started.elapsed() < Duration::from_secs(60), "the job never started its ffmpegs");
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

fn children_of(parent: u32) -> Vec<(u32, String)> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_string_lossy().parse::<u32>().ok());
    processes
        .filter_map(|pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let of = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse::<u32>().ok()?;
            let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
            (of == parent && command.contains("ffmpeg")).then_some((pid, command))
        })
        .collect()
}

fn kill(pid: u32, signal: &str) {
    // the shell brings its own `kill`; a minimal system has no program of that name
    let line = format!("kill {signal} {pid}");
    assert!(std::process::Command::new("sh").args(["-c", &line]).status().unwrap().success());
}

#[test]
fn ffmpeg_killed_in_the_middle() {
    for which in ["decoder", "encoder"] {
        let desk = Desk::new();
        let child = start_long(&desk);
        let ffmpegs = children_of(child.id());
        let reads_the_clip = |command: &str| !command.contains("-part-");
        let victim = ffmpegs.iter().find(|(_, command)| reads_the_clip(command) == (which == "decoder"));
        kill(victim.unwrap_or_else(|| panic!("{which} among {ffmpegs:?}")).0, "-KILL");
        let ran = Ran::from(child.wait_with_output().unwrap());
        assert_eq!(ran.code, Some(1), "{which}: {}", ran.stderr);
        assert!(ran.error().contains("kill") || ran.error().contains("signal"), "{which}: {}", ran.stderr);
        assert_eq!(desk.names().into_iter().collect::<Vec<_>>(), ["long.mp4"], "{which}");
    }
}

#[test]
fn ctrl_c_cleans_up() {
    let desk = Desk::new();
    let child = start_long(&desk);
    let ffmpegs = children_of(child.id());
    kill(child.id(), "-INT");
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    assert!(ran.stderr.contains("nothing was written"), "{}", ran.stderr);
    assert_eq!(desk.names().into_iter().collect::<Vec<_>>(), ["long.mp4"]);
    for (pid, _) in ffmpegs {
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "ffmpeg {pid} lives on");
    }
}

#[test]
fn killed_outright_leaves_nothing_that_looks_finished() {
    let desk = Desk::new();
    let mut child = start_long(&desk);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!desk.path("out.mp4").exists());
    let hidden = desk.names().into_iter().filter(|n| n.starts_with(".halfpipe-")).count();
    assert_eq!(hidden, 1, "{:?}", desk.names());
    // the next run in that folder sweeps it up
    clips::test_pattern(&desk.path("in.mp4"), "320x180", "30", 5, false);
    assert_eq!(desk.run(&["run", "in.mp4", "-o", "out.mp4"]).code, Some(0));
    assert_eq!(desk.names().into_iter().collect::<Vec<_>>(), ["in.mp4", "long.mp4", "out.mp4"]);
}

#[test]
fn an_unreadable_input() {
    let desk = desk_with_clip();
    let file = desk.path("in.mp4");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::File::open(&file).is_ok() {
        // root reads everything; a dangling link is unreadable for root as well
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("gone", &file).unwrap();
    }
    desk.fails(&["run", text(&file), "-o", "o.mp4"], 3, &["in.mp4"]);
}
