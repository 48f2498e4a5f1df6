//! The two networks: frames in, people or landmarks out.

use halfpipe_kit::blazepose::{INPUT, Landmarks, Outputs, Roi};
use halfpipe_kit::movenet::{self, DetectOptions, Detection, HeadTensors, Heads, Letterbox};

use crate::convert;
use crate::host::exports::halfpipe::job::runner::Failure;
use crate::host::halfpipe::media::frames::{FrameBatch, Normalization, Size};
use crate::host::wasi::nn::inference::GraphExecutionContext;
use crate::host::wasi::nn::tensor::Tensor;
use crate::host::{bad_model, failed, wasi::nn::graph};
use crate::options::{DETECTOR, Options};

/// Of two sights of one person at different scales the stronger is kept where they overlap by more than this.
const MERGE_OVERLAP: f32 = 0.5;

/// A model by name.
pub fn load(name: &str) -> Result<GraphExecutionContext, Failure> {
    graph::load_by_name(name).and_then(|g| g.init_execution_context()).map_err(bad_model)
}

/// A network's outputs by name.
struct Named {
    model: &'static str,
    outputs: Vec<(String, Tensor)>,
}

impl Named {
    fn get(&self, name: &str) -> Result<&Tensor, Failure> {
        let found = self.outputs.iter().find(|(n, _)| n == name);
        found.map(|(_, t)| t).ok_or_else(|| Failure::BadModel(format!("{} has no output {name}", self.model)))
    }
    fn floats(&self, name: &str) -> Result<Vec<f32>, Failure> {
        self.get(name).map(convert::floats)
    }
}

/// MoveNet MultiPose at one or more input sizes.
pub struct Detector {
    context: GraphExecutionContext,
    norm: Normalization,
    sizes: Vec<u32>,
    options: DetectOptions,
}

impl Detector {
    /// Loads it.
    pub fn new(options: &Options) -> Result<Self, Failure> {
        Ok(Self {
            context: load(DETECTOR)?,
            norm: convert::normalization(DETECTOR)?,
            sizes: options.detector_sizes.clone(),
            options: DetectOptions { min_score: options.detector_score, ..DetectOptions::default() },
        })
    }

    /// The people of frame `index` of a batch.
    pub fn detect(&self, batch: &FrameBatch, index: u32) -> Result<Vec<Detection>, Failure> {
        let size = batch.size();
        // both sizes are queued before either is waited for
        let mut queued = Vec::with_capacity(self.sizes.len());
        for long_side in &self.sizes {
            let (width, height) = movenet::input_size((size.width, size.height), *long_side);
            let boxed = batch.letterbox(&[index], Size { width, height }, self.norm).map_err(failed)?;
            let map = Letterbox { scale: [boxed.scale_x, boxed.scale_y], offset: [boxed.offset_x, boxed.offset_y] };
            let outputs = self.context.compute(vec![("image".into(), boxed.tensor)]).map_err(bad_model)?;
            queued.push((map, Named { model: DETECTOR, outputs }));
        }
        let mut found = Vec::new();
        for (map, heads) in queued {
            found.extend(self.decode(&heads, &map)?);
        }
        Ok(movenet::merge(found, MERGE_OVERLAP, self.options.limit))
    }

    fn decode(&self, heads: &Named, map: &Letterbox) -> Result<Vec<Detection>, Failure> {
        let dims = heads.get("center")?.dimensions();
        let [frames, _, height, width] = dims[..] else {
            return Err(Failure::BadModel(format!("{DETECTOR} gives a center head of shape {dims:?} instead of [N, 1, H, W]")));
        };
        let [center, box_scale, box_offset] = ["center", "box_scale", "box_offset"].map(|name| heads.floats(name));
        let [kpt_regress, kpt_heatmap, kpt_offset] = ["kpt_regress", "kpt_heatmap", "kpt_offset"].map(|name| heads.floats(name));
        let tensors = HeadTensors {
            center: &center?,
            box_scale: &box_scale?,
            box_offset: &box_offset?,
            kpt_regress: &kpt_regress?,
            kpt_heatmap: &kpt_heatmap?,
            kpt_offset: &kpt_offset?,
        };
        Heads::new(frames as usize, height as usize, width as usize, tensors)
            .and_then(|h| h.decode(0, map, &self.options))
            .map_err(|e| Failure::BadModel(format!("{DETECTOR}: {e}")))
    }
}

/// BlazePose's landmark network.
pub struct Landmarker {
    model: &'static str,
    context: GraphExecutionContext,
    norm: Normalization,
}

impl Landmarker {
    /// Loads it.
    pub fn new(options: &Options) -> Result<Self, Failure> {
        let model = options.landmark_model();
        Ok(Self { model, context: load(model)?, norm: convert::normalization(model)? })
    }

    /// The landmarks in each crop of frame `index` of a batch; none where the network gave no numbers.
    pub fn read(&self, batch: &FrameBatch, index: u32, rois: &[Roi]) -> Result<Vec<Option<Landmarks>>, Failure> {
        if rois.is_empty() {
            return Ok(Vec::new());
        }
        let crops: Vec<_> = rois.iter().map(|roi| convert::crop(index, roi)).collect();
        let tensor = batch.crops(&crops, INPUT, self.norm).map_err(failed)?;
        let outputs = self.context.compute(vec![("image".into(), tensor)]).map_err(bad_model)?;
        let named = Named { model: self.model, outputs };
        let [landmarks, presence] = ["landmarks", "presence"].map(|name| named.floats(name));
        let [heatmap, world_landmarks] = ["heatmap", "world_landmarks"].map(|name| named.floats(name));
        let outputs = Outputs { landmarks: &landmarks?, presence: &presence?, heatmap: &heatmap?, world_landmarks: &world_landmarks? };
        outputs.decode(rois).map_err(|e| Failure::BadModel(format!("{}: {e}", self.model)))
    }
}
