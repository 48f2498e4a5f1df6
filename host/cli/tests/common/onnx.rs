//! Writes a tiny ONNX graph by hand: outputs that never change, whatever the picture.

use std::path::Path;

use sha2::{Digest, Sha256};

/// A protobuf field of bytes.
fn bytes(field: u8, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    [[varint(u64::from(field) << 3 | 2), varint(value.len() as u64)].concat(), value.to_vec()].concat()
}

/// A protobuf field of a number.
fn number(field: u8, value: u64) -> Vec<u8> {
    [varint(u64::from(field) << 3), varint(value)].concat()
}

fn varint(mut v: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while v >= 0x80 {
        out.push(v as u8 | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
    out
}

/// Name, element type (ONNX's number) and dimensions of an input or output.
fn port(name: &str, ty: u64, dims: &[u64]) -> Vec<u8> {
    let shape: Vec<u8> = dims.iter().flat_map(|d| bytes(1, number(1, *d))).collect();
    let tensor = [number(1, ty), bytes(2, shape)].concat();
    [bytes(1, name), bytes(2, bytes(1, tensor))].concat()
}

/// An output that never changes.
pub struct Constant<'a> {
    pub name: &'a str,
    /// 1 for f32, 7 for i64.
    pub ty: u64,
    pub dims: &'a [u64],
    pub little_endian: Vec<u8>,
}

/// Writes a graph with one picture for an input (f32, of these dimensions) and these outputs. Gives its digest and size.
pub fn write_constants(file: &Path, input: (&str, &[u64]), outputs: &[Constant<'_>]) -> (String, usize) {
    let nodes = outputs.iter().flat_map(|o| {
        let dims: Vec<u8> = o.dims.iter().flat_map(|d| number(1, *d)).collect();
        let tensor = [dims, number(2, o.ty), bytes(9, &o.little_endian)].concat();
        let attribute = [bytes(1, "value"), bytes(5, tensor), number(20, 4)].concat();
        bytes(1, [bytes(2, o.name), bytes(4, "Constant"), bytes(5, attribute)].concat())
    });
    let graph = [
        nodes.collect(),
        bytes(2, "constants"),
        bytes(11, port(input.0, 1, input.1)),
        outputs.iter().flat_map(|o| bytes(12, port(o.name, o.ty, o.dims))).collect(),
    ];
    let model = [number(1, 8), bytes(8, number(2, 17)), bytes(7, graph.concat())].concat();
    std::fs::write(file, &model).unwrap();
    (Sha256::digest(&model).iter().map(|b| format!("{b:02x}")).collect(), model.len())
}
