//! Pipelines are swapped by name, by version, and by replacing a file under a running server.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]

mod common;
#[path = "common/server.rs"]
mod server;

use std::path::{Path, PathBuf};

use common::{Desk, text};
use halfpipe_testkit::{clips, places};
use serde_json::Value;
use server::Server;
use sha2::{Digest, Sha256};

/// A server over a folder of its own with two pipelines, and the models that both need.
fn start(desk: &Desk) -> (Server, PathBuf) {
    let guests = desk.path("guests");
    std::fs::create_dir(&guests).unwrap();
    for name in ["overlay", "hmr2"] {
        std::fs::copy(places::guest(name), guests.join(format!("{name}.wasm"))).unwrap();
    }
    let models = places::hmr2_fixture();
    let server = Server::start(desk, &["--store", "memory:", "--jobs", "2", "--guests", text(&guests), "--models", text(&models)]);
    (server, guests)
}

fn sha256(file: &Path) -> String {
    Sha256::digest(std::fs::read(file).unwrap()).iter().map(|b| format!("{b:02x}")).collect()
}

/// The first seconds of the squats: enough for a job whose length does not matter.
fn short(desk: &Desk) -> PathBuf {
    clips::ffmpeg(&["-i", text(&places::clip("tfjs_pose_squats.mp4")), "-t", "2", "-c", "copy"], &desk.path("short.mp4"))
}

/// Starts a job of a pipeline.
fn submit(server: &Server, clip: &Path, pipeline: &str) -> String {
    server.submit(clip, &["-F", &format!("pipeline={pipeline}")])
}

/// What the report of a job that must end well says of its guest: name and digest.
fn guest_of(server: &Server, job: &str) -> (String, String) {
    let status = server.until(job, &["complete", "error"]);
    assert_eq!(status["status"], "complete", "{status}\n{}", server.log());
    let report: Value = server.get(&format!("/jobs/{job}/report"));
    let said = |key: &str| report["provenance"][key].as_str().unwrap_or_else(|| panic!("no {key} in {report}")).to_owned();
    (said("guest"), said("guest_sha256"))
}

/// Puts another version of a component in its place: the same code with one more custom section, which changes nothing but the digest.
fn replace(component: &Path) {
    let mut bytes = std::fs::read(component).unwrap();
    // section 0 (custom), its length, the length of its name, its name, what it holds
    let (name, held) = (b"edition", b"second");
    bytes.extend([0, (1 + name.len() + held.len()) as u8, name.len() as u8]);
    bytes.extend(name.iter().chain(held));
    let fresh = component.with_extension("new");
    std::fs::write(&fresh, bytes).unwrap();
    std::fs::rename(&fresh, component).unwrap();
}

#[test]
fn both_pipelines_run_in_one_server_by_name_and_version() {
    let desk = Desk::new();
    let (server, guests) = start(&desk);
    let clip = short(&desk);
    let digest = |name: &str| sha256(&guests.join(format!("{name}.wasm")));
    let jobs: Vec<(&str, String)> = ["overlay", "hmr2", "overlay@0.1.0", "hmr2@0.1.0"].map(|p| (p, submit(&server, &clip, p))).to_vec();
    for (pipeline, job) in &jobs {
        let name = pipeline.split('@').next().unwrap();
        assert_eq!(guest_of(&server, job), (name.to_owned(), digest(name)), "{pipeline}");
    }
    // each did its own work
    let header = |job: &str| {
        let poses = String::from_utf8(server.curl(&[], &format!("/jobs/{job}/poses")).body).unwrap();
        serde_json::from_str::<Value>(poses.lines().next().unwrap()).unwrap()
    };
    assert_eq!(header(&jobs[0].1)["body"]["name"], "halfpipe_body");
    assert_eq!(header(&jobs[1].1)["body"]["name"], "smpl_neutral");
    let video = format!("video=@{}", text(&clip));
    let refused = server.curl(&["-F", &video, "-F", "pipeline=hmr2@9.9.9"], "/process_video_async");
    assert_eq!(refused.json()["error"]["code"], "pipeline_unknown");
    assert!(refused.json()["error"]["message"].as_str().unwrap().contains("hmr2@0.1.0"), "it says what is there");
}

#[test]
fn a_component_is_replaced_while_its_job_runs() {
    let desk = Desk::new();
    let (server, guests) = start(&desk);
    let component = guests.join("hmr2.wasm");
    let before = sha256(&component);
    let clip = short(&desk);
    // twice the whole clip: progress is on the record a second after the start, and the job must not be over by then
    let squats = places::clip("tfjs_pose_squats.mp4");
    let longer = clips::ffmpeg(&["-stream_loop", "1", "-i", text(&squats), "-c", "copy"], &desk.path("longer.mp4"));
    let running = submit(&server, &longer, "hmr2");
    let beside = submit(&server, &clip, "overlay");
    // frames that are done were done by the component that is loaded now
    while server.until(&running, &["processing", "complete"])["progress"]["frames_done"].as_u64().is_none_or(|done| done == 0) {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    replace(&component);
    let after = sha256(&component);
    assert_ne!(before, after);
    let next = submit(&server, &clip, "hmr2");
    let status = server.get(&format!("/job_status/{running}"));
    assert_eq!(status["status"], "processing", "the job was over before its component was replaced; it needs a longer clip");
    assert_eq!(guest_of(&server, &running), ("hmr2".to_owned(), before), "a running job ends as it began");
    assert_eq!(guest_of(&server, &next), ("hmr2".to_owned(), after), "the next takes the new one");
    assert_eq!(guest_of(&server, &beside), ("overlay".to_owned(), sha256(&guests.join("overlay.wasm"))), "the other is as it was");
}
