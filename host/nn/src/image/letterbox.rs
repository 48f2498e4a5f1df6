//! Letterbox: a whole frame scaled to fit into a tensor, or to fill it, the rest of one colour.
//!
//! The three planes are scaled first and converted to RGB at the small size, which costs a fraction of the other order.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use halfpipe_core::{Colour, LetterboxMap, Picture, Size};

use super::colour::{Affine, ToRgb};
use super::format::PictureFormat;
use crate::NnError;

/// Letterboxes pictures; keeps its scratch planes.
#[derive(Debug, Default)]
pub(super) struct Letterboxer {
    resizer: Resizer,
    planes: [Vec<u8>; 3],
}

impl Letterboxer {
    /// Writes one picture, scaled and placed as `map` says, into the planes `[3, height, width]`, normalised, in RGB order.
    pub(super) fn run(
        &mut self,
        picture: &Picture,
        colour: Colour,
        map: &LetterboxMap,
        format: &PictureFormat,
        planes: &mut [f32],
    ) -> Result<(), NnError> {
        let inner = map.inner;
        let Size { width, height } = picture.size();
        let chroma = picture.size().chroma();
        let [y, cb, cr] = picture.planes();
        self.scale(0, y, [width, height], [f64::from(width), f64::from(height)], inner)?;
        for (i, plane) in [(1, cb), (2, cr)] {
            // of an odd size, the last chroma sample covers a luma pixel that is not there
            self.scale(i, plane, [chroma.width, chroma.height], [f64::from(width) / 2.0, f64::from(height) / 2.0], inner)?;
        }
        self.convert(colour, map, format, planes);
        Ok(())
    }

    /// Scales the part `[0, used)` of a plane to `inner`.
    fn scale(&mut self, i: usize, plane: &[u8], [width, height]: [u32; 2], used: [f64; 2], inner: Size) -> Result<(), NnError> {
        // both filters are centred, which Box is not: its windows of whole pixels shift the picture by up to half a pixel
        let shrinks = f64::from(inner.width) < used[0];
        let filter = if shrinks { FilterType::Hamming } else { FilterType::Bilinear };
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).crop(0.0, 0.0, used[0], used[1]);
        let failed = |e: &dyn std::fmt::Display| NnError::InvalidArgument(format!("a picture of {width}x{height} cannot be scaled: {e}"));
        let from = TypedImageRef::<U8>::from_buffer(width, height, plane).map_err(|e| failed(&e))?;
        self.planes[i].resize(inner.area(), 0);
        let mut to = TypedImage::<U8>::from_buffer(inner.width, inner.height, &mut self.planes[i]).map_err(|e| failed(&e))?;
        self.resizer.resize_typed(&from, &mut to, &options).map_err(|e| failed(&e))
    }

    fn convert(&self, colour: Colour, map: &LetterboxMap, format: &PictureFormat, planes: &mut [f32]) {
        let (to_rgb, affine, target) = (ToRgb::new(colour), Affine::new(format.norm), format.size);
        let (scale, offset) = affine.lanes();
        let around: [f32; 3] = std::array::from_fn(|c| f32::from(format.fill[c]) * affine.scale[c] + affine.offset[c]);
        let (width, inner_width, inner_height) = (target.width as usize, map.inner.width as usize, map.inner.height as usize);
        // whole pixels, see `LetterboxMap::of`
        let [left, top] = map.offset.map(|pixels| pixels as usize);
        let (red, rest) = planes.split_at_mut(target.area());
        let (green, blue) = rest.split_at_mut(target.area());
        let rows = red.chunks_exact_mut(width).zip(green.chunks_exact_mut(width)).zip(blue.chunks_exact_mut(width));
        for (v, ((r, g), b)) in rows.enumerate() {
            let inside = if (top..top + inner_height).contains(&v) { left..left + inner_width } else { 0..0 };
            if !inside.is_empty() {
                let [y, cb, cr] = self.planes.each_ref().map(|p| &p[(v - top) * inner_width..][..inner_width]);
                let samples = y.iter().zip(cb).zip(cr);
                let [r, g, b] = [&mut *r, &mut *g, &mut *b].map(|row| row[inside.clone()].iter_mut());
                for (((y, cb), cr), ((r, g), b)) in samples.zip(r.zip(g).zip(b)) {
                    let rgb = to_rgb.lanes(f32::from(*y), f32::from(*cb), f32::from(*cr)) * scale + offset;
                    [*r, *g, *b, _] = rgb.to_array();
                }
            }
            for (row, level) in [r, g, b].into_iter().zip(around) {
                row[..inside.start].fill(level);
                row[inside.end..].fill(level);
            }
        }
    }
}
