//! What the decoders make of the networks' outputs.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod blazepose;
mod movenet;
mod reference;
