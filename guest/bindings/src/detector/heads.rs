//! From a run's outputs to people, as the catalog says what the outputs are.

use halfpipe_kit::detector::{
    BoxContract, BoxFormat, BoxOptions, BoxOutputs, BoxUnits, Boxes, Columns, Output, PersonBox, ScoreForm, ScoreKind,
};
use halfpipe_kit::movenet::{DetectOptions, Heads, STRIDE};

use super::Queued;
use crate::host::exports::halfpipe::job::runner::Failure;
use crate::host::halfpipe::job::catalog::{self, BoxHeads, Heads as WitHeads, Port};
use crate::models::Named;

/// What the outputs of a detector are.
pub enum Decoder {
    /// The six raw heads of MoveNet MultiPose.
    Movenet,
    /// Boxes and scores of candidates.
    Boxes(Box<BoxHeads>, BoxContract),
}

/// An output that has been read.
struct Read<'a> {
    name: &'a str,
    dims: Vec<usize>,
    values: Vec<f32>,
}

impl Decoder {
    /// The decoder of a detector of the catalog.
    pub fn new(facts: &catalog::Detector) -> Self {
        match &facts.heads {
            WitHeads::Movenet => Self::Movenet,
            WitHeads::Boxes(heads) => Self::Boxes(Box::new(heads.clone()), contract(heads)),
        }
    }

    /// Whether these outputs have no place for more than one frame.
    pub fn is_of_one_frame(&self, outputs: &[Port]) -> bool {
        match self {
            Self::Movenet => false,
            Self::Boxes(heads, _) => {
                let boxes = outputs.iter().find(|port| port.name == heads.boxes.output);
                heads.frames.is_none() && boxes.is_some_and(|port| port.dimensions.len() == 2)
            }
        }
    }

    /// Adds the people of each frame of a run to `found`.
    ///
    /// # Errors
    /// A model's fault: outputs that do not fit their description.
    pub fn decode(&self, run: &Queued, options: BoxOptions, found: &mut [Vec<PersonBox>]) -> Result<(), Failure> {
        match self {
            Self::Movenet => decode_movenet(run, options, found),
            Self::Boxes(heads, contract) => decode_boxes(heads, contract, run, options, found),
        }
    }
}

fn contract(heads: &BoxHeads) -> BoxContract {
    BoxContract {
        format: match heads.format {
            catalog::BoxFormat::Xyxy => BoxFormat::Xyxy,
            catalog::BoxFormat::Yxyx => BoxFormat::Yxyx,
            catalog::BoxFormat::Xywh => BoxFormat::Xywh,
            catalog::BoxFormat::Cxcywh => BoxFormat::CxCyWh,
        },
        units: match heads.units {
            catalog::BoxUnits::Pixels => BoxUnits::Pixels,
            catalog::BoxUnits::Normalized => BoxUnits::Normalized,
        },
        grids: heads.grids.clone(),
        score_kind: match heads.score_kind {
            catalog::ScoreKind::Single => ScoreKind::Single,
            catalog::ScoreKind::PerClass => ScoreKind::PerClass { classes: heads.class_count.map(|n| n as usize) },
        },
        score_form: match heads.score_form {
            catalog::ScoreForm::Probability => ScoreForm::Probability,
            catalog::ScoreForm::Logit => ScoreForm::Logit,
            catalog::ScoreForm::Softmax => ScoreForm::Softmax,
        },
        person: heads.person as usize,
        suppressed: heads.suppressed,
    }
}

fn decode_movenet(run: &Queued, options: BoxOptions, found: &mut [Vec<PersonBox>]) -> Result<(), Failure> {
    let outputs = &run.outputs;
    let [width, height] = [run.input.0, run.input.1].map(|side| side as usize / STRIDE as usize);
    let heads = Heads::new(run.frames, height, width, outputs);
    let BoxOptions { min_score, max_overlap, limit } = options;
    for (i, people) in found.iter_mut().enumerate() {
        let decoded = heads.decode(i, &run.map, &DetectOptions { min_score, max_overlap, limit })?;
        people.extend(decoded.into_iter().map(PersonBox::from));
    }
    Ok(())
}

fn decode_boxes(
    heads: &BoxHeads,
    contract: &BoxContract,
    run: &Queued,
    options: BoxOptions,
    found: &mut [Vec<PersonBox>],
) -> Result<(), Failure> {
    let further = [&heads.objectness, &heads.classes, &heads.frames].into_iter().flatten();
    let mut names: Vec<&str> = [&heads.boxes, &heads.scores].into_iter().chain(further).map(|c| c.output.as_str()).collect();
    names.extend(heads.count.as_deref());
    let read = read(&run.outputs, names)?;
    let output = |name: &str| {
        let read = read.iter().find(|r| r.name == name).ok_or_else(|| run.outputs.fault(format!("there is no output {name}")))?;
        Ok(Output { name: read.name, dims: &read.dims, values: &read.values })
    };
    let columns = |columns: &catalog::Columns| {
        output(&columns.output).map(|output| Columns { output, first: columns.first as usize, candidates_last: columns.candidates_last })
    };
    let maybe = |part: &Option<catalog::Columns>| part.as_ref().map(columns).transpose();
    let outputs = BoxOutputs {
        boxes: columns(&heads.boxes)?,
        scores: columns(&heads.scores)?,
        objectness: maybe(&heads.objectness)?,
        classes: maybe(&heads.classes)?,
        frames: maybe(&heads.frames)?,
        count: heads.count.as_deref().map(output).transpose()?,
    };
    let boxes = Boxes::new(contract, run.frames, run.input, &outputs).map_err(|e| run.outputs.fault(e))?;
    for (i, people) in found.iter_mut().enumerate() {
        people.extend(boxes.decode(i, &run.map, &options).map_err(|e| run.outputs.fault(e))?);
    }
    Ok(())
}

/// Reads each of these outputs once.
fn read<'a>(outputs: &Named, mut names: Vec<&'a str>) -> Result<Vec<Read<'a>>, Failure> {
    names.sort_unstable();
    names.dedup();
    let one = |name: &'a str| {
        let dims = outputs.get(name)?.dimensions().into_iter().map(|d| d as usize).collect();
        Ok(Read { name, dims, values: outputs.numbers(name)? })
    };
    names.into_iter().map(one).collect()
}
