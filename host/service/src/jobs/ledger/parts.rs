//! Jobs that were split: they wait in the queue, under nobody's lease, until the jobs of their windows have ended.

use std::time::Duration;

use super::{Ledger, LedgerError};
use crate::jobs::record::{Parts, ProgressRecord, Record, State};

/// After so long somebody looks at the windows of a job, should nobody have said that they have ended.
const LOOK: Duration = Duration::from_secs(60);

impl Ledger {
    /// Notes the jobs of the windows before any of them is submitted, so that who takes the job up after a crash submits the same.
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`].
    pub fn set_parts(&self, id: &str, token: u64, parts: &Parts) -> Result<Record, LedgerError> {
        self.under_lease(id, token, |record, _| record.parts = Some(parts.clone()))
    }

    /// Puts a job back into the queue until its windows have ended: they have been submitted and announced. The attempt does not count.
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`].
    pub fn wait_for_parts(&self, id: &str, token: u64) -> Result<Record, LedgerError> {
        self.under_lease(id, token, |record, now| {
            if let Some(parts) = &mut record.parts {
                parts.announced = true;
            }
            record.lease = None;
            record.state = State::Queued;
            record.attempts = record.attempts.saturating_sub(1);
            record.progress = ProgressRecord { stage: "windows".into(), ..ProgressRecord::default() };
            record.not_before_ms = now + u64::try_from(LOOK.as_millis()).unwrap_or(u64::MAX / 2);
        })
    }

    /// Lets a job that waits for its windows be taken up now. Whether it waits.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`], [`LedgerError::Store`].
    pub fn end_wait_for_parts(&self, id: &str) -> Result<bool, LedgerError> {
        let record = self.change(id, |record| {
            let waits = record.state == State::Queued && record.parts.is_some() && record.not_before_ms > 0;
            if waits {
                record.not_before_ms = 0;
            }
            Ok::<_, LedgerError>(waits)
        })?;
        Ok(record.state == State::Queued && record.parts.is_some())
    }
}
