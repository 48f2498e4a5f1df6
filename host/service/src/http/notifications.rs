//! Storage notifications in, jobs out: the planner component says which.
//!
//! A notification may come twice, late or out of order, so a job is identified by what it is made of: the object's version, the
//! pipeline, its options, and the digests of component and models. The same again is the same job; anything newer is a new one.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use halfpipe_queue::MessageQueue;
use halfpipe_runtime::{Host, PlanEvent, PlanEventKind, PlannedJob, RuntimeError};
use halfpipe_store::{Key, ObjectMeta, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::events::{self, EventKind, ObjectEvent};
use crate::http::error::ApiError;
use crate::jobs::{Spec, Submission, Wanted};
use crate::{App, AppError, Config};

/// The routes of this file.
pub fn routes() -> Router<Arc<App>> {
    Router::new().route("/events/s3", post(s3_events))
}

/// A job that follows from an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TakenJob {
    /// Its id.
    pub job_id: String,
    /// Key of its input.
    pub input: String,
    /// Whether this event made it; else an earlier one did.
    pub new: bool,
}

/// An object that no job follows from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Skipped {
    /// Its key.
    pub key: String,
    /// Why.
    pub reason: String,
}

/// What became of a notification.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Taken {
    /// Jobs.
    pub jobs: Vec<TakenJob>,
    /// Everything else.
    pub skipped: Vec<Skipped>,
    /// Whether the notification waits in a message queue; the worker that takes it asks the planner.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub queued: bool,
}

impl Taken {
    fn skip(&mut self, key: &str, reason: impl Into<String>) {
        let skipped = Skipped { key: key.to_owned(), reason: reason.into() };
        tracing::info!(key = skipped.key, reason = skipped.reason, "no job follows from an event");
        self.skipped.push(skipped);
    }
}

/// Takes a notification of S3, MinIO or EventBridge. A request that fails may be sent again as it is: no job is made twice.
#[utoipa::path(post, path = "/events/s3", tag = "events", request_body(content = Object, content_type = "application/json"),
    responses((status = 202, description = "Jobs follow from it, or it is queued for a worker", body = Taken),
              (status = 200, description = "There is nothing to do", body = Taken),
              (status = 400, description = "`event_not_json`, `event_unknown_shape` and other codes that begin with `event_`"),
              (status = 429, description = "`queue_full`"),
              (status = 503, description = "The engines or the store are not there")))]
pub(crate) async fn s3_events(State(app): State<Arc<App>>, body: Bytes) -> Result<(StatusCode, Json<Taken>), ApiError> {
    let taken = match app.queue.get() {
        Some(queue) => forward(queue.as_ref(), &body).await?,
        None => take_events(&app, &body).await?,
    };
    let status = if taken.jobs.is_empty() && !taken.queued { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(taken)))
}

/// Sends a notification on to the workers as it is, if it can be read and names objects.
async fn forward(queue: &dyn MessageQueue, body: &[u8]) -> Result<Taken, ApiError> {
    let events = events::parse(body).map_err(|e| ApiError::bad_request(e.code(), e.to_string()))?;
    if events.is_empty() {
        return Ok(Taken::default());
    }
    // what was parsed as JSON is text
    queue.send(&String::from_utf8_lossy(body), std::time::Duration::ZERO).await.map_err(AppError::from)?;
    Ok(Taken { queued: true, ..Taken::default() })
}

/// Takes a notification: asks the planner about each object and submits the jobs it names. Taking the same one again makes no
/// further jobs.
///
/// # Errors
/// 400 where the notification cannot be read; 429 where the queue is full; 500 where the planner broke a rule; 503 where engines or
/// store are not there. Jobs of earlier records may have been submitted; take the whole notification again.
pub async fn take_events(app: &Arc<App>, body: &[u8]) -> Result<Taken, ApiError> {
    let events = events::parse(body).map_err(|e| ApiError::bad_request(e.code(), e.to_string()))?;
    let mut taken = Taken::default();
    for event in events {
        take(app, event, &mut taken).await?;
    }
    Ok(taken)
}

async fn take(app: &Arc<App>, mut event: ObjectEvent, taken: &mut Taken) -> Result<(), ApiError> {
    if let Some(bucket) = app.config.bucket.as_ref().filter(|b| **b != event.bucket) {
        taken.skip(&event.key, format!("it is in the bucket {}; this service takes events of {bucket}", event.bucket));
        return Ok(());
    }
    // events name keys of the bucket, the store those below its prefix
    let Some(below) = event.key.strip_prefix(&app.config.bucket_prefix).map(str::to_owned) else {
        taken.skip(&event.key, format!("it is not under {}, where this service works", app.config.bucket_prefix));
        return Ok(());
    };
    event.key = below;
    if let Some(own) = own_prefix(&event.key) {
        taken.skip(&event.key, format!("keys under {own} are this service's own and never start a job"));
        return Ok(());
    }
    let key = match Key::new(&event.key) {
        Ok(key) => key,
        Err(error) => {
            taken.skip(&event.key, error.to_string());
            return Ok(());
        }
    };
    let mut bytes = event.size;
    let mut etag = event.etag.clone();
    if event.kind == EventKind::Created {
        let Some(meta) = head(app, &key).await? else {
            taken.skip(&event.key, "it is gone again");
            return Ok(());
        };
        // what is there now counts, not what was there when the event was sent
        (bytes, etag) = (Some(meta.size), Some(meta.etag));
    }
    let host = app.engines.wait().await.map_err(AppError::Engines)?;
    let planner = app.planner.get(&host, &app.config).await.map_err(|error| {
        // who sent the event cannot mend it, but may send it again
        tracing::error!(%error, "there is no planner");
        ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "planner_unavailable",
            "the service's planner component cannot be used; its log says why",
        )
    })?;
    let kind = match event.kind {
        EventKind::Created => PlanEventKind::ObjectCreated,
        EventKind::Removed => PlanEventKind::ObjectRemoved,
    };
    let asked = PlanEvent { kind, bucket: event.bucket.clone(), key: event.key.clone(), bytes, etag, metadata: Vec::new() };
    let planned = match host.plan(&planner, asked).await {
        Ok(planned) => planned,
        Err(RuntimeError::EventRefused { message, .. }) => {
            taken.skip(&event.key, format!("the planner refuses it: {message}"));
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    if planned.is_empty() {
        taken.skip(&event.key, "the planner makes no job of it");
    }
    for job in planned {
        let input = job.input.to_string();
        match submit(app, &host, &event, job).await? {
            Ok((job_id, new)) => taken.jobs.push(TakenJob { job_id, input, new }),
            Err(reason) => taken.skip(&input, reason),
        }
    }
    Ok(())
}

/// The prefix of this service's own objects that a key lies under.
fn own_prefix(key: &str) -> Option<&'static str> {
    [Config::RESULTS_PREFIX, Config::LEDGER_PREFIX, Config::UPLOADS_PREFIX].into_iter().find(|own| key.starts_with(own))
}

/// What is known of an object; none where it is gone.
async fn head(app: &Arc<App>, key: &Key) -> Result<Option<ObjectMeta>, ApiError> {
    let key = key.clone();
    match app.blocking(move |app| app.store.head(&key)).await {
        Ok(meta) => Ok(Some(meta)),
        Err(AppError::Store(StoreError::NotFound { .. })) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Why results under `output` could start the very job again that made them, or spoil what is not the job's. None where they cannot.
fn unsafe_output(input: &str, output: &str) -> Option<String> {
    let refused = |why: &str| Some(format!("the planner would put results under {output}, {why}; change the planner"));
    if output.starts_with(Config::LEDGER_PREFIX) || output.starts_with(Config::UPLOADS_PREFIX) {
        return refused("where this service keeps its own");
    }
    if input.starts_with(output) {
        return refused("where the input itself lies");
    }
    // events from under results/ are never taken, so nothing there can start a job
    if output.starts_with(Config::RESULTS_PREFIX) {
        return None;
    }
    let folder = input.rsplit_once('/').map_or("", |(folder, _)| folder);
    if folder.is_empty() {
        return refused("which is not under results/ while inputs lie at the top");
    }
    if output.starts_with(&format!("{folder}/")) {
        return refused("within the input's own folder");
    }
    None
}

/// Submits a planned job: its id and whether it is new, or why it is none.
async fn submit(app: &Arc<App>, host: &Host, event: &ObjectEvent, job: PlannedJob) -> Result<Result<(String, bool), String>, ApiError> {
    if let Some(reason) = unsafe_output(job.input.as_str(), &job.output_prefix) {
        return Ok(Err(reason));
    }
    let Some(meta) = head(app, &job.input).await? else { return Ok(Err("it is gone again".into())) };
    let guest = match app.shelf.get(host, &job.pipeline).await {
        Ok(guest) => guest,
        // the planner's mistake, told where its answer goes; a broken component is this service's
        Err(error @ RuntimeError::GuestUnknown { .. }) => return Ok(Err(error.to_string())),
        Err(error) => return Err(error.into()),
    };
    let options = serde_json::Value::Object(job.options.clone()).to_string();
    let needs = match host.needs(&guest, &options).await {
        Ok(needs) => needs,
        Err(error @ RuntimeError::Options { .. }) => return Ok(Err(error.to_string())),
        Err(error) => return Err(error.into()),
    };
    let mut digests = Vec::new();
    for model in &needs {
        let entry = host.engines().catalog.entry(model).map_err(RuntimeError::from)?;
        digests.extend(entry.files().iter().map(|file| file.sha256.to_owned()));
    }
    let identity = json!([
        "event",
        event.bucket,
        job.input.as_str(),
        meta.etag,
        event.version,
        job.output_prefix,
        job.pipeline,
        job.options,
        guest.sha256,
        digests
    ]);
    let spec = Spec {
        pipeline: job.pipeline,
        input: job.input.to_string(),
        input_etag: Some(meta.etag),
        input_owned: false,
        output_prefix: job.output_prefix,
        options: job.options,
        batch: Spec::BATCH,
        window: None,
        split: None,
        part_of: None,
        outputs: Wanted::default(),
        metadata: std::collections::BTreeMap::new(),
        webhook: None,
    };
    let (record, new) = app.submit(Submission { spec, idempotency: Some(identity.to_string()), fingerprint: None, id: None }).await?;
    Ok(Ok((record.id, new)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_services_own_keys_are_known() {
        for key in ["results/a/overlay.mp4", "ledger/jobs/x.json", "uploads/1/in.mp4"] {
            assert!(own_prefix(key).is_some(), "{key}");
        }
        for key in ["incoming/a.mp4", "resultsets/a.mp4", "a.mp4"] {
            assert!(own_prefix(key).is_none(), "{key}");
        }
    }

    #[test]
    fn outputs_that_could_start_their_own_job_are_refused() {
        for (input, output) in [
            ("incoming/a.mp4", "incoming/"),
            ("incoming/a.mp4", "incoming/a.mp4/"),
            ("incoming/x/a.mp4", "incoming/"),
            ("incoming/x/a.mp4", "incoming/x/out/"),
            ("a.mp4", "out/"),
            ("incoming/a.mp4", "ledger/"),
            ("incoming/a.mp4", "uploads/x/"),
            ("results/a/in.mp4", "results/a/"),
        ] {
            assert!(unsafe_output(input, output).is_some(), "{input} -> {output}");
        }
        for (input, output) in
            [("incoming/a.mp4", "results/a/"), ("a.mp4", "results/a/"), ("incoming/a.mp4", "done/a/"), ("in/a", "incoming2/a/")]
        {
            assert_eq!(unsafe_output(input, output), None, "{input} -> {output}");
        }
    }
}
