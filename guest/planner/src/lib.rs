//! The default planner: a video put under `incoming/` becomes one overlay job, a request becomes the job it asks for.
//!
//! The rules are plain functions in `rules`, tested natively; this file makes a component of them. To change which objects
//! become which jobs, change the rules and redeploy this component alone.

mod host;
mod rules;

use crate::host::exports::halfpipe::job::planning::{Event, Guest, Job};
use crate::host::wasi::logging::logging;

/// The component.
struct Planner;

impl Guest for Planner {
    fn plan(event: Event) -> Result<Vec<Job>, String> {
        let jobs = rules::plan(&event)?;
        logging::log(logging::Level::Debug, "planner", &format!("{} {:?}: {} jobs", event.kind, event.key, jobs.len()));
        Ok(jobs)
    }
}

#[allow(unsafe_code, reason = "wit-bindgen generates the component's ABI")]
mod exports {
    use super::{Planner, host};
    host::export!(Planner with_types_in host);
}
