//! Looking for work: marks are walked, records are read only where they may have to say something new.

use std::collections::{HashMap, HashSet};
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use halfpipe_store::{ObjectMeta, PutMode, StoreError};

use super::{Ledger, LedgerError, PAGE, end};
use crate::clock::now_ms;
use crate::jobs::record::{Attempt, JobError, Lease, ProgressRecord, Record, State};

/// Age at which a mark without a record is one whose submitter died.
const STALE: Duration = Duration::from_secs(3600);
/// Wait between two looks at a mark whose record is missing or cannot be read.
const ODD: Duration = Duration::from_secs(60);

/// What is remembered of an open job that could not be taken up: while its mark is the same, it cannot before that time.
#[derive(Debug)]
pub(super) struct Seen {
    mark: String,
    until: Instant,
}

impl Ledger {
    /// Takes up the oldest job that may be taken up, other than `not`, under a new lease.
    ///
    /// Marks are listed in the order of ids, which is that of submission, and the first job that may be taken up is: one list, one
    /// read and one put, however many wait. Records of jobs that others work on are read once for each span that nobody may take
    /// them up in.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn claim(&self, owner: &str, most_attempts: u32, not: &[String]) -> Result<Option<Record>, LedgerError> {
        let prefix = format!("{}open/", self.prefix);
        let mut after = None;
        let mut there = HashSet::new();
        loop {
            let page = self.store.list(&prefix, after.as_ref(), PAGE)?;
            for mark in &page {
                let Some(id) = mark.key.as_str().strip_prefix(&prefix) else { continue };
                there.insert(id.to_owned());
                if not.iter().any(|n| n == id) || self.must_wait(id, mark) {
                    continue;
                }
                if let Some(record) = self.look(id, mark, owner, most_attempts)? {
                    return Ok(Some(record));
                }
            }
            if page.len() < PAGE {
                break;
            }
            after = page.last().map(|mark| mark.key.clone());
        }
        self.seen().retain(|id, _| there.contains(id));
        self.watched().retain(|id, _| there.contains(id));
        Ok(None)
    }

    /// No code panics while it holds the lock, so the map is whole even if a thread died.
    fn seen(&self) -> MutexGuard<'_, HashMap<String, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn must_wait(&self, id: &str, mark: &ObjectMeta) -> bool {
        self.seen().get(id).is_some_and(|seen| seen.mark == mark.etag && Instant::now() < seen.until)
    }

    fn remember(&self, id: &str, mark: &ObjectMeta, wait: Duration) {
        // longer than any clock runs: for ever
        let until = Instant::now().checked_add(wait).unwrap_or_else(|| Instant::now() + STALE);
        self.seen().insert(id.to_owned(), Seen { mark: mark.etag.clone(), until });
    }

    /// Looks at an open job: takes it up where it may be taken up, mends its mark where that is wrong.
    fn look(&self, id: &str, mark: &ObjectMeta, owner: &str, most_attempts: u32) -> Result<Option<Record>, LedgerError> {
        match self.load(id) {
            Ok((record, _)) if record.state.is_final() => self.close(&record)?,
            Ok((record, etag)) => {
                let wait = self.wait_for(&record);
                if !wait.is_zero() {
                    self.remember(id, mark, wait);
                    return Ok(None);
                }
                let claimed = self.try_claim(record, etag, owner, most_attempts)?;
                if claimed.is_some() {
                    self.remember(id, mark, self.lease);
                }
                return Ok(claimed);
            }
            // a mark whose record is about to follow, or whose submitter died: its client never got an id
            Err(LedgerError::Unknown(_)) => match mark.modified.elapsed().unwrap_or_default() {
                age if age > STALE => self.store.delete(&mark.key)?,
                age if age > ODD => self.remember(id, mark, ODD),
                _ => {}
            },
            Err(LedgerError::Corrupt { message, .. }) => {
                tracing::warn!(job = id, message, "a record cannot be read");
                self.remember(id, mark, ODD);
            }
            Err(e) => return Err(e),
        }
        Ok(None)
    }

    /// One conditional put decides who gets it.
    pub(super) fn try_claim(
        &self,
        mut record: Record,
        etag: String,
        owner: &str,
        most_attempts: u32,
    ) -> Result<Option<Record>, LedgerError> {
        let now = now_ms();
        if let Some(lost) = record.lease.take() {
            // whoever had it is gone without a word
            let message = format!("{} stopped answering while it worked on the job", lost.owner);
            let error = JobError { code: "interrupted".into(), message, passing: true };
            record.history.push(Attempt { owner: lost.owner, ended_ms: now, error });
        }
        if record.cancel_requested {
            end(&mut record, State::Cancelled, now);
        } else if record.attempts >= most_attempts {
            record.error = record.history.last().map(|a| a.error.clone());
            end(&mut record, State::Error, now);
        } else {
            record.attempts += 1;
            record.leases += 1;
            record.state = State::Processing;
            record.started_ms.get_or_insert(now);
            record.progress = ProgressRecord { stage: "fetching".into(), ..ProgressRecord::default() };
            record.lease =
                Some(Lease { owner: owner.to_owned(), token: record.leases, expires_ms: self.expiry(now), length_ms: self.length_ms() });
        }
        match self.save(&mut record, PutMode::Update(etag)) {
            Ok(()) if record.state.is_final() => self.close(&record).map(|()| None),
            Ok(()) => Ok(Some(record)),
            Err(LedgerError::Store(StoreError::Changed { .. } | StoreError::AlreadyExists { .. })) => Ok(None),
            Err(e) => Err(e),
        }
    }
}
