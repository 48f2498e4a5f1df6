//! A planner that breaks one rule a call, named by the event's key; the host must survive each.
#![allow(unsafe_code, missing_docs, reason = "wit-bindgen generates the component's ABI")]

wit_bindgen::generate!({ path: "../../../wit", world: "halfpipe:app/planner", generate_all });

use exports::halfpipe::job::planning::{Event, Guest, Job};
use wasi::logging::logging;

struct Hostile;

impl Guest for Hostile {
    fn plan(event: Event) -> Result<Vec<Job>, String> {
        let one = |change: fn(&mut Job)| {
            let mut job = good(0);
            change(&mut job);
            Ok(vec![job])
        };
        match event.key.as_str() {
            "well_behaved" => one(|_| {}),
            "spin" => loop {
                std::hint::black_box(0);
            },
            // never computes for long, never comes to an end either
            "chatter" => loop {
                logging::log(logging::Level::Trace, "hostile", "still here");
            },
            "sleep" => {
                std::thread::sleep(std::time::Duration::from_secs(3600));
                one(|_| {})
            }
            "trap" => panic!("a bug in the planner"),
            "grow_memory" => {
                let mut hoard = Vec::new();
                loop {
                    hoard.push(vec![1u8; 16 << 20]);
                    std::hint::black_box(&hoard);
                }
            }
            "huge_answer" => Err("x".repeat(32 << 20)),
            "long_error" => Err("x".repeat(1 << 20)),
            "many_jobs" => Ok((0..1001).map(good).collect()),
            "most_jobs" => Ok((0..1000).map(good).collect()),
            "same_prefix" => Ok(vec![good(1), good(1)]),
            "options_array" => one(|job| job.options = "[]".into()),
            "options_not_json" => one(|job| job.options = "{".into()),
            "input_up" => one(|job| job.input = "../secret.mp4".into()),
            "input_empty" => one(|job| job.input = String::new()),
            "prefix_up" => one(|job| job.output_prefix = "results/../../".into()),
            "prefix_open" => one(|job| job.output_prefix = "results/a".into()),
            "prefix_root" => one(|job| job.output_prefix = "/".into()),
            "pipeline_path" => one(|job| job.pipeline = "../../evil.wasm".into()),
            "pipeline_empty" => one(|job| job.pipeline = String::new()),
            "escape" => {
                let seen = std::fs::read_dir("/").map(Iterator::count);
                let env = std::env::vars().count();
                let net = std::net::TcpStream::connect("127.0.0.1:9");
                if seen.is_ok() || env > 0 || net.is_ok() { one(|_| {}) } else { Err("no files, no environment, no network".into()) }
            }
            other => Err(format!("no mode {other:?}")),
        }
    }
}

/// A job that keeps all rules, with a prefix of its own.
fn good(number: u32) -> Job {
    Job { input: "incoming/a.mp4".into(), output_prefix: format!("results/{number}/"), pipeline: "overlay".into(), options: "{}".into() }
}

export!(Hostile);
