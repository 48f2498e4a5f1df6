//! Asks ffprobe what a file holds.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::process::Output;

use halfpipe_core::{Colour, Range, Rational, Size, VideoFormat};
use serde::Deserialize;

use crate::MediaError;
use crate::ffmpeg::log::without_address;
use crate::info::{AudioStream, ColourTags, VideoInfo, matrix_of_tag};
use crate::spares::{SpareProbe, suits};
use crate::tools::{DEMUXERS, Tools, file_url};

/// What ffprobe prints, as far as it is used.
#[derive(Deserialize)]
struct Report {
    #[serde(default)]
    streams: Vec<Stream>,
    format: Option<Format>,
    #[serde(default)]
    packets: Vec<Packet>,
}

#[derive(Deserialize)]
struct Packet {
    stream_index: u32,
    pts: Option<i64>,
}

#[derive(Deserialize)]
struct Format {
    format_name: String,
    duration: Option<String>,
    start_time: Option<String>,
}

#[derive(Deserialize)]
struct Stream {
    index: u32,
    codec_type: Option<String>,
    codec_name: Option<String>,
    width: Option<u32>,
    height: Option<u32>,
    pix_fmt: Option<String>,
    color_range: Option<String>,
    color_space: Option<String>,
    color_primaries: Option<String>,
    color_transfer: Option<String>,
    sample_aspect_ratio: Option<String>,
    avg_frame_rate: Option<String>,
    r_frame_rate: Option<String>,
    time_base: Option<String>,
    start_pts: Option<i64>,
    duration: Option<String>,
    nb_frames: Option<String>,
    nb_read_packets: Option<String>,
    channels: Option<u32>,
    sample_rate: Option<String>,
    #[serde(default)]
    disposition: Disposition,
    #[serde(default)]
    side_data_list: Vec<SideData>,
}

#[derive(Deserialize, Default)]
struct Disposition {
    #[serde(default)]
    attached_pic: u8,
}

#[derive(Deserialize)]
struct SideData {
    rotation: Option<f64>,
}

impl Stream {
    fn is(&self, kind: &str) -> bool {
        self.codec_type.as_deref() == Some(kind)
    }
}

/// What [`probe`] asks.
pub(crate) const WHAT: [&str; 2] = ["-show_format", "-show_streams"];

/// What the file at `path` holds. Waits for ffprobe, some 60 ms, or 10 where one has been started already ([`Tools::with_spares`]).
///
/// # Errors
/// [`MediaError::NotFound`], [`MediaError::NotAFile`], [`MediaError::Empty`], [`MediaError::NotAVideo`],
/// [`MediaError::Truncated`], [`MediaError::NoVideoStream`] or [`MediaError::Unsupported`] for what the file is;
/// [`MediaError::Io`] or [`MediaError::ToolMissing`] for what this machine lacks.
pub fn probe(tools: &Tools, path: &Path) -> Result<VideoInfo, MediaError> {
    check_file(path)?;
    let report = match tools.spares.as_ref().and_then(|spares| understood(spares.ask(path)?)) {
        Some(report) => report,
        None => ask(tools, path, &WHAT)?,
    };
    read(path, &report)
}

/// What a spare says, where it found what it may have the last word on: one that knows the file's name is asked otherwise.
fn understood(output: Output) -> Option<Report> {
    let report: Report = serde_json::from_slice(&output.stdout).ok()?;
    (output.status.success() && report.format.as_ref().is_some_and(|format| suits(&format.format_name))).then_some(report)
}

/// What a file holds, and the packets of its video stream: one each frame.
pub(crate) struct Contents {
    pub(crate) info: VideoInfo,
    /// Number of packets.
    pub(crate) packets: u64,
    /// Their timestamps, in the order of the file; empty where they were not asked for.
    pub(crate) pts: Vec<Option<i64>>,
}

/// What [`probe_packets`] asks where timestamps are wanted.
pub(crate) const WHAT_PACKETS: [&str; 3] = ["-count_packets", "-show_entries", "format:stream:packet=stream_index,pts"];

/// [`probe`] that also reads the file to its end and counts packets. `spare` is an ffprobe that was started to be asked [`WHAT_PACKETS`].
pub(crate) fn probe_packets(tools: &Tools, path: &Path, times: bool, spare: Option<SpareProbe>) -> Result<Contents, MediaError> {
    check_file(path)?;
    let what = if times { WHAT_PACKETS } else { ["-count_packets", "-show_entries", "format:stream"] };
    let report = match spare.filter(|_| times).and_then(|spare| understood(spare.ask(path).ok()?)) {
        Some(report) => report,
        None => ask(tools, path, &what)?,
    };
    let info = read(path, &report)?;
    let counted = report.streams.iter().find(|s| s.index == info.stream).and_then(|s| s.nb_read_packets.as_deref()?.parse().ok());
    let pts = report.packets.iter().filter(|p| p.stream_index == info.stream).map(|p| p.pts).collect();
    Ok(Contents { info, packets: counted.unwrap_or(0), pts })
}

fn ask(tools: &Tools, path: &Path, what: &[&str]) -> Result<Report, MediaError> {
    let output = tools.ffprobe(probe_args("file", what, file_url(path)))?;
    if !output.status.success() {
        return Err(refusal(path, &String::from_utf8_lossy(&output.stderr)));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|e| MediaError::NotAVideo { path: path.to_owned(), cause: format!("ffprobe's answer makes no sense: {e}") })
}

/// Arguments for ffprobe, which may open what these protocols open.
pub(crate) fn probe_args(protocols: &str, what: &[&str], url: OsString) -> Vec<OsString> {
    let mut args: Vec<OsString> =
        ["-v", "error", "-protocol_whitelist", protocols, "-format_whitelist", DEMUXERS, "-of", "json"].map(Into::into).into();
    args.extend(what.iter().map(Into::into));
    args.extend(["-i".into(), url]);
    args
}

fn check_file(path: &Path) -> Result<(), MediaError> {
    let meta = fs::metadata(path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => MediaError::NotFound { path: path.to_owned() },
        _ => MediaError::io("read", path, e),
    })?;
    if !meta.is_file() {
        return Err(MediaError::NotAFile { path: path.to_owned() });
    }
    if meta.len() == 0 {
        return Err(MediaError::Empty { path: path.to_owned() });
    }
    fs::File::open(path).map(drop).map_err(|e| MediaError::io("read", path, e))
}

/// The error for a file that ffprobe did not open.
fn refusal(path: &Path, messages: &str) -> MediaError {
    let lines: Vec<String> = messages.lines().map(str::trim).filter(|l| !l.is_empty()).map(without_address).collect();
    let cause = lines.first().cloned().unwrap_or_else(|| "ffprobe gave no reason".to_owned());
    // by its extension alone ffprobe takes a text named .mp4 for an MP4 without an index
    if cause.contains("moov atom not found") {
        if starts_like_mp4(path) {
            return MediaError::Truncated { path: path.to_owned(), cause: "its index, the moov box, is missing".to_owned() };
        }
        return MediaError::NotAVideo { path: path.to_owned(), cause: "its content is in no known format".to_owned() };
    }
    MediaError::NotAVideo { path: path.to_owned(), cause }
}

/// Whether the file starts with a box of the ISO base media format.
fn starts_like_mp4(path: &Path) -> bool {
    let mut head = [0; 8];
    let read = fs::File::open(path).and_then(|mut f| f.read_exact(&mut head));
    read.is_ok() && [b"ftyp", b"mdat", b"moov", b"free", b"skip", b"wide", b"pnot"].iter().any(|kind| &head[4..] == *kind)
}

fn read(path: &Path, report: &Report) -> Result<VideoInfo, MediaError> {
    let unsupported = |what: String| MediaError::Unsupported { path: path.to_owned(), what };
    let audio: Vec<AudioStream> = report.streams.iter().filter(|s| s.is("audio")).map(audio_stream).collect();
    // a cover picture in a music file is no video
    let Some(stream) = report.streams.iter().find(|s| s.is("video") && s.disposition.attached_pic == 0) else {
        return Err(MediaError::NoVideoStream { path: path.to_owned(), audio: audio.len() });
    };
    let codec = stream.codec_name.clone().unwrap_or_else(|| "unknown".to_owned());
    let (Some(width @ 1..), Some(height @ 1..), Some(pixel_format)) = (stream.width, stream.height, stream.pix_fmt.clone()) else {
        return Err(unsupported(format!("holds {codec} video that this ffmpeg cannot decode, or too little of it")));
    };
    let Some(time_base) = stream.time_base.as_deref().and_then(ratio) else {
        return Err(unsupported("does not say what its timestamps count".to_owned()));
    };
    let Some(rate) = [&stream.avg_frame_rate, &stream.r_frame_rate].into_iter().find_map(|r| ratio(r.as_deref()?)) else {
        return Err(unsupported("does not say its frame rate".to_owned()));
    };
    let tags = ColourTags {
        matrix: tag(stream.color_space.as_deref()),
        primaries: tag(stream.color_primaries.as_deref()),
        transfer: tag(stream.color_transfer.as_deref()),
        full_range: is_full_range(&pixel_format, stream.color_range.as_deref()),
    };
    let Some((matrix, _)) = matrix_of_tag(tags.matrix.as_deref(), height) else {
        return Err(unsupported(format!("uses the colour matrix {}", tags.matrix.unwrap_or_default())));
    };
    let rotation = rotation(&stream.side_data_list);
    let mut size = Size::new(width, height);
    let mut pixel = stream.sample_aspect_ratio.as_deref().and_then(ratio).unwrap_or(Rational::new(1, 1));
    if rotation % 180 == 90 {
        size = Size::new(height, width);
        pixel = Rational::new(pixel.den, pixel.num);
    }
    let format = report.format.as_ref();
    Ok(VideoInfo {
        format: VideoFormat { size, colour: Colour { matrix, range: Range::Limited }, time_base },
        frame_rate: rate,
        start_pts: stream.start_pts,
        duration_secs: seconds(stream.duration.as_deref()).or_else(|| seconds(format?.duration.as_deref())),
        frame_count: stream.nb_frames.as_deref().and_then(|n| n.parse().ok()).filter(|&n| n > 0),
        rotation,
        sample_aspect_ratio: pixel,
        tags,
        audio,
        codec,
        pixel_format,
        container: format.map(|f| f.format_name.clone()).unwrap_or_default(),
        container_start_secs: format.and_then(|f| seconds(f.start_time.as_deref())).unwrap_or(0.0),
        stream: stream.index,
    })
}

fn audio_stream(stream: &Stream) -> AudioStream {
    AudioStream {
        index: stream.index,
        codec: stream.codec_name.clone().filter(|c| c != "unknown" && c != "none"),
        channels: stream.channels.unwrap_or(0),
        sample_rate: stream.sample_rate.as_deref().and_then(|r| r.parse().ok()).unwrap_or(0),
    }
}

/// `30000/1001` or `4:3`; `None` unless both numbers are above 0.
fn ratio(text: &str) -> Option<Rational> {
    let (num, den) = text.split_once(['/', ':'])?;
    let (num, den) = (num.parse().ok()?, den.parse().ok()?);
    (num > 0 && den > 0).then_some(Rational::new(num, den))
}

fn seconds(text: Option<&str>) -> Option<f64> {
    text?.parse().ok().filter(|s: &f64| s.is_finite())
}

fn tag(text: Option<&str>) -> Option<String> {
    text.filter(|t| !matches!(*t, "unknown" | "unspecified" | "reserved" | "")).map(str::to_owned)
}

fn is_full_range(pixel_format: &str, range: Option<&str>) -> bool {
    // the yuvj formats are full range by name, grey and RGB by custom
    let by_format = ["yuvj", "gray", "gbr", "rgb", "bgr", "argb", "abgr", "0rgb", "0bgr", "pal8", "mono"];
    range == Some("pc") || by_format.iter().any(|f| pixel_format.starts_with(f))
}

/// Clockwise degrees from the display matrix; ffprobe gives the opposite sense, -180 to 180.
fn rotation(side_data: &[SideData]) -> u16 {
    let anticlockwise = side_data.iter().find_map(|s| s.rotation).unwrap_or(0.0);
    // ffmpeg turns by whatever angle, but only these quarter turns change the size
    match (-anticlockwise).rem_euclid(360.0).round() as u16 {
        quarter @ (90 | 180 | 270) => quarter,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(json: &str) -> Result<VideoInfo, MediaError> {
        read(Path::new("clip.mov"), &serde_json::from_str(json).unwrap())
    }

    #[test]
    fn a_phone_clip_held_upright_has_its_sides_swapped() {
        let info = info(
            r#"{"streams":[{"index":0,"codec_type":"video","codec_name":"hevc","width":1920,"height":1080,"pix_fmt":"yuv420p10le",
                "color_space":"bt2020nc","sample_aspect_ratio":"4:3","avg_frame_rate":"30000/1001","time_base":"1/600","start_pts":20,
                "nb_frames":"0","side_data_list":[{"side_data_type":"x"},{"rotation":-90}]},
                {"index":2,"codec_type":"audio","codec_name":"aac","channels":2,"sample_rate":"44100"},
                {"index":3,"codec_type":"audio","channels":4}],"format":{"format_name":"mov","start_time":"0.01","duration":"2.5"}}"#,
        )
        .unwrap();
        assert_eq!((info.format.size, info.rotation, info.sample_aspect_ratio), (Size::new(1080, 1920), 90, Rational::new(3, 4)));
        assert_eq!((info.frame_count, info.duration_secs, info.start_pts), (None, Some(2.5), Some(20)));
        assert_eq!(info.audio[1].codec, None);
        assert!(!info.tags.full_range);
    }

    #[test]
    fn a_song_with_a_cover_is_no_video() {
        let error = info(
            r#"{"streams":[{"index":0,"codec_type":"audio","codec_name":"mp3"},
                {"index":1,"codec_type":"video","codec_name":"mjpeg","width":9,"height":9,"disposition":{"attached_pic":1}}]}"#,
        )
        .unwrap_err();
        assert!(matches!(error, MediaError::NoVideoStream { audio: 1, .. }), "{error}");
    }

    #[test]
    fn a_matrix_that_cannot_be_handled_is_named() {
        let error = info(
            r#"{"streams":[{"index":0,"codec_type":"video","width":8,"height":8,"pix_fmt":"yuv420p","color_space":"ictcp",
                "avg_frame_rate":"25/1","time_base":"1/25"}]}"#,
        )
        .unwrap_err();
        assert!(error.to_string().contains("ictcp"), "{error}");
    }

    #[test]
    fn quarter_turns_are_clockwise_and_others_keep_the_size() {
        for (given, turn) in [(-90.0, 90), (90.0, 270), (-180.0, 180), (180.0, 180), (0.0, 0), (-12.5, 0)] {
            assert_eq!(rotation(&[SideData { rotation: Some(given) }]), turn);
        }
    }
}
