//! The HTTP API: routes, and what every request passes on its way to them.

pub mod auth;
pub mod error;
pub mod health;
pub mod jobs;
mod linger;
mod middleware;
pub mod notifications;
pub mod openapi;
pub mod pose;
pub mod process;
pub mod results;
pub mod stream;
mod submit;
mod upload;
pub mod uploads;

use std::sync::Arc;

pub use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::from_fn;

pub use error::ApiError;

use crate::App;

/// Largest body of a request that is not a video, bytes.
pub const MOST_JSON_BYTES: usize = 1 << 20;

/// A request's body from bytes, for callers that have no connection to read from.
pub fn body(bytes: Vec<u8>) -> Body {
    Body::from(bytes)
}

/// The whole API over an app. Every answer that is not a success has the form of [`error::ErrorBody`].
pub fn router(app: Arc<App>) -> Router {
    let pause = app.config.body_pause;
    let routes = Router::new()
        .merge(health::routes())
        .merge(pose::routes())
        .merge(uploads::routes())
        .merge(notifications::routes())
        .merge(jobs::routes())
        .merge(stream::routes())
        .merge(results::routes())
        .merge(openapi::routes())
        .layer(axum::middleware::from_fn(move |request, next| middleware::hurry(pause, request, next)))
        // the routes that take videos lift this limit for themselves
        .layer(DefaultBodyLimit::max(MOST_JSON_BYTES))
        .merge(process::routes())
        .fallback(async || ApiError::new(StatusCode::NOT_FOUND, "route_unknown", "there is no such route; GET /openapi.json lists them"))
        .method_not_allowed_fallback(async || {
            let message = "this route does not take this method; GET /openapi.json lists what each takes";
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
        });
    // addresses of uploads are signed: whoever has one needs no key
    let routes = auth::protect(routes, &app.config).merge(uploads::signed_routes()).layer(from_fn(health::count_requests));
    middleware::wrap(routes, &app.config).with_state(app)
}
