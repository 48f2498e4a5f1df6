//! Checksums that clients send along, compared with the bytes that arrived.

use s3s::checksum::ChecksumHasher;
use s3s::dto::Checksum;
use s3s::{S3Request, S3Result, TrailingHeaders, s3_error};

/// The checksums of one request, computed as its bytes pass.
pub(super) struct Digests {
    hasher: ChecksumHasher,
    expected: Checksum,
    trailers: Option<TrailingHeaders>,
}

/// One row for each algorithm: its header, and where s3s keeps its value.
macro_rules! algorithms {
    ($call:ident) => {
        $call!("x-amz-checksum-crc32", crc32, checksum_crc32);
        $call!("x-amz-checksum-crc32c", crc32c, checksum_crc32c);
        $call!("x-amz-checksum-crc64nvme", crc64nvme, checksum_crc64nvme);
        $call!("x-amz-checksum-sha1", sha1, checksum_sha1);
        $call!("x-amz-checksum-sha256", sha256, checksum_sha256);
    };
}

impl Digests {
    /// `expected` comes from the headers; others may be announced in `x-amz-trailer` and follow the body.
    pub fn new<T>(request: &S3Request<T>, expected: Checksum) -> Self {
        let announced = request.headers.get("x-amz-trailer").and_then(|names| names.to_str().ok()).unwrap_or_default();
        let announced: Vec<String> = announced.split(',').map(|name| name.trim().to_ascii_lowercase()).collect();
        let mut hasher = ChecksumHasher::default();
        macro_rules! enable {
            ($header:literal, $algorithm:ident, $field:ident) => {
                if expected.$field.is_some() || announced.iter().any(|name| name == $header) {
                    hasher.$algorithm = Some(Default::default());
                }
            };
        }
        algorithms!(enable);
        Self { hasher, expected, trailers: request.trailing_headers.clone() }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    /// Compares, once the body is over.
    pub fn check(self) -> S3Result<()> {
        let trailers = self.trailers.and_then(|trailers| trailers.take()).unwrap_or_default();
        let (expected, found) = (self.expected, self.hasher.finalize());
        macro_rules! compare {
            ($header:literal, $algorithm:ident, $field:ident) => {
                let trailer = trailers.get($header).and_then(|value| value.to_str().ok());
                if found.$field.as_deref() != expected.$field.as_deref().or(trailer) {
                    return Err(s3_error!(BadDigest, "the bytes that arrived have another {} than was sent", $header));
                }
            };
        }
        algorithms!(compare);
        Ok(())
    }
}
