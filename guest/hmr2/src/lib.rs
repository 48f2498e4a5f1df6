//! The 4D-Humans pipeline: a detector finds people, HMR2 gives an SMPL body for each, drawn as 4D-Humans draws.
//!
//! A batch of frames runs detector (on every `detector_stride`th frame) -> tracks, with boxes filled in between -> crops of all frames
//! and people -> HMR2 -> placing -> smoothing; frames then wait until no gap can close over them any more, and are drawn and written.
//! The networks are the user's own: their weights are not free, so nothing of them is in the repository.

mod bodies;
mod network;
mod options;
mod pipeline;
mod pose;

use halfpipe_bindings::host::exports::halfpipe::job::runner::{Description, Failure, Guest, Report, Spec};

use crate::options::Options;

/// The component.
struct Hmr2;

impl Guest for Hmr2 {
    fn describe() -> Description {
        Description {
            name: "hmr2".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: "Draws the SMPL body that HMR2 sees over every person, as 4D-Humans does, and writes their motion.".into(),
            models: Options::default().needs(),
            options_schema: options::SCHEMA.into(),
        }
    }

    fn needs(options: String) -> Result<Vec<String>, String> {
        Ok(Options::parse(&options)?.needs())
    }

    fn run(job: Spec) -> Result<Report, Failure> {
        let options = Options::parse(&job.options).map_err(Failure::BadInput)?;
        pipeline::run(&job, options)
    }
}

#[allow(unsafe_code, reason = "wit-bindgen generates the component's ABI")]
mod exports {
    use super::Hmr2;
    halfpipe_bindings::host::export!(Hmr2 with_types_in halfpipe_bindings::host);
}
