//! Bounded, flagged interpolation of missing poses.
