//! Where objects live: one trait; a directory, a bucket of S3 and memory behind it; one conformance suite; and a server that lends
//! a folder out as a bucket.
//!
//! # Why not a file system interface?
//! Videos and results also live in S3, which knows whole objects under flat keys: no renaming, no appending, no folders, no
//! half-written files. A program written against those rules runs on a directory as well; the other way round it does not. So the
//! [`ObjectStore`] trait offers what both can promise, and [`conformance::run`] proves the promises of every store alike.
//!
//! # Blocking
//! Calls block and bodies are streamed through [`std::io::Read`] and [`std::io::Write`], because what moves them are the reader
//! and writer threads of videos, not tasks. Call them from such a thread (or a blocking pool), never from an executor's thread.
//!
//! # Which store
//! [`DirectoryStore`] for one machine, [`S3Store`] for S3 and what speaks its protocol, [`MemoryStore`] for tests. Clients that can
//! only speak S3, and presigned addresses without S3, are served by [`EmbeddedServer`], which keeps its objects in a
//! [`DirectoryStore`].

mod aws;
pub mod conformance;
mod directory;
mod error;
mod key;
mod memory;
mod range;
mod s3;
mod server;

use std::fmt;
use std::io::{Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub use aws::{AwsAccess, causes};
pub use directory::DirectoryStore;
pub use error::StoreError;
pub use key::{Key, KeyError, MAX_KEY_BYTES};
pub use memory::MemoryStore;
pub use s3::{S3Config, S3Store, UploadedPart};
pub use server::{EmbeddedServer, ServerCredentials};

/// What is known of an object without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Its key.
    pub key: Key,
    /// Its size, bytes.
    pub size: u64,
    /// Its version: an opaque text that changes whenever the object's bytes change, and in some stores with every put. Compare it
    /// for equality only.
    pub etag: String,
    /// When it was put; in some stores to the second.
    pub modified: SystemTime,
}

/// An object opened for reading: one version of it, even if it is put again or deleted meanwhile.
pub struct Object {
    /// What is known of it.
    pub meta: ObjectMeta,
    /// The bytes that `body` gives; within `0..meta.size`.
    pub range: Range<u64>,
    /// The bytes. Ends early with an error, never with an end of file.
    pub body: Box<dyn Read + Send>,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").field("meta", &self.meta).field("range", &self.range).finish_non_exhaustive()
    }
}

/// On what condition an object is put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutMode {
    /// On none: a former version is replaced.
    Overwrite,
    /// There is no object of that key: [`StoreError::AlreadyExists`] otherwise.
    Create,
    /// Its version is the one with this etag: [`StoreError::Changed`] otherwise.
    Update(String),
}

/// An object being written. Dropped without [`ObjectWriter::commit`] it leaves nothing behind.
pub trait ObjectWriter: Write + Send {
    /// Makes the object visible, whole and on stable storage, if the condition it was created with still holds.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] or [`StoreError::Changed`] where the condition fails, else what went wrong; in any case
    /// nothing of it is visible.
    fn commit(self: Box<Self>) -> Result<ObjectMeta, StoreError>;
}

/// Objects under keys.
///
/// # Guarantees
/// - *Atomic*: a reader sees an object whole or not at all, in one version, also when its writer is killed.
/// - *Durable*: what was put survives the loss of power once the call has returned (where the store outlives the process).
/// - *Immediate*: after a put or delete has returned, every `head`, `open` and `list` shows it.
/// - *Conditional puts* of one key exclude each other, between processes too: of any number of racing [`PutMode::Create`] exactly
///   one succeeds, and no [`PutMode::Update`] overwrites a version it has not seen.
pub trait ObjectStore: Send + Sync + fmt::Debug {
    /// The store as error messages and logs call it, e.g. `directory /srv/halfpipe`. Holds no secrets.
    fn name(&self) -> &str;

    /// Starts an object. Nothing is visible before it is committed, and the condition is checked then.
    ///
    /// # Errors
    /// [`StoreError::Io`] where the store cannot be written to.
    fn create(&self, key: &Key, mode: PutMode) -> Result<Box<dyn ObjectWriter>, StoreError>;

    /// Puts a finished local file, which is consumed: moved where the store can, else copied and removed. Nobody may have it open for
    /// writing. It stays where it is if the put fails.
    ///
    /// # Errors
    /// As [`ObjectWriter::commit`]; [`StoreError::Io`] where `staged` is no regular file.
    fn put_file(&self, key: &Key, staged: &Path, mode: PutMode) -> Result<ObjectMeta, StoreError>;

    /// Opens an object, or a part of it: `range.end` beyond the object is cut to its size.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Range`] where the range is empty or begins at or beyond the object's end.
    fn open(&self, key: &Key, range: Option<Range<u64>>) -> Result<Object, StoreError>;

    /// What is known of an object.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    fn head(&self, key: &Key) -> Result<ObjectMeta, StoreError>;

    /// Up to `limit` objects whose keys begin with `prefix` (any text; folders mean nothing) and are greater than `after`, in
    /// the order of the keys' bytes. To go on, pass the last key as `after`.
    ///
    /// # Errors
    /// [`StoreError::Io`] where the store cannot be read. A prefix that no key can have gives an empty list.
    fn list(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<ObjectMeta>, StoreError>;

    /// Deletes an object; well also where there is none.
    ///
    /// # Errors
    /// [`StoreError::Io`] where the store cannot be written to.
    fn delete(&self, key: &Key) -> Result<(), StoreError>;

    /// Where an existing object lies as a local file, for programs that need one (to read, never to change). None where the store
    /// is not local: copy the object then.
    fn local_path(&self, key: &Key) -> Option<PathBuf>;

    /// 32 bytes that were drawn at random once and are kept with the store, out of reach of its objects' keys: what processes that
    /// share the store sign with. `name`, a plain file name, tells one use from another. None where a store keeps no secrets.
    ///
    /// # Errors
    /// [`StoreError::Open`] where it cannot be kept, or others could read it.
    fn secret(&self, name: &str) -> Result<Option<[u8; 32]>, StoreError> {
        let _ = name;
        Ok(None)
    }
}

/// What follows from the trait.
impl dyn ObjectStore + '_ {
    /// Puts an object from memory.
    ///
    /// # Errors
    /// As [`ObjectStore::create`] and [`ObjectWriter::commit`].
    pub fn put(&self, key: &Key, bytes: &[u8], mode: PutMode) -> Result<ObjectMeta, StoreError> {
        let mut writer = self.create(key, mode)?;
        writer.write_all(bytes).map_err(|source| StoreError::io(self.name(), key, "written", source))?;
        writer.commit()
    }

    /// Puts an object from a stream.
    ///
    /// # Errors
    /// As [`ObjectStore::create`] and [`ObjectWriter::commit`]; [`StoreError::Io`] where `body` fails.
    pub fn put_stream(&self, key: &Key, body: &mut dyn Read, mode: PutMode) -> Result<ObjectMeta, StoreError> {
        let mut writer = self.create(key, mode)?;
        std::io::copy(body, &mut writer).map_err(|source| StoreError::io(self.name(), key, "written", source))?;
        writer.commit()
    }

    /// Reads a whole object of at most `max` bytes into memory.
    ///
    /// # Errors
    /// As [`ObjectStore::open`]; [`StoreError::TooLarge`] beyond `max`.
    pub fn read(&self, key: &Key, max: u64) -> Result<(Vec<u8>, ObjectMeta), StoreError> {
        let mut object = self.open(key, None)?;
        if object.meta.size > max {
            return Err(StoreError::TooLarge { store: self.name().into(), key: key.clone(), size: object.meta.size, max });
        }
        let mut bytes = Vec::with_capacity(object.meta.size as usize);
        object.body.read_to_end(&mut bytes).map_err(|source| StoreError::io(self.name(), key, "read", source))?;
        Ok((bytes, object.meta))
    }
}
