//! What a worker tells from outside: whether it lives, whether it takes messages, and its counts.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::status::Status;
use crate::http::health::recorder;

/// How long metrics wait for the queue.
const QUEUE_TIME: Duration = Duration::from_secs(3);

/// `/livez`, `/readyz` and `/metrics` of a worker. They answer from the first moment, also while it connects and loads models.
pub fn probes(status: Arc<Status>) -> Router {
    Router::new()
        .route("/livez", get(async || Json(json!({ "status": "alive" }))))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_text))
        .with_state(status)
}

async fn readyz(State(status): State<Arc<Status>>) -> (StatusCode, Json<Value>) {
    match status.unready() {
        None => (StatusCode::OK, Json(json!({ "status": "ready" }))),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "not_ready", "reason": reason }))),
    }
}

async fn metrics_text(State(status): State<Arc<Status>>) -> impl IntoResponse {
    if let Some(queue) = status.queue() {
        match tokio::time::timeout(QUEUE_TIME, queue.facts()).await {
            Ok(Ok(facts)) => status.facts(&facts),
            _ => status.no_facts(),
        }
    }
    let handle = recorder();
    handle.run_upkeep();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], handle.render())
}
