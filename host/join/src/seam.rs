//! What a seam looks like in numbers: how differently two windows saw the people at the cut between them.

use halfpipe_kit::poses::JOINTS;
use serde::Serialize;

use crate::identity::{Joints, Sight};

/// Where one window's part ends and the next one's begins.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Seam {
    /// The later window.
    pub window: u32,
    /// Its first own frame.
    pub frame: u64,
    /// Frames that both windows saw.
    pub shared_frames: usize,
    /// People carried over.
    pub carried: usize,
    /// Poses compared: those of the frame before and the frame after the cut that both windows have.
    pub compared: usize,
    /// Mean distance between the two windows' joints there, millimetres in camera axes; none where nothing was compared.
    pub joints_mm: Option<f64>,
    /// The same with both bodies' pelvises laid on each other: the pose without the place, which one camera tells less exactly.
    pub pose_mm: Option<f64>,
    /// The same in the picture, pixels.
    pub pixels: Option<f64>,
}

/// Sums over compared poses.
#[derive(Default)]
struct Sums {
    count: usize,
    joints: f64,
    pose: f64,
    pixels: f64,
}

impl Sums {
    fn add(&mut self, a: &Joints, b: &Joints) {
        let between = |k: usize, of: [f32; 3]| {
            f64::from(a.camera[k][0] - b.camera[k][0] - of[0])
                .hypot(f64::from(a.camera[k][1] - b.camera[k][1] - of[1]))
                .hypot(f64::from(a.camera[k][2] - b.camera[k][2] - of[2]))
        };
        let root = std::array::from_fn(|i| a.camera[0][i] - b.camera[0][i]);
        let n = JOINTS as f64;
        self.count += 1;
        self.joints += 1000.0 * (0..JOINTS).map(|k| between(k, [0.0; 3])).sum::<f64>() / n;
        self.pose += 1000.0 * (0..JOINTS).map(|k| between(k, root)).sum::<f64>() / n;
        self.pixels += a.px.iter().zip(&b.px).map(|(p, q)| f64::from(p[0] - q[0]).hypot(f64::from(p[1] - q[1]))).sum::<f64>() / n;
    }

    fn mean(&self, sum: f64) -> Option<f64> {
        (self.count > 0).then(|| (1000.0 * sum / self.count as f64).round() / 1000.0)
    }
}

impl Seam {
    /// The seam before `frame`, the first own frame of `window`. `shared` holds the frames from `first_shared` on that both saw.
    pub(crate) fn of(window: u32, frame: u64, first_shared: u64, shared: &[(Vec<Sight>, Vec<Sight>)], pairs: &[(u32, u32)]) -> Self {
        let mut sums = Sums::default();
        for at in [frame.checked_sub(1), Some(frame)].into_iter().flatten() {
            let Some((earlier, later)) = at.checked_sub(first_shared).and_then(|i| shared.get(i as usize)) else { continue };
            for (a, b) in pairs {
                let joints = |sights: &[Sight], track: u32| sights.iter().find(|s| s.track == track).and_then(|s| s.joints.clone());
                if let (Some(a), Some(b)) = (joints(earlier, *a), joints(later, *b)) {
                    sums.add(&a, &b);
                }
            }
        }
        Self {
            window,
            frame,
            shared_frames: shared.len(),
            carried: pairs.len(),
            compared: sums.count,
            joints_mm: sums.mean(sums.joints),
            pose_mm: sums.mean(sums.pose),
            pixels: sums.mean(sums.pixels),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(track: u32, px: f32, z: f32) -> Sight {
        let joints = Joints { px: [[px, 0.0]; JOINTS], camera: std::array::from_fn(|k| [k as f32, 0.0, z]) };
        Sight { track, bbox: [0.0, 0.0, 10.0, 10.0], joints: Some(joints) }
    }

    #[test]
    fn only_the_frames_at_the_cut_are_compared() {
        let shared: Vec<_> = (0..10).map(|i| (vec![sight(1, i as f32, 3.0)], vec![sight(4, i as f32 + 2.0, 3.25)])).collect();
        let seam = Seam::of(2, 105, 100, &shared, &[(1, 4)]);
        assert_eq!((seam.compared, seam.carried, seam.shared_frames), (2, 1, 10));
        assert_eq!((seam.joints_mm, seam.pose_mm, seam.pixels), (Some(250.0), Some(0.0), Some(2.0)));
        let nobody = Seam::of(2, 105, 100, &shared, &[]);
        assert_eq!((nobody.compared, nobody.joints_mm), (0, None));
    }
}
