//! When a lease has run out, without comparing the clocks of two machines.
//!
//! Clocks of machines differ, and a job whose lease seems over by another's clock would be worked on twice. So nobody reads the time in
//! a lease but its owner: others note when, by a clock of their own that only moves forward, they first saw a version of the record, and
//! take the job over once that version has stood for as long as the lease lasts. The owner stops at the latest when so long has
//! passed since it began to write that version, which is earlier.

use std::collections::HashMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Ledger;
use crate::clock::now_ms;
use crate::jobs::record::{Record, State};

/// A version of a record that is under a lease, and since when it is known here.
#[derive(Debug)]
pub(super) struct Watched {
    revision: u64,
    since: Instant,
}

impl Ledger {
    /// No code panics while it holds the lock, so the map is whole even if a thread died.
    pub(super) fn watched(&self) -> MutexGuard<'_, HashMap<String, Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a version of a record is there, which this process has just read or written.
    pub(super) fn watch(&self, record: &Record) {
        let mut watched = self.watched();
        if record.state != State::Processing {
            watched.remove(&record.id);
        } else if watched.get(&record.id).is_none_or(|seen| seen.revision != record.revision) {
            watched.insert(record.id.clone(), Watched { revision: record.revision, since: Instant::now() });
        }
    }

    /// How long it takes at least until somebody may take up a job that has this record and has not ended: nothing where it may be done
    /// now. Notes when a lease was first seen.
    pub(super) fn wait_for(&self, record: &Record) -> Duration {
        self.watch(record);
        let Some(lease) = record.lease.as_ref().filter(|_| record.state == State::Processing) else {
            return Duration::from_millis(record.not_before_ms.saturating_sub(now_ms()));
        };
        // records of former versions do not say how long their leases are
        let length = if lease.length_ms == 0 { self.lease } else { Duration::from_millis(lease.length_ms) };
        let since = self.watched().get(&record.id).map(|seen| seen.since);
        // another thread may have seen its end meanwhile; the next look tells
        since.map_or(length, |since| length.saturating_sub(since.elapsed()))
    }
}
