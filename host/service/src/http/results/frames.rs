//! Frames of poses.jsonl by number, read as a stream: the file may be larger than memory.

use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use halfpipe_store::{Key, Object};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{gone, output, present, same};
use crate::App;
use crate::http::ApiError;
use crate::http::jobs::find;

/// Frames of one answer.
const MOST_FRAMES: u64 = 1000;
/// Longest line: many people with all their joints are far below.
const MOST_LINE: u64 = 16 << 20;
/// Most bytes of one answer's frames.
const MOST_BYTES: u64 = 64 << 20;

/// Which frames.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Window {
    /// First frame, 0 where it is left out.
    #[param(minimum = 0)]
    from: Option<u64>,
    /// Frame after the last, at most 1000 after the first; `from` + 1000 where it is left out.
    #[param(minimum = 1)]
    to: Option<u64>,
}

/// Frames of a pose file.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub struct FrameAnswer {
    /// The file's first line: what the numbers mean.
    #[schema(value_type = Object)]
    pub header: Value,
    /// The frames in order; fewer than asked for at the video's end.
    #[schema(value_type = Vec<Object>)]
    pub frames: Vec<Value>,
}

/// Frames `from` to `to` (not with it) of the poses.
#[utoipa::path(
    get, path = "/jobs/{id}/frames", tag = "results", operation_id = "get_frames",
    params(("id" = String, Path, description = "The job", pattern = "^[A-Za-z0-9-]{8,64}$"), Window),
    responses((status = 200, description = "The frames", body = FrameAnswer)),
)]
pub async fn frames(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(window): Query<Window>,
) -> Result<Json<FrameAnswer>, ApiError> {
    let from = window.from.unwrap_or(0);
    let to = window.to.unwrap_or_else(|| from.saturating_add(MOST_FRAMES));
    if to <= from || to - from > MOST_FRAMES {
        let message =
            format!("`to` must be after `from`, and at most {MOST_FRAMES} frames are given at once; ask for more in several requests");
        return Err(ApiError::bad_request("bad_window", message));
    }
    let record = find(&app, id).await?;
    let output = output(&record, "poses")?.clone();
    let key = Key::new(output.key.clone())?;
    let place = Arc::clone(app.results_of(&record));
    let opened = app.blocking(move |_| present(place.open(&key, None))).await?;
    let object = opened.ok_or_else(|| gone(&record, &output))?;
    same(&record, &output, &object.meta)?;
    let read = tokio::task::spawn_blocking(move || read(object, from, to)).await.map_err(crate::AppError::Task)?;
    Ok(Json(read?))
}

fn read(object: Object, from: u64, to: u64) -> Result<FrameAnswer, ApiError> {
    select(BufReader::with_capacity(super::PIECE, object.body), from, to)
}

/// Reads the first line and those of the frames, and no further.
fn select(mut lines: impl BufRead, from: u64, to: u64) -> Result<FrameAnswer, ApiError> {
    let mut line = Vec::new();
    let header = match next(&mut lines, &mut line)? {
        true => parse(&line)?,
        false => return Err(damaged("it is empty")),
    };
    let (mut frames, mut bytes) = (Vec::new(), 0);
    for index in 0..to {
        if !next(&mut lines, &mut line)? {
            break;
        }
        if index >= from {
            bytes += line.len() as u64;
            if bytes > MOST_BYTES {
                let message = format!("these frames have more than {MOST_BYTES} bytes; ask for fewer at once");
                return Err(ApiError::bad_request("bad_window", message));
            }
            frames.push(parse(&line)?);
        }
    }
    Ok(FrameAnswer { header, frames })
}

/// Whether there was a line.
fn next(lines: &mut impl BufRead, line: &mut Vec<u8>) -> Result<bool, ApiError> {
    line.clear();
    let n = lines.take(MOST_LINE).read_until(b'\n', line).map_err(|e| {
        tracing::warn!(error = %e, "a pose file could not be read");
        ApiError {
            retry_after: Some(5),
            ..ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", "the poses cannot be read now; try again")
        }
    })?;
    if n as u64 == MOST_LINE {
        return Err(damaged("a line has no end"));
    }
    Ok(n > 0)
}

fn parse(line: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(line).map_err(|e| damaged(&e.to_string()))
}

fn damaged(why: &str) -> ApiError {
    tracing::error!(why, "a pose file is damaged");
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "result_damaged", format!("the job's poses cannot be read ({why}); run the job again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "{\"schema\":\"s\"}\n{\"i\":0}\n{\"i\":1}\n{\"i\":2}\n";

    #[test]
    fn a_window_of_frames() {
        let all = select(FILE.as_bytes(), 0, 1000).unwrap();
        assert_eq!((all.header["schema"].as_str(), all.frames.len()), (Some("s"), 3));
        let some = select(FILE.as_bytes(), 1, 2).unwrap();
        assert_eq!(some.frames, [serde_json::json!({ "i": 1 })]);
        assert!(select(FILE.as_bytes(), 3, 5).unwrap().frames.is_empty());
    }

    #[test]
    fn nothing_behind_the_window_is_read() {
        let text = format!("{FILE}garbage\n");
        assert_eq!(select(text.as_bytes(), 0, 3).unwrap().frames.len(), 3);
        assert_eq!(select(text.as_bytes(), 0, 4).unwrap_err().code, "result_damaged");
        assert_eq!(select(&b""[..], 0, 4).unwrap_err().code, "result_damaged");
    }
}
