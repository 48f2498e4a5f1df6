//! What is known of jobs, and how to stop one.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::App;
use crate::clock::now_ms;
use crate::http::ApiError;
use crate::http::process::Processed;
use crate::jobs::ledger::is_id;
use crate::jobs::{JobError, ProgressRecord, Record, State as JobState};

/// Records of a page.
const MOST_LISTED: usize = 200;
/// Records that are looked at for a page when only some states are wanted.
const MOST_SEEN: usize = 2000;

/// The routes of this file.
pub fn routes() -> Router<Arc<App>> {
    Router::new().route("/job_status/{id}", get(job_status)).route("/jobs", get(list)).route("/jobs/{id}", get(job).delete(cancel))
}

/// The record as clients see it: without the lease and the digests of key and wishes, which are the service's own business.
fn shown(mut record: Record) -> Record {
    record.lease = None;
    record.idempotency = None;
    record.fingerprint = None;
    record.first_stored = None;
    record
}

/// The record of an id.
pub(super) async fn find(app: &Arc<App>, id: String) -> Result<Record, ApiError> {
    if !is_id(&id) {
        let given: String = id.chars().take(64).collect();
        let message = format!("there is no job {given:?}; ask GET /jobs for those there are");
        return Err(ApiError::new(StatusCode::NOT_FOUND, "job_unknown", message));
    }
    Ok(app.blocking(move |app| app.look(&id)).await?)
}

/// A job, in the form that former clients know.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct JobStatus {
    /// The job.
    pub job_id: String,
    /// Where it is.
    pub status: JobState,
    /// Seconds from submission to now, or to the end.
    pub elapsed_time: f64,
    /// How far.
    pub progress: ProgressRecord,
    /// What came of it, when complete.
    pub result: Option<Processed>,
    /// Key of the overlay video in the store.
    pub output_path: Option<String>,
    /// Where this API gives it.
    pub output_url: Option<String>,
    /// Wall seconds of the work, when complete.
    pub processing_time: Option<f64>,
    /// Why it failed.
    pub error: Option<JobError>,
}

impl JobStatus {
    /// From a record, at a time in Unix milliseconds.
    #[must_use]
    pub fn of(record: &Record, now_ms: u64) -> Self {
        let result = Processed::of(record);
        let elapsed = record.finished_ms.unwrap_or(now_ms).saturating_sub(record.created_ms);
        Self {
            job_id: record.id.clone(),
            status: record.state,
            elapsed_time: elapsed as f64 / 1000.0,
            progress: record.progress.clone(),
            output_path: result.as_ref().and_then(|r| r.output_path.clone()),
            output_url: result.as_ref().and_then(|r| r.output_url.clone()),
            processing_time: result.as_ref().map(|r| r.processing_time_seconds),
            result,
            error: record.error.clone(),
        }
    }
}

/// How far a job is.
#[utoipa::path(
    get, path = "/job_status/{id}", tag = "jobs", operation_id = "job_status",
    params(("id" = String, Path, description = "The job", pattern = "^[A-Za-z0-9-]{8,64}$")),
    responses((status = 200, description = "The job", body = JobStatus)),
)]
pub async fn job_status(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Json<JobStatus>, ApiError> {
    Ok(Json(JobStatus::of(&find(&app, id).await?, now_ms())))
}

/// Which jobs to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Listing {
    /// Most jobs of the answer, 50 where it is left out.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// Which jobs come first; the newest where it is left out.
    #[param(inline)]
    order: Option<Order>,
    /// Id after which to go on in that order: `next` of the former answer.
    #[param(pattern = "^[A-Za-z0-9-]{8,64}$")]
    after: Option<String>,
    /// Only jobs in this state.
    #[param(inline)]
    state: Option<JobState>,
}

/// Which jobs come first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Those submitted last.
    #[default]
    Newest,
    /// Those submitted first.
    Oldest,
}

/// Some jobs.
#[derive(Debug, Serialize, ToSchema)]
pub struct Jobs {
    /// The jobs.
    pub jobs: Vec<Record>,
    /// What to give as `after` to go on; none at the end.
    pub next: Option<String>,
}

/// Lists jobs, the newest first unless the order is asked for.
#[utoipa::path(
    get, path = "/jobs", tag = "jobs", operation_id = "list_jobs", params(Listing),
    responses((status = 200, description = "The jobs", body = Jobs)),
)]
pub async fn list(State(app): State<Arc<App>>, Query(asked): Query<Listing>) -> Result<Json<Jobs>, ApiError> {
    let limit = asked.limit.map_or(50, |n| usize::try_from(n).unwrap_or(usize::MAX));
    if !(1..=MOST_LISTED).contains(&limit) {
        return Err(ApiError::bad_request("bad_limit", format!("`limit` must be from 1 to {MOST_LISTED}")));
    }
    if asked.after.as_deref().is_some_and(|id| !is_id(id)) {
        return Err(ApiError::bad_request("bad_after", "`after` must be a job's id, as `next` of the former answer gives it"));
    }
    Ok(Json(app.blocking(move |app| page(app, limit, asked.order.unwrap_or_default(), asked.after, asked.state)).await?))
}

fn page(
    app: &App,
    limit: usize,
    order: Order,
    mut after: Option<String>,
    state: Option<JobState>,
) -> Result<Jobs, crate::jobs::LedgerError> {
    let (mut jobs, mut seen) = (Vec::new(), 0);
    loop {
        let records = match order {
            Order::Newest => app.ledger.newest(after.as_deref(), limit)?,
            Order::Oldest => app.ledger.list(after.as_deref(), limit)?,
        };
        if records.is_empty() {
            return Ok(Jobs { jobs, next: None });
        }
        for record in records {
            seen += 1;
            after = Some(record.id.clone());
            if state.is_none_or(|s| s == record.state) {
                jobs.push(shown(record));
            }
            if jobs.len() == limit || seen >= MOST_SEEN {
                return Ok(Jobs { jobs, next: after });
            }
        }
    }
}

/// Everything known of a job.
#[utoipa::path(
    get, path = "/jobs/{id}", tag = "jobs", operation_id = "get_job",
    params(("id" = String, Path, description = "The job", pattern = "^[A-Za-z0-9-]{8,64}$")),
    responses((status = 200, description = "The job", body = Record)),
)]
pub async fn job(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Json<Record>, ApiError> {
    Ok(Json(shown(find(&app, id).await?)))
}

/// Asks a job to stop.
///
/// One that waits has stopped with the answer; one that is worked on stops soon; one that has ended stays as it is.
#[utoipa::path(
    delete, path = "/jobs/{id}", tag = "jobs", operation_id = "cancel_job",
    params(("id" = String, Path, description = "The job", pattern = "^[A-Za-z0-9-]{8,64}$")),
    responses(
        (status = 200, description = "It has ended", body = Record),
        (status = 202, description = "It will stop", body = Record),
    ),
)]
pub async fn cancel(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<(StatusCode, Json<Record>), ApiError> {
    let id = find(&app, id).await?.id;
    let record = app.cancel(id).await?;
    let status = if record.state.is_final() { StatusCode::OK } else { StatusCode::ACCEPTED };
    // nobody works on a job that had not begun, so nobody else tells
    if record.state.is_final() && record.attempts == 0 {
        crate::webhook::tell(&app, &record).await;
    }
    Ok((status, Json(shown(record))))
}
