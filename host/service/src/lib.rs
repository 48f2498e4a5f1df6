//! The function: durable jobs over an object store, the HTTP API, upload events.
//!
//! Start at [`App`] (what every request and job shares), [`jobs::Ledger`] (what is known of jobs, in the store) and
//! [`jobs::Dispatcher`] (which works on them). [`http::router`] is the API; the same router stands behind `halfpipe serve` and Lambda.

// the engines' types are deep: wgpu's resources stand behind the host
#![recursion_limit = "256"]

mod app;
mod clock;
mod config;
mod engines;
pub mod events;
pub mod http;
pub mod jobs;
mod place;
mod probes;
pub mod queue;
pub mod server;
pub mod settings;
mod shelf;
pub mod webhook;

pub use app::{App, AppError};
pub use config::Config;
pub use engines::{EngineStatus, Engines};
pub use place::{Opened, Place};
pub use shelf::{PlannerShelf, Shelf};
