//! Results of finished jobs: whole, in byte ranges, and frame by frame.

mod frames;
mod range;

use std::io::Read;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use halfpipe_store::{Key, Object, ObjectMeta, StoreError};
use tokio_stream::wrappers::ReceiverStream;

use crate::App;
use crate::http::ApiError;
use crate::http::jobs::find;
use crate::jobs::record::Output;
use crate::jobs::{Record, State as JobState};
use range::Asked;

pub use frames::{__path_frames, FrameAnswer, frames};

/// Piece in which a body is read.
const PIECE: usize = 256 << 10;
/// Pieces that are read ahead of the client.
const AHEAD: usize = 4;

/// The routes of this file.
pub fn routes() -> Router<Arc<App>> {
    Router::new().route("/jobs/{id}/frames", get(frames)).route("/jobs/{id}/{result}", get(result))
}

/// The result of a role, of a job that is complete.
fn output<'r>(record: &'r Record, role: &str) -> Result<&'r Output, ApiError> {
    let id = &record.id;
    match record.state {
        JobState::Complete => {}
        JobState::Queued | JobState::Processing => {
            let message = format!("job {id} is not done yet; ask GET /job_status/{id} when it is");
            return Err(ApiError::new(StatusCode::CONFLICT, "not_finished", message));
        }
        JobState::Error => {
            let message = format!("job {id} failed and has no results; GET /job_status/{id} says why");
            return Err(ApiError::new(StatusCode::CONFLICT, "job_failed", message));
        }
        JobState::Cancelled => {
            return Err(ApiError::new(StatusCode::CONFLICT, "job_cancelled", format!("job {id} was cancelled and has no results")));
        }
    }
    record.output(role).ok_or_else(|| {
        let message = format!("job {id} made no {role}: it was not asked for, or there was nothing to write; see the job's warnings");
        ApiError::new(StatusCode::NOT_FOUND, "result_unknown", message)
    })
}

/// What a result is, to a browser.
fn content_type(role: &str) -> &'static str {
    match role {
        "video" => "video/mp4",
        "poses" => "application/x-ndjson",
        "glb" => "model/gltf-binary",
        "report" => "application/json",
        bvh if bvh.starts_with("bvh") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// A store's version as an entity tag.
fn entity_tag(etag: &str) -> String {
    let plain: String = etag.chars().filter(|c| c.is_ascii_graphic() && *c != '"').collect();
    format!("\"{plain}\"")
}

/// The error of a result whose object is not what the record says.
fn gone(record: &Record, output: &Output) -> ApiError {
    let message = format!("the {} of job {} was removed from the store or replaced; run the job again", output.role, record.id);
    ApiError::new(StatusCode::GONE, "result_gone", message)
}

/// Makes sure that an object is still the one that the job made.
fn same(record: &Record, output: &Output, meta: &ObjectMeta) -> Result<(), ApiError> {
    if meta.etag == output.etag { Ok(()) } else { Err(gone(record, output)) }
}

/// One result of a job: `video`, `poses`, `glb`, `bvh` or `report`.
///
/// Further tracks have motion files of their own, `bvh.track2` and so on: the record's `outputs` name them.
/// Understands `Range` (one range), `If-Range` and `If-None-Match`.
#[utoipa::path(
    get, path = "/jobs/{id}/{result}", tag = "results", operation_id = "get_result",
    params(
        ("id" = String, Path, description = "The job", pattern = "^[A-Za-z0-9-]{8,64}$"),
        ("result" = ResultName, Path, description = "Which result"),
        ("Range" = Option<String>, Header, description = "One range of bytes"),
        ("If-Range" = Option<String>, Header, description = "Entity tag that the range is of"),
        ("If-None-Match" = Option<String>, Header, description = "Entity tags that the client has"),
    ),
    responses(
        (status = 200, description = "The whole result", content(
            (Vec<u8> = "video/mp4"), (String = "application/x-ndjson"), (Vec<u8> = "model/gltf-binary"), (String = "text/plain"),
            (Object = "application/json"),
        )),
        (status = 206, description = "The range", content(
            (Vec<u8> = "video/mp4"), (String = "application/x-ndjson"), (Vec<u8> = "model/gltf-binary"), (String = "text/plain"),
            (String = "application/json"),
        )),
        (status = 304, description = "The client has it"),
    ),
)]
pub async fn result(
    State(app): State<Arc<App>>,
    Path((id, role)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let further = role.strip_prefix("bvh.track").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    if !further && !["video", "poses", "glb", "bvh", "report"].contains(&role.as_str()) {
        return Err(ApiError::new(StatusCode::NOT_FOUND, "route_unknown", "jobs have video, poses, glb, bvh, report, frames and events"));
    }
    let record = find(&app, id).await?;
    let output = output(&record, &role)?.clone();
    let key = Key::new(output.key.clone())?;
    let (at, place) = (key.clone(), Arc::clone(app.results_of(&record)));
    let meta = app.blocking(move |_| present(place.head(&at))).await?.ok_or_else(|| gone(&record, &output))?;
    same(&record, &output, &meta)?;
    let tag = entity_tag(&meta.etag);
    let shared = common_headers(&record, &role, key.file_name(), &tag)?;
    let text = |name| headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok());
    if text(header::IF_NONE_MATCH).is_some_and(|tags| range::has_tag(tags, &tag)) {
        return Ok((StatusCode::NOT_MODIFIED, shared).into_response());
    }
    // ranges are defined for GET alone (RFC 9110, 14.2); a changed object is sent whole
    let fresh = text(header::IF_RANGE).is_none_or(|t| t.trim() == tag);
    let asked = match text(header::RANGE) {
        Some(range) if method == Method::GET && fresh => range::parse(range, meta.size),
        _ => Asked::Whole,
    };
    let (status, bytes) = match asked {
        Asked::Whole => (StatusCode::OK, 0..meta.size),
        Asked::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
        Asked::Beyond => {
            let message = format!("the result has {} bytes; ask for a range within them", meta.size);
            let error = ApiError::new(StatusCode::RANGE_NOT_SATISFIABLE, "bad_range", message);
            return Ok(([(header::CONTENT_RANGE, format!("bytes */{}", meta.size))], error).into_response());
        }
    };
    let mut response = (status, shared).into_response();
    let answer = response.headers_mut();
    answer.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.end - bytes.start));
    if status == StatusCode::PARTIAL_CONTENT {
        let text = format!("bytes {}-{}/{}", bytes.start, bytes.end - 1, meta.size);
        answer.insert(header::CONTENT_RANGE, HeaderValue::try_from(text).map_err(|_| gone(&record, &output))?);
    }
    if method != Method::HEAD && !bytes.is_empty() {
        let place = Arc::clone(app.results_of(&record));
        let opened = app.blocking(move |_| present(place.open(&key, Some(bytes)))).await?;
        let object = opened.ok_or_else(|| gone(&record, &output))?;
        same(&record, &output, &object.meta)?;
        *response.body_mut() = body(object);
    }
    Ok(response)
}

/// An object, or none where there is none.
fn present<T>(found: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(e) => Err(e),
    }
}

fn common_headers(record: &Record, role: &str, name: &str, tag: &str) -> Result<HeaderMap, ApiError> {
    let value = |text: String| {
        HeaderValue::try_from(text).map_err(|_| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "a header cannot be written"))
    };
    let plain = super::upload::safe_name(name);
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(role)));
    headers.insert(header::CONTENT_DISPOSITION, value(format!("inline; filename=\"{}-{plain}\"", record.id))?);
    headers.insert(header::ETAG, value(tag.to_owned())?);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(headers)
}

/// A blocking reader as a body: read where blocking is allowed, a few pieces ahead of the client.
fn body(mut object: Object) -> Body {
    let (sender, pieces) = tokio::sync::mpsc::channel::<std::io::Result<Bytes>>(AHEAD);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut piece = vec![0; PIECE];
            let read = match object.body.read(&mut piece) {
                Ok(0) => return,
                Ok(n) => {
                    piece.truncate(n);
                    Ok(Bytes::from(piece))
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => {
                    tracing::warn!(error = %e, "a result could not be read to its end");
                    Err(e)
                }
            };
            let broken = read.is_err();
            // a client that is gone needs no more
            if sender.blocking_send(read).is_err() || broken {
                return;
            }
        }
    });
    Body::from_stream(ReceiverStream::new(pieces))
}

/// A result's name in its path.
#[derive(utoipa::ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum ResultName {
    /// The overlay video.
    Video,
    /// poses.jsonl.
    Poses,
    /// Animated glTF.
    Glb,
    /// Biovision motion.
    Bvh,
    /// report.json.
    Report,
}
