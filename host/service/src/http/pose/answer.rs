//! What a picture's people look like to a client: the lines of poses.jsonl with a name to every value.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A seen point, pixels of the upright picture.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Point2 {
    /// To the right.
    pub(super) x: f64,
    /// Down.
    pub(super) y: f64,
    /// The network's own belief, 0 to 1; none for points computed from the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) score: Option<f64>,
}

/// A point in metres: x right, y down, z forward.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Point3 {
    /// To the right.
    pub(super) x: f64,
    /// Down.
    pub(super) y: f64,
    /// Away from the camera.
    pub(super) z: f64,
}

/// One person of the picture.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct PosePerson {
    /// `detected` or `low_confidence`.
    pub(super) status: String,
    /// `[x, y, width, height]`, pixels.
    #[serde(rename = "box")]
    pub(super) bbox: [f64; 4],
    /// The detector's score, 0 to 1.
    pub(super) score: Option<f64>,
    /// The pose network's belief that a person is there, 0 to 1.
    pub(super) presence: Option<f64>,
    /// How far to trust the pose, 0 to 1, computed from the measured scores.
    pub(super) confidence: f64,
    /// The detector's keypoints by name.
    pub(super) keypoints2d: BTreeMap<String, Point2>,
    /// The pose network's landmarks by name.
    pub(super) landmarks2d: BTreeMap<String, Point2>,
    /// The pose network's landmarks by name, origin between the hips.
    pub(super) landmarks3d: BTreeMap<String, Point3>,
    /// The body's joints by name, projected; empty without a pose.
    pub(super) joints2d: BTreeMap<String, Point2>,
    /// The body's joints by name, origin at the camera; empty without a pose.
    pub(super) joints3d: BTreeMap<String, Point3>,
    /// Joint angles by name, degrees at the middle of three joints; none where a side is too short.
    pub(super) angles: BTreeMap<String, Option<f64>>,
    /// The body's place in camera axes, metres.
    pub(super) translation: Option<[f64; 3]>,
    /// Local rotations of the joints, quaternions `[x, y, z, w]`, in the order of the skeleton.
    pub(super) rotations: Vec<[f64; 4]>,
    /// Shape parameters.
    pub(super) betas: Vec<f64>,
    /// Whether drawing this body changed pixels; none where nothing was to be drawn.
    pub(super) mesh_drawn: Option<bool>,
}

/// What was drawn.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct MeshCounts {
    /// Bodies that were posed.
    pub(super) bodies: u64,
    /// Bodies that changed pixels; none where nothing was to be drawn.
    pub(super) drawn: Option<usize>,
    /// 1 where a body changed pixels of the picture, else 0; none where nothing was to be drawn.
    pub(super) frames_drawn: Option<u64>,
}

/// A sentence for the user, with a stable code.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct PoseWarning {
    /// Lower-case words joined by `_`.
    pub(super) code: String,
    /// The sentence.
    pub(super) message: String,
}

/// Pixels of the upright picture.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct PictureSize {
    /// Pixels.
    pub(super) width: u32,
    /// Pixels.
    pub(super) height: u32,
}

/// What POST /pose/hybrid answers.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct PoseAnswer {
    /// Always `success`: what fails has an error status.
    pub(super) status: &'static str,
    /// As in the request.
    pub(super) frame_number: u64,
    /// The picture.
    pub(super) image: PictureSize,
    /// `{model, focal, center}`, pixels: the camera that 2D and 3D joints agree on.
    #[schema(value_type = Object)]
    pub(super) camera: Value,
    /// The people, none where nobody was found.
    pub(super) people: Vec<PosePerson>,
    /// What was drawn.
    pub(super) mesh: MeshCounts,
    /// The picture with the bodies drawn, a PNG in base64, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) visualization: Option<String>,
    /// What the caller should know.
    pub(super) warnings: Vec<PoseWarning>,
    /// Seconds, models loaded meanwhile included.
    pub(super) processing_time_seconds: f64,
    /// Versions and digests of what made it.
    #[schema(value_type = Object)]
    pub(super) provenance: Value,
}

/// The first line of poses.jsonl, as far as it is used.
#[derive(Deserialize)]
pub(super) struct Header {
    pub(super) camera: Value,
    pub(super) skeleton: Skeleton,
    pub(super) keypoint_names: Vec<String>,
    pub(super) landmark_names: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct Skeleton {
    pub(super) joint_names: Vec<String>,
}

/// The second line.
#[derive(Deserialize)]
pub(super) struct Frame {
    pub(super) people: Vec<Person>,
    pub(super) message: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Person {
    pub(super) status: String,
    #[serde(rename = "box")]
    pub(super) bbox: [f64; 4],
    pub(super) score: Option<f64>,
    pub(super) presence: Option<f64>,
    pub(super) confidence: f64,
    pub(super) keypoints2d: Vec<[f64; 3]>,
    pub(super) landmarks2d: Vec<[f64; 3]>,
    pub(super) landmarks3d: Vec<[f64; 3]>,
    pub(super) pose: Option<Pose>,
    pub(super) mesh_drawn: bool,
}

#[derive(Deserialize)]
pub(super) struct Pose {
    pub(super) rotations: Vec<[f64; 4]>,
    pub(super) translation: [f64; 3],
    pub(super) betas: Vec<f64>,
    pub(super) joints2d: Vec<[f64; 2]>,
    pub(super) joints3d: Vec<[f64; 3]>,
    pub(super) angles: BTreeMap<String, Option<f64>>,
}

/// Values by the names of their order.
fn by_name<T, U>(names: &[String], values: Vec<T>, convert: impl Fn(T) -> U) -> BTreeMap<String, U> {
    names.iter().cloned().zip(values.into_iter().map(convert)).collect()
}

/// A person with every value under its name.
pub(super) fn named(person: Person, header: &Header, visualize: bool) -> PosePerson {
    let seen = |[x, y, score]: [f64; 3]| Point2 { x, y, score: Some(score) };
    let space = |[x, y, z]: [f64; 3]| Point3 { x, y, z };
    let joints = &header.skeleton.joint_names;
    let mut answer = PosePerson {
        status: person.status,
        bbox: person.bbox,
        score: person.score,
        presence: person.presence,
        confidence: person.confidence,
        keypoints2d: by_name(&header.keypoint_names, person.keypoints2d, seen),
        landmarks2d: by_name(&header.landmark_names, person.landmarks2d, seen),
        landmarks3d: by_name(&header.landmark_names, person.landmarks3d, space),
        joints2d: BTreeMap::new(),
        joints3d: BTreeMap::new(),
        angles: BTreeMap::new(),
        translation: None,
        rotations: Vec::new(),
        betas: Vec::new(),
        mesh_drawn: visualize.then_some(person.mesh_drawn),
    };
    if let Some(pose) = person.pose {
        answer.joints2d = by_name(joints, pose.joints2d, |[x, y]| Point2 { x, y, score: None });
        answer.joints3d = by_name(joints, pose.joints3d, space);
        answer.angles = pose.angles;
        answer.translation = Some(pose.translation);
        answer.rotations = pose.rotations;
        answer.betas = pose.betas;
    }
    answer
}

/// What the caller should know: the pipeline's own warnings in words that fit a picture, and what was not drawn.
pub(super) fn warnings(
    people: &[PosePerson],
    message: Option<String>,
    drawn: Option<usize>,
    bodies: u64,
    report: &[halfpipe_runtime::report::Warning],
) -> Vec<PoseWarning> {
    let warning = |code: &str, message: String| PoseWarning { code: code.into(), message };
    let mut all = Vec::new();
    if people.is_empty() {
        all.push(warning("no_person", "nobody was found in the picture".into()));
    }
    if let Some(message) = message {
        all.push(warning("frame_failed", message));
    }
    if let Some(drawn) = drawn
        && (drawn as u64) < bodies
    {
        all.push(warning("not_drawn", format!("{bodies} bodies were posed and {drawn} changed pixels of the picture")));
    }
    all.extend(report.iter().filter(|w| w.code != "no_person").map(|w| warning(&w.code, w.message.clone())));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_without_people_says_so_once() {
        let said = [halfpipe_runtime::report::Warning { code: "no_person".into(), message: "nobody in any frame".into() }];
        let all = warnings(&[], None, Some(0), 0, &said);
        assert_eq!(all.iter().map(|w| w.code.as_str()).collect::<Vec<_>>(), ["no_person"]);
    }

    #[test]
    fn bodies_that_changed_nothing_are_told() {
        let all = warnings(&[], None, Some(1), 2, &[]);
        assert!(all.iter().any(|w| w.code == "not_drawn"));
        assert!(!warnings(&[], None, None, 2, &[]).iter().any(|w| w.code == "not_drawn"));
    }
}
