//! Bodies on their way in. s3s-fs writes them to disk, computes their checksums and refuses them where a checksum or MD5 sum is another than
//! the client sent; what it accepts is then published by a [`DirectoryStore`].
//!
//! Every body has a folder of its own, which is a file system of s3s-fs's as long as the body takes. So it does not matter that s3s-fs
//! gives its temporary files the same names in every process, that it renames an object before it compares, and that it keeps etags
//! and metadata in files beside the object: nobody looks there, and all but the object goes with the folder.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use http::{Extensions, HeaderMap, Method, Uri};
use s3s::dto::{Checksum, PutObjectInput, PutObjectOutput, StreamingBlob};
use s3s::{Body, S3, S3Error, S3ErrorCode, S3Request, S3Result, TrailingHeaders, s3_error};
use s3s_fs::FileSystem;
use tokio_stream::StreamExt;

use super::conditions::refused;
use super::stream::blocking;
use crate::directory::StagingFolder;
use crate::{DirectoryStore, Key, ObjectMeta, ObjectStore, PutMode};

/// What the one bucket of a [`Room`] is called.
pub(super) const BUCKET: &str = "received";
/// What the one object in it is called.
pub(super) const OBJECT: &str = "object";

/// A body, and what the client says of it.
pub(super) struct Incoming {
    body: StreamingBlob,
    content_md5: Option<String>,
    checksums: Checksum,
    trailers: Option<TrailingHeaders>,
}

impl Incoming {
    /// What `request` brings; no body is an empty one. `checksums` are those of its headers; others may be announced in
    /// `x-amz-trailer` and follow the body.
    pub fn new<T>(request: &S3Request<T>, body: Option<StreamingBlob>, content_md5: Option<String>, mut checksums: Checksum) -> Self {
        let announced = request.headers.get("x-amz-trailer").and_then(|names| names.to_str().ok()).unwrap_or_default();
        for name in announced.split(',').map(|name| name.trim().to_ascii_lowercase()) {
            let sum = match name.as_str() {
                "x-amz-checksum-crc32" => &mut checksums.checksum_crc32,
                "x-amz-checksum-crc32c" => &mut checksums.checksum_crc32c,
                "x-amz-checksum-crc64nvme" => &mut checksums.checksum_crc64nvme,
                "x-amz-checksum-sha1" => &mut checksums.checksum_sha1,
                "x-amz-checksum-sha256" => &mut checksums.checksum_sha256,
                _ => continue,
            };
            // makes s3s-fs compute it; no body's sum is empty, so that one which never comes is a wrong one
            sum.get_or_insert_default();
        }
        let body = body.unwrap_or_else(|| StreamingBlob::from(Body::empty()));
        Self { body, content_md5, checksums, trailers: request.trailing_headers.clone() }
    }

    /// Bytes of our own.
    pub fn copied(body: StreamingBlob) -> Self {
        Self { body, content_md5: None, checksums: Checksum::default(), trailers: None }
    }
}

/// A folder where s3s-fs does one thing. It goes when dropped, or with the next start where the process is killed.
pub(super) struct Room {
    pub folder: StagingFolder,
    pub files: FileSystem,
}

impl Room {
    /// In the staging area of `store`, where what becomes an object of `store` can be renamed to it.
    pub async fn open(store: &DirectoryStore) -> S3Result<Self> {
        let store = store.clone();
        blocking(move || {
            let folder = store.staging_folder().map_err(refused)?;
            let files = FileSystem::new(folder.path())?;
            Ok(Self { folder, files })
        })
        .await
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where s3s-fs has put the object.
    fn object(&self) -> PathBuf {
        self.path().join(BUCKET).join(OBJECT)
    }

    /// Makes the object one of `store`: on disk first, then renamed under the key's lock if the condition holds.
    pub fn publish(&self, store: &DirectoryStore, key: &Key, mode: PutMode) -> S3Result<ObjectMeta> {
        let object = self.object();
        // as the directory store makes its files, whatever the umask is
        fs::set_permissions(&object, Permissions::from_mode(0o600)).map_err(S3Error::internal_error)?;
        store.put_file(key, &object, mode).map_err(refused)
    }
}

/// A request to s3s-fs. It does not tell who asks, and how: s3s-fs's spans hold requests whole, and an upload may go on under another
/// access key than it began with.
pub(super) fn asked<T>(input: T) -> S3Request<T> {
    S3Request {
        input,
        method: Method::PUT,
        uri: Uri::default(),
        headers: HeaderMap::new(),
        extensions: Extensions::new(),
        credentials: None,
        region: None,
        service: None,
        trailing_headers: None,
    }
}

/// What s3s-fs could not do; where that is no fault of the client's, the log has it.
pub(super) fn failed(error: S3Error) -> S3Error {
    if matches!(error.code(), S3ErrorCode::InternalError) {
        tracing::error!(%error, "s3s-fs failed in the embedded server's folder");
    }
    error
}

/// Receives a body whole, and as its sender meant it. Nothing is left where the client breaks off.
pub(super) async fn receive(store: &DirectoryStore, incoming: Incoming) -> S3Result<(Room, PutObjectOutput)> {
    let room = Room::open(store).await?;
    let broken = Arc::new(OnceLock::new());
    let noted = Arc::clone(&broken);
    let body = incoming.body.map(move |chunk| {
        chunk.map_err(|e| {
            // there is no second error: the first one ends the body
            let _ = noted.set(e.to_string());
            std::io::Error::other(e)
        })
    });
    let sums = incoming.checksums;
    let mut request = asked(PutObjectInput {
        bucket: BUCKET.into(),
        key: OBJECT.into(),
        body: Some(StreamingBlob::wrap(body)),
        content_md5: incoming.content_md5,
        checksum_crc32: sums.checksum_crc32,
        checksum_crc32c: sums.checksum_crc32c,
        checksum_crc64nvme: sums.checksum_crc64nvme,
        checksum_sha1: sums.checksum_sha1,
        checksum_sha256: sums.checksum_sha256,
        ..Default::default()
    });
    request.trailing_headers = incoming.trailers;
    match room.files.put_object(request).await {
        Ok(answer) => Ok((room, answer.output)),
        Err(error) => Err(match broken.get() {
            Some(reason) => s3_error!(IncompleteBody, "the body broke off: {reason}"),
            None => failed(error),
        }),
    }
}
