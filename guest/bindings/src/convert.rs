//! Between the world's types and the kit's.

use half::{bf16, f16};
use halfpipe_kit::axes;
use halfpipe_kit::rig::{Joint, Rig, RigError, SurfacePoint};
use halfpipe_kit::rotation::Mat3;

use crate::host::exports::halfpipe::job::runner::Failure;
use crate::host::halfpipe::job::catalog;
use crate::host::halfpipe::media::frames::Normalization;
use crate::host::halfpipe::scene::meshes::{Mat3 as WitMat3, Vec3 as WitVec3};
use crate::host::wasi::nn::tensor::{Tensor, TensorType};

/// The rig of a body of the catalog, as the kit wants it.
///
/// # Errors
/// A model's fault: no such body, or a rig that does not fit.
pub fn body_rig(name: &str) -> Result<Rig, Failure> {
    let found = catalog::body(name).map_err(crate::host::failed)?;
    rig(found).map_err(|e| Failure::BadModel(format!("{name}: {e}")))
}

fn point(v: &WitVec3) -> [f64; 3] {
    [v.x, v.y, v.z].map(f64::from)
}

/// The catalog's rig as the kit wants it.
fn rig(rig: catalog::Rig) -> Result<Rig, RigError> {
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

/// Input normalisation of a model, as the catalog states it.
///
/// # Errors
/// A model's fault: there is no such model, or its entry states no normalisation.
pub fn normalization(model: &str) -> Result<Normalization, Failure> {
    let facts = catalog::model(model).map_err(crate::host::failed)?;
    normalization_of(model, &facts)
}

/// The same out of facts at hand.
///
/// # Errors
/// A model's fault: its entry states no normalisation.
pub fn normalization_of(model: &str, facts: &catalog::ModelFacts) -> Result<Normalization, Failure> {
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

/// The values of a tensor, where its bytes lie.
pub struct Floats(Place);

enum Place {
    InPlace(Vec<u8>),
    /// The bytes did not lie as numbers must.
    Copied(Vec<f32>),
}

impl Floats {
    /// Those of a tensor of f32. Waits for them.
    pub fn of(tensor: &Tensor) -> Self {
        Self::new(tensor.data())
    }

    /// Those in `bytes`, which are little-endian, as this processor's numbers are.
    pub fn new(bytes: Vec<u8>) -> Self {
        match bytemuck::try_cast_slice::<u8, f32>(&bytes) {
            Ok(_) => Self(Place::InPlace(bytes)),
            Err(_) => Self(Place::Copied(from_bytes(&bytes, f32::from_le_bytes))),
        }
    }
}

impl std::ops::Deref for Floats {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &self.0 {
            Place::InPlace(bytes) => bytemuck::cast_slice(bytes),
            Place::Copied(values) => values,
        }
    }
}

/// The values of a tensor of any type as f32.
pub fn numbers(tensor: &Tensor) -> Vec<f32> {
    let data = tensor.data();
    match tensor.ty() {
        TensorType::Fp16 => from_bytes(&data, |b| f16::from_le_bytes(b).to_f32()),
        TensorType::Bf16 => from_bytes(&data, |b| bf16::from_le_bytes(b).to_f32()),
        TensorType::Fp32 => from_bytes(&data, f32::from_le_bytes),
        TensorType::Fp64 => from_bytes(&data, |b| f64::from_le_bytes(b) as f32),
        TensorType::U8 => data.into_iter().map(f32::from).collect(),
        TensorType::I32 => from_bytes(&data, |b| i32::from_le_bytes(b) as f32),
        TensorType::I64 => from_bytes(&data, |b| i64::from_le_bytes(b) as f32),
    }
}

/// A tensor of these whole numbers, over and over until it is full.
pub fn repeated(dims: &[u32], ty: TensorType, values: &[u32]) -> Tensor {
    let one = |value: &u32| match ty {
        TensorType::Fp16 => f16::from_f32(*value as f32).to_le_bytes().to_vec(),
        TensorType::Bf16 => bf16::from_f32(*value as f32).to_le_bytes().to_vec(),
        TensorType::Fp32 => (*value as f32).to_le_bytes().to_vec(),
        TensorType::Fp64 => f64::from(*value).to_le_bytes().to_vec(),
        TensorType::U8 => vec![u8::try_from(*value).unwrap_or(u8::MAX)],
        TensorType::I32 => i32::try_from(*value).unwrap_or(i32::MAX).to_le_bytes().to_vec(),
        TensorType::I64 => i64::from(*value).to_le_bytes().to_vec(),
    };
    let len = dims.iter().map(|d| *d as usize).product();
    let data: Vec<u8> = values.iter().cycle().take(len).flat_map(one).collect();
    Tensor::new(dims, ty, &data)
}

fn from_bytes<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|chunk| value(*chunk)).collect()
}

/// Rotations by rows, as the body model takes them.
pub fn push_rows(values: &mut Vec<f32>, m: &Mat3) {
    values.extend(axes::rows(m).as_flattened());
}
