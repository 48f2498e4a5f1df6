//! One message from its receipt to its end: hold it, have done what it asks for, and settle or return it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use halfpipe_queue::{Message, MessageQueue, QueueError};
use serde_json::json;

use super::attend::{Attendant, Leaving, Verdict};
use super::back_off::{BackOff, jittered};
use crate::clock::now_ms;
use crate::jobs::JobError;
use crate::jobs::work::ended;

/// Longest that a message is held before its receipt is acted upon: so long it is nobody's where the answer to a request for messages
/// was lost, or the process that asked has left meanwhile.
pub(super) const RECEIPT: Duration = Duration::from_secs(10);
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
    /// Does what messages ask for.
    pub attendant: Attendant,
    pub queue: Arc<dyn MessageQueue>,
    /// How long a message is held before the hold is renewed, or the message comes again.
    pub hold: Duration,
}

impl Crew {
    /// Sees to a message until it is settled or returned.
    pub async fn see_to(&self, message: &Message) {
        // before anything else, so that no later word to the queue can be overtaken by this one
        let mut held = self.hold <= RECEIPT || self.hold_on(message).await;
        let holding = async {
            while held {
                tokio::time::sleep(self.hold / 3).await;
                held = self.hold_on(message).await;
            }
            std::future::pending::<()>().await;
        };
        let verdict = tokio::select! {
            verdict = self.attendant.judge(&message.id, &message.body) => verdict,
            () = holding => Verdict::Leaving,
        };
        tracing::debug!(message = message.id, receives = message.receives, ?verdict, "a message was seen to");
        match verdict {
            Verdict::Settled => self.settle(message).await,
            Verdict::Later(after) => self.give_back(message, after, "later").await,
            Verdict::Leaving => self.give_back(message, Duration::ZERO, "leaving").await,
            Verdict::Failed { job, reason, after } => self.fail(message, job, &reason, after).await,
        }
        self.attendant.status.let_go();
    }

    /// Holds a message for another while. Whether it may still be ours.
    async fn hold_on(&self, message: &Message) -> bool {
        match self.queue.hold(message, self.hold).await {
            Ok(()) => true,
            // the ledger knows whose the job is; this message is somebody else's by now
            Err(error @ QueueError::NotHeld { .. }) => {
                tracing::warn!(message = message.id, %error, "a message is held no longer");
                false
            }
            Err(error) => {
                tracing::warn!(message = message.id, %error, "a message cannot be held for longer");
                true
            }
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
        if self.attendant.status.is_last(message) {
            match self.queue.send(&message.body, after).await {
                Ok(_) => return self.told(message, "deleted", || self.queue.delete(message)).await,
                Err(error) => tracing::warn!(message = message.id, %error, "a message could not be sent anew"),
            }
        }
        self.told(message, "given back", || self.queue.hold(message, after)).await;
    }

    /// A message that failed comes again, unless this was the last time: then its reason is kept where somebody will look for it.
    async fn fail(&self, message: &Message, job: Option<String>, reason: &str, after: Option<Duration>) {
        if !self.attendant.status.is_last(message) {
            tracing::warn!(message = message.id, receives = message.receives, reason, "a message failed; it comes again");
            metrics::counter!("halfpipe_messages_returned_total", "why" => "failed").increment(1);
            let doubled = FIRST.saturating_mul(1 << message.receives.saturating_sub(1).min(16)).min(LONGEST);
            // a queue without dead letters would give it out again and again
            let after = after.filter(|after| self.attendant.status.has_limit() || !after.is_zero()).unwrap_or_else(|| jittered(doubled));
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
                self.attendant.app.blocking(move |app| app.ledger.give_up(&id, &error))
            };
            match self.attendant.patiently(give_up).await {
                Ok(Ok(record)) => {
                    if record.error.as_ref() == Some(&error) {
                        ended(&self.attendant.app, &record).await;
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
            self.attendant.app.blocking(move |app| app.ledger.keep_message(&name, &facts))
        };
        if let Ok(Err(error)) = self.attendant.patiently(keep).await {
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
                Err(error) if error.is_transient() && !self.attendant.hand_over.is_cancelled() => {
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
