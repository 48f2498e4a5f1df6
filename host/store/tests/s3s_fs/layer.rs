//! What s3s-fs lacks of the promises of `ObjectStore`, put over it: puts of one key one after the other, so that their conditions hold
//! and content and etag belong together; etags in listings; keys that its metadata files' names have no room for; conditions on
//! reading. All else is s3s-fs's.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use s3s::crypto::{Checksum as _, Sha256};
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use tokio::sync::RwLock;

/// Longest key that s3s-fs is given as it is, bytes: the name of its file about an upload holds the key in base64 and 85 bytes more.
const PLAIN: usize = 100;
/// Where longer keys lie, under their digests.
const LONG: &str = ".long/";
/// What such an object's metadata call its key.
const NAME: &str = "layer-key";
/// Most entries of a page.
const PAGE: i32 = 1000;

/// s3s-fs, with what it lacks.
pub struct Layer {
    files: FileSystem,
    /// One for each key that was ever put; a server of tests ends before they are many.
    locks: Mutex<HashMap<String, Arc<RwLock<()>>>>,
}

impl Layer {
    /// Over a folder that has the buckets as folders.
    pub fn new(root: &Path) -> Self {
        Self { files: FileSystem::new(root).expect("s3s-fs opens the folder"), locks: Mutex::default() }
    }

    fn lock(&self, key: &str) -> Arc<RwLock<()>> {
        Arc::clone(self.locks.lock().unwrap_or_else(PoisonError::into_inner).entry(key.into()).or_default())
    }

    /// What s3s-fs says of an object, content and etag of one version, and its key.
    async fn known<T>(&self, request: &S3Request<T>, bucket: &str, stored: &str) -> S3Result<HeadObjectOutput> {
        let lock = self.lock(stored);
        let _held = lock.read().await;
        let input = HeadObjectInput { bucket: bucket.into(), key: stored.into(), ..Default::default() };
        Ok(self.files.head_object(asked(request, input)).await?.output)
    }
}

/// The key that s3s-fs stores an object under.
fn stored(key: &str) -> S3Result<String> {
    if key.starts_with(LONG) {
        return Err(s3_error!(InvalidArgument, "keys do not begin with {LONG} here"));
    }
    if key.len() <= PLAIN {
        return Ok(key.into());
    }
    let digest = Sha256::checksum(key.as_bytes());
    Ok(digest.iter().fold(LONG.to_string(), |name, byte| format!("{name}{byte:02x}")))
}

/// Metadata that also tell a long key.
fn named(metadata: Option<Metadata>, key: &str) -> Option<Metadata> {
    if key.len() <= PLAIN {
        return metadata;
    }
    let mut metadata = metadata.unwrap_or_default();
    metadata.insert(NAME.into(), key.into());
    Some(metadata)
}

/// The same request with another input.
fn asked<T, U>(request: &S3Request<T>, input: U) -> S3Request<U> {
    S3Request {
        input,
        method: request.method.clone(),
        uri: request.uri.clone(),
        headers: request.headers.clone(),
        extensions: request.extensions.clone(),
        credentials: request.credentials.clone(),
        region: request.region.clone(),
        service: request.service.clone(),
        trailing_headers: request.trailing_headers.clone(),
    }
}

/// s3s-fs looks at the conditions of puts only.
fn conditions(etag: Option<&ETag>, if_match: Option<&ETagCondition>, if_none_match: Option<&ETagCondition>) -> S3Result<()> {
    let is = |condition: &ETagCondition| match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(expected) => etag == Some(expected),
    };
    if if_match.is_some_and(|condition| !is(condition)) {
        return Err(s3_error!(PreconditionFailed));
    }
    if if_none_match.is_some_and(is) {
        return Err(s3_error!(NotModified));
    }
    Ok(())
}

#[async_trait::async_trait]
impl S3 for Layer {
    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.files.head_bucket(request).await
    }

    async fn put_object(&self, mut request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = &mut request.input;
        let key = stored(&input.key)?;
        input.metadata = named(input.metadata.take(), &input.key);
        input.body.get_or_insert_with(|| StreamingBlob::wrap(futures::stream::empty::<std::io::Result<bytes::Bytes>>()));
        let lock = self.lock(&key);
        input.key = key;
        let _held = lock.write().await;
        self.files.put_object(request).await
    }

    async fn get_object(&self, mut request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let (if_match, if_none_match) = (request.input.if_match.take(), request.input.if_none_match.take());
        request.input.key = stored(&request.input.key)?;
        let lock = self.lock(&request.input.key);
        let _held = lock.read().await;
        let mut answer = self.files.get_object(request).await?;
        conditions(answer.output.e_tag.as_ref(), if_match.as_ref(), if_none_match.as_ref())?;
        answer.output.metadata = None;
        // of an object that was put in parts over another one s3s-fs tells the former one's checksums
        answer.output.checksum_crc32 = None;
        answer.output.checksum_crc32c = None;
        answer.output.checksum_crc64nvme = None;
        answer.output.checksum_sha1 = None;
        answer.output.checksum_sha256 = None;
        Ok(answer)
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let mut known = self.known(&request, &request.input.bucket, &stored(&request.input.key)?).await?;
        conditions(known.e_tag.as_ref(), request.input.if_match.as_ref(), request.input.if_none_match.as_ref())?;
        known.metadata = None;
        Ok(S3Response::new(known))
    }

    async fn delete_object(&self, mut request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        request.input.key = stored(&request.input.key)?;
        let lock = self.lock(&request.input.key);
        let _held = lock.write().await;
        self.files.delete_object(request).await
    }

    async fn list_objects_v2(&self, request: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = &request.input;
        if input.delimiter.is_some() {
            return Err(s3_error!(NotImplemented, "keys are listed without a delimiter here"));
        }
        let whole = ListObjectsV2Input { bucket: input.bucket.clone(), max_keys: Some(i32::MAX), ..Default::default() };
        let whole = self.files.list_objects_v2(asked(&request, whole)).await?.output.contents.unwrap_or_default();
        let (prefix, limit) = (input.prefix.clone().unwrap_or_default(), input.max_keys.unwrap_or(PAGE).clamp(0, PAGE));
        let after = input.continuation_token.clone().or(input.start_after.clone()).unwrap_or_default();
        let mut names = BTreeMap::new();
        for at in whole.into_iter().filter_map(|object| object.key) {
            let key = if at.starts_with(LONG) {
                let metadata = self.known(&request, &input.bucket, &at).await.ok().and_then(|known| known.metadata);
                metadata.and_then(|mut metadata| metadata.remove(NAME))
            } else {
                Some(at.clone())
            };
            names.extend(key.filter(|key| key.starts_with(&prefix) && *key > after).map(|key| (key, at)));
        }
        let more = names.len() > limit as usize;
        let (mut contents, mut last) = (Vec::new(), None);
        for (key, at) in names.into_iter().take(limit as usize) {
            last = Some(key.clone());
            // what was deleted meanwhile is left out
            if let Ok(known) = self.known(&request, &input.bucket, &at).await {
                let (e_tag, size, last_modified) = (known.e_tag, known.content_length, known.last_modified);
                contents.push(Object { key: Some(key), e_tag, size, last_modified, ..Default::default() });
            }
        }
        Ok(S3Response::new(ListObjectsV2Output {
            key_count: i32::try_from(contents.len()).ok(),
            max_keys: Some(limit),
            is_truncated: Some(more),
            next_continuation_token: last.filter(|_| more),
            contents: Some(contents),
            name: Some(input.bucket.clone()),
            prefix: input.prefix.clone(),
            ..Default::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        mut request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = &mut request.input;
        input.metadata = named(input.metadata.take(), &input.key);
        let at = stored(&input.key)?;
        let key = std::mem::replace(&mut input.key, at);
        let mut answer = self.files.create_multipart_upload(request).await?;
        answer.output.key = Some(key);
        Ok(answer)
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        self.files.upload_part(request).await
    }

    async fn complete_multipart_upload(
        &self,
        mut request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        request.input.key = stored(&request.input.key)?;
        let lock = self.lock(&request.input.key);
        let _held = lock.write().await;
        self.files.complete_multipart_upload(request).await
    }

    async fn abort_multipart_upload(
        &self,
        mut request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        request.input.key = stored(&request.input.key)?;
        self.files.abort_multipart_upload(request).await
    }
}
