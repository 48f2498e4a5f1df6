//! The pose data file: one header line, then one line a frame.
