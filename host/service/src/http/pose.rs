//! One picture in, its people out: the default pipeline as a job of one frame.

mod answer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use halfpipe_media::{MediaError, first_frame_png, still_to_video};
use halfpipe_runtime::{CancelToken, Host, Job, Outputs};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::{Semaphore, SemaphorePermit};
use utoipa::ToSchema;

use crate::http::error::ApiError;
use crate::jobs::work::spool_folder;
use crate::{App, AppError};
use answer::{Frame, Header, MeshCounts, PictureSize, PoseAnswer, PosePerson, named, warnings};

/// Largest picture, bytes.
const MOST_PICTURE_BYTES: usize = 20 << 20;
/// Largest request: base64 takes a third more.
const MOST_BODY_BYTES: usize = MOST_PICTURE_BYTES / 3 * 4 + (64 << 10);
/// Pictures worked on at once, beside the jobs.
static ROOM: Semaphore = Semaphore::const_new(2);
/// How long a picture may wait for its turn.
const PATIENCE: Duration = Duration::from_secs(20);
/// Constant rate factor of the drawn frame before it becomes a PNG: no difference that an eye sees.
const QUALITY: u8 = 8;

/// The routes of this file.
pub fn routes() -> Router<Arc<App>> {
    Router::new().route("/pose/hybrid", post(pose_hybrid)).layer(DefaultBodyLimit::max(MOST_BODY_BYTES))
}

/// What POST /pose/hybrid takes.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct PoseRequest {
    /// A PNG, JPEG, WebP or BMP picture in base64, with or without a `data:` prefix; at most 20 MiB decoded.
    #[schema(min_length = 1)]
    image_base64: String,
    /// The caller's number of the picture, given back.
    #[serde(default)]
    frame_number: u64,
    /// Whether to draw the bodies on the picture.
    #[serde(default)]
    visualize: bool,
}

/// Finds the people of one picture: the default pipeline on one frame, with its default options.
#[utoipa::path(post, path = "/pose/hybrid", tag = "pose", request_body = PoseRequest,
    responses((status = 200, body = PoseAnswer),
              (status = 400, description = "`bad_image`, with the reason"),
              (status = 413, description = "`too_large`"),
              (status = 429, description = "`busy`: other pictures are being worked on"),
              (status = 503, description = "The engines are not there")))]
pub(crate) async fn pose_hybrid(
    State(app): State<Arc<App>>,
    Json(PoseRequest { image_base64, frame_number, visualize }): Json<PoseRequest>,
) -> Result<Json<PoseAnswer>, ApiError> {
    let started = Instant::now();
    let picture = decode(&image_base64)?;
    drop(image_base64);
    let host = app.engines.wait().await.map_err(AppError::Engines)?;
    let _turn = turn().await?;
    // what is made for the request goes with it, also when the caller hangs up
    let folder = spool_folder(&app.config.spool).map_err(|source| AppError::Spool { path: app.config.spool.clone(), source })?;
    let video = prepare(&host, folder.path().to_owned(), picture).await?;
    let outputs = Outputs {
        poses: Some(folder.path().join("poses.jsonl")),
        video: visualize.then(|| folder.path().join("overlay.mp4")),
        ..Outputs::default()
    };
    let job = Job {
        id: format!("pose-{}", uuid::Uuid::new_v4().simple()),
        guest: app.shelf.get(&host, &app.config.pipeline).await.map_err(AppError::from)?,
        input: video,
        outputs: outputs.clone(),
        options: Value::Object(Map::new()),
        probed: None,
        batch: 1,
        window: None,
        quality: Some(QUALITY),
        preset: None,
        lockstep: false,
        cancel: CancelToken::default(),
        progress: Arc::new(|_| {}),
    };
    let report = host.run(job).await.map_err(AppError::from)?;
    let (header, frame) = read_poses(&folder.path().join("poses.jsonl")).await?;
    let visualization = match outputs.video {
        Some(path) => Some(png(&host, path).await?),
        None => None,
    };
    let people: Vec<PosePerson> = frame.people.into_iter().map(|person| named(person, &header, visualize)).collect();
    let drawn = visualize.then(|| people.iter().filter(|p| p.mesh_drawn == Some(true)).count());
    let warnings = warnings(&people, frame.message, drawn, report.counts.people, &report.warnings);
    Ok(Json(PoseAnswer {
        status: "success",
        frame_number,
        image: PictureSize { width: report.input.width, height: report.input.height },
        camera: header.camera,
        mesh: MeshCounts { bodies: report.counts.people, drawn, frames_drawn: visualize.then_some(report.counts.frames_drawn) },
        people,
        visualization,
        warnings,
        processing_time_seconds: started.elapsed().as_secs_f64(),
        provenance: serde_json::to_value(&report.provenance).map_err(|e| internal(format!("the provenance cannot be written: {e}")))?,
    }))
}

fn too_large() -> ApiError {
    let most = MOST_PICTURE_BYTES >> 20;
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", format!("the picture has more than {most} MiB; send a smaller one"))
}

fn bad_image(reason: impl std::fmt::Display) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "bad_image", format!("image_base64 {reason}"))
}

fn internal(message: String) -> ApiError {
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
}

/// The picture's bytes. Line breaks are tolerated: mail and command line tools make them.
fn decode(text: &str) -> Result<Vec<u8>, ApiError> {
    let text = match text.trim_start().strip_prefix("data:") {
        Some(rest) => {
            let (kind, data) =
                rest.split_once(',').ok_or_else(|| bad_image("begins with data: and has no comma; send data:image/png;base64,..."))?;
            if !kind.ends_with(";base64") {
                return Err(bad_image("is a data URL that is not in base64; send data:image/png;base64,..."));
            }
            data
        }
        None => text,
    };
    let clean: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    if clean.is_empty() {
        return Err(bad_image("is empty; send a PNG, JPEG, WebP or BMP picture in base64"));
    }
    let bytes = BASE64_STANDARD.decode(&clean).map_err(|e| bad_image(format!("is not base64: {e}")))?;
    if bytes.len() > MOST_PICTURE_BYTES { Err(too_large()) } else { Ok(bytes) }
}

/// Waits for a turn at the engines.
async fn turn() -> Result<SemaphorePermit<'static>, ApiError> {
    match tokio::time::timeout(PATIENCE, ROOM.acquire()).await {
        Ok(Ok(permit)) => Ok(permit),
        // the semaphore is never closed
        Ok(Err(_)) | Err(_) => Err(ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            "busy",
            format!("other pictures kept the engines for {} s; send this one again later", PATIENCE.as_secs()),
        )),
    }
}

/// Writes the picture and makes a video of one frame of it.
async fn prepare(host: &Host, folder: PathBuf, picture: Vec<u8>) -> Result<PathBuf, ApiError> {
    let host = host.clone();
    let made = tokio::task::spawn_blocking(move || {
        let (file, video) = (folder.join("picture"), folder.join("picture.mkv"));
        std::fs::write(&file, picture).map_err(|source| AppError::Spool { path: folder.clone(), source })?;
        Ok::<_, AppError>(still_to_video(&host.engines().tools, &file, &video).map(|()| video))
    });
    match made.await.map_err(AppError::from)?? {
        Ok(video) => Ok(video),
        // the path is ours and means nothing to the caller
        Err(MediaError::NotAPicture { cause, .. }) => {
            Err(bad_image(format!("is not a picture that can be read ({cause}); send a PNG, JPEG, WebP or BMP")))
        }
        Err(error) => Err(AppError::Runtime(error.into()).into()),
    }
}

/// The drawn frame, base64.
async fn png(host: &Host, video: PathBuf) -> Result<String, ApiError> {
    let host = host.clone();
    let made = tokio::task::spawn_blocking(move || first_frame_png(&host.engines().tools, &video));
    let bytes = made.await.map_err(AppError::from)?.map_err(|e| AppError::Runtime(e.into()))?;
    Ok(BASE64_STANDARD.encode(bytes))
}

/// Header and frame of the poses that the pipeline wrote.
async fn read_poses(path: &Path) -> Result<(Header, Frame), ApiError> {
    let text = tokio::fs::read_to_string(path).await.map_err(|e| internal(format!("the poses cannot be read: {e}")))?;
    let mut lines = text.lines();
    let mut line = || lines.next().ok_or_else(|| internal("the pipeline wrote no poses for the picture".into()));
    let odd = |e: serde_json::Error| internal(format!("the pipeline's poses are not halfpipe.poses/1: {e}"));
    Ok((serde_json::from_str(line()?).map_err(odd)?, serde_json::from_str(line()?).map_err(odd)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_come_with_or_without_a_prefix_and_with_line_breaks() {
        for text in ["aGk=", "data:image/png;base64,aGk=", "aG\r\nk=\n", " data:;base64,aGk="] {
            assert_eq!(decode(text).unwrap(), b"hi", "{text}");
        }
    }

    #[test]
    fn what_is_no_base64_is_refused() {
        for text in ["", "  ", "!!!!", "aGk", "data:image/png,abc", "data:image/png;base64"] {
            assert_eq!(decode(text).unwrap_err().code, "bad_image", "{text}");
        }
    }
}
