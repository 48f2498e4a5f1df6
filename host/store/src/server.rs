//! A folder lent out as a bucket: a server that speaks S3's protocol, within this process.
//!
//! # What it is for
//! Presigned addresses and S3 clients on a machine without S3, and tests. It knows one bucket, and what [`crate::S3Store`], presigned
//! addresses and ordinary tools need of S3: objects, copies, listings, uploads in parts; everything else is answered with
//! `NotImplemented`. Of an object it keeps the bytes only: a content type is accepted and forgotten, metadata of users are refused.
//! Bodies are compared with the `x-amz-checksum-*` headers and trailers and the `Content-MD5` that come with them. Browsers may use it
//! from the origins that it is told.
//!
//! # What it rests on
//! The protocol (parsing, signatures, answers) is the crate s3s. Its folder backend, s3s-fs, takes in what clients send: it writes bodies
//! of objects and parts, computes and compares their checksums, names uploads, lists, joins and throws away their parts, and tells
//! of the bucket. It does so in folders apart, because it does not wait for the disk, checks a condition long before it renames, shows
//! an object before it compares, and gives temporary files the same names in every process (`reception` and `uploads` say more). What
//! it has received whole, a [`crate::DirectoryStore`] puts on disk and renames to its key under the key's lock, if the condition
//! holds then; and the [`crate::DirectoryStore`] gives, lists and deletes objects. So conditional puts are atomic, between this server and
//! other processes that open the same folder as a store as well, what was put survives the loss of power, and etags are the folder's:
//! opaque texts, not MD5 sums. ARCHITECTURE.md has figures beside s3s-fs alone; `tests/s3s_fs` runs the conformance suite against that.
//!
//! # Folders
//! `FOLDER/BUCKET/` holds the objects as plain files, `FOLDER/.uploads/` a folder for each upload that is not complete; both outlive the
//! server, and any number of servers may share them. Bodies on their way lie in the staging folders of these two stores; those of a
//! server that was killed are removed by the next one that starts.

mod browsers;
mod bucket;
mod conditions;
mod listing;
mod operations;
mod reception;
mod stream;
mod uploads;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::validation::{AwsNameValidation, NameValidation};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tower_http::cors::Cors;

use crate::{S3Config, StoreError};

/// Threads that speak HTTP; files are read and written on others.
const WORKERS: usize = 2;
/// How long requests may go on after the server was told to stop.
const GRACE: Duration = Duration::from_secs(5);
/// Pause after an accept that failed, e.g. for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// What clients of an [`EmbeddedServer`] sign with.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerCredentials {
    /// Name of the key.
    pub access_key: String,
    /// The secret that goes with it.
    pub secret: String,
}

impl fmt::Debug for ServerCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // the secret stays out of logs
        f.debug_struct("ServerCredentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// A running server. Dropped, it takes no more connections, lets requests under way end for up to five seconds, and stops.
pub struct EmbeddedServer {
    address: SocketAddr,
    bucket: String,
    credentials: ServerCredentials,
    stop: Option<oneshot::Sender<()>>,
    stopped: mpsc::Receiver<()>,
    runtime: Option<Runtime>,
}

impl EmbeddedServer {
    /// Serves `folder/bucket` (made where it is missing) at `address`, e.g. `127.0.0.1:0` for a free port of this machine alone.
    /// Requests that are not signed with `credentials` are refused. The connection is not encrypted: put a TLS proxy in front of
    /// any address that others reach.
    ///
    /// # Errors
    /// [`StoreError::Settings`] where the bucket's name is not allowed or a credential is empty; [`StoreError::Open`] where the folder
    /// cannot be used, the address is taken or threads cannot be started.
    pub fn start(folder: &Path, bucket: &str, address: SocketAddr, credentials: ServerCredentials) -> Result<Self, StoreError> {
        Self::start_for_browsers(folder, bucket, address, credentials, &[])
    }

    /// As [`EmbeddedServer::start`]; pages of these origins (`*` for any) may use presigned addresses from a browser, to put and to get.
    ///
    /// # Errors
    /// As [`EmbeddedServer::start`]; [`StoreError::Settings`] where an origin cannot stand in a header.
    pub fn start_for_browsers(
        folder: &Path,
        bucket: &str,
        address: SocketAddr,
        credentials: ServerCredentials,
        origins: &[String],
    ) -> Result<Self, StoreError> {
        let store = format!("embedded server for {}", folder.display());
        if !AwsNameValidation::new().validate_bucket_name(bucket) {
            let rule = format!("{bucket:?} is no bucket name; use 3 to 63 lowercase letters, digits, dots and hyphens");
            return Err(StoreError::Settings { store, rule });
        }
        if credentials.access_key.is_empty() || credentials.secret.is_empty() {
            return Err(StoreError::Settings { store, rule: "the access key or its secret is empty; give both".into() });
        }
        let service = {
            let mut builder = S3ServiceBuilder::new(bucket::Bucket::open(folder, bucket)?);
            builder.set_auth(SimpleAuth::from_single(credentials.access_key.clone(), credentials.secret.clone()));
            browsers::admit(builder.build(), origins).map_err(|origin| StoreError::Settings {
                store: store.clone(),
                rule: format!("{origin:?} is no origin; give one such as https://app.example, or *"),
            })?
        };
        let failed =
            |what: String| move |e: io::Error| StoreError::Open { store, source: io::Error::new(e.kind(), format!("{what}: {e}")) };
        let bind = || {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let runtime = Builder::new_multi_thread().worker_threads(WORKERS).thread_name("halfpipe-s3-serve").enable_all().build()?;
            let listener = runtime.block_on(async { tokio::net::TcpListener::from_std(listener) })?;
            Ok((listener.local_addr()?, listener, runtime))
        };
        let (address, listener, runtime) = bind().map_err(failed(format!("address {address}")))?;
        let (stop, told) = oneshot::channel();
        let (done, stopped) = mpsc::sync_channel(1);
        runtime.spawn(async move {
            serve(listener, service, told).await;
            // nobody listens where the server was dropped long ago
            let _ = done.send(());
        });
        tracing::info!(%address, bucket, folder = %folder.display(), "serving a folder as a bucket");
        Ok(Self { address, bucket: bucket.into(), credentials, stop: Some(stop), stopped, runtime: Some(runtime) })
    }

    /// The address for clients, e.g. `http://127.0.0.1:39123`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What clients sign with.
    #[must_use]
    pub fn credentials(&self) -> &ServerCredentials {
        &self.credentials
    }

    /// How an [`crate::S3Store`] reaches the bucket, with keys below `prefix`.
    #[must_use]
    pub fn config(&self, prefix: &str) -> S3Config {
        S3Config::new(&self.bucket, prefix)
            .at_endpoint(self.endpoint())
            .with_credentials(&self.credentials.access_key, &self.credentials.secret)
    }
}

impl Drop for EmbeddedServer {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // where the server has ended by itself there is nobody to tell
            let _ = stop.send(());
        }
        if self.stopped.recv_timeout(GRACE + PAUSE).is_err() {
            tracing::warn!(address = %self.address, "requests to the embedded server were broken off");
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for EmbeddedServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedServer").field("endpoint", &self.endpoint()).field("bucket", &self.bucket).finish_non_exhaustive()
    }
}

async fn serve(listener: tokio::net::TcpListener, service: Cors<S3Service>, mut told: oneshot::Receiver<()>) {
    let http = auto::Builder::new(TokioExecutor::new());
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut told => break,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::warn!(%error, "the embedded server could not accept a connection");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // else the last packet of small answers waits for an acknowledgement, some 40 ms
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "a connection that ended at once");
            continue;
        }
        let connection =
            graceful.watch(http.serve_connection(TokioIo::new(socket), TowerToHyperService::new(service.clone())).into_owned());
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error, "a connection to the embedded server broke");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
        tracing::debug!("requests outlast the embedded server");
    }
}
