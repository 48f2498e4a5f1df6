//! The pinhole camera.
