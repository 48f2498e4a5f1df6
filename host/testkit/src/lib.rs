//! Fakes, synthetic sources, picture and tensor comparison for the tests of the other crates.

pub mod clips;
pub mod pictures;
pub mod places;
