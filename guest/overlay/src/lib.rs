//! The default pipeline: MoveNet finds people, BlazePose finds landmarks, a body is fitted and drawn.
//!
//! A frame runs detector (only when needed) -> crops -> landmarks -> tracking -> smoothing -> fit; frames then wait until no
//! gap can close over them any more, and are drawn and written batch by batch.

mod ahead;
mod networks;
mod options;
mod people;
mod pipeline;
mod pose;
mod reader;

use halfpipe_bindings::host::exports::halfpipe::job::runner::{Description, Failure, Guest, Report, Spec};

use crate::options::Options;

/// The component.
struct Overlay;

impl Guest for Overlay {
    fn describe() -> Description {
        Description {
            name: "overlay".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: "Draws a fitted body over every person and writes their motion.".into(),
            models: options::ALL_MODELS.map(str::to_owned).to_vec(),
            options_schema: options::SCHEMA.into(),
        }
    }

    fn needs(options: String) -> Result<Vec<String>, String> {
        Ok(Options::parse(&options)?.needs())
    }

    fn run(job: Spec) -> Result<Report, Failure> {
        let options = Options::parse(&job.options).map_err(Failure::BadInput)?;
        pipeline::run(&job, &options)
    }
}

#[allow(unsafe_code, reason = "wit-bindgen generates the component's ABI")]
mod exports {
    use super::Overlay;
    halfpipe_bindings::host::export!(Overlay with_types_in halfpipe_bindings::host);
}
