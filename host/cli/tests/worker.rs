//! The queue worker from outside: real worker processes, a queue and a bucket over HTTP (moto), faults in all of them.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]

mod common;
#[path = "common/server.rs"]
mod server;
#[path = "common/worker.rs"]
mod worker;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use common::text;
use halfpipe_testkit::clips;
use serde_json::{Value, json};
use server::Server;
use worker::{Proxy, Weather, Yard, until};

const CLIP: &str = "incoming/clip.mp4";

/// A short clip in the bucket.
fn with_clip(most_receives: u32) -> Yard {
    let yard = Yard::new(most_receives);
    let clip = clips::test_pattern(&yard.desk.path("clip.mp4"), "160x120", "30", 2, false);
    yard.put(CLIP, &clip);
    yard
}

/// Asks the front door for a job of a pipeline that needs no model, and gives its id.
fn ask(door: &Server, mode: &str) -> String {
    ask_for(door, CLIP, mode, "video")
}

fn ask_for(door: &Server, input: &str, mode: &str, output: &str) -> String {
    let wish = json!({ "input": input, "pipeline": "test_hostile", "options": { "mode": mode }, "outputs": [output] }).to_string();
    let answer = door.curl(&["-H", "Content-Type: application/json", "-d", &wish], "/process_video_async");
    assert_eq!(answer.status, 202, "{}\n{}", String::from_utf8_lossy(&answer.body), door.log());
    answer.json()["job_id"].as_str().unwrap().to_owned()
}

/// What S3 sends when an object was put.
fn put_event(key: &str) -> String {
    json!({ "Records": [{
        "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "us-east-1", "eventTime": "2026-11-24T10:00:00.000Z",
        "eventName": "ObjectCreated:Put",
        "s3": { "s3SchemaVersion": "1.0", "bucket": { "name": worker::BUCKET, "arn": format!("arn:aws:s3:::{}", worker::BUCKET) },
                "object": { "key": key, "sequencer": "0055AED6DCD90281E5" } },
    }] })
    .to_string()
}

#[test]
fn two_hundred_messages_are_worked_on_once_though_a_worker_dies_and_some_come_twice() {
    const JOBS: usize = 50;
    let yard = with_clip(20);
    // two that last long enough to be killed in the middle: one for each worker
    yard.put("incoming/long.mp4", &clips::test_pattern(&yard.desk.path("long.mp4"), "640x360", "30", 1500, false));
    let door = yard.front_door();
    let args = ["--lease", "4", "--hold", "4"];
    let (first, second) = (yard.worker(&args), yard.worker(&args));
    first.until_ready();
    second.until_ready();
    let count_frames = |clip: &str| ask_for(&door, clip, "count_frames", "poses");
    let mut ids = vec![count_frames("incoming/long.mp4"), count_frames("incoming/long.mp4")];
    until("the first worker does nothing", &[&first], || first.metric("halfpipe_jobs_running") == Some(1.0));
    first.kill();
    ids.extend((ids.len()..JOBS).map(|_| count_frames(CLIP)));
    // the door has sent one of each; two hundred in all
    for id in ids.iter().cycle().take(200 - JOBS) {
        yard.send(&json!({ "job": id }).to_string());
    }
    let third = yard.worker(&args);
    yard.until_done(&[&second, &third]);

    let mut cut = 0;
    for id in &ids {
        let record = yard.object(&format!("ledger/jobs/{id}.json"));
        assert_eq!(record["state"], "complete", "{record}");
        let history = record["history"].as_array().unwrap();
        // each attempt but the last was cut off by the kill, never run beside another
        assert!(history.iter().all(|attempt| attempt["error"]["code"] == "interrupted"), "{record}");
        assert_eq!(record["attempts"].as_u64().unwrap() as usize, history.len() + 1, "{record}");
        assert_eq!(record["outputs"].as_array().unwrap().len(), 2, "the lines and the report: {record}");
        cut += history.len();
    }
    assert_eq!(cut, 1, "one worker died with one job");
    // a worker that is killed between its last result and its word of it leaves one more
    let results = yard.keys("results/").into_iter().filter(|key| key.ends_with("/poses.jsonl")).count();
    assert!((JOBS..=JOBS + cut).contains(&results), "{results} results");
    // what still comes of the duplicates leads to nothing
    until("messages are left", &[&second, &third], || yard.messages("jobs") == (0, 0));
    assert_eq!(yard.messages("jobs-dead"), (0, 0));
    let settled = |worker: &worker::Worker| worker.metric("halfpipe_messages_settled_total").unwrap_or_default();
    assert!(settled(&second) > 0.0 && settled(&third) > 0.0, "both take part");
    assert_eq!((second.leave(), third.leave()), (Some(0), Some(0)));
}

#[test]
fn a_front_door_and_a_worker_give_what_the_command_gives() {
    let yard = Yard::new(5);
    let clip = clips::first_frames("tfjs_pose_squats.mp4", 16, &yard.desk.path("in.mp4"));
    yard.desk.report(&[text(&clip), "-o", "command.mp4", "--poses", "command.jsonl"]);
    let by_command = std::fs::read_to_string(yard.desk.path("command.jsonl")).unwrap();

    let hook = yard.desk.path("hook");
    std::fs::write(&hook, "#!/bin/sh\necho \"$1\" >>\"$0.log\"\n").unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let door = yard.front_door();
    let worker = yard.worker(&["--pipeline", "overlay", "--protect-command", text(&hook)]);
    let not_yet = worker.get("/readyz");
    assert!(matches!(not_yet.status, 200 | 503) && worker.get("/livez").status == 200);

    // a form
    let by_form = door.submit(&clip, &[]);
    assert_eq!(door.until(&by_form, &["complete", "error"])["status"], "complete", "{}", worker.log());
    let poses = door.curl(&[], &format!("/jobs/{by_form}/poses"));
    assert_eq!(String::from_utf8(poses.body).unwrap(), by_command);
    assert_eq!(worker.get("/readyz").status, 200);

    // an event that the front door is told of, and the same from the bucket itself: one job
    yard.put("incoming/squats é.mp4".replace(' ', "%20").replace('é', "%C3%A9").as_str(), &clip);
    let event = put_event("incoming/squats+%C3%A9.mp4");
    let told = door.curl(&["-H", "Content-Type: application/json", "-d", &event], "/events/s3");
    assert_eq!((told.status, told.json()), (202, json!({ "jobs": [], "skipped": [], "queued": true })));
    yard.send(&event);
    let result = "results/squats é.mp4/poses.jsonl";
    until("no job follows from the event", &[&worker], || yard.messages("jobs") == (0, 0));
    let jobs = door.get("/jobs");
    let of_event: Vec<&Value> =
        jobs["jobs"].as_array().unwrap().iter().filter(|job| job["spec"]["input"] == "incoming/squats é.mp4").collect();
    assert_eq!(of_event.len(), 1, "{jobs}");
    assert_eq!(of_event[0]["state"], "complete", "{jobs}\n{}", worker.log());
    assert!(of_event[0]["outputs"].as_array().unwrap().iter().any(|output| output["key"] == result), "{jobs}");
    let poses = door.curl(&[], &format!("/jobs/{}/poses", of_event[0]["id"].as_str().unwrap()));
    assert_eq!(String::from_utf8(poses.body).unwrap(), by_command);

    // what is no event is refused at the door
    let refused = door.curl(&["-H", "Content-Type: application/json", "-d", "{}"], "/events/s3");
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (400, Some("event_unknown_shape")));
    assert_eq!(door.curl(&[], "/readyz").status, 200, "a front door needs no models");
    assert_eq!(worker.metric("halfpipe_queue_messages{state=\"waiting\"}"), Some(0.0));
    assert_eq!(worker.metric("halfpipe_jobs_total{state=\"complete\"}"), Some(2.0));
    assert_eq!(worker.leave(), Some(0));
    let told = std::fs::read_to_string(yard.desk.path("hook.log")).unwrap();
    let told: Vec<&str> = told.lines().collect();
    assert!(told.len() >= 2 && told.iter().enumerate().all(|(i, word)| *word == ["begin", "end"][i % 2]), "{told:?}");
    assert_eq!(told.last(), Some(&"end"));
}

#[test]
fn poison_goes_to_the_dead_letters_and_its_reason_stays() {
    let yard = with_clip(2);
    let door = yard.front_door();
    let failing = ask(&door, "escape");
    let good = ask(&door, "well_behaved");
    let garbage = yard.send("no message of ours");
    let unknown = yard.send(r#"{"job":"01234567890123456789"}"#);
    let worker = yard.worker(&["--jobs", "4", "--attempts", "20"]);
    until("not all of it is among the dead letters", &[&worker], || yard.messages("jobs-dead") == (3, 0));
    let dead: BTreeSet<String> = yard.bodies("jobs-dead").into_iter().collect();
    let expected = [json!({ "job": failing }).to_string(), "no message of ours".into(), r#"{"job":"01234567890123456789"}"#.into()];
    assert_eq!(dead, expected.into_iter().collect());

    let record = yard.object(&format!("ledger/jobs/{failing}.json"));
    assert_eq!((&record["state"], &record["error"]["code"]), (&json!("error"), &json!("given_up")), "{record}");
    let reason = record["error"]["message"].as_str().unwrap();
    assert!(reason.contains("gave it out 2 times") && reason.contains("no files, no environment, no network"), "{reason}");
    for (id, word) in [(garbage, "event_not_json"), (unknown, "there is no job 01234567890123456789")] {
        let kept = yard.object(&format!("ledger/messages/{id}.json"));
        assert!(kept["reason"].as_str().unwrap().contains(word) && kept["receives"] == 2, "{kept}");
    }
    assert_eq!(yard.object(&format!("ledger/jobs/{good}.json"))["state"], "complete", "others go on");
    assert_eq!(worker.metric("halfpipe_messages_given_up_total"), Some(3.0));
    assert_eq!(worker.leave(), Some(0));
}

#[test]
fn nothing_is_lost_while_queue_and_store_are_away() {
    const JOBS: usize = 12;
    let yard = with_clip(20);
    let door = yard.front_door();
    let proxy = Proxy::before(yard.moto.address());
    let worker = yard.worker_through(proxy.address, &["--attempts", "20", "--lease", "4", "--hold", "4", "--look", "2"]);
    worker.until_ready();
    let ids: Vec<String> = (0..JOBS).map(|_| ask(&door, "well_behaved")).collect();
    const SLOW: &str = "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
    const EXPIRED: &str = "<?xml version=\"1.0\"?><Error><Code>ExpiredToken</Code><Message>The token has expired.</Message></Error>";
    for weather in [
        Weather::Refuse,
        Weather::Answer("503 Slow Down", SLOW),
        Weather::Answer("429 Too Many Requests", ""),
        Weather::Answer("400 Bad Request", EXPIRED),
    ] {
        proxy.turn(weather);
        until("the worker does not notice", &[&worker], || worker.get("/readyz").status == 503);
        assert_eq!(worker.get("/livez").status, 200, "a worker that waits is not dead");
        proxy.turn(Weather::Fair);
        until("the worker does not come back", &[&worker], || worker.get("/readyz").status == 200);
    }
    yard.until_done(&[&worker]);
    for id in &ids {
        let record = yard.object(&format!("ledger/jobs/{id}.json"));
        assert_eq!(record["state"], "complete", "{record}");
    }
    until("messages are left", &[&worker], || yard.messages("jobs") == (0, 0));
    assert_eq!(yard.messages("jobs-dead"), (0, 0));
    assert_eq!(worker.leave(), Some(0));
}

#[test]
fn a_worker_starts_as_soon_as_queue_and_store_are_there() {
    let yard = with_clip(5);
    let proxy = Proxy::before(yard.moto.address());
    proxy.turn(Weather::Refuse);
    let worker = yard.worker_through(proxy.address, &[]);
    until("it says nothing", &[&worker], || String::from_utf8_lossy(&worker.get("/readyz").body).contains("try again"));
    assert_eq!(worker.get("/livez").status, 200);
    proxy.turn(Weather::Fair);
    worker.until_ready();
    assert_eq!(worker.leave(), Some(0));

    // asked to leave before it was ready, it just does
    proxy.turn(Weather::Refuse);
    let worker = yard.worker_through(proxy.address, &[]);
    assert_eq!(worker.leave(), Some(0));
}

#[test]
fn a_worker_that_leaves_hands_over_what_it_has() {
    // the message is given out once only: what is handed over must not be among the dead letters for it
    let yard = with_clip(1);
    let door = yard.front_door();
    let worker = yard.worker(&["--drain", "1"]);
    let id = ask(&door, "chatter");
    until("the job is not taken up", &[&worker], || worker.metric("halfpipe_jobs_running") == Some(1.0));
    assert_eq!(worker.leave(), Some(0));
    let record = yard.object(&format!("ledger/jobs/{id}.json"));
    assert_eq!((&record["state"], &record["attempts"]), (&json!("queued"), &json!(0)), "{record}");
    assert_eq!((yard.messages("jobs"), yard.messages("jobs-dead")), ((1, 0), (0, 0)), "at once, and not as a dead letter");
    assert_eq!(yard.bodies("jobs"), [json!({ "job": id }).to_string()]);
}

#[test]
fn a_job_that_no_message_leads_to_is_found() {
    let yard = with_clip(5);
    // a front door that forgets to announce
    let door = Server::start(&yard.desk, &["--store", "s3://videos", "--endpoint", &yard.moto.endpoint(), "--jobs", "0"]);
    let ids = [ask(&door, "well_behaved"), ask(&door, "well_behaved")];
    let worker = yard.worker(&["--look", "1"]);
    for id in &ids {
        assert_eq!(door.until(id, &["complete", "error"])["status"], "complete", "{}", worker.log());
    }
    assert_eq!(worker.metric("halfpipe_jobs_found_total"), Some(2.0));
}

#[test]
fn what_waiting_does_not_mend_ends_the_worker_with_a_reason() {
    let yard = with_clip(5);
    let fails = |queue: &str, store: &str, endpoint: &str, code: i32, word: &str| {
        let mut command = yard.command();
        command.args(["worker", "--listen", "127.0.0.1:0", "--pipeline", "example", "--queue", queue, "--store", store]);
        let ran = common::Ran::from(command.args(["--endpoint", endpoint]).output().unwrap());
        assert_eq!(ran.code, Some(code), "{}", ran.stderr);
        assert!(ran.error().contains(word), "{}", ran.error());
    };
    let endpoint = yard.moto.endpoint();
    fails(&yard.moto.queue("nowhere"), "s3://videos", &endpoint, 4, "/nowhere does not exist");
    fails(&yard.queue, "s3://elsewhere", &endpoint, 4, "there is no such bucket");
    fails("jobs", "s3://videos", &endpoint, 3, "no address");
    fails(&yard.queue, "memory:", &endpoint, 3, "cannot reach its memory");
    let proxy = Proxy::before(yard.moto.address());
    let denied = r#"{"__type":"com.amazon.coral.service#ExpiredTokenException","message":"The security token has expired"}"#;
    proxy.turn(Weather::Answer("403 Forbidden", denied));
    fails(&format!("http://{}/123456789012/jobs", proxy.address), "s3://videos", &endpoint, 4, "token has expired");
    fails(&yard.queue, "s3://videos", &format!("http://{}", proxy.address), 4, "access is denied");

    let door = ["serve", "--listen", "127.0.0.1:0", "--store", "memory:", "--queue"];
    let ran = common::Ran::from(yard.command().args(door).arg(yard.moto.queue("nowhere")).output().unwrap());
    assert!(ran.code == Some(4) && ran.error().contains("/nowhere does not exist"), "{}", ran.stderr);

    // the same, told to a worker that works
    let worker = yard.worker(&["--patience", "1"]);
    worker.until_ready();
    let _ = yard.moto.sqs("DeleteQueue", &json!({ "QueueUrl": yard.queue }).to_string());
    let log = yard.desk.names().into_iter().find(|name| name.starts_with("worker-")).unwrap();
    assert_eq!(worker.end(), Some(4));
    let log = std::fs::read_to_string(yard.desk.path(&log)).unwrap();
    assert!(log.lines().any(|line| line.starts_with("error: the worker gave up after 1 s") && line.contains("does not exist")), "{log}");
}

#[test]
fn a_bucket_that_vanishes_ends_the_worker_with_a_reason_and_comes_back_with_all_its_jobs() {
    let yard = with_clip(20);
    let door = yard.front_door();
    let first = ask(&door, "well_behaved");
    let worker = yard.worker(&["--patience", "1", "--look", "1"]);
    yard.until_done(&[&worker]);
    assert_eq!(door.until(&first, &["complete", "error"])["status"], "complete");
    // what waits is known to the queue only, and to a copy of the record
    let held = yard.bucket();
    yard.remove_bucket();
    let (refused, gone) = (door.curl(&[], &format!("/job_status/{first}")), worker.log());
    assert_eq!(refused.status, 503, "{}", String::from_utf8_lossy(&refused.body));
    assert_eq!(worker.end(), Some(4), "{gone}");
    yard.moto.make_bucket(worker::BUCKET);
    for (key, bytes) in held {
        let file = yard.desk.path("object");
        std::fs::write(&file, bytes).unwrap();
        yard.put(&key, &file);
    }
    let second = ask(&door, "well_behaved");
    let worker = yard.worker(&[]);
    assert_eq!(door.until(&second, &["complete", "error"])["status"], "complete", "{}", worker.log());
    assert_eq!(door.get(&format!("/job_status/{first}"))["status"], "complete");
}

#[test]
fn a_server_whose_clock_is_elsewhere_is_worked_with() {
    let yard = with_clip(20);
    let door = yard.front_door();
    for ahead in [5400, -5400] {
        let proxy = Proxy::before(yard.moto.address());
        proxy.turn(Weather::ClockAhead(ahead));
        let worker = yard.worker_through(proxy.address, &["--idle-exit", "2"]);
        let id = ask(&door, "well_behaved");
        assert_eq!(door.until(&id, &["complete", "error"])["status"], "complete", "{}", worker.log());
        assert_eq!(yard.object(&format!("ledger/jobs/{id}.json"))["attempts"], 1);
        assert_eq!(worker.end(), Some(0), "nothing more came, so it leaves by itself");
    }
}

#[test]
fn results_go_to_a_bucket_of_their_own_and_start_nothing_there() {
    let yard = Yard::new(5);
    let clip = clips::test_pattern(&yard.desk.path("clip.mp4"), "160x120", "30", 8, false);
    yard.put(CLIP, &clip);
    yard.moto.make_bucket("results-elsewhere");
    let own = ["--results", "s3://results-elsewhere/out"];
    let store = ["--store", "s3://videos", "--endpoint", &yard.moto.endpoint(), "--queue", &yard.queue];
    let door = Server::start(&yard.desk, &[&store[..], &own].concat());
    let worker = yard.worker(&[&["--pipeline", "overlay"], &own[..]].concat());
    yard.send(&put_event(CLIP));
    let asked = ask_for(&door, CLIP, "count_frames", "poses");
    until("no job follows from the event", &[&worker], || door.get("/jobs")["jobs"].as_array().unwrap().len() == 2);
    yard.until_done(&[&worker]);
    assert!(yard.keys("results/").is_empty(), "{:?}", yard.keys("results/"));
    let key = "out/results/clip.mp4/overlay.mp4";
    let there = yard.keys_of("results-elsewhere", "out/");
    assert!(there.iter().any(|k| k == key) && there.contains(&format!("out/results/{asked}/poses.jsonl")), "{there:?}\n{}", worker.log());
    for job in door.get("/jobs")["jobs"].as_array().unwrap() {
        let of = if job["id"] == asked.as_str() { "poses" } else { "video" };
        let answer = door.curl(&[], &format!("/jobs/{}/{of}", job["id"].as_str().unwrap()));
        assert_eq!((&job["state"], answer.status), (&json!("complete"), 200), "{job}");
    }
    // should somebody announce that bucket as well
    let event = put_event(key).replace("\"videos\"", "\"results-elsewhere\"");
    yard.send(&event);
    yard.send(&put_event(&format!("videos/{key}")));
    until("the event is not settled", &[&worker], || yard.messages("jobs") == (0, 0));
    assert_eq!(door.get("/jobs")["jobs"].as_array().unwrap().len(), 2, "results start nothing");
    for results in ["s3://videos/elsewhere", "memory:", "gs://x"] {
        let args = ["worker", "--listen", "127.0.0.1:0", "--results", results];
        let ran = common::Ran::from(yard.command().args(args).args(store).output().unwrap());
        assert_eq!(ran.code, Some(3), "{results}: {}", ran.stderr);
    }
}

#[test]
fn a_worker_looks_after_webhooks_that_nobody_told() {
    let yard = Yard::new(3);
    let hooks = yard.desk.path("store/ledger/hooks");
    std::fs::create_dir_all(&hooks).unwrap();
    let (old, young) = (hooks.join("a-job-that-is-gone"), hooks.join("a-job-on-its-way"));
    for mark in [&old, &young] {
        std::fs::write(mark, "0").unwrap();
    }
    let hour = std::time::Duration::from_secs(3600);
    std::fs::File::options().write(true).open(&old).unwrap().set_modified(std::time::SystemTime::now() - hour).unwrap();
    let worker = yard.worker(&["--store", text(&yard.desk.path("store")), "--webhook-secret", "s3cret"]);
    until("the old mark is still there", &[&worker], || !old.exists());
    assert!(young.exists(), "whoever made it may be telling it");
}
