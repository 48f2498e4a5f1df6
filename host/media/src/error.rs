//! What can go wrong with a video, one sentence each, with the path and the remedy.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use halfpipe_core::PendingError;

use crate::nvidia::NvidiaFault;

/// Why a video could not be probed, read, written or verified.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MediaError {
    /// A program could not be started.
    #[error(
        "cannot run {} ({source}): install ffmpeg {minimum} or newer (Debian, Ubuntu: `apt install ffmpeg`; macOS: `brew install ffmpeg`) or set {variable} to the program's path",
        tool.display()
    )]
    ToolMissing {
        /// What was tried.
        tool: PathBuf,
        /// Environment variable that overrides it.
        variable: &'static str,
        /// Oldest release that will do.
        minimum: &'static str,
        /// Why it did not start.
        source: Arc<io::Error>,
    },
    /// A program is too old, or not what its name says.
    #[error("{} is version {version}, but {minimum} or newer is needed: update ffmpeg or set {variable} to a newer one", tool.display())]
    ToolTooOld {
        /// The program.
        tool: PathBuf,
        /// What it says of itself.
        version: String,
        /// Environment variable that overrides it.
        variable: &'static str,
        /// Oldest release that will do.
        minimum: &'static str,
    },
    /// A program was built without something that is needed.
    #[error("{} was built without {what}: install a full ffmpeg build or set {variable} to one", tool.display())]
    ToolLacks {
        /// The program.
        tool: PathBuf,
        /// What is missing, e.g. `the libx264 encoder`.
        what: &'static str,
        /// Environment variable that overrides it.
        variable: &'static str,
    },
    /// A GPU was to decode and encode, and does not.
    #[error(
        "GPU {gpu} was asked to decode and encode videos, but {why}: use `--video software`, or `--video auto` to take a GPU only where it works"
    )]
    NvidiaAbsent {
        /// Number of the GPU.
        gpu: u32,
        /// What is the matter with it.
        why: NvidiaFault,
    },
    /// No such file.
    #[error("there is no file {}: check the path", path.display())]
    NotFound {
        /// The file.
        path: PathBuf,
    },
    /// A directory or a special file.
    #[error("{} is not a regular file: name the video file itself", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A file without a byte in it.
    #[error("{} is empty (0 bytes): upload or copy the video again", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// A verb, e.g. `read`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Arc<io::Error>,
    },
    /// Not a video in a container that is accepted.
    #[error("{} is not a video that can be read ({cause}): give an MP4, MOV, Matroska, WebM, AVI or MPEG file", path.display())]
    NotAVideo {
        /// The file.
        path: PathBuf,
        /// What ffprobe said.
        cause: String,
    },
    /// The file is not a still picture that can be read.
    #[error("{} is not a picture that can be read ({cause}): give a PNG, JPEG, WebP or BMP file", path.display())]
    NotAPicture {
        /// The file.
        path: PathBuf,
        /// What ffmpeg said.
        cause: String,
    },
    /// A video whose end or index is missing.
    #[error("{} is cut short ({cause}): its copy or recording was not completed, so copy or record it again", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// What ffprobe said.
        cause: String,
    },
    /// Sound without a picture.
    #[error("{} has {audio} audio stream(s) but no video stream: give a file with a picture", path.display())]
    NoVideoStream {
        /// The file.
        path: PathBuf,
        /// Number of audio streams.
        audio: usize,
    },
    /// A video of a kind that cannot be worked on.
    #[error("{} {what}: convert it first, e.g. with `ffmpeg -i IN -pix_fmt yuv420p OUT.mp4`", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What is the matter, e.g. `uses the colour matrix ictcp`.
        what: String,
    },
    /// A window with no frame in it.
    #[error("no frame of {} lies in {start_secs} s <= time < {end_secs} s: the video runs from {first_secs:.3} s to {last_secs}", path.display())]
    EmptyWindow {
        /// The file.
        path: PathBuf,
        /// First second of the window.
        start_secs: f64,
        /// Second after the window.
        end_secs: f64,
        /// Where the video starts.
        first_secs: f64,
        /// Where it ends, as text, since not every container says.
        last_secs: String,
    },
    /// Reading stopped before the end.
    #[error("decoding {} failed after {frames} frames: {cause}", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// Frames delivered before.
        frames: u64,
        /// The exit status and the last messages of ffmpeg.
        cause: String,
    },
    /// Writing stopped before the end.
    #[error("encoding {} failed after {frames} frames: {cause}", path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// Frames handed to the encoder before.
        frames: u64,
        /// The exit status and the last messages of ffmpeg.
        cause: String,
    },
    /// Frames to be written never came.
    #[error("nothing was written to {}: {source}", path.display())]
    FramesLost {
        /// The output.
        path: PathBuf,
        /// Why, and which call the frames came from.
        source: PendingError,
    },
    /// An output container that is not offered.
    #[error("cannot write {}: the extension must be .mp4, .mov or .mkv", path.display())]
    OutputContainer {
        /// The output.
        path: PathBuf,
    },
    /// A caller broke a rule of a call.
    #[error("{what}")]
    InvalidArgument {
        /// A whole sentence that names the argument, its range and what it was.
        what: String,
    },
    /// A finished output is not what it should be.
    #[error("{} is not the video that was to be written: {what}", path.display())]
    Verify {
        /// The output.
        path: PathBuf,
        /// The difference.
        what: String,
    },
}

impl MediaError {
    pub(crate) fn io(action: &'static str, path: &std::path::Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source: Arc::new(source) }
    }

    /// Whether the input file or an argument is to blame, rather than this machine: such an error comes again on every attempt.
    #[must_use]
    pub const fn is_bad_input(&self) -> bool {
        matches!(
            self,
            Self::NotFound { .. }
                | Self::NotAFile { .. }
                | Self::Empty { .. }
                | Self::NotAVideo { .. }
                | Self::NotAPicture { .. }
                | Self::Truncated { .. }
                | Self::NoVideoStream { .. }
                | Self::Unsupported { .. }
                | Self::EmptyWindow { .. }
                | Self::OutputContainer { .. }
                | Self::InvalidArgument { .. }
        )
    }
}
