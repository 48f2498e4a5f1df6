//! The service from outside: a real server process, a real store over HTTP, real clips, curl.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]

mod common;
#[path = "common/server.rs"]
mod server;

use std::collections::BTreeSet;
use std::path::Path;

use common::{Desk, text};
use halfpipe_testkit::{clips, places};
use serde_json::{Value, json};
use server::{Server, curl};

/// Frames that a video really has.
fn frames(file: &Path) -> usize {
    clips::frame_times(file).len()
}

/// Form fields of a job that looks for people with the smallest networks, where its numbers do not matter.
const QUICK: [&str; 2] = ["-F", r#"options={"landmarks":"lite","detector_sizes":[256]}"#];
/// Form fields of a job that only counts frames: the cheapest pipeline there is.
const COUNT: [&str; 6] = ["-F", "pipeline=test_hostile", "-F", r#"options={"mode":"count_frames"}"#, "-F", "outputs=poses"];

fn save(desk: &Desk, name: &str, bytes: &[u8]) -> std::path::PathBuf {
    let file = desk.path(name);
    std::fs::write(&file, bytes).unwrap();
    file
}

#[test]
fn the_old_clients_calls_work_unchanged() {
    let desk = Desk::new();
    let server = Server::start(&desk, &[]);
    let clip = places::clip("tfjs_pose_squats.mp4");
    let video = format!("video=@{}", text(&clip));
    let answer = server.curl(&["-F", &video, "-F", "num_workers=4", "-F", "batch_size=8"], "/process_video");
    assert_eq!(answer.status, 200, "{}\n{}", String::from_utf8_lossy(&answer.body), server.log());
    let body = answer.json();
    assert_eq!(body["status"], "success");
    let data = &body["data"];
    assert_eq!(data["total_frames"], 65);
    assert!(data["processing_time_seconds"].as_f64().unwrap() > 0.0 && data["output_size_mb"].as_f64().unwrap() > 0.0, "{data}");
    for name in ["output_path", "output_url", "fps", "resolution", "pose_detection_stats", "mesh_rendering_stats", "warnings"] {
        assert!(!data[name].is_null(), "{name} is missing in {data}");
    }
    let video = server.curl(&[], data["output_url"].as_str().unwrap());
    assert_eq!((video.status, video.header("content-type")), (200, Some("video/mp4")));
    assert_eq!(frames(&save(&desk, "sync.mp4", &video.body)), 65);
}

#[test]
fn a_job_is_followed_and_its_results_are_fetched_in_parts() {
    let desk = Desk::new();
    let server = Server::start(&desk, &[]);
    let id = server.submit(&places::clip("tfjs_pose_squats.mp4"), &["-F", "metadata={\"rider\":\"7\"}"]);
    let early = server.curl(&[], &format!("/jobs/{id}/video"));
    assert_eq!(early.status, 409, "{}", String::from_utf8_lossy(&early.body));
    // the stream ends when the job does
    let events = String::from_utf8(server.curl(&["-N"], &format!("/jobs/{id}/events")).body).unwrap();
    assert!(events.contains("event: progress") && events.contains("event: end"), "{events}");
    let status = server.get(&format!("/job_status/{id}"));
    assert_eq!(status["status"], "complete", "{status}");
    assert_eq!(status["progress"]["frames_done"], 65);
    let record = server.get(&format!("/jobs/{id}"));
    assert_eq!(record["spec"]["metadata"]["rider"], "7");

    let whole = server.curl(&[], &format!("/jobs/{id}/video"));
    assert_eq!(frames(&save(&desk, "async.mp4", &whole.body)), 65);
    let etag = whole.header("etag").unwrap();
    let part = server.curl(&["-H", "Range: bytes=100-199"], &format!("/jobs/{id}/video"));
    assert_eq!((part.status, part.body.as_slice()), (206, &whole.body[100..200]));
    let again = server.curl(&["-H", &format!("If-None-Match: {etag}")], &format!("/jobs/{id}/video"));
    assert_eq!(again.status, 304);
    let beyond = server.curl(&["-H", "Range: bytes=999999999-"], &format!("/jobs/{id}/video"));
    assert_eq!(beyond.status, 416);
    let poses = server.curl(&[], &format!("/jobs/{id}/poses"));
    assert_eq!(poses.body.split(|b| *b == b'\n').filter(|l| !l.is_empty()).count(), 66, "a header and a line a frame");
    assert!(server.curl(&[], &format!("/jobs/{id}/glb")).body.starts_with(b"glTF"));
    assert!(server.curl(&[], &format!("/jobs/{id}/bvh")).body.starts_with(b"HIERARCHY"));
    assert_eq!(server.get(&format!("/jobs/{id}/report"))["counts"]["frames"], 65);
    let some = server.get(&format!("/jobs/{id}/frames?from=10&to=13"));
    let indices: Vec<u64> = some["frames"].as_array().unwrap().iter().map(|f| f["index"].as_u64().unwrap_or(u64::MAX)).collect();
    assert_eq!(indices, [10, 11, 12], "{some}");
    let listed = server.get("/jobs");
    assert_eq!(listed["jobs"].as_array().unwrap().len(), 1, "{listed}");
}

#[test]
fn an_upload_to_s3_and_its_event_start_a_job_once() {
    let desk = Desk::new();
    let server = Server::start(&desk, &[]);
    let clip = clips::first_frames("tfjs_pose_squats.mp4", 10, &desk.path("in.mp4"));
    let size = std::fs::metadata(&clip).unwrap().len();
    let ask = json!({ "name": "My squats é.mp4", "size": size, "content_type": "video/mp4" }).to_string();
    let made = server.curl(&["-H", "Content-Type: application/json", "-d", &ask], "/uploads");
    assert!(matches!(made.status, 200 | 201), "{}", String::from_utf8_lossy(&made.body));
    let made = made.json();
    let (key, url) = (made["key"].as_str().unwrap(), made["url"].as_str().unwrap());
    assert!(url.starts_with(server.s3.as_deref().unwrap()), "presigned for the store itself: {url}");
    let put = curl(&["-T", text(&clip), "-H", "Content-Type: video/mp4"], url);
    assert_eq!(put.status, 200, "{}", String::from_utf8_lossy(&put.body));

    let encoded: String = key
        .bytes()
        .map(|b| if b.is_ascii_alphanumeric() || b"/.-_".contains(&b) { (b as char).to_string() } else { format!("%{b:02X}") })
        .collect();
    let event = json!({ "Records": [{ "eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
        "s3": { "bucket": { "name": "halfpipe" }, "object": { "key": encoded, "size": size, "sequencer": "0055AED6DCD90281E5" } } }] })
    .to_string();
    let send = || server.curl(&["-H", "Content-Type: application/json", "-d", &event], "/events/s3");
    let first = send();
    assert_eq!(first.status, 202, "{}\n{}", String::from_utf8_lossy(&first.body), server.log());
    let id = first.json()["jobs"][0]["job_id"].as_str().unwrap().to_owned();
    let again = send().json();
    assert_eq!(again["jobs"][0]["job_id"], id.as_str(), "S3 delivers at least once");
    let status = server.until(&id, &["complete", "error"]);
    assert_eq!(status["status"], "complete", "{status}\n{}", server.log());
    assert_eq!(send().json()["jobs"][0]["job_id"], id.as_str(), "also after the job has ended");
    assert_eq!(server.get("/jobs")["jobs"].as_array().unwrap().len(), 1);
    let output = status["output_path"].as_str().unwrap();
    assert!(output.starts_with("results/"), "{output}");
    let video = server.curl(&[], &format!("/jobs/{id}/video"));
    assert_eq!(frames(&save(&desk, "event.mp4", &video.body)), 10);

    // the result's own event starts nothing
    let own = event.replace(&encoded, output);
    let nothing = server.curl(&["-H", "Content-Type: application/json", "-d", &own], "/events/s3");
    assert!(nothing.status < 300 && nothing.json()["jobs"].as_array().unwrap().is_empty(), "{}", String::from_utf8_lossy(&nothing.body));
}

#[test]
fn a_server_warms_up_by_itself_and_knows_what_it_can_do() {
    let desk = Desk::new();
    let server = Server::start(&desk, &["--store", "memory:"]);
    let begun = std::time::Instant::now();
    while server.curl(&[], "/readyz").status != 200 {
        assert!(begun.elapsed().as_secs() < 240, "{}", String::from_utf8_lossy(&server.curl(&[], "/readyz").body));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let health = server.get("/health");
    assert_eq!(health["status"], "ready", "{health}");
    assert!(health["models"].as_object().unwrap().values().all(|m| m == "loaded"), "{health}");
    let video = format!("video=@{}", text(&places::clip("tfjs_pose_squats.mp4")));
    for (field, code) in [
        ("options={\"opacity\":7}", "bad_options"),
        ("pipeline=nothing", "pipeline_unknown"),
        ("pipeline=overlay@9.9.9", "pipeline_unknown"),
    ] {
        let refused = server.curl(&["-F", &video, "-F", field], "/process_video_async");
        assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (400, Some(code)), "{field}");
    }
}

#[test]
fn the_log_has_a_span_a_job_and_a_span_a_batch() {
    let desk = Desk::new();
    let server = Server::start(&desk, &["--store", "memory:", "--log-json"]);
    let ids = [2, 1].map(|i| {
        let clip = places::clip("tfjs_pose_squats.mp4");
        server.submit(&clip, &[&["-F", &format!("batch_size={}", 8 * i), "-F", "outputs=poses"], &QUICK[..]].concat())
    });
    for id in &ids {
        assert_eq!(server.until(id, &["complete", "error"])["status"], "complete", "{}", server.log());
    }
    assert_eq!(server.curl(&[], "/livez").status, 200);
    let log = server.log();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect();
    for (id, batch_size) in ids.iter().zip([16, 8]) {
        let of_job = |line: &&Value| line["spans"][0]["name"] == "job" && line["spans"][0]["job"] == id.as_str();
        let batches: Vec<&Value> = lines.iter().filter(of_job).map(|line| &line["span"]).filter(|span| span["name"] == "batch").collect();
        let numbers: Vec<u64> = batches.iter().map(|b| b["batch"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>(), "{log}");
        let frames: Vec<u64> = batches.iter().map(|b| b["frames"].as_u64().unwrap()).collect();
        // the first ones are small, so that the networks begin early
        let full = frames.iter().position(|n| *n == batch_size).unwrap();
        assert_eq!(frames[..full], [2, 4, 8][..full], "{frames:?}");
        // and so are the last ones, so that the encoder has little left to do at the end: half of what is left
        let mut left = 65 - frames[..full].iter().sum::<u64>();
        for n in &frames[full..] {
            assert_eq!(*n, (left / 2).clamp(2, batch_size).min(left), "{frames:?}");
            left -= n;
        }
        assert_eq!(left, 0, "{frames:?}");
        let firsts: Vec<u64> = batches.iter().map(|b| b["first_frame"].as_u64().unwrap()).collect();
        let before = |i: usize| frames[..i].iter().sum::<u64>();
        assert_eq!(firsts, (0..frames.len()).map(before).collect::<Vec<_>>());
        assert!(batches.iter().all(|b| b["seconds"].as_f64().unwrap() > 0.0), "{batches:?}");
        let ended: Vec<&Value> = lines.iter().filter(of_job).filter(|line| line["fields"]["message"] == "attempt ended").collect();
        assert_eq!(ended.len(), 1, "{log}");
        let (ended, span) = (&ended[0]["fields"], &ended[0]["span"]);
        assert_eq!((&ended["state"], &ended["frames"], &span["attempt"]), (&json!("complete"), &json!(65), &json!(1)));
        assert_eq!((&span["pipeline"], &span["lease"]), (&json!("overlay"), &json!(1)));
    }
}

#[test]
fn the_address_of_an_upload_outlives_its_server() {
    let desk = Desk::new();
    let clip = clips::test_pattern(&desk.path("clip.mp4"), "160x120", "30", 5, false);
    let size = std::fs::metadata(&clip).unwrap().len();
    let ask = json!({ "name": "clip.mp4", "size": size }).to_string();
    let first = Server::start(&desk, &["--store", "shared", "--jobs", "0"]);
    let second = Server::start(&desk, &["--store", "shared", "--jobs", "0", "--spool", "spool-2"]);
    let addresses: Vec<String> = (0..2)
        .map(|_| {
            let made = first.curl(&["-H", "Content-Type: application/json", "-d", &ask], "/uploads").json();
            made["url"].as_str().unwrap().strip_prefix(&first.base).unwrap().to_owned()
        })
        .collect();
    first.kill();
    let put = |server: &Server, address: &str| server.curl(&["-T", text(&clip)], address);
    let taken = put(&second, &addresses[0]);
    assert_eq!(taken.status, 201, "another server: {}", String::from_utf8_lossy(&taken.body));
    let third = Server::start(&desk, &["--store", "shared", "--jobs", "0"]);
    let taken = put(&third, &addresses[1]);
    assert_eq!(taken.status, 201, "a later server: {}", String::from_utf8_lossy(&taken.body));
    let elsewhere = Server::start(&desk, &["--store", "other", "--jobs", "0", "--spool", "spool-3"]);
    assert_eq!(put(&elsewhere, &addresses[1]).status, 403, "another store's addresses are not taken");
}

#[test]
fn addresses_that_the_embedded_store_signed_outlive_it_and_work_in_browsers() {
    const PAGE: &str = "https://app.example";
    let desk = Desk::new();
    let clip = clips::test_pattern(&desk.path("clip.mp4"), "160x120", "30", 5, false);
    let size = std::fs::metadata(&clip).unwrap().len();
    let args = |s3: &'static str| ["--jobs", "0", "--cors-origin", PAGE, "--s3-listen", s3];
    let first = Server::start(&desk, &args("127.0.0.1:0"));
    let ask = |multipart: bool| {
        let ask = json!({ "name": "clip.mp4", "size": size, "multipart": multipart }).to_string();
        first.curl(&["-H", "Content-Type: application/json", "-d", &ask], "/uploads").json()
    };
    let (whole, parts) = (ask(false), ask(true));
    let complete = parts["complete_url"].as_str().unwrap().strip_prefix(&first.base).unwrap().to_owned();
    // a presigned address holds the port
    let s3 = first.s3.clone().unwrap().replace("http://", "");
    first.kill();
    let second = Server::start(&desk, &args(s3.leak()));

    let url = whole["url"].as_str().unwrap();
    let origin = format!("Origin: {PAGE}");
    let preflight = curl(&["-X", "OPTIONS", "-H", &origin, "-H", "Access-Control-Request-Method: PUT"], url);
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (200, Some(PAGE)), "{}", preflight.headers);
    let put = curl(&["-T", text(&clip), "-H", &origin], url);
    assert_eq!((put.status, put.header("access-control-allow-origin")), (200, Some(PAGE)), "{}", String::from_utf8_lossy(&put.body));

    let put = curl(&["-T", text(&clip)], parts["parts"][0]["url"].as_str().unwrap());
    let all = json!({ "parts": [{ "number": 1, "etag": put.header("etag").unwrap() }] }).to_string();
    let done = second.curl(&["-H", "Content-Type: application/json", "-d", &all], &complete);
    assert_eq!(done.status, 201, "{}", String::from_utf8_lossy(&done.body));
    assert_eq!(done.json()["bytes"], size);
    for secret in ["s3-server", "upload-addresses"] {
        let file = desk.path("data/halfpipe/.halfpipe-store").join(secret);
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }
}

#[test]
fn every_track_has_its_motion_file() {
    let desk = Desk::new();
    let server = Server::start(&desk, &[]);
    // a jumper, and somebody who walks through at the same time
    let demo = places::clip("sports2d_demo.mp4");
    let cut = ["-ss", "3", "-i", text(&demo), "-frames:v", "40", "-vf", "scale=884:-2", "-an", "-c:v", "libx264"];
    let id = server.submit(&clips::ffmpeg(&cut, &desk.path("two.mp4")), &["-F", "outputs=bvh"]);
    assert_eq!(server.until(&id, &["complete", "error"])["status"], "complete", "{}", server.log());
    let record = server.get(&format!("/jobs/{id}"));
    let roles: Vec<&str> = record["outputs"].as_array().unwrap().iter().map(|o| o["role"].as_str().unwrap()).collect();
    assert_eq!(roles.len(), 3, "two tracks and the report: {roles:?}");
    for role in roles.iter().filter(|r| r.starts_with("bvh")) {
        assert!(server.curl(&[], &format!("/jobs/{id}/{role}")).body.starts_with(b"HIERARCHY"), "{role}");
    }
    assert!(!record.to_string().contains(text(desk.dir.path())), "a client sees keys, not where things lie: {record}");
}

#[test]
fn killed_at_any_moment_a_server_loses_nothing() {
    let desk = Desk::new();
    let clip = places::clip("tfjs_pose_squats.mp4");
    let nobody = clips::test_pattern(&desk.path("nobody.mp4"), "320x180", "30", 20, false);
    let args = ["--lease", "2", "--attempts", "20"];
    let mut server = Server::start(&desk, &args);
    let done_before = server.submit(&nobody, &[]);
    let finished = server.until(&done_before, &["complete"]);
    let ids =
        [server.submit(&clip, &QUICK), server.submit(&nobody, &[]), server.submit(&clip, &[&QUICK[..], &["-F", "outputs=poses"]].concat())];
    // moments spread over start-up, loading, running and storing
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    for _ in 0..8 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        std::thread::sleep(std::time::Duration::from_millis(state % 1800));
        server.kill();
        server = Server::start(&desk, &args);
    }
    for id in &ids {
        let status = server.until(id, &["complete", "error", "cancelled"]);
        assert_eq!(status["status"], "complete", "{status}\n{}", server.log());
    }
    let video = server.curl(&[], &format!("/jobs/{}/video", ids[0]));
    assert_eq!(frames(&save(&desk, "after.mp4", &video.body)), 65);
    let still = server.get(&format!("/job_status/{done_before}"));
    assert_eq!(still["result"], finished["result"], "a finished job stays as it was");
    assert_eq!(server.get("/jobs")["jobs"].as_array().unwrap().len(), 4);
    assert_eq!(server.leave(), Some(0));
    let left: Vec<String> =
        std::fs::read_dir(desk.path("spool")).unwrap().flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    assert!(left.is_empty(), "the spool is not empty: {left:?}");
}

#[test]
fn two_servers_share_the_work_and_one_takes_over_from_the_other() {
    let desk = Desk::new();
    let args = |spool: &'static str| ["--store", "shared", "--lease", "6", "--spool", spool];
    let (first, second) = (Server::start(&desk, &args("spool-1")), Server::start(&desk, &args("spool-2")));
    let clip = places::clip("tfjs_pose_squats.mp4");
    let nobody = clips::test_pattern(&desk.path("nobody.mp4"), "320x180", "30", 20, false);
    let poses = [&QUICK[..], &["-F", "outputs=poses"]].concat();
    let mut ids = vec![first.submit(&clip, &poses), first.submit(&clip, &poses)];
    first.until(&ids[0], &["processing", "complete"]);
    ids.extend((0..6).map(|_| second.submit(&nobody, &COUNT)));
    first.kill();
    for id in &ids {
        let status = second.until(id, &["complete", "error"]);
        assert_eq!(status["status"], "complete", "{status}\n{}", second.log());
    }
    // each attempt but the last of a job was cut off by the kill, never run beside another
    for id in &ids {
        let record = second.get(&format!("/jobs/{id}"));
        let cut: Vec<&Value> = record["history"].as_array().unwrap().iter().collect();
        assert!(cut.len() <= 1 && cut.iter().all(|a| a["error"]["code"] == "interrupted"), "{record}");
        assert_eq!(record["attempts"].as_u64().unwrap() as usize, cut.len() + 1, "{record}");
    }
}

#[test]
fn fifty_jobs_are_all_done_once() {
    let desk = Desk::new();
    let server = Server::start(&desk, &["--jobs", "2", "--waiting", "60"]);
    let nobody = clips::test_pattern(&desk.path("nobody.mp4"), "160x120", "30", 5, false);
    let submit = |i: usize| server.submit(&nobody, &[&["-H", &format!("Idempotency-Key: clip-{i}")], &COUNT[..]].concat());
    let ids: Vec<String> = (0..50).map(submit).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 50);
    assert_eq!(submit(7), ids[7], "the same key is the same job");
    for id in &ids {
        let status = server.until(id, &["complete", "error"]);
        assert_eq!(status["status"], "complete", "{status}\n{}", server.log());
    }
    let record = server.get(&format!("/jobs/{}", ids[49]));
    assert_eq!(record["attempts"], 1);
    let metrics = String::from_utf8(server.curl(&[], "/metrics").body).unwrap();
    assert!(metrics.lines().any(|l| l.starts_with("halfpipe_jobs_total") && l.contains("complete") && l.ends_with(" 50")), "{metrics}");
}

#[test]
fn a_full_queue_says_so_and_a_running_job_can_be_cancelled() {
    let desk = Desk::new();
    let server = Server::start(&desk, &["--waiting", "2"]);
    let clip = places::clip("tfjs_pose_squats.mp4");
    let ids = [server.submit(&clip, &[]), server.submit(&clip, &[])];
    let video = format!("video=@{}", text(&clip));
    let refused = server.curl(&["-F", &video], "/process_video_async");
    assert_eq!(refused.status, 429, "{}", String::from_utf8_lossy(&refused.body));
    assert!(refused.header("retry-after").is_some() && refused.json()["error"]["code"] == "queue_full");
    for id in ids.iter().rev() {
        assert!(matches!(server.curl(&["-X", "DELETE"], &format!("/jobs/{id}")).status, 200 | 202));
        let status = server.until(id, &["cancelled", "complete"]);
        assert_eq!(status["status"], "cancelled", "{status}");
    }
}

#[test]
fn beyond_loopback_a_key_is_needed() {
    let desk = Desk::new();
    desk.fails(&["serve", "--listen", "0.0.0.0:0", "--store", "memory:"], 3, &["--api-key", "--insecure"]);
    let server = Server::start(&desk, &["--store", "memory:", "--api-key", "secret"]);
    assert_eq!(server.curl(&[], "/jobs").status, 401);
    assert_eq!(server.curl(&["-H", "Authorization: Bearer wrong"], "/jobs").status, 401);
    assert_eq!(server.curl(&["-H", "Authorization: Bearer secret"], "/jobs").status, 200);
    assert_eq!(server.curl(&["-H", "X-Api-Key: secret"], "/jobs").status, 200);
    assert_eq!(server.curl(&[], "/livez").status, 200);
}
