//! Objects as files below one folder.
//!
//! An object is a plain file at its key, so that files put there by hand are objects too and other programs can read them. What is
//! not an object lies in `.halfpipe-store/`: `staging/` holds objects being written and folders of files that may become objects, each
//! locked by its writer (opening the store removes those whose writer died), `locks/` holds 256 files that puts and deletes of a key lock (`flock`) while they compare and
//! rename; beside them lie the secrets of [`ObjectStore::secret`], with mode 600. Symbolic links are not followed.
//!
//! The folder must be one file system with nanosecond timestamps and `flock` (ext4, XFS, Btrfs, tmpfs, overlay; NFS 4).

mod listing;
mod lock;
mod secret;
mod writer;

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) use self::writer::StagingFolder;
use self::writer::Writer;
use crate::key::RESERVED;
use crate::{Key, Object, ObjectMeta, ObjectStore, ObjectWriter, PutMode, StoreError, range};

/// How often a put makes its folders anew when a delete takes them away at the same time.
const ATTEMPTS: usize = 100;

/// A store in a folder. Clones, and other processes, may use the same folder.
#[derive(Debug, Clone)]
pub struct DirectoryStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    root: PathBuf,
}

impl DirectoryStore {
    /// Opens the store in `root`, making the folder where it is missing, and removes what killed writers left.
    ///
    /// # Errors
    /// [`StoreError::Open`] where the folder cannot be made or written to.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let root: PathBuf = root.into();
        let name = format!("directory {}", root.display());
        let prepare = || {
            fs::create_dir_all(root.join(RESERVED).join("staging"))?;
            fs::create_dir_all(root.join(RESERVED).join("locks"))?;
            let root = root.canonicalize()?;
            writer::sweep(&root.join(RESERVED).join("staging"))?;
            Ok(root)
        };
        match prepare() {
            Ok(root) => Ok(Self { inner: Arc::new(Inner { name, root }) }),
            Err(source) => Err(StoreError::Open { store: name, source }),
        }
    }

    /// The folder, links resolved.
    pub(crate) fn root(&self) -> &Path {
        &self.inner.root
    }

    /// A folder for files that may become objects by [`ObjectStore::put_file`], which then only renames them.
    ///
    /// # Errors
    /// [`StoreError::Io`] where it cannot be made.
    pub(crate) fn staging_folder(&self) -> Result<StagingFolder, StoreError> {
        let staging = self.inner.reserved("staging");
        StagingFolder::new(&staging).map_err(|source| StoreError::io(&self.inner.name, staging.display(), "written", source))
    }

    /// Moves a folder of files to the root, all at once and on stable storage; `name` is a new one.
    ///
    /// # Errors
    /// [`StoreError::Io`] where it cannot be moved; nothing of it is visible then.
    pub(crate) fn put_folder(&self, name: &Key, staged: &StagingFolder) -> Result<(), StoreError> {
        let put = || {
            for entry in fs::read_dir(staged.path())? {
                File::open(entry?.path())?.sync_all()?;
            }
            sync_folder(staged.path())?;
            fs::rename(staged.path(), self.inner.path(name))?;
            sync_folder(&self.inner.root)
        };
        put().map_err(self.inner.io(name, "written"))
    }
}

impl Inner {
    fn path(&self, key: &Key) -> PathBuf {
        self.root.join(key.as_str())
    }

    fn reserved(&self, name: &str) -> PathBuf {
        self.root.join(RESERVED).join(name)
    }

    fn io(&self, key: &Key, action: &'static str) -> impl Fn(io::Error) -> StoreError {
        move |source| StoreError::io(&self.name, key, action, source)
    }

    /// The file of an object, if there is one: a regular file with no symbolic link on the way to it.
    fn find(&self, key: &Key) -> io::Result<Option<(PathBuf, Metadata)>> {
        let mut path = self.root.clone();
        let mut parts = key.as_str().split('/').peekable();
        while let Some(part) = parts.next() {
            path.push(part);
            let metadata = match fs::symlink_metadata(&path) {
                Ok(metadata) => metadata,
                Err(e) if is_missing(&e) => return Ok(None),
                Err(e) => return Err(e),
            };
            match parts.peek() {
                Some(_) if metadata.is_dir() => {}
                None if metadata.is_file() => return Ok(Some((path, metadata))),
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    fn open_file(&self, key: &Key) -> Result<(File, ObjectMeta), StoreError> {
        let read = self.io(key, "read");
        let missing = || StoreError::not_found(&self.name, key);
        let (path, _) = self.find(key).map_err(&read)?.ok_or_else(missing)?;
        let file = match File::open(path) {
            Ok(file) => file,
            // deleted just now
            Err(e) if is_missing(&e) => return Err(missing()),
            Err(e) => return Err(read(e)),
        };
        let metadata = file.metadata().map_err(&read)?;
        let meta = meta(key, &metadata).map_err(&read)?;
        Ok((file, meta))
    }

    /// Renames a complete file to its key under the key's lock, if the condition holds. The file's data are on disk already.
    fn publish(&self, key: &Key, mode: &PutMode, staged: &File, from: &Path) -> Result<ObjectMeta, StoreError> {
        let io = self.io(key, "written");
        let _lock = lock::Lock::take(&self.reserved("locks"), key).map_err(self.io(key, "locked"))?;
        let found = match self.find(key).map_err(&io)? {
            Some((_, metadata)) => Some(meta(key, &metadata).map_err(&io)?),
            None => None,
        };
        match (mode, &found) {
            (PutMode::Create, Some(_)) => return Err(StoreError::AlreadyExists { store: self.name.clone(), key: key.clone() }),
            (PutMode::Update(expected), found) if found.as_ref().is_none_or(|f| f.etag != *expected) => {
                return Err(StoreError::Changed { store: self.name.clone(), key: key.clone(), expected: expected.clone() });
            }
            _ => {}
        }
        // the version must differ even where the clock is coarse or steps back
        let later = found.map_or(UNIX_EPOCH, |f| f.modified + Duration::from_nanos(1));
        staged.set_modified(SystemTime::now().max(later)).and_then(|()| staged.sync_all()).map_err(&io)?;
        let path = self.path(key);
        self.rename(from, &path).map_err(|e| match e.kind() {
            io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::DirectoryNotEmpty => StoreError::FolderConflict { store: self.name.clone(), key: key.clone() },
            _ => io(e),
        })?;
        meta(key, &staged.metadata().map_err(&io)?).map_err(&io)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let folder = to.parent().unwrap_or(&self.root);
        let mut attempt = 0;
        loop {
            let outcome = self.make_folders(folder).and_then(|()| fs::rename(from, to));
            attempt += 1;
            match outcome {
                Ok(()) => return sync_folder(folder),
                Err(e) if e.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS && from.exists() => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Makes the folders down to `folder`, each on disk before the next.
    fn make_folders(&self, folder: &Path) -> io::Result<()> {
        let Ok(parts) = folder.strip_prefix(&self.root) else { return Ok(()) };
        let mut path = self.root.clone();
        for part in parts {
            let parent = path.clone();
            path.push(part);
            match fs::create_dir(&path) {
                Ok(()) => sync_folder(&parent)?,
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    // a symbolic link would lead out of the store
                    match fs::symlink_metadata(&path) {
                        Ok(m) if !m.is_dir() => return Err(io::ErrorKind::NotADirectory.into()),
                        Ok(_) => {}
                        Err(e) => return Err(e),
                    }
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

impl ObjectStore for DirectoryStore {
    fn name(&self) -> &str {
        &self.inner.name
    }

    fn create(&self, key: &Key, mode: PutMode) -> Result<Box<dyn ObjectWriter>, StoreError> {
        Ok(Box::new(Writer::new(&self.inner, key, mode)?))
    }

    fn put_file(&self, key: &Key, staged: &Path, mode: PutMode) -> Result<ObjectMeta, StoreError> {
        let inner = &self.inner;
        let io = inner.io(key, "written");
        if !fs::symlink_metadata(staged).map_err(&io)?.is_file() {
            return Err(io(io::Error::other(format!("{} is not a regular file", staged.display()))));
        }
        let mut file = File::options().read(true).write(true).open(staged).map_err(&io)?;
        // the long wait for the disk comes before the lock
        file.sync_all().map_err(&io)?;
        match inner.publish(key, &mode, &file, staged) {
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::CrossesDevices => {
                let mut writer = Writer::new(inner, key, mode)?;
                io::copy(&mut file, &mut writer).map_err(&io)?;
                let meta = Box::new(writer).commit()?;
                fs::remove_file(staged).map_err(inner.io(key, "cleaned up after (its staged file)"))?;
                Ok(meta)
            }
            outcome => outcome,
        }
    }

    fn open(&self, key: &Key, range: Option<Range<u64>>) -> Result<Object, StoreError> {
        let (mut file, meta) = self.inner.open_file(key)?;
        let range = range::resolve(&self.inner.name, &meta, range)?;
        file.seek(SeekFrom::Start(range.start)).map_err(self.inner.io(key, "read"))?;
        let body = Box::new(Exact { file, left: range.end - range.start });
        Ok(Object { meta, range, body })
    }

    fn head(&self, key: &Key) -> Result<ObjectMeta, StoreError> {
        let io = self.inner.io(key, "read");
        let (_, metadata) = self.inner.find(key).map_err(&io)?.ok_or_else(|| StoreError::not_found(&self.inner.name, key))?;
        meta(key, &metadata).map_err(&io)
    }

    fn list(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<ObjectMeta>, StoreError> {
        listing::list(&self.inner.root, prefix, after, limit).map_err(|source| StoreError::io(&self.inner.name, prefix, "listed", source))
    }

    fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let io = self.inner.io(key, "deleted");
        let _lock = lock::Lock::take(&self.inner.reserved("locks"), key).map_err(self.inner.io(key, "locked"))?;
        let Some((path, _)) = self.inner.find(key).map_err(&io)? else { return Ok(()) };
        fs::remove_file(&path).map_err(&io)?;
        // folders that became empty go too, since they are no objects; one that is not empty stops it
        for folder in path.ancestors().skip(1).take_while(|f| *f != self.inner.root) {
            if fs::remove_dir(folder).is_err() {
                return sync_folder(folder).or_else(|e| if is_missing(&e) { Ok(()) } else { Err(e) }).map_err(&io);
            }
        }
        sync_folder(&self.inner.root).map_err(&io)
    }

    fn local_path(&self, key: &Key) -> Option<PathBuf> {
        self.inner.find(key).ok().flatten().map(|(path, _)| path)
    }

    fn secret(&self, name: &str) -> Result<Option<[u8; 32]>, StoreError> {
        let path = self.inner.reserved(name);
        secret::shared(&path).map(Some).map_err(|source| StoreError::Open { store: self.inner.name.clone(), source })
    }
}

/// The bytes of a range of an open file. A file cut short from outside gives an error instead of an early end.
struct Exact {
    file: File,
    left: u64,
}

impl Read for Exact {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.file.read(&mut buffer[..wanted])?;
        self.left -= read as u64;
        if read == 0 && wanted > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file was cut short while it was read"));
        }
        Ok(read)
    }
}

fn meta(key: &Key, metadata: &Metadata) -> io::Result<ObjectMeta> {
    let modified = metadata.modified()?;
    Ok(ObjectMeta { key: key.clone(), size: metadata.len(), etag: etag(modified, metadata.len()), modified })
}

/// The version of a file that was last changed at this time and has this size.
pub(crate) fn etag(modified: SystemTime, size: u64) -> String {
    let nanos = modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{nanos:x}-{size:x}")
}

fn is_missing(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Puts a folder's entries on disk.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
