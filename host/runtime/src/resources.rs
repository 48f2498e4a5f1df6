//! What stands behind each resource handle a guest may hold. Everything here dies with the store.

use std::fs::File;
use std::io::BufWriter;
use std::sync::Arc;

use halfpipe_core::{ByteLease, FrameBatch, Pending, Size, Topology, VertexBatch};
use halfpipe_media::{FrameSink, FrameSource};
use halfpipe_nn::{ModelHandle, Tensor, TensorType};
use halfpipe_render::Renderer;

use crate::bindings::wasi::nn::errors::ErrorCode;

/// A tensor with the bytes it is booked for.
#[derive(Debug)]
pub struct BookedTensor {
    /// The values.
    pub tensor: Tensor,
    /// Given back when the last holder is gone.
    pub lease: ByteLease,
}

/// `wasi:nn/tensor.tensor`.
#[derive(Debug)]
pub struct TensorHandle {
    /// The values, perhaps still being computed.
    pub value: Pending<BookedTensor>,
}

/// `wasi:nn/graph.graph`.
#[derive(Debug)]
pub struct GraphHandle {
    /// The loaded model.
    pub model: ModelHandle,
}

/// `wasi:nn/inference.graph-execution-context`.
#[derive(Debug)]
pub struct ContextHandle {
    /// The loaded model.
    pub model: ModelHandle,
}

/// `wasi:nn/errors.error`.
#[derive(Debug)]
pub struct NnErrorHandle {
    /// Kind of the error.
    pub code: ErrorCode,
    /// One sentence.
    pub message: String,
}

/// `halfpipe:media/frames.frame-batch`.
#[derive(Debug)]
pub struct FramesHandle {
    /// The frames.
    pub batch: FrameBatch,
    /// Bytes of their pictures, booked to the job.
    pub lease: Arc<ByteLease>,
}

/// `halfpipe:media/video.source`.
pub struct SourceHandle {
    /// The reader.
    pub source: Box<dyn FrameSource>,
    /// Whether it was read to its end.
    pub ended: bool,
}

/// `halfpipe:media/video.sink`.
pub struct SinkHandle {
    /// The writer.
    pub sink: Box<dyn FrameSink>,
    /// Role it writes for.
    pub role: String,
    /// Size of frames it takes.
    pub size: Size,
}

/// `halfpipe:scene/meshes.mesh-batch`.
#[derive(Debug)]
pub struct MeshHandle {
    /// `[n, vertices, 3]`, perhaps still being computed.
    pub vertices: Pending<BookedTensor>,
    /// Faces of the bodies.
    pub topology: Arc<Topology>,
}

impl MeshHandle {
    /// The bodies as the renderer takes them; a shape that is not `[count, vertices, 3]` breaks the promise.
    #[must_use]
    pub fn batch(self, count: usize) -> VertexBatch {
        let wanted = [count, self.topology.vertices as usize, 3];
        let positions = self.vertices.map(move |booked| {
            let dims = booked.tensor.dims();
            if dims != wanted {
                return Err(format!("vertices of shape {dims:?} where {count} placements of this body want {wanted:?}"));
            }
            booked.tensor.as_f32().map(<[f32]>::to_vec).map_err(|e| e.to_string())
        });
        VertexBatch { count, topology: self.topology, positions }
    }
}

/// `halfpipe:scene/render.renderer`.
pub struct RendererHandle {
    /// The renderer.
    pub renderer: Arc<Renderer>,
}

/// `halfpipe:scene/render.coverage`.
#[derive(Debug)]
pub struct CoverageHandle {
    /// Changed pixels, one number a placement.
    pub pixels: Pending<Vec<u32>>,
}

/// `halfpipe:job/objects.file`.
#[derive(Debug)]
pub struct FileHandle {
    /// Buffered writer of the staged file.
    pub writer: BufWriter<File>,
    /// Bytes so far.
    pub bytes: u64,
    /// Role it writes for.
    pub role: String,
}

/// The wasi-nn name of a tensor type.
#[must_use]
pub const fn wit_type(ty: TensorType) -> crate::bindings::wasi::nn::tensor::TensorType {
    use crate::bindings::wasi::nn::tensor::TensorType as W;
    match ty {
        TensorType::F16 => W::Fp16,
        TensorType::F32 => W::Fp32,
        TensorType::F64 => W::Fp64,
        TensorType::BF16 => W::Bf16,
        TensorType::U8 => W::U8,
        TensorType::I32 => W::I32,
        TensorType::I64 => W::I64,
    }
}

/// The other way.
#[must_use]
pub const fn host_type(ty: crate::bindings::wasi::nn::tensor::TensorType) -> TensorType {
    use crate::bindings::wasi::nn::tensor::TensorType as W;
    match ty {
        W::Fp16 => TensorType::F16,
        W::Fp32 => TensorType::F32,
        W::Fp64 => TensorType::F64,
        W::Bf16 => TensorType::BF16,
        W::U8 => TensorType::U8,
        W::I32 => TensorType::I32,
        W::I64 => TensorType::I64,
    }
}
