//! Motion files: reads poses.jsonl and writes skinned, animated glTF (.glb) and Biovision (.bvh).
//!
//! [`Motion::read`] takes a pose file line by line and keeps only what motion files need (about 0.4 KB a person and frame).
//! [`Motion::write_glb`] writes everybody into one file, [`Motion::write_bvh`] one person a file.
//!
//! # Axes, units, time
//! Both formats use metres with y up, x to the right of the picture and z towards the viewer; the camera is at the origin. These
//! are the body's own axes when it faces the camera, so the flip of [`halfpipe_kit::axes`] is applied to the pelvis position alone
//! (in [`Motion::read`]) and joint rotations are taken over as they are. Time 0 is the first frame of the pose file, whatever its
//! timestamp; the timestamp itself is kept in the glTF scene's extras and in [`BvhSummary`].

mod bvh;
mod error;
mod glb;
mod motion;
mod rig;

pub use bvh::BvhSummary;
pub use error::MotionError;
pub use glb::{GlbOptions, GlbSummary};
pub use motion::{Motion, Track};
pub use rig::BodyRig;
