//! MoveNet MultiPose: people out of its raw heads.
