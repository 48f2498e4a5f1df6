//! HMR2 (Goel et al. 2023, "Humans in 4D"): which square of a frame it looks at, what comes out, and where that puts the body.
//!
//! The network gives, for each crop, the rotations and betas of an SMPL body and a weak camera `(s, tx, ty)` of the crop. 4D-Humans
//! turns that camera into a place before one camera of the whole frame, whose focal length it fixes at 5000 pixels for a crop of
//! 256. Everything here follows its code; [`crop`] has the crop's rule, [`camera`] the camera's.

pub mod camera;
pub mod crop;
pub mod outputs;

pub use camera::{frame_camera, place};
pub use crop::PersonCrop;
pub use outputs::{Estimate, Outputs};

/// Side of the network's input, pixels.
pub const INPUT: u32 = 256;
/// Shape parameters of its body.
pub const BETAS: usize = 10;
