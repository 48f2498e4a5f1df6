//! The command line that puts parts together: their packets from a list on standard input, the sound from the source file.

use std::ffi::OsString;
use std::path::Path;

use super::encode::SourceFile;
use super::encode_args::{Args, AudioRoute, MAX_TIME_SCALE, audio_route, movie_time_scale, shift_ticks};
use crate::tools::{DEMUXERS, file_url};
use crate::{AudioStream, Container, MediaError};

/// Ticks by which the times of the source's outputs are later than its own: parts have them, so the whole has.
pub fn shift_of(source: &SourceFile) -> i64 {
    shift_ticks(Some(source))
}

/// Arguments for ffmpeg. `start` is where the first part begins, microseconds: the list's clock starts at 0 there.
pub fn stitch_args(output: &Path, container: Container, source: &SourceFile, start: i64) -> Result<Vec<OsString>, MediaError> {
    let tb = source.info.format.time_base;
    if tb.den > MAX_TIME_SCALE {
        return Err(MediaError::InvalidArgument {
            what: format!("the time base {}/{} is finer than an output can hold (1/{MAX_TIME_SCALE})", tb.num, tb.den),
        });
    }
    let mut args = Args::default();
    args.all(["-nostdin", "-hide_banner", "-nostats", "-loglevel", "repeat+level+warning", "-y", "-copyts"]);
    if start != 0 {
        let (sign, micros) = (if start < 0 { "-" } else { "" }, start.unsigned_abs());
        args.all(["-itsoffset", &format!("{sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000)]);
    }
    // packets stay as they are, parameters beside them: all parts have the same
    args.all(["-protocol_whitelist", "file,pipe", "-format_whitelist", "concat,mov", "-thread_queue_size", "64"]);
    args.all(["-f", "concat", "-safe", "0", "-auto_convert", "0", "-i", "pipe:0"]);
    let streams: Vec<AudioStream> = source.info.audio.iter().filter(|a| a.codec.is_some()).cloned().collect();
    if !streams.is_empty() {
        let shift = shift_of(source);
        if shift != 0 {
            args.all(["-itsoffset", &format!("{:.6}", shift as f64 * tb.as_f64())]);
        }
        args.all(["-vn", "-sn", "-dn", "-protocol_whitelist", "file", "-format_whitelist", DEMUXERS, "-i"]);
        args.0.push(file_url(&source.path));
    }
    args.all(["-map", "0:v:0", "-c:v", "copy"]);
    for (i, stream) in streams.iter().enumerate() {
        args.all(["-map", &format!("1:{}", stream.index)]);
        if audio_route(container, stream) == AudioRoute::Transcode {
            args.all([&format!("-c:a:{i}"), "aac", &format!("-b:a:{i}"), "192k"]);
        } else {
            args.all([&format!("-c:a:{i}"), "copy"]);
        }
    }
    if container != Container::Mkv {
        // as a single run writes it, or a start other than 0 would be rounded to milliseconds
        let movie = movie_time_scale(tb, &streams);
        args.all(["-movflags", "+faststart", "-video_track_timescale", &tb.den.to_string(), "-movie_timescale", &movie.to_string()]);
    }
    args.all(["-f", container.muxer()]);
    args.0.push(file_url(output));
    Ok(args.0)
}
