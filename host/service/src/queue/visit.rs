//! One message from its receipt to its end: hold it, find out what it asks for, do that, and settle or return it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use halfpipe_queue::{Message, MessageQueue, QueueError};
use halfpipe_store::StoreError;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::back_off::{BackOff, jittered};
use super::hint::{job_message, named_job};
use super::status::{Part, Status};
use crate::clock::now_ms;
use crate::http::notifications::take_events;
use crate::jobs::ledger::Claimed;
use crate::jobs::work::{ended, work};
use crate::jobs::{JobError, LedgerError, Record};
use crate::{App, AppError};

/// Shortest time until a job that somebody else works on is looked at again.
const SOON: Duration = Duration::from_secs(1);
/// First wait after a message failed, doubled with each time it was received.
const FIRST: Duration = Duration::from_secs(2);
/// Longest wait after a message failed.
const LONGEST: Duration = Duration::from_secs(600);
/// Attempts to tell the queue what became of a message; after them it comes again, which does no harm.
const TELLINGS: u32 = 6;
/// Most bytes of a message that are kept of one that is given up.
const KEPT: usize = 16 << 10;

/// What all visits of a worker share.
#[derive(Debug)]
pub(super) struct Crew {
    pub app: Arc<App>,
    pub queue: Arc<dyn MessageQueue>,
    pub status: Arc<Status>,
    /// This process, as leases name it.
    pub owner: String,
    /// How long a message is held before the hold is renewed, or the message comes again.
    pub hold: Duration,
    /// No new work.
    pub leaving: CancellationToken,
    /// Work in progress is handed over.
    pub hand_over: CancellationToken,
}

/// What is to become of a message.
#[derive(Debug, Clone, PartialEq)]
enum Verdict {
    /// Nothing is left to do.
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
struct Leaving;

impl Crew {
    /// Sees to a message until it is settled or returned.
    pub async fn see_to(&self, message: &Message) {
        let holding = async {
            loop {
                tokio::time::sleep(self.hold / 3).await;
                match self.queue.hold(message, self.hold).await {
                    Ok(()) => {}
                    // the ledger knows whose the job is; this message is somebody else's by now
                    Err(error @ QueueError::NotHeld { .. }) => {
                        tracing::warn!(message = message.id, %error, "a message is held no longer");
                        return std::future::pending::<()>().await;
                    }
                    Err(error) => tracing::warn!(message = message.id, %error, "a message cannot be held for longer"),
                }
            }
        };
        let verdict = tokio::select! {
            verdict = self.judge(message) => verdict,
            () = holding => Verdict::Leaving,
        };
        tracing::debug!(message = message.id, receives = message.receives, ?verdict, "a message was seen to");
        match verdict {
            Verdict::Settled => self.settle(message).await,
            Verdict::Later(after) => self.give_back(message, after, "later").await,
            Verdict::Leaving => self.give_back(message, Duration::ZERO, "leaving").await,
            Verdict::Failed { job, reason, after } => self.fail(message, job, &reason, after).await,
        }
        self.status.let_go();
    }

    async fn judge(&self, message: &Message) -> Verdict {
        match named_job(&message.body) {
            Some(id) => self.run_job(&id).await,
            None => self.take(message).await,
        }
    }

    /// Takes a storage event. One job that follows from it is worked on here, several get messages of their own.
    async fn take(&self, message: &Message) -> Verdict {
        let mut back_off = BackOff::default();
        let taken = loop {
            if self.leaving.is_cancelled() {
                return Verdict::Leaving;
            }
            let error = match take_events(&self.app, message.body.as_bytes()).await {
                Ok(taken) => break taken,
                Err(error) => error,
            };
            let failed = |reason: String, after| Verdict::Failed { job: None, reason, after };
            match error.code.as_ref() {
                // the message stays here meanwhile: a store that is away must not use up its receipts
                "store_unavailable" | "contended" => {
                    self.status.trouble(Part::Store, &error.message, false);
                    tracing::warn!(message = message.id, error = error.message, "an event cannot be taken; trying again");
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
                    if let Err(error) = self.queue.send(&job_message(&job.job_id), Duration::ZERO).await {
                        return Verdict::Failed { job: None, reason: error.to_string(), after: None };
                    }
                }
                Verdict::Settled
            }
        }
    }

    /// Works on a job until it has ended, or cannot be worked on now.
    async fn run_job(&self, id: &str) -> Verdict {
        let mut tried = false;
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
                Ok(Ok(Claimed::Ended(_))) => return Verdict::Settled,
                Ok(Ok(Claimed::Waits { record, ms })) => {
                    let after = Duration::from_millis(ms);
                    let waits = after.max(SOON) + jittered(SOON);
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
            tried = true;
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
        if let Err(error) = work(&self.app, record, &self.hand_over).await {
            tracing::error!(job = id, %error, "the job could not be settled; its lease will run out");
        }
        drop(in_work);
    }

    /// Calls the ledger until the store answers. What is in the way is shown meanwhile, and messages stay where they are.
    async fn patiently<T, F>(&self, call: impl Fn() -> F) -> Result<Result<T, AppError>, Leaving>
    where
        F: Future<Output = Result<T, AppError>>,
    {
        let mut back_off = BackOff::default();
        loop {
            match call().await {
                Err(AppError::Ledger(LedgerError::Store(error)) | AppError::Store(error)) => {
                    let lasting = matches!(error, StoreError::Denied { .. } | StoreError::NoBucket { .. } | StoreError::Settings { .. });
                    self.status.trouble(Part::Store, &error.to_string(), lasting);
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

    async fn pause(&self, wait: Duration) -> Result<(), Leaving> {
        tokio::select! {
            () = tokio::time::sleep(wait) => Ok(()),
            () = self.leaving.cancelled() => Err(Leaving),
        }
    }

    async fn settle(&self, message: &Message) {
        metrics::counter!("halfpipe_messages_settled_total").increment(1);
        self.told(message, "deleted", || self.queue.delete(message)).await;
    }

    /// Gives a message back for another time. The last time the queue gives it out, a copy goes in its place: it is not the message's
    /// fault, and must not bring it among the dead letters.
    pub async fn give_back(&self, message: &Message, after: Duration, why: &'static str) {
        metrics::counter!("halfpipe_messages_returned_total", "why" => why).increment(1);
        if self.status.is_last(message) {
            match self.queue.send(&message.body, after).await {
                Ok(_) => return self.told(message, "deleted", || self.queue.delete(message)).await,
                Err(error) => tracing::warn!(message = message.id, %error, "a message could not be sent anew"),
            }
        }
        self.told(message, "given back", || self.queue.hold(message, after)).await;
    }

    /// A message that failed comes again, unless this was the last time: then its reason is kept where somebody will look for it.
    async fn fail(&self, message: &Message, job: Option<String>, reason: &str, after: Option<Duration>) {
        if !self.status.is_last(message) {
            tracing::warn!(message = message.id, receives = message.receives, reason, "a message failed; it comes again");
            metrics::counter!("halfpipe_messages_returned_total", "why" => "failed").increment(1);
            let doubled = FIRST.saturating_mul(1 << message.receives.saturating_sub(1).min(16)).min(LONGEST);
            // a queue without dead letters would give it out again and again
            let after = after.filter(|after| self.status.has_limit() || !after.is_zero()).unwrap_or_else(|| jittered(doubled));
            return self.told(message, "given back", || self.queue.hold(message, after)).await;
        }
        tracing::error!(message = message.id, receives = message.receives, reason, "a message is given up and goes to the dead letters");
        metrics::counter!("halfpipe_messages_given_up_total").increment(1);
        if let Some(id) = &job {
            let times = message.receives;
            let error = JobError {
                code: "given_up".into(),
                message: format!("{} gave it out {times} times and it never came to an end; the last time: {reason}", self.queue.name()),
                passing: true,
            };
            let give_up = || {
                let (id, error) = (id.clone(), error.clone());
                self.app.blocking(move |app| app.ledger.give_up(&id, &error))
            };
            match self.patiently(give_up).await {
                Ok(Ok(record)) => {
                    if record.error.as_ref() == Some(&error) {
                        ended(&self.app, &record).await;
                    }
                    return self.bury(message).await;
                }
                Ok(Err(error)) => tracing::warn!(job = id, %error, "a message is given up, and its job cannot be told"),
                Err(Leaving) => return self.bury(message).await,
            }
        }
        self.keep(message, job.as_deref(), reason).await;
        self.bury(message).await;
    }

    /// Writes down what is known of a message that leads to no job.
    async fn keep(&self, message: &Message, job: Option<&str>, reason: &str) {
        let end = (0..=KEPT.min(message.body.len())).rev().find(|end| message.body.is_char_boundary(*end)).unwrap_or(0);
        let facts = json!({
            "message": message.id, "queue": self.queue.name(), "receives": message.receives, "job": job, "reason": reason,
            "body": &message.body[..end], "body_bytes": message.body.len(), "given_up_ms": now_ms(),
        });
        let keep = || {
            let (name, facts) = (message.id.clone(), facts.clone());
            self.app.blocking(move |app| app.ledger.keep_message(&name, &facts))
        };
        if let Ok(Err(error)) = self.patiently(keep).await {
            tracing::warn!(message = message.id, %error, "why a message is given up cannot be written down");
        }
    }

    /// Lets the queue move a message among the dead letters the next time it looks at it.
    async fn bury(&self, message: &Message) {
        self.told(message, "given back", || self.queue.hold(message, Duration::ZERO)).await;
    }

    /// Tells the queue what became of a message. Where that fails, the message comes again, and is found to be settled then.
    async fn told<F>(&self, message: &Message, what: &str, tell: impl Fn() -> F)
    where
        F: Future<Output = Result<(), QueueError>>,
    {
        let mut back_off = BackOff::default();
        for _ in 0..TELLINGS {
            match tell().await {
                Ok(()) => return,
                Err(error) if error.is_transient() && !self.hand_over.is_cancelled() => {
                    tracing::warn!(message = message.id, %error, "a message could not be {what}; trying again");
                    tokio::time::sleep(back_off.wait()).await;
                }
                Err(error) => {
                    tracing::warn!(message = message.id, %error, "a message could not be {what}; it may come again");
                    return;
                }
            }
        }
    }
}
