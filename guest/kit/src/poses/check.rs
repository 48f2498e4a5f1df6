//! The rules a frame keeps beyond its JSON shape, for the writer and the reader alike.

use std::collections::HashSet;

use crate::skeleton::openpose::OPENPOSE_NAMES;

use super::{Frame, FrameStatus, Header, Person, PersonStatus, Pose};

/// How far a rotation's length may be from 1 (rounding alone gives 1e-5).
const UNIT_TOLERANCE: f32 = 1e-3;

/// A line broke a rule of the format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {field} {rule}")]
pub struct PoseFault {
    /// `header`, or `frame` and its index.
    pub place: String,
    /// The field at fault, e.g. `people[0].pose.joints3d`.
    pub field: String,
    /// The rule it broke.
    pub rule: String,
}

/// What the header fixes about every frame, and the place reached in the file.
#[derive(Debug, Clone)]
pub struct Layout {
    keypoints: usize,
    landmarks: usize,
    betas: usize,
    openpose: bool,
    last: Option<(u64, f64)>,
}

impl Layout {
    /// The layout a header fixes.
    ///
    /// # Errors
    /// [`PoseFault`] where the header itself breaks a rule: sizes, rates and the focal length are above 0, joint 0 is the root and
    /// parents stand before their children.
    pub fn new(header: &Header) -> Result<Self, PoseFault> {
        let fault = |field: &str, rule: &str| Err(PoseFault { place: "header".into(), field: field.into(), rule: rule.into() });
        let positive = |x: f64| x.is_finite() && x > 0.0;
        if header.video.width == 0 || header.video.height == 0 {
            return fault("video", "must have a width and a height above 0");
        }
        if !positive(header.video.frame_rate) {
            return fault("video.frame_rate", "must be finite and above 0");
        }
        if header.video.duration.is_some_and(|d| !(d.is_finite() && d >= 0.0)) {
            return fault("video.duration", "must be finite and not negative");
        }
        if !positive(f64::from(header.camera.focal)) || header.camera.center.iter().any(|c| !c.is_finite()) {
            return fault("camera", "must have a focal length above 0 and a finite centre");
        }
        let parents = &header.skeleton.parents;
        if parents[0] != -1 || parents.iter().enumerate().skip(1).any(|(joint, p)| !(0..joint as i32).contains(p)) {
            return fault("skeleton.parents", "must make joint 0 the root and list parents before their children");
        }
        if !header.openpose_names.is_empty() && header.openpose_names != OPENPOSE_NAMES {
            return fault("openpose_names", "must be OpenPose's 25 names in its order, or left out");
        }
        Ok(Self {
            openpose: !header.openpose_names.is_empty(),
            keypoints: header.keypoint_names.len(),
            landmarks: header.landmark_names.len(),
            betas: header.body.shape_names.len(),
            last: None,
        })
    }

    /// Checks the next frame of the file.
    ///
    /// # Errors
    /// [`PoseFault`] with the first rule that is broken: order of index and time, finite numbers, lengths of lists, lengths of
    /// rotations, ranges of scores, one person a track, statuses that agree with their content.
    pub fn check(&mut self, frame: &Frame) -> Result<(), PoseFault> {
        let fault = |field: String, rule: String| PoseFault { place: format!("frame {}", frame.index), field, rule };
        if !frame.timestamp.is_finite() {
            return Err(fault("timestamp".into(), "is not a finite number".into()));
        }
        if let Some((index, timestamp)) = self.last {
            if frame.index <= index {
                return Err(fault("index".into(), format!("must be above that of the frame before, {index}")));
            }
            if frame.timestamp <= timestamp {
                return Err(fault(
                    "timestamp".into(),
                    format!("{} must be later than that of the frame before, {timestamp}", frame.timestamp),
                ));
            }
        }
        match (frame.status, &frame.message) {
            (FrameStatus::Error, None) => return Err(fault("message".into(), "must say what went wrong where status is error".into())),
            (FrameStatus::Error, Some(_)) if !frame.people.is_empty() => {
                return Err(fault("people".into(), "must be empty where status is error".into()));
            }
            (FrameStatus::Error, Some(_)) => {}
            (_, Some(_)) => return Err(fault("message".into(), "belongs to status error only".into())),
            (status, None) => {
                let due = FrameStatus::of(&frame.people);
                if status != due {
                    return Err(fault("status".into(), format!("is {status:?}, but its people make it {due:?}")));
                }
            }
        }
        let mut tracks = HashSet::new();
        for (i, person) in frame.people.iter().enumerate() {
            self.person(person).map_err(|(field, rule)| fault(format!("people[{i}].{field}"), rule))?;
            if !tracks.insert(person.track) {
                return Err(fault(format!("people[{i}].track"), format!("{} occurs twice", person.track)));
            }
        }
        self.last = Some((frame.index, frame.timestamp));
        Ok(())
    }

    fn person(&self, p: &Person) -> Result<(), (&'static str, String)> {
        finite("box", &p.bbox)?;
        if p.bbox[2] < 0.0 || p.bbox[3] < 0.0 {
            return Err(("box", "has a negative width or height".into()));
        }
        for (field, value) in [("score", p.score), ("presence", p.presence), ("confidence", Some(p.confidence))] {
            if value.is_some_and(|v| !(0.0..=1.0).contains(&v)) {
                return Err((field, "must lie within 0 to 1".into()));
            }
        }
        for (field, list, len) in [
            ("keypoints2d", &p.keypoints2d, self.keypoints),
            ("landmarks2d", &p.landmarks2d, self.landmarks),
            ("landmarks3d", &p.landmarks3d, self.landmarks),
        ] {
            if !list.is_empty() && list.len() != len {
                return Err((field, format!("has {} entries, the header names {len}", list.len())));
            }
            finite(field, list.as_flattened())?;
        }
        match &p.pose {
            Some(pose) => self.pose(pose),
            None if p.status != PersonStatus::LowConfidence => Err(("pose", "may only be missing where status is low_confidence".into())),
            None if p.mesh_drawn => Err(("mesh_drawn", "cannot be true without a pose".into())),
            None => Ok(()),
        }
    }

    fn pose(&self, p: &Pose) -> Result<(), (&'static str, String)> {
        finite("pose.rotations", p.rotations.as_flattened())?;
        for (joint, q) in p.rotations.iter().enumerate() {
            let length = q.iter().map(|v| v * v).sum::<f32>().sqrt();
            if (length - 1.0).abs() > UNIT_TOLERANCE {
                return Err(("pose.rotations", format!("of joint {joint} has length {length}, a rotation has length 1")));
            }
        }
        finite("pose.translation", &p.translation)?;
        if p.betas.len() != self.betas {
            return Err(("pose.betas", format!("has {} entries, the header names {}", p.betas.len(), self.betas)));
        }
        finite("pose.betas", &p.betas)?;
        finite("pose.joints2d", p.joints2d.as_flattened())?;
        finite("pose.joints3d", p.joints3d.as_flattened())?;
        let a = &p.angles;
        for angle in
            [a.left_knee, a.right_knee, a.left_hip, a.right_hip, a.left_elbow, a.right_elbow, a.left_shoulder, a.right_shoulder, a.spine]
        {
            if angle.is_some_and(|v| !(0.0..=180.0).contains(&v)) {
                return Err(("pose.angles", "must lie within 0 to 180 degrees".into()));
            }
        }
        if p.reprojection_px.is_some_and(|v| !(v.is_finite() && v >= 0.0)) {
            return Err(("pose.reprojection_px", "must be finite and not negative".into()));
        }
        if p.openpose.is_some() != self.openpose {
            return Err(("pose.openpose", "must be there where the header has openpose_names, and only there".into()));
        }
        if let Some(points) = &p.openpose {
            finite("pose.openpose.points2d", points.points2d.as_flattened())?;
            finite("pose.openpose.points3d", points.points3d.as_flattened())?;
        }
        Ok(())
    }
}

fn finite(field: &'static str, values: &[f32]) -> Result<(), (&'static str, String)> {
    if values.iter().all(|v| v.is_finite()) { Ok(()) } else { Err((field, "holds a number that is not finite".into())) }
}
