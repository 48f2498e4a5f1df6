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

#[cfg(test)]
mod tests {
    use super::super::device::Device;
    use super::super::library::OrtLibrary;
    use super::super::session::OrtModel;
    use super::*;
    use crate::Model as _;
    use crate::tensor::Storage;

    /// Doubles rows of three numbers; made by `tests/fixtures/make_fixtures.py`.
    const DOUBLE: &[u8] = include_bytes!("../../tests/fixtures/double.onnx");

    /// Whether a tensor's values were left where the session put them.
    fn is_lent(tensor: &Tensor) -> bool {
        matches!(tensor.storage(), Storage::F32(Values::Lent(_)))
    }

    #[test]
    fn a_large_output_stays_as_it_is_through_later_runs_and_without_its_session() -> Result<(), NnError> {
        let mut model = OrtModel::new(OrtLibrary::load(None)?, Device::Cpu, 1, "double", DOUBLE, &[])?;
        let mut run = |rows: usize, value: f32| -> Result<Tensor, NnError> {
            let x = Tensor::from_vec(vec![rows, 3], vec![value; 3 * rows])?;
            Ok(model.run(&[("x".into(), x)])?.remove(0))
        };
        let rows = LARGE.div_ceil(12);
        let (small, large) = (run(rows - 1, 1.0)?, run(rows, 2.0)?);
        assert_eq!((is_lent(&small), is_lent(&large)), (false, true));
        let later: Vec<Tensor> = (3..8).map(|value| run(rows, value as f32)).collect::<Result<_, _>>()?;
        drop(model);
        for (tensor, value) in [&small, &large].into_iter().chain(&later).zip([2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0]) {
            assert!(tensor.as_f32()?.iter().all(|v| *v == value), "{value}");
        }
        assert_eq!(large.dims(), [rows, 3]);
        assert_eq!(large, Tensor::from_vec(vec![rows, 3], vec![4.0f32; 3 * rows])?, "wherever the values lie");
        Ok(())
    }
}
