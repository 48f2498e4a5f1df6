//! What looking for work costs: requests to the store, counted.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use halfpipe_service::jobs::ledger::Claimed;
use halfpipe_service::jobs::{JobError, Ledger, ProgressRecord, Record, Spec, State, Submission, Wanted};
use halfpipe_store::{Key, MemoryStore, Object, ObjectMeta, ObjectStore, ObjectWriter, PutMode, StoreError};

const LONG: Duration = Duration::from_secs(600);

/// A store that counts what it is asked.
#[derive(Debug, Default)]
struct Counting {
    store: MemoryStore,
    lists: AtomicUsize,
    reads: AtomicUsize,
    writes: AtomicUsize,
}

impl Counting {
    /// Lists, reads and writes since the last call.
    fn taken(&self) -> (usize, usize, usize) {
        let take = |counter: &AtomicUsize| counter.swap(0, Ordering::Relaxed);
        (take(&self.lists), take(&self.reads), take(&self.writes))
    }
}

impl ObjectStore for Counting {
    fn name(&self) -> &str {
        "counting store"
    }

    fn create(&self, key: &Key, mode: PutMode) -> Result<Box<dyn ObjectWriter>, StoreError> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.store.create(key, mode)
    }

    fn put_file(&self, key: &Key, staged: &Path, mode: PutMode) -> Result<ObjectMeta, StoreError> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.store.put_file(key, staged, mode)
    }

    fn open(&self, key: &Key, range: Option<Range<u64>>) -> Result<Object, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.store.open(key, range)
    }

    fn head(&self, key: &Key) -> Result<ObjectMeta, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.store.head(key)
    }

    fn list(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<ObjectMeta>, StoreError> {
        self.lists.fetch_add(1, Ordering::Relaxed);
        self.store.list(prefix, after, limit)
    }

    fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.store.delete(key)
    }

    fn local_path(&self, key: &Key) -> Option<PathBuf> {
        self.store.local_path(key)
    }
}

fn submission() -> Submission {
    Submission {
        spec: Spec {
            pipeline: "overlay".into(),
            input: "incoming/a.mp4".into(),
            input_etag: None,
            input_owned: false,
            output_prefix: "results/a/".into(),
            options: serde_json::Map::new(),
            batch: 8,
            window: None,
            split: None,
            part_of: None,
            outputs: Wanted::default(),
            metadata: std::collections::BTreeMap::new(),
            webhook: None,
        },
        idempotency: None,
        fingerprint: None,
        id: None,
    }
}

fn ledger(store: &Arc<Counting>) -> Ledger {
    Ledger::new(Arc::clone(store) as _, "ledger/", LONG, 2000)
}

fn token(record: &Record) -> u64 {
    record.lease.as_ref().unwrap().token
}

#[test]
fn a_claim_costs_three_requests_among_a_thousand_open_jobs() {
    let store = Arc::new(Counting::default());
    let ledger = ledger(&store);
    let ids: Vec<String> = (0..1000).map(|_| ledger.submit(submission()).unwrap().0.id).collect();
    store.taken();
    for id in &ids[..20] {
        assert_eq!(ledger.claim("a", 3, &[]).unwrap().unwrap().id, *id);
        assert_eq!(store.taken(), (1, 1, 1), "one list, one read of the job, one conditional put");
    }
    // who has not seen the jobs that others work on reads each of them once
    let other = self::ledger(&store);
    assert_eq!(other.claim("b", 3, &[]).unwrap().unwrap().id, ids[20]);
    assert_eq!(store.taken(), (1, 21, 1));
    assert_eq!(other.claim("b", 3, &[]).unwrap().unwrap().id, ids[21]);
    assert_eq!(store.taken(), (1, 1, 1));
}

#[test]
fn a_look_that_finds_no_work_reads_no_record_twice() {
    let store = Arc::new(Counting::default());
    let (busy, idle) = (ledger(&store), ledger(&store));
    for _ in 0..50 {
        busy.submit(submission()).unwrap();
        busy.claim("busy", 3, &[]).unwrap().unwrap();
    }
    store.taken();
    assert!(idle.claim("idle", 3, &[]).unwrap().is_none());
    assert_eq!(store.taken(), (1, 50, 0));
    for _ in 0..3 {
        assert!(idle.claim("idle", 3, &[]).unwrap().is_none());
        assert_eq!(store.taken(), (1, 0, 0));
    }
}

#[test]
fn what_comes_back_to_the_queue_is_seen_before_its_lease_would_have_ended() {
    let store = Arc::new(Counting::default());
    let (mine, theirs) = (ledger(&store), ledger(&store));
    mine.submit(submission()).unwrap();
    let taken = mine.claim("mine", 9, &[]).unwrap().unwrap();
    assert!(theirs.claim("theirs", 9, &[]).unwrap().is_none());
    mine.hand_over(&taken.id, token(&taken)).unwrap();
    let taken = theirs.claim("theirs", 9, &[]).unwrap().expect("handed over, so it is theirs at once");
    assert!(mine.claim("mine", 9, &[]).unwrap().is_none());
    let rain = JobError { code: "failed".into(), message: "it rained".into(), passing: true };
    theirs.fail(&taken.id, token(&taken), &rain, 9, Duration::ZERO).unwrap();
    assert!(mine.claim("mine", 9, &[]).unwrap().is_some(), "back after a fault without a wait");
}

/// What a record says of the end of its lease, as an owner writes it whose clock is elsewhere.
fn set_clock(ledger: &Ledger, id: &str, expires_ms: u64) {
    let key = Key::new(format!("ledger/jobs/{id}.json")).unwrap();
    let mut record = ledger.get(id).unwrap();
    record.lease.as_mut().unwrap().expires_ms = expires_ms;
    ledger.store().put(&key, &serde_json::to_vec(&record).unwrap(), PutMode::Overwrite).unwrap();
}

#[test]
fn clocks_that_differ_neither_take_a_job_from_its_owner_nor_keep_it_for_ever() {
    let store = Arc::new(MemoryStore::new());
    let new = |lease| Ledger::new(Arc::clone(&store) as _, "ledger/", lease, 9);
    // an owner whose clock is decades behind, in a lease that is long
    let (owner, other) = (new(LONG), new(LONG));
    let (job, _) = owner.submit(submission()).unwrap();
    owner.claim("owner", 9, &[]).unwrap().unwrap();
    set_clock(&owner, &job.id, 1);
    assert!(other.claim("other", 9, &[]).unwrap().is_none(), "the lease looks over by another's clock, and is not");
    assert!(matches!(other.claim_one(&job.id, "other", 9).unwrap(), Claimed::Waits { ms, .. } if ms > 500_000));
    let rain = JobError { code: "given_up".into(), message: "it rained".into(), passing: true };
    assert_eq!(other.give_up(&job.id, &rain).unwrap().state, State::Processing);
    owner.cancel(&job.id).unwrap();

    // one whose clock is ahead for ever, and who dies
    let (owner, other) = (new(Duration::from_millis(50)), new(LONG));
    let (job, _) = owner.submit(submission()).unwrap();
    assert!(matches!(owner.claim_one(&job.id, "owner", 9).unwrap(), Claimed::Taken(_)));
    set_clock(&owner, &job.id, u64::MAX);
    let taken = loop {
        match other.claim_one(&job.id, "other", 9).unwrap() {
            Claimed::Taken(record) => break record,
            Claimed::Waits { ms, .. } => std::thread::sleep(Duration::from_millis(ms)),
            Claimed::Ended(record) => panic!("{record:?}"),
        }
    };
    assert_eq!((taken.attempts, taken.history[0].error.code.as_str()), (2, "interrupted"));
}

#[test]
fn a_lease_that_runs_out_is_seen_although_its_record_was_read_before() {
    let store = Arc::new(Counting::default());
    let short = || Ledger::new(Arc::clone(&store) as _, "ledger/", Duration::from_millis(50), 9);
    let (first, second) = (short(), short());
    first.submit(submission()).unwrap();
    let taken = first.claim("first", 9, &[]).unwrap().unwrap();
    // renewed, so the time that was seen first is not the last word
    assert!(second.claim("second", 9, &[]).unwrap().is_none());
    first.heartbeat(&taken.id, token(&taken), &ProgressRecord::default()).unwrap();
    let over = loop {
        match second.claim("second", 9, &[]).unwrap() {
            Some(record) => break record,
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    assert_eq!((over.id, over.attempts), (taken.id, 2));
}
