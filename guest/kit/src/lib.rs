//! What guests share, in plain Rust: decoding, tracking, smoothing, fitting, kinematics, the pose schema.
//!
//! No wasm and no host types here, so that everything is tested natively.

// geometry and the body
pub mod analytic;
pub mod angles;
pub mod axes;
pub mod body;
pub mod camera;
pub mod fit;
pub mod rig;
pub mod rotation;
pub mod shape;
pub mod skeleton;
// networks' outputs
pub mod blazepose;
pub mod detector;
pub mod hmr2;
pub mod movenet;
pub mod planes;
// time
pub mod flow;
pub mod gaps;
pub mod smooth;
pub mod track;
// data
pub mod options;
pub mod poses;
