//! One person's measured body, interpolation between two of them, and its entry in the pose file.

use halfpipe_kit::body::{PlacedBody, PlacedJoints};
use halfpipe_kit::camera::Pinhole;
use halfpipe_kit::detector::PersonBox;
use halfpipe_kit::gaps::{self, Lerp};
use halfpipe_kit::poses::{Person, PersonStatus, Pose};
use halfpipe_kit::rig::Rig;
use halfpipe_kit::track::{Sight, TrackId};

/// What was measured of one person in one frame.
#[derive(Debug, Clone)]
pub struct Measured {
    /// The smoothed body.
    pub body: PlacedBody,
    /// Its joints.
    pub joints: PlacedJoints,
    /// Where the person was seen.
    pub sight: Sight,
}

impl Lerp for Measured {
    fn lerp(&self, end: &Self, part: f64) -> Self {
        // joints follow from the rotations: see `settle`
        Self { body: self.body.lerp(&end.body, part), joints: self.joints.clone(), sight: self.sight.lerp(&end.sight, part) }
    }
}

impl Measured {
    /// Recomputes the joints of an interpolated body from its rotations, so that bones keep their lengths.
    pub fn settle(&mut self, rig: &Rig, camera: &Pinhole) {
        // between two bodies in front of the camera there is none behind it
        if let Ok(Some(joints)) = self.body.joints(rig, camera) {
            self.joints = joints;
        }
    }
}

/// The entry of a person with a pose. Whether it was drawn, and OpenPose's keypoints, follow once the body model has run.
pub fn entry(person: &gaps::Person<Measured>) -> Person {
    let Measured { body, joints, sight } = &person.pose;
    let status = if person.interpolated { PersonStatus::Interpolated } else { PersonStatus::Detected };
    Person { pose: Some(Pose::of(body, joints)), ..seen(person.id, status, person.confidence, sight) }
}

/// The entry of somebody who is not believed in yet, or whose body could not be placed.
pub fn doubtful(id: TrackId, confidence: f32, sight: &Sight) -> Person {
    seen(id, PersonStatus::LowConfidence, confidence, sight)
}

fn seen(track: TrackId, status: PersonStatus, confidence: f32, sight: &Sight) -> Person {
    Person {
        track,
        status,
        bbox: sight.bbox.xywh(),
        score: sight.detection.as_ref().map(|d| d.score),
        presence: None,
        confidence,
        keypoints2d: sight.detection.as_ref().map(PersonBox::keypoint_list).unwrap_or_default(),
        landmarks2d: Vec::new(),
        landmarks3d: Vec::new(),
        pose: None,
        mesh_drawn: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use halfpipe_kit::movenet::Rect;
    use halfpipe_kit::rotation::Mat3;
    use halfpipe_kit::skeleton::JOINTS;

    fn measured(x: f64, score: Option<f32>) -> Measured {
        let body = PlacedBody { local: [Mat3::identity(); JOINTS], betas: vec![x; 10], translation: [x, 0.0, 100.0] };
        let bbox = Rect::new(x as f32, 10.0, x as f32 + 50.0, 210.0);
        let detection = score.map(|score| PersonBox { score, bbox, keypoints: None });
        let joints = PlacedJoints { camera: [[0.0; 3]; JOINTS], px: [[0.0; 2]; JOINTS] };
        Measured { body, joints, sight: Sight { bbox, detection } }
    }

    #[test]
    fn a_pose_on_a_filled_box_is_measured_and_one_in_a_gap_is_not() {
        let person = |interpolated, pose| entry(&gaps::Person { id: 3, confidence: 0.6, interpolated, pose });
        let detected = person(false, measured(0.0, Some(0.7)));
        assert_eq!((detected.status, detected.score, detected.confidence), (PersonStatus::Detected, Some(0.7), 0.6));
        let filled = person(false, measured(0.0, None));
        assert_eq!((filled.status, filled.score), (PersonStatus::Detected, None));
        let between = measured(0.0, Some(0.7)).lerp(&measured(10.0, Some(0.9)), 0.5);
        assert_eq!((between.body.translation[0], between.body.betas[9]), (5.0, 5.0));
        let gap = person(true, between);
        assert_eq!((gap.status, gap.score, gap.bbox), (PersonStatus::Interpolated, None, [5.0, 10.0, 50.0, 200.0]));
        let weak = doubtful(4, 0.3, &measured(0.0, Some(0.3)).sight);
        assert_eq!((weak.status, weak.pose, weak.keypoints2d.len()), (PersonStatus::LowConfidence, None, 0));
    }
}
