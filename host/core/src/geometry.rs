//! Crops, letterboxes and normalisation: how pixels of a frame map to elements of a tensor.

use crate::Size;

/// A square of one frame of a batch, perhaps turned. Pixels of the frame; pixel centres at +0.5.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Crop {
    /// Frame within the batch.
    pub frame: u32,
    /// Centre, pixels.
    pub center: [f32; 2],
    /// Length of a side, pixels, above 0.
    pub side: f32,
    /// Clockwise turn on the screen, radians: the crop's x axis points along (cos, sin) of the frame.
    pub rotation: f32,
}

impl Crop {
    /// The frame position of the point (u, v) of the crop, both 0..=1.
    #[must_use]
    pub fn to_frame(&self, u: f32, v: f32) -> [f32; 2] {
        let (sin, cos) = self.rotation.sin_cos();
        let (x, y) = ((u - 0.5) * self.side, (v - 0.5) * self.side);
        [self.center[0] + cos * x - sin * y, self.center[1] + sin * x + cos * y]
    }
}

/// Per-channel `(value / 255 - mean) / std`, RGB.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normalization {
    /// Subtracted, on the scale 0..=1.
    pub mean: [f32; 3],
    /// Divided by, not 0.
    pub std: [f32; 3],
}

/// `tensor = frame * scale + offset`, along x and y.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LetterboxMap {
    /// Tensor pixels per frame pixel.
    pub scale: [f32; 2],
    /// Tensor position of the frame's corner.
    pub offset: [f32; 2],
    /// Size of the scaled picture inside the tensor.
    pub inner: Size,
}

impl LetterboxMap {
    /// The map that fits `from` into `target` with the aspect kept, at the top left corner.
    #[must_use]
    pub fn fit(from: Size, target: Size) -> Self {
        let s = (f64::from(target.width) / f64::from(from.width)).min(f64::from(target.height) / f64::from(from.height));
        let inner = Size::new(
            ((f64::from(from.width) * s).round() as u32).clamp(1, target.width),
            ((f64::from(from.height) * s).round() as u32).clamp(1, target.height),
        );
        Self { scale: [inner.width as f32 / from.width as f32, inner.height as f32 / from.height as f32], offset: [0.0, 0.0], inner }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_turn_maps_right_to_down() {
        let c = Crop { frame: 0, center: [10.0, 20.0], side: 4.0, rotation: std::f32::consts::FRAC_PI_2 };
        let p = c.to_frame(1.0, 0.5);
        assert!((p[0] - 10.0).abs() < 1e-5 && (p[1] - 22.0).abs() < 1e-5, "{p:?}");
    }

    #[test]
    fn letterbox_keeps_the_aspect_within_rounding() {
        let m = LetterboxMap::fit(Size::new(1768, 994), Size::new(384, 224));
        assert_eq!(m.inner, Size::new(384, 216));
    }
}
