//! Jobs by messages, over a queue in memory: what becomes of each message, and what a front door sends.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]
// the engines' types are deep: wgpu's resources stand behind the host
#![recursion_limit = "256"]

mod apps;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use apps::Bench;
use halfpipe_queue::{Facts, MemoryQueue, Message, MessageQueue, QueueError};
use halfpipe_service::jobs::ledger::Claimed;
use halfpipe_service::jobs::{JobError, Ledger, Record, State, Submission};
use halfpipe_service::queue::{Attendant, Status, Worker, WorkerConfig, WorkerError, job_message};
use halfpipe_service::{App, Config, Engines};
use halfpipe_store::{Key, MemoryStore, PutMode};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const LONG: Duration = Duration::from_secs(600);
const SECOND: Duration = Duration::from_secs(1);

fn submit(ledger: &Ledger) -> Record {
    let spec = json!({ "pipeline": "overlay", "input": "incoming/a.mp4", "output_prefix": "results/a/", "options": {}, "batch": 8 });
    let spec = serde_json::from_value(spec).unwrap();
    ledger.submit(Submission { spec, idempotency: None, fingerprint: None, id: None }).unwrap().0
}

fn given_up() -> JobError {
    JobError { code: "given_up".into(), message: "it rained".into(), passing: true }
}

/// A queue with dead letters, and a worker of it in this process.
struct Crew {
    bench: Bench,
    queue: Arc<MemoryQueue>,
    dead: Arc<MemoryQueue>,
    leaving: CancellationToken,
    worker: JoinHandle<Result<(), WorkerError>>,
}

impl Crew {
    /// `before` sees the app before the worker does.
    async fn new(most_receives: u32, before: impl AsyncFnOnce(&App, &MemoryQueue)) -> Self {
        let bench = Bench::new(Arc::new(MemoryStore::new()), |config| {
            config.bucket = Some("b".into());
            config.most_waiting = usize::MAX;
            config.lease = 2 * SECOND;
            config.running = 2;
        });
        for key in ["incoming/a.mp4", "incoming/b.mp4"] {
            bench.app.store.put(&Key::new(key).unwrap(), b"no video", PutMode::Create).unwrap();
        }
        let dead = Arc::new(MemoryQueue::new("dead"));
        let queue = Arc::new(MemoryQueue::new("jobs").with_dead_letters(most_receives, Arc::clone(&dead)));
        before(&bench.app, &queue).await;
        let config = WorkerConfig { hold: 5 * SECOND, wait: SECOND, drain: Duration::ZERO, look: LONG, ..WorkerConfig::default() };
        let leaving = CancellationToken::new();
        let worker = Worker::new(Arc::clone(&bench.app), Arc::clone(&queue) as _, Arc::new(Status::default()), config, leaving.clone());
        Self { bench, queue, dead, leaving, worker: tokio::spawn(worker.run()) }
    }

    /// Waits until the queue has no messages, and asks the worker to leave.
    async fn finish(self) -> (Bench, Facts) {
        loop {
            let facts = self.queue.facts().await.unwrap();
            if facts.waiting + facts.held + facts.delayed == 0 {
                break;
            }
            tokio::time::sleep(SECOND / 50).await;
        }
        self.leaving.cancel();
        self.worker.await.unwrap().unwrap();
        (self.bench, self.dead.facts().await.unwrap())
    }
}

fn record_of(key: &str) -> Value {
    json!({ "eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": { "bucket": { "name": "b" }, "object": { "key": key, "size": 8 } } })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_several_objects_becomes_a_message_for_each() {
    let crew = Crew::new(3, async |_, queue| {
        let event = json!({ "Records": [record_of("incoming/a.mp4"), record_of("incoming/b.mp4"), record_of("results/own.mp4")] });
        queue.send(&event.to_string(), Duration::ZERO).await.unwrap();
    })
    .await;
    let (bench, dead) = crew.finish().await;
    let jobs = bench.app.ledger.list(None, 9).unwrap();
    let mut seen: Vec<_> = jobs.iter().map(|job| (job.spec.input.as_str(), job.state, job.error.as_ref().unwrap().code.as_str())).collect();
    seen.sort_by_key(|job| job.0);
    // what is no video ends the job, not the message
    assert_eq!(seen, [("incoming/a.mp4", State::Error, "bad_input"), ("incoming/b.mp4", State::Error, "bad_input")]);
    assert_eq!(dead.waiting, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_waits_for_whoever_works_on_its_job_and_is_not_spent_by_it() {
    // given out once only, and found too early at least once
    let crew = Crew::new(1, async |app, queue| {
        let job = submit(&app.ledger);
        assert!(matches!(app.ledger.claim_one(&job.id, "somebody else, who dies", 3).unwrap(), Claimed::Taken(_)));
        queue.send(&job_message(&job.id), Duration::ZERO).await.unwrap();
    })
    .await;
    let (bench, dead) = crew.finish().await;
    let job = bench.app.ledger.list(None, 9).unwrap().remove(0);
    assert_eq!((job.state, job.attempts, job.leases), (State::Error, 2, 2), "taken over when the lease had run out: {job:?}");
    assert_eq!(job.history[0].error.code, "interrupted");
    assert_eq!(dead.waiting, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_jobs_that_have_ended_lead_to_nothing() {
    let crew = Crew::new(3, async |app, queue| {
        let job = submit(&app.ledger);
        app.ledger.cancel(&job.id).unwrap();
        for _ in 0..5 {
            queue.send(&job_message(&job.id), Duration::ZERO).await.unwrap();
        }
    })
    .await;
    let (bench, dead) = crew.finish().await;
    let job = bench.app.ledger.list(None, 9).unwrap().remove(0);
    assert_eq!((job.state, job.attempts, dead.waiting), (State::Cancelled, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_in_a_queue_without_dead_letters_comes_back_more_and_more_slowly() {
    let bench = Bench::new(Arc::new(MemoryStore::new()), |_| {});
    let queue = Arc::new(MemoryQueue::new("jobs"));
    queue.send("no message of ours", Duration::ZERO).await.unwrap();
    let config = WorkerConfig { wait: SECOND, ..WorkerConfig::default() };
    let leaving = CancellationToken::new();
    let worker = Worker::new(Arc::clone(&bench.app), Arc::clone(&queue) as _, Arc::new(Status::default()), config, leaving.clone());
    let worker = tokio::spawn(worker.run());
    tokio::time::sleep(3 * SECOND).await;
    leaving.cancel();
    worker.await.unwrap().unwrap();
    // after at least 1 s, then at least 2 s
    let receives = queue.receive(1, 20 * SECOND, LONG).await.unwrap()[0].receives;
    assert!((2..=4).contains(&receives), "{receives}");
}

/// A queue that is never empty: the same message, for ever.
#[derive(Debug)]
struct Endless(String);

#[halfpipe_queue::async_trait]
impl MessageQueue for Endless {
    fn name(&self) -> &str {
        "endless queue"
    }

    async fn facts(&self) -> Result<Facts, QueueError> {
        Ok(Facts { waiting: 1, ..Facts::default() })
    }

    async fn send(&self, _: &str, _: Duration) -> Result<String, QueueError> {
        Ok("id".into())
    }

    async fn receive(&self, _: usize, _: Duration, _: Duration) -> Result<Vec<Message>, QueueError> {
        tokio::time::sleep(SECOND / 50).await;
        let (id, receipt) = ("id".into(), "receipt".into());
        Ok(vec![Message { id, body: self.0.clone(), receipt, receives: 1, sent: std::time::SystemTime::now() }])
    }

    async fn hold(&self, _: &Message, _: Duration) -> Result<(), QueueError> {
        Ok(())
    }

    async fn delete(&self, _: &Message) -> Result<(), QueueError> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_without_a_message_is_found_though_the_worker_is_never_idle() {
    let bench = Bench::new(Arc::new(MemoryStore::new()), |_| {});
    let ended = submit(&bench.app.ledger);
    bench.app.ledger.cancel(&ended.id).unwrap();
    let forgotten = submit(&bench.app.ledger);
    let config = WorkerConfig { look: SECOND / 20, ..WorkerConfig::default() };
    let (queue, leaving) = (Arc::new(Endless(job_message(&ended.id))), CancellationToken::new());
    let worker = Worker::new(Arc::clone(&bench.app), queue, Arc::new(Status::default()), config, leaving.clone());
    let worker = tokio::spawn(worker.run());
    while !bench.app.ledger.get(&forgotten.id).unwrap().state.is_final() {
        tokio::time::sleep(SECOND / 50).await;
    }
    leaving.cancel();
    worker.await.unwrap().unwrap();
}

/// A queue that has no messages and never answers a request for them.
#[derive(Debug)]
struct Silent;

#[halfpipe_queue::async_trait]
impl MessageQueue for Silent {
    fn name(&self) -> &str {
        "silent queue"
    }

    async fn facts(&self) -> Result<Facts, QueueError> {
        Ok(Facts::default())
    }

    async fn send(&self, _: &str, _: Duration) -> Result<String, QueueError> {
        Ok("id".into())
    }

    async fn receive(&self, _: usize, _: Duration, _: Duration) -> Result<Vec<Message>, QueueError> {
        std::future::pending().await
    }

    async fn hold(&self, _: &Message, _: Duration) -> Result<(), QueueError> {
        Ok(())
    }

    async fn delete(&self, _: &Message) -> Result<(), QueueError> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_asked_to_leave_gives_up_its_request_for_messages() {
    let bench = Bench::new(Arc::new(MemoryStore::new()), |_| {});
    let leaving = CancellationToken::new();
    let config = WorkerConfig { wait: LONG, ..WorkerConfig::default() };
    let worker = Worker::new(Arc::clone(&bench.app), Arc::new(Silent), Arc::new(Status::default()), config, leaving.clone());
    let worker = tokio::spawn(worker.run());
    tokio::time::sleep(SECOND / 10).await;
    leaving.cancel();
    // for ever, if it waited for the answer
    worker.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_nothing_came_for_leaves_by_itself_and_has_done_what_came_before() {
    let bench = Bench::new(Arc::new(MemoryStore::new()), |_| {});
    let job = submit(&bench.app.ledger);
    let queue = Arc::new(MemoryQueue::new("jobs"));
    queue.send(&job_message(&job.id), Duration::ZERO).await.unwrap();
    let config = WorkerConfig { idle_exit: Some(SECOND), ..WorkerConfig::default() };
    let status = Arc::new(Status::default());
    let worker = Worker::new(Arc::clone(&bench.app), Arc::clone(&queue) as _, status, config, CancellationToken::new());
    worker.run().await.unwrap();
    assert!(bench.app.ledger.get(&job.id).unwrap().state.is_final());
    assert_eq!(queue.facts().await.unwrap(), Facts::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_does_what_messages_ask_for_and_waits_for_others() {
    let bench = Bench::new(Arc::new(MemoryStore::new()), |config| config.lease = 2 * SECOND);
    let later = || tokio::time::Instant::now() + LONG;
    let (named, others) = (submit(&bench.app.ledger), submit(&bench.app.ledger));
    let attendant = Attendant::until(Arc::clone(&bench.app), later());
    attendant.attend("m", &job_message(&named.id)).await.unwrap();
    assert_eq!(bench.app.ledger.get(&named.id).unwrap().error.unwrap().code, "bad_input", "its input is missing");
    // somebody has it, and dies
    assert!(matches!(bench.app.ledger.claim_one(&others.id, "somebody else", 3).unwrap(), Claimed::Taken(_)));
    attendant.attend("m", &job_message(&others.id)).await.unwrap();
    assert_eq!(bench.app.ledger.get(&others.id).unwrap().leases, 2);
    for (body, word) in [("no message", "event_not_json"), (r#"{"job":"01234567890123456789"}"#, "there is no job")] {
        let error = attendant.attend("m", body).await.unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    // no time is left
    let third = submit(&bench.app.ledger);
    assert!(matches!(bench.app.ledger.claim_one(&third.id, "somebody else", 3).unwrap(), Claimed::Taken(_)));
    let attendant = Attendant::until(Arc::clone(&bench.app), tokio::time::Instant::now());
    let error = attendant.attend("m", &job_message(&third.id)).await.unwrap_err().to_string();
    assert!(error.contains("time of this process is up"), "{error}");
}

#[test]
fn a_named_job_is_taken_up_when_it_may_be() {
    let ledger = Ledger::new(Arc::new(MemoryStore::new()), "ledger/", LONG, 100);
    let job = submit(&ledger);
    let Claimed::Taken(taken) = ledger.claim_one(&job.id, "a", 2).unwrap() else { panic!("it was free") };
    let token = taken.lease.as_ref().unwrap().token;
    let Claimed::Waits { ms, .. } = ledger.claim_one(&job.id, "b", 2).unwrap() else { panic!("it is a's") };
    assert!((1..=600_000).contains(&ms), "{ms}");
    ledger.fail(&job.id, token, &given_up(), 2, LONG).unwrap();
    assert!(
        matches!(ledger.claim_one(&job.id, "b", 2).unwrap(), Claimed::Waits { record, .. } if record.lease.is_none()),
        "between attempts"
    );
    ledger.cancel(&job.id).unwrap();
    assert!(matches!(ledger.claim_one(&job.id, "b", 2).unwrap(), Claimed::Ended(record) if record.state == State::Cancelled));

    // the attempts of a process that died are counted
    let ledger = Ledger::new(Arc::new(MemoryStore::new()), "ledger/", Duration::ZERO, 100);
    let job = submit(&ledger);
    assert!(matches!(ledger.claim_one(&job.id, "a", 1).unwrap(), Claimed::Taken(_)));
    assert!(
        matches!(ledger.claim_one(&job.id, "b", 1).unwrap(), Claimed::Ended(record) if record.error.as_ref().unwrap().code == "interrupted")
    );
}

#[test]
fn only_jobs_that_nobody_works_on_are_given_up() {
    let ledger = Ledger::new(Arc::new(MemoryStore::new()), "ledger/", LONG, 100);
    let job = submit(&ledger);
    let Claimed::Taken(taken) = ledger.claim_one(&job.id, "a", 2).unwrap() else { panic!("it was free") };
    assert_eq!(ledger.give_up(&job.id, &given_up()).unwrap().state, State::Processing);
    ledger.hand_over(&job.id, taken.lease.unwrap().token).unwrap();
    let ended = ledger.give_up(&job.id, &given_up()).unwrap();
    assert_eq!((ended.state, ended.error), (State::Error, Some(given_up())));
    assert_eq!(ledger.failed_ids().unwrap(), [job.id.as_str()]);
    let again = ledger.give_up(&job.id, &JobError { code: "other".into(), ..given_up() }).unwrap();
    assert_eq!(again.error, Some(given_up()), "what has ended stays as it is");
}

/// A queue that is away for the first so many messages.
#[derive(Debug)]
struct Away {
    queue: MemoryQueue,
    left: AtomicU32,
}

#[halfpipe_queue::async_trait]
impl MessageQueue for Away {
    fn name(&self) -> &str {
        self.queue.name()
    }

    async fn facts(&self) -> Result<Facts, QueueError> {
        self.queue.facts().await
    }

    async fn send(&self, body: &str, delay: Duration) -> Result<String, QueueError> {
        if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            return Err(QueueError::Unavailable { queue: "q".into(), action: "sent", reason: "away".into() });
        }
        self.queue.send(body, delay).await
    }

    async fn receive(&self, most: usize, wait: Duration, hold: Duration) -> Result<Vec<Message>, QueueError> {
        self.queue.receive(most, wait, hold).await
    }

    async fn hold(&self, message: &Message, hold: Duration) -> Result<(), QueueError> {
        self.queue.hold(message, hold).await
    }

    async fn delete(&self, message: &Message) -> Result<(), QueueError> {
        self.queue.delete(message).await
    }
}

/// A front door without engines.
fn front_door(queue: &Arc<Away>) -> Bench {
    let spool = tempfile::tempdir().unwrap();
    let config = Config::new(spool.path().join("spool"), spool.path().to_owned());
    let app = App::new(config, Arc::new(MemoryStore::new()), Engines::absent("this is a front door")).unwrap();
    Bench { app: app.with_queue(Arc::clone(queue) as _), spool }
}

async fn next(queue: &Away) -> String {
    queue.receive(1, 20 * SECOND, LONG).await.unwrap().remove(0).body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_front_door_announces_jobs_and_passes_events_on() {
    let queue = Arc::new(Away { queue: MemoryQueue::new("jobs"), left: AtomicU32::new(0) });
    let door = front_door(&queue);
    door.app.store.put(&Key::new("incoming/a.mp4").unwrap(), b"no video", PutMode::Create).unwrap();
    assert_eq!(door.get("/readyz").await.status, 200, "it needs no engines");

    let accepted = door.post("/process_video_async", &json!({ "input": "incoming/a.mp4" })).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    assert_eq!(next(&queue).await, job_message(accepted.json()["job_id"].as_str().unwrap()));

    let event = json!({ "Records": [record_of("incoming/a.mp4")] });
    let told = door.post("/events/s3", &event).await;
    assert_eq!((told.status.as_u16(), told.json()["queued"].clone()), (202, json!(true)));
    assert_eq!(serde_json::from_str::<Value>(&next(&queue).await).unwrap(), event, "as it came");
    assert_eq!(door.post("/events/s3", &json!({ "hello": 1 })).await.code(400), "event_unknown_shape");
    let nothing = door.post("/events/s3", &json!({ "Records": [] })).await;
    assert_eq!((nothing.status.as_u16(), queue.facts().await.unwrap().waiting), (200, 0), "an event of nothing is not passed on");
    let large = json!({ "Records": vec![record_of(&"k".repeat(900)); 400] });
    assert_eq!(door.post("/events/s3", &large).await.code(413), "too_large");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_accepted_while_the_queue_is_away_and_announced_when_it_is_back() {
    let queue = Arc::new(Away { queue: MemoryQueue::new("jobs"), left: AtomicU32::new(4) });
    let door = front_door(&queue);
    door.app.store.put(&Key::new("incoming/a.mp4").unwrap(), b"no video", PutMode::Create).unwrap();
    // an event has no record yet, so its sender has to come again
    let event = json!({ "Records": [record_of("incoming/a.mp4")] });
    assert_eq!(door.post("/events/s3", &event).await.code(503), "queue_unavailable");
    let accepted = door.post("/process_video_async", &json!({ "input": "incoming/a.mp4" })).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    assert_eq!(next(&queue).await, job_message(accepted.json()["job_id"].as_str().unwrap()));
    assert_eq!(queue.left.load(Ordering::Relaxed), 0);
}
