//! The binary half of a .glb file: values appended to one buffer, each list behind an accessor of its own.

use gltf_json::accessor::{Accessor, ComponentType, GenericComponentType, Type};
use gltf_json::buffer::{Buffer, Target, View};
use gltf_json::validation::Checked::Valid;
use gltf_json::{Index, Root, serialize};

use crate::MotionError;

/// `glTF` in little-endian bytes.
const MAGIC: u32 = 0x4654_6C67;
/// `JSON`.
const CHUNK_JSON: u32 = 0x4E4F_534A;
/// `BIN\0`.
const CHUNK_BIN: u32 = 0x004E_4942;

/// A glTF document being built.
#[derive(Default)]
pub(super) struct Document {
    pub root: Root,
    bytes: Vec<u8>,
}

impl Document {
    /// Appends rows of N floats; `bounds` adds min and max, which positions and times must have.
    pub fn floats<const N: usize>(&mut self, rows: &[[f32; N]], target: Option<Target>, bounds: bool) -> Index<Accessor> {
        let view = self.view(rows.as_flattened().iter().flat_map(|v| v.to_le_bytes()), target);
        let kind = match N {
            1 => Type::Scalar,
            3 => Type::Vec3,
            4 => Type::Vec4,
            _ => Type::Mat4,
        };
        let (mut min, mut max) = (None, None);
        if bounds {
            let fold = |pick: fn(f32, f32) -> f32| {
                rows.iter().copied().reduce(|a, b| std::array::from_fn(|i| pick(a[i], b[i]))).map(|row| serde_json::json!(row.to_vec()))
            };
            (min, max) = (fold(f32::min), fold(f32::max));
        }
        self.root.push(Accessor { min, max, ..accessor(view, rows.len(), ComponentType::F32, kind) })
    }

    /// Appends quadruples of bytes (skin joints).
    pub fn bytes4(&mut self, rows: &[[u8; 4]]) -> Index<Accessor> {
        let view = self.view(rows.as_flattened().iter().copied(), Some(Target::ArrayBuffer));
        self.root.push(accessor(view, rows.len(), ComponentType::U8, Type::Vec4))
    }

    /// Appends vertex indices below `vertices`, in 16 bits where they fit.
    pub fn indices(&mut self, indices: &[u32], vertices: usize) -> Index<Accessor> {
        let target = Some(Target::ElementArrayBuffer);
        // 65535 itself restarts a primitive
        let (view, component) = if vertices <= usize::from(u16::MAX) {
            (self.view(indices.iter().flat_map(|i| (*i as u16).to_le_bytes()), target), ComponentType::U16)
        } else {
            (self.view(indices.iter().flat_map(|i| i.to_le_bytes()), target), ComponentType::U32)
        };
        self.root.push(accessor(view, indices.len(), component, Type::Scalar))
    }

    fn view(&mut self, values: impl Iterator<Item = u8>, target: Option<Target>) -> Index<View> {
        let offset = self.bytes.len();
        self.bytes.extend(values);
        let length = self.bytes.len() - offset;
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.root.push(View {
            buffer: Index::new(0),
            byte_length: length.into(),
            byte_offset: Some(offset.into()),
            byte_stride: None,
            name: None,
            target: target.map(Valid),
            extensions: None,
            extras: None,
        })
    }

    /// Writes the file and gives its size in bytes.
    pub fn write(mut self, out: &mut impl std::io::Write) -> Result<u64, MotionError> {
        if !self.bytes.is_empty() {
            let byte_length = self.bytes.len().into();
            self.root.push(Buffer { byte_length, name: None, uri: None, extensions: None, extras: None });
        }
        let mut json = serialize::to_vec(&self.root)?;
        json.resize(json.len().next_multiple_of(4), b' ');
        let chunks: &[(u32, &[u8])] = &[(CHUNK_JSON, &json), (CHUNK_BIN, &self.bytes)];
        let chunks = if self.bytes.is_empty() { &chunks[..1] } else { chunks };
        let total = 12 + chunks.iter().map(|(_, bytes)| 8 + bytes.len() as u64).sum::<u64>();
        let length = u32::try_from(total).map_err(|_| MotionError::TooLarge { bytes: total })?;
        for word in [MAGIC, 2, length] {
            out.write_all(&word.to_le_bytes())?;
        }
        for (kind, bytes) in chunks {
            // the whole fits 32 bits, so its parts do
            out.write_all(&(bytes.len() as u32).to_le_bytes())?;
            out.write_all(&kind.to_le_bytes())?;
            out.write_all(bytes)?;
        }
        out.flush()?;
        Ok(total)
    }
}

fn accessor(view: Index<View>, count: usize, component: ComponentType, kind: Type) -> Accessor {
    Accessor {
        buffer_view: Some(view),
        byte_offset: None,
        count: count.into(),
        component_type: Valid(GenericComponentType(component)),
        extensions: None,
        extras: None,
        type_: Valid(kind),
        min: None,
        max: None,
        name: None,
        normalized: false,
        sparse: None,
    }
}
