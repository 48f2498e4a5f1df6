//! Biovision hierarchy (.bvh): one person's skeleton and motion as text.
//!
//! A file holds one person, because few readers take several roots: the longest track goes into the main file, further ones into
//! files of their own ([`Motion::bvh_files`]). Offsets and positions are metres with y up (import with scale 1), rotations are
//! degrees in the order Z, X, Y (`R = Rz * Rx * Ry`) against the T pose. Joints are those of the track's mean shape. Joints
//! without children get an end site half a bone further on, which serves display only.
//!
//! The format knows one frame time. Frames that lie on an even grid are taken as they are; otherwise the motion is resampled at
//! its own average rate. A file spans its track's first to last pose; frames between them without a pose are interpolated, since
//! the format cannot leave them out. [`BvhSummary`] says so. It has no room for comments, so provenance stays in the other files.

use std::fmt::Write as _;
use std::io::Write;

use halfpipe_kit::poses::JOINTS;
use halfpipe_kit::rotation::{Mat3, Vec3};
use nalgebra::UnitQuaternion;

use crate::MotionError;
use crate::motion::{Motion, Sample, Track};
use crate::rig::{BodyRig, Shaped};

/// A frame this close to its place on the even grid is on it: containers round timestamps to a millisecond.
const ON_GRID: f64 = 0.001;
/// Where cos(X) is smaller, only the sum of Z and Y is determined.
const GIMBAL: f64 = 1e-7;

/// What a .bvh file holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BvhSummary {
    /// Whose motion it is; none for a rest pose.
    pub track: Option<u32>,
    /// Frames in the file.
    pub frames: usize,
    /// Seconds between two of them.
    pub frame_time: f64,
    /// Timestamp of the first frame in the video, seconds.
    pub start: f64,
    /// Whether the video's frames are not evenly spaced, so that frames were interpolated at even times.
    pub resampled: bool,
    /// Frames of the video within the span in which the person had no pose and was interpolated.
    pub filled: usize,
}

impl Motion {
    /// The .bvh files of this motion, longest track first: `<stem>.bvh`, `<stem>.track<N>.bvh`, ... Without people it is one file
    /// of the rest pose.
    #[must_use]
    pub fn bvh_files(&self, stem: &str) -> Vec<(Option<u32>, String)> {
        let mut files: Vec<_> = self.tracks_by_length().into_iter().map(|id| (Some(id), format!("{stem}.track{id}.bvh"))).collect();
        if files.is_empty() {
            files.push((None, String::new()));
        }
        files[0].1 = format!("{stem}.bvh");
        files
    }

    /// Writes one person's motion; `None` writes the unshaped body's T pose as a single frame, so that a video without people
    /// gives a readable file too.
    ///
    /// # Errors
    /// [`MotionError::UnknownTrack`] where the track has no pose, [`MotionError::Rig`] and [`MotionError::OtherBody`] where the rig
    /// is broken or not the poses' own, [`MotionError::Write`] where `out` fails.
    pub fn write_bvh(&self, rig: &BodyRig, track: Option<u32>, mut out: impl Write) -> Result<BvhSummary, MotionError> {
        rig.check()?;
        rig.check_header(&self.header)?;
        let track = track.map(|id| self.track(id)).transpose()?;
        let betas = track.map_or_else(|| vec![0.0; rig.shape_names.len()], |t| t.betas.clone());
        let shaped = rig.shaped(&betas);
        let (text, order) = hierarchy(rig, &shaped);
        out.write_all(text.as_bytes())?;
        let summary = match track {
            Some(track) => self.write_motion(track, &order, &mut out)?,
            None => {
                let frame_time = 1.0 / self.header.video.frame_rate;
                write_frames(&mut out, frame_time, &order, std::iter::once(rest(&shaped)))?;
                BvhSummary { track: None, frames: 1, frame_time, start: self.start, resampled: false, filled: 0 }
            }
        };
        out.flush()?;
        Ok(summary)
    }

    fn track(&self, id: u32) -> Result<&Track, MotionError> {
        let unknown = || MotionError::UnknownTrack { track: id, known: self.tracks.iter().map(|t| t.id).collect() };
        self.tracks.iter().find(|t| t.id == id).ok_or_else(unknown)
    }

    fn write_motion(&self, track: &Track, order: &[usize], out: &mut impl Write) -> Result<BvhSummary, MotionError> {
        let (first, last) = (track.keys[0].frame as usize, track.keys[track.keys.len() - 1].frame as usize);
        let times = &self.times[first..=last];
        let frames = times.len();
        let frame_time = if frames > 1 { (times[frames - 1] - times[0]) / (frames - 1) as f64 } else { 1.0 / self.header.video.frame_rate };
        let grid = |i: usize| times[0] + i as f64 * frame_time;
        let resampled = times.iter().enumerate().any(|(i, t)| (t - grid(i)).abs() > ON_GRID);
        let samples = (0..frames).map(|i| track.at(&self.times, if resampled { grid(i) } else { times[i] }));
        write_frames(out, frame_time, order, samples)?;
        let filled = frames - track.keys.len();
        Ok(BvhSummary { track: Some(track.id), frames, frame_time, start: self.start + times[0], resampled, filled })
    }
}

/// The T pose at the rest position.
fn rest(shaped: &Shaped) -> Sample {
    Sample { pelvis: shaped.offsets[0], rotations: [UnitQuaternion::identity(); JOINTS] }
}

/// Writes the MOTION section; joints in the order of the hierarchy.
fn write_frames(
    out: &mut impl Write,
    frame_time: f64,
    order: &[usize],
    samples: impl ExactSizeIterator<Item = Sample>,
) -> Result<(), MotionError> {
    writeln!(out, "MOTION\nFrames: {}\nFrame Time: {frame_time:.9}", samples.len())?;
    let mut last = [[0.0; 3]; JOINTS];
    let mut line = String::new();
    for sample in samples {
        line.clear();
        let p = sample.pelvis;
        // writing into a String cannot fail
        let _ = write!(line, "{:.5} {:.5} {:.5}", p.x, p.y, p.z);
        for &joint in order {
            last[joint] = euler_zxy(&sample.rotations[joint].to_rotation_matrix().into_inner(), last[joint]);
            for radians in last[joint] {
                let _ = write!(line, " {:.4}", radians.to_degrees());
            }
        }
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// The HIERARCHY section, and the joints in its order: depth first, as the format demands of channels too.
fn hierarchy(rig: &BodyRig, shaped: &Shaped) -> (String, Vec<usize>) {
    let (mut text, mut order) = (String::from("HIERARCHY\n"), Vec::with_capacity(JOINTS));
    write_joint(&mut text, &mut order, rig, shaped, 0, 0);
    (text, order)
}

fn write_joint(text: &mut String, order: &mut Vec<usize>, rig: &BodyRig, shaped: &Shaped, k: usize, depth: usize) {
    order.push(k);
    let indent = "\t".repeat(depth);
    let offset = |v: &Vec3| format!("OFFSET {:.6} {:.6} {:.6}", v.x, v.y, v.z);
    let name = &rig.joint_names[k];
    if k == 0 {
        // the root's position channels already say where it is
        *text += &format!("ROOT {name}\n{{\n\t{}\n", offset(&Vec3::zeros()));
        *text += "\tCHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation\n";
    } else {
        *text += &format!("{indent}JOINT {name}\n{indent}{{\n{indent}\t{}\n", offset(&shaped.offsets[k]));
        *text += &format!("{indent}\tCHANNELS 3 Zrotation Xrotation Yrotation\n");
    }
    let children: Vec<usize> = (k + 1..JOINTS).filter(|c| rig.parents[*c] == k as i32).collect();
    if children.is_empty() {
        let end = offset(&(shaped.offsets[k] * 0.5));
        *text += &format!("{indent}\tEnd Site\n{indent}\t{{\n{indent}\t\t{end}\n{indent}\t}}\n");
    }
    for child in children {
        write_joint(text, order, rig, shaped, child, depth + 1);
    }
    *text += &format!("{indent}}}\n");
}

/// Angles `[z, x, y]` in radians with `r = Rz * Rx * Ry`, of all that do the one nearest to `last`, so that curves do not jump.
fn euler_zxy(r: &Mat3, last: [f64; 3]) -> [f64; 3] {
    use std::f64::consts::PI;
    let cos_x = r.m12.hypot(r.m22);
    let x = r.m32.atan2(cos_x);
    if cos_x < GIMBAL {
        let y = last[2];
        let z = r.m21.atan2(r.m11) - r.m32.signum() * y;
        return [nearest(z, last[0]), nearest(x, last[1]), y];
    }
    let (z, y) = ((-r.m12).atan2(r.m22), (-r.m31).atan2(r.m33));
    let candidates = [[z, x, y], [z + PI, PI - x, y + PI]].map(|c| [0, 1, 2].map(|i| nearest(c[i], last[i])));
    let [a, b] = candidates.map(|c| c.iter().zip(last).map(|(a, b)| (a - b).abs()).sum::<f64>());
    candidates[usize::from(b < a)]
}

/// The angle that differs from `angle` by whole turns and lies nearest to `target`.
fn nearest(angle: f64, target: f64) -> f64 {
    use std::f64::consts::TAU;
    angle + ((target - angle) / TAU).round() * TAU
}

#[cfg(test)]
mod tests {
    use halfpipe_kit::rotation;

    use super::*;

    fn matrix([z, x, y]: [f64; 3]) -> Mat3 {
        rotation::exp(&Vec3::new(0.0, 0.0, z)) * rotation::exp(&Vec3::new(x, 0.0, 0.0)) * rotation::exp(&Vec3::new(0.0, y, 0.0))
    }

    #[test]
    fn angles_give_the_rotation_back_also_where_two_axes_coincide() {
        use std::f64::consts::FRAC_PI_2;
        let mut tried = 0;
        for z in [-3.0, -1.0, 0.0, 0.4, 2.5] {
            for x in [-FRAC_PI_2, -1.2, 0.0, 0.7, FRAC_PI_2] {
                for y in [-2.9, -0.3, 0.0, 1.6, 3.1] {
                    for last in [[0.0; 3], [1.0, 1.5, -2.0], [7.0, -8.0, 9.0]] {
                        let r = matrix([z, x, y]);
                        assert!((matrix(euler_zxy(&r, last)) - r).abs().max() < 1e-7, "{z} {x} {y} {last:?}");
                        tried += 1;
                    }
                }
            }
        }
        assert_eq!(tried, 375);
    }

    #[test]
    fn a_steady_turn_gives_steady_angles() {
        let mut last = [0.0; 3];
        for step in 0..200 {
            let turned = f64::from(step) * 0.1;
            let next = euler_zxy(&matrix([0.3, 0.2, turned]), last);
            assert!((next[2] - turned).abs() < 1e-6, "step {step}: {next:?}");
            last = next;
        }
    }
}
