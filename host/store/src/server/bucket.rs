//! The one bucket of a server, and what its operations share.

use std::path::Path;
use std::sync::Arc;

use s3s::dto::{CopySource, Range};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};
use s3s_fs::FileSystem;

use super::conditions::{ReadConditions, key, refused};
use super::reception::Incoming;
use super::stream::{blocking, send};
use super::uploads::Uploads;
use crate::{DirectoryStore, Key, Object, ObjectStore, StoreError};

#[derive(Debug, Clone)]
pub(super) struct Bucket {
    pub name: String,
    pub store: DirectoryStore,
    pub uploads: Uploads,
    /// The folder that the bucket is in, as s3s-fs sees it. Not for objects: their etags would be others.
    pub outside: Arc<FileSystem>,
}

impl Bucket {
    pub fn open(folder: &Path, name: &str) -> Result<Self, StoreError> {
        let store = DirectoryStore::open(folder.join(name))?;
        let outside = FileSystem::new(folder).map_err(|e| StoreError::Open {
            store: format!("embedded server for {}", folder.display()),
            source: std::io::Error::other(S3Error::from(e)),
        })?;
        Ok(Self { name: name.into(), store, uploads: Uploads::open(folder)?, outside: Arc::new(outside) })
    }

    /// Refuses requests for other buckets.
    pub fn check(&self, bucket: &str) -> S3Result<()> {
        if bucket == self.name { Ok(()) } else { Err(s3_error!(NoSuchBucket)) }
    }

    /// An object that is to be copied, or a range of it.
    pub async fn source(&self, source: CopySource, conditions: ReadConditions, range: Option<Range>) -> S3Result<Incoming> {
        let CopySource::Bucket { bucket, key: name, version_id: None } = source else {
            return Err(s3_error!(NotImplemented, "objects are copied by bucket and key here"));
        };
        self.check(&bucket)?;
        let (bucket, key) = (self.clone(), key(&name)?);
        let object = blocking(move || {
            let object = bucket.open_range(&key, range)?;
            conditions.check(&object.meta).map_err(|e| match e.code() {
                // there is no older copy to be content with
                S3ErrorCode::NotModified => s3_error!(PreconditionFailed),
                _ => e,
            })?;
            Ok(object)
        })
        .await?;
        Ok(Incoming::copied(send(object.body)))
    }

    /// Opens an object or a range of it, in one version.
    pub fn open_range(&self, key: &Key, range: Option<Range>) -> S3Result<Object> {
        let open = |range| self.store.open(key, range).map_err(refused);
        match range {
            None => open(None),
            Some(Range::Int { first, last }) => open(Some(first..last.map_or(u64::MAX, |last| last.saturating_add(1)))),
            Some(Range::Suffix { length }) => loop {
                let meta = self.store.head(key).map_err(refused)?;
                let object = open(Some(meta.size.saturating_sub(length)..meta.size))?;
                if object.meta.etag == meta.etag {
                    return Ok(object);
                }
            },
        }
    }
}
