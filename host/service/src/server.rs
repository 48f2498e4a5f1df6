//! The HTTP server: accepts connections, bounds how slow and how many they may be, and ends them in order.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Connections open at once; more wait to be accepted.
const CONNECTIONS: usize = 4096;
/// How long a client may take for its request's headers.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// Most bytes of a request's headers.
const HEADER_BYTES: usize = 64 << 10;
/// How long open requests may go on after the end was asked for.
const FAREWELL: Duration = Duration::from_secs(10);

/// Serves `router` on `listener` until `leaving` is cancelled, then lets open requests end.
pub async fn serve(listener: TcpListener, router: Router, leaving: CancellationToken) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIME).max_buf_size(HEADER_BYTES).keep_alive(true);
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // the semaphore lives as long as this function, so it is never closed
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { break };
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // e.g. out of file descriptors: others may end meanwhile
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            () = leaving.cancelled() => break,
        };
        // answers are small and their last packet must not wait for an acknowledgement
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot switch delays off on a connection");
        }
        let service = TowerToHyperService::new(router.clone());
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service).into_owned());
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(FAREWELL, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests were cut off");
    }
}
