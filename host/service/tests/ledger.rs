//! The ledger's promises: one job per key, one owner at a time, nobody acts on a lease that was lost.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]

use std::sync::{Arc, Barrier};
use std::time::Duration;

use halfpipe_service::jobs::{JobError, Ledger, LedgerError, ProgressRecord, Spec, State, Submission, Wanted};
use halfpipe_store::{DirectoryStore, Key, MemoryStore, ObjectStore, PutMode};
use serde_json::{Map, json};

/// Long enough never to run out in a test, short enough to be waited for where a test wants it to.
const LONG: Duration = Duration::from_secs(600);
const NOTHING: Duration = Duration::ZERO;

fn submission(key: Option<&str>) -> Submission {
    Submission {
        spec: Spec {
            pipeline: "overlay".into(),
            input: "incoming/a.mp4".into(),
            input_etag: None,
            input_owned: false,
            output_prefix: "results/a/".into(),
            options: Map::new(),
            batch: 8,
            window: None,
            split: None,
            part_of: None,
            outputs: Wanted::default(),
            metadata: [("rider".to_owned(), "7".to_owned())].into(),
            webhook: None,
        },
        idempotency: key.map(str::to_owned),
        fingerprint: None,
        id: None,
    }
}

fn memory(lease: Duration) -> Ledger {
    Ledger::new(Arc::new(MemoryStore::new()), "ledger/", lease, 100)
}

fn passing(passing: bool) -> JobError {
    JobError { code: "failed".into(), message: "it rained".into(), passing }
}

fn token(record: &halfpipe_service::jobs::Record) -> u64 {
    record.lease.as_ref().unwrap().token
}

#[test]
fn a_job_goes_from_queued_to_complete() {
    let ledger = memory(LONG);
    let (queued, new) = ledger.submit(submission(None)).unwrap();
    assert!(new && queued.state == State::Queued && queued.id.len() >= 8);
    let taken = ledger.claim("a", 3, &[]).unwrap().unwrap();
    assert_eq!((taken.id.as_str(), taken.state, taken.attempts), (queued.id.as_str(), State::Processing, 1));
    assert!(ledger.claim("b", 3, &[]).unwrap().is_none(), "nobody else gets it");
    let progress = ProgressRecord { stage: "running".into(), frames_done: 5, ..ProgressRecord::default() };
    ledger.heartbeat(&taken.id, token(&taken), &progress).unwrap();
    assert_eq!(ledger.get(&taken.id).unwrap().progress.frames_done, 5);
    let done = ledger.complete(&taken.id, token(&taken), &[], &json!({ "counts": { "frames": 9 } })).unwrap();
    assert_eq!((done.state, done.progress.frames_done), (State::Complete, 9));
    assert!(done.lease.is_none() && done.finished_ms.is_some());
    assert!(ledger.open_ids().unwrap().is_empty());
    assert_eq!(ledger.list(None, 10).unwrap(), [ledger.get(&done.id).unwrap()]);
}

#[test]
fn equal_keys_are_one_job_also_when_they_race() {
    let folder = tempfile::tempdir().unwrap();
    let racers = 8;
    let gate = Arc::new(Barrier::new(racers));
    let threads: Vec<_> = (0..racers)
        .map(|_| {
            // every racer has a store of its own, as processes have
            let store: Arc<dyn ObjectStore> = Arc::new(DirectoryStore::open(folder.path()).unwrap());
            let ledger = Ledger::new(store, "ledger/", LONG, 100);
            let gate = Arc::clone(&gate);
            std::thread::spawn(move || {
                gate.wait();
                ledger.submit(submission(Some("the same"))).map(|(record, new)| (record.id, new)).unwrap()
            })
        })
        .collect();
    let made: Vec<(String, bool)> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    assert!(made.iter().all(|(id, _)| *id == made[0].0), "{made:?}");
    assert_eq!(made.iter().filter(|(_, new)| *new).count(), 1, "{made:?}");
    let store: Arc<dyn ObjectStore> = Arc::new(DirectoryStore::open(folder.path()).unwrap());
    assert_eq!(Ledger::new(store, "ledger/", LONG, 100).list(None, 100).unwrap().len(), 1);
}

#[test]
fn a_key_whose_submitter_died_before_the_record_still_makes_its_job() {
    let store: Arc<dyn ObjectStore> = Arc::new(MemoryStore::new());
    let ledger = Ledger::new(Arc::clone(&store), "ledger/", LONG, 100);
    let (first, _) = ledger.submit(submission(Some("k"))).unwrap();
    store.delete(&Key::new(format!("ledger/jobs/{}.json", first.id)).unwrap()).unwrap();
    let (second, new) = ledger.submit(submission(Some("k"))).unwrap();
    assert!(new);
    assert_eq!(second.id, first.id, "whoever was told the first id finds the job under it");
}

#[test]
fn of_many_claimants_one_gets_the_job() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = |_| {
        let store: Arc<dyn ObjectStore> = Arc::new(DirectoryStore::open(folder.path()).unwrap());
        Ledger::new(store, "ledger/", LONG, 100)
    };
    for _ in 0..5 {
        ledger(0).submit(submission(None)).unwrap();
    }
    let racers = 8;
    let gate = Arc::new(Barrier::new(racers));
    let threads: Vec<_> = (0..racers)
        .map(|i| {
            let (ledger, gate) = (ledger(i), Arc::clone(&gate));
            std::thread::spawn(move || {
                gate.wait();
                let mut mine = Vec::new();
                while let Some(record) = ledger.claim(&format!("racer {i}"), 3, &[]).unwrap() {
                    mine.push(record.id);
                }
                mine
            })
        })
        .collect();
    let mut taken: Vec<String> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
    taken.sort();
    let mut distinct = taken.clone();
    distinct.dedup();
    assert_eq!(taken, distinct, "no job has two owners");
    // a racer may have given up while others were faster; nothing is lost
    while let Some(record) = ledger(0).claim("late", 3, &[]).unwrap() {
        taken.push(record.id);
    }
    assert_eq!(taken.len(), 5);
}

#[test]
fn a_lease_that_ran_out_passes_on_and_its_former_owner_can_do_nothing() {
    let ledger = memory(Duration::from_millis(1));
    ledger.submit(submission(None)).unwrap();
    let first = ledger.claim("first", 3, &[]).unwrap().unwrap();
    std::thread::sleep(Duration::from_millis(10));
    let second = ledger.claim("second", 3, &[]).unwrap().unwrap();
    assert_eq!((second.attempts, second.history.len()), (2, 1));
    assert_eq!(second.history[0].error.code, "interrupted");
    assert!(token(&second) > token(&first));
    let (id, old) = (&first.id, token(&first));
    let lost = |outcome: Result<_, LedgerError>| matches!(outcome, Err(LedgerError::LeaseLost { .. }));
    assert!(lost(ledger.heartbeat(id, old, &ProgressRecord::default())));
    assert!(lost(ledger.complete(id, old, &[], &json!({}))));
    assert!(lost(ledger.fail(id, old, &passing(true), 3, NOTHING)));
    assert!(lost(ledger.cancelled(id, old)));
    assert!(lost(ledger.hand_over(id, old)));
    assert_eq!(ledger.complete(id, token(&second), &[], &json!({})).unwrap().state, State::Complete);
}

#[test]
fn passing_faults_are_tried_again_and_the_last_one_is_on_the_record() {
    let ledger = memory(LONG);
    let (job, _) = ledger.submit(submission(None)).unwrap();
    for attempt in 1..=3 {
        let taken = ledger.claim("a", 3, &[]).unwrap().unwrap();
        assert_eq!(taken.attempts, attempt);
        ledger.fail(&job.id, token(&taken), &passing(true), 3, NOTHING).unwrap();
    }
    let after = ledger.get(&job.id).unwrap();
    assert_eq!((after.state, after.history.len()), (State::Error, 3));
    assert_eq!(after.error, Some(passing(true)));
    assert_eq!(ledger.failed_ids().unwrap(), [job.id]);
    assert!(ledger.claim("a", 3, &[]).unwrap().is_none());
}

#[test]
fn lasting_faults_are_not_tried_again_and_back_off_is_kept() {
    let ledger = memory(LONG);
    ledger.submit(submission(None)).unwrap();
    let taken = ledger.claim("a", 3, &[]).unwrap().unwrap();
    assert_eq!(ledger.fail(&taken.id, token(&taken), &passing(false), 3, NOTHING).unwrap().state, State::Error);
    ledger.submit(submission(None)).unwrap();
    let taken = ledger.claim("a", 3, &[]).unwrap().unwrap();
    assert_eq!(ledger.fail(&taken.id, token(&taken), &passing(true), 3, LONG).unwrap().state, State::Queued);
    assert!(ledger.claim("a", 3, &[]).unwrap().is_none(), "not before its time");
}

#[test]
fn attempts_that_were_killed_count_and_end() {
    let ledger = memory(Duration::from_millis(1));
    let (job, _) = ledger.submit(submission(None)).unwrap();
    let mut taken = 0;
    for _ in 0..5 {
        taken += u32::from(ledger.claim("killed", 2, &[]).unwrap().is_some());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(taken, 2);
    let after = ledger.get(&job.id).unwrap();
    assert_eq!((after.state, after.error.unwrap().code.as_str()), (State::Error, "interrupted"));
}

#[test]
fn a_hand_over_costs_no_attempt() {
    let ledger = memory(LONG);
    ledger.submit(submission(None)).unwrap();
    for _ in 0..5 {
        let taken = ledger.claim("leaving", 1, &[]).unwrap().unwrap();
        assert_eq!(taken.attempts, 1);
        ledger.hand_over(&taken.id, token(&taken)).unwrap();
    }
}

#[test]
fn cancelling() {
    let ledger = memory(LONG);
    let (waiting, _) = ledger.submit(submission(None)).unwrap();
    assert_eq!(ledger.cancel(&waiting.id).unwrap().state, State::Cancelled);
    let (job, _) = ledger.submit(submission(None)).unwrap();
    let taken = ledger.claim("a", 3, &[]).unwrap().unwrap();
    assert_eq!(ledger.cancel(&job.id).unwrap().state, State::Processing, "its owner stops between batches");
    assert!(ledger.heartbeat(&job.id, token(&taken), &ProgressRecord::default()).unwrap().cancel_requested);
    assert_eq!(ledger.cancelled(&job.id, token(&taken)).unwrap().state, State::Cancelled);
    assert_eq!(ledger.cancel(&job.id).unwrap().state, State::Cancelled, "again is harmless");
    assert!(matches!(ledger.cancel("no-such-job"), Err(LedgerError::Unknown(_))));
}

#[test]
fn the_queue_has_an_end() {
    let ledger = Ledger::new(Arc::new(MemoryStore::new()), "", LONG, 2);
    ledger.submit(submission(None)).unwrap();
    ledger.submit(submission(Some("k"))).unwrap();
    assert!(matches!(ledger.submit(submission(None)), Err(LedgerError::Full { waiting: 2 })));
    assert!(!ledger.submit(submission(Some("k"))).unwrap().1, "a job that is there is found also when the queue is full");
}

#[test]
fn the_oldest_goes_first() {
    let ledger = memory(LONG);
    let ids: Vec<String> = (0..3)
        .map(|_| {
            std::thread::sleep(Duration::from_millis(2));
            ledger.submit(submission(None)).unwrap().0.id
        })
        .collect();
    let taken: Vec<String> = std::iter::from_fn(|| ledger.claim("a", 3, &[]).unwrap()).map(|r| r.id).collect();
    assert_eq!(taken, ids);
    let listed: Vec<String> = ledger.list(None, 10).unwrap().into_iter().map(|r| r.id).collect();
    assert_eq!(listed, ids);
    assert_eq!(ledger.list(Some(&ids[0]), 1).unwrap()[0].id, ids[1]);
}

/// An id as one made at a time, Unix milliseconds.
fn id_of(ms: u64, number: u32) -> String {
    format!("{ms:012x}70008000{number:012x}")
}

#[test]
fn the_newest_are_listed_from_any_place_however_old_they_are() {
    let ledger = memory(LONG);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
    let day = 24 * 3600 * 1000;
    // bunches with gaps of all lengths between them, one of a clock that is ahead, and ids that tell no time
    let mut ids = vec!["00000000-old-style".to_owned(), "zz-another-style".to_owned()];
    for (age, number) in [(0, 5), (61_000, 1), (100 * 60_000, 7), (3 * day, 2), (400 * day, 3), (10_000 * day, 2)] {
        ids.extend((0..number).map(|n| id_of(now - age, n)));
    }
    ids.push(id_of(now + 90_000, 0));
    ids.sort_unstable();
    for id in &ids {
        ledger.submit(Submission { id: Some(id.clone()), ..submission(None) }).unwrap();
    }
    let newest: Vec<String> = ids.iter().rev().cloned().collect();
    let listed = |before: Option<&str>, limit: usize| -> Vec<String> {
        ledger.newest(before, limit).unwrap().into_iter().map(|record| record.id).collect()
    };
    assert_eq!(listed(None, 100), newest, "all");
    for limit in [1, 2, 3, 7, 22, 23] {
        assert_eq!(listed(None, limit), newest[..limit.min(newest.len())], "the first {limit}");
        let mut paged = Vec::new();
        let mut before: Option<String> = None;
        loop {
            let page = listed(before.as_deref(), limit);
            assert!(page.len() <= limit);
            let Some(last) = page.last() else { break };
            before = Some(last.clone());
            paged.extend(page);
        }
        assert_eq!(paged, newest, "in pages of {limit}");
    }
    assert_eq!(listed(Some("no-such-job-at-all"), 3), newest[1..4], "an id that does not exist is a place as well");
    assert!(listed(Some(&ids[0]), 5).is_empty() && listed(None, 0).is_empty());
}

#[test]
fn strange_records_harm_nobody_else() {
    let store: Arc<dyn ObjectStore> = Arc::new(MemoryStore::new());
    let ledger = Ledger::new(Arc::clone(&store), "ledger/", LONG, 100);
    let put = |key: &str, text: &str| {
        store.put(&Key::new(format!("ledger/{key}")).unwrap(), text.as_bytes(), PutMode::Overwrite).unwrap();
    };
    put("jobs/strange-record.json", "{}");
    put("open/strange-record", "");
    put("open/no-record-yet", "");
    let (job, _) = ledger.submit(submission(None)).unwrap();
    assert_eq!(ledger.claim("a", 3, &[]).unwrap().unwrap().id, job.id);
    assert!(matches!(ledger.get("strange-record"), Err(LedgerError::Corrupt { .. })));
    for id in ["", "short", "../../etc/passwd", "a/b/c/d/e", "ä-not-an-id"] {
        assert!(matches!(ledger.get(id), Err(LedgerError::Unknown(_))), "{id:?}");
    }
}
