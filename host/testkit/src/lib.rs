//! Fakes, synthetic sources, picture and tensor comparison for the tests of the other crates.
#![allow(clippy::unwrap_used, reason = "test code: a prerequisite that fails ends the test")]

pub mod clips;
pub mod gpu;
pub mod moto;
pub mod pictures;
pub mod places;
