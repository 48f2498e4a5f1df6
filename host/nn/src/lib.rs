//! Models: the catalog, tensors, the ONNX Runtime engine, its lane, and image operations that mint tensors.
//!
//! The way of a tensor: [`image`] operations cut and scale pictures into a [`Tensor`], a model computes further tensors
//! from it, and whoever needs the values waits for them. All of it is queued on one [`NnLane`], whose threads run the
//! models; what a call returns are promises ([`halfpipe_core::Pending`]).
//!
//! An [`Engine`] is what a lane drives: [`ort::OrtEngine`] on ONNX Runtime, or a fake in tests (feature `fake`); both pass
//! the same conformance checks. Models come from the [`Catalog`] by name and are used only if their file's sha256 is the
//! one stated there.

pub mod body;
mod buckets;
pub mod catalog;
#[cfg(any(test, feature = "fake"))]
pub mod conformance;
pub mod engine;
mod error;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
pub mod image;
pub mod lane;
pub mod ort;
mod pieces;
mod rows;
pub mod tensor;
mod values;

pub use crate::ort::Device;
pub use body::BodyRig;
pub use catalog::{BodyEntry, Catalog, CatalogError, ModelEntry};
pub use engine::{DeviceInfo, Engine, Model, Port, Ports};
pub use error::NnError;
pub use lane::{ModelHandle, NnConfig, NnLane};
pub use tensor::{Slice, Tensor, TensorError, TensorType};
