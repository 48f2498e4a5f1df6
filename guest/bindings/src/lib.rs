//! The bindings of the pipeline world, and what pipeline guests share on top of them.
//!
//! What can be said without the host's types is in `halfpipe-kit` and tested natively; here is what joins it to the host: models by
//! name, detectors by the catalog's description, frames drawn and written, lines of the pose file. A guest is a `cdylib` that depends on
//! this crate, implements [`host::exports::halfpipe::job::runner::Guest`] and exports it with [`host::export!`].

pub mod convert;
pub mod detector;
pub mod header;
pub mod host;
pub mod models;
pub mod output;
pub mod solver;
pub mod style;
