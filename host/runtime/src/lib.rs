//! The sandbox: runs guest components with wasmtime behind the WIT interfaces, within limits.
//!
//! Start at [`Host`] (what all jobs share) and [`Host::run`] (one job). Engines meet WIT types only under
//! `interfaces/`; everything a guest holds is in [`resources`] and dies with its store.

// the engines' types are deep: wgpu's resources stand behind the renderer handle
#![recursion_limit = "256"]

pub mod accounting;
pub mod bindings;
pub mod error;
pub mod grants;
pub mod guest;
pub mod host;
mod interfaces;
pub mod job;
pub mod limits;
pub mod motion;
pub mod options;
pub mod planner;
pub mod precompiled;
pub mod progress;
pub mod report;
pub mod resources;
pub mod sandbox;
pub mod state;
mod usage;
pub mod warmup;

pub use error::{FaultKind, RuntimeError};
pub use guest::{Description, Guest};
pub use host::{Host, HostConfig};
pub use job::{Job, Outputs};
pub use limits::Limits;
pub use planner::{PlanEvent, PlanEventKind, PlannedJob, Planner};
pub use precompiled::Precompiled;
pub use progress::{Progress, Stage};
pub use report::JobReport;
pub use sandbox::Sandbox;
pub use state::CancelToken;
pub use warmup::{WarmRun, Warmed};
