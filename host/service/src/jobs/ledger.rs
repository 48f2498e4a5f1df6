//! The ledger: job records in an object store. Every change is a conditional put of the version that was read, so that of two
//! processes that act on one record at the same time one is told to look again.
//!
//! Layout below the ledger's prefix: `jobs/<id>.json` the records; `open/<id>` a mark for every job that is not in a final state, so
//! that looking for work does not read finished jobs, and put anew when a job comes back to the queue, so that who has seen its
//! record need not read it again before; `keys/<digest>` the id that an idempotency key maps to;
//! `failed/<id>` a mark for every job that ended in an error. The record is the truth: marks are put before a record opens, removed
//! after it closes, and mended by whoever finds one that disagrees.

mod claiming;
mod hints;
mod listing;
mod parts;
mod watch;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use halfpipe_store::{Key, KeyError, ObjectStore, PutMode, StoreError};
use sha2::{Digest, Sha256};

use claiming::Seen;
pub use hints::Claimed;
use watch::Watched;

use crate::clock::now_ms;
use crate::jobs::record::{Attempt, JobError, Output, ProgressRecord, Record, State, Submission, VERSION};

/// Records are small; one that is not is not ours.
const MOST_RECORD_BYTES: u64 = 8 << 20;
/// How often a change is tried against others' changes before giving up.
const MOST_CONFLICTS: u32 = 16;
/// Entries of a page when walking marks.
const PAGE: usize = 1000;

/// What can go wrong with the ledger.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// No such job.
    #[error("there is no job {0}; ask GET /jobs for those there are")]
    Unknown(String),
    /// Somebody else holds the lease now; whoever gets this must stop.
    #[error("job {id} is no longer ours (lease {token}); another process has taken it over")]
    LeaseLost {
        /// The job.
        id: String,
        /// The lease that was lost.
        token: u64,
    },
    /// Too many jobs wait already.
    #[error("{waiting} jobs are waiting, which is the limit; try again later")]
    Full {
        /// Jobs that wait.
        waiting: usize,
    },
    /// An idempotency key that made a job of other wishes.
    #[error("this key belongs to job {id}, which was submitted with another body or other options; use a new key for a new job")]
    KeyReused {
        /// The job that the key made.
        id: String,
    },
    /// A record cannot be read.
    #[error("the record of job {id} cannot be read ({message}); remove {key} if it is not a job's")]
    Corrupt {
        /// The job.
        id: String,
        /// Its key.
        key: String,
        /// Why.
        message: String,
    },
    /// The record keeps changing.
    #[error("job {0} is being changed by too many at once; try again")]
    Contended(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key that no store takes.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Job records in a store. Cheap to clone. Calls block.
#[derive(Debug, Clone)]
pub struct Ledger {
    store: Arc<dyn ObjectStore>,
    prefix: String,
    lease: Duration,
    most_waiting: usize,
    seen: Arc<Mutex<HashMap<String, Seen>>>,
    watched: Arc<Mutex<HashMap<String, Watched>>>,
}

/// Whether `id` has the form of an id that this service gives.
#[must_use]
pub fn is_id(id: &str) -> bool {
    (8..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// A new id: 48 bits of time, so that ids sort by age, and 74 random bits, so that nobody guesses one (UUID version 7, RFC 9562).
#[must_use]
pub fn new_id() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}

impl Ledger {
    /// A ledger below `prefix` (empty, or ending in `/`). A lease lasts `lease` unless it is renewed; at most `most_waiting` jobs
    /// may wait.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, prefix: &str, lease: Duration, most_waiting: usize) -> Self {
        Self { store, prefix: prefix.to_owned(), lease, most_waiting, seen: Arc::default(), watched: Arc::default() }
    }

    /// The store it is in.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// How long a lease lasts.
    #[must_use]
    pub const fn lease(&self) -> Duration {
        self.lease
    }

    fn key(&self, kind: &str, name: &str) -> Result<Key, LedgerError> {
        Ok(Key::new(format!("{}{kind}/{name}", self.prefix))?)
    }

    fn record_key(&self, id: &str) -> Result<Key, LedgerError> {
        self.key("jobs", &format!("{id}.json"))
    }

    /// A record and its version.
    fn load(&self, id: &str) -> Result<(Record, String), LedgerError> {
        if !is_id(id) {
            return Err(LedgerError::Unknown(id.to_owned()));
        }
        let key = self.record_key(id)?;
        let (bytes, meta) = match self.store.read(&key, MOST_RECORD_BYTES) {
            Ok(found) => found,
            Err(StoreError::NotFound { .. }) => return Err(LedgerError::Unknown(id.to_owned())),
            Err(e) => return Err(e.into()),
        };
        let corrupt = |message: String| LedgerError::Corrupt { id: id.to_owned(), key: key.to_string(), message };
        let record: Record = serde_json::from_slice(&bytes).map_err(|e| corrupt(e.to_string()))?;
        if record.version != VERSION {
            return Err(corrupt(format!("version {} is not {VERSION}", record.version)));
        }
        Ok((record, meta.etag))
    }

    fn save(&self, record: &mut Record, mode: PutMode) -> Result<(), LedgerError> {
        record.revision += 1;
        let bytes = serde_json::to_vec(record).map_err(|e| LedgerError::Corrupt {
            id: record.id.clone(),
            key: record.id.clone(),
            message: e.to_string(),
        })?;
        self.store.put(&self.record_key(&record.id)?, &bytes, mode)?;
        self.watch(record);
        Ok(())
    }

    /// A job's record.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`], [`LedgerError::Corrupt`], [`LedgerError::Store`].
    pub fn get(&self, id: &str) -> Result<Record, LedgerError> {
        self.load(id).map(|(record, _)| record)
    }

    /// Changes a record: `change` sees the newest version and says whether it is to be put. Tried again when others were faster.
    fn change<E: From<LedgerError>>(&self, id: &str, change: impl Fn(&mut Record) -> Result<bool, E>) -> Result<Record, E> {
        for _ in 0..MOST_CONFLICTS {
            let (mut record, etag) = self.load(id)?;
            if !change(&mut record)? {
                return Ok(record);
            }
            match self.save(&mut record, PutMode::Update(etag)) {
                Ok(()) => {
                    if record.state.is_final() {
                        self.close(&record)?;
                    } else if record.state == State::Queued {
                        self.announce(&record);
                    }
                    return Ok(record);
                }
                Err(LedgerError::Store(StoreError::Changed { .. } | StoreError::AlreadyExists { .. })) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(LedgerError::Contended(id.to_owned()).into())
    }

    /// Changes the mark of a job that came back to the queue, so that those look at it who know that it was somebody's. Where that
    /// fails they find it when the time has come that they know.
    fn announce(&self, record: &Record) {
        let mark = self.key("open", &record.id);
        let put = mark.and_then(|mark| Ok(self.store.put(&mark, record.revision.to_string().as_bytes(), PutMode::Overwrite)?));
        if let Err(error) = put {
            tracing::warn!(job = record.id, %error, "a job that came back to the queue could not be announced");
        }
    }

    /// Takes the open mark of a job that ended, and marks it among the failed where it failed.
    fn close(&self, record: &Record) -> Result<(), LedgerError> {
        if record.state == State::Error {
            self.store.put(&self.key("failed", &record.id)?, b"", PutMode::Overwrite)?;
        }
        self.store.delete(&self.key("open", &record.id)?)?;
        Ok(())
    }

    /// Whether a submission would be taken in now: the queue has room, or the idempotency key has made its job already. To be asked
    /// before an upload is taken; [`Ledger::submit`] decides.
    ///
    /// # Errors
    /// [`LedgerError::Full`], [`LedgerError::Store`].
    pub fn check_room(&self, idempotency: Option<&str>) -> Result<(), LedgerError> {
        if self.most_waiting == usize::MAX {
            return Ok(()); // nobody needs the count
        }
        if let Some(text) = idempotency
            && self.by_key(&digest(text))?.is_some()
        {
            return Ok(());
        }
        let waiting = self.open_ids()?.len();
        if waiting >= self.most_waiting { Err(LedgerError::Full { waiting }) } else { Ok(()) }
    }

    /// The job that an idempotency key made before for the same wishes.
    ///
    /// # Errors
    /// [`LedgerError::KeyReused`] where the wishes were others, [`LedgerError::Store`].
    pub fn former(&self, idempotency: &str, fingerprint: Option<&str>) -> Result<Option<Record>, LedgerError> {
        self.by_key(&digest(idempotency))?.map(|former| same_wishes(former, fingerprint)).transpose()
    }

    /// Puts a new job in the queue, or finds the one that the same idempotency key made before. The flag says whether it is new.
    ///
    /// # Errors
    /// [`LedgerError::Full`], [`LedgerError::KeyReused`], [`LedgerError::Store`].
    pub fn submit(&self, submission: Submission) -> Result<(Record, bool), LedgerError> {
        let fingerprint = submission.fingerprint;
        if let Some(text) = &submission.idempotency
            && let Some(former) = self.former(text, fingerprint.as_deref())?
        {
            return Ok((former, false));
        }
        // a job that was let in brings its windows with it
        if submission.spec.part_of.is_none() {
            self.check_room(None)?;
        }
        let id = submission.id.unwrap_or_else(new_id);
        let digest = submission.idempotency.as_deref().map(digest);
        let record = Record { idempotency: digest.clone(), fingerprint: fingerprint.clone(), ..Record::new(id, submission.spec, now_ms()) };
        if let Some(digest) = &digest {
            // the key is claimed before there is a record: of two equal submissions one gets it, and the other its job
            let claim = self.key("keys", digest)?;
            match self.store.put(&claim, record.id.as_bytes(), PutMode::Create) {
                Ok(_) => {}
                Err(StoreError::AlreadyExists { .. }) => {
                    if let Some(former) = self.by_key(digest)? {
                        return Ok((same_wishes(former, fingerprint.as_deref())?, false));
                    }
                    // claimed by someone who has not put the record yet, or died before: make the job under the claimed id
                    let (bytes, _) = self.store.read(&claim, MOST_RECORD_BYTES)?;
                    let id = String::from_utf8_lossy(&bytes).into_owned();
                    let (record, new) = self.open(Record { id, ..record })?;
                    return Ok((same_wishes(record, fingerprint.as_deref())?, new));
                }
                Err(e) => return Err(e.into()),
            }
        }
        self.open(record)
    }

    /// Puts mark and record; a record that is there already wins.
    fn open(&self, mut record: Record) -> Result<(Record, bool), LedgerError> {
        self.store.put(&self.key("open", &record.id)?, b"", PutMode::Overwrite)?;
        match self.save(&mut record, PutMode::Create) {
            Ok(()) => Ok((record, true)),
            Err(LedgerError::Store(StoreError::AlreadyExists { .. })) => Ok((self.get(&record.id)?, false)),
            Err(e) => Err(e),
        }
    }

    fn by_key(&self, digest: &str) -> Result<Option<Record>, LedgerError> {
        let (bytes, _) = match self.store.read(&self.key("keys", digest)?, MOST_RECORD_BYTES) {
            Ok(found) => found,
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        match self.get(&String::from_utf8_lossy(&bytes)) {
            Ok(record) => Ok(Some(record)),
            Err(LedgerError::Unknown(_)) => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn names(&self, kind: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>, LedgerError> {
        let prefix = format!("{}{kind}/", self.prefix);
        let mut after = after.map(|name| self.key(kind, name)).transpose()?;
        let mut names = Vec::new();
        while names.len() < limit {
            let asked = PAGE.min(limit - names.len());
            let page = self.store.list(&prefix, after.as_ref(), asked)?;
            names.extend(page.iter().filter_map(|m| m.key.as_str().strip_prefix(&prefix).map(str::to_owned)));
            if page.len() < asked {
                break;
            }
            after = page.last().map(|m| m.key.clone());
        }
        Ok(names)
    }

    /// Ids of all jobs that are not in a final state, in no meaningful order.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn open_ids(&self) -> Result<Vec<String>, LedgerError> {
        self.names("open", None, usize::MAX)
    }

    /// Ids of jobs that ended in an error.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn failed_ids(&self) -> Result<Vec<String>, LedgerError> {
        self.names("failed", None, usize::MAX)
    }

    fn expiry(&self, now: u64) -> u64 {
        now + self.length_ms()
    }

    fn length_ms(&self) -> u64 {
        u64::try_from(self.lease.as_millis()).unwrap_or(u64::MAX / 2)
    }

    /// Changes a record only while the lease is ours.
    fn under_lease(&self, id: &str, token: u64, change: impl Fn(&mut Record, u64)) -> Result<Record, LedgerError> {
        self.change(id, |record| {
            if record.state != State::Processing || record.lease.as_ref().is_none_or(|l| l.token != token) {
                return Err(LedgerError::LeaseLost { id: id.to_owned(), token });
            }
            change(record, now_ms());
            Ok(true)
        })
    }

    /// Renews the lease and says how far the job is. The record tells whether a stop was asked for.
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`]: stop at once.
    pub fn heartbeat(&self, id: &str, token: u64, progress: &ProgressRecord) -> Result<Record, LedgerError> {
        self.under_lease(id, token, |record, now| {
            record.progress = progress.clone();
            if let Some(lease) = &mut record.lease {
                (lease.expires_ms, lease.length_ms) = (self.expiry(now), self.length_ms());
            }
        })
    }

    /// Says that results are about to be put, and gives the folder below the output prefix that they go to: none, or one of the
    /// lease's own where an earlier lease has begun to put some. So of all leases of a job one at most puts objects under the plain
    /// names, and no two put the same object. A former owner that comes back late cannot change what its successor put, also where
    /// the store's versions are digests of bytes and the successor put the very bytes that the former owner saw.
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`].
    pub fn begin_storing(&self, id: &str, token: u64) -> Result<String, LedgerError> {
        let record = self.under_lease(id, token, |record, _| {
            record.first_stored.get_or_insert(token);
        })?;
        Ok(if record.first_stored == Some(token) { String::new() } else { format!("lease-{token}/") })
    }

    /// Ends a job well. This one put makes its outputs the job's results.
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`]: the outputs count for nothing.
    pub fn complete(&self, id: &str, token: u64, outputs: &[Output], report: &serde_json::Value) -> Result<Record, LedgerError> {
        self.under_lease(id, token, |record, now| {
            record.outputs = outputs.to_vec();
            record.report = Some(report.clone());
            record.error = None;
            let frames = report["counts"]["frames"].as_u64().unwrap_or(record.progress.frames_done);
            record.progress = ProgressRecord {
                stage: "done".into(),
                frames_done: frames,
                frames_total: Some(frames),
                fraction: Some(1.0),
                eta_seconds: Some(0.0),
            };
            end(record, State::Complete, now);
        })
    }

    /// Ends an attempt badly: back to the queue after `back_off` where the fault may pass and attempts are left, else for good.
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`].
    pub fn fail(&self, id: &str, token: u64, error: &JobError, most_attempts: u32, back_off: Duration) -> Result<Record, LedgerError> {
        self.under_lease(id, token, |record, now| {
            let owner = record.lease.take().map(|l| l.owner).unwrap_or_default();
            record.history.push(Attempt { owner, ended_ms: now, error: error.clone() });
            if record.cancel_requested {
                end(record, State::Cancelled, now);
            } else if error.passing && record.attempts < most_attempts {
                record.state = State::Queued;
                record.progress = ProgressRecord::default();
                record.not_before_ms = now + u64::try_from(back_off.as_millis()).unwrap_or(u64::MAX / 2);
            } else {
                record.error = Some(error.clone());
                end(record, State::Error, now);
            }
        })
    }

    /// Gives a job back to the queue unharmed: this process is shutting down. The attempt does not count.
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`].
    pub fn hand_over(&self, id: &str, token: u64) -> Result<Record, LedgerError> {
        self.under_lease(id, token, |record, now| {
            record.lease = None;
            if record.cancel_requested {
                end(record, State::Cancelled, now);
            } else {
                record.state = State::Queued;
                record.attempts = record.attempts.saturating_sub(1);
                record.progress = ProgressRecord::default();
                record.not_before_ms = 0;
            }
        })
    }

    /// Ends a job that stopped because it was asked to.
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`].
    pub fn cancelled(&self, id: &str, token: u64) -> Result<Record, LedgerError> {
        self.under_lease(id, token, |record, now| end(record, State::Cancelled, now))
    }

    /// Asks for a stop. A job that nobody works on ends at once; one that is worked on ends between two batches; one that has
    /// ended stays as it is.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`], [`LedgerError::Store`].
    pub fn cancel(&self, id: &str) -> Result<Record, LedgerError> {
        self.change(id, |record| {
            if record.state.is_final() || record.cancel_requested {
                return Ok::<_, LedgerError>(false);
            }
            record.cancel_requested = true;
            if record.state == State::Queued {
                end(record, State::Cancelled, now_ms());
            }
            Ok(true)
        })
    }
}

/// What an idempotency key is filed under.
fn digest(idempotency: &str) -> String {
    hex(&Sha256::digest(idempotency.as_bytes()))
}

/// The job of a key, if it does what is asked for now.
fn same_wishes(former: Record, fingerprint: Option<&str>) -> Result<Record, LedgerError> {
    match (&former.fingerprint, fingerprint) {
        (Some(then), Some(now)) if then != now => Err(LedgerError::KeyReused { id: former.id }),
        _ => Ok(former),
    }
}

/// Puts a record into a final state.
fn end(record: &mut Record, state: State, now: u64) {
    record.state = state;
    record.lease = None;
    record.finished_ms = Some(now);
    if state != State::Complete {
        record.progress.eta_seconds = None;
    }
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
