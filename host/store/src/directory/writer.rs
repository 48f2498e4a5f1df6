//! An object on its way: a locked file in the staging folder.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use tempfile::NamedTempFile;

use super::Inner;
use crate::{Key, ObjectMeta, ObjectWriter, PutMode, StoreError};

/// Bytes gathered before they go to the file.
const BUFFER: usize = 256 * 1024;

pub(super) struct Writer {
    inner: Arc<Inner>,
    key: Key,
    mode: PutMode,
    file: BufWriter<NamedTempFile>,
}

impl Writer {
    pub fn new(inner: &Arc<Inner>, key: &Key, mode: PutMode) -> Result<Self, StoreError> {
        let file = staged(&inner.reserved("staging")).map_err(inner.io(key, "written"))?;
        Ok(Self { inner: Arc::clone(inner), key: key.clone(), mode, file: BufWriter::with_capacity(BUFFER, file) })
    }
}

/// A new file that its lock keeps from being swept.
fn staged(folder: &Path) -> io::Result<NamedTempFile> {
    loop {
        let file = NamedTempFile::new_in(folder)?;
        file.as_file().lock()?;
        // a sweep may have come between creation and lock
        if file.path().exists() {
            return Ok(file);
        }
    }
}

/// Removes staged files whose writers died: those that nobody holds a lock on.
pub(super) fn sweep(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        match file.try_lock() {
            Ok(()) => match fs::remove_file(&path) {
                Ok(()) => tracing::info!(path = %path.display(), "removed what a killed writer left"),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            },
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(e)) => return Err(e),
        }
    }
    Ok(())
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl ObjectWriter for Writer {
    fn commit(self: Box<Self>) -> Result<ObjectMeta, StoreError> {
        let Self { inner, key, mode, file } = *self;
        let mut file = file.into_inner().map_err(|e| inner.io(&key, "written")(e.into_error()))?;
        // the long wait for the disk comes before the lock
        file.as_file().sync_all().map_err(inner.io(&key, "written"))?;
        let meta = inner.publish(&key, &mode, file.as_file(), file.path())?;
        // it has moved: there is nothing to clean up
        file.disable_cleanup(true);
        Ok(meta)
    }
}
