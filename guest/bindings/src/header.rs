//! The first line of the pose file, out of what every pipeline knows.

use halfpipe_kit::camera::Pinhole;
use halfpipe_kit::poses::{self, Axes, Camera, CameraModel, Header, Schema, Skeleton};
use halfpipe_kit::rig::Rig;

use crate::host::exports::halfpipe::job::runner::{Failure, Spec};
use crate::host::halfpipe::media::video::Info;

/// What a pipeline adds to the header.
pub struct Parts<'a> {
    /// Catalog name of the body.
    pub body: &'a str,
    /// The body's rig.
    pub rig: &'a Rig,
    /// The camera that bodies are placed before.
    pub camera: &'a Pinhole,
    /// Names of the detector's keypoints; empty where it gives none.
    pub keypoint_names: &'a [&'a str],
    /// Names of the pose network's landmarks; empty where it gives none.
    pub landmark_names: &'a [&'a str],
    /// Names of OpenPose's keypoints; empty where the body gives none.
    pub openpose_names: &'a [&'a str],
    /// The settings in effect, a JSON object.
    pub settings: &'a str,
}

/// The header.
///
/// # Errors
/// Where the host's provenance or the settings are no JSON objects.
pub fn header(job: &Spec, info: &Info, parts: &Parts<'_>) -> Result<Header, Failure> {
    let object =
        |what: &str, text: &str| serde_json::from_str(text).map_err(|e| Failure::Failed(format!("{what} is not a JSON object: {e}")));
    let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
    Ok(Header {
        schema: Schema::default(),
        video: poses::Video {
            frames: info.frames,
            width: info.size.width,
            height: info.size.height,
            frame_rate: info.frame_rate,
            time_base: None,
            duration: info.duration,
        },
        camera: Camera { model: CameraModel::default(), focal: parts.camera.focal as f32, center: parts.camera.center.map(|c| c as f32) },
        axes: Axes::default(),
        skeleton: Skeleton::default(),
        body: poses::Body { name: parts.body.into(), shape_names: parts.rig.shape_names().to_vec() },
        keypoint_names: names(parts.keypoint_names),
        landmark_names: names(parts.landmark_names),
        openpose_names: names(parts.openpose_names),
        settings: object("what the settings are", parts.settings)?,
        provenance: object("the host's provenance", &job.provenance)?,
    })
}
