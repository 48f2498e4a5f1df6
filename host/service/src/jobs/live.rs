//! Progress of the jobs that this process works on, as it happens: records tell it only as often as their lease is renewed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::record::{ProgressRecord, Record, State};

/// How far an attempt is; whoever works on the job changes it.
pub(crate) type LiveProgress = Arc<Mutex<ProgressRecord>>;

/// The token of an attempt's lease, and how far it is for as long as it lasts.
type Attempt = (u64, Weak<Mutex<ProgressRecord>>);

/// The attempts of this process, by job. They are forgotten when they end.
#[derive(Debug, Default)]
pub(crate) struct Live(Mutex<HashMap<String, Attempt>>);

impl Live {
    /// An attempt has begun.
    pub(crate) fn begin(&self, job: &str, token: u64, progress: &LiveProgress) {
        let mut attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.retain(|_, (_, progress)| progress.strong_count() > 0);
        attempts.insert(job.to_owned(), (token, Arc::downgrade(progress)));
    }

    /// Puts the progress of this moment in a record, where this process has the job's lease.
    pub(crate) fn bring_up_to_date(&self, record: &mut Record) {
        let token = record.lease.as_ref().filter(|_| record.state == State::Processing).map(|lease| lease.token);
        if let Some(progress) = token.and_then(|token| self.of(&record.id, token)) {
            record.progress = progress;
        }
    }

    fn of(&self, job: &str, token: u64) -> Option<ProgressRecord> {
        let attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (held, progress) = attempts.get(job)?;
        let progress = progress.upgrade().filter(|_| *held == token)?;
        let seen = progress.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Some(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_attempt_that_holds_the_lease_tells_how_far_it_is() {
        let live = Live::default();
        let progress: LiveProgress = Arc::default();
        live.begin("job", 3, &progress);
        progress.lock().unwrap().frames_done = 7;
        let done = |job, token| live.of(job, token).map(|progress| progress.frames_done);
        assert_eq!([done("job", 3), done("job", 4), done("other", 3)], [Some(7), None, None]);
        drop(progress);
        assert_eq!(done("job", 3), None, "the attempt has ended");
    }
}
