//! The errors of queues.

/// A queue did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// The queue is not there.
    #[error("{queue} does not exist; create it, or correct its address")]
    NoQueue {
        /// The queue.
        queue: String,
    },
    /// The server did not accept who asks, or what for.
    #[error(
        "{queue} does not let messages be {action}: access is denied ({reason}); check the access key, its secret, whether it has expired, and what the queue allows it"
    )]
    Denied {
        /// The queue.
        queue: String,
        /// What is not allowed: `received`, `sent`, ...
        action: &'static str,
        /// The server's words.
        reason: String,
    },
    /// The server could not be reached, was not able to answer, or asked for fewer requests. Trying again may help.
    #[error("messages of {queue} could not be {action} now: {reason}; try again, and check that the server runs and can be reached")]
    Unavailable {
        /// The queue.
        queue: String,
        /// What failed: `received`, `sent`, ...
        action: &'static str,
        /// Why.
        reason: String,
    },
    /// The message is not held by who says so: its time ran out and somebody else has it, or it was deleted.
    #[error("a message of {queue} is no longer held here ({reason}); leave it to whoever has it now")]
    NotHeld {
        /// The queue.
        queue: String,
        /// The server's words.
        reason: String,
    },
    /// The queue takes no such message.
    #[error("{queue} does not take this message: {reason}; shorten it, or leave out what the queue cannot carry")]
    Refused {
        /// The queue.
        queue: String,
        /// Why.
        reason: String,
    },
    /// What the queue was told about itself cannot be.
    #[error("{queue} cannot be used like that: {rule}")]
    Settings {
        /// The queue.
        queue: String,
        /// What is wrong, and what to do.
        rule: String,
    },
    /// The answer means nothing here.
    #[error("messages of {queue} could not be {action}: {reason}; check that the address is that of a queue")]
    Unexpected {
        /// The queue.
        queue: String,
        /// What failed: `received`, `sent`, ...
        action: &'static str,
        /// Why.
        reason: String,
    },
}

impl QueueError {
    /// Whether the same call may well succeed later: the server was not reached, overloaded, or broke off.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}
