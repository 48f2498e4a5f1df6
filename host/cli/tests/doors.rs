//! The same component file gives the same result whichever door the job comes through: the command, or a program that embeds the host.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]
// the engines' types are deep: wgpu's resources stand behind the host
#![recursion_limit = "256"]

mod common;

use std::sync::Arc;

use common::{Desk, text};
use halfpipe_nn::{Catalog, Device};
use halfpipe_runtime::{CancelToken, Host, HostConfig, Job, Outputs, Precompiled};
use halfpipe_testkit::{clips, places};

#[test]
fn doctor_knows_planners_from_pipelines_and_finds_both_usable() {
    let desk = Desk::new();
    let findings: serde_json::Value = serde_json::from_str(&desk.run(&["doctor", "--json"]).stdout).unwrap();
    let of = |check: &str, file: &str| {
        let all = findings.as_array().unwrap();
        let about = |f: &&serde_json::Value| f["check"] == check && f["message"].as_str().unwrap().contains(file);
        all.iter().find(about).unwrap_or_else(|| panic!("nothing of {file} in {findings}"))["ok"].clone()
    };
    assert_eq!(of("guest", "overlay.wasm"), true);
    assert_eq!(of("planner", "planner.wasm"), true);
    let list = desk.run(&["guest", "list"]).stdout;
    assert!(list.lines().any(|l| l.starts_with("planner")) && !list.contains("not usable"), "{list}");
}

#[test]
fn the_command_and_an_embedded_host_agree() {
    let desk = Desk::new();
    let input = clips::first_frames("tfjs_pose_squats.mp4", 20, &desk.path("in.mp4"));
    let by_command = desk.report(&[text(&input), "--poses", "command.jsonl", "--set", "detector_sizes=[256]"]);
    let config = HostConfig {
        device: Device::Cpu,
        precompiled: Precompiled::default().with_cache(places::compiled()),
        ..HostConfig::new(Catalog::builtin().unwrap(), places::models())
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let embedded = runtime.block_on(async {
        let host = Host::start(config).unwrap();
        let job = Job {
            id: "embedded".into(),
            guest: host.load_guest(&places::guest("overlay")).await.unwrap(),
            input,
            outputs: Outputs { poses: Some(desk.path("embedded.jsonl")), ..Outputs::default() },
            options: serde_json::json!({ "detector_sizes": [256] }),
            probed: None,
            batch: 8,
            window: None,
            quality: None,
            preset: None,
            lockstep: false,
            cancel: CancelToken::default(),
            progress: Arc::new(|_| {}),
        };
        host.run(job).await.unwrap()
    });
    assert_eq!(by_command["provenance"]["guest_sha256"], embedded.provenance.guest_sha256);
    let lines = |name: &str| std::fs::read_to_string(desk.path(name)).unwrap();
    assert_eq!(lines("command.jsonl"), lines("embedded.jsonl"));
}
