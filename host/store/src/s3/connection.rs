//! The client of one bucket, its executor, and what all requests share.

use std::fmt;
use std::future::Future;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::Builder as Settings;
use aws_sdk_s3::primitives::DateTime;
use tokio::runtime::{Builder, Handle, Runtime};

use super::{Fault, S3Config};
use crate::aws::timeouts;
use crate::{AwsAccess, Key, ObjectMeta, StoreError};

/// Threads of the executor: they only move bytes between sockets and buffers.
const WORKERS: usize = 2;
/// Time for one attempt, up to the first byte of the answer.
const ATTEMPT: Duration = Duration::from_secs(60);
/// The same where the request carries a part of an object, or the server joins parts. A stalled stream is given up earlier.
const TRANSFER: Duration = Duration::from_secs(600);

pub(super) struct Connection {
    pub client: Client,
    pub bucket: String,
    /// Empty, or ends with a slash.
    pub prefix: String,
    pub name: String,
    pub handle: Handle,
    /// None only while it is dropped.
    runtime: Option<Runtime>,
}

impl Connection {
    pub fn open(config: S3Config) -> Result<Self, StoreError> {
        let name = config.name();
        let settings = |rule: &str| StoreError::Settings { store: name.clone(), rule: rule.to_string() };
        if config.bucket.is_empty() {
            return Err(settings("the bucket has no name; give it one"));
        }
        if config.endpoint.as_ref().is_some_and(|e| !e.starts_with("http://") && !e.starts_with("https://")) {
            return Err(settings("the endpoint is no address; write it as http://host:port or https://host"));
        }
        let runtime = Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .thread_name("halfpipe-s3")
            .enable_all()
            .build()
            .map_err(|source| StoreError::Open { store: name.clone(), source })?;
        let client = runtime.block_on(client(&config));
        if client.config().region().is_none() {
            return Err(settings("no region is set; set AWS_REGION, or the region in the configuration"));
        }
        let prefix = match config.prefix.trim_matches('/') {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        };
        let link = Self { client, bucket: config.bucket, prefix, name, handle: runtime.handle().clone(), runtime: Some(runtime) };
        link.check_bucket()?;
        Ok(link)
    }

    fn check_bucket(&self) -> Result<(), StoreError> {
        let request = self.client.head_bucket().bucket(&self.bucket);
        let mut answer = self.wait(request.clone().send());
        // A refusal of HEAD has no body, so the SDK cannot see that it may be about this machine's clock, and does not try again. But it has
        // taken note of the server's time, and signs by that from now on.
        if answer.as_ref().is_err_and(|error| error.raw_response().is_some_and(|answer| answer.status().as_u16() == 403)) {
            answer = self.wait(request.send());
        }
        match answer {
            Ok(_) => Ok(()),
            Err(error) => {
                let elsewhere = error.raw_response().filter(|answer| answer.status().as_u16() == 301);
                if let Some(answer) = elsewhere {
                    let region = answer.headers().get("x-amz-bucket-region").unwrap_or("another region");
                    let rule = format!("the bucket is in {region}; set that region");
                    return Err(StoreError::Settings { store: self.name.clone(), rule });
                }
                Err(match Fault::of(error) {
                    Fault::NoObject => self.failed("", "opened", Fault::NoBucket),
                    fault => self.failed("", "opened", fault),
                })
            }
        }
    }

    /// Runs a request and waits for it.
    pub fn wait<T>(&self, request: impl Future<Output = T>) -> T {
        self.handle.block_on(request)
    }

    /// A key as the bucket knows it.
    pub fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// What the caller is told: `key` is empty where it is about the whole store.
    pub fn failed(&self, key: &str, action: &'static str, fault: Fault) -> StoreError {
        let (store, what) = (self.name.clone(), if key.is_empty() { "the store".into() } else { format!("object {key}") });
        match (fault, Key::new(key)) {
            (Fault::NoBucket, _) => StoreError::NoBucket { store },
            (Fault::Denied(reason), _) => StoreError::Denied { store, what, action, reason },
            (Fault::Unavailable(reason), _) => StoreError::Unavailable { store, what, action, reason },
            (Fault::NoObject, Ok(key)) => StoreError::NotFound { store, key },
            (fault, _) => {
                let reason = match fault {
                    Fault::Other(reason) => reason,
                    fault => format!("the server's answer does not fit the request ({fault:?})"),
                };
                StoreError::io(&store, if key.is_empty() { "(any)" } else { key }, action, std::io::Error::other(reason))
            }
        }
    }

    pub fn head(&self, key: &Key) -> Result<ObjectMeta, StoreError> {
        let request = self.client.head_object().bucket(&self.bucket).key(self.full(key.as_str()));
        let head = self.wait(request.send()).map_err(|e| self.failed(key.as_str(), "read", Fault::of(e)))?;
        let etag = head.e_tag().map(unquoted).ok_or_else(|| self.no_etag(key, "read"))?;
        Ok(ObjectMeta { key: key.clone(), size: size_of(head.content_length()), etag, modified: modified(head.last_modified()) })
    }

    pub fn no_etag(&self, key: &Key, action: &'static str) -> StoreError {
        self.failed(key.as_str(), action, Fault::Other("the server tells no ETag, without which versions cannot be told apart".into()))
    }
}

/// Settings for requests that carry much.
pub(super) fn patient() -> Settings {
    Settings::new().timeout_config(timeouts(TRANSFER))
}

async fn client(config: &S3Config) -> Client {
    let access = AwsAccess { endpoint: config.endpoint.clone(), region: config.region.clone(), credentials: config.credentials.clone() };
    let settings = Settings::from(&access.load(ATTEMPT).await).force_path_style(config.force_path_style);
    Client::from_conf(settings.build())
}

/// An etag without the quotes that it has in HTTP.
pub(super) fn unquoted(etag: &str) -> String {
    etag.trim_matches('"').to_string()
}

pub(super) fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

/// Whole seconds, which is what every answer can tell: some listings are finer than the header of the same object.
pub(super) fn modified(time: Option<&DateTime>) -> SystemTime {
    let seconds = time.map_or(0, DateTime::secs);
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

pub(super) fn size_of(length: Option<i64>) -> u64 {
    length.and_then(|length| u64::try_from(length).ok()).unwrap_or(0)
}

impl Drop for Connection {
    fn drop(&mut self) {
        // waiting for the threads would panic where the last clone is dropped on an executor's thread
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("name", &self.name).finish_non_exhaustive()
    }
}
