//! The pose data file `poses.jsonl`: one header line, then one line a frame.
//!
//! Every line is one JSON object. The first is a [`Header`] (`"type":"header"`), every other a [`Frame`] (`"type":"frame"`), in the
//! order of the video. The JSON Schema of both stands in `schema/poses-1.schema.json` ([`JSON_SCHEMA`]). Once a schema version is
//! released no field of it is added or renamed, so readers reject unknown fields.
//!
//! A pipeline whose body model gives OpenPose's keypoints writes them beside the joints, under names of their own
//! ([`Header::openpose_names`], [`Pose::openpose`]); files of other pipelines lack both fields.
//!
//! # Axes and units
//! Pixels belong to the upright frame: x right, y down, pixel centres at +0.5. Metres are in camera axes: x right, y down,
//! z forward, origin at the camera. Body axes are x to the body's left, y up, z to its front. One rule joins the two:
//!
//! `p_camera = FLIP * p_body + translation`, with `FLIP = diag(1, -1, -1)` (see [`crate::axes`]),
//!
//! where `p_body` is the body posed with `rotations` and shaped by `betas`, its pelvis left at its rest position `J_0(betas)`.
//! So `rotations[0]` (global_orient) turns the body *in body axes* and holds no flip, and the pelvis lies at
//! `FLIP * J_0(betas) + translation`, which is `joints3d[0]`.
//!
//! # What a status means
//! A frame is never left out or renumbered because a pose is missing: there is one line for every frame that was read. A frame's
//! status is the best of its people's ([`FrameStatus::of`]); a frame without people is valid and is `no_person`.
//!
//! Floating-point values are rounded when written: metres and betas to 4 decimals, pixels to 2, scores to 3, quaternions to 5,
//! degrees to 1. Timestamps are written in full.

mod check;
mod read;
mod round;
mod write;

use serde::{Deserialize, Serialize};

use crate::angles::{ANGLES, joint_angles};
use crate::axes;
use crate::body::{PlacedBody, PlacedJoints};
use crate::camera::{NEAREST, Pinhole};
use crate::rotation::{self, Vec3};
use crate::skeleton::{self, openpose::OPENPOSE};

pub use crate::skeleton::JOINTS;
pub use check::{Layout, PoseFault};
pub use read::{PosesReader, ReadError};
pub use write::{PosesWriter, WriteError};

/// The JSON Schema (draft 2020-12) of a line of the file.
pub const JSON_SCHEMA: &str = include_str!("../schema/poses-1.schema.json");

/// The version of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Schema {
    /// The first.
    #[default]
    #[serde(rename = "halfpipe.poses/1")]
    V1,
}

/// The axes and the unit of all 3D positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Axes {
    /// The camera's own axes, in metres.
    #[default]
    #[serde(rename = "x right, y down, z forward; metres")]
    CameraMetres,
}

/// The first line: what holds for all frames.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Version of the format.
    pub schema: Schema,
    /// The video the poses were seen in.
    pub video: Video,
    /// The camera that 2D and 3D joints agree on.
    pub camera: Camera,
    /// Axes and unit of 3D positions.
    pub axes: Axes,
    /// Joint names and parents, the order of every list of joints.
    pub skeleton: Skeleton,
    /// The body model.
    pub body: Body,
    /// Names of the detector's keypoints, the order of `keypoints2d`; empty where the detector gives none.
    pub keypoint_names: Vec<String>,
    /// Names of the pose network's landmarks, the order of `landmarks2d` and `landmarks3d`; empty where it gives none.
    pub landmark_names: Vec<String>,
    /// Names of the keypoints in [`Pose::openpose`]: all of [`crate::skeleton::openpose::OPENPOSE_NAMES`], or none (then the field
    /// is left out) where the pipeline gives none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub openpose_names: Vec<String>,
    /// The settings in effect, every default filled in.
    pub settings: serde_json::Map<String, serde_json::Value>,
    /// Versions and digests of the host, the guest and the models; device and precision.
    pub provenance: serde_json::Map<String, serde_json::Value>,
}

/// Facts of a video.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Video {
    /// Number of frames where the container says so before reading.
    pub frames: Option<u64>,
    /// Upright width, pixels.
    pub width: u32,
    /// Upright height, pixels.
    pub height: u32,
    /// Average frames per second; the frames' timestamps are the truth.
    pub frame_rate: f64,
    /// Seconds per tick as numerator and denominator, where known.
    pub time_base: Option<[u32; 2]>,
    /// Length in seconds where the container says so.
    pub duration: Option<f64>,
}

/// An ideal camera: `u = focal * x / z + center[0]`, `v = focal * y / z + center[1]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Camera {
    /// Kind of camera.
    pub model: CameraModel,
    /// Focal length, pixels.
    pub focal: f32,
    /// Principal point, pixels.
    pub center: [f32; 2],
}

/// Kinds of camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CameraModel {
    /// Without distortion.
    #[default]
    Pinhole,
}

/// The joints of a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skeleton {
    /// One name a joint, parents before children.
    pub joint_names: [String; JOINTS],
    /// Index of each joint's parent; -1 for the root, which is joint 0.
    pub parents: [i32; JOINTS],
}

impl Default for Skeleton {
    /// The joints of [`crate::skeleton`].
    fn default() -> Self {
        Self {
            joint_names: skeleton::JOINT_NAMES.map(String::from),
            parents: skeleton::JOINT_PARENTS.map(|parent| parent.map_or(-1, |p| p as i32)),
        }
    }
}

/// The body model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Body {
    /// Its name in the model catalog.
    pub name: String,
    /// Names of the shape parameters, the order of `betas`.
    pub shape_names: Vec<String>,
}

/// What a frame holds, the best of its people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FrameStatus {
    /// At least one person's pose was measured in this frame.
    Detected,
    /// None was measured, at least one was filled in between two measured frames.
    Interpolated,
    /// People were looked for and none was found. The frame went out unchanged.
    NoPerson,
    /// All people in it are doubtful.
    LowConfidence,
    /// The frame could not be analysed; `message` says why. The frame went out unchanged.
    Error,
}

impl FrameStatus {
    /// The status of a frame that was analysed and holds `people`.
    #[must_use]
    pub fn of(people: &[Person]) -> Self {
        let any = |status| people.iter().any(|p| p.status == status);
        if people.is_empty() {
            Self::NoPerson
        } else if any(PersonStatus::Detected) {
            Self::Detected
        } else if any(PersonStatus::Interpolated) {
            Self::Interpolated
        } else {
            Self::LowConfidence
        }
    }
}

/// Where a person's pose comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PersonStatus {
    /// Measured in this frame.
    Detected,
    /// Not measured: filled in between the nearest measured frames before and after, over a gap of bounded length. Its
    /// confidence is the lower of both ends.
    Interpolated,
    /// Something was found, but scores are below the thresholds in force (a ghost, or a hidden body). May be without a pose.
    LowConfidence,
}

/// One line: one frame of the video.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frame {
    /// Index in the video, from 0, strictly increasing from line to line.
    pub index: u64,
    /// Presentation time from the container, seconds, strictly increasing; need not start at 0.
    pub timestamp: f64,
    /// What the frame holds.
    pub status: FrameStatus,
    /// The people in it; none where the status is `no_person` or `error`.
    pub people: Vec<Person>,
    /// What went wrong, only (and always) with status `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Frame {
    /// A frame that was analysed; its status is that of its people.
    #[must_use]
    pub fn new(index: u64, timestamp: f64, people: Vec<Person>) -> Self {
        Self { index, timestamp, status: FrameStatus::of(&people), people, message: None }
    }

    /// A frame that could not be analysed.
    #[must_use]
    pub fn failed(index: u64, timestamp: f64, message: impl Into<String>) -> Self {
        Self { index, timestamp, status: FrameStatus::Error, people: Vec::new(), message: Some(message.into()) }
    }
}

/// One person in one frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// Who it is: the same number in every frame of the same person, once in a frame.
    pub track: u32,
    /// Where the pose comes from.
    pub status: PersonStatus,
    /// `[x, y, width, height]` of the box around the person, pixels; x, y is its top left corner.
    #[serde(rename = "box", serialize_with = "round::pixels")]
    pub bbox: [f32; 4],
    /// The detector's score, 0 to 1; none where the detector did not report this person in this frame.
    #[serde(serialize_with = "round::score_option")]
    pub score: Option<f32>,
    /// The pose network's own belief that a person is in its crop, 0 to 1; none where it was not asked or does not say.
    #[serde(serialize_with = "round::score_option")]
    pub presence: Option<f32>,
    /// How far to trust the pose, 0 to 1, computed from the measured scores.
    #[serde(serialize_with = "round::score")]
    pub confidence: f32,
    /// The detector's keypoints `[x, y, score]`, pixels; empty where not measured.
    #[serde(serialize_with = "round::seen_points")]
    pub keypoints2d: Vec<[f32; 3]>,
    /// The pose network's landmarks `[x, y, visibility]`, pixels; empty where not measured.
    #[serde(serialize_with = "round::seen_points")]
    pub landmarks2d: Vec<[f32; 3]>,
    /// The pose network's landmarks `[x, y, z]`, metres, camera axes, origin between the hips; empty where not measured.
    #[serde(serialize_with = "round::points3d")]
    pub landmarks3d: Vec<[f32; 3]>,
    /// The body's pose; none only where the status is `low_confidence` and no pose was found.
    pub pose: Option<Pose>,
    /// Whether drawing this body changed pixels of the output.
    pub mesh_drawn: bool,
}

/// A posed body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pose {
    /// Each joint's rotation against its parent, relative to the T pose, as a unit quaternion `[x, y, z, w]` (glTF's order) in
    /// body axes; entry 0 is the whole body's (global_orient). `q` and `-q` are the same rotation.
    #[serde(serialize_with = "round::quaternions")]
    pub rotations: [[f32; 4]; JOINTS],
    /// `p_camera = FLIP * p_body + translation`, metres.
    #[serde(serialize_with = "round::metres")]
    pub translation: [f32; 3],
    /// The body's shape parameters in this frame.
    #[serde(serialize_with = "round::betas")]
    pub betas: Vec<f32>,
    /// Joints of the posed body projected by the header's camera, `[x, y]`, pixels; may lie outside the frame.
    #[serde(serialize_with = "round::points2d")]
    pub joints2d: [[f32; 2]; JOINTS],
    /// Joints of the posed body `[x, y, z]`, metres, camera axes.
    #[serde(serialize_with = "round::points3d")]
    pub joints3d: [[f32; 3]; JOINTS],
    /// Joint angles.
    pub angles: Angles,
    /// Root mean square distance between the visible landmarks and the posed body's projection, pixels; none where nothing was
    /// measured to compare with.
    #[serde(serialize_with = "round::pixel_option")]
    pub reprojection_px: Option<f32>,
    /// OpenPose's keypoints of the posed body; present where, and only where, the header names them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openpose: Option<OpenPosePoints>,
}

/// The 25 keypoints of OpenPose on a posed body, in the order of the header's `openpose_names`. They are no joints: see
/// [`crate::skeleton::openpose`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenPosePoints {
    /// Projected by the header's camera, `[x, y]`, pixels; may lie outside the frame.
    #[serde(serialize_with = "round::points2d")]
    pub points2d: [[f32; 2]; OPENPOSE],
    /// `[x, y, z]`, metres, camera axes.
    #[serde(serialize_with = "round::points3d")]
    pub points3d: [[f32; 3]; OPENPOSE],
}

impl OpenPosePoints {
    /// The keypoints of a body: `points` in body axes, as its body model gives them, placed by `translation` (as in [`Pose`]) before the
    /// camera. What lies behind the camera is projected as if it were just in front, far outside of the frame.
    #[must_use]
    pub fn placed(points: &[[f64; 3]; OPENPOSE], translation: [f64; 3], camera: &Pinhole) -> Self {
        let placed = points.map(|p| axes::camera_from_body(&Vec3::from(p), &Vec3::from(translation)));
        let points2d = placed.map(|p| {
            let z = p.z.max(NEAREST);
            [0, 1].map(|k| (camera.focal * p[k] / z + camera.center[k]) as f32)
        });
        Self { points2d, points3d: placed.map(|p| [p.x as f32, p.y as f32, p.z as f32]) }
    }
}

impl Pose {
    /// The entry of a placed body with its joints. What was measured beside it (`reprojection_px`, `openpose`) is the caller's.
    #[must_use]
    pub fn of(body: &PlacedBody, joints: &PlacedJoints) -> Self {
        Self {
            rotations: std::array::from_fn(|j| rotation::to_quaternion(&body.local[j]).map(|q| q as f32)),
            translation: body.translation.map(|t| t as f32),
            betas: body.betas.iter().map(|b| *b as f32).collect(),
            joints2d: joints.px.map(|p| p.map(|v| v as f32)),
            joints3d: joints.camera.map(|p| p.map(|v| v as f32)),
            angles: joint_angles(&joints.camera).into(),
            reprojection_px: None,
            openpose: None,
        }
    }
}

/// Angles at the middle of three joints, degrees, 0 to 180; none where a side is too short to have a direction.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Angles {
    /// left_hip, left_knee, left_ankle.
    #[serde(serialize_with = "round::degrees")]
    pub left_knee: Option<f32>,
    /// right_hip, right_knee, right_ankle.
    #[serde(serialize_with = "round::degrees")]
    pub right_knee: Option<f32>,
    /// spine1, left_hip, left_knee.
    #[serde(serialize_with = "round::degrees")]
    pub left_hip: Option<f32>,
    /// spine1, right_hip, right_knee.
    #[serde(serialize_with = "round::degrees")]
    pub right_hip: Option<f32>,
    /// left_shoulder, left_elbow, left_wrist.
    #[serde(serialize_with = "round::degrees")]
    pub left_elbow: Option<f32>,
    /// right_shoulder, right_elbow, right_wrist.
    #[serde(serialize_with = "round::degrees")]
    pub right_elbow: Option<f32>,
    /// neck, left_shoulder, left_elbow.
    #[serde(serialize_with = "round::degrees")]
    pub left_shoulder: Option<f32>,
    /// neck, right_shoulder, right_elbow.
    #[serde(serialize_with = "round::degrees")]
    pub right_shoulder: Option<f32>,
    /// pelvis, spine2, neck.
    #[serde(serialize_with = "round::degrees")]
    pub spine: Option<f32>,
}

impl From<[Option<f64>; ANGLES]> for Angles {
    /// The angles as [`crate::angles::joint_angles`] gives them.
    fn from(degrees: [Option<f64>; ANGLES]) -> Self {
        let [left_knee, right_knee, left_hip, right_hip, left_elbow, right_elbow, left_shoulder, right_shoulder, spine] =
            degrees.map(|d| d.map(|d| d as f32));
        Self { left_knee, right_knee, left_hip, right_hip, left_elbow, right_elbow, left_shoulder, right_shoulder, spine }
    }
}
