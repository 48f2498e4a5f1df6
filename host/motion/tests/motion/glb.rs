//! Reads a .glb file and plays it, knowing the format's specification and nothing of the writer.

use halfpipe_kit::rotation::{Mat3, Vec3};
use nalgebra::{Matrix4, Quaternion, UnitQuaternion};
use serde_json::Value;

pub struct Glb {
    pub json: Value,
    bytes: Vec<u8>,
}

impl Glb {
    pub fn parse(file: &[u8]) -> Self {
        let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
        assert_eq!(&file[..4], b"glTF");
        assert_eq!((word(4), word(8) as usize), (2, file.len()));
        let json_length = word(12) as usize;
        assert_eq!((&file[16..20], json_length % 4), (&b"JSON"[..], 0));
        let json = serde_json::from_slice(&file[20..20 + json_length]).unwrap();
        let rest = &file[20 + json_length..];
        let bytes = if rest.is_empty() {
            vec![]
        } else {
            assert_eq!(&rest[4..8], b"BIN\0");
            rest[8..].to_vec()
        };
        Self { json, bytes }
    }

    pub fn list(&self, name: &str) -> &[Value] {
        self.json[name].as_array().map_or(&[], Vec::as_slice)
    }

    /// Index of the node of that name below `root`, or anywhere.
    pub fn node(&self, root: Option<usize>, name: &str) -> usize {
        let found = |i: &usize| self.list("nodes")[*i]["name"] == name && root.is_none_or(|r| self.ancestors(*i).contains(&r));
        (0..self.list("nodes").len()).find(found).unwrap_or_else(|| panic!("no node {name}"))
    }

    fn ancestors(&self, node: usize) -> Vec<usize> {
        let parent =
            |n: usize| self.list("nodes").iter().position(|p| p["children"].as_array().is_some_and(|c| c.contains(&Value::from(n))));
        std::iter::successors(Some(node), |n| parent(*n)).collect()
    }

    /// Values of an accessor, row by row.
    pub fn accessor(&self, index: &Value) -> Vec<Vec<f64>> {
        let a = &self.list("accessors")[usize_of(index)];
        let view = &self.list("bufferViews")[usize_of(&a["bufferView"])];
        let at = usize_of(&view["byteOffset"]);
        assert_eq!(at % 4, 0, "views are aligned");
        let width = match a["type"].as_str().unwrap() {
            "SCALAR" => 1,
            "VEC3" => 3,
            "VEC4" => 4,
            "MAT4" => 16,
            other => panic!("{other}"),
        };
        let (size, value): (usize, fn(&[u8]) -> f64) = match a["componentType"].as_u64().unwrap() {
            5121 => (1, |b| f64::from(b[0])),
            5123 => (2, |b| f64::from(u16::from_le_bytes(b.try_into().unwrap()))),
            5125 => (4, |b| f64::from(u32::from_le_bytes(b.try_into().unwrap()))),
            5126 => (4, |b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))),
            other => panic!("{other}"),
        };
        let count = usize_of(&a["count"]);
        assert_eq!(usize_of(&view["byteLength"]), count * width * size);
        self.bytes[at..at + count * width * size].chunks(size).map(value).collect::<Vec<_>>().chunks(width).map(<[f64]>::to_vec).collect()
    }

    /// The sampler that moves a property of a node: key times, values, interpolation.
    pub fn sampler(&self, node: usize, path: &str) -> Option<(Vec<f64>, Vec<Vec<f64>>, String)> {
        let animation = self.list("animations").first()?;
        let channel =
            animation["channels"].as_array().unwrap().iter().find(|c| c["target"]["node"] == node as u64 && c["target"]["path"] == path)?;
        let sampler = &animation["samplers"][usize_of(&channel["sampler"])];
        let times = self.accessor(&sampler["input"]).concat();
        Some((times, self.accessor(&sampler["output"]), sampler["interpolation"].as_str().unwrap_or("LINEAR").to_string()))
    }

    /// A property at a time; the node's own where nothing moves it.
    fn property(&self, node: usize, path: &str, seconds: f64, default: &[f64]) -> Vec<f64> {
        let Some((times, values, interpolation)) = self.sampler(node, path) else {
            let own = &self.list("nodes")[node][path];
            return own.as_array().map_or_else(|| default.to_vec(), |l| l.iter().map(|v| v.as_f64().unwrap()).collect());
        };
        let after = times.iter().position(|t| *t > seconds).unwrap_or(times.len());
        if after == 0 || after == times.len() || interpolation == "STEP" {
            return values[after.saturating_sub(1)].clone();
        }
        let s = (seconds - times[after - 1]) / (times[after] - times[after - 1]);
        let (a, b) = (&values[after - 1], &values[after]);
        if path == "rotation" {
            return quaternion(a).slerp(&quaternion(b), s).coords.as_slice().to_vec();
        }
        a.iter().zip(b).map(|(a, b)| a + (b - a) * s).collect()
    }

    /// World transform of a node at a time.
    pub fn world(&self, node: usize, seconds: f64) -> Matrix4<f64> {
        self.ancestors(node).into_iter().rev().fold(Matrix4::identity(), |m, n| {
            let t = self.property(n, "translation", seconds, &[0.0; 3]);
            let r: Mat3 = quaternion(&self.property(n, "rotation", seconds, &[0.0, 0.0, 0.0, 1.0])).to_rotation_matrix().into_inner();
            let s = self.property(n, "scale", seconds, &[1.0; 3]);
            let local = r * Mat3::from_diagonal(&Vec3::from_column_slice(&s));
            m * Matrix4::new_translation(&Vec3::from_column_slice(&t)) * local.to_homogeneous()
        })
    }

    /// Where the vertices of a skinned node are at a time.
    pub fn skinned(&self, node: usize, seconds: f64) -> Vec<Vec3> {
        let node = &self.list("nodes")[node];
        let skin = &self.list("skins")[usize_of(&node["skin"])];
        let inverse_binds = self.accessor(&skin["inverseBindMatrices"]);
        let joints: Vec<Matrix4<f64>> = skin["joints"]
            .as_array()
            .unwrap()
            .iter()
            .zip(&inverse_binds)
            .map(|(joint, inverse)| self.world(usize_of(joint), seconds) * Matrix4::from_column_slice(inverse))
            .collect();
        let attributes = &self.list("meshes")[usize_of(&node["mesh"])]["primitives"][0]["attributes"];
        let [positions, indices, weights] = ["POSITION", "JOINTS_0", "WEIGHTS_0"].map(|name| self.accessor(&attributes[name]));
        positions
            .iter()
            .zip(indices.iter().zip(&weights))
            .map(|(p, (indices, weights))| {
                let p = Vec3::from_column_slice(p).push(1.0);
                indices.iter().zip(weights).fold(Vec3::zeros(), |sum, (k, w)| sum + (joints[*k as usize] * p).xyz() * *w)
            })
            .collect()
    }
}

pub fn usize_of(v: &Value) -> usize {
    v.as_u64().unwrap_or(0) as usize
}

fn quaternion(xyzw: &[f64]) -> UnitQuaternion<f64> {
    UnitQuaternion::new_normalize(Quaternion::new(xyzw[3], xyzw[0], xyzw[1], xyzw[2]))
}
