//! Conditions on requests, and what errors of stores are called in S3.

use s3s::dto::{ETag, ETagCondition, Timestamp};
use s3s::{S3Error, S3Result, s3_error};

use crate::{Key, ObjectMeta, PutMode, StoreError};

/// When a reading request is answered with the object.
#[derive(Default)]
pub(super) struct ReadConditions {
    pub if_match: Option<ETagCondition>,
    pub if_none_match: Option<ETagCondition>,
    pub if_modified_since: Option<Timestamp>,
    pub if_unmodified_since: Option<Timestamp>,
}

impl ReadConditions {
    /// RFC 9110, section 13.2.2: etags go before times.
    pub fn check(&self, meta: &ObjectMeta) -> S3Result<()> {
        // times in headers have no fractions
        let modified = Timestamp::from(whole_seconds(meta));
        if let Some(condition) = &self.if_match {
            if !matches(condition, meta) {
                return Err(s3_error!(PreconditionFailed));
            }
        } else if self.if_unmodified_since.as_ref().is_some_and(|since| modified > *since) {
            return Err(s3_error!(PreconditionFailed));
        }
        if let Some(condition) = &self.if_none_match {
            if matches(condition, meta) {
                return Err(s3_error!(NotModified));
            }
        } else if self.if_modified_since.as_ref().is_some_and(|since| modified <= *since) {
            return Err(s3_error!(NotModified));
        }
        Ok(())
    }
}

fn matches(condition: &ETagCondition, meta: &ObjectMeta) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(etag) => etag.value() == meta.etag,
    }
}

fn whole_seconds(meta: &ObjectMeta) -> std::time::SystemTime {
    let since = meta.modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    std::time::UNIX_EPOCH + std::time::Duration::from_secs(since.as_secs())
}

pub(super) fn put_mode(if_match: Option<ETagCondition>, if_none_match: Option<ETagCondition>) -> S3Result<PutMode> {
    match (if_match, if_none_match) {
        (None, None) => Ok(PutMode::Overwrite),
        (None, Some(ETagCondition::Any)) => Ok(PutMode::Create),
        (Some(ETagCondition::ETag(etag)), None) => Ok(PutMode::Update(etag.into_value())),
        _ => Err(s3_error!(NotImplemented, "a put knows If-None-Match: * or If-Match with one etag, not both")),
    }
}

pub(super) fn etag(meta: &ObjectMeta) -> ETag {
    ETag::Strong(meta.etag.clone())
}

pub(super) fn modified(meta: &ObjectMeta) -> Timestamp {
    Timestamp::from(meta.modified)
}

pub(super) fn key(text: &str) -> S3Result<Key> {
    Key::new(text).map_err(|e| s3_error!(InvalidArgument, "{e}"))
}

pub(super) fn refused(error: StoreError) -> S3Error {
    match error {
        StoreError::NotFound { .. } => s3_error!(NoSuchKey),
        StoreError::AlreadyExists { .. } | StoreError::Changed { .. } => s3_error!(PreconditionFailed, "{error}"),
        StoreError::Range { .. } => s3_error!(InvalidRange),
        StoreError::FolderConflict { .. } => s3_error!(InvalidRequest, "{error}"),
        error => {
            tracing::error!(%error, "the embedded server's folder failed");
            s3_error!(InternalError)
        }
    }
}
