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

/// How a frame fills a picture of another shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// Aspect kept, at the top left corner.
    LetterboxCorner,
    /// Aspect kept, in the middle.
    LetterboxCenter,
    /// Scaled to the whole picture.
    Stretch,
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
        Self::scaled(from, inner, [0, 0])
    }

    /// The map that fits `from` into `target` as `fit` says. Offsets are whole pixels; an odd remainder is larger to the right
    /// and below.
    #[must_use]
    pub fn of(fit: Fit, from: Size, target: Size) -> Self {
        let boxed = Self::fit(from, target);
        match fit {
            Fit::LetterboxCorner => boxed,
            Fit::LetterboxCenter => {
                let rest = [target.width - boxed.inner.width, target.height - boxed.inner.height];
                Self::scaled(from, boxed.inner, rest.map(|pixels| pixels / 2))
            }
            Fit::Stretch => Self::scaled(from, target, [0, 0]),
        }
    }

    fn scaled(from: Size, inner: Size, offset: [u32; 2]) -> Self {
        let scale = [inner.width as f32 / from.width as f32, inner.height as f32 / from.height as f32];
        Self { scale, offset: offset.map(|pixels| pixels as f32), inner }
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

    #[test]
    fn a_frame_in_the_middle_has_the_odd_pixel_below() {
        let m = LetterboxMap::of(Fit::LetterboxCenter, Size::new(1280, 718), Size::new(640, 640));
        assert_eq!((m.inner, m.offset, m.scale), (Size::new(640, 359), [0.0, 140.0], [0.5, 0.5]));
    }

    #[test]
    fn a_stretched_frame_fills_the_picture() {
        let m = LetterboxMap::of(Fit::Stretch, Size::new(200, 100), Size::new(300, 300));
        assert_eq!((m.inner, m.offset, m.scale), (Size::new(300, 300), [0.0; 2], [1.5, 3.0]));
    }
}
