//! Two gibibytes through each door for uploads, and what memory the server needs for it. It takes minutes and some ten gigabytes of disk,
//! so it is left out of the other tests: `make bench-uploads`.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]

mod common;
#[path = "common/server.rs"]
mod server;

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use common::{Desk, text};
use halfpipe_testkit::clips;
use serde_json::{Value, json};
use server::{Server, curl};

/// The most that a server takes where it is not told otherwise.
const BYTES: u64 = 2 << 30;
/// Frames of the clip.
const FRAMES: usize = 30;
/// What the server may need more than before, KiB. The video is more than ten times as large.
const MOST_GROWTH_KIB: u64 = 200 << 10;

/// An H.264 video that a `free` box (ISO/IEC 14496-12, 8.1.2) brings to its size. The file is sparse.
fn large_video(desk: &Desk) -> PathBuf {
    let path = clips::test_pattern(&desk.path("large.mp4"), "320x180", "30", FRAMES as u32, false);
    let mut file = std::fs::File::options().append(true).open(&path).unwrap();
    let box_size = BYTES - file.metadata().unwrap().len();
    // a size of 1 says that the true one follows the type, in 64 bits
    file.write_all(&[&1_u32.to_be_bytes()[..], b"free", &box_size.to_be_bytes()].concat()).unwrap();
    file.set_len(BYTES).unwrap();
    path
}

/// Runs an upload; prints what it took, and gives its outcome.
fn measured<T>(server: &Server, door: &str, upload: impl FnOnce() -> T) -> T {
    server.until_ready();
    server.forget_peak();
    let (before, _) = server.memory_kib();
    let begun = Instant::now();
    let outcome = upload();
    let seconds = begun.elapsed().as_secs_f64();
    let (_, peak) = server.memory_kib();
    let figures = json!({ "upload": door, "bytes": BYTES, "seconds": seconds, "rss_before_kib": before, "rss_peak_kib": peak });
    println!("{figures}");
    assert!(peak - before < MOST_GROWTH_KIB, "memory grows with the video: {figures}");
    outcome
}

/// The job on the upload ends well, with all its frames.
fn finishes(server: &Server, id: &str) {
    let status = server.until(id, &["complete", "error"]);
    assert_eq!(status["status"], "complete", "{status}\n{}", server.log());
    assert_eq!(status["result"]["total_frames"], FRAMES);
}

/// Takes a job on an object of the store.
fn job_on(server: &Server, key: &Value) -> String {
    let ask = json!({ "input": key, "outputs": ["poses"] }).to_string();
    let taken = server.curl(&["-H", "Content-Type: application/json", "-d", &ask], "/process_video_async");
    assert_eq!(taken.status, 202, "{}", String::from_utf8_lossy(&taken.body));
    taken.json()["job_id"].as_str().unwrap().to_owned()
}

fn ticket(server: &Server) -> Value {
    let ask = json!({ "name": "large.mp4", "size": BYTES }).to_string();
    let made = server.curl(&["-H", "Content-Type: application/json", "-d", &ask], "/uploads");
    assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.body));
    made.json()
}

#[test]
#[ignore = "takes minutes and ten gigabytes of disk: make bench-uploads"]
fn a_form_of_two_gibibytes() {
    let desk = Desk::new();
    let video = large_video(&desk);
    let server = Server::start(&desk, &["--store", "store", "--jobs", "0"]);
    let id = measured(&server, "multipart form, folder store", || server.submit(&video, &["-F", "outputs=poses"]));
    server.leave();
    finishes(&Server::start(&desk, &["--store", "store"]), &id);
}

#[test]
#[ignore = "takes minutes and ten gigabytes of disk: make bench-uploads"]
fn a_put_of_two_gibibytes() {
    let desk = Desk::new();
    let video = large_video(&desk);
    let server = Server::start(&desk, &["--store", "store", "--jobs", "0"]);
    let ticket = ticket(&server);
    let url = ticket["url"].as_str().unwrap();
    let put = measured(&server, "PUT, folder store", || server.curl(&["-T", text(&video)], url));
    assert_eq!(put.status, 201, "{}", String::from_utf8_lossy(&put.body));
    let id = job_on(&server, &ticket["key"]);
    server.leave();
    finishes(&Server::start(&desk, &["--store", "store"]), &id);
}

/// Writes a part of a file to a file of its own.
fn slice(file: &Path, from: u64, bytes: u64, to: &Path) {
    let mut source = std::fs::File::open(file).unwrap();
    source.seek(SeekFrom::Start(from)).unwrap();
    std::io::copy(&mut source.take(bytes), &mut std::fs::File::create(to).unwrap()).unwrap();
}

#[test]
#[ignore = "takes minutes and ten gigabytes of disk: make bench-uploads"]
fn parts_of_two_gibibytes() {
    let desk = Desk::new();
    let video = large_video(&desk);
    let server = Server::start(&desk, &["--jobs", "0"]);
    let ticket = ticket(&server);
    let done = measured(&server, "presigned parts, embedded S3 server", || {
        let (mut parts, mut from, piece) = (Vec::new(), 0, desk.path("part"));
        for part in ticket["parts"].as_array().unwrap() {
            let bytes = part["size"].as_u64().unwrap();
            slice(&video, from, bytes, &piece);
            from += bytes;
            let put = curl(&["-T", text(&piece)], part["url"].as_str().unwrap());
            assert_eq!(put.status, 200, "{}", String::from_utf8_lossy(&put.body));
            parts.push(json!({ "number": part["number"], "etag": put.header("etag").unwrap() }));
        }
        let all = json!({ "parts": parts }).to_string();
        server.curl(&["-H", "Content-Type: application/json", "-d", &all], ticket["complete_url"].as_str().unwrap())
    });
    assert_eq!(done.status, 201, "{}", String::from_utf8_lossy(&done.body));
    assert_eq!(done.json()["bytes"], BYTES);
    let id = job_on(&server, &ticket["key"]);
    server.leave();
    finishes(&Server::start(&desk, &[]), &id);
}
