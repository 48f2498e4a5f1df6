//! Locks that puts and deletes of one key take, between threads and processes.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::Key;

/// Keys share this many lock files, so that there is never one to clean up.
const SHARDS: u64 = 256;

/// A key's lock, held until dropped or until the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock of a key. Holders only compare and rename, so the wait is short.
    pub fn take(folder: &Path, key: &Key) -> io::Result<Self> {
        // FNV-1a, which every build of every process computes alike
        let hash = key.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        let shard = hash % SHARDS;
        let file = File::options().create(true).truncate(false).write(true).open(folder.join(format!("{shard:02x}")))?;
        file.lock()?;
        Ok(Self { _file: file })
    }
}
