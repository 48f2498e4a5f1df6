//! Video in and out: frames with their own timestamps, decoded and encoded by ffmpeg child processes.
//!
//! - [`Tools::find`] looks for ffmpeg and ffprobe; [`probe`] tells what a file holds.
//! - A [`FrameSource`] gives frames in order, each with its presentation time in ticks of the video's time base.
//!   [`FfmpegSource`] reads ahead on one thread within a budget of bytes.
//! - A [`FrameSink`] takes frames and writes them with the very same times; the sound of the source is copied beside them.
//!   [`FfmpegSink`] encodes behind on one thread.
//! - [`verify()`] opens a finished output and counts.
//! - [`Codecs`] says whether ffmpeg decodes and encodes by itself or on an NVIDIA GPU; [`probe_nvidia`] finds out whether one does it.
//! - [`list_frames`] tells when each frame is shown without decoding; [`stitch()`] makes one video of the parts of a plan.
//!
//! Frames are 8-bit yuv420p, limited range, upright, all of one size. Whatever comes in (4:4:4, 10 bit, full range, RGB,
//! rotated) is converted once, on the way in, and its luma/chroma matrix is kept.
//!
//! Calls that are not `async` start and wait for short child processes, so they belong on a thread that may block.

pub mod codecs;
pub mod container;
pub mod error;
mod ffmpeg;
pub mod info;
pub mod listing;
pub mod nvidia;
pub mod probe;
mod remembered;
pub mod sink;
pub mod source;
mod spares;
pub mod still;
pub mod stitch;
pub mod tools;
pub mod verify;

pub use codecs::{Codecs, Decoder, Encoder, VideoChoice};
pub use container::Container;
pub use error::MediaError;
pub use ffmpeg::decode::{DecodeOptions, FfmpegSource};
pub use ffmpeg::encode::{EncodeOptions, FfmpegSink, SourceFile};
pub use ffmpeg::stop::{StopHandle, StopSignal, stop_signal};
pub use info::{AudioStream, ColourTags, Part, VideoInfo, Window};
pub use listing::{FrameList, list_frames};
pub use nvidia::{NvidiaFault, probe_nvidia};
pub use probe::probe;
pub use sink::{FrameSink, Written};
pub use source::{FrameSource, SourceReport};
pub use still::{first_frame_png, still_to_video};
pub use stitch::{Stitch, stitch};
pub use tools::Tools;
pub use verify::{Expect, ExpectedTimes, Verifier, verify};
