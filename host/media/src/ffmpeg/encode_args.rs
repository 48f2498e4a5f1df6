//! The command line that encodes: raw frames with timestamps from standard input, sound from the source file.

use std::ffi::OsString;
use std::path::Path;

use halfpipe_core::{Matrix, Range, Rational};

use super::encode::{EncodeOptions, SourceFile};
use crate::codecs::Encoder;
use crate::info::{AudioStream, Window, matrix_of_tag};
use crate::tools::{DEMUXERS, file_url};
use crate::{Container, MediaError};

/// The largest time scale an MP4 has room for.
pub(super) const MAX_TIME_SCALE: i64 = i32::MAX as i64;

/// How one audio stream gets into the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AudioRoute {
    /// Packet by packet, as it is.
    Copy,
    /// To AAC.
    Transcode,
    /// Not at all.
    Leave,
}

/// How `stream` gets into `container`.
pub fn audio_route(container: Container, stream: &AudioStream) -> AudioRoute {
    match stream.codec.as_deref() {
        None => AudioRoute::Leave,
        Some(codec) if container.holds(codec) => AudioRoute::Copy,
        Some(_) => AudioRoute::Transcode,
    }
}

/// Arguments for ffmpeg. `shift` ticks are added to all times, the sound's too; the frames' come shifted.
pub fn encode_args(output: &Path, container: Container, options: &EncodeOptions, shift: i64) -> Result<Vec<OsString>, MediaError> {
    let tb = options.format.time_base;
    if tb.den > MAX_TIME_SCALE {
        return Err(MediaError::InvalidArgument {
            what: format!("the time base {}/{} is finer than an output can hold (1/{MAX_TIME_SCALE})", tb.num, tb.den),
        });
    }
    let mut args = Args::default();
    args.all(["-nostdin", "-hide_banner", "-nostats", "-loglevel", "repeat+level+warning", "-y", "-copyts"]);
    // nothing to guess about this input, so no frame is held back for guessing
    args.all(["-probesize", "32", "-analyzeduration", "0", "-fpsprobesize", "0", "-f", "matroska", "-i", "pipe:0"]);
    let streams = options.source.as_ref().map(|s| audio_input(&mut args, s, options, shift)).unwrap_or_default();
    args.all(["-map", "0:v:0"]);
    for stream in &streams {
        args.all(["-map", &format!("1:{}", stream.index)]);
    }
    args.all(["-vf", &filters(options), "-fps_mode", "passthrough", "-enc_time_base:v", &format!("{}:{}", tb.num, tb.den)]);
    encoder(&mut args, options);
    let window = options.window.map(|w| w.shifted(shift as f64 * tb.as_f64()));
    for (i, stream) in streams.iter().enumerate() {
        if audio_route(container, stream) == AudioRoute::Transcode {
            args.all([&format!("-c:a:{i}"), "aac", &format!("-b:a:{i}"), "192k"]);
            if let Some(Window { start_secs, end_secs, .. }) = window {
                args.all([&format!("-filter:a:{i}"), &format!("atrim=start={start_secs:.6}:end={end_secs:.6}")]);
            }
        } else {
            args.all([&format!("-c:a:{i}"), "copy"]);
        }
    }
    if let Some(window) = window.filter(|w| !streams.is_empty() && w.end_secs > 0.0) {
        // for the packets that are copied; all frames end before
        args.all(["-to", &format!("{:.6}", window.end_secs)]);
        if options.window.is_some_and(|w| seeks_sound(w, options)) {
            // packets before the start are read from the last key frame on, and left out
            args.all(["-copypriorss:a", "0"]);
        }
    }
    if container != Container::Mkv {
        // both clocks of the file count the source's ticks, or a start other than 0 would be rounded to milliseconds
        let movie = movie_time_scale(tb, &streams);
        args.all(["-movflags", "+faststart", "-video_track_timescale", &tb.den.to_string(), "-movie_timescale", &movie.to_string()]);
    }
    args.all(["-f", container.muxer()]);
    args.0.push(file_url(output));
    Ok(args.0)
}

/// The encoder with its settings.
fn encoder(args: &mut Args, options: &EncodeOptions) {
    let (name, quality) = (options.encoder.name(), options.quality.to_string());
    args.all(["-c:v", name, "-pix_fmt", "yuv420p", "-preset", &options.preset]);
    match options.encoder {
        Encoder::X264 => {
            args.all(["-crf", &quality]);
            if let Some(tree) = macroblock_tree(&options.preset) {
                args.all(["-x264-params", tree]);
            }
            args.all(["-threads:v", &options.threads.to_string()]);
        }
        Encoder::Nvenc { gpu } => {
            args.all(["-gpu", &gpu.to_string()]);
            if options.quality == 0 {
                // its scale begins at 1: to it, 0 is "choose for me"
                args.all(["-tune", "lossless"]);
            } else {
                args.all(["-rc", "vbr", "-cq", &quality, "-b:v", "0", "-profile:v", "high"]);
            }
            // as often a key frame as x264. No B-frames: with them ffmpeg 5.1 sets the times of decoding as if a frame took one tick
            // (nvenc_set_timestamp in libavcodec/nvenc.c). In a time base finer than that they come after the times of presentation, and
            // ffmpeg then moves the latter.
            args.all(["-g", "250", "-bf", "0"]);
        }
    }
}

/// What the two fastest presets leave out to be fast on one frame, a macroblock tree over some frames ahead: at the same constant
/// rate factor it made files 36 to 57 % smaller with `superfast`, and encoding no slower, since fewer bits are written
/// (`docs/performance.md` has the figures).
fn macroblock_tree(preset: &str) -> Option<&'static str> {
    matches!(preset, "ultrafast" | "superfast").then_some("mbtree=1:rc-lookahead=10")
}

/// Arguments as they are put together.
#[derive(Default)]
pub(super) struct Args(pub Vec<OsString>);

impl Args {
    pub fn all(&mut self, args: impl IntoIterator<Item: AsRef<str>>) {
        self.0.extend(args.into_iter().map(|a| OsString::from(a.as_ref())));
    }
}

/// Opens the source for its sound; gives the streams to map, none where there is nothing to take.
fn audio_input(args: &mut Args, source: &SourceFile, options: &EncodeOptions, shift: i64) -> Vec<AudioStream> {
    // the parts of a plan get their sound when they are joined
    let silent = options.window.is_some_and(|w| w.part.is_some());
    let streams: Vec<AudioStream> = source.info.audio.iter().filter(|a| a.codec.is_some() && !silent).cloned().collect();
    if streams.is_empty() {
        return streams;
    }
    if shift != 0 {
        args.all(["-itsoffset", &format!("{:.6}", shift as f64 * options.format.time_base.as_f64())]);
    }
    if let Some(window) = options.window.filter(|w| seeks_sound(*w, options)) {
        // on the file's own clock, to the tick that packets are compared with
        args.all(["-seek_timestamp", "1", "-noaccurate_seek", "-ss", &format!("{:.6}", window.start_secs)]);
    }
    args.all(["-vn", "-sn", "-dn", "-protocol_whitelist", "file", "-format_whitelist", DEMUXERS, "-i"]);
    args.0.push(file_url(&source.path));
    streams
}

/// Whether sound before the window must be left out.
fn seeks_sound(window: Window, options: &EncodeOptions) -> bool {
    options.source.as_ref().is_some_and(|s| window.start_secs > s.info.container_start_secs)
}

fn filters(options: &EncodeOptions) -> String {
    let (tb, colour) = (options.format.time_base, options.format.colour);
    let pixel = options.source.as_ref().map_or(Rational::new(1, 1), |s| s.info.sample_aspect_ratio);
    let tags = options.source.as_ref().map(|s| &s.info.tags);
    // the file's own name for the matrix where the frames still have it; 170M and 470BG are both BT.601
    let own = tags.and_then(|t| t.matrix.as_deref()).filter(|t| *t != "gbr" && matrix_of_tag(Some(t), 0) == Some((colour.matrix, false)));
    let matrix = own.unwrap_or(match colour.matrix {
        Matrix::Bt601 => "smpte170m",
        Matrix::Bt709 => "bt709",
        Matrix::Bt2020 => "bt2020nc",
    });
    let range = match colour.range {
        Range::Limited => "tv",
        Range::Full => "pc",
    };
    let mut chain = format!("settb=expr={}/{},setsar=sar={}/{}:max={MAX_TIME_SCALE}", tb.num, tb.den, pixel.num, pixel.den);
    chain += &format!(",setparams=colorspace={matrix}:range={range}");
    if let Some(primaries) = tags.and_then(|t| t.primaries.as_deref()) {
        chain += &format!(":color_primaries={primaries}");
    }
    if let Some(transfer) = tags.and_then(|t| t.transfer.as_deref()) {
        chain += &format!(":color_trc={transfer}");
    }
    chain
}

/// A scale that all tracks' clocks divide, so that every start is exact; the video's alone where that is too fine.
pub(super) fn movie_time_scale(time_base: Rational, streams: &[AudioStream]) -> i64 {
    let mut scale = time_base.den;
    for rate in streams.iter().map(|s| i64::from(s.sample_rate)).filter(|&r| r > 0) {
        let common = scale / gcd(scale, rate) * rate;
        if common <= MAX_TIME_SCALE {
            scale = common;
        }
    }
    scale
}

const fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Ticks that make the source start at 0 or later, for outputs cannot hold times below 0. Broadcasts recorded just before
/// their clock starts anew begin below it.
pub fn shift_ticks(source: Option<&SourceFile>) -> i64 {
    let start = source.and_then(|s| s.info.start_pts).unwrap_or(0);
    (-start).max(0)
}

#[cfg(test)]
mod tests {
    use halfpipe_core::{ByteBudget, Colour, Size, VideoFormat};

    use super::*;

    fn stream(codec: &str, sample_rate: u32) -> AudioStream {
        AudioStream { index: 1, codec: Some(codec.to_owned()), channels: 2, sample_rate }
    }

    #[test]
    fn the_movie_clock_counts_every_track_exactly() {
        let tb = Rational::new(1, 15360);
        assert_eq!(movie_time_scale(tb, &[stream("aac", 48000)]) % 48000, 0);
        let both = movie_time_scale(tb, &[stream("aac", 48000), stream("aac", 44100)]);
        assert_eq!((both % 15360, both % 44100, both % 48000), (0, 0, 0));
        let fine = Rational::new(1, 1_000_000_007);
        assert_eq!(movie_time_scale(fine, &[stream("aac", 48000)]), fine.den);
    }

    /// The arguments as text.
    fn arguments(options: &EncodeOptions) -> Vec<String> {
        let args = encode_args(Path::new("out.mp4"), Container::Mp4, options, 0).unwrap();
        args.into_iter().map(|arg| arg.into_string().unwrap()).collect()
    }

    /// What the arguments give this option, each time that it is there.
    fn given<'a>(args: &'a [String], option: &str) -> Vec<&'a str> {
        args.windows(2).filter(|pair| pair[0] == option).map(|pair| pair[1].as_str()).collect()
    }

    #[test]
    fn nvenc_differs_from_x264_in_nothing_but_the_encoder() {
        let colour = Colour { matrix: Matrix::Bt709, range: Range::Limited };
        let format = VideoFormat { size: Size::new(640, 360), colour, time_base: Rational::new(1, 15360) };
        let x264 = EncodeOptions { threads: 3, ..EncodeOptions::new(format, Rational::new(30, 1), ByteBudget::new(1)) };
        let nvenc = EncodeOptions { quality: 23, ..x264.clone().with_encoder(Encoder::Nvenc { gpu: 1 }) };
        let (x264, gpu) = (arguments(&x264), arguments(&nvenc));
        for (option, value) in [
            ("-c:v", "h264_nvenc"),
            ("-pix_fmt", "yuv420p"),
            ("-preset", "p4"),
            ("-gpu", "1"),
            ("-rc", "vbr"),
            ("-cq", "23"),
            ("-b:v", "0"),
            ("-bf", "0"),
            ("-g", "250"),
        ] {
            assert_eq!(given(&gpu, option), [value], "{option}");
        }
        for option in ["-crf", "-x264-params", "-threads:v"] {
            assert!(given(&gpu, option).is_empty() && !given(&x264, option).is_empty(), "{option}");
        }
        // what comes before and behind the encoder
        let around = |args: &[String]| {
            let (start, end) = (args.iter().position(|a| a == "-c:v").unwrap(), args.iter().position(|a| a == "-movflags").unwrap());
            [args[..start].to_vec(), args[end..].to_vec()]
        };
        assert_eq!(around(&gpu), around(&x264));
        let lossless = arguments(&EncodeOptions { quality: 0, ..nvenc });
        assert_eq!(given(&lossless, "-tune"), ["lossless"]);
        assert!(given(&lossless, "-cq").is_empty() && given(&lossless, "-rc").is_empty());
    }

    #[test]
    fn sound_is_copied_where_the_container_holds_it() {
        assert_eq!(audio_route(Container::Mp4, &stream("aac", 48000)), AudioRoute::Copy);
        assert_eq!(audio_route(Container::Mp4, &stream("pcm_s16le", 48000)), AudioRoute::Transcode);
        assert_eq!(audio_route(Container::Mov, &stream("pcm_s16le", 48000)), AudioRoute::Copy);
        assert_eq!(audio_route(Container::Mkv, &AudioStream { codec: None, ..stream("", 1) }), AudioRoute::Leave);
    }
}
