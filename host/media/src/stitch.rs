//! One video out of the parts of a plan: packets are copied, nothing is decoded or encoded anew.
//!
//! Every part was encoded by itself, so it begins with a key frame and refers to nothing before it; with equal parameters such streams
//! may follow each other. The parts keep the source's timestamps, and so does the result. The sound comes from the source, once.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use halfpipe_core::Size;
use serde::Deserialize;

use crate::ffmpeg::child::{Child, Input, Transfer, describe};
use crate::ffmpeg::encode::{SourceFile, warnings_of_sound};
use crate::ffmpeg::stitch_args::{shift_of, stitch_args};
use crate::ffmpeg::stop::StopSignal;
use crate::tools::{FFMPEG_VARIABLE, MINIMUM_VERSION, file_url};
use crate::{Container, Expect, ExpectedTimes, MediaError, Tools, Written, probe, verify};

/// What is to be put together.
#[derive(Debug, Clone)]
pub struct Stitch<'a> {
    /// The parts in order: H.264 in MP4 or MOV, as [`crate::FfmpegSink`] writes them for the windows of a plan.
    pub parts: &'a [PathBuf],
    /// The video they were made from, for its sound and clock.
    pub source: &'a SourceFile,
    /// Timestamps of all frames, ticks of the source's time base.
    pub pts: &'a [i64],
}

/// What the parts must agree on, and where each begins.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    /// Digest of the decoder's parameters.
    parameters: String,
    /// Size, and ticks a second.
    format: (u32, u32, String),
    /// Start in microseconds, as ffmpeg itself rounds it.
    start: i64,
}

#[derive(Deserialize)]
struct Report {
    #[serde(default)]
    streams: Vec<Stream>,
    format: Option<Format>,
}

#[derive(Deserialize)]
struct Stream {
    width: Option<u32>,
    height: Option<u32>,
    time_base: Option<String>,
    extradata_hash: Option<String>,
}

#[derive(Deserialize)]
struct Format {
    start_time: Option<String>,
}

/// Writes the parts to `output`, one after the other, with the source's sound, and verifies what came of it: all frames, at their times.
/// Waits for ffmpeg, about as long as copying the files takes. Where it fails or `stop` comes first, there is no output.
///
/// # Errors
/// [`MediaError::Verify`] for a part that cannot follow the one before, and for a result that is not what it should be;
/// [`MediaError::OutputContainer`]; [`MediaError::Encode`] and [`MediaError::ToolMissing`] where ffmpeg fails.
pub fn stitch(tools: &Tools, stitch: &Stitch<'_>, output: &Path, stop: StopSignal) -> Result<Written, MediaError> {
    let container = Container::of(output)?;
    let mut facts = Vec::with_capacity(stitch.parts.len());
    for part in stitch.parts {
        facts.push(facts_of(tools, part)?);
    }
    for (part, fact) in stitch.parts.iter().zip(&facts) {
        if (&fact.parameters, &fact.format) != (&facts[0].parameters, &facts[0].format) {
            let what = "its encoder's parameters differ from the first part's: run the window again, with the same ffmpeg and settings";
            return Err(MediaError::Verify { path: part.clone(), what: what.to_owned() });
        }
    }
    let Some(start) = facts.first().map(|f| f.start) else {
        return Err(MediaError::InvalidArgument { what: "a video needs at least one part".to_owned() });
    };
    let list = list(stitch.parts, &facts)?;
    let args = stitch_args(output, container, stitch.source, start)?;
    let size = Size::new(facts[0].format.0, facts[0].format.1);
    let written = copy(tools, args, &list, output, stop).and_then(|()| check(tools, stitch, size, output));
    if written.is_err() {
        // what is left of it is no video
        std::fs::remove_file(output).ok();
    }
    written
}

fn facts_of(tools: &Tools, part: &Path) -> Result<Facts, MediaError> {
    let info = probe(tools, part)?;
    let wrong = |what: String| MediaError::Verify { path: part.to_owned(), what };
    if info.codec != "h264" || !info.container.starts_with("mov,") {
        return Err(wrong(format!("it is {} in {}, not H.264 in MP4 or MOV", info.codec, info.container)));
    }
    let entries = "stream=width,height,time_base,extradata_hash:format=start_time";
    let mut args: Vec<OsString> = ["-v", "error", "-of", "json", "-show_data_hash", "sha256", "-select_streams"].map(Into::into).into();
    args.extend([info.stream.to_string().as_str(), "-show_entries", entries, "-i"].map(Into::into));
    args.push(file_url(part));
    let output = tools.ffprobe(args)?;
    let report: Option<Report> = serde_json::from_slice(&output.stdout).ok().filter(|_| output.status.success());
    let found = report.and_then(|r| {
        let stream = r.streams.into_iter().next()?;
        let start = microseconds(&r.format?.start_time?)?;
        Some(Facts { parameters: stream.extradata_hash?, format: (stream.width?, stream.height?, stream.time_base?), start })
    });
    found.ok_or_else(|| wrong("it does not say where it starts and how it is to be decoded".to_owned()))
}

/// `-1.5` and `3.676780` as whole microseconds.
fn microseconds(text: &str) -> Option<i64> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let part: i64 = format!("{part:0<6}").get(..6)?.parse().ok()?;
    Some(sign * (whole.parse::<i64>().ok()?.checked_mul(1_000_000)? + part))
}

/// The list that ffmpeg's concat demuxer reads. Each part is said to last until the next one starts, so that all are moved by the same
/// amount, which the arguments take back.
fn list(parts: &[PathBuf], facts: &[Facts]) -> Result<String, MediaError> {
    let mut text = "ffconcat version 1.0\n".to_owned();
    for (i, part) in parts.iter().enumerate() {
        let whole = std::fs::canonicalize(part).map_err(|e| MediaError::io("read", part, e))?;
        let Some(name) = whole.to_str().filter(|name| !name.contains('\n')) else {
            let what = format!("the path {} cannot be named in a list of parts: rename it in UTF-8, without line breaks", part.display());
            return Err(MediaError::InvalidArgument { what });
        };
        // writing to a String cannot fail
        writeln!(text, "file 'file:{}'", name.replace('\'', r"'\''")).ok();
        if let Some(next) = facts.get(i + 1) {
            let micros = next.start - facts[i].start;
            if micros <= 0 {
                return Err(MediaError::Verify {
                    path: parts[i + 1].clone(),
                    what: "it does not start after the part before it".to_owned(),
                });
            }
            writeln!(text, "duration {}.{:06}", micros / 1_000_000, micros % 1_000_000).ok();
        }
    }
    Ok(text)
}

fn copy(tools: &Tools, args: Vec<OsString>, list: &str, output: &Path, stop: StopSignal) -> Result<(), MediaError> {
    let failed = |cause: String| MediaError::Encode { path: output.to_owned(), frames: 0, cause };
    let broken = |e: std::io::Error| failed(format!("writing to ffmpeg failed: {e}"));
    std::fs::File::create(output).map_err(|e| MediaError::io("write", output, e))?;
    let mut child = Child::spawn(&tools.ffmpeg, args, Input::Text, stop).map_err(|source| MediaError::ToolMissing {
        tool: tools.ffmpeg.clone(),
        variable: FFMPEG_VARIABLE,
        minimum: MINIMUM_VERSION,
        source: Arc::new(source),
    })?;
    // where ffmpeg closes it early, its exit says why
    if child.write(list.as_bytes()).map_err(broken)? == Transfer::Stopped {
        return Err(failed("it was given up unfinished".to_owned()));
    }
    match child.finish().map_err(broken)? {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(failed(format!("{} ({})", describe(status), child.log().cause()))),
        None => Err(failed("it was given up unfinished".to_owned())),
    }
}

fn check(tools: &Tools, stitch: &Stitch<'_>, size: Size, output: &Path) -> Result<Written, MediaError> {
    let shift = shift_of(stitch.source);
    let pts: Vec<i64> = stitch.pts.iter().map(|pts| pts + shift).collect();
    let times = ExpectedTimes { time_base: stitch.source.info.format.time_base, pts: &pts };
    let frames = stitch.pts.len() as u64;
    verify(tools, output, Expect { frames, size, times: Some(times) })?;
    let bytes = std::fs::metadata(output).map_err(|e| MediaError::io("read", output, e))?.len();
    Ok(Written { frames, bytes, size, warnings: warnings_of_sound(Container::of(output)?, stitch.source) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_read_to_the_microsecond() {
        assert_eq!(microseconds("3.676780"), Some(3_676_780));
        assert_eq!(microseconds("-0.5"), Some(-500_000));
        assert_eq!(microseconds("7"), Some(7_000_000));
        assert_eq!(microseconds("N/A"), None);
    }
}
