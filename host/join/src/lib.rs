//! Long videos over many workers: a [`Plan`] cuts a video into windows, each is an ordinary job, and [`join()`] makes one video, one
//! pose file and one set of track numbers of their parts.
//!
//! A window has frames of its own, which its part holds and no other, and context before and behind them, which is read so that whoever
//! follows people has seen them already. Frames that two windows read are where identities are carried from one to the next.
//!
//! - [`split()`] makes a plan: where to cut is decided in [`mod@cut`].
//! - [`WindowPlan::window`] is what a job needs to work on one window.
//! - [`join()`] checks the parts against the plan, numbers the people ([`identity`]) and puts everything together; nothing is changed
//!   but frame and track numbers, and no frame is encoded anew.

pub mod cut;
mod digest;
mod error;
pub mod identity;
mod join;
mod parts;
mod plan;
mod seam;
mod split;

pub use digest::Digest;
pub use error::JoinError;
pub use join::{JoinReport, JoinedPart, JoinedVideo, Request, join};
pub use parts::{poses_name, video_name};
pub use plan::{Plan, PlanSchema, PlanSource, WindowPlan};
pub use seam::Seam;
pub use split::{SplitOptions, split};
