//! Draws small scenes on a software adapter and compares what comes out with closed forms.
//!
//! These tests need a software Vulkan driver (packages mesa-vulkan-drivers and libvulkan1), and one a software OpenGL
//! (libegl1, libegl-mesa0, libgl1-mesa-dri).

#![allow(clippy::unwrap_used, reason = "in a test, what cannot be unwrapped is a failure")]

mod blending;
mod contract;
mod geometry;
mod layouts;
mod queue;
mod raymond;
mod scene;
