//! Outputs of a session as tensors: large ones stay in the session's arena until the tensor is gone, small ones are copied.

use std::marker::PhantomData;

use ort::value::{DynValue, PrimitiveTensorElementType};

use super::session::engine_error;
use crate::tensor::Element;
use crate::values::{Lender, Values};
use crate::{NnError, Port, Tensor, TensorType};

/// Bytes from which on an output stays where it is. Small ones may be kept for long, and would leave holes in the arena.
const LARGE: usize = 64 << 10;

/// The tensor of an output; `keep` where it may stay where it is.
pub(super) fn tensor(model: &str, port: &Port, value: DynValue, keep: bool) -> Result<Tensor, NnError> {
    match port.ty {
        TensorType::F16 => of::<half::f16>(model, port, value, keep),
        TensorType::F32 => of::<f32>(model, port, value, keep),
        TensorType::F64 => of::<f64>(model, port, value, keep),
        TensorType::BF16 => of::<half::bf16>(model, port, value, keep),
        TensorType::U8 => of::<u8>(model, port, value, keep),
        TensorType::I32 => of::<i32>(model, port, value, keep),
        TensorType::I64 => of::<i64>(model, port, value, keep),
    }
}

fn of<T: Element + PrimitiveTensorElementType>(model: &str, port: &Port, value: DynValue, keep: bool) -> Result<Tensor, NnError> {
    let (shape, values) = value.try_extract_tensor::<T>().map_err(|e| engine_error(model, &format!("the output {port}: {e}")))?;
    // an output has no negative dimension
    let dims = shape.iter().map(|d| usize::try_from(*d).unwrap_or(0)).collect();
    let values = if keep && size_of_val(values) >= LARGE {
        Values::Lent(Box::new(Output { value, element: PhantomData::<T> }))
    } else {
        values.to_vec().into()
    };
    Ok(Tensor::of(dims, values)?)
}

/// An output that has been looked at: it is a tensor of this type.
struct Output<T> {
    value: DynValue,
    element: PhantomData<T>,
}

impl<T: Element + PrimitiveTensorElementType> Lender<T> for Output<T> {
    fn values(&self) -> &[T] {
        self.value.try_extract_tensor::<T>().map_or(&[], |(_, values)| values)
    }
}
