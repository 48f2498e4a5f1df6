//! The function under two emulators of Lambda, AWS's own and cargo-lambda's: real events over a real bucket, real clips.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]

mod common;

use common::{BUCKET, Bucket, Emulator, Function};
use halfpipe_testkit::clips;
use serde_json::{Value, json};

const CLIP: &str = "incoming/squats.mp4";
const FRAMES: usize = 10;

/// What S3 sends when an object was put.
fn put_event(key: &str) -> Value {
    json!({ "Records": [{
        "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "us-east-1", "eventTime": "2026-11-24T10:00:00.000Z",
        "eventName": "ObjectCreated:Put",
        "s3": { "s3SchemaVersion": "1.0", "bucket": { "name": BUCKET, "arn": format!("arn:aws:s3:::{BUCKET}") },
                "object": { "key": key, "sequencer": "0055AED6DCD90281E5" } },
    }] })
}

/// A message of a queue as SQS hands it to a function.
fn message(id: &str, body: &str) -> Value {
    json!({ "messageId": id, "receiptHandle": id, "body": body, "attributes": {}, "messageAttributes": {},
            "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:uploads", "awsRegion": "us-east-1" })
}

/// The result of a job that is complete is in the bucket, opens, and has the clip's frames.
fn has_result(function: &Function, bucket: &Bucket, id: &str) {
    let status = function.until_final(id);
    assert_eq!(status["status"], "complete", "{status}\n{}", function.logs());
    let key = status["output_path"].as_str().unwrap();
    assert!(key.starts_with("results/"), "{key}");
    let video = function.path(&format!("{id}.mp4"));
    bucket.fetch(key, &video);
    assert_eq!(clips::frame_times(&video).len(), FRAMES);
}

fn answers_every_kind_of_event(emulator: Emulator) {
    let bucket = Bucket::new();
    let function = Function::start(emulator, &bucket);
    bucket.put(CLIP, &clips::first_frames("tfjs_pose_squats.mp4", FRAMES as u32, &function.path("squats.mp4")));

    // HTTP: what is loaded, and a job that a client asks for and follows
    let (code, health) = function.http("GET", "/health", None);
    assert_eq!((code, &health["service"].is_string()), (200, &true), "{health}\n{}", function.logs());
    let (code, accepted) = function.http("POST", "/process_video_async", Some(&json!({ "input": CLIP })));
    assert_eq!((code, &accepted["status"]), (202, &json!("accepted")), "{accepted}\n{}", function.logs());
    let asked_for = accepted["job_id"].as_str().unwrap().to_owned();
    has_result(&function, &bucket, &asked_for);
    let (code, unknown) = function.http("GET", "/no/such/route", None);
    assert_eq!((code, &unknown["error"]["code"]), (404, &json!("route_unknown")), "{unknown}");

    // S3: done when answered, and once however often the event comes
    let first = function.invoke(&put_event(CLIP));
    let job = &first["jobs"][0];
    assert_eq!((&job["state"], &job["input"]), (&json!("complete"), &json!(CLIP)), "{first}\n{}", function.logs());
    let from_event = job["job_id"].as_str().unwrap();
    assert_ne!(from_event, asked_for);
    has_result(&function, &bucket, from_event);
    let again = function.invoke(&put_event(CLIP));
    assert_eq!(again["jobs"][0]["job_id"], from_event, "S3 delivers at least once: {again}");

    // SQS: only the message that failed comes back
    let nobody = clips::test_pattern(&function.path("nobody.mp4"), "320x180", "30", 20, false);
    bucket.put("incoming/nobody.mp4", &nobody);
    let good = put_event("incoming/nobody.mp4").to_string();
    let batch = json!({ "Records": [message("good", &good), message("garbage", "not a storage event")] });
    let answer = function.invoke(&batch);
    assert_eq!(answer, json!({ "batchItemFailures": [{ "itemIdentifier": "garbage" }] }), "{}", function.logs());
    let (_, listed) = function.http("GET", "/jobs", None);
    let states: Vec<(&Value, &Value)> = listed["jobs"].as_array().unwrap().iter().map(|j| (&j["spec"]["input"], &j["state"])).collect();
    assert_eq!(states.len(), 3, "{listed}");
    assert!(states.contains(&(&json!("incoming/nobody.mp4"), &json!("complete"))), "{listed}");

    // anything else is refused in words, and the function goes on
    let refused = function.invoke(&json!({ "hello": "world" }));
    assert!(refused["errorMessage"].as_str().is_some_and(|m| m.contains("no known shape")), "{refused}\n{}", function.logs());
    assert_eq!(function.http("GET", "/livez", None).0, 200);
}

#[test]
fn under_cargo_lambda() {
    answers_every_kind_of_event(Emulator::CargoLambda);
}

#[test]
fn under_awss_runtime_interface_emulator() {
    answers_every_kind_of_event(Emulator::RuntimeInterface);
}
