//! The crate against real ffmpeg processes and small clips made on the spot.

mod audio;
mod bounds;
mod colour;
mod common;
mod damage;
mod inputs;
mod lifetime;
mod outputs;
mod timestamps;
mod window;
