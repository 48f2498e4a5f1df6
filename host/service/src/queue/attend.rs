//! What a message asks for, done: the same for a worker, which holds messages itself, and for a function, whose messages Lambda holds.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use halfpipe_store::StoreError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::back_off::{BackOff, jittered};
use super::hint::{job_message, named_job};
use super::status::{Part, Status};
use crate::http::notifications::take_events;
use crate::jobs::ledger::Claimed;
use crate::jobs::windows::part_ended;
use crate::jobs::work::work;
use crate::jobs::{DispatcherConfig, LedgerError, Record};
use crate::{App, AppError};

/// How long an attempt may take to be settled, once the time of this process is up.
const GRACE: Duration = Duration::from_secs(2);
/// Shortest time until a job that somebody else works on is looked at again.
const SOON: Duration = Duration::from_secs(1);

/// What is to become of a message.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// Nothing is left to do: the job has ended, or waits until its windows have, the last of which sends a message of its own.
    Settled,
    /// It is well, and to be looked at again after this time.
    Later(Duration),
    /// This process leaves; somebody else may have it at once.
    Leaving,
    /// It failed.
    Failed {
        /// The job, where it leads to one.
        job: Option<String>,
        /// One sentence.
        reason: String,
        /// When to try again; none for the usual wait.
        after: Option<Duration>,
    },
}

/// This process leaves.
pub(super) struct Leaving;

/// Why a message has to come again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the message comes again: {0}")]
pub struct ComesAgain(String);

fn no_time() -> ComesAgain {
    ComesAgain("the time of this process is up".into())
}

/// Does what messages ask for.
#[derive(Debug)]
pub struct Attendant {
    pub(super) app: Arc<App>,
    pub(super) status: Arc<Status>,
    /// This process, as leases name it.
    pub(super) owner: String,
    /// No new work.
    pub(super) leaving: CancellationToken,
    /// Work in progress is handed over.
    pub(super) hand_over: CancellationToken,
    /// When an attempt has to have ended, where this process is given so long and no longer.
    ends: Option<Instant>,
}

impl Attendant {
    /// For a process that works until it is asked to leave.
    #[must_use]
    pub fn new(app: Arc<App>, status: Arc<Status>, owner: String, leaving: CancellationToken) -> Self {
        Self { app, status, owner, leaving, hand_over: CancellationToken::new(), ends: None }
    }

    /// For a process that may go on until `ends`. A job that has not ended by then has failed in a way that may pass: it is one attempt.
    #[must_use]
    pub fn until(app: Arc<App>, ends: Instant) -> Self {
        let owner = DispatcherConfig::default().owner;
        Self { ends: Some(ends), ..Self::new(app, Arc::default(), owner, CancellationToken::new()) }
    }

    /// Does what a message asks for that somebody else holds and deletes, waiting for whoever works on its job already.
    ///
    /// # Errors
    /// [`ComesAgain`] says why nothing came of it this time.
    pub async fn attend(&self, id: &str, body: &str) -> Result<(), ComesAgain> {
        self.to_its_end(|| self.judge(id, body)).await
    }

    /// Works on a job until it has ended, or waits for who does.
    ///
    /// # Errors
    /// As [`Attendant::attend`].
    pub async fn finish(&self, job: &str) -> Result<(), ComesAgain> {
        self.to_its_end(|| self.run_job(job)).await
    }

    async fn to_its_end<F: Future<Output = Verdict>>(&self, look: impl Fn() -> F) -> Result<(), ComesAgain> {
        let whole = async {
            loop {
                match look().await {
                    Verdict::Settled => return Ok(()),
                    Verdict::Later(after) => tokio::time::sleep(after.min(SOON)).await,
                    Verdict::Leaving => return Err(no_time()),
                    Verdict::Failed { reason, .. } => return Err(ComesAgain(reason)),
                }
            }
        };
        let Some(ends) = self.ends else { return whole.await };
        let watch = async {
            tokio::time::sleep_until(ends).await;
            self.leaving.cancel();
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            outcome = whole => outcome,
            () = watch => Err(no_time()),
        }
    }

    /// Does what the message `id` asks for, and says what is to become of it.
    pub(super) async fn judge(&self, id: &str, body: &str) -> Verdict {
        match named_job(body) {
            Some(job) => self.run_job(&job).await,
            None => self.take(id, body).await,
        }
    }

    /// Takes a storage event. One job that follows from it is worked on here, several get messages of their own where there is a queue.
    async fn take(&self, id: &str, body: &str) -> Verdict {
        let mut back_off = BackOff::default();
        let taken = loop {
            if self.leaving.is_cancelled() {
                return Verdict::Leaving;
            }
            let error = match take_events(&self.app, body.as_bytes()).await {
                Ok(taken) => break taken,
                Err(error) => error,
            };
            let failed = |reason: String, after| Verdict::Failed { job: None, reason, after };
            match error.code.as_ref() {
                // the message stays here meanwhile: a store that is away must not use up its receipts
                "store_unavailable" | "contended" => {
                    self.status.trouble(Part::Store, &error.message, false);
                    tracing::warn!(message = id, error = error.message, "an event cannot be taken; trying again");
                    if self.pause(back_off.wait()).await.is_err() {
                        return Verdict::Leaving;
                    }
                }
                code if error.status == StatusCode::BAD_REQUEST => {
                    let reason =
                        format!("it neither names a job as {{\"job\": \"ID\"}} nor is a storage event ({code}): {}", error.message);
                    return failed(reason, Some(Duration::ZERO));
                }
                _ => return failed(error.message, None),
            }
        };
        self.status.well(Part::Store);
        match taken.jobs.as_slice() {
            [] => Verdict::Settled,
            [job] => self.run_job(&job.job_id).await,
            jobs => {
                for job in jobs {
                    let verdict = match self.app.queue.get() {
                        Some(queue) => match queue.send(&job_message(&job.job_id), Duration::ZERO).await {
                            Ok(_) => Verdict::Settled,
                            Err(error) => Verdict::Failed { job: None, reason: error.to_string(), after: None },
                        },
                        None => self.run_job(&job.job_id).await,
                    };
                    if verdict != Verdict::Settled {
                        return verdict;
                    }
                }
                Verdict::Settled
            }
        }
    }

    /// Works on a job until it has ended, or cannot be worked on now.
    pub(super) async fn run_job(&self, id: &str) -> Verdict {
        let (mut tried, mut failures) = (false, 0);
        loop {
            if self.leaving.is_cancelled() {
                return if tried && self.has_ended(id).await { Verdict::Settled } else { Verdict::Leaving };
            }
            let claim = || {
                let (id, owner) = (id.to_owned(), self.owner.clone());
                self.app.blocking(move |app| app.ledger.claim_one(&id, &owner, app.config.most_attempts))
            };
            let record = match self.patiently(claim).await {
                Err(Leaving) => return Verdict::Leaving,
                Ok(Ok(Claimed::Taken(record))) => *record,
                Ok(Ok(Claimed::Ended(record))) => {
                    // also where it had ended before: whoever ended it may have died before the job that it is a window of was told
                    return match self.patiently(|| part_ended(&self.app, &record)).await {
                        Err(Leaving) => Verdict::Leaving,
                        Ok(Ok(())) => Verdict::Settled,
                        Ok(Err(error)) => Verdict::Failed { job: None, reason: error.to_string(), after: None },
                    };
                }
                Ok(Ok(Claimed::Waits { record, ms })) => {
                    let after = Duration::from_millis(ms);
                    let waits = after.max(SOON) + jittered(SOON);
                    // it waits for its windows, not after a failure
                    if record.parts.is_some() && record.lease.is_none() && record.history.len() == failures {
                        return Verdict::Settled;
                    }
                    // an attempt that just failed, or another message's business
                    return match record.history.last().filter(|_| tried && record.lease.is_none()) {
                        Some(attempt) => {
                            Verdict::Failed { job: Some(record.id.clone()), reason: attempt.error.message.clone(), after: Some(after) }
                        }
                        None => Verdict::Later(waits),
                    };
                }
                Ok(Err(error)) => return Verdict::Failed { job: Some(id.to_owned()), reason: error.to_string(), after: None },
            };
            (tried, failures) = (true, record.history.len());
            self.run(record).await;
        }
    }

    /// Whether nothing is left to do about a job, as far as can be told.
    async fn has_ended(&self, id: &str) -> bool {
        let id = id.to_owned();
        self.app.blocking(move |app| app.ledger.get(&id)).await.is_ok_and(|record| record.state.is_final())
    }

    /// One attempt at a job that is ours.
    pub async fn run(&self, record: Record) {
        let in_work = self.status.job();
        let id = record.id.clone();
        tracing::info!(job = id, attempt = record.attempts, "job taken up");
        if let Err(error) = work(&self.app, record, &self.hand_over, self.ends).await {
            tracing::error!(job = id, %error, "the job could not be settled; its lease will run out");
        }
        drop(in_work);
    }

    /// Calls the ledger until the store answers. What is in the way is shown meanwhile, and messages stay where they are.
    pub(super) async fn patiently<T, F>(&self, call: impl Fn() -> F) -> Result<Result<T, AppError>, Leaving>
    where
        F: Future<Output = Result<T, AppError>>,
    {
        let mut back_off = BackOff::default();
        loop {
            match call().await {
                Err(AppError::Ledger(LedgerError::Store(error)) | AppError::Store(error)) => {
                    self.store_fails(&error);
                    tracing::warn!(%error, "the store does not do its part; trying again");
                    self.pause(back_off.wait()).await?;
                }
                Err(AppError::Ledger(error @ LedgerError::Contended(_))) => {
                    tracing::warn!(%error, "trying again");
                    self.pause(back_off.wait()).await?;
                }
                outcome => {
                    self.status.well(Part::Store);
                    return Ok(outcome);
                }
            }
        }
    }

    /// Shows that the store does not do its part.
    pub(super) fn store_fails(&self, error: &StoreError) {
        let lasting = matches!(error, StoreError::Denied { .. } | StoreError::NoBucket { .. } | StoreError::Settings { .. });
        self.status.trouble(Part::Store, &error.to_string(), lasting);
    }

    async fn pause(&self, wait: Duration) -> Result<(), Leaving> {
        tokio::select! {
            () = tokio::time::sleep(wait) => Ok(()),
            () = self.leaving.cancelled() => Err(Leaving),
        }
    }
}
