//! S3's operations on one bucket, whose objects lie in a [`DirectoryStore`].

use std::path::Path;
use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};

use super::conditions::{ReadConditions, etag, key, modified, put_mode, refused};
use super::digests::Digests;
use super::listing::{self, Query};
use super::stream::{blocking, receive, send};
use super::uploads::Uploads;
use crate::{DirectoryStore, Key, Object as Opened, ObjectStore, StoreError};

/// Most entries of a page.
const PAGE: i32 = 1000;
/// What S3 calls objects whose content type it was not told.
const CONTENT_TYPE: &str = "binary/octet-stream";

#[derive(Debug, Clone)]
pub(super) struct Bucket {
    name: String,
    store: DirectoryStore,
    uploads: Arc<Uploads>,
}

impl Bucket {
    pub fn open(folder: &Path, name: &str) -> Result<Self, StoreError> {
        let store = DirectoryStore::open(folder.join(name))?;
        Ok(Self { name: name.into(), store, uploads: Arc::new(Uploads::open(folder)?) })
    }

    fn check(&self, bucket: &str) -> S3Result<()> {
        if bucket == self.name { Ok(()) } else { Err(s3_error!(NoSuchBucket)) }
    }

    /// Opens an object or a range of it, in one version.
    fn open_range(&self, key: &Key, range: Option<Range>) -> S3Result<Opened> {
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

#[async_trait::async_trait]
impl S3 for Bucket {
    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.check(&request.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn get_bucket_location(&self, request: S3Request<GetBucketLocationInput>) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.check(&request.input.bucket)?;
        Ok(S3Response::new(GetBucketLocationOutput::default()))
    }

    async fn put_object(&self, mut request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let body = request.input.body.take();
        let input = &mut request.input;
        self.check(&input.bucket)?;
        if input.metadata.as_ref().is_some_and(|metadata| !metadata.is_empty()) {
            return Err(s3_error!(NotImplemented, "metadata of users are not kept here"));
        }
        let (store, key) = (self.store.clone(), key(&input.key)?);
        let mode = put_mode(input.if_match.take(), input.if_none_match.take())?;
        let expected = Checksum {
            checksum_crc32: input.checksum_crc32.take(),
            checksum_crc32c: input.checksum_crc32c.take(),
            checksum_crc64nvme: input.checksum_crc64nvme.take(),
            checksum_sha1: input.checksum_sha1.take(),
            checksum_sha256: input.checksum_sha256.take(),
            ..Default::default()
        };
        let digests = Digests::new(&request, expected);
        let meta = receive(body, digests, move || store.create(&key, mode)).await?;
        Ok(S3Response::new(PutObjectOutput { e_tag: Some(etag(&meta)), ..Default::default() }))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        self.check(&input.bucket)?;
        let conditions = ReadConditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        let (bucket, key, range) = (self.clone(), key(&input.key)?, input.range);
        let object = blocking(move || {
            let object = bucket.open_range(&key, range)?;
            conditions.check(&object.meta)?;
            Ok(object)
        })
        .await?;
        let (meta, given) = (object.meta, object.range);
        let content_range = range.map(|_| format!("bytes {}-{}/{}", given.start, given.end.saturating_sub(1), meta.size));
        Ok(S3Response::new(GetObjectOutput {
            body: Some(send(object.body)),
            accept_ranges: Some("bytes".into()),
            content_length: Some(length(given.end - given.start)?),
            content_range,
            content_type: Some(input.response_content_type.unwrap_or_else(|| CONTENT_TYPE.into())),
            content_disposition: input.response_content_disposition,
            cache_control: input.response_cache_control,
            e_tag: Some(etag(&meta)),
            last_modified: Some(modified(&meta)),
            ..Default::default()
        }))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = request.input;
        self.check(&input.bucket)?;
        let (store, key) = (self.store.clone(), key(&input.key)?);
        let meta = blocking(move || store.head(&key).map_err(refused)).await?;
        let conditions = ReadConditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        conditions.check(&meta)?;
        Ok(S3Response::new(HeadObjectOutput {
            accept_ranges: Some("bytes".into()),
            content_length: Some(length(meta.size)?),
            content_type: Some(CONTENT_TYPE.into()),
            e_tag: Some(etag(&meta)),
            last_modified: Some(modified(&meta)),
            ..Default::default()
        }))
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = request.input;
        self.check(&input.bucket)?;
        if input.if_match.is_some() {
            return Err(s3_error!(NotImplemented, "objects are deleted without conditions here"));
        }
        let (store, key) = (self.store.clone(), key(&input.key)?);
        blocking(move || store.delete(&key).map_err(refused)).await?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn list_objects_v2(&self, request: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        self.check(&input.bucket)?;
        let max_keys = input.max_keys.unwrap_or(PAGE).clamp(0, PAGE);
        let query = Query {
            prefix: input.prefix.clone().unwrap_or_default(),
            after: input.continuation_token.clone().or(input.start_after.clone()).unwrap_or_default(),
            delimiter: input.delimiter.clone(),
            limit: usize::try_from(max_keys).unwrap_or(0),
        };
        let store = self.store.clone();
        let page = blocking(move || listing::page(&store, &query)).await?;
        let objects = page.objects.iter().map(|meta| {
            Ok(Object {
                key: Some(meta.key.to_string()),
                size: Some(length(meta.size)?),
                e_tag: Some(etag(meta)),
                last_modified: Some(modified(meta)),
                ..Default::default()
            })
        });
        let objects = objects.collect::<S3Result<Vec<_>>>()?;
        let folders: Vec<_> = page.folders.into_iter().map(|folder| CommonPrefix { prefix: Some(folder) }).collect();
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: input.prefix,
            delimiter: input.delimiter,
            start_after: input.start_after,
            continuation_token: input.continuation_token,
            max_keys: Some(max_keys),
            key_count: i32::try_from(objects.len() + folders.len()).ok(),
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next,
            contents: Some(objects),
            common_prefixes: Some(folders),
            ..Default::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = request.input;
        self.check(&input.bucket)?;
        if input.metadata.as_ref().is_some_and(|metadata| !metadata.is_empty()) {
            return Err(s3_error!(NotImplemented, "metadata of users are not kept here"));
        }
        let (uploads, target) = (Arc::clone(&self.uploads), key(&input.key)?);
        let id = blocking(move || uploads.start(&target)).await?;
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            ..Default::default()
        }))
    }

    async fn upload_part(&self, mut request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let body = request.input.body.take();
        let input = &mut request.input;
        self.check(&input.bucket)?;
        let create = self.uploads.part(&input.upload_id, input.part_number)?;
        let (uploads, id, target) = (Arc::clone(&self.uploads), input.upload_id.clone(), key(&input.key)?);
        blocking(move || uploads.find(&id, &target)).await?;
        let expected = Checksum {
            checksum_crc32: input.checksum_crc32.take(),
            checksum_crc32c: input.checksum_crc32c.take(),
            checksum_crc64nvme: input.checksum_crc64nvme.take(),
            checksum_sha1: input.checksum_sha1.take(),
            checksum_sha256: input.checksum_sha256.take(),
            ..Default::default()
        };
        let digests = Digests::new(&request, expected);
        let meta = receive(body, digests, create).await?;
        Ok(S3Response::new(UploadPartOutput { e_tag: Some(etag(&meta)), ..Default::default() }))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = request.input;
        self.check(&input.bucket)?;
        let mode = put_mode(input.if_match, input.if_none_match)?;
        let parts = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let (bucket, target) = (self.clone(), key(&input.key)?);
        let meta = blocking(move || bucket.uploads.complete(&input.upload_id, &target, &parts, &bucket.store, mode)).await?;
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(etag(&meta)),
            ..Default::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = request.input;
        self.check(&input.bucket)?;
        let (uploads, target) = (Arc::clone(&self.uploads), key(&input.key)?);
        blocking(move || {
            uploads.find(&input.upload_id, &target)?;
            uploads.remove(&input.upload_id)
        })
        .await?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let input = request.input;
        self.check(&input.bucket)?;
        if input.delimiter.is_some() || input.key_marker.is_some() || input.upload_id_marker.is_some() {
            return Err(s3_error!(NotImplemented, "uploads are listed whole here"));
        }
        let (uploads, prefix) = (Arc::clone(&self.uploads), input.prefix.clone().unwrap_or_default());
        let found = blocking(move || uploads.list()).await?;
        let found = found.into_iter().filter(|(_, key, _)| key.starts_with(&prefix)).map(|(id, key, began)| MultipartUpload {
            upload_id: Some(id),
            key: Some(key),
            initiated: Some(Timestamp::from(began)),
            ..Default::default()
        });
        Ok(S3Response::new(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            prefix: input.prefix,
            is_truncated: Some(false),
            uploads: Some(found.collect()),
            ..Default::default()
        }))
    }
}

fn length(size: u64) -> S3Result<i64> {
    i64::try_from(size).map_err(|e| s3_error!(e, InternalError))
}
