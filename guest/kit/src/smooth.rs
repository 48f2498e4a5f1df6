//! One-Euro smoothing.
