//! The parts of a plan as files: where they are, whether they belong together, and their frames in order.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use halfpipe_kit::poses::{Frame, Header, PosesReader};
use serde_json::Value;

use crate::plan::{Plan, WindowPlan};
use crate::{Digest, JoinError};

/// Commands that an error about missing parts spells out.
const SPELLED_OUT: usize = 3;
/// What must be the same in all parts, of the host's provenance: all that decides about the data.
const EQUAL: [&str; 6] = ["host_version", "guest", "guest_version", "guest_sha256", "models", "precision"];

/// Name of a window's video in the folder of parts.
#[must_use]
pub fn video_name(index: u32) -> String {
    format!("out_{index}.mp4")
}

/// Name of a window's pose file in the folder of parts.
#[must_use]
pub fn poses_name(index: u32) -> String {
    format!("poses_{index}.jsonl")
}

/// A plan, its file, its video and the folder of its parts.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub plan: &'a Plan,
    pub plan_path: &'a Path,
    pub source: &'a Path,
    pub folder: &'a Path,
}

impl Place<'_> {
    /// The command that makes a window's part.
    fn command(&self, index: u32) -> String {
        let (source, plan, folder) = (self.source.display(), self.plan_path.display(), self.folder);
        let (video, poses) = (folder.join(video_name(index)), folder.join(poses_name(index)));
        format!("halfpipe run {source} --window {plan}:{index} -o {} --poses {} -y", video.display(), poses.display())
    }

    /// The pose file of a window.
    pub fn poses(&self, index: u32) -> PathBuf {
        self.folder.join(poses_name(index))
    }

    /// The video of a window.
    pub fn video(&self, index: u32) -> PathBuf {
        self.folder.join(video_name(index))
    }

    /// Whether all parts are there.
    ///
    /// # Errors
    /// [`JoinError::Missing`] with those that are not.
    pub fn check_all_there(&self, videos: bool) -> Result<(), JoinError> {
        let there = |index: u32| self.poses(index).is_file() && (!videos || self.video(index).is_file());
        let windows: Vec<u32> = self.plan.windows.iter().map(|w| w.index).filter(|index| !there(*index)).collect();
        if windows.is_empty() {
            return Ok(());
        }
        let mut commands: Vec<String> = windows.iter().take(SPELLED_OUT).map(|index| format!("`{}`", self.command(*index))).collect();
        if windows.len() > SPELLED_OUT {
            commands.push("and so on".into());
        }
        let commands = format!("{}, with the options of the other windows", commands.join(", "));
        Err(JoinError::Missing { windows, of: self.plan.windows.len(), folder: self.folder.to_owned(), commands })
    }

    /// A fault of a part.
    pub fn fault(&self, path: &Path, window: u32, what: String) -> JoinError {
        JoinError::Part { path: path.to_owned(), window, what, command: self.command(window) }
    }

    /// Opens a window's pose file and compares its header with the plan.
    pub fn open<'a>(&'a self, window: &'a WindowPlan, pts: &'a [i64]) -> Result<PartReader<'a>, JoinError> {
        let path = self.poses(window.index);
        let file = File::open(&path).map_err(|e| JoinError::io("read", &path, e))?;
        let broken = |source| JoinError::Poses { path: path.clone(), source: Box::new(source), command: self.command(window.index) };
        let reader = PosesReader::new(BufReader::new(file)).map_err(broken)?;
        self.check_window(&path, window, reader.header())?;
        Ok(PartReader { place: *self, window, path, reader, pts, next: 0 })
    }

    /// Whether the part was made for this window of this plan.
    fn check_window(&self, path: &Path, window: &WindowPlan, header: &Header) -> Result<(), JoinError> {
        let fault = |what: String| Err(self.fault(path, window.index, what));
        let Some(made_for) = header.provenance.get("window") else {
            return fault("it does not come from a window of a plan".into());
        };
        let plan: Option<Digest> = made_for["plan"].as_str().and_then(|text| text.parse().ok());
        if plan != Some(self.plan.id) {
            return fault("it was made for another plan".into());
        }
        match made_for["index"].as_u64() {
            Some(index) if index == u64::from(window.index) => Ok(()),
            other => fault(format!("it was made for window {}", other.map_or_else(|| "of no number".into(), |i| i.to_string()))),
        }
    }

    /// Whether a part was made as the first one was: same pipeline, same models, same settings; where `videos` are joined, same encoder.
    pub fn check_alike(&self, window: &WindowPlan, first: &Header, header: &Header, videos: bool) -> Result<(), JoinError> {
        let mut different: Vec<String> = Vec::new();
        for name in EQUAL {
            compare(name, first.provenance.get(name), header.provenance.get(name), &mut different);
        }
        let of_video = ["quality", "preset", "encoder"];
        for name in &of_video[..if videos { 3 } else { 2 }] {
            let of = |h: &Header| h.provenance.get("window").map(|w| w[*name].clone());
            compare(name, of(first).as_ref(), of(header).as_ref(), &mut different);
        }
        let names = first.settings.keys().chain(header.settings.keys().filter(|name| !first.settings.contains_key(*name)));
        for name in names {
            compare(&format!("option {name}"), first.settings.get(name), header.settings.get(name), &mut different);
        }
        let frame = |h: &Header| (h.video.clone(), h.camera, h.axes, h.skeleton.clone(), h.body.clone());
        let names = |h: &Header| (h.keypoint_names.clone(), h.landmark_names.clone(), h.openpose_names.clone());
        if different.is_empty() && (frame(first) != frame(header) || names(first) != names(header)) {
            different.push("video, camera, body or names of joints".into());
        }
        if different.is_empty() {
            return Ok(());
        }
        let what = format!("it was made otherwise than the part of window 0 ({})", different.join("; "));
        Err(self.fault(&self.poses(window.index), window.index, what))
    }
}

fn compare(name: &str, first: Option<&Value>, other: Option<&Value>, different: &mut Vec<String>) {
    if first != other {
        let text = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), ToString::to_string);
        different.push(format!("{name}: {} instead of {}", text(other), text(first)));
    }
}

/// The frames of one part, with their indices in the whole video.
pub struct PartReader<'a> {
    place: Place<'a>,
    window: &'a WindowPlan,
    path: PathBuf,
    reader: PosesReader<BufReader<File>>,
    /// Timestamps of the whole video's frames.
    pts: &'a [i64],
    /// How many frames were read.
    next: u64,
}

impl PartReader<'_> {
    /// The header.
    pub const fn header(&self) -> &Header {
        self.reader.header()
    }

    /// The next frame, its index that in the whole video; none after the last.
    ///
    /// # Errors
    /// [`JoinError::Poses`] for a line that is not valid; [`JoinError::Part`] where a frame is missing, too many, or of another time.
    pub fn next(&mut self) -> Result<Option<Frame>, JoinError> {
        let fault = |what: String| Err(self.place.fault(&self.path, self.window.index, what));
        let expected = self.window.context_frames;
        let Some(frame) = self.reader.next() else {
            if self.next == expected {
                return Ok(None);
            }
            return fault(format!("it has {} frames, not the {expected} that the window reads", self.next));
        };
        let command = || self.place.command(self.window.index);
        let frame = frame.map_err(|source| JoinError::Poses { path: self.path.clone(), source: Box::new(source), command: command() })?;
        let index = self.window.context_first_frame + self.next;
        if frame.index != self.next {
            return fault(format!("frame {} comes where frame {} should", frame.index, self.next));
        }
        let tick = self.place.plan.time_base().as_f64();
        let Some(pts) = self.pts.get(index as usize).filter(|_| self.next < expected) else {
            return fault(format!("it has more than the {expected} frames that the window reads"));
        };
        let timestamp = *pts as f64 * tick;
        if (frame.timestamp - timestamp).abs() > tick / 2.0 {
            return fault(format!("its frame {} is at {} s, not at {timestamp} s", self.next, frame.timestamp));
        }
        self.next += 1;
        // in full, since reading may have lost the last digit
        Ok(Some(Frame { index, timestamp, ..frame }))
    }
}
