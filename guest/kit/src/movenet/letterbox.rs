//! How a frame is fitted into a network's input, and the way back.

use super::Rect;

/// `tensor = frame * scale + offset`, along x and y, pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Letterbox {
    /// Tensor pixels per frame pixel, above 0.
    pub scale: [f32; 2],
    /// Where the frame's top left corner lies in the tensor.
    pub offset: [f32; 2],
}

impl Letterbox {
    /// The map that fits a frame (width, height) into `target` with its aspect kept, at the top left corner; the scaled size is rounded to
    /// whole pixels. The host's letterbox reports the same.
    #[must_use]
    pub fn fit(frame: (u32, u32), target: (u32, u32)) -> Self {
        let (w, h) = (f64::from(frame.0.max(1)), f64::from(frame.1.max(1)));
        let scale = (f64::from(target.0) / w).min(f64::from(target.1) / h);
        let inner = |side: f64, limit: u32| (side * scale).round().clamp(1.0, f64::from(limit.max(1)));
        Self { scale: [(inner(w, target.0) / w) as f32, (inner(h, target.1) / h) as f32], offset: [0.0, 0.0] }
    }

    /// The map of an upright square of the frame that was resampled to `size` x `size` pixels: a tile.
    #[must_use]
    pub fn tile(center: [f32; 2], side: f32, size: u32) -> Self {
        let scale = size as f32 / side;
        Self { scale: [scale; 2], offset: center.map(|c| size as f32 / 2.0 - c * scale) }
    }

    /// A tensor position in pixels of the frame.
    #[must_use]
    pub fn to_frame(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        [(x - self.offset[0]) / self.scale[0], (y - self.offset[1]) / self.scale[1]]
    }

    /// A frame position in pixels of the tensor.
    #[must_use]
    pub fn to_tensor(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        [x * self.scale[0] + self.offset[0], y * self.scale[1] + self.offset[1]]
    }

    /// A box of the tensor in pixels of the frame.
    #[must_use]
    pub fn rect_to_frame(&self, rect: &Rect) -> Rect {
        let ([x0, y0], [x1, y1]) = (self.to_frame([rect.x0, rect.y0]), self.to_frame([rect.x1, rect.y1]));
        Rect::new(x0, y0, x1, y1)
    }
}

/// A network's input (width, height) for a frame: both multiples of `multiple`, the longer side `long_side` (rounded up to a multiple), the
/// shorter one just long enough for the frame's aspect. Empty frames give the smallest input.
#[must_use]
pub fn input_size(frame: (u32, u32), long_side: u32, multiple: u32) -> (u32, u32) {
    let multiple = multiple.max(1);
    let up = |v: u32| v.clamp(1, u32::MAX - multiple).div_ceil(multiple) * multiple;
    let long = up(long_side);
    let scale = f64::from(long) / f64::from(frame.0.max(frame.1).max(1));
    let side = |v: u32| up((f64::from(v) * scale).round() as u32);
    (side(frame.0), side(frame.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_multiples_of_32_that_hold_the_frame() {
        assert_eq!(input_size((1920, 1080), 384, 32), (384, 224));
        assert_eq!(input_size((1080, 1920), 384, 32), (224, 384));
        assert_eq!(input_size((640, 640), 250, 32), (256, 256));
        assert_eq!(input_size((4000, 20), 256, 32), (256, 32));
        assert_eq!(input_size((0, 0), 0, 32), (32, 32));
        assert_eq!(input_size((1, 1), u32::MAX, 32).0 % 32, 0);
    }

    #[test]
    fn there_and_back() {
        let map = Letterbox::fit((1768, 994), (384, 224));
        assert!((map.scale[1] - 216.0 / 994.0).abs() < 1e-7, "the scaled height is rounded to whole pixels");
        let [x, y] = map.to_frame(map.to_tensor([1234.5, 678.9]));
        assert!((x - 1234.5).abs() < 1e-3 && (y - 678.9).abs() < 1e-3);
    }

    #[test]
    fn a_tile_maps_its_corners() {
        let map = Letterbox::tile([500.0, 300.0], 200.0, 256);
        assert_eq!(map.to_frame([0.0, 0.0]), [400.0, 200.0]);
        assert_eq!(map.to_frame([256.0, 256.0]), [600.0, 400.0]);
    }
}
