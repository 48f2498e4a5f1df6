//! People for the tests of time: stick figures that walk and jump, and a repeatable source of noise.

use halfpipe_kit::movenet::{Detection, KEYPOINTS, Keypoint, Rect};
use halfpipe_kit::track::{Observation, TrackId, Update};

/// Key points of a standing person one unit tall, feet at the origin, y down.
const STANDING: [[f32; 2]; KEYPOINTS] = [
    [0.00, -0.92],
    [0.02, -0.94],
    [-0.02, -0.94],
    [0.05, -0.92],
    [-0.05, -0.92],
    [0.11, -0.82],
    [-0.11, -0.82],
    [0.15, -0.64],
    [-0.15, -0.64],
    [0.16, -0.48],
    [-0.16, -0.48],
    [0.08, -0.52],
    [-0.08, -0.52],
    [0.08, -0.28],
    [-0.08, -0.28],
    [0.08, -0.04],
    [-0.08, -0.04],
];

/// A repeatable source of noise.
pub struct Noise(pub u64);

impl Noise {
    /// Even in -1..1.
    pub fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// Somebody `height` pixels tall with the feet at (x, y), in mid-stride as `phase` says (radians).
pub fn person(x: f32, y: f32, height: f32, phase: f32) -> Detection {
    let swing = phase.sin() * 0.12;
    let keypoints = std::array::from_fn(|j| {
        let [u, v] = STANDING[j];
        let swung = match j {
            9 | 16 => u + swing,
            10 | 15 => u - swing,
            7 | 14 => u + swing / 2.0,
            8 | 13 => u - swing / 2.0,
            _ => u,
        };
        Keypoint { x: x + swung * height, y: y + v * height, score: 0.9 }
    });
    let bbox = Rect::around(keypoints.iter().map(|k: &Keypoint| [k.x, k.y])).unwrap().grown(0.06);
    Detection { score: 0.9, bbox, keypoints }
}

/// A sight of that person by the landmark network, with noise of `jitter` pixels.
pub fn sight(x: f32, y: f32, height: f32, phase: f32, noise: &mut Noise, jitter: f32) -> Observation {
    let mut d = person(x, y, height, phase);
    for k in &mut d.keypoints {
        k.x += noise.next() * jitter;
        k.y += noise.next() * jitter;
    }
    d.bbox = Rect::around(d.keypoints.iter().map(|k| [k.x, k.y])).unwrap().grown(0.06);
    Observation::from_person(&d.into()).unwrap()
}

/// The ids of an update's observations.
pub fn ids(update: &Update) -> Vec<Option<TrackId>> {
    update.outcomes.iter().map(|o| o.id()).collect()
}
