//! Body shape from bone lengths.
