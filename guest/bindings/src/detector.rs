//! Any detector of people that the catalog describes: frames in, people out.

mod heads;

use halfpipe_kit::detector::{self, PersonBox};
use halfpipe_kit::movenet::{self, Letterbox};

use crate::convert;
use crate::host::exports::halfpipe::job::runner::Failure;
use crate::host::failed;
use crate::host::halfpipe::job::catalog::{self, Heads, InputSize, InputValue, ModelFacts, Port};
use crate::host::halfpipe::media::frames::{FrameBatch, Normalization, PictureFormat, PixelLayout, Size};
use crate::host::wasi::nn::tensor::{Tensor, TensorType};
use crate::models::{Named, Network};
use heads::Decoder;

/// Frames that one run of a network that takes any number gets at most.
const MOST_FRAMES: usize = 8;
/// What leaves the frame's levels, 0 to 255, as they are.
const LEVELS: Normalization = Normalization { mean: (0.0, 0.0, 0.0), std: (1.0 / 255.0, 1.0 / 255.0, 1.0 / 255.0) };

/// How many frames a run has.
#[derive(Debug, Clone, Copy)]
enum Run {
    /// Any number up to this one.
    UpTo(usize),
    /// This number; where there are fewer, the last one is given again.
    Exactly(usize),
}

/// A detector.
pub struct Detector {
    network: Network,
    /// The pictures it takes, but for their size where that is free.
    format: PictureFormat,
    facts: catalog::Detector,
    /// The inputs beside the picture.
    other_inputs: Vec<(Port, InputValue)>,
    decoder: Decoder,
    /// Longer sides of the inputs, where the network takes any size.
    long_sides: Vec<u32>,
    run: Run,
    /// Candidates must score above this.
    pub score: f32,
}

/// A look at frames of one batch that has been queued; its people may still be in the making.
pub struct Look {
    /// The runs of each group of frames (how many they are), one for each size of the input.
    groups: Vec<(usize, Vec<Queued>)>,
}

/// One run that was queued.
struct Queued {
    map: Letterbox,
    input: (u32, u32),
    /// Frames of the run, those that are given again too.
    frames: usize,
    outputs: Named,
}

impl Detector {
    /// Loads the model. `long_sides` are those of its inputs where it takes any size (results of several are joined); none for the
    /// catalog's. `score` replaces the catalog's threshold.
    ///
    /// # Errors
    /// A model's fault: it is not there, or the catalog does not describe it as a detector.
    pub fn new(model: &str, long_sides: &[u32], score: Option<f32>) -> Result<Self, Failure> {
        let ModelFacts { inputs, outputs, mean, std, detector } = catalog::model(model).map_err(failed)?;
        let fault = |what: String| Failure::BadModel(format!("{model} {what}"));
        let facts = detector.ok_or_else(|| {
            fault("is not described as a detector; give its catalog entry a table [model.detector], or choose another".into())
        })?;
        let input = inputs.iter().find(|port| port.name == facts.input);
        let input = input.ok_or_else(|| fault(format!("has no input {}", facts.input)))?;
        // the host has checked that mean and std are there unless the input is of u8
        let norm = mean.zip(std).map_or(LEVELS, |(mean, std)| Normalization { mean, std });
        let other_inputs = inputs.iter().filter_map(|port| {
            let (_, value) = facts.other_inputs.iter().find(|(name, _)| *name == port.name)?;
            Some((port.clone(), *value))
        });
        let decoder = Decoder::new(&facts);
        let run = match (facts.layout, input.dimensions.first()) {
            (PixelLayout::Chw | PixelLayout::Hwc, _) => Run::Exactly(1),
            (_, Some(0)) if decoder.is_of_one_frame(&outputs) => Run::Exactly(1),
            (_, Some(0)) => Run::UpTo(MOST_FRAMES),
            (_, n) => Run::Exactly(n.map_or(1, |n| *n as usize)),
        };
        let format = PictureFormat {
            size: Size { width: 0, height: 0 },
            fit: facts.fit,
            fill: facts.fill,
            norm,
            layout: facts.layout,
            channels: facts.channels,
            element: input.element,
        };
        Ok(Self {
            network: Network::load(model)?,
            format,
            other_inputs: other_inputs.collect(),
            decoder,
            long_sides: long_sides.to_vec(),
            run,
            score: score.unwrap_or(facts.score),
            facts,
        })
    }

    /// Whether it gives COCO key points with each person.
    #[must_use]
    pub const fn has_keypoints(&self) -> bool {
        matches!(self.facts.heads, Heads::Movenet)
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
        self.people(&self.look(batch, frames, long_sides)?)
    }

    /// Queues what [`detect_at`](Self::detect_at) waits for: until its [`people`](Self::people) are asked for, other work may be done.
    ///
    /// # Errors
    /// As [`detect`](Self::detect).
    pub fn look(&self, batch: &FrameBatch, frames: &[u32], long_sides: &[u32]) -> Result<Look, Failure> {
        let (Run::UpTo(most) | Run::Exactly(most)) = self.run;
        let group = |frames: &[u32]| {
            let runs = self.sizes(batch.size(), long_sides).into_iter().map(|size| self.queue(batch, frames, size));
            Ok((frames.len(), runs.collect::<Result<_, _>>()?))
        };
        Ok(Look { groups: frames.chunks(most).map(group).collect::<Result<_, Failure>>()? })
    }

    /// The people of each frame of a look. Waits for them.
    ///
    /// # Errors
    /// As [`detect`](Self::detect).
    pub fn people(&self, look: &Look) -> Result<Vec<Vec<PersonBox>>, Failure> {
        let limit = self.facts.most as usize;
        let mut people = Vec::new();
        for (frames, runs) in &look.groups {
            let mut found = vec![Vec::new(); *frames];
            for run in runs {
                self.decoder.decode(run, self.options(), &mut found)?;
            }
            people.extend(found.into_iter().map(|found| match &runs[..] {
                [_] => found,
                _ => detector::merge(found, self.facts.overlap, limit),
            }));
        }
        Ok(people)
    }

    fn options(&self) -> detector::BoxOptions {
        detector::BoxOptions { min_score: self.score, max_overlap: self.facts.overlap, limit: self.facts.most as usize }
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

    /// Queues a run, of at least one frame and at most as many as it takes.
    fn queue(&self, batch: &FrameBatch, frames: &[u32], size: Size) -> Result<Queued, Failure> {
        let mut frames = frames.to_vec();
        if let (Run::Exactly(n), Some(last)) = (self.run, frames.last().copied()) {
            frames.resize(n, last);
        }
        let fitted = batch.fitted(&frames, PictureFormat { size, ..self.format }).map_err(failed)?;
        let map = Letterbox { scale: [fitted.scale_x, fitted.scale_y], offset: [fitted.offset_x, fitted.offset_y] };
        let mut inputs = vec![(self.facts.input.clone(), fitted.tensor)];
        for (port, value) in &self.other_inputs {
            inputs.push((port.name.clone(), other_input(port, *value, frames.len() as u32, size)));
        }
        let outputs = self.network.compute(inputs)?;
        Ok(Queued { map, input: (size.width, size.height), frames: frames.len(), outputs })
    }
}

/// What an input beside the picture is given.
fn other_input(port: &Port, value: InputValue, frames: u32, size: Size) -> Tensor {
    let rank = port.dimensions.len();
    // free dimensions: how many pictures, and last their height and width
    let free = |(i, stated): (usize, &u32)| match (stated, i) {
        (0, 0) => frames,
        (0, i) if i + 1 == rank => size.width,
        (0, _) => size.height,
        (stated, _) => *stated,
    };
    let dims: Vec<u32> = port.dimensions.iter().enumerate().map(free).collect();
    let ty: TensorType = port.element;
    match value {
        InputValue::Ones => convert::repeated(&dims, ty, &[1]),
        InputValue::HeightWidth => convert::repeated(&dims, ty, &[size.height, size.width]),
        InputValue::WidthHeight => convert::repeated(&dims, ty, &[size.width, size.height]),
    }
}
