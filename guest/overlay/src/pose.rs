//! One person's measured pose, interpolation between two of them, and its entry in the pose file.

use halfpipe_kit::blazepose::Landmarks;
use halfpipe_kit::camera::Pinhole;
use halfpipe_kit::detector::PersonBox;
use halfpipe_kit::fit::Fit;
use halfpipe_kit::gaps::{self, Lerp};
use halfpipe_kit::poses::{Person, PersonStatus, Pose};
use halfpipe_kit::rig::Rig;

/// What was measured of one person in one frame.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Smoothed landmarks; `world` is in camera axes.
    pub landmarks: Landmarks,
    /// The body fitted to them.
    pub fit: Fit,
    /// What the detector said, where it ran on this frame and saw this person.
    pub detection: Option<PersonBox>,
}

impl Lerp for Measured {
    fn lerp(&self, end: &Self, part: f64) -> Self {
        let body = self.fit.placed().lerp(&end.fit.placed(), part);
        // joints follow from the rotations: see `settle`
        let fit = Fit { local: body.local, betas: body.betas, translation: body.translation, ..self.fit.clone() };
        Self { landmarks: self.landmarks.lerp(&end.landmarks, part), fit, detection: None }
    }
}

impl Measured {
    /// Recomputes the joints of an interpolated pose from its rotations, so that bones keep their lengths.
    pub fn settle(&mut self, rig: &Rig, camera: &Pinhole) {
        // between two bodies in front of the camera there is none behind it
        if let Ok(Some(joints)) = self.fit.placed().joints(rig, camera) {
            (self.fit.joints_camera, self.fit.joints_px) = (joints.camera, joints.px);
        }
    }

    /// How far to trust it, 0..=1: presence times the mean visibility of the limbs' landmarks (shoulders to ankles).
    pub fn confidence(landmarks: &Landmarks) -> f32 {
        let limbs = halfpipe_kit::skeleton::JOINT_LANDMARKS.map(|(landmark, _)| landmarks.visibility[landmark]);
        (landmarks.presence * limbs.iter().sum::<f32>() / limbs.len() as f32).clamp(0.0, 1.0)
    }
}

fn seen(landmarks: &Landmarks) -> Vec<[f32; 3]> {
    landmarks.image.iter().zip(landmarks.visibility).map(|(p, v)| [p[0], p[1], v]).collect()
}

/// The entry of a person with a pose. `drawn` follows once the drawing is done.
pub fn entry(person: &gaps::Person<Measured>) -> Person {
    let Measured { landmarks, fit, detection } = &person.pose;
    Person {
        track: person.id,
        status: if person.interpolated { PersonStatus::Interpolated } else { PersonStatus::Detected },
        bbox: landmarks.bbox().xywh(),
        score: detection.as_ref().map(|d| d.score),
        presence: (!person.interpolated).then_some(landmarks.presence),
        confidence: person.confidence,
        keypoints2d: detection.as_ref().map(PersonBox::keypoint_list).unwrap_or_default(),
        landmarks2d: seen(landmarks),
        landmarks3d: landmarks.world.to_vec(),
        pose: Some(Pose {
            reprojection_px: (!person.interpolated).then_some(fit.residual_px as f32),
            ..Pose::of(&fit.placed(), &fit.joints())
        }),
        mesh_drawn: false,
    }
}

/// The entry of somebody whose pose is not trusted or could not be fitted.
pub fn doubtful(id: u32, landmarks: &Landmarks, detection: Option<&PersonBox>) -> Person {
    Person {
        track: id,
        status: PersonStatus::LowConfidence,
        bbox: landmarks.bbox().xywh(),
        score: detection.map(|d| d.score),
        presence: Some(landmarks.presence),
        confidence: Measured::confidence(landmarks),
        keypoints2d: detection.map(PersonBox::keypoint_list).unwrap_or_default(),
        landmarks2d: seen(landmarks),
        landmarks3d: landmarks.world.to_vec(),
        pose: None,
        mesh_drawn: false,
    }
}
