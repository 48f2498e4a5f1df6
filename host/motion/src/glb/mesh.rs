//! The skinned mesh of a body: what all people share, and what each one's shape changes.

use std::collections::BTreeMap;

use gltf_json::accessor::Accessor;
use gltf_json::buffer::Target;
use gltf_json::material::{Material, PbrBaseColorFactor, PbrMetallicRoughness, StrengthFactor};
use gltf_json::mesh::{Mesh, Mode, Primitive, Semantic};
use gltf_json::validation::Checked::Valid;
use gltf_json::{Index, scene, skin};
use halfpipe_kit::poses::JOINTS;
use halfpipe_kit::rotation::Vec3;

use super::buffer::Document;
use crate::rig::{BodyRig, Shaped};

/// Accessors and the material that all people of a file share.
pub(super) struct SharedMesh {
    indices: Index<Accessor>,
    joints: Index<Accessor>,
    weights: Index<Accessor>,
    material: Index<Material>,
}

impl SharedMesh {
    pub fn new(document: &mut Document, rig: &BodyRig, colour: [u8; 3]) -> Self {
        let (joints, weights): (Vec<_>, Vec<_>) = rig.skin_joints.iter().zip(&rig.skin_weights).map(|(j, w)| influences(*j, *w)).unzip();
        let [r, g, b] = colour.map(linear);
        let material = document.root.push(Material {
            name: Some("body".into()),
            pbr_metallic_roughness: PbrMetallicRoughness {
                base_color_factor: PbrBaseColorFactor([r, g, b, 1.0]),
                metallic_factor: StrengthFactor(0.0),
                roughness_factor: StrengthFactor(0.8),
                ..PbrMetallicRoughness::default()
            },
            ..Material::default()
        });
        Self {
            indices: document.indices(rig.faces.as_flattened(), rig.vertices.len()),
            joints: document.bytes4(&joints),
            weights: document.floats(&weights, Some(Target::ArrayBuffer), false),
            material,
        }
    }

    /// One person's mesh.
    pub fn person(&self, document: &mut Document, name: &str, rig: &BodyRig, shaped: &Shaped) -> Index<Mesh> {
        let positions = document.floats(&shaped.vertices, Some(Target::ArrayBuffer), true);
        let normals = document.floats(&normals(&shaped.vertices, &rig.faces), Some(Target::ArrayBuffer), false);
        let attributes = BTreeMap::from([
            (Valid(Semantic::Positions), positions),
            (Valid(Semantic::Normals), normals),
            (Valid(Semantic::Joints(0)), self.joints),
            (Valid(Semantic::Weights(0)), self.weights),
        ]);
        let primitive = Primitive {
            attributes,
            extensions: None,
            extras: None,
            indices: Some(self.indices),
            material: Some(self.material),
            mode: Valid(Mode::Triangles),
            targets: None,
        };
        document.root.push(Mesh { extensions: None, extras: None, name: Some(name.into()), primitives: vec![primitive], weights: None })
    }
}

/// The skin that binds a shaped mesh in its rest pose to joint nodes: `inverse bind = [B^T | -B^T J]`.
pub(super) fn skin(document: &mut Document, name: &str, shaped: &Shaped, joints: &[Index<scene::Node>; JOINTS]) -> Index<skin::Skin> {
    let inverse_binds: [[f32; 16]; JOINTS] = std::array::from_fn(|k| {
        let rotation = shaped.bind[k].transpose();
        let translation = -(rotation * shaped.joints[k]);
        // by columns; the last row must be exactly 0 0 0 1
        std::array::from_fn(|i| match (i / 4, i % 4) {
            (3, 3) => 1.0,
            (_, 3) => 0.0,
            (3, row) => translation[row] as f32,
            (column, row) => rotation[(row, column)] as f32,
        })
    });
    let inverse_bind_matrices = Some(document.floats(&inverse_binds, None, false));
    document.root.push(skin::Skin {
        extensions: None,
        extras: None,
        inverse_bind_matrices,
        joints: joints.to_vec(),
        name: Some(name.into()),
        skeleton: Some(joints[0]),
    })
}

/// Skin entries as glTF wants them: every joint once, joint 0 where the weight is 0, weights that add up to 1.
fn influences(joints: [u16; 4], weights: [f32; 4]) -> ([u8; 4], [f32; 4]) {
    let mut sums: BTreeMap<u16, f64> = BTreeMap::new();
    for (joint, weight) in joints.into_iter().zip(weights).filter(|(_, w)| *w > 0.0) {
        *sums.entry(joint).or_default() += f64::from(weight);
    }
    let total: f64 = sums.values().sum();
    let (mut out_joints, mut out_weights) = ([0; 4], [0.0; 4]);
    for (slot, (joint, weight)) in sums.into_iter().enumerate() {
        // the rig's check keeps joints below 24
        out_joints[slot] = joint as u8;
        out_weights[slot] = (weight / total) as f32;
    }
    (out_joints, out_weights)
}

/// Unit normals, each the mean of its faces' normals weighted by area.
fn normals(vertices: &[[f32; 3]], faces: &[[u32; 3]]) -> Vec<[f32; 3]> {
    let point = |i: u32| Vec3::from(vertices[i as usize].map(f64::from));
    let mut sums = vec![Vec3::zeros(); vertices.len()];
    for &[a, b, c] in faces {
        let normal = (point(b) - point(a)).cross(&(point(c) - point(a)));
        for i in [a, b, c] {
            sums[i as usize] += normal;
        }
    }
    // a vertex without area around it is never lit; any direction will do, but the format wants one
    sums.iter().map(|n| n.try_normalize(1e-30).unwrap_or_else(Vec3::y)).map(|n| [n.x as f32, n.y as f32, n.z as f32]).collect()
}

/// An sRGB component as glTF wants it, linear (IEC 61966-2-1).
fn linear(srgb: u8) -> f32 {
    let c = f32::from(srgb) / 255.0;
    if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skin_entries_are_unique_and_add_up() {
        assert_eq!(influences([3, 3, 7, 2], [0.25, 0.25, 0.5, 0.0]), ([3, 7, 0, 0], [0.5, 0.5, 0.0, 0.0]));
        let (_, w) = influences([0, 1, 2, 3], [0.3, 0.3, 0.3, 0.095]);
        assert!((w.iter().map(|v| f64::from(*v)).sum::<f64>() - 1.0).abs() < 2e-7, "{w:?}");
    }

    #[test]
    fn normals_point_out_of_a_tetrahedron_and_lone_vertices_get_one() {
        let v = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [9.0, 9.0, 9.0]];
        let n = normals(&v, &[[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]);
        for (v, n) in v.iter().zip(&n).take(4) {
            let outward: f32 = v.iter().zip(n).map(|(v, n)| (v - 0.25) * n).sum();
            assert!(outward > 0.0, "{v:?} {n:?}");
        }
        assert_eq!(n[4], [0.0, 1.0, 0.0]);
    }
}
