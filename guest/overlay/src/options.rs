//! The options of this pipeline; `options.schema.json` describes the same to the host and to people.

use halfpipe_bindings::host::halfpipe::scene::render::Shading;
use halfpipe_bindings::style::{Layout, Style};
use halfpipe_kit::gaps::GapOptions;
use halfpipe_kit::movenet::DetectOptions;
use halfpipe_kit::track::{DetectorOptions, DetectorReason, TrackOptions};
use serde::{Deserialize, Serialize};

/// JSON Schema of [`Options`].
pub const SCHEMA: &str = include_str!("options.schema.json");
/// Catalog name of the detector.
pub const DETECTOR: &str = "movenet_multipose";
/// Every model that some options need.
pub const ALL_MODELS: [&str; 6] =
    [DETECTOR, "pose_landmark_lite", "pose_landmark_full", "pose_landmark_heavy", "halfpipe_body", "halfpipe_body_small"];

/// The landmark network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LandmarkModel {
    /// Fastest.
    Lite,
    /// Default.
    Full,
    /// Most exact.
    Heavy,
}

/// Which of the two default bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BodyModel {
    /// 6890 vertices.
    Full,
    /// About 1700 vertices.
    Small,
}

/// Options with their defaults. Serialised, they are the settings in effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Most people to follow.
    pub people: usize,
    /// 0 to 1.
    pub opacity: f32,
    /// Colour of the first person's body; the others' differ unless `one_colour`.
    pub colour: [u8; 3],
    /// All bodies in one colour.
    pub one_colour: bool,
    /// What the video shows.
    pub layout: Layout,
    /// Samples along each axis of a pixel; 0 by adapter.
    pub supersample: u8,
    /// The landmark network.
    pub landmarks: LandmarkModel,
    /// The body.
    pub body: BodyModel,
    /// Longer sides of the detector's inputs, pixels.
    pub detector_sizes: Vec<u32>,
    /// All sizes on every run, also where nothing is amiss and the detector only watches for newcomers.
    pub detector_all_sizes: bool,
    /// Detections must score above this.
    pub detector_score: f32,
    /// Longest pause of the detector while somebody is visible, frames (1: every frame).
    pub detector_frames: u64,
    /// The same in seconds.
    pub detector_seconds: f64,
    /// Passes of the landmark network over people whose crop is already known (1 or 2).
    pub landmark_passes: u8,
    /// Presence below which a crop holds nobody.
    pub presence: f32,
    /// One-Euro smoothing of landmarks.
    pub smoothing: bool,
    /// Longest gap of a track that is filled, frames.
    pub max_gap: usize,
    /// How long somebody out of sight keeps the number, seconds.
    pub max_lost: f64,
    /// Most Gauss-Newton steps of a fit.
    pub fit_steps: usize,
    /// Focal length, pixels; none for 1.1 times the longer side.
    pub focal: Option<f64>,
}

impl Default for Options {
    fn default() -> Self {
        let (track, detector, gaps) = (TrackOptions::default(), DetectorOptions::default(), GapOptions::default());
        Self {
            people: 8,
            opacity: 0.6,
            colour: [166, 189, 219],
            one_colour: false,
            layout: Layout::Overlay,
            supersample: 0,
            landmarks: LandmarkModel::Full,
            body: BodyModel::Full,
            detector_sizes: vec![256, 512],
            detector_all_sizes: false,
            detector_score: DetectOptions::default().min_score,
            detector_frames: detector.max_frames,
            detector_seconds: detector.max_seconds,
            landmark_passes: 1,
            presence: track.new_score,
            smoothing: true,
            max_gap: gaps.max_frames,
            max_lost: track.max_lost,
            fit_steps: 6,
            focal: None,
        }
    }
}

impl Options {
    /// Reads the options of a job; the host has checked them against [`SCHEMA`].
    ///
    /// # Errors
    /// One sentence.
    pub fn parse(json: &str) -> Result<Self, String> {
        serde_json::from_str(json).map_err(|e| format!("the options do not fit: {e}"))
    }

    /// Catalog name of the landmark network.
    pub const fn landmark_model(&self) -> &'static str {
        match self.landmarks {
            LandmarkModel::Lite => "pose_landmark_lite",
            LandmarkModel::Full => "pose_landmark_full",
            LandmarkModel::Heavy => "pose_landmark_heavy",
        }
    }

    /// Catalog name of the body.
    pub const fn body_model(&self) -> &'static str {
        match self.body {
            BodyModel::Full => "halfpipe_body",
            BodyModel::Small => "halfpipe_body_small",
        }
    }

    /// All models of a job.
    pub fn needs(&self) -> Vec<String> {
        [DETECTOR, self.landmark_model(), self.body_model()].map(str::to_owned).to_vec()
    }

    /// The renderer's part.
    pub fn style(&self) -> Style {
        Style {
            body: self.body_model().into(),
            layout: self.layout,
            shading: Shading::Soft,
            opacity: self.opacity,
            supersample: self.supersample,
            colour: self.colour,
            one_colour: self.one_colour,
        }
    }

    /// The tracker's part.
    pub fn track(&self) -> TrackOptions {
        let defaults = TrackOptions::default();
        TrackOptions {
            keep_score: self.presence.min(defaults.keep_score),
            new_score: self.presence,
            strong_score: self.presence.max(defaults.strong_score),
            max_lost: self.max_lost,
            max_people: self.people,
            ..defaults
        }
    }

    /// Longer sides of the detector's inputs on a frame on which it is due for this reason: all that were asked for where it starts or
    /// has somebody to find again; their mean where it only watches for newcomers, which finds the near and the far nearly as well as
    /// the smallest and the largest together, at half their price.
    pub fn sizes_for(&self, reason: DetectorReason) -> Vec<u32> {
        match reason {
            DetectorReason::Interval | DetectorReason::Empty => self.watching_sizes(),
            DetectorReason::First | DetectorReason::Lost | DetectorReason::Suspect => self.detector_sizes.clone(),
        }
    }

    /// The sizes where the detector only watches for newcomers.
    pub fn watching_sizes(&self) -> Vec<u32> {
        match u32::try_from(self.detector_sizes.len()) {
            Ok(n) if n > 1 && !self.detector_all_sizes => vec![self.detector_sizes.iter().sum::<u32>() / n],
            _ => self.detector_sizes.clone(),
        }
    }

    /// The detector schedule's part.
    pub fn detector(&self) -> DetectorOptions {
        let defaults = DetectorOptions::default();
        DetectorOptions {
            max_seconds: self.detector_seconds,
            max_frames: self.detector_frames,
            // who wants it more often than that wants it so in empty scenes and searches too
            empty_frames: defaults.empty_frames.min(self.detector_frames),
            search_frames: defaults.search_frames.min(self.detector_frames),
        }
    }
}

#[cfg(test)]
mod tests {
    use halfpipe_kit::options::differences;

    use super::*;

    #[test]
    fn schema_and_defaults_agree() {
        assert_eq!(differences(SCHEMA, &Options::default()), Vec::<String>::new());
    }

    #[test]
    fn watching_takes_one_size_between_them() {
        let sizes = |json: &str, reason| Options::parse(json).unwrap().sizes_for(reason);
        assert_eq!(sizes("{}", DetectorReason::Interval), [384]);
        assert_eq!(sizes("{}", DetectorReason::Empty), [384]);
        for reason in [DetectorReason::First, DetectorReason::Lost, DetectorReason::Suspect] {
            assert_eq!(sizes("{}", reason), [256, 512]);
        }
        assert_eq!(sizes(r#"{"detector_sizes": [320]}"#, DetectorReason::Interval), [320]);
        assert_eq!(sizes(r#"{"detector_all_sizes": true}"#, DetectorReason::Interval), [256, 512]);
    }

    #[test]
    fn every_frame_is_every_frame() {
        let DetectorOptions { max_frames, empty_frames, search_frames, .. } =
            Options::parse(r#"{"detector_frames": 1}"#).unwrap().detector();
        assert_eq!((max_frames, empty_frames, search_frames), (1, 1, 1), "in an empty scene too");
    }

    #[test]
    fn unknown_options_are_named() {
        assert!(Options::parse(r#"{"opaqueness": 1}"#).unwrap_err().contains("opaqueness"));
        assert_eq!(Options::parse("{}").unwrap(), Options::default());
    }
}
