//! Errors: what a guest may see, what ends it, and what a caller of the runtime gets.

use std::path::PathBuf;

use halfpipe_core::{OverBudget, PendingError};
use halfpipe_media::MediaError;
use halfpipe_nn::{CatalogError, NnError};
use halfpipe_render::RenderError;

use crate::bindings::halfpipe::media::errors::Error as WitError;
use crate::bindings::wasi::nn::errors::ErrorCode;

/// The error of a `halfpipe:*` host call: either a value for the guest or a trap.
#[derive(Debug)]
pub enum HostError {
    /// The guest sees this.
    Guest(WitError),
    /// This ends the guest.
    Trap(wasmtime::Error),
}

impl From<WitError> for HostError {
    fn from(e: WitError) -> Self {
        Self::Guest(e)
    }
}
impl From<wasmtime::component::ResourceTableError> for HostError {
    fn from(e: wasmtime::component::ResourceTableError) -> Self {
        match e {
            wasmtime::component::ResourceTableError::Full => {
                Self::Guest(WitError::OverBudget("the job holds as many handles as it may; drop some".into()))
            }
            other => Self::Trap(other.into()),
        }
    }
}
impl From<wasmtime::Error> for HostError {
    fn from(e: wasmtime::Error) -> Self {
        Self::Trap(e)
    }
}
impl From<wasmtime::Error> for NnHostError {
    fn from(e: wasmtime::Error) -> Self {
        Self::Trap(e)
    }
}
impl From<OverBudget> for HostError {
    fn from(e: OverBudget) -> Self {
        Self::Guest(WitError::OverBudget(format!("the handles of this job: {e}; drop frames and tensors that are no longer needed")))
    }
}
impl From<PendingError> for HostError {
    fn from(e: PendingError) -> Self {
        Self::Guest(if e.cancelled { WitError::Cancelled } else { WitError::Failed(e.to_string()) })
    }
}
impl From<MediaError> for HostError {
    fn from(e: MediaError) -> Self {
        Self::Guest(WitError::Failed(e.to_string()))
    }
}
impl From<NnError> for HostError {
    fn from(e: NnError) -> Self {
        Self::Guest(WitError::InvalidArgument(e.to_string()))
    }
}
impl From<RenderError> for HostError {
    fn from(e: RenderError) -> Self {
        Self::Guest(WitError::InvalidArgument(e.to_string()))
    }
}

/// The error of a `wasi:nn` call: either an error resource for the guest or a trap.
#[derive(Debug)]
pub enum NnHostError {
    /// The guest sees this.
    Guest(ErrorCode, String),
    /// This ends the guest.
    Trap(wasmtime::Error),
}

impl From<wasmtime::component::ResourceTableError> for NnHostError {
    fn from(e: wasmtime::component::ResourceTableError) -> Self {
        match e {
            wasmtime::component::ResourceTableError::Full => {
                Self::Guest(ErrorCode::TooLarge, "the job holds as many handles as it may; drop some".into())
            }
            other => Self::Trap(other.into()),
        }
    }
}
impl From<NnError> for NnHostError {
    fn from(e: NnError) -> Self {
        Self::Guest(ErrorCode::InvalidArgument, e.to_string())
    }
}

/// Whether a failed job would fail again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The input, an option or a path is at fault.
    BadInput,
    /// A model or body is missing, altered or does not fit.
    BadModel,
    /// The guest component is at fault: it trapped, lied, or passed a limit.
    BadGuest,
    /// The machine lacks something: a GPU, a library, disk space.
    Environment,
    /// The job was asked to stop.
    Cancelled,
    /// Anything else.
    Failed,
}

/// Why the runtime could not start, load a guest or finish a job.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// A component compiled ahead of time cannot be put where it belongs.
    #[error("cannot write {path}: {source}; give a folder that can be written to with --out", path = .path.display())]
    Precompiled {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A guest component file cannot be read.
    #[error("cannot read the guest component {path}: {source}; give the path of a .wasm component")]
    GuestFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not a component of the pipeline world.
    #[error("{path} is not a Halfpipe pipeline component: {message}; build it with `make guests` for the world halfpipe:app/pipeline")]
    GuestInvalid {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        message: String,
    },
    /// The file is not a component of the planner world.
    #[error("{path} is not a Halfpipe planner component: {message}; build it with `make guests` for the world halfpipe:app/planner")]
    PlannerInvalid {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        message: String,
    },
    /// The planner broke a rule.
    #[error("the planner {planner} {message}")]
    Planner {
        /// Name of the planner: its file without `.wasm`.
        planner: String,
        /// What it did.
        message: String,
    },
    /// The planner says that it does not understand an event.
    #[error("the planner {planner} refuses the event: {message}")]
    EventRefused {
        /// Name of the planner: its file without `.wasm`.
        planner: String,
        /// Its sentence.
        message: String,
    },
    /// No guest of that name.
    #[error("there is no pipeline named {name} in {dir} (found: {found}); run `make guests` or give the path of a .wasm file")]
    GuestUnknown {
        /// Name asked for.
        name: String,
        /// Where it was looked for.
        dir: PathBuf,
        /// What is there.
        found: String,
    },
    /// The options do not fit the guest's schema.
    #[error("the pipeline {guest} does not take these options: {message}; `halfpipe guest inspect` lists what it takes")]
    Options {
        /// Guest name.
        guest: String,
        /// What does not fit.
        message: String,
    },
    /// A bad input, path or option of the job itself.
    #[error("{0}")]
    BadInput(String),
    /// The guest broke a rule.
    #[error("the pipeline {guest} {message}")]
    Guest {
        /// Guest name or file.
        guest: String,
        /// What it did.
        message: String,
    },
    /// The guest reported a failure of its own.
    #[error("{message}")]
    Reported {
        /// What kind.
        kind: FaultKind,
        /// Its sentence.
        message: String,
    },
    /// The job was asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// An output file cannot be written.
    #[error("cannot write {path}: {message}; check that the folder exists, is writable and has room")]
    Output {
        /// The file.
        path: PathBuf,
        /// What the system said.
        message: String,
    },
    /// Video tools.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// Models.
    #[error(transparent)]
    Nn(#[from] NnError),
    /// The catalog or a model file.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The renderer.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// Motion files.
    #[error(transparent)]
    Motion(#[from] halfpipe_motion::MotionError),
    /// The sandbox engine itself.
    #[error("the sandbox engine failed: {0}")]
    Engine(String),
}

impl RuntimeError {
    /// Whether trying again may help, and whose fault it is.
    #[must_use]
    pub const fn kind(&self) -> FaultKind {
        match self {
            Self::Options { .. } | Self::BadInput(_) | Self::GuestUnknown { .. } | Self::GuestFile { .. } | Self::EventRefused { .. } => {
                FaultKind::BadInput
            }
            Self::GuestInvalid { .. } | Self::Guest { .. } | Self::PlannerInvalid { .. } | Self::Planner { .. } => FaultKind::BadGuest,
            Self::Catalog(_) => FaultKind::BadModel,
            Self::Cancelled => FaultKind::Cancelled,
            Self::Reported { kind, .. } => *kind,
            Self::Output { .. } | Self::Precompiled { .. } | Self::Nn(_) | Self::Render(_) => FaultKind::Environment,
            Self::Media(
                MediaError::ToolMissing { .. }
                | MediaError::ToolTooOld { .. }
                | MediaError::ToolLacks { .. }
                | MediaError::NvidiaAbsent { .. },
            ) => FaultKind::Environment,
            Self::Media(e) if e.is_bad_input() => FaultKind::BadInput,
            Self::Media(_) | Self::Motion(_) | Self::Engine(_) => FaultKind::Failed,
        }
    }
}
