//! Takes in a multipart form: its video goes to the spool as it arrives, its texts to memory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::Multipart;
use axum::extract::multipart::{Field, MultipartError};
use axum::http::{HeaderMap, StatusCode, header};
use halfpipe_media::{MediaError, Tools, VideoInfo};
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use crate::engines::{EngineStatus, Engines};
use crate::http::ApiError;
use crate::jobs::ledger::hex;
use crate::jobs::work::spool_folder;
use crate::{App, Config};

/// Bytes that are written between two looks at the disk.
const LOOK_EVERY: u64 = 16 << 20;
/// Longest text of a form.
const MOST_TEXT: usize = 64 << 10;
/// What a form may have around its video, bytes: boundaries, headers and texts.
const FORM_OVERHEAD: u64 = 1 << 20;
/// Longest file name that is kept, bytes.
const MOST_NAME: usize = 100;
/// Texts a form may hold.
const FIELDS: [&str; 8] = ["num_workers", "batch_size", "pipeline", "options", "metadata", "webhook", "outputs", "split"];

/// A form that was taken in.
#[derive(Debug)]
pub(super) struct Form {
    /// The video in the spool.
    pub video: PathBuf,
    /// Its name, safe as the last part of a key.
    pub name: String,
    /// The texts by field name.
    pub texts: BTreeMap<String, String>,
    /// Digest of the video, of a request with an Idempotency-Key.
    pub sha256: Option<String>,
    /// Holds the video; it goes with this.
    _folder: tempfile::TempDir,
}

/// The last part of a client's file name, in characters that are plain in every store and header.
pub(super) fn safe_name(given: &str) -> String {
    let last = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain: String = last.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' }).collect();
    let plain = plain.trim_start_matches('.');
    // the end holds the extension
    let plain = &plain[plain.len().saturating_sub(MOST_NAME)..];
    let plain = plain.trim_start_matches('.');
    if plain.is_empty() { "video".into() } else { plain.into() }
}

fn too_large(config: &Config) -> ApiError {
    let message =
        format!("the video has more than the {} bytes that are taken in; send a shorter or smaller one", config.most_upload_bytes);
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
}

fn bad_form(message: impl Into<String>) -> ApiError {
    ApiError::bad_request("bad_form", message)
}

fn form_error(e: &MultipartError) -> ApiError {
    if e.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return ApiError::new(e.status(), "too_large", e.body_text());
    }
    bad_form(format!("the form cannot be read ({}); send multipart/form-data that ends with its closing boundary", e.body_text()))
}

/// Waits for the next part of the body, but not for ever.
async fn within<T>(pause: Duration, part: impl Future<Output = Result<T, MultipartError>>) -> Result<T, ApiError> {
    match tokio::time::timeout(pause, part).await {
        Ok(part) => part.map_err(|e| form_error(&e)),
        Err(_) => {
            let message = format!("nothing came for {} s; send the body without long pauses", pause.as_secs_f64());
            Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", message))
        }
    }
}

pub(super) fn spool_error(e: &std::io::Error) -> ApiError {
    if matches!(e.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) {
        return no_room();
    }
    tracing::error!(error = %e, "the spool cannot be used");
    ApiError {
        retry_after: Some(30),
        ..ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "spool_unavailable",
            "the service cannot store the upload at the moment; try again",
        )
    }
}

fn no_room() -> ApiError {
    let message = "the service's disk has no room for this video; try again later, or send a smaller one";
    ApiError { retry_after: Some(60), ..ApiError::new(StatusCode::INSUFFICIENT_STORAGE, "disk_full", message) }
}

/// Makes sure that `more` bytes fit beside the reserve.
pub(super) fn look_at_disk(folder: &Path, more: u64, reserve: u64) -> Result<(), ApiError> {
    let facts = rustix::fs::statvfs(folder).map_err(|e| spool_error(&e.into()))?;
    let free = facts.f_bavail.saturating_mul(facts.f_frsize);
    if free < more.saturating_add(reserve) { Err(no_room()) } else { Ok(()) }
}

/// Takes a form in.
///
/// # Errors
/// 400 for a form that is not as it should be or a video that is empty, 408 where nothing comes for too long, 413 where too much
/// comes, 507 where the disk is full.
pub(super) async fn receive(app: &Arc<App>, headers: &HeaderMap, mut parts: Multipart) -> Result<Form, ApiError> {
    let config = &app.config;
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > config.most_upload_bytes.saturating_add(FORM_OVERHEAD)) {
        return Err(too_large(config));
    }
    let folder = spool_folder(&config.spool).map_err(|e| spool_error(&e))?;
    look_at_disk(folder.path(), announced.unwrap_or(0), config.disk_reserve_bytes)?;
    let mut texts = BTreeMap::new();
    let mut video = None;
    let mut sum = headers.contains_key("idempotency-key").then(Sha256::new);
    while let Some(field) = within(config.body_pause, parts.next_field()).await? {
        let name = field.name().unwrap_or_default().to_owned();
        if name == "video" {
            if video.is_some() {
                return Err(bad_form("the form has two fields `video`; send one video a request"));
            }
            let kept = safe_name(field.file_name().unwrap_or_default());
            let path = folder.path().join("upload");
            write(config, field, &path, folder.path(), sum.as_mut()).await?;
            video = Some((path, kept));
        } else if FIELDS.contains(&name.as_str()) {
            let text = text(config, field, &name).await?;
            if texts.insert(name.clone(), text).is_some() {
                return Err(bad_form(format!("the form has two fields `{name}`; send it once")));
            }
        } else {
            let shown: String = name.chars().take(64).collect();
            return Err(bad_form(format!("the form has a field {shown:?}; there are `video`, `{}`", FIELDS.join("`, `"))));
        }
    }
    let Some((video, name)) = video else {
        return Err(ApiError::bad_request("video_missing", "the form has no field `video`; send the file under that name"));
    };
    Ok(Form { video, name, texts, sha256: sum.map(|sum| hex(&sum.finalize())), _folder: folder })
}

/// Writes a field to a file as it arrives.
async fn write(config: &Config, mut field: Field<'_>, path: &Path, folder: &Path, mut sum: Option<&mut Sha256>) -> Result<(), ApiError> {
    let mut file = File::create(path).await.map_err(|e| spool_error(&e))?;
    let (mut size, mut looked) = (0_u64, 0_u64);
    while let Some(piece) = within(config.body_pause, field.chunk()).await? {
        size += piece.len() as u64;
        if size > config.most_upload_bytes {
            return Err(too_large(config));
        }
        if size - looked >= LOOK_EVERY {
            looked = size;
            look_at_disk(folder, 0, config.disk_reserve_bytes)?;
        }
        if let Some(sum) = sum.as_mut() {
            sum.update(&piece);
        }
        file.write_all(&piece).await.map_err(|e| spool_error(&e))?;
    }
    file.flush().await.map_err(|e| spool_error(&e))?;
    if size == 0 {
        return Err(ApiError::bad_request("video_empty", "the field `video` is empty (0 bytes); send the file's content"));
    }
    Ok(())
}

async fn text(config: &Config, mut field: Field<'_>, name: &str) -> Result<String, ApiError> {
    let mut bytes = Vec::new();
    loop {
        let piece: Option<Bytes> = within(config.body_pause, field.chunk()).await?;
        let Some(piece) = piece else { break };
        if bytes.len() + piece.len() > MOST_TEXT {
            let message = format!("the field `{name}` has more than {MOST_TEXT} bytes; shorten it");
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message));
        }
        bytes.extend_from_slice(&piece);
    }
    String::from_utf8(bytes).map_err(|_| bad_form(format!("the field `{name}` is not UTF-8 text")))
}

/// Makes sure that a file is a video that can be worked on, and gives what is in it.
///
/// # Errors
/// 400 with what is wrong with it; 503 where it cannot be looked at.
pub(super) async fn check_video(engines: &Engines, form: &Form) -> Result<VideoInfo, ApiError> {
    static TOOLS: OnceLock<Tools> = OnceLock::new();
    let path = form.video.clone();
    let engines = engines.status();
    let probed = tokio::task::spawn_blocking(move || {
        let tools = match &engines {
            EngineStatus::Ready(host) => &host.engines().tools,
            // a front door has none, and elsewhere they may be on their way
            EngineStatus::Starting | EngineStatus::Failed(_) => match TOOLS.get() {
                Some(tools) => tools,
                None => {
                    let found = Tools::find()?;
                    TOOLS.get_or_init(|| found)
                }
            },
        };
        halfpipe_media::probe(tools, &path)
    })
    .await
    .map_err(crate::AppError::Task)?;
    probed.map_err(|e| video_error(&e, form))
}

fn video_error(e: &MediaError, form: &Form) -> ApiError {
    if !e.is_bad_input() {
        tracing::error!(error = %e, "a video cannot be looked at");
        let message = "the service cannot look into videos at the moment; try again";
        return ApiError { retry_after: Some(30), ..ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "environment", message) };
    }
    let code = match e {
        MediaError::Truncated { .. } => "video_truncated",
        MediaError::NoVideoStream { .. } => "video_without_picture",
        MediaError::Unsupported { .. } => "video_unsupported",
        _ => "video_unreadable",
    };
    // the client knows its file by name, not where it lies here
    ApiError::bad_request(code, e.to_string().replace(&form.video.display().to_string(), &form.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_everything_that_leads_astray() {
        for (given, kept) in [
            ("ride.mp4", "ride.mp4"),
            ("../../etc/passwd", "passwd"),
            (r"C:\clips\ride 1.mov", "ride_1.mov"),
            ("..", "video"),
            ("", "video"),
            (".hidden.mp4", "hidden.mp4"),
            ("a\r\nb\".mp4", "a__b_.mp4"),
            ("größe.mp4", "gr__e.mp4"),
        ] {
            assert_eq!(safe_name(given), kept, "{given:?}");
        }
        let long = safe_name(&format!("{}.mp4", "x".repeat(500)));
        assert!(long.len() == MOST_NAME && long.ends_with(".mp4"));
    }
}
