//! Bodies of requests into writers and readers into bodies of answers, a few chunks at a time.

use std::io::{self, Read, Write};

use bytes::Bytes;
use s3s::dto::StreamingBlob;
use s3s::{S3Error, S3Result, s3_error};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::conditions::refused;
use super::digests::Digests;
use crate::{ObjectMeta, ObjectWriter, StoreError};

/// Chunks that wait between the network and a file.
const WAITING: usize = 4;
/// Bytes read from a file at a time.
const CHUNK: usize = 128 * 1024;

/// Runs what waits for files on a thread that may wait.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> S3Result<T> + Send + 'static) -> S3Result<T> {
    spawn_blocking(work).await.unwrap_or_else(|e| Err(S3Error::internal_error(e)))
}

/// Writes a request's body and commits it if its checksums are right. Nothing is left where the client breaks off.
pub(super) async fn receive(
    body: Option<StreamingBlob>,
    mut digests: Digests,
    create: impl FnOnce() -> Result<Box<dyn ObjectWriter>, StoreError> + Send + 'static,
) -> S3Result<ObjectMeta> {
    let (chunks, mut arriving) = mpsc::channel::<Bytes>(WAITING);
    let writing = spawn_blocking(move || {
        let mut writer = create().map_err(refused)?;
        while let Some(chunk) = arriving.blocking_recv() {
            writer.write_all(&chunk).map_err(S3Error::internal_error)?;
        }
        Ok::<_, S3Error>(writer)
    });
    if let Some(mut body) = body {
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|e| s3_error!(IncompleteBody, "the body broke off: {e}"))?;
            digests.update(&chunk);
            if chunks.send(chunk).await.is_err() {
                // the writer has failed, and says why below
                break;
            }
        }
    }
    drop(chunks);
    let writer = writing.await.unwrap_or_else(|e| Err(S3Error::internal_error(e)))?;
    digests.check()?;
    blocking(move || writer.commit().map_err(refused)).await
}

/// A body that gives what a reader gives. It holds a thread of the blocking pool until it is read or dropped.
pub(super) fn send(mut reader: Box<dyn Read + Send>) -> StreamingBlob {
    let (chunks, sent) = mpsc::channel::<io::Result<Bytes>>(WAITING);
    spawn_blocking(move || {
        loop {
            let mut chunk = vec![0; CHUNK];
            let chunk = match reader.read(&mut chunk) {
                Ok(0) => return,
                Ok(n) => {
                    chunk.truncate(n);
                    Ok(Bytes::from(chunk))
                }
                Err(e) => Err(e),
            };
            let last = chunk.is_err();
            // a client that has gone wants no more
            if chunks.blocking_send(chunk).is_err() || last {
                return;
            }
        }
    });
    StreamingBlob::wrap(ReceiverStream::new(sent))
}
