//! `halfpipe:job/catalog`: rigs and model facts as data.

use halfpipe_core as core;
use halfpipe_nn::catalog::{self, Entry};
use halfpipe_nn::image;

use crate::bindings::halfpipe::job::catalog::{
    BoxFormat, BoxHeads, BoxUnits, Columns, Detector, FlexibleSize, Heads, Host, InputSize, InputValue, Joint, Landmark, ModelFacts, Port,
    Rig, ScoreForm, ScoreKind,
};
use crate::bindings::halfpipe::media::errors::Error;
use crate::bindings::halfpipe::media::frames::{ChannelOrder, Fit, PixelLayout, Size};
use crate::bindings::halfpipe::scene::meshes::{Mat3, Vec3};
use crate::error::HostError;
use crate::resources::wit_type;
use crate::state::JobState;

const fn vec3(v: [f32; 3]) -> Vec3 {
    Vec3 { x: v[0], y: v[1], z: v[2] }
}

fn detector(entry: &catalog::DetectorEntry) -> Detector {
    let [red, green, blue] = entry.fill();
    let other_inputs = entry.other_inputs.iter().map(|(name, value)| {
        let value = match value {
            catalog::InputValue::Ones => InputValue::Ones,
            catalog::InputValue::HeightWidth => InputValue::HeightWidth,
            catalog::InputValue::WidthHeight => InputValue::WidthHeight,
        };
        (name.clone(), value)
    });
    Detector {
        input: entry.input.clone(),
        layout: match entry.layout {
            image::PixelLayout::Nchw => PixelLayout::Nchw,
            image::PixelLayout::Nhwc => PixelLayout::Nhwc,
            image::PixelLayout::Chw => PixelLayout::Chw,
            image::PixelLayout::Hwc => PixelLayout::Hwc,
        },
        channels: match entry.channels {
            image::ChannelOrder::Rgb => ChannelOrder::Rgb,
            image::ChannelOrder::Bgr => ChannelOrder::Bgr,
        },
        fit: match entry.fit {
            core::Fit::LetterboxCorner => Fit::LetterboxCorner,
            core::Fit::LetterboxCenter => Fit::LetterboxCenter,
            core::Fit::Stretch => Fit::Stretch,
        },
        fill: (red, green, blue),
        size: match entry.size {
            catalog::InputSize::Fixed { width, height } => InputSize::Fixed(Size { width, height }),
            catalog::InputSize::Flexible { multiple, long_side } => InputSize::Flexible(FlexibleSize { multiple, long_side }),
        },
        other_inputs: other_inputs.collect(),
        heads: match &entry.heads {
            catalog::Heads::Boxes(heads) => Heads::Boxes(box_heads(heads)),
            catalog::Heads::Movenet => Heads::Movenet,
        },
        score: entry.score,
        overlap: entry.overlap,
        most: entry.most,
    }
}

fn columns(columns: &catalog::Columns) -> Columns {
    Columns { output: columns.output.clone(), first: columns.column, candidates_last: columns.candidates == catalog::CandidateAxis::Last }
}

fn box_heads(heads: &catalog::BoxHeads) -> BoxHeads {
    BoxHeads {
        boxes: columns(&heads.boxes),
        format: match heads.format {
            catalog::BoxFormat::Xyxy => BoxFormat::Xyxy,
            catalog::BoxFormat::Yxyx => BoxFormat::Yxyx,
            catalog::BoxFormat::Xywh => BoxFormat::Xywh,
            catalog::BoxFormat::Cxcywh => BoxFormat::Cxcywh,
        },
        units: match heads.units {
            catalog::BoxUnits::Pixels => BoxUnits::Pixels,
            catalog::BoxUnits::Normalized => BoxUnits::Normalized,
        },
        grids: heads.grids.clone(),
        scores: columns(&heads.scores),
        score_kind: match heads.score_kind {
            catalog::ScoreKind::Single => ScoreKind::Single,
            catalog::ScoreKind::PerClass => ScoreKind::PerClass,
        },
        score_form: match heads.score_form {
            catalog::ScoreForm::Probability => ScoreForm::Probability,
            catalog::ScoreForm::Logit => ScoreForm::Logit,
            catalog::ScoreForm::Softmax => ScoreForm::Softmax,
        },
        class_count: heads.class_count,
        objectness: heads.objectness.as_ref().map(columns),
        classes: heads.classes.as_ref().map(columns),
        frames: heads.frames.as_ref().map(columns),
        count: heads.count.clone(),
        person: heads.person,
        suppressed: heads.suppressed,
    }
}

impl Host for JobState {
    async fn body(&mut self, name: String) -> Result<Rig, HostError> {
        self.touch();
        let rig = self.rig(&name)?;
        let joints = (0..rig.joint_names.len())
            .map(|j| {
                let [row0, row1, row2] = rig.bind_rotation[j].map(vec3);
                Joint {
                    name: rig.joint_names[j].clone(),
                    parent: rig.parents[j],
                    rest: vec3(rig.j_template[j]),
                    shape: rig.joint_shape(j).into_iter().map(vec3).collect(),
                    bind: Mat3 { row0, row1, row2 },
                }
            })
            .collect();
        let landmarks = rig
            .landmark_names
            .iter()
            .zip(&rig.landmark_vertex)
            .map(|(name, vertex)| {
                let v = *vertex as usize;
                let bones = rig.skin_index[v].iter().zip(rig.skin_weight[v]).filter(|(_, w)| *w > 0.0);
                Landmark {
                    name: name.clone(),
                    rest: vec3(rig.v_template[v]),
                    shape: rig.vertex_shape(v).into_iter().map(vec3).collect(),
                    bones: bones.map(|(bone, weight)| (u32::from(*bone), weight)).collect(),
                }
            })
            .collect();
        Ok(Rig { shape_names: rig.shape_names.clone(), joints, landmarks })
    }

    async fn model(&mut self, name: String) -> Result<ModelFacts, HostError> {
        self.touch();
        if !self.models.contains(&name) {
            let names = self.model_names();
            return Err(Error::Denied(format!("the model {name} is not among what this guest said it needs ({names})")).into());
        }
        let shared = self.shared()?;
        let entry = shared.catalog.entry(&name).map_err(|e| Error::NotFound(e.to_string()))?;
        let port = |p: &catalog::PortEntry| Port {
            name: p.name.clone(),
            element: wit_type(p.ty),
            dimensions: p.dims.iter().map(|d| *d as u32).collect(),
        };
        let ports = |ports: &[catalog::PortEntry]| ports.iter().map(port).collect();
        let (mean, std, detector) = match entry {
            Entry::Model(model) => (model.mean, model.std, model.detector.as_ref().map(detector)),
            Entry::Body(_) => (None, None, None),
        };
        let triple = |v: Option<[f32; 3]>| v.map(|v| (v[0], v[1], v[2]));
        let (inputs, outputs) = (ports(entry.inputs()), ports(entry.outputs()));
        Ok(ModelFacts { inputs, outputs, mean: triple(mean), std: triple(std), detector })
    }
}
