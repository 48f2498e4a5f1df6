//! Ranges of bytes.

use std::ops::Range;

use crate::{ObjectMeta, StoreError};

/// The range cut to the object, the whole of it where none is asked for.
pub(crate) fn resolve(store: &str, meta: &ObjectMeta, range: Option<Range<u64>>) -> Result<Range<u64>, StoreError> {
    match range {
        None => Ok(0..meta.size),
        Some(range) if range.start < range.end.min(meta.size) => Ok(range.start..range.end.min(meta.size)),
        Some(range) => Err(StoreError::Range { store: store.into(), key: meta.key.clone(), range, size: meta.size }),
    }
}
