//! What guests share, in plain Rust: decoding, tracking, smoothing, fitting, kinematics, the pose schema.
