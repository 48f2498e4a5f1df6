//! Storage notifications become jobs, once each, by the planner that ships.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]
// the engines' types are deep: wgpu's resources stand behind the host
#![recursion_limit = "256"]

mod apps;

use std::sync::Arc;

use apps::Bench;
use halfpipe_service::http::notifications::take_events;
use halfpipe_store::{Key, MemoryStore, PutMode};
use serde_json::{Value, json};

fn event(name: &str, bucket: &str, key: &str) -> Value {
    json!({ "Records": [{
        "eventSource": "aws:s3", "eventName": name,
        "s3": { "bucket": { "name": bucket }, "object": { "key": key, "size": 4, "eTag": "e" } },
    }] })
}

fn created(key: &str) -> Value {
    event("ObjectCreated:Put", "b", key)
}

fn put(bench: &Bench, key: &str, bytes: &[u8]) {
    bench.app.store.put(&Key::new(key).unwrap(), bytes, PutMode::Overwrite).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_becomes_one_job_however_often_it_is_announced() {
    let bench = Bench::new(Arc::new(MemoryStore::default()), |config| config.bucket = Some("b".into()));
    put(&bench, "incoming/my ride.mp4", b"data");
    let first = bench.post("/events/s3", &created("incoming/my+ride.mp4")).await;
    assert_eq!(first.status, 202, "{}", first.text());
    let first = first.json();
    assert_eq!((first["jobs"][0]["input"].clone(), first["jobs"][0]["new"].clone()), (json!("incoming/my ride.mp4"), json!(true)));

    let again = bench.post("/events/s3", &created("incoming/my+ride.mp4")).await.json();
    assert_eq!((again["jobs"][0]["job_id"].clone(), again["jobs"][0]["new"].clone()), (first["jobs"][0]["job_id"].clone(), json!(false)));

    let record = bench.app.ledger.get(first["jobs"][0]["job_id"].as_str().unwrap()).unwrap();
    assert_eq!((record.spec.output_prefix.as_str(), record.spec.pipeline.as_str()), ("results/my ride.mp4/", "overlay"));

    // a new version is a new job
    put(&bench, "incoming/my ride.mp4", b"newer");
    let taken = take_events(&bench.app, created("incoming/my+ride.mp4").to_string().as_bytes()).await.unwrap();
    assert!(taken.jobs[0].new && first["jobs"][0]["job_id"] != taken.jobs[0].job_id.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_starts_no_job_is_told_with_its_reason() {
    let bench = Bench::new(Arc::new(MemoryStore::default()), |config| config.bucket = Some("b".into()));
    for key in ["results/a/overlay.mp4", "ledger/jobs/x.mp4", "uploads/a.mp4", "incoming/notes.txt"] {
        put(&bench, key, b"data");
    }
    for (event, reason) in [
        (created("results/a/overlay.mp4"), "this service's own"),
        (created("ledger/jobs/x.mp4"), "this service's own"),
        (created("uploads/a.mp4"), "this service's own"),
        (created("incoming/gone.mp4"), "gone"),
        (created("incoming/notes.txt"), "makes no job"),
        (created("../etc/passwd"), "not a valid object key"),
        (event("ObjectCreated:Put", "other", "incoming/a.mp4"), "bucket"),
        (event("ObjectRemoved:Delete", "b", "incoming/a.mp4"), "makes no job"),
    ] {
        let answer = bench.post("/events/s3", &event).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let skipped = answer.json()["skipped"].clone();
        assert!(skipped[0]["reason"].as_str().unwrap().contains(reason), "{skipped} for {reason}");
    }
    assert!(bench.app.ledger.open_ids().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_notification_is_refused() {
    let bench = Bench::without_engines(Arc::new(MemoryStore::default()), |_| {});
    assert_eq!(bench.post("/events/s3", &json!({ "hello": 1 })).await.code(400), "event_unknown_shape");
    assert_eq!(bench.post("/events/s3", &event("ObjectTagging:Put", "b", "incoming/a.mp4")).await.code(400), "event_unknown_name");
    assert_eq!(take_events(&bench.app, b"{").await.unwrap_err().code, "event_not_json");
    let test = bench.post("/events/s3", &json!({ "Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b" })).await;
    assert_eq!(test.status, 200, "{}", test.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_told_and_a_missing_planner_is_no_fault_of_the_sender() {
    let bench = Bench::new(Arc::new(MemoryStore::default()), |config| config.most_waiting = 0);
    put(&bench, "incoming/a.mp4", b"data");
    assert_eq!(bench.post("/events/s3", &created("incoming/a.mp4")).await.code(429), "queue_full");

    let bench = Bench::new(Arc::new(MemoryStore::default()), |config| config.planner = "nowhere".into());
    put(&bench, "incoming/a.mp4", b"data");
    assert_eq!(bench.post("/events/s3", &created("incoming/a.mp4")).await.code(503), "planner_unavailable");
}
