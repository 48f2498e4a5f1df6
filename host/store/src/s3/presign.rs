//! Addresses that let a client put or get one object for a while without credentials.

use std::time::Duration;

use aws_sdk_s3::presigning::{PresignedRequest, PresigningConfig};
use aws_sdk_s3::types::CompletedPart;

use super::S3Store;
use super::connection::quoted;
use super::fault::Fault;
use super::writer;
use crate::{Key, ObjectMeta, StoreError};

/// Parts that an upload may have.
const MAX_PARTS: u16 = 10_000;

/// A part that a client has uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadedPart {
    /// Its number, 1 to 10,000.
    pub number: u16,
    /// The `ETag` header that the server answered with.
    pub etag: String,
}

impl S3Store {
    /// An address that an object can be put to with a plain HTTP PUT within `expires` (at most seven days). With a `content_type`
    /// the client has to send that as its `Content-Type` header.
    ///
    /// # Errors
    /// [`StoreError::Settings`] where `expires` is zero or too long, [`StoreError::Denied`] where there are no credentials.
    pub fn presign_put(&self, key: &Key, expires: Duration, content_type: Option<&str>) -> Result<String, StoreError> {
        let link = &self.link;
        let request = link.client.put_object().bucket(&link.bucket).key(link.full(key.as_str()));
        let request = request.set_content_type(content_type.map(Into::into));
        let signed = link.wait(request.presigned(self.expiry(expires)?));
        self.address(key, signed.map_err(Fault::of))
    }

    /// An address that an object can be got from with a plain HTTP GET within `expires` (at most seven days). Whether there is such
    /// an object is found out then.
    ///
    /// # Errors
    /// As [`S3Store::presign_put`].
    pub fn presign_get(&self, key: &Key, expires: Duration) -> Result<String, StoreError> {
        let link = &self.link;
        let request = link.client.get_object().bucket(&link.bucket).key(link.full(key.as_str()));
        let signed = link.wait(request.presigned(self.expiry(expires)?));
        self.address(key, signed.map_err(Fault::of))
    }

    /// Starts an upload in parts that clients send to [`S3Store::presign_part`]; gives its id. It costs until it is completed or
    /// aborted.
    ///
    /// # Errors
    /// [`StoreError::Denied`], [`StoreError::Unavailable`] and others as the server answers.
    pub fn start_multipart(&self, key: &Key) -> Result<String, StoreError> {
        writer::start(&self.link, key)
    }

    /// An address that one part can be put to with a plain HTTP PUT within `expires`. Every part but the last has at least 5 MiB;
    /// the `ETag` of the answer is needed to complete the upload.
    ///
    /// # Errors
    /// As [`S3Store::presign_put`]; [`StoreError::Settings`] where `number` is not within 1 to 10,000.
    pub fn presign_part(&self, key: &Key, upload: &str, number: u16, expires: Duration) -> Result<String, StoreError> {
        if !(1..=MAX_PARTS).contains(&number) {
            return Err(self.settings(format!("part {number} of an upload cannot be; number them from 1 to {MAX_PARTS}")));
        }
        let link = &self.link;
        let request = link.client.upload_part().bucket(&link.bucket).key(link.full(key.as_str())).upload_id(upload);
        let signed = link.wait(request.part_number(number.into()).presigned(self.expiry(expires)?));
        self.address(key, signed.map_err(Fault::of))
    }

    /// Makes an object out of the parts of an upload, given in ascending order.
    ///
    /// # Errors
    /// [`StoreError::Settings`] where there are no parts or their order is wrong; otherwise as the server answers, e.g. where a part is
    /// missing or too small.
    pub fn complete_multipart(&self, key: &Key, upload: &str, parts: &[UploadedPart]) -> Result<ObjectMeta, StoreError> {
        if parts.is_empty() || parts.windows(2).any(|pair| pair[0].number >= pair[1].number) {
            return Err(self.settings("an upload needs parts in ascending order; sort them by number and give each once".into()));
        }
        let part = |part: &UploadedPart| {
            CompletedPart::builder().part_number(part.number.into()).e_tag(quoted(part.etag.trim_matches('"'))).build()
        };
        let parts = parts.iter().map(part).collect();
        writer::complete(&self.link, key, upload, parts, None, None).map_err(|f| self.link.failed(key.as_str(), "written", f))?;
        self.link.head(key)
    }

    /// Gives an upload up and its parts free.
    ///
    /// # Errors
    /// As the server answers, e.g. where there is no such upload.
    pub fn abort_multipart(&self, key: &Key, upload: &str) -> Result<(), StoreError> {
        let link = &self.link;
        let request = link.client.abort_multipart_upload().bucket(&link.bucket).key(link.full(key.as_str())).upload_id(upload);
        link.wait(request.send()).map_err(|e| link.failed(key.as_str(), "given up", Fault::of(e)))?;
        Ok(())
    }

    fn expiry(&self, expires: Duration) -> Result<PresigningConfig, StoreError> {
        let bad = |reason: &str| self.settings(format!("an address cannot be valid for {expires:?}: {reason}; use 1 second to 7 days"));
        if expires.as_secs() == 0 {
            return Err(bad("that is over at once"));
        }
        PresigningConfig::expires_in(expires).map_err(|e| bad(&e.to_string()))
    }

    fn address(&self, key: &Key, signed: Result<PresignedRequest, Fault>) -> Result<String, StoreError> {
        Ok(signed.map_err(|fault| self.link.failed(key.as_str(), "signed for", fault))?.uri().to_string())
    }

    fn settings(&self, rule: String) -> StoreError {
        StoreError::Settings { store: self.link.name.clone(), rule }
    }
}
