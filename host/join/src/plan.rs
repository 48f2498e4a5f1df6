//! The plan: a JSON file that says which frames each window has, so that every worker and the join agree to the tick.

use std::path::{Path, PathBuf};

use halfpipe_core::Rational;
use halfpipe_media::{MediaError, Part, Window};
use serde::{Deserialize, Serialize};

use crate::{Digest, JoinError};

/// Version of the plan's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum PlanSchema {
    /// The first.
    #[default]
    #[serde(rename = "halfpipe.plan/1")]
    V1,
}

/// A video cut into windows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Version of the format.
    pub schema: PlanSchema,
    /// Digest of everything else that matters: parts carry it, so that those of two plans cannot be mixed.
    pub id: Digest,
    /// The video.
    pub source: PlanSource,
    /// Seconds of context that were asked for before each window; half of it behind.
    pub overlap_seconds: f64,
    /// The windows in order; their own frames are all frames of the video, each once.
    pub windows: Vec<WindowPlan>,
}

/// The video of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanSource {
    /// Where it was when the plan was made; only to find it again.
    pub path: PathBuf,
    /// Size of the file.
    pub bytes: u64,
    /// Its digest.
    pub sha256: Digest,
    /// Frames.
    pub frames: u64,
    /// Seconds per tick as numerator and denominator.
    pub time_base: [i64; 2],
    /// Average frames per second as numerator and denominator.
    pub frame_rate: [i64; 2],
    /// Timestamp of the first frame, ticks.
    pub start_pts: i64,
    /// First tick after the last frame.
    pub end_pts: i64,
}

/// One window. It says everything that a job on it needs beside the video, so it can be sent to a worker by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowPlan {
    /// The plan's id.
    pub plan: Digest,
    /// Number of the window, from 0.
    pub index: u32,
    /// Size of the video's file.
    pub source_bytes: u64,
    /// Digest of the video's file.
    pub source_sha256: Digest,
    /// Seconds per tick as numerator and denominator.
    pub time_base: [i64; 2],
    /// Index in the video of its first own frame.
    pub first_frame: u64,
    /// Number of own frames.
    pub frames: u64,
    /// Index of the first frame it reads.
    pub context_first_frame: u64,
    /// Number of frames it reads.
    pub context_frames: u64,
    /// Timestamp of the first own frame, ticks.
    pub first_pts: i64,
    /// First tick after the own frames: the next window's first frame.
    pub after_pts: i64,
    /// Timestamp of the first frame it reads, ticks.
    pub context_first_pts: i64,
    /// First tick after the frames it reads.
    pub context_after_pts: i64,
    /// Timestamp of the key frame at which decoding has to begin for that, ticks.
    pub decode_from_pts: i64,
}

impl WindowPlan {
    /// What a job's window is.
    ///
    /// # Errors
    /// [`MediaError::InvalidArgument`] where the numbers contradict each other.
    pub fn window(&self) -> Result<Window, MediaError> {
        let [num, den] = self.time_base;
        if num <= 0 || den <= 0 {
            return Err(MediaError::InvalidArgument { what: format!("a window's time base must be above 0, not {num}/{den}") });
        }
        let part =
            Part { plan: self.plan.0, index: self.index, first_pts: self.first_pts, after_pts: self.after_pts, reads: self.context_frames };
        Window::of_part((self.context_first_pts, self.context_after_pts), part, Rational::new(num, den))
    }

    /// Compares a file with the video the window was made for. Reads it once.
    ///
    /// # Errors
    /// [`JoinError::Source`] with the difference; [`JoinError::Io`] where it cannot be read.
    pub fn check_source(&self, file: &Path) -> Result<(), JoinError> {
        let bytes = std::fs::metadata(file).map_err(|e| JoinError::io("read", file, e))?.len();
        let other = |what: String| JoinError::Source { path: file.to_owned(), what };
        if bytes != self.source_bytes {
            return Err(other(format!("it has {bytes} bytes, not {}", self.source_bytes)));
        }
        let sha256 = Digest::of_file(file)?;
        if sha256 != self.source_sha256 {
            return Err(other(format!("its sha256 is {sha256}, not {}", self.source_sha256)));
        }
        Ok(())
    }

    /// Index in the video of the first frame after the own ones.
    #[must_use]
    pub const fn after_frame(&self) -> u64 {
        self.first_frame + self.frames
    }

    /// Index in the video of the first frame after those it reads.
    #[must_use]
    pub const fn context_after_frame(&self) -> u64 {
        self.context_first_frame + self.context_frames
    }
}

impl Plan {
    /// Puts the id that follows from the rest in its places.
    pub(crate) fn seal(&mut self) {
        self.id = self.digest();
        for window in &mut self.windows {
            window.plan = self.id;
        }
    }

    /// The id that the rest makes. Where the video lies does not matter.
    fn digest(&self) -> Digest {
        let s = &self.source;
        let mut text = format!("{} {} {} {:?} {} {}", s.bytes, s.sha256, s.frames, s.time_base, s.start_pts, s.end_pts);
        for w in &self.windows {
            let frames = [w.first_frame, w.frames, w.context_first_frame, w.context_frames];
            let ticks = [w.first_pts, w.after_pts, w.context_first_pts, w.context_after_pts];
            text += &format!("\n{} {frames:?} {ticks:?}", w.index);
        }
        Digest::of(text.as_bytes())
    }

    /// Reads a plan.
    ///
    /// # Errors
    /// [`JoinError::Io`] where the file cannot be read, [`JoinError::Plan`] where it is no plan or was altered.
    pub fn load(path: &Path) -> Result<Self, JoinError> {
        let text = std::fs::read(path).map_err(|e| JoinError::io("read the plan", path, e))?;
        let wrong = |what: String| JoinError::Plan { path: path.to_owned(), what };
        let plan: Self = serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))?;
        let (source, mut next) = (&plan.source, 0);
        for (i, w) in plan.windows.iter().enumerate() {
            let of_source = (w.source_bytes, w.source_sha256, w.time_base) == (source.bytes, source.sha256, source.time_base);
            if w.plan != plan.id || w.index as usize != i || !of_source || w.first_frame != next || w.window().is_err() {
                return Err(wrong(format!("window {i} contradicts the rest")));
            }
            next = w.after_frame();
        }
        if plan.id != plan.digest() || next != plan.source.frames {
            return Err(wrong("it was altered after it was made".into()));
        }
        Ok(plan)
    }

    /// The plan as text.
    ///
    /// # Errors
    /// [`JoinError::Plan`] where it cannot be written as JSON (a path that is not UTF-8).
    pub fn to_json(&self, path: &Path) -> Result<String, JoinError> {
        let text = serde_json::to_string_pretty(self).map_err(|e| JoinError::Plan { path: path.to_owned(), what: e.to_string() })?;
        Ok(text + "\n")
    }

    /// One window; `path` is the plan's, for the error.
    ///
    /// # Errors
    /// [`JoinError::NoWindow`].
    pub fn window(&self, path: &Path, index: u32) -> Result<&WindowPlan, JoinError> {
        self.windows.get(index as usize).ok_or_else(|| JoinError::NoWindow { path: path.to_owned(), index, count: self.windows.len() })
    }

    /// Seconds per tick.
    pub(crate) const fn time_base(&self) -> Rational {
        Rational::new(self.source.time_base[0], self.source.time_base[1])
    }
}
