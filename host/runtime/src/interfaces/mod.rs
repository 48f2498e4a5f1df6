//! One file per WIT interface: the only place where engines and WIT types meet.

mod catalog;
mod errors;
mod frames;
mod logging;
pub(crate) mod nn;
pub(crate) mod objects;
mod progress;
mod render;
mod slices;
mod video;
