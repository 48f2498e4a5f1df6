//! Rotations: exponential, logarithm, smallest rotation between directions.
