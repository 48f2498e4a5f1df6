//! Between the world's types and the kit's.

use halfpipe_kit::axes;
use halfpipe_kit::blazepose::Roi;
use halfpipe_kit::rig::{Joint, Rig, RigError, SurfacePoint};
use halfpipe_kit::rotation::Mat3;

use crate::host::exports::halfpipe::job::runner::Failure;
use crate::host::halfpipe::job::catalog;
use crate::host::halfpipe::media::frames::{Crop, Normalization};
use crate::host::halfpipe::scene::meshes::{Mat3 as WitMat3, Vec3 as WitVec3};
use crate::host::wasi::nn::tensor::{Tensor, TensorType};

fn point(v: &WitVec3) -> [f64; 3] {
    [v.x, v.y, v.z].map(f64::from)
}

/// The catalog's rig as the kit wants it.
pub fn rig(rig: catalog::Rig) -> Result<Rig, RigError> {
    let rows = |m: &WitMat3| [[m.row0.x, m.row0.y, m.row0.z], [m.row1.x, m.row1.y, m.row1.z], [m.row2.x, m.row2.y, m.row2.z]];
    let joints = rig.joints.iter().map(|j| Joint {
        name: j.name.clone(),
        parent: j.parent.map(|p| p as usize),
        rest: point(&j.rest),
        shape: j.shape.iter().map(point).collect(),
        bind: axes::from_rows(&rows(&j.bind)),
    });
    let surface = rig.landmarks.iter().map(|l| SurfacePoint {
        name: l.name.clone(),
        rest: point(&l.rest),
        shape: l.shape.iter().map(point).collect(),
        bones: l.bones.iter().map(|(bone, weight)| (*bone as usize, f64::from(*weight))).collect(),
    });
    Rig::new(rig.shape_names, joints.collect(), surface.collect())
}

/// A matrix by rows.
pub fn mat3(m: &[[f32; 3]; 3]) -> WitMat3 {
    let row = |r: [f32; 3]| WitVec3 { x: r[0], y: r[1], z: r[2] };
    WitMat3 { row0: row(m[0]), row1: row(m[1]), row2: row(m[2]) }
}

/// A point.
pub fn vec3(v: [f64; 3]) -> WitVec3 {
    WitVec3 { x: v[0] as f32, y: v[1] as f32, z: v[2] as f32 }
}

/// A crop of frame `frame` of a batch.
pub fn crop(frame: u32, roi: &Roi) -> Crop {
    Crop { frame, center_x: roi.center[0], center_y: roi.center[1], side: roi.side, rotation: roi.rotation }
}

/// Input normalisation of a model, as the catalog states it.
pub fn normalization(model: &str) -> Result<Normalization, Failure> {
    let facts = catalog::model(model).map_err(crate::host::failed)?;
    match (facts.mean, facts.std) {
        (Some(mean), Some(std)) => Ok(Normalization { mean, std }),
        _ => Err(Failure::BadModel(format!("the catalog entry of {model} lacks mean and std, which an image model needs"))),
    }
}

/// A tensor of f32.
pub fn tensor(dims: &[u32], values: &[f32]) -> Tensor {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    Tensor::new(dims, TensorType::Fp32, &bytes)
}

/// The values of an f32 tensor.
pub fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// Rotations by rows, as the body model takes them.
pub fn push_rows(values: &mut Vec<f32>, m: &Mat3) {
    values.extend(axes::rows(m).as_flattened());
}
