//! The crate against real ffmpeg processes and small clips made on the spot.

#![expect(clippy::unwrap_used, reason = "what a test cannot set up has failed the test")]

mod audio;
mod bounds;
mod colour;
mod common;
mod damage;
mod gpu;
mod inputs;
mod lifetime;
mod outputs;
mod parts;
mod timestamps;
mod window;
