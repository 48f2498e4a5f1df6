//! What can go wrong between a plan and the joined video, one sentence each, with the remedy.

use std::io;
use std::path::{Path, PathBuf};

use halfpipe_kit::poses::{ReadError, WriteError};
use halfpipe_media::MediaError;

/// Why a video could not be split, or parts not be joined.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The video, or a part's video, cannot be used.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// The wishes for a plan cannot be met.
    #[error("{0}")]
    Cut(String),
    /// The plan cannot be used.
    #[error("{} is not a usable plan: {what}; make it again with `halfpipe split`", path.display())]
    Plan {
        /// The file.
        path: PathBuf,
        /// What is the matter.
        what: String,
    },
    /// The plan has no such window.
    #[error("{} has no window {index}: its windows are 0 to {}", path.display(), count.saturating_sub(1))]
    NoWindow {
        /// The plan.
        path: PathBuf,
        /// What was asked for.
        index: u32,
        /// How many there are.
        count: usize,
    },
    /// The video is not the one the plan was made for.
    #[error("{} is not the video of the plan: {what}; give that video, or make a plan for this one with `halfpipe split`", path.display())]
    Source {
        /// The video.
        path: PathBuf,
        /// What differs.
        what: String,
    },
    /// Parts are not there.
    #[error("{}: run {commands}; then join again", missing_text(windows, *of, folder))]
    Missing {
        /// Their numbers.
        windows: Vec<u32>,
        /// How many windows there are.
        of: usize,
        /// Where they were looked for.
        folder: PathBuf,
        /// The commands that make them, up to three.
        commands: String,
    },
    /// A part does not belong with the others.
    #[error("{} is not the part of window {window}: {what}; run `{command}` and join again", path.display())]
    Part {
        /// The file.
        path: PathBuf,
        /// Whose part it should be.
        window: u32,
        /// What differs.
        what: String,
        /// The command that makes it.
        command: String,
    },
    /// A part's pose file is broken.
    #[error("{}: {source}; run `{command}` and join again", path.display())]
    Poses {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<ReadError>,
        /// The command that makes it.
        command: String,
    },
    /// The joined pose file would break a rule of its format.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// A verb, e.g. `read`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl JoinError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    /// Whether an argument or a file that was given is to blame, rather than this machine.
    #[must_use]
    pub const fn is_bad_input(&self) -> bool {
        match self {
            Self::Media(e) => e.is_bad_input() || matches!(e, MediaError::Verify { .. }),
            Self::Cut(_)
            | Self::Plan { .. }
            | Self::NoWindow { .. }
            | Self::Source { .. }
            | Self::Missing { .. }
            | Self::Part { .. }
            | Self::Poses { .. } => true,
            Self::Write(_) | Self::Io { .. } => false,
        }
    }
}

/// `windows 3, 5 of 7 have no part in parts`.
fn missing_text(windows: &[u32], of: usize, folder: &Path) -> String {
    let numbers: Vec<String> = windows.iter().map(ToString::to_string).collect();
    let (noun, verb) = if windows.len() == 1 { ("window", "has") } else { ("windows", "have") };
    format!("{noun} {} of {of} {verb} no part in {}", numbers.join(", "), folder.display())
}
