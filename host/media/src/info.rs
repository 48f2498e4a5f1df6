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
}

impl Window {
    /// A window.
    ///
    /// # Errors
    /// [`MediaError::InvalidArgument`] unless both ends are finite (within 1e9 s of 0) and the start lies before the end.
    pub fn new(start_secs: f64, end_secs: f64) -> Result<Self, MediaError> {
        let window = Self { start_secs, end_secs };
        window.check().map(|()| window)
    }

    pub(crate) fn check(self) -> Result<(), MediaError> {
        let Self { start_secs, end_secs } = self;
        if start_secs >= -MAX_SECS && start_secs < end_secs && end_secs <= MAX_SECS {
            return Ok(());
        }
        Err(MediaError::InvalidArgument {
            what: format!("a window needs a start before its end, both within {MAX_SECS} s of 0, not {start_secs} s to {end_secs} s"),
        })
    }

    pub(crate) fn shifted(self, secs: f64) -> Self {
        Self { start_secs: self.start_secs + secs, end_secs: self.end_secs + secs }
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
