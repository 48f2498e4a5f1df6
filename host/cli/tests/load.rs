//! `make bench-service`: fifty short jobs at once on a real server, and how long a look at a job's status takes meanwhile. A measurement,
//! so it is left out of the other tests; what it counts is checked all the same.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]

mod common;
#[path = "common/server.rs"]
mod server;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{Desk, text};
use halfpipe_testkit::places;
use serde_json::{Value, json};
use server::Server;

const JOBS: usize = 50;
const FRAMES: u64 = 16;
const POLLERS: usize = 4;
/// Wait of a poller between an answer and its next question.
const PAUSE: Duration = Duration::from_millis(2);

/// One kept connection to the server.
struct Poller {
    stream: BufReader<TcpStream>,
}

impl Poller {
    fn connect(base: &str) -> Self {
        let stream = TcpStream::connect(base.trim_start_matches("http://")).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// Asks for a job's status: its state, and the time from the question to the last byte of the answer.
    fn ask(&mut self, id: &str) -> (String, Duration) {
        let begun = Instant::now();
        write!(self.stream.get_mut(), "GET /job_status/{id} HTTP/1.1\r\nHost: bench\r\n\r\n").unwrap();
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        assert!(line.starts_with("HTTP/1.1 200"), "{line}");
        let mut length = 0;
        while line.trim() != "" {
            line.clear();
            self.stream.read_line(&mut line).unwrap();
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        let taken = begun.elapsed();
        let status: Value = serde_json::from_slice(&body).unwrap();
        (status["status"].as_str().unwrap().to_owned(), taken)
    }
}

/// Milliseconds that so many of a thousand are within; `sorted` is in order.
fn within(sorted: &[Duration], per_mille: usize) -> f64 {
    let place = (sorted.len() * per_mille).div_ceil(1000).saturating_sub(1);
    sorted[place].as_secs_f64() * 1e3
}

#[test]
#[ignore = "a measurement: make bench-service"]
fn status_answers_while_fifty_jobs_run() {
    let desk = Desk::new();
    let clip = desk.path("short.mp4");
    let cut = Command::new("ffmpeg")
        .args(["-v", "error", "-i", text(&places::clip("tfjs_pose_squats.mp4")), "-frames:v", &FRAMES.to_string(), "-an", "-y"])
        .arg(&clip)
        .status();
    assert!(cut.unwrap().success());
    let server = Server::start(&desk, &["--store", "store", "--jobs", "2", "--waiting", "60"]);
    let warm = server.submit(&clip, &[]);
    server.until(&warm, &["complete"]);

    let begun = Instant::now();
    let ids: Vec<String> = (0..JOBS).map(|_| server.submit(&clip, &[])).collect();
    let all_done = AtomicBool::new(false);
    let polls: Vec<Duration> = std::thread::scope(|scope| {
        let poll = |first: usize| {
            let (mut poller, mut taken) = (Poller::connect(&server.base), Vec::new());
            for id in ids.iter().cycle().skip(first * JOBS / POLLERS) {
                if all_done.load(Ordering::Relaxed) {
                    break;
                }
                taken.push(poller.ask(id).1);
                std::thread::sleep(PAUSE);
            }
            taken
        };
        let pollers: Vec<_> = (0..POLLERS).map(|i| scope.spawn(move || poll(i))).collect();
        let mut watch = Poller::connect(&server.base);
        for id in &ids {
            loop {
                let state = watch.ask(id).0;
                assert!(matches!(state.as_str(), "queued" | "processing" | "complete"), "job {id}: {state}\n{}", server.log());
                if state == "complete" {
                    break;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        all_done.store(true, Ordering::Relaxed);
        pollers.into_iter().flat_map(|poller| poller.join().unwrap()).collect()
    });
    let seconds = begun.elapsed().as_secs_f64();

    // none lost, none done twice, none half
    let listed = server.get("/jobs?limit=200");
    let records: Vec<&Value> = listed["jobs"].as_array().unwrap().iter().filter(|job| job["id"] != warm.as_str()).collect();
    let there: BTreeSet<&str> = records.iter().map(|job| job["id"].as_str().unwrap()).collect();
    assert_eq!(there, ids.iter().map(String::as_str).collect());
    for record in &records {
        assert_eq!((&record["attempts"], &record["report"]["counts"]["frames"]), (&json!(1), &json!(FRAMES)), "{record}");
    }
    let metrics = String::from_utf8(server.curl(&[], "/metrics").body).unwrap();
    let done = format!(" {}", JOBS + 1);
    assert!(metrics.lines().any(|l| l.starts_with("halfpipe_jobs_total") && l.contains("complete") && l.ends_with(&done)), "{metrics}");

    let mut sorted = polls;
    sorted.sort_unstable();
    let figures = json!({
        "bench": "service", "jobs": JOBS, "frames_a_job": FRAMES, "running_at_once": 2, "pollers": POLLERS, "polls": sorted.len(),
        "status_p50_ms": within(&sorted, 500), "status_p99_ms": within(&sorted, 990), "status_max_ms": within(&sorted, 1000),
        "seconds": seconds, "cores": std::thread::available_parallelism().unwrap().get(),
    });
    println!("{figures}");
}
