//! When each frame of a video is shown and where decoding can begin, from the container alone: nothing is decoded.

use std::ffi::OsString;
use std::path::Path;

use serde::Deserialize;

use crate::tools::{DEMUXERS, file_url};
use crate::{MediaError, Tools, VideoInfo, probe};

/// The frames of a video in order of presentation.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameList {
    /// What is known of the video.
    pub info: VideoInfo,
    /// Timestamps, ticks of the video's time base, strictly increasing.
    pub pts: Vec<i64>,
    /// Indices of the key frames, increasing: decoding can begin there.
    pub keys: Vec<usize>,
}

#[derive(Deserialize)]
struct Report {
    #[serde(default)]
    packets: Vec<Packet>,
}

#[derive(Deserialize)]
struct Packet {
    pts: Option<i64>,
    #[serde(default)]
    flags: String,
}

/// Lists the frames of the video at `path`. Reads the container's index, or all of the file where it has none.
///
/// These are the frames a reader gives ([`crate::FfmpegSource`]), as long as the file is sound; whoever relies on it compares the count.
///
/// # Errors
/// Those of [`probe`]; [`MediaError::Unsupported`] where frames lack timestamps of their own, as in AVI or a bare stream.
pub fn list_frames(tools: &Tools, path: &Path) -> Result<FrameList, MediaError> {
    let info = probe(tools, path)?;
    let stream = info.stream.to_string();
    let mut args: Vec<OsString> = ["-v", "error", "-protocol_whitelist", "file", "-format_whitelist", DEMUXERS].map(Into::into).into();
    args.extend(["-of", "json", "-select_streams", &stream, "-show_entries", "packet=pts,flags", "-i"].map(Into::into));
    args.push(file_url(path));
    let output = tools.ffprobe(args)?;
    let report: Option<Report> = serde_json::from_slice(&output.stdout).ok().filter(|_| output.status.success());
    let Some(report) = report else {
        let cause = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(MediaError::NotAVideo { path: path.to_owned(), cause: format!("its frames cannot be listed: {cause}") });
    };
    let unsupported = |what: &str| Err(MediaError::Unsupported { path: path.to_owned(), what: what.to_owned() });
    // what an edit list cuts off is in the file, but not in the video
    let shown = report.packets.into_iter().filter(|p| !p.flags.contains('D'));
    let Some(mut frames) = shown.map(|p| Some((p.pts?, p.flags.starts_with('K')))).collect::<Option<Vec<(i64, bool)>>>() else {
        return unsupported("has frames without a timestamp");
    };
    frames.sort_unstable();
    if frames.is_empty() {
        return unsupported("holds no frame");
    }
    if frames.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return unsupported("has several frames with one timestamp");
    }
    let keys = frames.iter().enumerate().filter(|(_, (_, key))| *key).map(|(i, _)| i).collect();
    Ok(FrameList { info, pts: frames.into_iter().map(|(pts, _)| pts).collect(), keys })
}
