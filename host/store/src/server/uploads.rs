//! Uploads in parts, kept as objects of a store of their own so that they outlive the server.
//!
//! Upload `ID` is `ID/target`, which holds the key it is for, and `ID/parts/00001` and so on.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use s3s::dto::CompletedPart;
use s3s::{S3Error, S3Result, s3_error};

use super::conditions::refused;
use crate::{DirectoryStore, Key, MAX_KEY_BYTES, ObjectMeta, ObjectStore, ObjectWriter, PutMode, StoreError};

/// Part numbers that S3 allows.
const NUMBERS: std::ops::RangeInclusive<i32> = 1..=10_000;
/// Least size of every part but the last, bytes (S3's limit).
const LEAST: u64 = 5 << 20;

#[derive(Debug)]
pub(super) struct Uploads {
    store: DirectoryStore,
    started: AtomicU64,
}

impl Uploads {
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        Ok(Self { store: DirectoryStore::open(folder.join(".uploads"))?, started: AtomicU64::new(0) })
    }

    fn store(&self) -> &dyn ObjectStore {
        &self.store
    }

    /// Starts an upload; gives its id.
    pub fn start(&self, key: &Key) -> S3Result<String> {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let id = format!("{nanos:x}-{:x}-{:x}", std::process::id(), self.started.fetch_add(1, Ordering::Relaxed));
        self.store().put(&target(&id)?, key.as_str().as_bytes(), PutMode::Create).map_err(refused)?;
        Ok(id)
    }

    /// Checks that there is an upload of this id for this key.
    pub fn find(&self, id: &str, key: &Key) -> S3Result<()> {
        match self.store().read(&target(id)?, MAX_KEY_BYTES as u64) {
            Ok((text, _)) if text == key.as_str().as_bytes() => Ok(()),
            Ok(_) | Err(StoreError::NotFound { .. }) => Err(s3_error!(NoSuchUpload)),
            Err(error) => Err(refused(error)),
        }
    }

    /// Where a part is written to.
    pub fn part(&self, id: &str, number: i32) -> S3Result<impl FnOnce() -> Result<Box<dyn ObjectWriter>, StoreError> + Send + use<>> {
        let (store, key) = (self.store.clone(), part(id, number)?);
        Ok(move || store.create(&key, PutMode::Overwrite))
    }

    /// Joins parts to an object of `bucket` and forgets the upload.
    pub fn complete(&self, id: &str, key: &Key, parts: &[CompletedPart], bucket: &DirectoryStore, mode: PutMode) -> S3Result<ObjectMeta> {
        self.find(id, key)?;
        let named = self.check(id, parts)?;
        let mut writer = bucket.create(key, mode).map_err(refused)?;
        for meta in named {
            let mut object = self.store.open(&meta.key, None).map_err(refused)?;
            if object.meta.etag != meta.etag {
                return Err(s3_error!(InvalidPart));
            }
            io::copy(&mut object.body, &mut writer).map_err(S3Error::internal_error)?;
        }
        let meta = writer.commit().map_err(refused)?;
        self.remove(id)?;
        Ok(meta)
    }

    /// The parts that a client names, if they are there, in order and large enough.
    fn check(&self, id: &str, parts: &[CompletedPart]) -> S3Result<Vec<ObjectMeta>> {
        if parts.is_empty() {
            return Err(s3_error!(InvalidRequest, "an upload needs at least one part"));
        }
        if parts.windows(2).any(|pair| pair[0].part_number >= pair[1].part_number) {
            return Err(s3_error!(InvalidPartOrder));
        }
        let mut found = Vec::with_capacity(parts.len());
        for (i, named) in parts.iter().enumerate() {
            let number = named.part_number.ok_or_else(|| s3_error!(InvalidPart, "a part has no number"))?;
            let meta = match self.store.head(&part(id, number)?) {
                Ok(meta) => meta,
                Err(StoreError::NotFound { .. }) => return Err(s3_error!(InvalidPart, "there is no part {number}")),
                Err(error) => return Err(refused(error)),
            };
            if named.e_tag.as_ref().is_none_or(|etag| etag.value() != meta.etag) {
                return Err(s3_error!(InvalidPart, "part {number} has another etag"));
            }
            if meta.size < LEAST && i + 1 < parts.len() {
                return Err(s3_error!(EntityTooSmall));
            }
            found.push(meta);
        }
        Ok(found)
    }

    /// Forgets an upload and its parts.
    pub fn remove(&self, id: &str) -> S3Result<()> {
        // the target last: while it is there, what is left can be found
        for meta in self.store.list(&format!("{id}/parts/"), None, usize::MAX).map_err(refused)? {
            self.store.delete(&meta.key).map_err(refused)?;
        }
        self.store.delete(&target(id)?).map_err(refused)
    }

    /// All uploads with their ids, keys and when they began; in the order of keys.
    pub fn list(&self) -> S3Result<Vec<(String, String, SystemTime)>> {
        let mut found = Vec::new();
        for meta in self.store.list("", None, usize::MAX).map_err(refused)? {
            let Some(id) = meta.key.as_str().strip_suffix("/target") else { continue };
            match self.store().read(&meta.key, MAX_KEY_BYTES as u64) {
                Ok((key, _)) => found.push((id.to_string(), String::from_utf8_lossy(&key).into_owned(), meta.modified)),
                // completed just now
                Err(StoreError::NotFound { .. }) => {}
                Err(error) => return Err(refused(error)),
            }
        }
        found.sort_by(|a, b| (&a.1, &a.0).cmp(&(&b.1, &b.0)));
        Ok(found)
    }
}

fn target(id: &str) -> S3Result<Key> {
    within(id, "target")
}

fn part(id: &str, number: i32) -> S3Result<Key> {
    if !NUMBERS.contains(&number) {
        return Err(s3_error!(InvalidArgument, "parts are numbered from 1 to 10000"));
    }
    within(id, &format!("parts/{number:05}"))
}

fn within(id: &str, name: &str) -> S3Result<Key> {
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') {
        return Err(s3_error!(NoSuchUpload));
    }
    Key::new(format!("{id}/{name}")).map_err(|_| s3_error!(NoSuchUpload))
}
