//! A headless wgpu renderer that draws translucent shaded bodies into the frames of a batch.
//!
//! The way of a batch, in six nouns:
//!
//! - A [`DrawLane`] is one thread that owns one graphics device; any number of renderers queue their work on it.
//! - A [`Renderer`] draws into frames of one size with one look. [`Renderer::draw`] checks its arguments, queues the batch and
//!   hands out promises at once.
//! - A *patch* is a rectangle of one frame with the bodies seen in it. Only patches are drawn and read back, so the cost follows
//!   the bodies' area on the screen and not the frame's.
//! - A *sheet* is one render target that holds the patches of one or more frames side by side: one pass, one submission.
//! - The *body pass* writes two bytes a sample: the tone (how bright the surface is lit) and the slot (whose surface it is). The
//!   nearest surface wins, so a translucent body never shows through itself.
//! - The *blend* turns tone and slot into colour and mixes it into a copy of the frame's planes on the CPU, counting the pixels
//!   that really changed.
//!
//! No window, display server or environment variable is needed; a software Vulkan driver will do.

// wgpu's types are deep: whether the lane's thread may own them is worked out in more steps than are allowed by default
#![recursion_limit = "256"]

mod blend;
mod body_pass;
mod canvas;
mod device;
mod draw;
mod error;
mod gpu_data;
mod ink;
mod lane;
mod mesh;
mod patch;
mod readback;
mod renderer;
mod resolve;
mod scratch;
mod self_test;
mod sheet;
mod topology;

pub use device::{AdapterChoice, AdapterInfo, Backend};
pub use error::RenderError;
pub use lane::{DrawLane, LaneConfig};
pub use renderer::{Drawing, MAX_BODIES_PER_FRAME, Renderer};
