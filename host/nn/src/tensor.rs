//! Tensors: dimensions, an element type and values in row-major order, cheap to share.

use std::sync::Arc;

use half::{bf16, f16};

use crate::values::Values;

#[cfg(target_endian = "big")]
compile_error!("tensors are read and written as little-endian bytes without conversion; this target is big-endian");

/// Type of a tensor's elements: those that wasi-nn can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TensorType {
    /// IEEE 754 half precision.
    F16,
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 double precision.
    F64,
    /// Brain floating point: the upper half of an f32.
    BF16,
    /// Unsigned 8-bit integer.
    U8,
    /// Signed 32-bit integer.
    I32,
    /// Signed 64-bit integer.
    I64,
}

impl TensorType {
    /// Bytes of one element.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::F16 | Self::BF16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }
}

impl std::fmt::Display for TensorType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F16 => "f16",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::BF16 => "bf16",
            Self::U8 => "u8",
            Self::I32 => "i32",
            Self::I64 => "i64",
        })
    }
}

/// Why bytes or values are not a tensor, or a tensor is not what it was asked for as.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// The product of the dimensions is more than memory could hold.
    #[error("a tensor of dimensions {dims:?} has more elements than can be addressed")]
    TooLarge {
        /// The dimensions.
        dims: Vec<usize>,
    },
    /// The data is shorter or longer than the dimensions say.
    #[error("a {ty} tensor of dimensions {dims:?} holds {expected} bytes, but {found} were given")]
    WrongLength {
        /// The dimensions.
        dims: Vec<usize>,
        /// The element type.
        ty: TensorType,
        /// Bytes by dimensions and type.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// There are no rows and columns.
    #[error("a tensor of dimensions {dims:?} has no planes; slices are of tensors with two dimensions and more")]
    NoPlanes {
        /// The dimensions.
        dims: Vec<usize>,
    },
    /// A slice reaches beyond its plane, or its plane is none of the tensor's.
    #[error("{slice:?} is not within a tensor of dimensions {dims:?}")]
    Outside {
        /// The slice.
        slice: Slice,
        /// The dimensions.
        dims: Vec<usize>,
    },
    /// The elements are of another type.
    #[error("the tensor holds {found}, not {expected}")]
    WrongType {
        /// Type asked for.
        expected: TensorType,
        /// Type of the elements.
        found: TensorType,
    },
}

/// A rectangle of one plane of a tensor. A plane is one pass through the last two dimensions, its rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// Which plane, in row-major order.
    pub plane: usize,
    /// First row.
    pub top: usize,
    /// First column.
    pub left: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// Values in the alignment of their own type, so that no view needs a copy or `unsafe`.
#[derive(Debug, PartialEq)]
pub(crate) enum Storage {
    F16(Values<f16>),
    F32(Values<f32>),
    F64(Values<f64>),
    BF16(Values<bf16>),
    U8(Values<u8>),
    I32(Values<i32>),
    I64(Values<i64>),
}

mod sealed {
    /// Keeps [`Element`](super::Element) to the types listed in this module.
    pub trait Sealed {}
}

/// A Rust type that can be an element of a [`Tensor`].
pub trait Element: sealed::Sealed + bytemuck::Pod + Send + Sync {
    /// The element type it stands for.
    const TYPE: TensorType;
    #[doc(hidden)]
    fn store(values: ValuesBox<Self>) -> StorageBox;
    #[doc(hidden)]
    fn view(tensor: &Tensor) -> Option<&[Self]>;
}

/// Carries the private storage through the [`Element`] trait.
#[doc(hidden)]
pub struct StorageBox(Storage);

/// The same for the values of one type.
#[doc(hidden)]
pub struct ValuesBox<T>(Values<T>);

macro_rules! element {
    ($($rust:ty => $variant:ident),+ $(,)?) => {$(
        impl sealed::Sealed for $rust {}
        impl Element for $rust {
            const TYPE: TensorType = TensorType::$variant;
            fn store(values: ValuesBox<Self>) -> StorageBox {
                StorageBox(Storage::$variant(values.0))
            }
            fn view(tensor: &Tensor) -> Option<&[Self]> {
                match &*tensor.data {
                    Storage::$variant(values) => Some(values),
                    _ => None,
                }
            }
        }
    )+};
}
element!(f16 => F16, f32 => F32, f64 => F64, bf16 => BF16, u8 => U8, i32 => I32, i64 => I64);

/// Calls `$work` with `$values` bound to the typed values of a storage.
macro_rules! with_values {
    ($storage:expr, $values:ident => $work:expr) => {
        match $storage {
            $crate::tensor::Storage::F16($values) => $work,
            $crate::tensor::Storage::F32($values) => $work,
            $crate::tensor::Storage::F64($values) => $work,
            $crate::tensor::Storage::BF16($values) => $work,
            $crate::tensor::Storage::U8($values) => $work,
            $crate::tensor::Storage::I32($values) => $work,
            $crate::tensor::Storage::I64($values) => $work,
        }
    };
}
pub(crate) use with_values;

/// An immutable tensor, row-major. A clone shares the values.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    dims: Vec<usize>,
    data: Arc<Storage>,
}

impl AsRef<[u8]> for Tensor {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl Tensor {
    /// A tensor of `values`, of which there must be as many as the product of `dims` (1 where `dims` is empty).
    ///
    /// # Errors
    /// [`TensorError`] where the count does not fit the dimensions.
    pub fn from_vec<T: Element>(dims: Vec<usize>, values: Vec<T>) -> Result<Self, TensorError> {
        Self::of(dims, values.into())
    }

    /// A tensor of values that stay where they are.
    ///
    /// # Errors
    /// [`TensorError`] where the count does not fit the dimensions.
    pub(crate) fn of<T: Element>(dims: Vec<usize>, values: Values<T>) -> Result<Self, TensorError> {
        let expected = checked_bytes(&dims, T::TYPE)?;
        let found = values.len() * T::TYPE.bytes();
        if expected != found {
            return Err(TensorError::WrongLength { dims, ty: T::TYPE, expected, found });
        }
        Ok(Self { dims, data: Arc::new(T::store(ValuesBox(values)).0) })
    }

    /// A tensor of little-endian `bytes`, which need not be aligned.
    ///
    /// # Errors
    /// [`TensorError`] where the number of bytes does not fit dimensions and type.
    pub fn from_bytes(dims: Vec<usize>, ty: TensorType, bytes: &[u8]) -> Result<Self, TensorError> {
        let expected = checked_bytes(&dims, ty)?;
        if expected != bytes.len() {
            return Err(TensorError::WrongLength { dims, ty, expected, found: bytes.len() });
        }
        let data = match ty {
            TensorType::F16 => Storage::F16(bytemuck::allocation::pod_collect_to_vec(bytes).into()),
            TensorType::F32 => Storage::F32(bytemuck::allocation::pod_collect_to_vec(bytes).into()),
            TensorType::F64 => Storage::F64(bytemuck::allocation::pod_collect_to_vec(bytes).into()),
            TensorType::BF16 => Storage::BF16(bytemuck::allocation::pod_collect_to_vec(bytes).into()),
            TensorType::U8 => Storage::U8(bytes.to_vec().into()),
            TensorType::I32 => Storage::I32(bytemuck::allocation::pod_collect_to_vec(bytes).into()),
            TensorType::I64 => Storage::I64(bytemuck::allocation::pod_collect_to_vec(bytes).into()),
        };
        Ok(Self { dims, data: Arc::new(data) })
    }

    /// Size of each dimension, outermost first; empty for a scalar.
    #[must_use]
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// Type of the elements.
    #[must_use]
    pub fn ty(&self) -> TensorType {
        match &*self.data {
            Storage::F16(_) => TensorType::F16,
            Storage::F32(_) => TensorType::F32,
            Storage::F64(_) => TensorType::F64,
            Storage::BF16(_) => TensorType::BF16,
            Storage::U8(_) => TensorType::U8,
            Storage::I32(_) => TensorType::I32,
            Storage::I64(_) => TensorType::I64,
        }
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        with_values!(&*self.data, values => values.len())
    }

    /// Whether some dimension is 0.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values as little-endian bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        with_values!(&*self.data, values => bytemuck::cast_slice(&values[..]))
    }

    /// The values of slices as little-endian bytes: one slice after the other, each row by row.
    ///
    /// # Errors
    /// [`TensorError::NoPlanes`] where the tensor has fewer than two dimensions, [`TensorError::Outside`] for a slice that is not all
    /// within it.
    pub fn slices(&self, slices: &[Slice]) -> Result<Vec<u8>, TensorError> {
        let [.., rows, columns] = self.dims[..] else { return Err(TensorError::NoPlanes { dims: self.dims.clone() }) };
        let planes: usize = self.dims[..self.dims.len() - 2].iter().product();
        let (bytes, element) = (self.as_bytes(), self.ty().bytes());
        let inside = |s: &Slice| {
            let ends = |start: usize, length: usize, end: usize| start.checked_add(length).is_some_and(|last| last <= end);
            s.plane < planes && ends(s.top, s.height, rows) && ends(s.left, s.width, columns)
        };
        if let Some(slice) = slices.iter().find(|slice| !inside(slice)) {
            return Err(TensorError::Outside { slice: *slice, dims: self.dims.clone() });
        }
        let mut found = Vec::with_capacity(slices.iter().map(|s| s.height * s.width * element).sum());
        for s in slices {
            for row in s.top..s.top + s.height {
                let start = ((s.plane * rows + row) * columns + s.left) * element;
                found.extend_from_slice(&bytes[start..start + s.width * element]);
            }
        }
        Ok(found)
    }

    /// The values.
    ///
    /// # Errors
    /// [`TensorError::WrongType`] where the elements are not of type `T`.
    pub fn as_slice<T: Element>(&self) -> Result<&[T], TensorError> {
        T::view(self).ok_or(TensorError::WrongType { expected: T::TYPE, found: self.ty() })
    }

    /// The values as f32.
    ///
    /// # Errors
    /// [`TensorError::WrongType`] where the elements are not f32.
    pub fn as_f32(&self) -> Result<&[f32], TensorError> {
        self.as_slice::<f32>()
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.data
    }

    /// Rows `start..start + count` along the first dimension, copied.
    ///
    /// The caller has checked that the tensor has a first dimension and that the rows are inside it.
    pub(crate) fn rows(&self, start: usize, count: usize) -> Self {
        let row = self.dims[1..].iter().product::<usize>();
        let mut dims = self.dims.clone();
        dims[0] = count;
        let data = with_values!(&*self.data, values => StorageBox::from_slice(&values[start * row..(start + count) * row]));
        Self { dims, data: Arc::new(data.0) }
    }

    /// Tensors of one type joined along the first dimension; `None` where there are none, or types or the other dimensions differ.
    pub(crate) fn stacked(parts: &[&Self]) -> Option<Self> {
        let first = parts.first()?;
        let inner = first.dims.get(1..)?;
        if parts.iter().any(|part| part.dims.get(1..) != Some(inner)) {
            return None;
        }
        let mut dims = first.dims.clone();
        dims[0] = parts.iter().try_fold(0usize, |rows, part| rows.checked_add(part.dims[0]))?;
        let data = with_values!(&*first.data, values => StorageBox::joined(values, parts)?);
        Some(Self { dims, data: Arc::new(data.0) })
    }
}

impl StorageBox {
    fn from_slice<T: Element>(values: &[T]) -> Self {
        T::store(ValuesBox(values.to_vec().into()))
    }
    /// The values of all parts, which have the type of `_first`.
    fn joined<T: Element>(_first: &[T], parts: &[&Tensor]) -> Option<Self> {
        parts.iter().map(|part| T::view(part)).collect::<Option<Vec<_>>>().map(|parts| T::store(ValuesBox(parts.concat().into())))
    }
}

/// Bytes of a tensor, with every product checked; at most what a slice can hold.
fn checked_bytes(dims: &[usize], ty: TensorType) -> Result<usize, TensorError> {
    dims.iter()
        .try_fold(ty.bytes(), |bytes, &d| bytes.checked_mul(d))
        .filter(|&bytes| isize::try_from(bytes).is_ok())
        .ok_or_else(|| TensorError::TooLarge { dims: dims.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_make_the_way_there_and_back_in_every_type() {
        for ty in [TensorType::F16, TensorType::F32, TensorType::F64, TensorType::BF16, TensorType::U8, TensorType::I32, TensorType::I64] {
            // one byte off, so that the source is not aligned
            let bytes: Vec<u8> = (0..=(6 * ty.bytes()) as u8).collect();
            let t = Tensor::from_bytes(vec![2, 3], ty, &bytes[1..]).unwrap();
            assert_eq!((t.ty(), t.len(), t.as_bytes()), (ty, 6, &bytes[1..]));
        }
    }

    #[test]
    fn lengths_and_overflows_are_refused() {
        let e = Tensor::from_bytes(vec![2, 2], TensorType::F32, &[0; 15]).unwrap_err();
        assert_eq!(e.to_string(), "a f32 tensor of dimensions [2, 2] holds 16 bytes, but 15 were given");
        for dims in [vec![usize::MAX, 2], vec![usize::MAX / 4], vec![1 << 31, 1 << 31, 1 << 31]] {
            assert!(matches!(Tensor::from_bytes(dims, TensorType::I64, &[]), Err(TensorError::TooLarge { .. })));
        }
        assert!(Tensor::from_vec(vec![3], vec![1i32, 2]).is_err());
    }

    #[test]
    fn a_scalar_and_an_empty_tensor_are_tensors() {
        assert_eq!(Tensor::from_vec(vec![], vec![7i64]).unwrap().as_slice::<i64>().unwrap(), &[7]);
        assert!(Tensor::from_vec::<f32>(vec![0, 3], vec![]).unwrap().is_empty());
    }

    #[test]
    fn a_view_of_the_wrong_type_is_an_error() {
        let t = Tensor::from_vec(vec![1], vec![1u8]).unwrap();
        assert_eq!(t.as_f32().unwrap_err().to_string(), "the tensor holds u8, not f32");
    }

    #[test]
    fn rows_come_apart_and_together() {
        let t = Tensor::from_vec(vec![3, 2], vec![1, 2, 3, 4, 5, 6i32]).unwrap();
        let (a, b) = (t.rows(0, 1), t.rows(1, 2));
        assert_eq!(b.as_slice::<i32>().unwrap(), &[3, 4, 5, 6]);
        assert_eq!(Tensor::stacked(&[&a, &b]).unwrap(), t);
        assert_eq!(Tensor::stacked(&[&a, &b, &b]).unwrap().as_slice::<i32>().unwrap(), &[1, 2, 3, 4, 5, 6, 3, 4, 5, 6]);
        assert!(Tensor::stacked(&[]).is_none());
        assert!(Tensor::stacked(&[&a, &Tensor::from_vec(vec![1, 2], vec![1.0f32, 2.0]).unwrap()]).is_none());
        assert!(Tensor::stacked(&[&a, &Tensor::from_vec(vec![1, 3], vec![1, 2, 3i32]).unwrap()]).is_none());
        assert!(Tensor::stacked(&[&Tensor::from_vec(vec![], vec![7i32]).unwrap()]).is_none(), "a scalar has no rows");
    }

    #[test]
    fn slices_are_rows_of_planes_and_lie_within() {
        let tensor = Tensor::from_vec(vec![2, 1, 3, 4], (0..24u8).collect()).unwrap();
        let slice = |plane, top, left, height, width| Slice { plane, top, left, height, width };
        assert_eq!(tensor.slices(&[slice(1, 1, 2, 2, 2), slice(0, 0, 0, 1, 3)]).unwrap(), [18, 19, 22, 23, 0, 1, 2]);
        assert!(tensor.slices(&[slice(0, 3, 4, 0, 0)]).unwrap().is_empty());
        let wide = Tensor::from_vec(vec![1, 2], vec![1.0f32, 2.0]).unwrap();
        assert_eq!(wide.slices(&[slice(0, 0, 1, 1, 1)]).unwrap(), 2.0f32.to_le_bytes());
        for outside in [slice(2, 0, 0, 1, 1), slice(0, 2, 0, 2, 1), slice(0, 0, 3, 1, 2), slice(0, usize::MAX, 0, 2, 1)] {
            assert!(matches!(tensor.slices(&[outside]), Err(TensorError::Outside { .. })), "{outside:?}");
        }
        let flat = Tensor::from_vec(vec![24], vec![0u8; 24]).unwrap();
        assert!(flat.slices(&[]).unwrap_err().to_string().contains("two dimensions"));
    }

    #[test]
    fn clones_share_their_values() {
        let t = Tensor::from_vec(vec![2], vec![1.0f32, 2.0]).unwrap();
        assert_eq!(t.clone().as_bytes().as_ptr(), t.as_bytes().as_ptr());
    }
}
