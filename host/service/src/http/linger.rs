//! Reads on when a request is answered before its body has been read: a client that is still sending sees the answer, and no broken pipe.
//!
//! A server that closes a connection on which data still comes makes the client's system throw away the answer with it, so the client
//! learns that the connection broke and not why. What comes is therefore taken and thrown away for a while (RFC 9112, section 9.6).

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header;
use axum::middleware::Next;
use axum::response::Response;
use futures::{Stream, StreamExt};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long a body is read on after its request was answered, in all and between two pieces. As nginx's `lingering_time` and
/// `lingering_timeout` are by default.
const LINGER: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_secs(5);

/// Reads what is left of a request's body once nobody else will.
///
/// Not where a client asked for leave to send (`Expect: 100-continue`) and got none: reading would give it.
pub(super) async fn linger(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let asks_first = request.headers().contains_key(header::EXPECT);
    let (back, left) = oneshot::channel();
    let lent = |body: Body| Lent { pieces: Some(body.into_data_stream()), back: Some(back), begun: !asks_first };
    let request = request.map(|body| Body::from_stream(lent(body)));
    let response = next.run(request).await;
    // a handler may have passed the body on to a task of its own, so this waits for it
    tokio::spawn(async move {
        if let Ok(pieces) = left.await {
            timeout(LINGER, throw_away(pieces)).await.ok();
        }
    });
    response
}

/// Reads until the end, an error, or a pause that is too long.
async fn throw_away(mut pieces: BodyDataStream) {
    while let Ok(Some(Ok(_))) = timeout(PAUSE, pieces.next()).await {}
}

/// A body that is given back when it is dropped before its end.
struct Lent {
    /// None after an error or the end.
    pieces: Option<BodyDataStream>,
    back: Option<oneshot::Sender<BodyDataStream>>,
    /// Whether the client sends without waiting for leave, or has it.
    begun: bool,
}

impl Stream for Lent {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.begun = true;
        let Some(pieces) = &mut self.pieces else { return Poll::Ready(None) };
        let piece = pieces.poll_next_unpin(cx);
        if matches!(piece, Poll::Ready(None | Some(Err(_)))) {
            self.pieces = None;
        }
        piece
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(pieces), Some(back), true) = (self.pieces.take(), self.back.take(), self.begun) {
            // where the request itself was dropped there is nobody to take it
            back.send(pieces).ok();
        }
    }
}
