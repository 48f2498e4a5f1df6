//! The errors of this crate.

use halfpipe_kit::poses::ReadError;

/// A motion file could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MotionError {
    /// The pose file is not valid.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A body's rig contradicts itself.
    #[error("the rig of body {body} is not usable: {fault}; build the body again")]
    Rig {
        /// The body's name.
        body: String,
        /// What is wrong with it.
        fault: String,
    },
    /// The poses were made with another body than the rig given.
    #[error("the poses belong to another body than the rig of {rig}: {what} differ; use the rig named in the pose file's header")]
    OtherBody {
        /// Name of the rig's body.
        rig: String,
        /// What differs.
        what: &'static str,
    },
    /// There is nobody of that number.
    #[error("the pose file has no pose of track {track}; it has poses of {known:?}")]
    UnknownTrack {
        /// The number asked for.
        track: u32,
        /// The numbers there are.
        known: Vec<u32>,
    },
    /// The format cannot hold that much.
    #[error("the motion takes {bytes} bytes, a .glb file holds at most 4 GiB: cut the video into parts")]
    TooLarge {
        /// Bytes of the whole file.
        bytes: u64,
    },
    /// The file's JSON could not be made.
    #[error("the .glb file's JSON could not be written: {0}")]
    Json(#[from] gltf_json::Error),
    /// Writing failed.
    #[error("the motion file could not be written: {0}")]
    Write(#[from] std::io::Error),
}
