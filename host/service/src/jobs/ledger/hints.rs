//! The ledger as a message queue's workers use it: a message names a job, and the ledger says what is to be done about it.

use halfpipe_store::PutMode;

use super::{Ledger, LedgerError, MOST_CONFLICTS, end};
use crate::clock::now_ms;
use crate::jobs::record::{JobError, Record, State};

/// What became of an attempt to take up one particular job.
#[derive(Debug, Clone, PartialEq)]
pub enum Claimed {
    /// It is ours, under the lease in its record.
    Taken(Box<Record>),
    /// It has ended; nothing is left to do.
    Ended(Box<Record>),
    /// Not now: somebody else holds its lease, or it waits between two attempts.
    Waits {
        /// The job.
        record: Box<Record>,
        /// Milliseconds until it may be taken up.
        ms: u64,
    },
}

impl Ledger {
    /// Takes up the job `id` if it may be taken up now.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`], [`LedgerError::Corrupt`], [`LedgerError::Contended`], [`LedgerError::Store`].
    pub fn claim_one(&self, id: &str, owner: &str, most_attempts: u32) -> Result<Claimed, LedgerError> {
        for _ in 0..MOST_CONFLICTS {
            let (record, etag) = self.load(id)?;
            if record.state.is_final() {
                self.watched().remove(id);
                return Ok(Claimed::Ended(Box::new(record)));
            }
            let wait = self.wait_for(&record);
            if !wait.is_zero() {
                return Ok(Claimed::Waits { record: Box::new(record), ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1) });
            }
            if let Some(record) = self.try_claim(record, etag, owner, most_attempts)? {
                return Ok(Claimed::Taken(Box::new(record)));
            }
            // somebody was faster, or there was nothing left to do but to end it
        }
        Err(LedgerError::Contended(id.to_owned()))
    }

    /// Ends a job that its queue gives up. One that has ended, or that somebody works on, stays as it is.
    ///
    /// # Errors
    /// As [`Ledger::claim_one`].
    pub fn give_up(&self, id: &str, error: &JobError) -> Result<Record, LedgerError> {
        self.change(id, |record| {
            let in_work = record.lease.is_some() && !self.wait_for(record).is_zero();
            if record.state.is_final() || in_work {
                return Ok::<_, LedgerError>(false);
            }
            record.error = Some(error.clone());
            end(record, State::Error, now_ms());
            Ok(true)
        })
    }

    /// Keeps what is known of a message that no job can be told of, under `messages/<name>.json` below the ledger's prefix.
    ///
    /// # Errors
    /// [`LedgerError::Key`] where the name cannot be part of a key, [`LedgerError::Store`].
    pub fn keep_message(&self, name: &str, facts: &serde_json::Value) -> Result<(), LedgerError> {
        let key = self.key("messages", &format!("{name}.json"))?;
        self.store.put(&key, facts.to_string().as_bytes(), PutMode::Overwrite)?;
        Ok(())
    }
}
