//! Inferences by way of memory that a GPU reads and writes by itself (ONNX Runtime's IoBinding).
//!
//! From ordinary memory a driver copies into a page-locked buffer of its own first, and waits for it. So inputs are written into
//! page-locked tensors, which are kept for each shape (`Buckets` sees to it that those are few), and outputs come in such memory.
//! Elsewhere it is ordinary memory, which the tests use: the way is the same.

use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, Session, SessionOutputs};
use ort::value::{DynTensor, TensorElementType};

use super::device::Device;
use crate::tensor::with_values;
use crate::{Tensor, TensorType};

/// Tensors kept for each input.
const KEPT: usize = 8;

/// Where a session's inputs and outputs lie.
pub(super) struct Bound {
    inputs: Allocator,
    binding: IoBinding,
    /// Tensors of recent shapes, the last used at the end, with their inputs' names.
    kept: Vec<(String, DynTensor)>,
}

impl Bound {
    /// For a session on this device; the names are those of its outputs.
    pub(super) fn new<'n>(session: &Session, device: Device, outputs: impl Iterator<Item = &'n str>) -> ort::Result<Self> {
        let memory = |kind| match device {
            Device::Auto | Device::Cpu => MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::Default),
            Device::Cuda { id } | Device::TensorRt { id } => {
                let id = i32::try_from(id).unwrap_or(i32::MAX);
                MemoryInfo::new(AllocationDevice::CUDA_PINNED, id, AllocatorType::Device, kind)
            }
        };
        let place = memory(MemoryType::CPUOutput)?;
        let mut binding = session.create_binding()?;
        for name in outputs {
            binding.bind_output_to_device(name, &place)?;
        }
        Ok(Self { inputs: Allocator::new(session, memory(MemoryType::CPUInput)?)?, binding, kept: Vec::new() })
    }

    /// Runs the session on these inputs.
    pub(super) fn run<'s>(&'s mut self, session: &'s mut Session, inputs: &[(String, Tensor)]) -> ort::Result<SessionOutputs<'s>> {
        // what an earlier run had must not stand in for what this one lacks
        self.binding.clear_inputs();
        for (name, tensor) in inputs {
            let mut place = self.place(name, tensor)?;
            with_values!(tensor.storage(), values => place.try_extract_tensor_mut()?.1.copy_from_slice(values));
            // copies to the device, so it is done anew each time
            self.binding.bind_input(name, &place)?;
            self.keep(name, place, inputs.len());
        }
        session.run_binding(&self.binding)
    }

    /// A tensor of this input's shape, whose values are to be written.
    fn place(&mut self, name: &str, tensor: &Tensor) -> ort::Result<DynTensor> {
        let fits = |(kept, place): &(String, DynTensor)| {
            let dims = place.shape().iter().map(|d| usize::try_from(*d).unwrap_or(0));
            kept == name && dims.eq(tensor.dims().iter().copied())
        };
        match self.kept.iter().position(fits) {
            Some(i) => Ok(self.kept.remove(i).1),
            None => DynTensor::new(&self.inputs, element(tensor.ty()), tensor.dims()),
        }
    }

    fn keep(&mut self, name: &str, place: DynTensor, inputs: usize) {
        if self.kept.len() >= KEPT * inputs {
            self.kept.remove(0);
        }
        self.kept.push((name.to_owned(), place));
    }
}

const fn element(ty: TensorType) -> TensorElementType {
    match ty {
        TensorType::F16 => TensorElementType::Float16,
        TensorType::F32 => TensorElementType::Float32,
        TensorType::F64 => TensorElementType::Float64,
        TensorType::BF16 => TensorElementType::Bfloat16,
        TensorType::U8 => TensorElementType::Uint8,
        TensorType::I32 => TensorElementType::Int32,
        TensorType::I64 => TensorElementType::Int64,
    }
}
