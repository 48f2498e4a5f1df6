//! What every request passes: its id, a span in the log, CORS, and one form for all errors.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use tower_http::cors::{AllowHeaders, Any, CorsLayer};
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use tower_http::trace::TraceLayer;

use crate::http::{ApiError, linger};
use crate::{App, Config};

/// Carries a request's id, both ways.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id that is taken over from a client.
const MOST_ID: usize = 128;
/// Longest error text of a library that is passed on.
const MOST_TEXT: usize = 4 << 10;

/// Puts the layers around the routes.
pub(super) fn wrap(routes: Router<Arc<App>>, config: &Config) -> Router<Arc<App>> {
    let spans = TraceLayer::new_for_http().make_span_with(|request: &Request| {
        let id = request.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok()).unwrap_or_default();
        // the query may hold what is nobody's business, e.g. signatures
        tracing::info_span!("request", method = %request.method(), path = request.uri().path(), id)
    });
    // the last layer is the outermost
    let mut routes = routes.layer(from_fn(shape)).layer(spans);
    if let Some(cors) = cors(&config.cors_origins) {
        routes = routes.layer(cors);
    }
    routes
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid))
        .layer(from_fn(refuse_odd_ids))
        .layer(from_fn(linger::linger))
}

/// An id that would blow up or garble the log is replaced by one of ours.
async fn refuse_odd_ids(mut request: Request, next: Next) -> Response {
    let odd = |v: &HeaderValue| v.len() > MOST_ID || v.is_empty() || !v.as_bytes().iter().all(u8::is_ascii_graphic);
    if request.headers().get(REQUEST_ID).is_some_and(odd) {
        request.headers_mut().remove(REQUEST_ID);
    }
    next.run(request).await
}

/// Gives every error the one form, those of extractors and layers too, and the request's id.
async fn shape(request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok()).map(str::to_owned);
    let mut response = next.run(request).await;
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        return with_headers_of(&response, error.answer(id));
    }
    let plain = response.headers().get(header::CONTENT_TYPE).is_none_or(|v| v.as_bytes().starts_with(b"text/plain"));
    if !plain {
        return response;
    }
    let (parts, body) = response.into_parts();
    let text = to_bytes(body, MOST_TEXT).await.map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
    let text = if text.is_empty() { status.canonical_reason().unwrap_or("the request was refused").to_owned() } else { text };
    with_headers_of(&Response::from_parts(parts, ()), ApiError::of_status(status, text).answer(id))
}

/// Keeps headers that belong to the error, such as Allow and Content-Range.
fn with_headers_of<B>(former: &Response<B>, mut response: Response) -> Response {
    for (name, value) in former.headers() {
        if *name != header::CONTENT_TYPE && *name != header::CONTENT_LENGTH && !response.headers().contains_key(name) {
            response.headers_mut().append(name, value.clone());
        }
    }
    response
}

/// Ends requests whose body stops coming. For routes that read their body whole; those that stream it look after themselves.
pub(super) async fn hurry(pause: Duration, request: Request, next: Next) -> Response {
    let late = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&late);
    let request = request.map(|body| {
        Body::from_stream(futures::stream::unfold(Some(body.into_data_stream()), move |pieces| {
            let late = Arc::clone(&late);
            async move {
                let mut pieces = pieces?;
                match tokio::time::timeout(pause, pieces.next()).await {
                    Ok(piece) => piece.map(|piece| (piece, Some(pieces))),
                    Err(_) => {
                        late.store(true, Ordering::Release);
                        Some((Err(axum::Error::new(std::io::Error::from(std::io::ErrorKind::TimedOut))), None))
                    }
                }
            }
        }))
    });
    let response = next.run(request).await;
    if told.load(Ordering::Acquire) {
        let message = format!("nothing came for {} s; send the body without long pauses", pause.as_secs_f64());
        return ApiError::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", message).into_response();
    }
    response
}

/// CORS for the configured origins; none where there are none.
fn cors(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    // `*` would leave out Authorization (Fetch, section 3.2.5), so what is asked for is named
    let layer = CorsLayer::new()
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([
            REQUEST_ID,
            header::ETAG,
            header::CONTENT_RANGE,
            header::ACCEPT_RANGES,
            header::CONTENT_DISPOSITION,
            header::RETRY_AFTER,
        ]);
    if origins.iter().any(|o| o == "*") {
        return Some(layer.allow_origin(Any));
    }
    let listed: Vec<HeaderValue> = origins
        .iter()
        .filter_map(|origin| match HeaderValue::from_str(origin) {
            Ok(value) => Some(value),
            Err(_) => {
                tracing::error!(origin, "left out a CORS origin that no header can hold");
                None
            }
        })
        .collect();
    Some(layer.allow_origin(listed))
}
