//! Health, readiness, warm-up and metrics: what really is loaded, and where it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use halfpipe_runtime::warmup::Warmed;
use halfpipe_runtime::{Host, RuntimeError};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::error::ApiError;
use crate::{App, AppError, EngineStatus};

/// How long a readiness check may wait for the store.
const STORE_TIME: Duration = Duration::from_secs(3);
/// Bounds of the histogram of job times, seconds.
const JOB_SECONDS: [f64; 11] = [0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0];
/// Bounds of the histogram of request times, seconds.
const REQUEST_SECONDS: [f64; 9] = [0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0];

/// The routes of this file.
pub fn routes() -> Router<Arc<App>> {
    // what is counted before somebody first asks counts as well
    recorder();
    Router::new()
        .route("/health", get(health))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/warmup", get(warmup).post(warmup_post))
        .route("/metrics", get(metrics_text))
}

/// How far the service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HealthStatus {
    /// Every model of the default pipeline is loaded.
    Ready,
    /// The engines start, or models are loaded by the first job or by /warmup.
    WarmingUp,
    /// The engines, the default pipeline or one of its models cannot be had.
    NotReady,
}

/// Whether a model is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ModelState {
    /// It is.
    Loaded,
    /// Nobody has asked for it yet.
    NotLoaded,
    /// The last attempt failed.
    Failed,
}

/// Jobs that are not done.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct QueueHealth {
    /// Jobs that wait or are worked on; none where the store does not answer.
    waiting: Option<usize>,
}

/// What GET /health answers.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Health {
    /// How far the service is.
    status: HealthStatus,
    /// Always `halfpipe`.
    service: &'static str,
    /// Version of the service.
    version: &'static str,
    /// Models by name: those of the default pipeline, and whatever else was asked for.
    models: BTreeMap<String, ModelState>,
    /// Whether every model of the default pipeline is loaded.
    ready: bool,
    /// ONNX Runtime's execution provider with device; none before the engines are there.
    execution_provider: Option<String>,
    /// Graphics adapter with backend; none before the engines are there.
    adapter: Option<String>,
    /// Whether the adapter is software.
    adapter_software: Option<bool>,
    /// Pipelines that can be asked for.
    pipelines: Vec<String>,
    /// The default one.
    default_pipeline: String,
    /// Jobs that are not done.
    queue: QueueHealth,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
}

/// What really is loaded, and where it runs. Always 200: read `status`, or ask /readyz.
#[utoipa::path(get, path = "/health", tag = "health", responses((status = 200, body = Health)))]
pub(crate) async fn health(State(app): State<Arc<App>>) -> Json<Health> {
    let waiting = waiting(&app).await;
    let mut answer = Health {
        status: HealthStatus::WarmingUp,
        service: "halfpipe",
        version: env!("CARGO_PKG_VERSION"),
        models: BTreeMap::new(),
        ready: false,
        execution_provider: None,
        adapter: None,
        adapter_software: None,
        pipelines: app.shelf.names(),
        default_pipeline: app.config.pipeline.clone(),
        queue: QueueHealth { waiting: waiting.as_ref().ok().copied() },
        reasons: waiting.err().into_iter().collect(),
    };
    match app.engines.status() {
        EngineStatus::Starting => {}
        EngineStatus::Failed(message) => {
            answer.status = HealthStatus::NotReady;
            answer.reasons.push(message);
        }
        EngineStatus::Ready(host) => look(&app, &host, &mut answer).await,
    }
    Json(answer)
}

/// Fills in what the engines say.
async fn look(app: &App, host: &Host, answer: &mut Health) {
    let engines = host.engines();
    let (device, adapter) = (engines.nn.device(), engines.draw.adapter());
    answer.execution_provider = Some(format!("{} ({})", device.provider, device.device));
    answer.adapter = Some(format!("{} ({})", adapter.name, adapter.backend));
    answer.adapter_software = Some(adapter.software);
    let loaded: BTreeSet<String> = engines.nn.loaded().iter().map(|m| m.name().to_owned()).collect();
    let failed = engines.nn.failed();
    let state = |name: &String| match (loaded.contains(name), failed.contains_key(name)) {
        (true, _) => ModelState::Loaded,
        (false, true) => ModelState::Failed,
        (false, false) => ModelState::NotLoaded,
    };
    answer.models.extend(loaded.iter().chain(failed.keys()).map(|name| (name.clone(), state(name))));
    answer.reasons.extend(failed.values().cloned());
    match app.default_needs(host).await {
        Ok(needs) => {
            answer.ready = needs.iter().all(|name| state(name) == ModelState::Loaded);
            answer.status = if answer.ready {
                HealthStatus::Ready
            } else if needs.iter().any(|name| state(name) == ModelState::Failed) {
                HealthStatus::NotReady
            } else {
                HealthStatus::WarmingUp
            };
            answer.models.extend(needs.iter().map(|name| (name.clone(), state(name))));
        }
        Err(error) => {
            answer.status = HealthStatus::NotReady;
            answer.reasons.push(error.to_string());
        }
    }
}

/// Jobs that are not done, or why that cannot be told.
async fn waiting(app: &Arc<App>) -> Result<usize, String> {
    let asked = app.blocking(|app| app.ledger.open_ids());
    match tokio::time::timeout(STORE_TIME, asked).await {
        Ok(ids) => ids.map(|ids| ids.len()).map_err(|e| e.to_string()),
        Err(_) => Err(format!("{} did not answer within {} s", app.store.name(), STORE_TIME.as_secs())),
    }
}

/// A probe's answer.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Probe {
    /// `alive`, `ready` or `not_ready`.
    status: &'static str,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Whether the process answers at all. Never looks at anything else.
#[utoipa::path(get, path = "/livez", tag = "health", responses((status = 200, body = Probe)))]
pub(crate) async fn livez() -> Json<Probe> {
    Json(Probe { status: "alive", reason: None })
}

/// Whether jobs can be worked on: the engines run, the store answers, the default pipeline and its models are loaded. A front door of
/// a message queue needs the store only.
#[utoipa::path(get, path = "/readyz", tag = "health",
    responses((status = 200, body = Probe), (status = 503, description = "Not ready; `reason` says why", body = Probe)))]
pub(crate) async fn readyz(State(app): State<Arc<App>>) -> (StatusCode, Json<Probe>) {
    match unready(&app).await {
        None => (StatusCode::OK, Json(Probe { status: "ready", reason: None })),
        reason => (StatusCode::SERVICE_UNAVAILABLE, Json(Probe { status: "not_ready", reason })),
    }
}

/// Why jobs cannot be worked on.
async fn unready(app: &Arc<App>) -> Option<String> {
    if app.queue.get().is_some() {
        // a front door takes jobs in; others work on them
        return waiting(app).await.err();
    }
    let host = match app.engines.status() {
        EngineStatus::Ready(host) => host,
        EngineStatus::Starting => return Some("the engines are starting".into()),
        EngineStatus::Failed(message) => return Some(message),
    };
    if let Err(reason) = waiting(app).await {
        return Some(reason);
    }
    let needs = match app.default_needs(&host).await {
        Ok(needs) => needs,
        Err(error) => return Some(error.to_string()),
    };
    let loaded: BTreeSet<String> = host.engines().nn.loaded().iter().map(|m| m.name().to_owned()).collect();
    let mut failed = host.engines().nn.failed();
    let missing: Vec<String> = needs.into_iter().filter(|name| !loaded.contains(name)).collect();
    match missing.iter().find_map(|name| failed.remove(name)) {
        Some(reason) => Some(reason),
        None if missing.is_empty() => None,
        None => Some(format!("models are being loaded: {}", missing.join(", "))),
    }
}

/// What became of one model.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ModelReport {
    /// Whether it is loaded now.
    state: ModelState,
    /// Milliseconds of loading; spent once, maybe before this request.
    #[serde(skip_serializing_if = "Option::is_none")]
    load_ms: Option<f64>,
    /// Runs on zeros, one for each batch size that jobs use; one where the model takes a single size.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    runs: Vec<WarmRunReport>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// A run on zeros.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct WarmRunReport {
    /// Size of the batch.
    batch: usize,
    /// Milliseconds.
    ms: f64,
}

/// What /warmup answers.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Warmup {
    /// `ready`; `partial` where a model failed; `failed` where all did.
    status: &'static str,
    /// The pipeline whose models were loaded.
    pipeline: String,
    /// Models by name.
    models: BTreeMap<String, ModelReport>,
    /// Milliseconds in all.
    total_ms: f64,
}

/// Loads every model that the default pipeline needs and runs each on zeros at the batch sizes that jobs use. Waits for the engines.
#[utoipa::path(get, path = "/warmup", tag = "health",
    responses((status = 200, body = Warmup), (status = 500, description = "Nothing was loaded", body = Warmup),
              (status = 503, description = "There are no engines, or no such pipeline")))]
pub(crate) async fn warmup(State(app): State<Arc<App>>) -> Result<(StatusCode, Json<Warmup>), ApiError> {
    let started = Instant::now();
    let warmed = app.warm().await.map_err(|e| match e {
        AppError::Runtime(e) => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "pipeline_unavailable", e.to_string()),
        e => e.into(),
    })?;
    let report = |outcome: Result<Warmed, RuntimeError>| match outcome {
        Ok(warmed) => ModelReport {
            state: ModelState::Loaded,
            load_ms: Some(warmed.load_secs * 1e3),
            runs: warmed.runs.iter().map(|run| WarmRunReport { batch: run.batch, ms: run.secs * 1e3 }).collect(),
            error: None,
        },
        Err(error) => ModelReport { state: ModelState::Failed, load_ms: None, runs: Vec::new(), error: Some(error.to_string()) },
    };
    let models: BTreeMap<String, ModelReport> = warmed.into_iter().map(|(name, outcome)| (name, report(outcome))).collect();
    let loaded = models.values().filter(|m| m.state == ModelState::Loaded).count();
    let (code, status) = match loaded {
        0 if !models.is_empty() => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
        n if n < models.len() => (StatusCode::OK, "partial"),
        _ => (StatusCode::OK, "ready"),
    };
    let total_ms = started.elapsed().as_secs_f64() * 1e3;
    Ok((code, Json(Warmup { status, pipeline: app.config.pipeline.clone(), models, total_ms })))
}

/// As GET /warmup.
#[utoipa::path(post, path = "/warmup", tag = "health",
    responses((status = 200, body = Warmup), (status = 500, description = "Nothing was loaded", body = Warmup),
              (status = 503, description = "There are no engines, or no such pipeline")))]
pub(crate) async fn warmup_post(state: State<Arc<App>>) -> Result<(StatusCode, Json<Warmup>), ApiError> {
    warmup(state).await
}

/// The process's metrics: the recorder can be installed once only.
pub(crate) fn recorder() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let buckets = |builder: PrometheusBuilder, name: &str, bounds: &[f64]| {
            // refused only for no bounds at all; a summary is shown then
            builder.set_buckets_for_metric(Matcher::Full(name.into()), bounds).unwrap_or_default()
        };
        let builder = buckets(PrometheusBuilder::new(), "halfpipe_job_seconds", &JOB_SECONDS);
        let recorder = buckets(builder, "halfpipe_http_request_seconds", &REQUEST_SECONDS).build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("this process has another metrics recorder; /metrics shows the queue only");
        }
        metrics::describe_counter!("halfpipe_jobs_total", "Jobs that ended, by state");
        metrics::describe_histogram!("halfpipe_job_seconds", "Seconds from the start of a job's last attempt to its end");
        metrics::describe_counter!("halfpipe_frames_total", "Frames of completed jobs");
        metrics::describe_counter!("halfpipe_http_requests_total", "HTTP requests, by method, route and status");
        metrics::describe_histogram!("halfpipe_http_request_seconds", "Seconds to the head of the answer, by route");
        metrics::describe_gauge!("halfpipe_queue_length", "Jobs that wait or are worked on");
        metrics::describe_gauge!("halfpipe_engines_ready", "1 once the engines run");
        handle
    })
}

/// Counts requests: a middleware for the whole router (`axum::middleware::from_fn`).
pub(crate) async fn count_requests(request: Request, next: Next) -> Response {
    // the pattern, never the path: ids would make a series each
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    // methods that clients make up are one series
    let method = match request.method().as_str() {
        known @ ("GET" | "POST" | "PUT" | "DELETE" | "HEAD" | "OPTIONS" | "PATCH") => known.to_owned(),
        _ => "other".to_owned(),
    };
    let started = Instant::now();
    let response = next.run(request).await;
    let status = response.status().as_u16().to_string();
    metrics::histogram!("halfpipe_http_request_seconds", "route" => route.clone()).record(started.elapsed().as_secs_f64());
    metrics::counter!("halfpipe_http_requests_total", "method" => method, "route" => route, "status" => status).increment(1);
    response
}

/// Metrics in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200, body = String, content_type = "text/plain")))]
pub(crate) async fn metrics_text(State(app): State<Arc<App>>) -> impl IntoResponse {
    let handle = recorder();
    match waiting(&app).await {
        Ok(waiting) => metrics::gauge!("halfpipe_queue_length").set(waiting as f64),
        // an old number would be a lie, and this is no number
        Err(error) => {
            tracing::warn!(error, "cannot tell the queue's length");
            metrics::gauge!("halfpipe_queue_length").set(f64::NAN);
        }
    }
    let ready = matches!(app.engines.status(), EngineStatus::Ready(_));
    metrics::gauge!("halfpipe_engines_ready").set(if ready { 1.0 } else { 0.0 });
    handle.run_upkeep();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], handle.render())
}
