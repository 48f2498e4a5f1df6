//! The options of this pipeline; `options.schema.json` describes the same to the host and to people.

use halfpipe_bindings::host::halfpipe::scene::render::Shading as WitShading;
use halfpipe_bindings::style::{Layout, Style};
use halfpipe_kit::gaps::GapOptions;
use halfpipe_kit::track::TrackOptions;
use serde::{Deserialize, Serialize};

/// JSON Schema of [`Options`].
pub const SCHEMA: &str = include_str!("options.schema.json");
/// The default detector, the one that needs two input sizes to see near and far people.
const MOVENET: &str = "movenet_multipose";
/// Its input sizes.
const MOVENET_SIZES: [u32; 2] = [256, 512];
/// Part of the threshold that is enough to go on being followed.
const KEEP_PART: f32 = 1.0 / 3.0;
/// A detection that scores this is believed at once, a weaker one when it has been seen three times running.
const STRONG_SCORE: f32 = 0.5;

/// How bodies are lit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shading {
    /// As 4D-Humans does.
    Raymond,
    /// As the default pipeline does.
    Soft,
}

/// Options with their defaults. Serialised, they are the settings in effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Catalog name of the detector.
    pub detector: String,
    /// The detector looks at every such frame.
    pub detector_stride: u64,
    /// Detections of somebody new must score above this; none for the catalog's threshold.
    pub detector_score: Option<f32>,
    /// Those of somebody who is followed already need only this; none for a third of `detector_score`.
    pub detector_keep_score: Option<f32>,
    /// Longer sides of the detector's inputs, pixels; none for its usual ones.
    pub detector_sizes: Vec<u32>,
    /// Most people to follow.
    pub people: usize,
    /// Catalog name of the HMR2 network.
    pub network: String,
    /// Catalog name of the SMPL body.
    pub body: String,
    /// Crops in one run of the network.
    pub crop_batch: usize,
    /// 0 to 1.
    pub opacity: f32,
    /// Colour of bodies.
    pub colour: [u8; 3],
    /// All bodies in one colour.
    pub one_colour: bool,
    /// What the video shows.
    pub layout: Layout,
    /// How bodies are lit.
    pub shading: Shading,
    /// Samples along each axis of a pixel; 0 by adapter.
    pub supersample: u8,
    /// One-Euro smoothing of rotations, shape and place.
    pub smoothing: bool,
    /// Longest gap of a track that is filled, frames.
    pub max_gap: usize,
    /// How long somebody out of sight keeps the number, seconds.
    pub max_lost: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            detector: MOVENET.into(),
            detector_stride: 1,
            detector_score: None,
            detector_keep_score: None,
            detector_sizes: Vec::new(),
            people: 8,
            network: "hmr2".into(),
            body: "smpl_neutral".into(),
            crop_batch: 8,
            opacity: 1.0,
            // 4D-Humans' LIGHT_BLUE: 0.65098039, 0.74117647, 0.85882353
            colour: [166, 189, 219],
            one_colour: true,
            layout: Layout::Overlay,
            shading: Shading::Raymond,
            supersample: 0,
            smoothing: true,
            max_gap: GapOptions::default().max_frames,
            max_lost: TrackOptions::default().max_lost,
        }
    }
}

impl Options {
    /// Reads the options of a job; the host has checked them against [`SCHEMA`].
    ///
    /// # Errors
    /// One sentence.
    pub fn parse(json: &str) -> Result<Self, String> {
        let mut options: Self = serde_json::from_str(json).map_err(|e| format!("the options do not fit: {e}"))?;
        if options.detector == MOVENET && options.detector_sizes.is_empty() {
            options.detector_sizes = MOVENET_SIZES.to_vec();
        }
        Ok(options)
    }

    /// All models of a job.
    pub fn needs(&self) -> Vec<String> {
        vec![self.detector.clone(), self.network.clone(), self.body.clone()]
    }

    /// The renderer's part.
    pub fn style(&self) -> Style {
        Style {
            body: self.body.clone(),
            layout: self.layout,
            shading: match self.shading {
                Shading::Raymond => WitShading::Raymond,
                Shading::Soft => WitShading::Soft,
            },
            opacity: self.opacity,
            supersample: self.supersample,
            colour: self.colour,
            one_colour: self.one_colour,
        }
    }

    /// Fills in both thresholds, of which `usual` is the catalog's, and gives the lower one: what the detector is to report.
    pub fn resolve_scores(&mut self, usual: f32) -> f32 {
        let new = *self.detector_score.get_or_insert(usual);
        let keep = self.detector_keep_score.get_or_insert(new * KEEP_PART);
        *keep = keep.min(new);
        *keep
    }

    /// The tracker's part: the detector's scores are what people are believed by. As in ByteTrack (Zhang et al. 2022), a weak detection
    /// where somebody is expected carries them on, but makes nobody new. To be called after [`resolve_scores`](Self::resolve_scores).
    pub fn track(&self) -> TrackOptions {
        let defaults = TrackOptions::default();
        let new_score = self.detector_score.unwrap_or(defaults.new_score);
        TrackOptions {
            keep_score: self.detector_keep_score.unwrap_or(new_score),
            new_score,
            strong_score: STRONG_SCORE.max(new_score),
            max_lost: self.max_lost,
            max_people: self.people,
            ..defaults
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
    fn unknown_options_are_named_and_models_are_those_asked_for() {
        assert!(Options::parse(r#"{"opaqueness": 1}"#).unwrap_err().contains("opaqueness"));
        let options = Options::parse(r#"{"detector": "vitdet", "network": "hmr2_fp16"}"#).unwrap();
        assert_eq!(options.needs(), ["vitdet", "hmr2_fp16", "smpl_neutral"]);
        assert!(options.detector_sizes.is_empty(), "the catalog says what it takes");
        assert_eq!(Options::parse("{}").unwrap().detector_sizes, MOVENET_SIZES);
    }

    #[test]
    fn thresholds_are_filled_in_and_in_order() {
        let resolved = |json: &str| {
            let mut options = Options::parse(json).unwrap();
            let least = options.resolve_scores(0.3);
            let track = options.track();
            assert!(track.keep_score == least && least <= track.new_score && track.new_score <= track.strong_score, "{track:?}");
            (options.detector_keep_score.unwrap(), options.detector_score.unwrap())
        };
        let (keep, new) = resolved("{}");
        assert!(new == 0.3 && (keep - 0.1).abs() < 1e-6);
        assert_eq!(resolved(r#"{"detector_score": 0.8, "detector_keep_score": 0.5}"#), (0.5, 0.8));
        assert_eq!(resolved(r#"{"detector_score": 0.5, "detector_keep_score": 0.9}"#), (0.5, 0.5));
    }
}
