//! Models: the catalog, tensors, the ONNX Runtime engine, its lane, and image operations that mint tensors.
