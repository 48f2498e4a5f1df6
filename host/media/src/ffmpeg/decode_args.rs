//! The command line that decodes: every frame once, upright, limited range yuv420p, timestamps told by `showinfo`.

use std::ffi::OsString;
use std::path::Path;

use halfpipe_core::Matrix;

use crate::codecs::Decoder;
use crate::info::{VideoInfo, Window, matrix_of_tag};
use crate::tools::{DEMUXERS, file_url, list_url};

/// Seconds before a window at which decoding starts, so that the first frames of it have what they refer to.
const RUN_UP_SECS: f64 = 1.0;
/// Frames as they come. Passthrough: none is doubled or dropped; no metadata: what a file says of itself stays out of the messages.
/// One thread: ffmpeg's encoder of raw frames, which only copies them, would take one for each core, and hold back as many frames.
const OUTPUT: [&str; 9] = ["-fps_mode", "passthrough", "-map_metadata", "-1", "-threads", "1", "-f", "rawvideo", "pipe:1"];
/// The libavutil of ffmpeg 7.0, from which on the value of any option can be read from a file. 8.0 knows no other way.
const SLASH_OPTIONS: (u32, u32) = (59, 0);

/// Arguments for ffmpeg; frames go to its standard output.
///
/// A GPU's frames are brought down by ffmpeg itself, as NV12 or P010. Everything behind the decoder is the same: times come from the
/// container, and the filters make yuv420p of NV12 by moving bytes.
pub fn decode_args(path: &Path, info: &VideoInfo, window: Option<Window>, threads: u32, decoder: Decoder) -> Vec<OsString> {
    let mut args = begin(threads);
    if let Decoder::Nvidia { gpu } = decoder {
        args.extend(["-hwaccel".into(), "cuda".into(), "-hwaccel_device".into(), gpu.to_string().into()]);
    }
    args.extend(["-protocol_whitelist", "file", "-format_whitelist", DEMUXERS].map(Into::into));
    if let Some(secs) = window.and_then(|w| seek_secs(info, w)) {
        // frames before the window are cut by the filter, by tick; this only saves decoding them
        args.extend(["-noaccurate_seek".into(), "-ss".into(), format!("{secs:.6}").into()]);
    }
    args.extend(["-i".into(), file_url(path)]);
    args.extend(["-map".into(), format!("0:{}", info.stream).into(), "-vf".into(), filters(info, window).into()]);
    args.extend(OUTPUT.map(Into::into));
    args
}

/// Arguments for an ffmpeg that is started before it is known what it will decode: it reads its [`graph`] from its standard input, and
/// waits for that before it opens the file named in the list.
pub fn spare_args(list: &Path, threads: u32, avutil: (u32, u32)) -> Vec<OsString> {
    let mut args = begin(threads);
    args.extend(["-protocol_whitelist", "concatf,file", "-format_whitelist", DEMUXERS, "-i"].map(Into::into));
    args.push(list_url(list));
    let script = if avutil >= SLASH_OPTIONS { "-/filter_complex" } else { "-filter_complex_script" };
    args.extend([script, "/dev/stdin", "-map", "[frames]"].map(Into::into));
    args.extend(OUTPUT.map(Into::into));
    args
}

/// What an ffmpeg started with [`spare_args`] is to do with a file: the same as [`decode_args`] for the whole of it, in software.
pub fn graph(info: &VideoInfo) -> String {
    format!("[0:{}]{}[frames]", info.stream, filters(info, None))
}

fn begin(threads: u32) -> Vec<OsString> {
    let mut args: Vec<OsString> =
        ["-nostdin", "-hide_banner", "-nostats", "-loglevel", "repeat+level+info", "-copyts"].map(Into::into).into();
    args.extend(["-threads".into(), threads.to_string().into()]);
    args
}

/// Where to seek to, seconds after the container's start, if the container is one that seeks to a key frame before.
fn seek_secs(info: &VideoInfo, window: Window) -> Option<f64> {
    let seeks = info.container.starts_with("mov,") || info.container.starts_with("matroska");
    let secs = window.start_secs - info.container_start_secs - RUN_UP_SECS;
    (seeks && secs > 0.0).then_some(secs)
}

fn filters(info: &VideoInfo, window: Option<Window>) -> String {
    let format = info.format;
    let mut chain = format!("settb=expr={}/{}", format.time_base.num, format.time_base.den);
    if let Some((first, after)) = window.map(|w| w.ticks(format.time_base)) {
        chain += &format!(",trim=start_pts={first}:end_pts={after}");
    }
    // the size is fixed by name, for videos that change theirs in the middle; where nothing changes the filter passes frames on
    chain += &format!(",scale=w={}:h={}", format.size.width, format.size.height);
    let to = match format.colour.matrix {
        Matrix::Bt601 => "bt601",
        Matrix::Bt709 => "bt709",
        Matrix::Bt2020 => "bt2020",
    };
    let changes_matrix = matrix_of_tag(info.tags.matrix.as_deref(), 0).is_some_and(|(_, changes)| changes);
    if info.pixel_format != "yuv420p" || info.tags.full_range || changes_matrix {
        let from = if changes_matrix { info.tags.matrix.as_deref().unwrap_or(to) } else { to };
        let range = if info.tags.full_range { "pc" } else { "tv" };
        chain += &format!(
            ":in_color_matrix={from}:out_color_matrix={to}:in_range={range}:out_range=tv:flags=bicubic+accurate_rnd+full_chroma_int"
        );
    }
    chain + ",format=yuv420p,showinfo=checksum=0"
}

#[cfg(test)]
mod tests {
    use halfpipe_core::{Colour, Range, Rational, Size, VideoFormat};

    use super::*;
    use crate::ColourTags;

    fn info() -> VideoInfo {
        VideoInfo {
            format: VideoFormat {
                size: Size::new(640, 360),
                colour: Colour { matrix: Matrix::Bt601, range: Range::Limited },
                time_base: Rational::new(1, 15360),
            },
            frame_rate: Rational::new(30, 1),
            start_pts: Some(0),
            duration_secs: None,
            frame_count: None,
            rotation: 0,
            sample_aspect_ratio: Rational::new(1, 1),
            tags: ColourTags::default(),
            audio: Vec::new(),
            codec: "h264".to_owned(),
            pixel_format: "yuv420p".to_owned(),
            container: "mov,mp4,m4a,3gp,3g2,mj2".to_owned(),
            container_start_secs: 0.0,
            stream: 0,
        }
    }

    #[test]
    fn a_gpu_is_named_before_the_input_and_changes_nothing_else() {
        let window = Some(Window { start_secs: 5.0, end_secs: 7.0, part: None });
        let args = |decoder| decode_args(Path::new("in.mp4"), &info(), window, 2, decoder);
        let (software, nvidia) = (args(Decoder::Software), args(Decoder::Nvidia { gpu: 3 }));
        let at = nvidia.iter().position(|arg| arg == "-hwaccel").unwrap();
        assert_eq!(nvidia[at..at + 4], ["-hwaccel", "cuda", "-hwaccel_device", "3"]);
        assert!(at < nvidia.iter().position(|arg| arg == "-i").unwrap(), "it is an option of the input");
        let rest: Vec<_> = nvidia[..at].iter().chain(&nvidia[at + 4..]).collect();
        assert_eq!(rest, software.iter().collect::<Vec<_>>());
        assert!(!software.iter().any(|arg| arg == "-hwaccel"));
    }
}
