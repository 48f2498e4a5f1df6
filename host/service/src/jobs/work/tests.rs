//! Fencing, back-off and the spool.

use std::ops::Range;

use halfpipe_store::{MemoryStore, Object, ObjectStore, ObjectWriter};
use sha2::{Digest, Sha256};

use super::*;

/// A store whose versions are digests of bytes, as S3's are.
#[derive(Debug, Default)]
struct Digests {
    store: MemoryStore,
}

fn digest(bytes: &[u8]) -> String {
    crate::jobs::ledger::hex(&Sha256::digest(bytes))
}

impl Digests {
    fn by_digest(&self, meta: ObjectMeta) -> ObjectMeta {
        let mut bytes = Vec::new();
        self.store.open(&meta.key, None).unwrap().body.read_to_end(&mut bytes).unwrap();
        ObjectMeta { etag: digest(&bytes), ..meta }
    }
}

/// Looks up the version under the digest when it commits.
struct DigestWriter {
    store: MemoryStore,
    key: Key,
    mode: PutMode,
    bytes: Vec<u8>,
}

impl Write for DigestWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl ObjectWriter for DigestWriter {
    fn commit(self: Box<Self>) -> Result<ObjectMeta, StoreError> {
        let store: &dyn ObjectStore = &self.store;
        let mode = match &self.mode {
            PutMode::Update(expected) => match store.read(&self.key, u64::MAX) {
                Ok((there, meta)) if digest(&there) == *expected => PutMode::Update(meta.etag),
                _ => PutMode::Update("another".into()),
            },
            mode => mode.clone(),
        };
        let meta = store.put(&self.key, &self.bytes, mode)?;
        Ok(ObjectMeta { etag: digest(&self.bytes), ..meta })
    }
}

impl ObjectStore for Digests {
    fn name(&self) -> &str {
        "digests"
    }

    fn create(&self, key: &Key, mode: PutMode) -> Result<Box<dyn ObjectWriter>, StoreError> {
        Ok(Box::new(DigestWriter { store: self.store.clone(), key: key.clone(), mode, bytes: Vec::new() }))
    }

    fn put_file(&self, key: &Key, staged: &Path, mode: PutMode) -> Result<ObjectMeta, StoreError> {
        let store: &dyn ObjectStore = self;
        store.put(key, &std::fs::read(staged).unwrap(), mode)
    }

    fn open(&self, key: &Key, range: Option<Range<u64>>) -> Result<Object, StoreError> {
        let object = self.store.open(key, range)?;
        Ok(Object { meta: self.by_digest(object.meta), ..object })
    }

    fn head(&self, key: &Key) -> Result<ObjectMeta, StoreError> {
        self.store.head(key).map(|meta| self.by_digest(meta))
    }

    fn list(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<ObjectMeta>, StoreError> {
        Ok(self.store.list(prefix, after, limit)?.into_iter().map(|meta| self.by_digest(meta)).collect())
    }

    fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.store.delete(key)
    }

    fn local_path(&self, _: &Key) -> Option<PathBuf> {
        None
    }
}

/// A job that `first` has lost to `second`.
fn overtaken(spool: &Path) -> (Arc<App>, Record, Record) {
    overtaken_in(spool, Arc::new(MemoryStore::new()))
}

fn spec() -> crate::jobs::Spec {
    crate::jobs::Spec::sample("incoming/a.mp4", "results/a/")
}

fn overtaken_in(spool: &Path, store: Arc<dyn ObjectStore>) -> (Arc<App>, Record, Record) {
    let mut config = crate::Config::new(spool.join("spool"), spool.to_owned());
    config.lease = Duration::from_millis(50);
    let app = App::new(config, store, crate::Engines::absent("a test")).unwrap();
    app.ledger.submit(crate::jobs::Submission { spec: spec(), idempotency: None, fingerprint: None, id: None }).unwrap();
    let first = app.ledger.claim("first", 9, &[]).unwrap().unwrap();
    (Arc::clone(&app), first, next_owner(&app))
}

/// Takes the job over, once its lease has run out.
fn next_owner(app: &App) -> Record {
    loop {
        if let Some(record) = app.ledger.claim("next", 9, &[]).unwrap() {
            return record;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn token(record: &Record) -> u64 {
    record.lease.as_ref().unwrap().token
}

#[test]
fn who_lost_the_job_cannot_touch_its_results() {
    let spool = tempfile::tempdir().unwrap();
    let (app, first, second) = overtaken(spool.path());
    let key = Key::new("results/a/overlay.mp4").unwrap();
    let put = |record: &Record, bytes: &[u8]| {
        put_fenced(&app, app.store.as_ref(), &record.id, token(record), &key, |mode| app.store.put(&key, bytes, mode))
    };
    assert!(matches!(put(&first, b"old"), Err(AppError::Ledger(LedgerError::LeaseLost { .. }))));
    put(&second, b"new").unwrap();
    assert!(matches!(put(&first, b"old"), Err(AppError::Ledger(LedgerError::LeaseLost { .. }))));
    assert_eq!(app.store.read(&key, 10).unwrap().0, b"new");
}

#[test]
fn who_loses_the_job_between_check_and_put_cannot_touch_its_results_either() {
    let spool = tempfile::tempdir().unwrap();
    for before in [None, Some(b"earlier")] {
        let (app, _, owner) = overtaken(spool.path());
        let key = Key::new("results/a/overlay.mp4").unwrap();
        if let Some(bytes) = before {
            app.store.put(&key, bytes, PutMode::Overwrite).unwrap();
        }
        let late = put_fenced(&app, app.store.as_ref(), &owner.id, token(&owner), &key, |mode| {
            // all this happens after the lease was found to be good
            let successor = next_owner(&app);
            put_fenced(&app, app.store.as_ref(), &owner.id, token(&successor), &key, |mode| app.store.put(&key, b"new", mode)).unwrap();
            app.store.put(&key, b"old", mode)
        });
        assert!(matches!(late, Err(AppError::Store(StoreError::Changed { .. } | StoreError::AlreadyExists { .. }))), "{late:?}");
        assert_eq!(app.store.read(&key, 10).unwrap().0, b"new");
    }
}

#[test]
fn no_version_of_a_record_comes_back_where_versions_are_digests() {
    let ledger = crate::jobs::Ledger::new(Arc::new(Digests::default()), "ledger/", Duration::from_secs(600), 9);
    let version = |id: &str| ledger.store().head(&Key::new(format!("ledger/jobs/{id}.json")).unwrap()).unwrap().etag;
    let (job, _) = ledger.submit(crate::jobs::Submission { spec: spec(), idempotency: None, fingerprint: None, id: None }).unwrap();
    let mut versions = vec![version(&job.id)];
    for _ in 0..3 {
        let taken = ledger.claim("a", 9, &[]).unwrap().unwrap();
        versions.push(version(&job.id));
        // within one millisecond nothing but the revision tells them apart
        for _ in 0..5 {
            ledger.heartbeat(&job.id, token(&taken), &ProgressRecord::default()).unwrap();
            versions.push(version(&job.id));
        }
        ledger.hand_over(&job.id, token(&taken)).unwrap();
        versions.push(version(&job.id));
    }
    let distinct: std::collections::BTreeSet<&String> = versions.iter().collect();
    assert_eq!(distinct.len(), versions.len());
}

#[test]
fn a_job_that_waits_for_its_windows_is_free_as_soon_as_they_have_ended() {
    let store: Arc<dyn ObjectStore> = Arc::new(Digests::default());
    let ledger = || crate::jobs::Ledger::new(Arc::clone(&store), "ledger/", Duration::from_secs(600), 9);
    let (mine, theirs) = (ledger(), ledger());
    mine.submit(crate::jobs::Submission { spec: spec(), idempotency: None, fingerprint: None, id: None }).unwrap();
    let taken = mine.claim("mine", 1, &[]).unwrap().unwrap();
    let parts = crate::jobs::Parts { plan: "uploads/x/plan.json".into(), jobs: vec!["window".into()], announced: false };
    mine.set_parts(&taken.id, token(&taken), &parts).unwrap();
    let waiting = mine.wait_for_parts(&taken.id, token(&taken)).unwrap();
    assert_eq!((waiting.state, waiting.attempts), (State::Queued, 0));
    assert!(waiting.parts.as_ref().unwrap().announced);
    assert!(theirs.claim("theirs", 1, &[]).unwrap().is_none(), "its windows are worked on");
    assert!(mine.end_wait_for_parts(&taken.id).unwrap());
    let joins = theirs.claim("theirs", 1, &[]).unwrap().expect("seen at once, also by who had looked before");
    assert_eq!((joins.attempts, joins.parts), (1, waiting.parts));
    assert!(!mine.end_wait_for_parts(&taken.id).unwrap(), "somebody joins");
}

#[test]
fn equal_bytes_of_a_successor_do_not_let_a_former_owner_in() {
    let spool = tempfile::tempdir().unwrap();
    let (app, _, owner) = overtaken_in(spool.path(), Arc::new(Digests::default()));
    let put = |record: &Record, key: &Key, bytes: &[u8]| {
        put_fenced(&app, app.store.as_ref(), &record.id, token(record), key, |mode| app.store.put(key, bytes, mode)).unwrap()
    };
    let place = |record: &Record| {
        let folder = app.ledger.begin_storing(&record.id, token(record)).unwrap();
        Key::new(format!("results/a/{folder}overlay.mp4")).unwrap()
    };
    let plain = place(&owner);
    assert_eq!(plain.as_str(), "results/a/overlay.mp4");
    put(&owner, &plain, b"equal");
    let mut made = None;
    // it puts once more, having seen the equal bytes; all the rest happens after its lease was found to be good
    let late = put_fenced(&app, app.store.as_ref(), &owner.id, token(&owner), &plain, |mode| {
        let successor = next_owner(&app);
        let key = place(&successor);
        assert_eq!(key.as_str(), format!("results/a/lease-{}/overlay.mp4", token(&successor)));
        let meta = put(&successor, &key, b"equal");
        app.ledger.complete(&successor.id, token(&successor), &[], &serde_json::json!({})).unwrap();
        made = Some(meta);
        app.store.put(&plain, b"other", mode)
    });
    assert!(late.is_ok(), "the store cannot tell: {late:?}");
    let made = made.unwrap();
    assert_eq!(app.store.head(&made.key).unwrap().etag, made.etag, "what the finished job made is as it was");
    assert_eq!(app.store.read(&made.key, 9).unwrap().0, b"equal");
}

#[test]
fn waits_grow_and_differ() {
    let base = Duration::from_secs(2);
    for attempts in 1..6 {
        let whole = base * (1 << (attempts - 1));
        let wait = back_off(base, attempts);
        assert!(wait >= whole / 2 && wait <= whole, "{wait:?} of {whole:?}");
    }
    assert_ne!(back_off(base, 3), back_off(base, 3));
}

#[test]
fn renewals_follow_the_lease() {
    let seconds = |lease, n| pauses(Duration::from_secs(lease)).take(n).map(|p| p.as_secs_f64()).collect::<Vec<_>>();
    assert_eq!(seconds(30, 6), [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]);
    assert_eq!(seconds(3600, 12).last(), Some(&1200.0));
    assert!(seconds(2, 3).iter().all(|pause| (0.6..0.7).contains(pause)));
}

#[test]
fn only_folders_of_dead_processes_leave_the_spool() {
    let spool = tempfile::tempdir().unwrap();
    let mine = spool_folder(spool.path()).unwrap();
    let dead = spool.path().join("job-4294967-x");
    let other = spool.path().join("notes");
    std::fs::create_dir(&dead).unwrap();
    std::fs::create_dir(&other).unwrap();
    settle_spool(spool.path()).unwrap();
    assert!(mine.path().exists() && other.exists() && !dead.exists());
}

#[test]
fn a_lost_lease_outweighs_other_reasons() {
    let pulse = Pulse::new(Span::none());
    pulse.stop(Stopped::Asked);
    pulse.stop(Stopped::Leaving);
    assert_eq!(pulse.why(), Stopped::Asked);
    pulse.stop(Stopped::Lost);
    assert_eq!(pulse.why(), Stopped::Lost);
    assert!(pulse.cancel.is_cancelled());
}
