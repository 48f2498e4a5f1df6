//! One person's measured pose, interpolation between two of them, and its entry in the pose file.

use halfpipe_kit::angles;
use halfpipe_kit::blazepose::Landmarks;
use halfpipe_kit::camera::Pinhole;
use halfpipe_kit::fit::Fit;
use halfpipe_kit::gaps::{self, Lerp};
use halfpipe_kit::movenet::{Detection, Rect};
use halfpipe_kit::poses::{Angles, Person, PersonStatus, Pose};
use halfpipe_kit::rig::Rig;
use halfpipe_kit::rotation;

/// What was measured of one person in one frame.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Smoothed landmarks; `world` is in camera axes.
    pub landmarks: Landmarks,
    /// The body fitted to them.
    pub fit: Fit,
    /// What the detector said, where it ran on this frame and saw this person.
    pub detection: Option<Detection>,
}

impl Lerp for Measured {
    fn lerp(&self, end: &Self, part: f64) -> Self {
        let mix = |a: f64, b: f64| a + (b - a) * part;
        let (a, b) = (&self.fit, &end.fit);
        let fit = Fit {
            local: std::array::from_fn(|j| rotation::slerp(&a.local[j], &b.local[j], part)),
            betas: a.betas.iter().zip(&b.betas).map(|(x, y)| mix(*x, *y)).collect(),
            translation: std::array::from_fn(|k| mix(a.translation[k], b.translation[k])),
            // joints follow from the rotations: see `settle`
            ..a.clone()
        };
        Self { landmarks: self.landmarks.lerp(&end.landmarks, part), fit, detection: None }
    }
}

impl Measured {
    /// Recomputes the joints of an interpolated pose from its rotations, so that bones keep their lengths.
    pub fn settle(&mut self, rig: &Rig, camera: &Pinhole) {
        let Ok(shaped) = rig.shaped(&self.fit.betas) else { return };
        let posed = shaped.pose(&self.fit.local);
        let translation = self.fit.translation.into();
        for (j, joint) in posed.joints.iter().enumerate() {
            let p = halfpipe_kit::axes::camera_from_body(joint, &translation);
            self.fit.joints_camera[j] = p.into();
            // between two bodies in front of the camera there is none behind it
            if let Some(px) = camera.project(&p) {
                self.fit.joints_px[j] = px;
            }
        }
    }

    /// How far to trust it, 0..=1: presence times the mean visibility of the limbs' landmarks (shoulders to ankles).
    pub fn confidence(landmarks: &Landmarks) -> f32 {
        let limbs = halfpipe_kit::skeleton::JOINT_LANDMARKS.map(|(landmark, _)| landmarks.visibility[landmark]);
        (landmarks.presence * limbs.iter().sum::<f32>() / limbs.len() as f32).clamp(0.0, 1.0)
    }
}

fn bbox(rect: &Rect) -> [f32; 4] {
    [rect.x0, rect.y0, rect.width(), rect.height()]
}

fn seen(landmarks: &Landmarks) -> Vec<[f32; 3]> {
    landmarks.image.iter().zip(landmarks.visibility).map(|(p, v)| [p[0], p[1], v]).collect()
}

/// The entry of a person with a pose. `drawn` follows once the drawing is done.
pub fn entry(person: &gaps::Person<Measured>) -> Person {
    let Measured { landmarks, fit, detection } = &person.pose;
    let named = angles::joint_angles(&fit.joints_camera).map(|a| a.map(|a| a as f32));
    let [left_knee, right_knee, left_hip, right_hip, left_elbow, right_elbow, left_shoulder, right_shoulder, spine] = named;
    let angles = Angles { left_knee, right_knee, left_hip, right_hip, left_elbow, right_elbow, left_shoulder, right_shoulder, spine };
    Person {
        track: person.id,
        status: if person.interpolated { PersonStatus::Interpolated } else { PersonStatus::Detected },
        bbox: bbox(&landmarks.bbox()),
        score: detection.as_ref().map(|d| d.score),
        presence: (!person.interpolated).then_some(landmarks.presence),
        confidence: person.confidence,
        keypoints2d: detection.iter().flat_map(|d| d.keypoints.map(|k| [k.x, k.y, k.score])).collect(),
        landmarks2d: seen(landmarks),
        landmarks3d: landmarks.world.to_vec(),
        pose: Some(Pose {
            rotations: std::array::from_fn(|j| rotation::to_quaternion(&fit.local[j]).map(|q| q as f32)),
            translation: fit.translation.map(|t| t as f32),
            betas: fit.betas.iter().map(|b| *b as f32).collect(),
            joints2d: fit.joints_px.map(|p| p.map(|v| v as f32)),
            joints3d: fit.joints_camera.map(|p| p.map(|v| v as f32)),
            angles,
            reprojection_px: (!person.interpolated).then_some(fit.residual_px as f32),
        }),
        mesh_drawn: false,
    }
}

/// The entry of somebody whose pose is not trusted or could not be fitted.
pub fn doubtful(id: u32, landmarks: &Landmarks, detection: Option<&Detection>) -> Person {
    Person {
        track: id,
        status: PersonStatus::LowConfidence,
        bbox: bbox(&landmarks.bbox()),
        score: detection.map(|d| d.score),
        presence: Some(landmarks.presence),
        confidence: Measured::confidence(landmarks),
        keypoints2d: detection.into_iter().flat_map(|d| d.keypoints.map(|k| [k.x, k.y, k.score])).collect(),
        landmarks2d: seen(landmarks),
        landmarks3d: landmarks.world.to_vec(),
        pose: None,
        mesh_drawn: false,
    }
}
