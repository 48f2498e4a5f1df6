//! Where messages wait: one trait; SQS and memory behind it; one conformance suite.
//!
//! A queue gives each message to one receiver at a time and takes it back unless it is deleted in time: at least once, in no order.
//! So a message is never the only place where something is known; what is lasting lies in the object store, and a message says where
//! to look. [`conformance::run`] proves the promises of every queue alike.
//!
//! # Which queue
//! [`SqsQueue`] for SQS and what speaks its protocol, [`MemoryQueue`] for tests.

pub mod conformance;
mod error;
mod memory;
mod sqs;

use std::fmt;
use std::time::{Duration, SystemTime};

// whoever writes a queue needs it
pub use async_trait::async_trait;
pub use error::QueueError;
pub use memory::MemoryQueue;
pub use sqs::{SqsConfig, SqsQueue};

/// Most bytes of a message: what every region of SQS takes.
pub const MOST_BYTES: usize = 256 << 10;
/// Most messages that one call receives.
pub const MOST_RECEIVED: usize = 10;
/// Longest a call waits for messages.
pub const MOST_WAIT: Duration = Duration::from_secs(20);
/// Longest a message can be held, from the moment it was received.
pub const MOST_HELD: Duration = Duration::from_secs(12 * 3600);
/// Longest a message can be sent ahead of its time.
pub const MOST_DELAY: Duration = Duration::from_secs(900);

/// A message as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The queue's name for it, the same each time it is received.
    pub id: String,
    /// What was sent.
    pub body: String,
    /// Proof that it is held, for this time only.
    pub receipt: String,
    /// How often it has been received, this time included. Queues count approximately.
    pub receives: u32,
    /// When it was sent.
    pub sent: SystemTime,
}

/// What a queue says of itself. Numbers are approximate, and may lag behind by a minute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Messages that can be received now.
    pub waiting: u64,
    /// Messages that are held.
    pub held: u64,
    /// Messages that were sent ahead of their time.
    pub delayed: u64,
    /// How often a message is given out before it goes to the dead-letter queue; None where there is no such queue.
    pub most_receives: Option<u32>,
}

/// A queue of messages.
///
/// # Guarantees
/// - *Held*: who received a message holds it for the span it asked for; nobody else receives it until that has run out.
/// - *At least once*: a message that is not deleted comes again, with a higher count.
/// - *Dead letters*: a message that was given out [`Facts::most_receives`] times and was not deleted goes to the dead-letter queue.
/// - Order is not kept, and a message may come twice.
///
/// Spans are whole seconds; others are rounded up.
#[async_trait]
pub trait MessageQueue: Send + Sync + fmt::Debug {
    /// The queue as error messages and logs call it. Holds no secrets.
    fn name(&self) -> &str;

    /// What the queue says of itself.
    ///
    /// # Errors
    /// [`QueueError::NoQueue`], [`QueueError::Denied`], [`QueueError::Unavailable`].
    async fn facts(&self) -> Result<Facts, QueueError>;

    /// Sends a message that can be received after `delay` (at most [`MOST_DELAY`]), and gives its id.
    ///
    /// # Errors
    /// [`QueueError::Refused`] where it is empty, longer than [`MOST_BYTES`] or has characters that the queue cannot carry; as
    /// [`MessageQueue::facts`].
    async fn send(&self, body: &str, delay: Duration) -> Result<String, QueueError>;

    /// Receives 1 to `most` (at most [`MOST_RECEIVED`]) messages and holds them for `hold`; waits for the first one up to `wait` (at
    /// most [`MOST_WAIT`]), and gives none if none came. A call that is dropped may have received messages all the same: they come
    /// again when `hold` has run out.
    ///
    /// # Errors
    /// As [`MessageQueue::facts`].
    async fn receive(&self, most: usize, wait: Duration, hold: Duration) -> Result<Vec<Message>, QueueError>;

    /// Holds a message for `hold` from now on instead of what was asked for before; zero gives it back at once.
    ///
    /// # Errors
    /// [`QueueError::NotHeld`] where it is not held under this receipt; as [`MessageQueue::facts`].
    async fn hold(&self, message: &Message, hold: Duration) -> Result<(), QueueError>;

    /// Deletes a message. Well also where it is deleted already.
    ///
    /// # Errors
    /// As [`MessageQueue::facts`]; [`QueueError::NotHeld`] in some queues where somebody else holds it by now.
    async fn delete(&self, message: &Message) -> Result<(), QueueError>;
}

/// Whole seconds, rounded up and cut to `most`.
fn seconds(span: Duration, most: Duration) -> i32 {
    let whole = span.min(most).as_millis().div_ceil(1000);
    i32::try_from(whole).unwrap_or(i32::MAX)
}

/// What no queue takes.
fn check_body(queue: &str, body: &str) -> Result<(), QueueError> {
    let refused = |reason: String| Err(QueueError::Refused { queue: queue.to_owned(), reason });
    if body.is_empty() {
        return refused("it is empty".into());
    }
    if body.len() > MOST_BYTES {
        return refused(format!("it has {} bytes, and {MOST_BYTES} is the most", body.len()));
    }
    // what XML 1.0 can carry, which is the queue's alphabet whatever the protocol
    let carried = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
    match body.chars().find(|c| !carried(*c)) {
        Some(c) => refused(format!("it holds the character U+{:04X}", u32::from(c))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_whole_seconds_rounded_up() {
        for (millis, expected) in [(0, 0), (1, 1), (1000, 1), (1001, 2), (99_999_999, 20)] {
            assert_eq!(seconds(Duration::from_millis(millis), MOST_WAIT), expected, "{millis}");
        }
    }

    #[test]
    fn what_no_queue_takes_is_refused_with_a_reason() {
        assert_eq!(check_body("q", "{\"job\":\"é日\u{1f3c2}\"}\n"), Ok(()));
        assert_eq!(check_body("q", &"a".repeat(MOST_BYTES)), Ok(()));
        for (body, word) in
            [(String::new(), "empty"), ("a".repeat(MOST_BYTES + 1), "262145"), ("a\0".into(), "U+0000"), ("\u{fffe}".into(), "U+FFFE")]
        {
            let error = check_body("q", &body).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
