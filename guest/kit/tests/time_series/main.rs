//! Tracking, smoothing and gap filling over simulated videos.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod gaps;
mod people;
mod schedule;
mod smooth;
mod track;
