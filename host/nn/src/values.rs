//! The values of a tensor: a vector, or memory of somebody else that is kept for as long as the tensor is there.

use std::fmt;
use std::ops::Deref;

/// Memory that values lie in: the same ones at every call.
pub(crate) trait Lender<T>: Send + Sync {
    /// The values.
    fn values(&self) -> &[T];
}

/// Values, wherever they lie.
pub(crate) enum Values<T> {
    /// In a vector.
    Own(Vec<T>),
    /// In memory that an engine made.
    Lent(Box<dyn Lender<T>>),
}

impl<T> Deref for Values<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Own(values) => values,
            Self::Lent(lender) => lender.values(),
        }
    }
}

impl<T> From<Vec<T>> for Values<T> {
    fn from(values: Vec<T>) -> Self {
        Self::Own(values)
    }
}

impl<T: PartialEq> PartialEq for Values<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: fmt::Debug> fmt::Debug for Values<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
