//! A body's rig: the template mesh, its faces, joints, skinning weights, shape directions and landmarks.
//!
//! The body's ONNX model does the skinning; the rig tells a guest what it needs to fit and place a body, and the renderer
//! which faces the vertices make up. Body axes: x to the body's left, y up, z to its front, metres. The tensors carry the
//! names of the SMPL model's (Loper et al., "SMPL: A Skinned Multi-Person Linear Model", 2015, section 3).

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use halfpipe_core::Topology;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, Metadata};

use crate::NnError;
use crate::catalog::{BodyEntry, read_verified};

/// Joints of every body: those of SMPL, in its order.
pub const JOINTS: usize = 24;

/// A body's rig. V vertices, K shape parameters, 24 joints, L landmarks.
#[derive(Debug, Clone, PartialEq)]
pub struct BodyRig {
    /// Catalog name of the body.
    pub name: String,
    /// `[V]`: vertices of the mean shape at rest.
    pub v_template: Vec<[f32; 3]>,
    /// `[V, 3, K]`, row-major: change of a vertex for one unit of each shape parameter, metres.
    pub shapedirs: Vec<f32>,
    /// Triangles, counter-clockwise seen from outside.
    pub faces: Vec<[u32; 3]>,
    /// `[V]`: joints that move a vertex.
    pub skin_index: Vec<[u16; 4]>,
    /// `[V]`: how much each of them does; adds up to 1.
    pub skin_weight: Vec<[f32; 4]>,
    /// Parent of each joint, which stands before it; none for the root.
    pub parents: Vec<Option<u32>>,
    /// `[24]`: joints of the mean shape at rest.
    pub j_template: Vec<[f32; 3]>,
    /// `[24, 3, K]`, row-major: change of a joint for one unit of each shape parameter, metres.
    pub j_shapedirs: Vec<f32>,
    /// `[24]`, rows: rotation from the T pose (all local rotations are identity) to the mesh's own rest pose.
    pub bind_rotation: Vec<[[f32; 3]; 3]>,
    /// `[L]`: the vertex that stands for a landmark.
    pub landmark_vertex: Vec<u32>,
    /// `[24]`.
    pub joint_names: Vec<String>,
    /// `[K]`, in the order of the model's `shape` input.
    pub shape_names: Vec<String>,
    /// `[L]`.
    pub landmark_names: Vec<String>,
}

impl BodyRig {
    /// Loads and checks the rig of a catalogued body; its file must have the catalog's digest.
    ///
    /// # Errors
    /// [`NnError::Catalog`] where the file is missing or altered, [`NnError::Rig`] where it does not hold what it must.
    pub fn load(entry: &BodyEntry, models_dir: &Path) -> Result<Self, NnError> {
        let bytes = read_verified(entry.rig(), models_dir)?;
        let wrong = |message| NnError::Rig { path: models_dir.join(&entry.rig), message };
        let rig = Self::parse(&entry.name, &bytes).map_err(wrong)?;
        let found = (rig.v_template.len(), rig.faces.len());
        if found != (entry.vertices as usize, entry.faces as usize) {
            let text =
                format!("it has {} vertices and {} faces, the catalog says {} and {}", found.0, found.1, entry.vertices, entry.faces);
            return Err(wrong(text));
        }
        Ok(rig)
    }

    /// The faces, in the form the renderer shares among bodies.
    #[must_use]
    pub fn topology(&self) -> Arc<Topology> {
        // both counts were read from a file whose indices are u32
        Arc::new(Topology { vertices: self.v_template.len() as u32, faces: self.faces.clone() })
    }

    /// Number of shape parameters, K.
    #[must_use]
    pub fn shapes(&self) -> usize {
        self.shape_names.len()
    }

    /// Change of joint `joint` (0..24) for one unit of each shape parameter: K vectors, metres.
    #[must_use]
    pub fn joint_shape(&self, joint: usize) -> Vec<[f32; 3]> {
        directions(&self.j_shapedirs, joint, self.shapes())
    }

    /// Change of vertex `vertex` (0..V) for one unit of each shape parameter: K vectors, metres.
    #[must_use]
    pub fn vertex_shape(&self, vertex: usize) -> Vec<[f32; 3]> {
        directions(&self.shapedirs, vertex, self.shapes())
    }

    fn parse(name: &str, bytes: &[u8]) -> Result<Self, String> {
        let file = SafeTensors::deserialize(bytes).map_err(|e| format!("it is not a safetensors file: {e}"))?;
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| format!("it is not a safetensors file: {e}"))?;
        let [joint_names, shape_names, landmark_names] = ["joint_names", "shape_names", "landmark_names"].map(|key| names(&metadata, key));
        let (joint_names, shape_names, landmark_names) = (joint_names?, shape_names?, landmark_names?);
        if joint_names.len() != JOINTS {
            return Err(format!("it names {} joints, not {JOINTS}", joint_names.len()));
        }
        let (k, marks) = (shape_names.len(), landmark_names.len());
        let v = file.tensor("v_template").map_err(|e| format!("`v_template`: {e}"))?.shape().first().copied().unwrap_or(0);
        let f = file.tensor("faces").map_err(|e| format!("`faces`: {e}"))?.shape().first().copied().unwrap_or(0);
        let read = Reader { file: &file };
        let rig = Self {
            name: name.to_owned(),
            v_template: read.floats("v_template", &[v, 3])?.as_chunks().0.to_vec(),
            shapedirs: read.floats("shapedirs", &[v, 3, k])?,
            faces: read.values("faces", Dtype::U32, &[f, 3], u32::from_le_bytes)?.as_chunks().0.to_vec(),
            skin_index: read.values("skin_index", Dtype::U16, &[v, 4], u16::from_le_bytes)?.as_chunks().0.to_vec(),
            skin_weight: read.floats("skin_weight", &[v, 4])?.as_chunks().0.to_vec(),
            parents: parents(&read.values("parents", Dtype::I32, &[JOINTS], i32::from_le_bytes)?)?,
            j_template: read.floats("j_template", &[JOINTS, 3])?.as_chunks().0.to_vec(),
            j_shapedirs: read.floats("j_shapedirs", &[JOINTS, 3, k])?,
            bind_rotation: read.floats("bind_rotation", &[JOINTS, 3, 3])?.as_chunks().0.as_chunks().0.to_vec(),
            landmark_vertex: read.values("landmark_vertex", Dtype::U32, &[marks], u32::from_le_bytes)?,
            joint_names,
            shape_names,
            landmark_names,
        };
        rig.check()?;
        Ok(rig)
    }

    fn check(&self) -> Result<(), String> {
        let vertices = u32::try_from(self.v_template.len()).map_err(|_| "it has more than 2^32 vertices".to_owned())?;
        if vertices == 0 || self.faces.is_empty() {
            return Err("it has no vertices or no faces".into());
        }
        if let Some(face) = self.faces.iter().flatten().find(|i| **i >= vertices) {
            return Err(format!("a face names vertex {face} of {vertices}"));
        }
        if let Some(vertex) = self.landmark_vertex.iter().find(|i| **i >= vertices) {
            return Err(format!("a landmark names vertex {vertex} of {vertices}"));
        }
        if let Some(joint) = self.skin_index.iter().flatten().find(|i| usize::from(**i) >= JOINTS) {
            return Err(format!("a vertex is moved by joint {joint} of {JOINTS}"));
        }
        let unit = |w: &[f32; 4]| w.iter().all(|v| *v >= 0.0) && (w.iter().sum::<f32>() - 1.0).abs() < 1e-3;
        if let Some(i) = self.skin_weight.iter().position(|w| !unit(w)) {
            return Err(format!("the skin weights of vertex {i} are negative or do not add up to 1"));
        }
        Ok(())
    }
}

/// K vectors out of row `row` of `[rows, 3, K]`.
fn directions(values: &[f32], row: usize, k: usize) -> Vec<[f32; 3]> {
    let of = &values[row * 3 * k..(row + 1) * 3 * k];
    (0..k).map(|i| [of[i], of[k + i], of[2 * k + i]]).collect()
}

fn names(metadata: &Metadata, key: &str) -> Result<Vec<String>, String> {
    let none = HashMap::new();
    let text = metadata.metadata().as_ref().unwrap_or(&none).get(key).ok_or_else(|| format!("its metadata has no `{key}`"))?;
    let names: Vec<String> = serde_json::from_str(text).map_err(|e| format!("`{key}` is not a JSON array of strings: {e}"))?;
    let mut seen = HashSet::new();
    match names.iter().find(|n| !seen.insert(*n)) {
        Some(twice) => Err(format!("`{key}` has `{twice}` twice")),
        None => Ok(names),
    }
}

fn parents(raw: &[i32]) -> Result<Vec<Option<u32>>, String> {
    let parent = |(i, &p): (usize, &i32)| match (i, u32::try_from(p)) {
        (0, Err(_)) if p == -1 => Ok(None),
        (1.., Ok(p)) if (p as usize) < i => Ok(Some(p)),
        _ => Err(format!("the parent of joint {i} is {p}; joint 0 is the root (-1) and every parent stands before its children")),
    };
    raw.iter().enumerate().map(parent).collect()
}

struct Reader<'a> {
    file: &'a SafeTensors<'a>,
}

impl Reader<'_> {
    fn floats(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
        let values = self.values(name, Dtype::F32, shape, f32::from_le_bytes)?;
        match values.iter().position(|v| !v.is_finite()) {
            Some(i) => Err(format!("element {i} of `{name}` is not a finite number")),
            None => Ok(values),
        }
    }

    fn values<T, const N: usize>(&self, name: &str, ty: Dtype, shape: &[usize], read: fn([u8; N]) -> T) -> Result<Vec<T>, String> {
        let view = self.file.tensor(name).map_err(|e| format!("`{name}`: {e}"))?;
        if view.dtype() != ty || view.shape() != shape {
            return Err(format!("`{name}` is {:?} {:?}, not {ty:?} {shape:?}", view.dtype(), view.shape()));
        }
        // safetensors checked that the data is as long as type and shape say
        Ok(view.data().as_chunks().0.iter().copied().map(read).collect())
    }
}

#[cfg(test)]
mod tests;
