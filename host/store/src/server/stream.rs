//! Work with files off the executor's threads, and readers into bodies of answers, a few chunks at a time.

use std::io::{self, Read};

use bytes::Bytes;
use s3s::dto::StreamingBlob;
use s3s::{S3Error, S3Result};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio_stream::wrappers::ReceiverStream;

/// Chunks that wait between the network and a file.
const WAITING: usize = 4;
/// Bytes read from a file at a time.
const CHUNK: usize = 128 * 1024;

/// Runs what waits for files on a thread that may wait.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> S3Result<T> + Send + 'static) -> S3Result<T> {
    spawn_blocking(work).await.unwrap_or_else(|e| Err(S3Error::internal_error(e)))
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
