//! A store in memory, for tests and for jobs without any other.

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::ops::{Bound, Range};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::{Key, Object, ObjectMeta, ObjectStore, ObjectWriter, PutMode, StoreError, range};

const NAME: &str = "memory store";

/// Objects in memory. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<Key, Stored>,
    /// Versions count up over all objects, so no etag ever comes back.
    versions: u64,
}

#[derive(Debug, Clone)]
struct Stored {
    bytes: Bytes,
    version: u64,
    modified: SystemTime,
}

/// Shared bytes that a cursor can read.
#[derive(Debug, Clone)]
struct Bytes(Arc<Vec<u8>>);

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// No code panics while it holds the lock, so the state is whole even if a thread died.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, key: &Key) -> Result<(Bytes, ObjectMeta), StoreError> {
        let state = self.state();
        let stored = state.objects.get(key).ok_or_else(|| StoreError::not_found(NAME, key))?;
        Ok((stored.bytes.clone(), meta(key, stored)))
    }

    fn put(&self, key: &Key, bytes: Vec<u8>, mode: &PutMode) -> Result<ObjectMeta, StoreError> {
        let mut state = self.state();
        let found = state.objects.get(key);
        match mode {
            PutMode::Create if found.is_some() => return Err(StoreError::AlreadyExists { store: NAME.into(), key: key.clone() }),
            PutMode::Update(expected) if found.is_none_or(|f| etag(f) != *expected) => {
                return Err(StoreError::Changed { store: NAME.into(), key: key.clone(), expected: expected.clone() });
            }
            _ => {}
        }
        state.versions += 1;
        let stored = Stored { bytes: Bytes(Arc::new(bytes)), version: state.versions, modified: SystemTime::now() };
        let meta = meta(key, &stored);
        state.objects.insert(key.clone(), stored);
        Ok(meta)
    }
}

fn etag(stored: &Stored) -> String {
    stored.version.to_string()
}

fn meta(key: &Key, stored: &Stored) -> ObjectMeta {
    ObjectMeta { key: key.clone(), size: stored.bytes.0.len() as u64, etag: etag(stored), modified: stored.modified }
}

impl ObjectStore for MemoryStore {
    fn name(&self) -> &str {
        NAME
    }

    fn create(&self, key: &Key, mode: PutMode) -> Result<Box<dyn ObjectWriter>, StoreError> {
        Ok(Box::new(Writer { store: self.clone(), key: key.clone(), mode, bytes: Vec::new() }))
    }

    fn put_file(&self, key: &Key, staged: &Path, mode: PutMode) -> Result<ObjectMeta, StoreError> {
        let io = |source| StoreError::io(NAME, key, "written", source);
        if !std::fs::symlink_metadata(staged).map_err(io)?.is_file() {
            return Err(io(std::io::Error::other(format!("{} is not a regular file", staged.display()))));
        }
        let meta = self.put(key, std::fs::read(staged).map_err(io)?, &mode)?;
        std::fs::remove_file(staged).map_err(|source| StoreError::io(NAME, key, "cleaned up after (its staged file)", source))?;
        Ok(meta)
    }

    fn open(&self, key: &Key, range: Option<Range<u64>>) -> Result<Object, StoreError> {
        let (bytes, meta) = self.get(key)?;
        let range = range::resolve(NAME, &meta, range)?;
        let length = range.end - range.start;
        let mut cursor = Cursor::new(bytes);
        cursor.set_position(range.start);
        Ok(Object { meta, range, body: Box::new(std::io::Read::take(cursor, length)) })
    }

    fn head(&self, key: &Key) -> Result<ObjectMeta, StoreError> {
        Ok(self.get(key)?.1)
    }

    fn list(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<ObjectMeta>, StoreError> {
        let state = self.state();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let matching = state.objects.range::<Key, _>((from, Bound::Unbounded)).filter(|(key, _)| key.as_str().starts_with(prefix));
        Ok(matching.take(limit).map(|(key, stored)| meta(key, stored)).collect())
    }

    fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.state().objects.remove(key);
        Ok(())
    }

    fn local_path(&self, _key: &Key) -> Option<PathBuf> {
        None
    }
}

struct Writer {
    store: MemoryStore,
    key: Key,
    mode: PutMode,
    bytes: Vec<u8>,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl ObjectWriter for Writer {
    fn commit(self: Box<Self>) -> Result<ObjectMeta, StoreError> {
        self.store.put(&self.key, self.bytes, &self.mode)
    }
}
