//! Whether an NVIDIA GPU here decodes and encodes: found out by doing it. Not run on a GPU so far.

use std::path::Path;
use std::sync::Arc;

use futures::executor::block_on;
use halfpipe_core::{ByteBudget, Colour, FrameBatch, Matrix, Pending, Picture, Range, Rational, Size, VideoFormat};

use crate::codecs::{Decoder, Encoder};
use crate::tools::{FFMPEG_VARIABLE, Tools};
use crate::{DecodeOptions, EncodeOptions, FfmpegSink, FfmpegSource, FrameSink as _, FrameSource as _, MediaError};

/// Frames that are encoded and decoded again.
const FRAMES: usize = 8;
/// Their size: every NVENC takes it.
const SIZE: Size = Size::new(256, 256);
/// Ticks from one to the next, in a time base as files have it.
const STEP: i64 = 512;
/// Mean difference of luma, of 255, up to which a decoded picture is the one that was encoded.
const MOST_DIFFERENCE: u64 = 8;

/// Why a GPU's decoder and encoder cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NvidiaFault {
    /// This ffmpeg has no `h264_nvenc`.
    NoEncoder,
    /// This ffmpeg has no hardware acceleration by CUDA.
    NoDecoder,
    /// A library of NVIDIA's driver is missing.
    NoDriver {
        /// ffmpeg's words, with the library's name.
        words: String,
    },
    /// The encoder did not take the frames.
    EncoderRefused {
        /// ffmpeg's words.
        words: String,
    },
    /// The decoder did not give them back.
    DecoderRefused {
        /// ffmpeg's words, or what was wrong with the frames.
        words: String,
    },
}

impl std::fmt::Display for NvidiaFault {
    /// A clause that says what is the matter, and what to do about it where the machine can be changed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let without = |f: &mut std::fmt::Formatter<'_>, what: &str| {
            write!(f, "this ffmpeg was built without {what} (Debian's has it; {FFMPEG_VARIABLE} names another)")
        };
        match self {
            Self::NoEncoder => without(f, "h264_nvenc"),
            Self::NoDecoder => without(f, "CUDA's decoders"),
            Self::NoDriver { words } => write!(
                f,
                "NVIDIA's driver is not here, or not all of it ({words}; a container needs `video` in NVIDIA_DRIVER_CAPABILITIES)"
            ),
            Self::EncoderRefused { words } => write!(f, "NVENC does not encode ({words})"),
            Self::DecoderRefused { words } => write!(f, "NVDEC does not decode ({words})"),
        }
    }
}

/// Encodes some frames of a generated picture on the GPU and decodes them there again, as a job does. None where they came back. Waits for
/// two ffmpeg processes and one ffprobe; where there is no driver, for one ffmpeg that gives up at once.
///
/// # Errors
/// [`MediaError::Io`] where there is no room for a temporary file; [`MediaError::ToolMissing`].
pub fn probe_nvidia(tools: &Tools, gpu: u32) -> Result<Option<NvidiaFault>, MediaError> {
    let folder = std::env::temp_dir();
    let folder =
        tempfile::Builder::new().prefix("halfpipe-nvidia-").tempdir_in(&folder).map_err(|e| MediaError::io("write", &folder, e))?;
    let video = folder.path().join("probe.mp4");
    let picture = gradient();
    match encode(tools, &video, &picture, Encoder::Nvenc { gpu }) {
        Err(MediaError::Encode { cause, .. }) => return Ok(Some(fault_of_encoder(&cause))),
        encoded => encoded?,
    }
    match decode(tools, &video, &picture, Decoder::Nvidia { gpu }) {
        Ok(None) => Ok(None),
        Ok(Some(words)) => Ok(Some(NvidiaFault::DecoderRefused { words })),
        Err(missing @ MediaError::ToolMissing { .. }) => Err(missing),
        Err(MediaError::Decode { cause, .. }) => Ok(Some(fault_of_decoder(&cause))),
        Err(other) => Ok(Some(NvidiaFault::DecoderRefused { words: other.to_string() })),
    }
}

/// Luma that rises from left to right, no colour.
fn gradient() -> Arc<Picture> {
    let mut data: Vec<u8> = (0..SIZE.area()).map(|i| 16 + (i % SIZE.width as usize * 219 / 255) as u8).collect();
    data.resize(SIZE.picture_bytes(), 128);
    Arc::new(Picture::from_data(SIZE, data).unwrap_or_else(|| Picture::filled(SIZE, [16, 128, 128])))
}

fn encode(tools: &Tools, video: &Path, picture: &Arc<Picture>, encoder: Encoder) -> Result<(), MediaError> {
    let colour = Colour { matrix: Matrix::Bt709, range: Range::Limited };
    let format = VideoFormat { size: SIZE, colour, time_base: Rational::new(1, 30 * STEP) };
    let options = EncodeOptions::new(format, Rational::new(30, 1), budget()).with_encoder(encoder);
    let batch = FrameBatch { format, first_index: 0, pts: times().collect(), pictures: Pending::ready(vec![Arc::clone(picture); FRAMES]) };
    let mut sink = Box::new(FfmpegSink::create(tools, video, options)?);
    block_on(sink.write(batch))?;
    block_on(sink.finish()).map(|_| ())
}

/// What is wrong with the frames; none where they came back, at their times.
fn decode(tools: &Tools, video: &Path, picture: &Picture, decoder: Decoder) -> Result<Option<String>, MediaError> {
    let mut source = FfmpegSource::open(tools, video, DecodeOptions { decoder, ..DecodeOptions::new(budget()) })?;
    let (mut pts, mut difference) = (Vec::new(), 0);
    while let Some(batch) = block_on(source.next(FRAMES))? {
        pts.extend_from_slice(&batch.pts);
        for decoded in batch.pictures.wait_blocking().unwrap_or_default().iter() {
            let [luma, ..] = decoded.planes();
            let sum: u64 = luma.iter().zip(picture.planes()[0]).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
            difference = difference.max(sum / SIZE.area() as u64);
        }
    }
    Ok(if let Some(words) = source.report().refused {
        Some(words)
    } else if pts != times().collect::<Vec<_>>() {
        Some(format!("of {FRAMES} frames every {STEP} ticks it gave those at {pts:?}"))
    } else if difference > MOST_DIFFERENCE {
        Some(format!("its pictures are others: their luma differs by {difference} of 255"))
    } else {
        None
    })
}

/// Timestamps of the frames.
fn times() -> impl Iterator<Item = i64> {
    (0..FRAMES as i64).map(|i| i * STEP)
}

fn budget() -> ByteBudget {
    ByteBudget::new((FRAMES * SIZE.picture_bytes()) as u64)
}

fn fault_of_encoder(cause: &str) -> NvidiaFault {
    match missing_library(cause) {
        Some(words) => NvidiaFault::NoDriver { words },
        None if cause.contains("Unknown encoder") => NvidiaFault::NoEncoder,
        None => NvidiaFault::EncoderRefused { words: cause.to_owned() },
    }
}

fn fault_of_decoder(cause: &str) -> NvidiaFault {
    match missing_library(cause) {
        Some(words) => NvidiaFault::NoDriver { words },
        None if cause.contains("Unrecognized hwaccel") => NvidiaFault::NoDecoder,
        None => NvidiaFault::DecoderRefused { words: cause.to_owned() },
    }
}

/// `Cannot load libcuda.so.1` out of ffmpeg's last messages.
fn missing_library(cause: &str) -> Option<String> {
    let start = cause.find("Cannot load lib")?;
    let words = &cause[start..];
    Some(words[..words.find([';', ')']).unwrap_or(words.len())].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ffmpeg_says_is_told_apart() {
        let cause = "ffmpeg ended with exit code 1 (h264_nvenc: Cannot load libcuda.so.1; Error initializing output stream 0:0)";
        assert_eq!(fault_of_encoder(cause), NvidiaFault::NoDriver { words: "Cannot load libcuda.so.1".into() });
        assert_eq!(
            fault_of_decoder("x (Cannot load libnvcuvid.so.1)"),
            NvidiaFault::NoDriver { words: "Cannot load libnvcuvid.so.1".into() }
        );
        assert_eq!(fault_of_encoder("ffmpeg ended with exit code 1 (Unknown encoder 'h264_nvenc')"), NvidiaFault::NoEncoder);
        assert_eq!(fault_of_decoder("ffmpeg ended with exit code 1 (Unrecognized hwaccel: cuda.)"), NvidiaFault::NoDecoder);
        let busy = "h264_nvenc: OpenEncodeSessionEx failed: out of memory (10)";
        assert_eq!(fault_of_encoder(busy), NvidiaFault::EncoderRefused { words: busy.into() });
        assert!(fault_of_encoder(busy).to_string().contains("out of memory"));
    }

    #[test]
    fn the_frames_come_back_where_codecs_work() {
        let (tools, folder) = (Tools::find().unwrap(), tempfile::tempdir().unwrap());
        let (video, picture) = (folder.path().join("probe.mp4"), gradient());
        encode(&tools, &video, &picture, Encoder::X264).unwrap();
        assert_eq!(decode(&tools, &video, &picture, Decoder::Software).unwrap(), None);
        let other = Picture::filled(SIZE, [16, 128, 128]);
        let words = decode(&tools, &video, &other, Decoder::Software).unwrap().unwrap();
        assert!(words.contains("differs"), "{words}");
    }
}
