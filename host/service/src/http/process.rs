//! A video in, a job out: waited for, or not.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::engines::EngineStatus;
use crate::http::submit::{self, JobRequest};
use crate::http::{ApiError, MOST_JSON_BYTES, upload};
use crate::jobs::{Record, State as JobState};
use crate::{App, AppError};

/// First and longest wait between two looks at a job that somebody waits for.
const LOOK: Duration = Duration::from_millis(100);
const MOST_LOOK: Duration = Duration::from_secs(1);

/// The form of both routes.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the form in the OpenAPI document")]
pub struct VideoForm {
    /// The video file.
    #[schema(value_type = String, format = Binary)]
    video: String,
    /// Kept for former clients; one model per device works on batches.
    #[schema(minimum = 1, maximum = 64)]
    num_workers: Option<u32>,
    /// Frames a batch, a hint.
    #[schema(minimum = 1, maximum = 64)]
    batch_size: Option<u32>,
    /// Pipeline by name.
    pipeline: Option<String>,
    /// JSON object: options of the pipeline.
    options: Option<String>,
    /// JSON object: cut the video into windows, each a job of its own, as `{"windows": 7}` or `{"seconds": 60, "overlap": 2}`.
    split: Option<String>,
    /// JSON object of strings, carried through.
    metadata: Option<String>,
    /// Address to tell of the end.
    webhook: Option<String>,
    /// Results wanted: video, poses, glb, bvh, with commas between.
    outputs: Option<String>,
}

/// A finished job, in the form that former clients know.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Processed {
    /// The job.
    pub job_id: String,
    /// Key of the overlay video in the store; none where none was wanted.
    pub output_path: Option<String>,
    /// Where this API gives it.
    pub output_url: Option<String>,
    /// Frames of the video.
    pub total_frames: u64,
    /// Frames per second of the video.
    pub fps: f64,
    /// `<width>x<height>`, pixels, upright.
    pub resolution: String,
    /// Frames that were handed on at once.
    pub batch_size: u64,
    /// Copies of each model that worked: one, which takes whole batches.
    pub num_workers: u32,
    /// Wall seconds of the work.
    pub processing_time_seconds: f64,
    /// Size of the overlay video in units of 2^20 bytes.
    pub output_size_mb: f64,
    /// What was found: people, tracks, frames by status.
    #[schema(value_type = Object)]
    pub pose_detection_stats: Value,
    /// What was drawn.
    #[schema(value_type = Object)]
    pub mesh_rendering_stats: Value,
    /// What the caller should know.
    #[schema(value_type = Vec<Object>)]
    pub warnings: Value,
}

impl Processed {
    /// From the record of a complete job.
    #[must_use]
    pub fn of(record: &Record) -> Option<Self> {
        let report = record.report.as_ref()?;
        let (counts, input) = (&report["counts"], &report["input"]);
        let video = record.output("video");
        let processing = report["wall_seconds"].as_f64().unwrap_or_default();
        Some(Self {
            job_id: record.id.clone(),
            output_path: video.map(|v| v.key.clone()),
            output_url: video.map(|_| format!("/jobs/{}/video", record.id)),
            total_frames: counts["frames"].as_u64().unwrap_or_default(),
            fps: input["frame_rate"].as_f64().unwrap_or_default(),
            resolution: format!("{}x{}", input["width"], input["height"]),
            batch_size: report["settings"]["batch"].as_u64().unwrap_or(u64::from(record.spec.batch)),
            num_workers: 1,
            processing_time_seconds: processing,
            output_size_mb: video.map_or(0.0, |v| v.bytes as f64 / f64::from(1 << 20)),
            pose_detection_stats: serde_json::json!({
                "people": counts["people"], "tracks": counts["tracks"], "statuses": counts["statuses"], "other": counts["other"],
            }),
            mesh_rendering_stats: serde_json::json!({
                "frames_drawn": counts["frames_drawn"], "frames_total": counts["frames"],
                "renderer": report["provenance"]["adapter"], "software": report["provenance"]["adapter_software"],
            }),
            warnings: report["warnings"].clone(),
        })
    }
}

/// The answer of `/process_video`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ProcessAnswer {
    /// Always `success`.
    pub status: &'static str,
    /// The finished job.
    pub data: Processed,
}

/// The answer of `/process_video_async`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AcceptAnswer {
    /// Always `accepted`.
    pub status: &'static str,
    /// The job.
    pub job_id: String,
    /// Where to ask for it.
    pub message: String,
}

/// The routes of this file. The form's limits are its own.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/process_video", post(process_video))
        .route("/process_video_async", post(process_video_async))
        .layer(DefaultBodyLimit::disable())
}

fn wrong_type() -> ApiError {
    let message = "send multipart/form-data with a field `video`";
    ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_content_type", message)
}

fn content_type(request: &Request) -> String {
    request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default().trim().to_ascii_lowercase()
}

async fn take_form(app: &Arc<App>, request: Request) -> Result<(HeaderMap, upload::Form), ApiError> {
    if !content_type(&request).starts_with("multipart/form-data") {
        return Err(wrong_type());
    }
    let headers = request.headers().clone();
    // told before the video is sent: a client that asks for leave to send (Expect: 100-continue) gets none
    let key = submit::idempotency(&headers)?;
    app.blocking(move |app| app.ledger.check_room(key.as_deref())).await?;
    let parts = Multipart::from_request(request, app).await.map_err(|e| ApiError::bad_request("bad_form", e.body_text()))?;
    let form = upload::receive(app, &headers, parts).await?;
    Ok((headers, form))
}

/// Works on a video and answers when it is done.
///
/// The job goes on when the caller hangs up; `GET /jobs` finds it.
#[utoipa::path(
    post, path = "/process_video", tag = "jobs", operation_id = "process_video",
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, description = "Equal keys make one job; one that comes with another body is refused")),
    request_body(content = VideoForm, content_type = "multipart/form-data"),
    responses((status = 200, description = "Done", body = ProcessAnswer),
              (status = 422, description = "`idempotency_key_reused`, or a body that is not as described"),
              (status = 429, description = "`queue_full`: told before the video is taken")),
)]
pub async fn process_video(State(app): State<Arc<App>>, request: Request) -> Result<Json<ProcessAnswer>, ApiError> {
    let (headers, form) = take_form(&app, request).await?;
    if let EngineStatus::Failed(message) = app.engines.status()
        && app.queue.get().is_none()
    {
        return Err(AppError::Engines(message).into());
    }
    let record = submit::of_form(&app, &headers, form).await?;
    app.announce(&record).await;
    let record = wait(&app, record).await?;
    match record.state {
        JobState::Complete => {
            let data = Processed::of(&record).ok_or_else(|| {
                ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", format!("job {} is complete but has no report", record.id))
            })?;
            Ok(Json(ProcessAnswer { status: "success", data }))
        }
        JobState::Cancelled => {
            Err(ApiError::new(StatusCode::CONFLICT, "cancelled", format!("job {} was cancelled before it was done", record.id)))
        }
        _ => Err(match &record.error {
            Some(error) => ApiError::of_job(error),
            None => ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", format!("job {} failed", record.id)),
        }),
    }
}

/// Waits for a job's end. Looks at the ledger, since the job may be another process's.
async fn wait(app: &Arc<App>, mut record: Record) -> Result<Record, ApiError> {
    let mut pause = LOOK;
    while !record.state.is_final() {
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(MOST_LOOK);
        let id = record.id.clone();
        record = app.blocking(move |app| app.ledger.get(&id)).await?;
    }
    Ok(record)
}

/// Accepts a job: a form with a video, or JSON that names one in the store.
#[utoipa::path(
    post, path = "/process_video_async", tag = "jobs", operation_id = "process_video_async",
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, description = "Equal keys make one job; one that comes with another body is refused")),
    request_body(content((VideoForm = "multipart/form-data"), (JobRequest = "application/json"))),
    responses((status = 202, description = "Accepted", body = AcceptAnswer),
              (status = 422, description = "`idempotency_key_reused`, or a body that is not as described"),
              (status = 429, description = "`queue_full`: told before the video is taken")),
)]
pub async fn process_video_async(State(app): State<Arc<App>>, request: Request) -> Result<(StatusCode, Json<AcceptAnswer>), ApiError> {
    let record = if content_type(&request).starts_with("multipart/form-data") {
        let (headers, form) = take_form(&app, request).await?;
        submit::of_form(&app, &headers, form).await?
    } else {
        let headers = request.headers().clone();
        let asked = take_json(&app, request).await?;
        submit::of_request(&app, &headers, asked).await?
    };
    app.announce(&record).await;
    let message = format!("ask GET /job_status/{} for it", record.id);
    Ok((StatusCode::ACCEPTED, Json(AcceptAnswer { status: "accepted", job_id: record.id, message })))
}

/// A JSON body within the limits that other routes have from their layer.
async fn take_json(app: &Arc<App>, request: Request) -> Result<JobRequest, ApiError> {
    let (parts, body) = request.into_parts();
    let body = tokio::time::timeout(app.config.body_pause, axum::body::to_bytes(body, MOST_JSON_BYTES)).await;
    let bytes = match body {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) => {
            let message = format!("the body has more than {MOST_JSON_BYTES} bytes, or broke off; a video is sent as multipart/form-data");
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message));
        }
        Err(_) => return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", "the body did not come in time; send it at once")),
    };
    let request = Request::from_parts(parts, bytes.into());
    let Json(asked) = Json::from_request(request, app).await.map_err(|e| ApiError::of_status(e.status(), e.body_text()))?;
    Ok(asked)
}
