//! A pose file reduced to what moves: per person, pelvis positions and joint rotations over time.

use std::collections::BTreeMap;
use std::io::BufRead;

use halfpipe_kit::axes;
use halfpipe_kit::poses::{Frame, Header, JOINTS, Person, PersonStatus, PosesReader};
use halfpipe_kit::rotation::Vec3;
use nalgebra::{Quaternion, UnitQuaternion};

use crate::MotionError;

/// Everybody's motion.
#[derive(Debug, Clone)]
pub struct Motion {
    pub(crate) header: Header,
    /// Timestamp of the first frame, seconds.
    pub(crate) start: f64,
    /// Time of each frame since the first, seconds.
    pub(crate) times: Vec<f64>,
    /// By track number.
    pub(crate) tracks: Vec<Track>,
}

/// One person's motion.
#[derive(Debug, Clone)]
pub struct Track {
    /// The number it has in the pose file.
    pub(crate) id: u32,
    /// The frames in which it has a pose, in order; at least one.
    pub(crate) keys: Vec<Key>,
    /// Shape parameters, the mean over the frames.
    pub(crate) betas: Vec<f32>,
    /// Frames with each status: detected, interpolated, low confidence.
    pub(crate) counts: [u64; 3],
}

/// One person's pose in one frame.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    /// Position in [`Motion::times`].
    pub frame: u32,
    /// Pelvis, metres, y up.
    pub pelvis: [f32; 3],
    /// Local rotations `[x, y, z, w]`, each nearest to the one before (of `q` and `-q`).
    pub rotations: [[f32; 4]; JOINTS],
}

/// A pose between keys.
pub(crate) struct Sample {
    pub pelvis: Vec3,
    pub rotations: [UnitQuaternion<f64>; JOINTS],
}

impl Motion {
    /// Reads a pose file to its end. People without a pose are left out.
    ///
    /// # Errors
    /// [`MotionError::Read`] names the line that is not valid, e.g. one with a number that is not finite.
    pub fn read(input: impl BufRead) -> Result<Self, MotionError> {
        let mut reader = PosesReader::new(input)?;
        let header = reader.header().clone();
        let mut building: BTreeMap<u32, Building> = BTreeMap::new();
        let mut start = None;
        let mut times = Vec::new();
        for frame in reader.by_ref() {
            let Frame { timestamp, people, .. } = frame?;
            let start = *start.get_or_insert(timestamp);
            let position = times.len() as u32;
            times.push(timestamp - start);
            for person in &people {
                building.entry(person.track).or_default().add(position, person);
            }
        }
        let tracks = building.into_iter().filter_map(|(id, b)| b.finish(id)).collect();
        Ok(Self { header, start: start.unwrap_or(0.0), times, tracks })
    }

    /// The people that have at least one pose, by track number.
    #[must_use]
    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    /// Number of frames in the pose file.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.times.len()
    }

    /// Track numbers by number of poses, most first; equal ones by number.
    #[must_use]
    pub fn tracks_by_length(&self) -> Vec<u32> {
        let mut tracks: Vec<&Track> = self.tracks.iter().collect();
        tracks.sort_by_key(|t| std::cmp::Reverse(t.keys.len()));
        tracks.iter().map(|t| t.id).collect()
    }
}

impl Track {
    /// The number it has in the pose file.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// Number of frames in which it has a pose.
    #[must_use]
    pub fn poses(&self) -> usize {
        self.keys.len()
    }

    /// The pose at a time, interpolated between the keys around it (rotations along the shortest arc); the nearest key's outside.
    pub(crate) fn at(&self, times: &[f64], seconds: f64) -> Sample {
        let time = |i: usize| times[self.keys[i].frame as usize];
        let after = self.keys.partition_point(|k| times[k.frame as usize] <= seconds);
        let (Some(before), true) = (after.checked_sub(1), after < self.keys.len()) else {
            return self.keys[after.min(self.keys.len() - 1)].sample();
        };
        let (a, b) = (self.keys[before].sample(), self.keys[after].sample());
        let s = (seconds - time(before)) / (time(after) - time(before));
        if s <= 0.0 {
            return a;
        }
        Sample {
            pelvis: a.pelvis.lerp(&b.pelvis, s),
            // opposite rotations have no shortest arc: the earlier one then stays
            rotations: std::array::from_fn(|j| a.rotations[j].try_slerp(&b.rotations[j], s, 1e-9).unwrap_or(a.rotations[j])),
        }
    }
}

impl Key {
    fn sample(&self) -> Sample {
        Sample {
            pelvis: Vec3::from(self.pelvis.map(f64::from)),
            rotations: self.rotations.map(|q| {
                let [x, y, z, w] = q.map(f64::from);
                UnitQuaternion::new_normalize(Quaternion::new(w, x, y, z))
            }),
        }
    }
}

/// A track while the file is being read.
#[derive(Default)]
struct Building {
    keys: Vec<Key>,
    beta_sums: Vec<f64>,
    counts: [u64; 3],
}

impl Building {
    fn add(&mut self, frame: u32, person: &Person) {
        let Some(pose) = &person.pose else { return };
        let last = self.keys.last().map(|k| k.rotations);
        let rotations = std::array::from_fn(|j| {
            let q = unit(pose.rotations[j]);
            let opposite = last.is_some_and(|last| last[j].iter().zip(q).map(|(a, b)| a * b).sum::<f32>() < 0.0);
            if opposite { q.map(|v| -v) } else { q }
        });
        // joints3d[0] is the pelvis with the shape of this very frame, so the mean shape does not shift the body
        let pelvis = axes::flip(&Vec3::from(pose.joints3d[0].map(f64::from)));
        self.keys.push(Key { frame, pelvis: [pelvis.x as f32, pelvis.y as f32, pelvis.z as f32], rotations });
        self.beta_sums.resize(pose.betas.len(), 0.0);
        for (sum, beta) in self.beta_sums.iter_mut().zip(&pose.betas) {
            *sum += f64::from(*beta);
        }
        self.counts[match person.status {
            PersonStatus::Detected => 0,
            PersonStatus::Interpolated => 1,
            PersonStatus::LowConfidence => 2,
        }] += 1;
    }

    /// Nothing where the person never had a pose.
    fn finish(self, id: u32) -> Option<Track> {
        let poses = self.keys.len();
        let betas = self.beta_sums.iter().map(|sum| (sum / poses as f64) as f32).collect();
        (poses > 0).then_some(Track { id, keys: self.keys, betas, counts: self.counts })
    }
}

/// Rounding in the file left the length off by up to 1e-5.
fn unit(q: [f32; 4]) -> [f32; 4] {
    let length = q.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    q.map(|v| (f64::from(v) / length) as f32)
}
