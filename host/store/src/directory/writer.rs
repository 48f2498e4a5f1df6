//! An object on its way: a locked file in the staging folder, or a folder there that goes with a locked file.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
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

/// A folder for files on their way, which only its owner can look into. It lies in the staging folder beside a file of its name
/// without [`FOLDER`], whose lock keeps both from being swept. Dropped, it goes with all that is in it.
#[derive(Debug)]
pub(crate) struct StagingFolder {
    path: PathBuf,
    _locked: NamedTempFile,
}

/// What the names of folders end in.
const FOLDER: &str = "folder";

impl StagingFolder {
    pub(super) fn new(staging: &Path) -> io::Result<Self> {
        // the file first, and last when dropped: a folder without one is nobody's
        let locked = staged(staging)?;
        let path = locked.path().with_added_extension(FOLDER);
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path, _locked: locked })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for StagingFolder {
    fn drop(&mut self) {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.path.display(), %error, "not removed; the next start tries again");
            }
            // gone, or moved to where it was meant to be
            _ => {}
        }
    }
}

/// Removes staged files and folders whose writers died: those that nobody holds a lock on.
pub(super) fn sweep(staging: &Path) -> io::Result<()> {
    for entry in fs::read_dir(staging)? {
        let path = entry?.path();
        let is_folder = path.extension().is_some_and(|extension| extension == FOLDER);
        let locked = if is_folder { path.with_extension("") } else { path.clone() };
        let held = match File::open(&locked) {
            Ok(file) => file.try_lock().map(|()| Some(file)),
            Err(e) if e.kind() == io::ErrorKind::NotFound && is_folder => Ok(None),
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        match held {
            Ok(_held) => match if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) } {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_a_living_owner_stays_and_others_are_swept() {
        let staging = tempfile::tempdir().unwrap();
        let names = || fs::read_dir(staging.path()).unwrap().count();
        let living = StagingFolder::new(staging.path()).unwrap();
        fs::write(living.path().join("file"), b"on its way").unwrap();
        // of a process that was killed its lock is gone; or the file that was locked is
        for name in [".tmp1", ".tmp1.folder/below/file", ".tmp2.folder/file"] {
            let path = staging.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"left").unwrap();
        }
        sweep(staging.path()).unwrap();
        assert_eq!((names(), living.path().join("file").exists()), (2, true));
        drop(living);
        assert_eq!(names(), 0);
    }
}
