//! A headless wgpu renderer that draws translucent shaded bodies into the frames of a batch.
