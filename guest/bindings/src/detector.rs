//! Any detector of people that the catalog describes: frames in, people out.

use halfpipe_kit::detector::{self, BoxContract, BoxFormat, BoxOptions, BoxUnits, Boxes, PersonBox, Scores};
use halfpipe_kit::movenet::{self, DetectOptions, HeadTensors, Heads, Letterbox};

use crate::convert;
use crate::host::exports::halfpipe::job::runner::Failure;
use crate::host::failed;
use crate::host::halfpipe::job::catalog::{self, BoxHeads, Heads as WitHeads, InputSize, ScoreKind};
use crate::host::halfpipe::media::frames::{FrameBatch, Normalization, Size};
use crate::host::wasi::nn::inference::GraphExecutionContext;
use crate::models::{self, Named};

/// Frames that one run of a network that takes several gets at most.
const MOST_FRAMES: usize = 8;
/// People of a frame, the surest first.
const LIMIT: usize = 64;

/// A detector.
pub struct Detector {
    model: String,
    context: GraphExecutionContext,
    norm: Normalization,
    facts: catalog::Detector,
    /// Longer sides of the inputs, where the network takes any size.
    long_sides: Vec<u32>,
    /// Frames of one run.
    frames: usize,
    /// Candidates must score above this.
    pub score: f32,
}

/// One run that was queued.
struct Queued {
    map: Letterbox,
    input: (u32, u32),
    outputs: Named,
}

impl Detector {
    /// Loads the model. `long_sides` are those of its inputs where it takes any size (results of several are joined); none for the
    /// catalog's. `score` replaces the catalog's threshold.
    ///
    /// # Errors
    /// A model's fault: it is not there, or the catalog does not describe it as a detector.
    pub fn new(model: &str, long_sides: &[u32], score: Option<f32>) -> Result<Self, Failure> {
        let facts = catalog::model(model).map_err(failed)?;
        let norm = convert::normalization_of(model, &facts)?;
        let lacks =
            || format!("{model} is not described as a detector; give its catalog entry a table [model.detector], or choose another");
        let detector = facts.detector.ok_or_else(|| Failure::BadModel(lacks()))?;
        let input = facts.inputs.iter().find(|port| port.name == detector.input);
        let several = input.is_some_and(|port| port.dimensions.first() == Some(&0));
        Ok(Self {
            model: model.to_owned(),
            context: models::load(model)?,
            norm,
            long_sides: long_sides.to_vec(),
            frames: if several { MOST_FRAMES } else { 1 },
            score: score.unwrap_or(detector.score),
            facts: detector,
        })
    }

    /// Whether it gives COCO key points with each person.
    #[must_use]
    pub const fn has_keypoints(&self) -> bool {
        matches!(self.facts.heads, WitHeads::Movenet)
    }

    /// The people of each of these frames (indices within the batch).
    ///
    /// # Errors
    /// A model's fault, or a host call's.
    pub fn detect(&self, batch: &FrameBatch, frames: &[u32]) -> Result<Vec<Vec<PersonBox>>, Failure> {
        self.detect_at(batch, frames, &self.long_sides)
    }

    /// [`detect`](Self::detect) with other longer sides of the inputs.
    ///
    /// # Errors
    /// The same.
    pub fn detect_at(&self, batch: &FrameBatch, frames: &[u32], long_sides: &[u32]) -> Result<Vec<Vec<PersonBox>>, Failure> {
        let mut people = Vec::with_capacity(frames.len());
        for frames in frames.chunks(self.frames) {
            // all sizes are queued before any is waited for
            let queued: Vec<Queued> =
                self.sizes(batch.size(), long_sides).into_iter().map(|size| self.queue(batch, frames, size)).collect::<Result<_, _>>()?;
            let mut found = vec![Vec::new(); frames.len()];
            for run in &queued {
                self.decode(run, &mut found)?;
            }
            people.extend(found.into_iter().map(|found| match &queued[..] {
                [_] => found,
                _ => detector::merge(found, self.facts.overlap, LIMIT),
            }));
        }
        Ok(people)
    }

    fn sizes(&self, frame: Size, long_sides: &[u32]) -> Vec<Size> {
        match self.facts.size {
            InputSize::Fixed(size) => vec![size],
            InputSize::Flexible(flexible) => {
                let usual = [flexible.long_side];
                let long_sides = if long_sides.is_empty() { &usual[..] } else { long_sides };
                let size = |side: &u32| movenet::input_size((frame.width, frame.height), *side, flexible.multiple);
                long_sides.iter().map(size).map(|(width, height)| Size { width, height }).collect()
            }
        }
    }

    fn queue(&self, batch: &FrameBatch, frames: &[u32], size: Size) -> Result<Queued, Failure> {
        let fitted = batch.fitted(frames, size, self.facts.fit, self.facts.fill, self.norm).map_err(failed)?;
        let map = Letterbox { scale: [fitted.scale_x, fitted.scale_y], offset: [fitted.offset_x, fitted.offset_y] };
        let outputs = Named::compute(&self.model, &self.context, vec![(self.facts.input.clone(), fitted.tensor)])?;
        Ok(Queued { map, input: (size.width, size.height), outputs })
    }

    /// Adds the people of each frame of a run to `found`.
    fn decode(&self, run: &Queued, found: &mut [Vec<PersonBox>]) -> Result<(), Failure> {
        match &self.facts.heads {
            WitHeads::Movenet => self.decode_movenet(run, found),
            WitHeads::Boxes(heads) => self.decode_boxes(heads, run, found),
        }
    }

    fn decode_movenet(&self, Queued { map, outputs, .. }: &Queued, found: &mut [Vec<PersonBox>]) -> Result<(), Failure> {
        let dims = outputs.get("center")?.dimensions();
        let [frames, _, height, width] = dims[..] else {
            return Err(outputs.fault(format!("the center head has the shape {dims:?} instead of [N, 1, H, W]")));
        };
        let [center, box_scale, box_offset] = ["center", "box_scale", "box_offset"].map(|name| outputs.floats(name));
        let [kpt_regress, kpt_heatmap, kpt_offset] = ["kpt_regress", "kpt_heatmap", "kpt_offset"].map(|name| outputs.floats(name));
        let tensors = HeadTensors {
            center: &center?,
            box_scale: &box_scale?,
            box_offset: &box_offset?,
            kpt_regress: &kpt_regress?,
            kpt_heatmap: &kpt_heatmap?,
            kpt_offset: &kpt_offset?,
        };
        let heads = Heads::new(frames as usize, height as usize, width as usize, tensors).map_err(|e| outputs.fault(e))?;
        let options = DetectOptions { min_score: self.score, max_overlap: self.facts.overlap, limit: LIMIT };
        for (i, people) in found.iter_mut().enumerate() {
            people.extend(heads.decode(i, map, &options).map_err(|e| outputs.fault(e))?.into_iter().map(PersonBox::from));
        }
        Ok(())
    }

    fn decode_boxes(&self, heads: &BoxHeads, run: &Queued, found: &mut [Vec<PersonBox>]) -> Result<(), Failure> {
        let outputs = &run.outputs;
        let frames = found.len();
        let dims: Vec<usize> = outputs.get(&heads.boxes)?.dimensions().iter().map(|d| *d as usize).collect();
        let candidates = match dims[..] {
            [n, candidates, 4] if n == frames => candidates,
            [candidates, 4] if frames == 1 => candidates,
            _ => return Err(outputs.fault(format!("output {} has the shape {dims:?} for {frames} frames", heads.boxes))),
        };
        let (boxes, scores) = (outputs.floats(&heads.boxes)?, outputs.floats(&heads.scores)?);
        let classes = heads.classes.as_ref().map(|name| outputs.numbers(name)).transpose()?;
        let scores = match heads.score_kind {
            ScoreKind::Single => Scores::Single { scores: &scores, classes: classes.as_deref() },
            ScoreKind::PerClass => {
                let dims = outputs.get(&heads.scores)?.dimensions();
                Scores::PerClass { scores: &scores, width: dims.last().map_or(0, |d| *d as usize) }
            }
        };
        let contract = BoxContract {
            format: match heads.format {
                catalog::BoxFormat::Xyxy => BoxFormat::Xyxy,
                catalog::BoxFormat::Yxyx => BoxFormat::Yxyx,
                catalog::BoxFormat::Cxcywh => BoxFormat::CxCyWh,
            },
            units: match heads.units {
                catalog::BoxUnits::Pixels => BoxUnits::Pixels,
                catalog::BoxUnits::Normalized => BoxUnits::Normalized,
            },
            person: heads.person,
            suppressed: heads.suppressed,
        };
        let options = BoxOptions { min_score: self.score, max_overlap: self.facts.overlap, limit: LIMIT };
        let heads = Boxes::new(contract, frames, candidates, &boxes, scores).map_err(|e| outputs.fault(e))?;
        for (i, people) in found.iter_mut().enumerate() {
            people.extend(heads.decode(i, &run.map, run.input, &options).map_err(|e| outputs.fault(e))?);
        }
        Ok(())
    }
}
