//! The function under two emulators of Lambda, AWS's own and cargo-lambda's: real events over a real bucket, real clips.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]

mod common;

use common::{BUCKET, Bucket, Emulator, Function};
use halfpipe_testkit::clips;
use halfpipe_testkit::moto::Moto;
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

/// Hands a queue's messages to the function as Lambda does: a batch at a time, and deletes those that are not named in the answer, until
/// none is left. Gives how many there were.
fn pump(moto: &Moto, queue: &str, function: &Function) -> usize {
    let ask = |operation: &str, more: Value| -> Value {
        let mut body = more;
        body["QueueUrl"] = json!(queue);
        serde_json::from_str(&moto.sqs(operation, &body.to_string())).unwrap_or_default()
    };
    let mut count = 0;
    loop {
        let received = ask("ReceiveMessage", json!({ "MaxNumberOfMessages": 2, "VisibilityTimeout": 900 }));
        let Some(messages) = received["Messages"].as_array().filter(|messages| !messages.is_empty()) else { return count };
        let batch: Vec<Value> = messages.iter().map(|m| message(m["MessageId"].as_str().unwrap(), m["Body"].as_str().unwrap())).collect();
        let answer = function.invoke(&json!({ "Records": batch }));
        assert_eq!(answer, json!({ "batchItemFailures": [] }), "{}", function.logs());
        for message in messages {
            ask("DeleteMessage", json!({ "ReceiptHandle": message["ReceiptHandle"] }));
        }
        count += messages.len();
    }
}

fn announces_jobs_and_takes_their_messages(emulator: Emulator) {
    let (bucket, moto) = (Bucket::new(), Moto::start());
    let queue = moto.make_queue("jobs", Some(5));
    let function = Function::start_with(emulator, &bucket, Some(&queue));
    let clip = clips::test_pattern(&function.path("clip.mp4"), "160x120", "10", 20, false);
    bucket.put("incoming/clip.mp4", &clip);
    let ask = |more: Value| {
        let mut wish = json!({ "input": "incoming/clip.mp4" });
        wish.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (code, accepted) = function.http("POST", "/process_video_async", Some(&wish));
        assert_eq!(code, 202, "{accepted}\n{}", function.logs());
        accepted["job_id"].as_str().unwrap().to_owned()
    };
    let (whole, split) = (ask(json!({})), ask(json!({ "split": { "windows": 2, "overlap": 0.4 } })));
    let state = |id: &str| function.http("GET", &format!("/job_status/{id}"), None).1["status"].clone();
    assert_eq!((state(&whole), state(&split)), (json!("queued"), json!("queued")), "it works on nothing that it takes in over HTTP");
    // two jobs; two windows; and the job that was split, once they have ended
    assert!(pump(&moto, &queue, &function) >= 5, "{}", function.logs());
    for id in [&whole, &split] {
        let status = function.until_final(id);
        assert_eq!(status["status"], "complete", "{status}\n{}", function.logs());
        let video = function.path(&format!("{id}.mp4"));
        bucket.fetch(status["output_path"].as_str().unwrap(), &video);
        assert_eq!(clips::frame_times(&video).len(), 20);
    }
    // what is nothing of ours comes back
    let answer = function.invoke(&json!({ "Records": [message("unknown", r#"{"job":"01234567890123456789"}"#)] }));
    assert_eq!(answer, json!({ "batchItemFailures": [{ "itemIdentifier": "unknown" }] }), "{}", function.logs());
}

#[test]
fn jobs_of_a_queue_under_cargo_lambda() {
    announces_jobs_and_takes_their_messages(Emulator::CargoLambda);
}

#[test]
fn jobs_of_a_queue_under_awss_runtime_interface_emulator() {
    announces_jobs_and_takes_their_messages(Emulator::RuntimeInterface);
}

#[test]
fn under_cargo_lambda() {
    answers_every_kind_of_event(Emulator::CargoLambda);
}

#[test]
fn under_awss_runtime_interface_emulator() {
    answers_every_kind_of_event(Emulator::RuntimeInterface);
}
