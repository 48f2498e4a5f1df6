//! The errors of this crate.

use std::path::PathBuf;

use crate::{CatalogError, TensorError};

/// Why something about models, tensors or pictures did not work.
#[derive(Debug, thiserror::Error)]
pub enum NnError {
    /// The catalog is wrong, or a file is not what it says.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Values do not make up a tensor.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// No ONNX Runtime library, or one that does not fit.
    #[error("{message}; {remedy}")]
    Library {
        /// What is wrong, with the path.
        message: String,
        /// What to do.
        remedy: String,
    },
    /// The device asked for cannot be used.
    #[error("{message}; {remedy}")]
    Device {
        /// What is wrong.
        message: String,
        /// What to do.
        remedy: String,
    },
    /// An argument is out of range.
    #[error("{0}")]
    InvalidArgument(String),
    /// Inputs do not fit a model.
    #[error("model `{model}`: {message}")]
    Input {
        /// The model.
        model: String,
        /// Which input and why.
        message: String,
    },
    /// The model file does not have the inputs and outputs that the catalog states.
    #[error("model `{model}` does not fit its catalog entry: {message}")]
    Mismatch {
        /// The model.
        model: String,
        /// What differs.
        message: String,
    },
    /// There was not enough memory, however small the batch.
    #[error("model `{model}` ran out of memory with a batch of {batch}: {message}")]
    OutOfMemory {
        /// The model.
        model: String,
        /// Rows of the smallest batch that was tried.
        batch: usize,
        /// What the engine said.
        message: String,
    },
    /// The engine failed.
    #[error("model `{model}` failed: {message}")]
    Engine {
        /// The model.
        model: String,
        /// What the engine said.
        message: String,
    },
    /// A body's rig file does not hold what it must.
    #[error("{path}: {message}; make it again with `make models`", path = .path.display())]
    Rig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The lane's thread could not be started or has ended.
    #[error("the nn lane is not running: {0}")]
    Lane(String),
}
