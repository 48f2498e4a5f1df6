//! Objects in a bucket of S3, or of any server that speaks its protocol.
//!
//! Conditional puts rest on the server's own `If-None-Match: *` and `If-Match`, which S3 and most of its kin check atomically; nothing
//! is locked on this side. One ambiguity is S3's: where the answer to a conditional put is lost on the way, the repetition finds the
//! condition broken by the first attempt, and [`StoreError::AlreadyExists`] or [`StoreError::Changed`] is reported for a put that
//! did happen.

mod config;
mod connection;
mod fault;
mod presign;
mod reader;
mod writer;

use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_sdk_s3::types::Object as Listed;

pub use config::S3Config;
pub use presign::UploadedPart;

use self::connection::{Connection, modified, size_of, unquoted};
use self::fault::Fault;
use crate::{Key, Object, ObjectMeta, ObjectStore, ObjectWriter, PutMode, StoreError};

/// Objects that one listing request asks for: the most S3 gives.
const PAGE: usize = 1000;
/// Bytes read from a staged file at a time.
const COPY: usize = 256 * 1024;

/// Objects in a bucket, below a prefix that its keys do not show.
///
/// Clones share one connection pool and one small executor of its own (two threads named `halfpipe-s3`), on which every call waits.
///
/// # Panics
/// Calls block: on a thread that drives an async executor they panic. Make them from a thread of their own or a blocking pool.
#[derive(Debug, Clone)]
pub struct S3Store {
    link: Arc<Connection>,
}

impl S3Store {
    /// Connects, and asks the server whether the bucket exists and may be used.
    ///
    /// # Errors
    /// [`StoreError::Settings`] where the settings do not fit together or no region or credentials are found, [`StoreError::NoBucket`],
    /// [`StoreError::Denied`] and [`StoreError::Unavailable`] as the server answers, [`StoreError::Open`] where no thread starts.
    pub fn connect(config: S3Config) -> Result<Self, StoreError> {
        Ok(Self { link: Arc::new(Connection::open(config)?) })
    }

    /// One request of [`ObjectStore::list`].
    fn page(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<(Vec<Listed>, bool), StoreError> {
        let link = &self.link;
        let request = link
            .client
            .list_objects_v2()
            .bucket(&link.bucket)
            .prefix(link.full(prefix))
            .set_start_after(after.map(|key| link.full(key)))
            .max_keys(i32::try_from(limit.min(PAGE)).unwrap_or(i32::MAX));
        let page = link.wait(request.send()).map_err(|e| link.failed(prefix, "listed", Fault::of(e)))?;
        let more = page.is_truncated().unwrap_or(false);
        Ok((page.contents.unwrap_or_default(), more))
    }

    /// What a listing says of an object; None where the bucket holds what cannot be an object here, such as the marker of a folder.
    fn listed(&self, object: &Listed) -> Option<ObjectMeta> {
        let name = object.key()?.strip_prefix(&self.link.prefix)?;
        let Ok(key) = Key::new(name) else {
            tracing::debug!(store = %self.link.name, name, "listing leaves out what is no object key");
            return None;
        };
        let etag = unquoted(object.e_tag()?);
        Some(ObjectMeta { key, size: size_of(object.size()), etag, modified: modified(object.last_modified()) })
    }
}

impl ObjectStore for S3Store {
    fn name(&self) -> &str {
        &self.link.name
    }

    fn create(&self, key: &Key, mode: PutMode) -> Result<Box<dyn ObjectWriter>, StoreError> {
        Ok(Box::new(writer::Writer::new(&self.link, key, mode)))
    }

    fn put_file(&self, key: &Key, staged: &Path, mode: PutMode) -> Result<ObjectMeta, StoreError> {
        let failed = |source| StoreError::io(&self.link.name, key, "written", source);
        let mut file = File::open(staged).map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, format!("{} is no regular file", staged.display()))));
        }
        let mut writer = writer::Writer::new(&self.link, key, mode);
        let mut buffer = vec![0; COPY];
        loop {
            let n = io::Read::read(&mut file, &mut buffer).map_err(failed)?;
            if n == 0 {
                break;
            }
            writer.write_all(&buffer[..n]).map_err(failed)?;
        }
        let meta = Box::new(writer).commit()?;
        // the object is there, so a file that cannot be removed is no failure of the put
        if let Err(error) = fs::remove_file(staged) {
            tracing::warn!(path = %staged.display(), %error, "a file that was put into a store could not be removed");
        }
        Ok(meta)
    }

    fn open(&self, key: &Key, range: Option<Range<u64>>) -> Result<Object, StoreError> {
        reader::open(&self.link, key, range)
    }

    fn head(&self, key: &Key) -> Result<ObjectMeta, StoreError> {
        self.link.head(key)
    }

    fn list(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<ObjectMeta>, StoreError> {
        let mut found = Vec::new();
        let mut after = after.map(ToString::to_string);
        while found.len() < limit {
            let (page, more) = self.page(prefix, after.as_deref(), limit - found.len())?;
            found.extend(page.iter().filter_map(|object| self.listed(object)));
            after = page.last().and_then(Listed::key).and_then(|key| key.strip_prefix(&self.link.prefix)).map(ToString::to_string);
            if !more || after.is_none() {
                break;
            }
        }
        Ok(found)
    }

    fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let link = &self.link;
        match link.wait(link.client.delete_object().bucket(&link.bucket).key(link.full(key.as_str())).send()).map_err(Fault::of) {
            Ok(_) | Err(Fault::NoObject) => Ok(()),
            Err(fault) => Err(link.failed(key.as_str(), "deleted", fault)),
        }
    }

    fn local_path(&self, _: &Key) -> Option<PathBuf> {
        None
    }
}
