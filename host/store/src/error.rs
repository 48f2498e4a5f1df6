//! The errors of stores.

use std::ops::Range;

use crate::Key;

/// A store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such object.
    #[error("{store} has no object {key}; list the store to see what it has")]
    NotFound {
        /// The store.
        store: String,
        /// The key asked for.
        key: Key,
    },
    /// An object that was to be created exists.
    #[error("{store} already has an object {key}; choose another key, or allow it to be overwritten")]
    AlreadyExists {
        /// The store.
        store: String,
        /// The key.
        key: Key,
    },
    /// An object that was to be updated is another version by now, or gone.
    #[error("object {key} of {store} is not the version {expected} any more; read it again and repeat the change")]
    Changed {
        /// The store.
        store: String,
        /// The key.
        key: Key,
        /// The etag the update was made for.
        expected: String,
    },
    /// The range has no byte of the object.
    #[error("bytes {}..{} of object {key} of {store} do not exist: it has {size} bytes", range.start, range.end)]
    Range {
        /// The store.
        store: String,
        /// The key.
        key: Key,
        /// The range asked for.
        range: Range<u64>,
        /// Size of the object, bytes.
        size: u64,
    },
    /// The object is larger than the caller takes into memory.
    #[error("object {key} of {store} has {size} bytes, more than the {max} allowed here; read it as a stream")]
    TooLarge {
        /// The store.
        store: String,
        /// The key.
        key: Key,
        /// Its size, bytes.
        size: u64,
        /// The limit, bytes.
        max: u64,
    },
    /// A folder cannot hold a file and a folder of one name.
    #[error(
        "{store} cannot hold object {key}: one of its keys is another's folder; choose a key that does not begin with another key and /"
    )]
    FolderConflict {
        /// The store.
        store: String,
        /// The key.
        key: Key,
    },
    /// The operating system or the network failed.
    #[error("object {key} of {store} could not be {action}: {source}; check that the store is reachable, writable and not full")]
    Io {
        /// The store.
        store: String,
        /// The key, or the prefix of a listing.
        key: String,
        /// What failed: `read`, `written`, ...
        action: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The bucket is not there.
    #[error("{store} cannot be used: there is no such bucket; create it, or correct its name")]
    NoBucket {
        /// The store.
        store: String,
    },
    /// The server did not accept who asks, or what for.
    #[error(
        "{what} of {store} could not be {action}: access is denied ({reason}); check the access key, its secret and what the bucket allows it"
    )]
    Denied {
        /// The store.
        store: String,
        /// What was asked for: `object a/b`, or `the store`.
        what: String,
        /// What is not allowed: `read`, `written`, ...
        action: &'static str,
        /// The server's words.
        reason: String,
    },
    /// The server could not be reached, or was not able to answer. Trying again may help.
    #[error("{what} of {store} could not be {action} now: {reason}; try again, and check that the server runs and can be reached")]
    Unavailable {
        /// The store.
        store: String,
        /// What was asked for: `object a/b`, or `the store`.
        what: String,
        /// What failed: `read`, `written`, ...
        action: &'static str,
        /// Why.
        reason: String,
    },
    /// What the store was told about itself or the call cannot be.
    #[error("{store} cannot be used like that: {rule}")]
    Settings {
        /// The store.
        store: String,
        /// What is wrong, and what to do.
        rule: String,
    },
    /// The store itself cannot be used.
    #[error("{store} cannot be opened: {source}; check that its folder can be created and written to, and that its address is free")]
    Open {
        /// The store.
        store: String,
        /// Why.
        source: std::io::Error,
    },
}

impl StoreError {
    /// Whether the same call may well succeed later: the server was not reached, overloaded, or broke off.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, TimedOut};
        match self {
            Self::Unavailable { .. } => true,
            Self::Io { source, .. } => {
                matches!(source.kind(), BrokenPipe | ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted | TimedOut)
            }
            _ => false,
        }
    }

    /// An I/O error, or the store's own that came through [`std::io::Read`] or [`std::io::Write`] as one.
    pub(crate) fn io(store: &str, key: impl ToString, action: &'static str, source: std::io::Error) -> Self {
        match source.downcast::<Self>() {
            Ok(own) => own,
            Err(source) => Self::Io { store: store.into(), key: key.to_string(), action, source },
        }
    }

    pub(crate) fn not_found(store: &str, key: &Key) -> Self {
        Self::NotFound { store: store.into(), key: key.clone() }
    }
}
