//! S3's operations on one bucket: s3s-fs receives what comes (`reception`, `uploads`), a [`crate::DirectoryStore`] publishes and gives it.

use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};

use super::bucket::Bucket;
use super::conditions::{ReadConditions, etag, key, modified, put_mode, refused};
use super::listing::{self, Query};
use super::reception::{Incoming, asked, failed, receive};
use super::stream::{blocking, send};
use crate::{ObjectStore, PutMode};

/// Most entries of a page.
const PAGE: i32 = 1000;
/// What S3 calls objects whose content type it was not told.
const CONTENT_TYPE: &str = "binary/octet-stream";

#[async_trait::async_trait]
impl S3 for Bucket {
    async fn list_buckets(&self, _: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
        let mut answer = self.outside.list_buckets(asked(ListBucketsInput::default())).await.map_err(failed)?;
        // other folders there are nobody's business
        answer.output.buckets.get_or_insert_default().retain(|bucket| bucket.name.as_ref() == Some(&self.name));
        Ok(answer)
    }

    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.check(&request.input.bucket)?;
        self.outside.head_bucket(asked(request.input)).await.map_err(failed)
    }

    async fn get_bucket_location(&self, request: S3Request<GetBucketLocationInput>) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.check(&request.input.bucket)?;
        self.outside.get_bucket_location(asked(request.input)).await.map_err(failed)
    }

    async fn put_object(&self, mut request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let (body, content_md5) = (request.input.body.take(), request.input.content_md5.take());
        let input = &mut request.input;
        self.check(&input.bucket)?;
        without_metadata(input.metadata.as_ref())?;
        let (store, key) = (self.store.clone(), key(&input.key)?);
        let mode = put_mode(input.if_match.take(), input.if_none_match.take())?;
        let checksums = Checksum {
            checksum_crc32: input.checksum_crc32.take(),
            checksum_crc32c: input.checksum_crc32c.take(),
            checksum_crc64nvme: input.checksum_crc64nvme.take(),
            checksum_sha1: input.checksum_sha1.take(),
            checksum_sha256: input.checksum_sha256.take(),
            ..Default::default()
        };
        let (room, output) = receive(&self.store, Incoming::new(&request, body, content_md5, checksums)).await?;
        let meta = blocking(move || room.publish(&store, &key, mode)).await?;
        Ok(S3Response::new(PutObjectOutput { e_tag: Some(etag(&meta)), ..output }))
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let input = request.input;
        self.check(&input.bucket)?;
        without_metadata(input.metadata.as_ref())?;
        let (store, key) = (self.store.clone(), key(&input.key)?);
        let conditions = ReadConditions {
            if_match: input.copy_source_if_match,
            if_none_match: input.copy_source_if_none_match,
            if_modified_since: input.copy_source_if_modified_since,
            if_unmodified_since: input.copy_source_if_unmodified_since,
        };
        let source = self.source(input.copy_source, conditions, None).await?;
        let (room, _) = receive(&self.store, source).await?;
        let meta = blocking(move || room.publish(&store, &key, PutMode::Overwrite)).await?;
        let result = CopyObjectResult { e_tag: Some(etag(&meta)), last_modified: Some(modified(&meta)), ..Default::default() };
        Ok(S3Response::new(CopyObjectOutput { copy_object_result: Some(result), ..Default::default() }))
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

    async fn delete_objects(&self, request: S3Request<DeleteObjectsInput>) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let input = request.input;
        self.check(&input.bucket)?;
        if input.delete.objects.iter().any(|object| object.e_tag.is_some() || object.version_id.is_some()) {
            return Err(s3_error!(NotImplemented, "objects are deleted by key and without conditions here"));
        }
        let (store, quiet) = (self.store.clone(), input.delete.quiet.unwrap_or(false));
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        let outcomes = blocking(move || {
            let delete = |name: &str| store.delete(&key(name)?).map_err(refused);
            Ok(input.delete.objects.into_iter().map(|object| (delete(&object.key), object.key)).collect::<Vec<_>>())
        });
        for (outcome, key) in outcomes.await? {
            match outcome {
                Ok(()) if quiet => {}
                Ok(()) => deleted.push(DeletedObject { key: Some(key), ..Default::default() }),
                Err(e) => errors.push(Error {
                    key: Some(key),
                    code: Some(e.code().as_str().into()),
                    message: e.message().map(Into::into),
                    ..Default::default()
                }),
            }
        }
        Ok(S3Response::new(DeleteObjectsOutput { deleted: Some(deleted), errors: Some(errors), ..Default::default() }))
    }

    async fn list_objects(&self, request: S3Request<ListObjectsInput>) -> S3Result<S3Response<ListObjectsOutput>> {
        let marker = request.input.marker.clone();
        let answer = self.list_objects_v2(request.map_input(Into::into)).await?;
        Ok(answer.map_output(|page| ListObjectsOutput {
            name: page.name,
            prefix: page.prefix,
            delimiter: page.delimiter,
            marker: Some(marker.unwrap_or_default()),
            max_keys: page.max_keys,
            is_truncated: page.is_truncated,
            next_marker: page.next_continuation_token,
            contents: page.contents,
            common_prefixes: page.common_prefixes,
            ..Default::default()
        }))
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
        without_metadata(input.metadata.as_ref())?;
        let id = self.uploads.start(&key(&input.key)?).await?;
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            ..Default::default()
        }))
    }

    async fn upload_part(&self, mut request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let (body, content_md5) = (request.input.body.take(), request.input.content_md5.take());
        let input = &mut request.input;
        self.check(&input.bucket)?;
        let (id, number, target) = (input.upload_id.clone(), input.part_number, key(&input.key)?);
        let checksums = Checksum {
            checksum_crc32: input.checksum_crc32.take(),
            checksum_crc32c: input.checksum_crc32c.take(),
            checksum_crc64nvme: input.checksum_crc64nvme.take(),
            checksum_sha1: input.checksum_sha1.take(),
            checksum_sha256: input.checksum_sha256.take(),
            ..Default::default()
        };
        let incoming = Incoming::new(&request, body, content_md5, checksums);
        let (meta, received) = self.uploads.part(&id, &target, number, incoming).await?;
        Ok(S3Response::new(UploadPartOutput {
            e_tag: Some(etag(&meta)),
            checksum_crc32: received.checksum_crc32,
            checksum_crc32c: received.checksum_crc32c,
            checksum_crc64nvme: received.checksum_crc64nvme,
            checksum_sha1: received.checksum_sha1,
            checksum_sha256: received.checksum_sha256,
            ..Default::default()
        }))
    }

    async fn upload_part_copy(&self, request: S3Request<UploadPartCopyInput>) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let input = request.input;
        self.check(&input.bucket)?;
        let target = key(&input.key)?;
        let range = input.copy_source_range.as_deref().map(Range::parse).transpose();
        let range = range.map_err(|_| s3_error!(InvalidArgument, "the range to copy is no range of bytes"))?;
        let conditions = ReadConditions {
            if_match: input.copy_source_if_match,
            if_none_match: input.copy_source_if_none_match,
            if_modified_since: input.copy_source_if_modified_since,
            if_unmodified_since: input.copy_source_if_unmodified_since,
        };
        let source = self.source(input.copy_source, conditions, range).await?;
        let (meta, _) = self.uploads.part(&input.upload_id, &target, input.part_number, source).await?;
        let result = CopyPartResult { e_tag: Some(etag(&meta)), last_modified: Some(modified(&meta)), ..Default::default() };
        Ok(S3Response::new(UploadPartCopyOutput { copy_part_result: Some(result), ..Default::default() }))
    }

    async fn list_parts(&self, request: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        let input = request.input;
        self.check(&input.bucket)?;
        let limit = input.max_parts.unwrap_or(PAGE).clamp(0, PAGE);
        let after = input.part_number_marker.unwrap_or(0);
        let (parts, more) = self.uploads.parts(&input.upload_id, &key(&input.key)?, after, usize::try_from(limit).unwrap_or(0)).await?;
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            max_parts: Some(limit),
            part_number_marker: Some(after),
            is_truncated: Some(more),
            next_part_number_marker: parts.last().and_then(|part| part.part_number),
            parts: Some(parts),
            ..Default::default()
        }))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = request.input;
        self.check(&input.bucket)?;
        let mode = put_mode(input.if_match, input.if_none_match)?;
        let parts = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let meta = self.uploads.complete(&input.upload_id, &key(&input.key)?, parts, &self.store, mode).await?;
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
        self.uploads.abort(&input.upload_id, &key(&input.key)?).await?;
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
        let (uploads, prefix) = (self.uploads.clone(), input.prefix.clone().unwrap_or_default());
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

/// Refuses what would be lost.
fn without_metadata(metadata: Option<&Metadata>) -> S3Result<()> {
    if metadata.is_some_and(|metadata| !metadata.is_empty()) {
        return Err(s3_error!(NotImplemented, "metadata of users are not kept here"));
    }
    Ok(())
}

fn length(size: u64) -> S3Result<i64> {
    i64::try_from(size).map_err(|e| s3_error!(e, InternalError))
}
