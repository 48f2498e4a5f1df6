//! `halfpipe:job/catalog`: rigs and model facts as data.

use crate::bindings::halfpipe::job::catalog::{Host, Joint, Landmark, ModelFacts, Port, Rig};
use crate::bindings::halfpipe::media::errors::Error;
use crate::bindings::halfpipe::scene::meshes::{Mat3, Vec3};
use crate::error::HostError;
use crate::state::JobState;

const fn vec3(v: [f32; 3]) -> Vec3 {
    Vec3 { x: v[0], y: v[1], z: v[2] }
}

impl Host for JobState {
    async fn body(&mut self, name: String) -> Result<Rig, HostError> {
        self.touch();
        let rig = self.body(&name)?;
        let joints = rig
            .joints
            .iter()
            .map(|j| Joint {
                name: j.name.clone(),
                parent: j.parent.map(|p| p as u32),
                rest: vec3(j.rest),
                shape: j.shape.iter().copied().map(vec3).collect(),
                bind: Mat3 { row0: vec3(j.bind[0]), row1: vec3(j.bind[1]), row2: vec3(j.bind[2]) },
            })
            .collect();
        let landmarks = rig
            .landmarks
            .iter()
            .map(|l| Landmark {
                name: l.name.clone(),
                rest: vec3(l.rest),
                shape: l.shape.iter().copied().map(vec3).collect(),
                bones: l.bones.clone(),
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
        let facts = self.shared()?.catalog.model(&name).map_err(|e| Error::NotFound(e.to_string()))?;
        let ports = |ports: &[halfpipe_nn::Port]| {
            ports.iter().map(|p| Port { name: p.name.clone(), dimensions: p.dims.iter().map(|d| *d as u32).collect() }).collect()
        };
        let triple = |v: Option<[f32; 3]>| v.map(|v| (v[0], v[1], v[2]));
        Ok(ModelFacts { inputs: ports(&facts.inputs), outputs: ports(&facts.outputs), mean: triple(facts.mean), std: triple(facts.std) })
    }
}
