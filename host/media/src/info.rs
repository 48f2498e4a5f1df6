//! What is known of a video before it is read.

use halfpipe_core::{Matrix, Rational, VideoFormat};

use crate::MediaError;

/// What is known of a video before it is read.
#[derive(Debug, Clone, PartialEq)]
pub struct VideoInfo {
    /// Size (upright), colour (always limited range: the source converts) and time base of the frames.
    pub format: VideoFormat,
    /// Average frames per second, above 0; the frames' own timestamps are the truth.
    pub frame_rate: Rational,
    /// Presentation time of the first frame in ticks of the time base, where the container says so.
    pub start_pts: Option<i64>,
    /// Length in seconds, where the container says so.
    pub duration_secs: Option<f64>,
    /// Number of frames, where the container says so. Edit lists and damage may make the true number smaller.
    pub frame_count: Option<u64>,
    /// Clockwise turn in degrees that the file asks of a player: 0, 90, 180 or 270. Already applied to the size.
    pub rotation: u16,
    /// Width over height of one pixel, upright; 1:1 where the file does not say.
    pub sample_aspect_ratio: Rational,
    /// Colour tags of the file, for the output to repeat.
    pub tags: ColourTags,
    /// Sound, in the file's order.
    pub audio: Vec<AudioStream>,
    /// Codec of the pictures, e.g. `h264`.
    pub codec: String,
    /// Pixel format inside the file, e.g. `yuv420p10le`.
    pub pixel_format: String,
    /// ffmpeg's names of the container, e.g. `mov,mp4,m4a,3gp,3g2,mj2`.
    pub container: String,
    /// Where the container's own clock starts, seconds (the earliest of all its streams).
    pub(crate) container_start_secs: f64,
    /// Index of the video stream in the file.
    pub(crate) stream: u32,
}

impl VideoInfo {
    /// Presentation time of the first frame in seconds; 0 where the container does not say.
    #[must_use]
    pub fn start_secs(&self) -> f64 {
        self.start_pts.unwrap_or(0) as f64 * self.format.time_base.as_f64()
    }

    /// Ticks between two frames at the average rate, at least 1.
    #[must_use]
    pub fn frame_ticks(&self) -> i64 {
        ((1.0 / (self.frame_rate.as_f64() * self.format.time_base.as_f64())).round() as i64).max(1)
    }
}

/// Colour tags as the file has them, by ffmpeg's names. `None` where untagged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ColourTags {
    /// Matrix coefficients, e.g. `bt709`, `smpte170m`.
    pub matrix: Option<String>,
    /// Primaries, e.g. `bt709`.
    pub primaries: Option<String>,
    /// Transfer characteristics, e.g. `bt709`, `smpte2084`.
    pub transfer: Option<String>,
    /// Whether the samples in the file span the full range 0..=255.
    pub full_range: bool,
}

/// One audio stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioStream {
    /// Index of the stream in the file.
    pub index: u32,
    /// Codec, e.g. `aac`; `None` where this ffmpeg does not know it.
    pub codec: Option<String>,
    /// Channels.
    pub channels: u32,
    /// Samples per second.
    pub sample_rate: u32,
}

/// No clock of a video is further from 0 than this, seconds (30 years): larger numbers are typing errors.
const MAX_SECS: f64 = 1e9;

/// A stretch of presentation time: `start <= t < end`, on the container's clock (a video may start later than 0).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// First instant, seconds.
    pub start_secs: f64,
    /// First instant after it, seconds.
    pub end_secs: f64,
    /// Set where the window belongs to a plan that cuts one video into many: then only part of its frames is written.
    pub part: Option<Part>,
}

/// What a window of a plan delivers: the frames of its own. The window's other frames are context: they are read, so that whoever
/// follows people has seen them before and after, but another window writes them.
///
/// A sink writes its own frames only, and no sound: the sound is copied once, when the parts are joined ([`crate::stitch()`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// sha256 that names the plan.
    pub plan: [u8; 32],
    /// Number of the window in the plan, from 0.
    pub index: u32,
    /// Timestamp of the first frame that is written, ticks of the video's time base.
    pub first_pts: i64,
    /// First tick after the last one.
    pub after_pts: i64,
    /// Number of frames that are read, context included.
    pub reads: u64,
}

impl Part {
    /// Whether the frame with this timestamp is one of its own.
    #[must_use]
    pub const fn has(&self, pts: i64) -> bool {
        self.first_pts <= pts && pts < self.after_pts
    }
}

impl Window {
    /// A window.
    ///
    /// # Errors
    /// [`MediaError::InvalidArgument`] unless both ends are finite (within 1e9 s of 0) and the start lies before the end.
    pub fn new(start_secs: f64, end_secs: f64) -> Result<Self, MediaError> {
        let window = Self { start_secs, end_secs, part: None };
        window.check().map(|()| window)
    }

    /// The window of a plan that reads the ticks `first <= pts < after` of this time base, and writes those of `part`.
    ///
    /// # Errors
    /// [`MediaError::InvalidArgument`] where a start does not lie before its end, or the part not within the window.
    pub fn of_part((first, after): (i64, i64), part: Part, time_base: Rational) -> Result<Self, MediaError> {
        if !(first <= part.first_pts && part.first_pts < part.after_pts && part.after_pts <= after) {
            let what = format!(
                "a part from tick {} to {} does not lie within a window from tick {first} to {after}",
                part.first_pts, part.after_pts
            );
            return Err(MediaError::InvalidArgument { what });
        }
        // by the arithmetic that `ticks` turns back exactly
        let secs = |pts: i64| pts as f64 * time_base.as_f64();
        let window = Self { start_secs: secs(first), end_secs: secs(after), part: Some(part) };
        window.check().map(|()| window)
    }

    /// Of all timestamps in the window, in order, those whose frames are written.
    #[must_use]
    pub fn written<'a>(&self, pts: &'a [i64]) -> &'a [i64] {
        let Some(part) = self.part else { return pts };
        let (first, after) = (pts.partition_point(|p| *p < part.first_pts), pts.partition_point(|p| *p < part.after_pts));
        &pts[first..after]
    }

    pub(crate) fn check(self) -> Result<(), MediaError> {
        let Self { start_secs, end_secs, .. } = self;
        if start_secs >= -MAX_SECS && start_secs < end_secs && end_secs <= MAX_SECS {
            return Ok(());
        }
        Err(MediaError::InvalidArgument {
            what: format!("a window needs a start before its end, both within {MAX_SECS} s of 0, not {start_secs} s to {end_secs} s"),
        })
    }

    pub(crate) fn shifted(self, secs: f64) -> Self {
        Self { start_secs: self.start_secs + secs, end_secs: self.end_secs + secs, part: self.part }
    }

    /// The window in ticks, `first <= pts < end`, by the same arithmetic as [`halfpipe_core::FrameBatch::seconds`].
    pub(crate) fn ticks(self, time_base: Rational) -> (i64, i64) {
        let tick = time_base.as_f64();
        let first_at = |secs: f64| {
            let mut pts = (secs / tick).floor() as i64;
            while pts as f64 * tick >= secs {
                pts -= 1;
            }
            while (pts as f64 * tick) < secs {
                pts += 1;
            }
            pts
        };
        (first_at(self.start_secs), first_at(self.end_secs))
    }
}

/// The matrix for a tag of ffmpeg's, and whether samples must be converted to it. `None` where it cannot be handled.
///
/// `lines` is the height as stored: what players take an untagged video for depends on it (BT.709 from 720 lines on).
pub(crate) fn matrix_of_tag(tag: Option<&str>, lines: u32) -> Option<(Matrix, bool)> {
    match tag {
        Some("bt709") => Some((Matrix::Bt709, false)),
        Some("smpte170m" | "bt470bg") => Some((Matrix::Bt601, false)),
        Some("fcc") => Some((Matrix::Bt601, true)),
        Some("smpte240m") => Some((Matrix::Bt709, true)),
        Some("bt2020nc") => Some((Matrix::Bt2020, false)),
        // RGB inside the file: any matrix will do, so the usual one for the size
        None | Some("gbr") => Some((if lines < 720 { Matrix::Bt601 } else { Matrix::Bt709 }, false)),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_in_ticks_agrees_with_the_seconds_of_frames() {
        for (num, den) in [(1, 15360), (1, 90000), (1001, 30000), (1, 1000), (1, 1_000_000_000)] {
            let time_base = Rational::new(num, den);
            for (start, end) in [(0.0, 1.0), (1.1, 2.3), (0.1 + 0.2, 7.7), (-0.5, 0.033_366_7)] {
                let (first, after) = Window::new(start, end).unwrap().ticks(time_base);
                let secs = |pts: i64| pts as f64 * time_base.as_f64();
                assert!(secs(first) >= start && secs(first - 1) < start, "{num}/{den} {start}");
                assert!(secs(after) >= end && secs(after - 1) < end, "{num}/{den} {end}");
            }
        }
    }

    #[test]
    fn a_window_of_a_plan_comes_back_to_the_tick() {
        for (num, den) in [(1, 15360), (1, 90000), (1001, 30000), (1, 200_000), (1, 1_000_000_000)] {
            let time_base = Rational::new(num, den);
            for first in [0, 1, 333, 123_457, 9_999_991] {
                let part = Part { plan: [7; 32], index: 1, first_pts: first + 10, after_pts: first + 20, reads: 7 };
                let window = Window::of_part((first, first + 33), part, time_base).unwrap();
                assert_eq!(window.ticks(time_base), (first, first + 33), "{num}/{den}");
                let pts: Vec<i64> = (first..first + 33).step_by(5).collect();
                assert_eq!(window.written(&pts), [first + 10, first + 15]);
            }
        }
        let part = Part { plan: [7; 32], index: 1, first_pts: 10, after_pts: 20, reads: 7 };
        assert!(Window::of_part((11, 30), part, Rational::new(1, 30)).is_err());
        assert!(Window::of_part((0, 19), part, Rational::new(1, 30)).is_err());
        assert_eq!(Window::new(0.0, 1.0).unwrap().written(&[1, 2]), [1, 2]);
    }

    #[test]
    fn a_window_that_ends_before_it_starts_is_refused() {
        for (start, end) in [(2.0, 2.0), (3.0, 1.0), (f64::NAN, 1.0), (0.0, f64::INFINITY), (0.0, 1e300)] {
            let error = Window::new(start, end).unwrap_err();
            assert!(error.is_bad_input() && error.to_string().contains("start before its end"), "{error}");
        }
    }

    #[test]
    fn an_untagged_video_follows_its_lines() {
        assert_eq!(matrix_of_tag(None, 480), Some((Matrix::Bt601, false)));
        assert_eq!(matrix_of_tag(None, 720), Some((Matrix::Bt709, false)));
        assert_eq!(matrix_of_tag(Some("ictcp"), 720), None);
    }
}
