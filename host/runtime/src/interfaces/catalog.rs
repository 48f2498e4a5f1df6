//! `halfpipe:job/catalog`: rigs and model facts as data.

use halfpipe_core as core;
use halfpipe_nn::catalog::{self, Entry};

use crate::bindings::halfpipe::job::catalog::{
    BoxFormat, BoxHeads, BoxUnits, Detector, FlexibleSize, Heads, Host, InputSize, Joint, Landmark, ModelFacts, Port, Rig, ScoreKind,
};
use crate::bindings::halfpipe::media::errors::Error;
use crate::bindings::halfpipe::media::frames::{Fit, Size};
use crate::bindings::halfpipe::scene::meshes::{Mat3, Vec3};
use crate::error::HostError;
use crate::state::JobState;

const fn vec3(v: [f32; 3]) -> Vec3 {
    Vec3 { x: v[0], y: v[1], z: v[2] }
}

fn detector(entry: &catalog::DetectorEntry) -> Detector {
    Detector {
        input: entry.input.clone(),
        fit: match entry.fit {
            core::Fit::LetterboxCorner => Fit::LetterboxCorner,
            core::Fit::LetterboxCenter => Fit::LetterboxCenter,
            core::Fit::Stretch => Fit::Stretch,
        },
        fill: entry.fill,
        size: match entry.size {
            catalog::InputSize::Fixed { width, height } => InputSize::Fixed(Size { width, height }),
            catalog::InputSize::Flexible { multiple, long_side } => InputSize::Flexible(FlexibleSize { multiple, long_side }),
        },
        heads: match &entry.heads {
            catalog::Heads::Boxes(heads) => Heads::Boxes(box_heads(heads)),
            catalog::Heads::Movenet => Heads::Movenet,
        },
        score: entry.score,
        overlap: entry.overlap,
    }
}

fn box_heads(heads: &catalog::BoxHeads) -> BoxHeads {
    BoxHeads {
        boxes: heads.boxes.clone(),
        format: match heads.format {
            catalog::BoxFormat::Xyxy => BoxFormat::Xyxy,
            catalog::BoxFormat::Yxyx => BoxFormat::Yxyx,
            catalog::BoxFormat::Cxcywh => BoxFormat::Cxcywh,
        },
        units: match heads.units {
            catalog::BoxUnits::Pixels => BoxUnits::Pixels,
            catalog::BoxUnits::Normalized => BoxUnits::Normalized,
        },
        scores: heads.scores.clone(),
        score_kind: match heads.score_kind {
            catalog::ScoreKind::Single => ScoreKind::Single,
            catalog::ScoreKind::PerClass => ScoreKind::PerClass,
        },
        classes: heads.classes.clone(),
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
        let ports = |ports: &[halfpipe_nn::catalog::PortEntry]| {
            ports.iter().map(|p| Port { name: p.name.clone(), dimensions: p.dims.iter().map(|d| *d as u32).collect() }).collect()
        };
        let (mean, std, detector) = match entry {
            Entry::Model(model) => (model.mean, model.std, model.detector.as_ref().map(detector)),
            Entry::Body(_) => (None, None, None),
        };
        let triple = |v: Option<[f32; 3]>| v.map(|v| (v[0], v[1], v[2]));
        let (inputs, outputs) = (ports(entry.inputs()), ports(entry.outputs()));
        Ok(ModelFacts { inputs, outputs, mean: triple(mean), std: triple(std), detector })
    }
}
