//! Mixing a drawn patch into the planes of a picture.
//!
//! Luma is mixed pixel by pixel; a chroma sample by the mean over its (up to four) pixels of what each replaces, weighted with
//! how much it replaces (premultiplied). A pixel counts as changed if its luma byte or the chroma bytes over it came out different.

use std::ops::Range;

use halfpipe_core::Picture;

use crate::ink::Ink;
use crate::patch::Rect;
use crate::resolve::{Resolver, Samples, TouchRow};

/// Whole weight of a pixel, see [`TouchRow::weight`].
const WHOLE: u32 = 256;

/// Scratch space for blending.
#[derive(Debug, Default)]
pub(crate) struct Blender {
    resolver: Resolver,
    upper: BlendRow,
    lower: BlendRow,
}

/// A row of pixels while it is mixed.
#[derive(Debug, Default)]
struct BlendRow {
    touches: TouchRow,
    /// 1 where the pixel changed.
    changed: Vec<u8>,
}

impl Blender {
    /// Mixes `samples` (of the pixels of `rect`) into `picture`; `opacity` in 256ths. Adds to `changed`, one number a slot from
    /// slot 1, the pixels that changed.
    pub(crate) fn blend(&mut self, picture: &mut Picture, rect: Rect, samples: &Samples<'_>, ink: &Ink, opacity: u16, changed: &mut [u32]) {
        let size = picture.size();
        let (luma_width, chroma_width) = (size.width as usize, size.chroma().width as usize);
        let [left, top, width, height] = [rect.x, rect.y, rect.width, rect.height].map(|v| v as usize);
        let [luma, cb, cr] = picture.planes_mut();
        let Self { resolver, upper, lower } = self;
        resolver.start(samples, opacity);

        for y in (0..height).step_by(2) {
            // an odd last row stands for the one that is missing beyond it
            let rows = if y + 1 < height { 2 } else { 1 };
            let mut touched = width..0;
            for (row, blended) in [&mut *upper, &mut *lower].into_iter().enumerate().take(rows) {
                let start = (top + y + row) * luma_width + left;
                let range = blended.mix_luma(resolver, samples, ink, y + row, &mut luma[start..start + width]);
                touched = touched.start.min(range.start)..touched.end.max(range.end);
            }
            if touched.is_empty() {
                continue;
            }
            let start = ((top + y) / 2) * chroma_width + left / 2;
            let end = start + width.div_ceil(2);
            let second = (rows == 2).then_some(&mut *lower);
            mix_chroma(upper, second, touched.clone(), &mut cb[start..end], &mut cr[start..end]);
            for blended in [&*upper, &*lower].into_iter().take(rows) {
                blended.count(touched.clone(), changed);
            }
        }
    }
}

impl BlendRow {
    /// Resolves pixel row `y` and mixes it into `luma`; returns the range of pixels that may be touched.
    fn mix_luma(&mut self, resolver: &Resolver, samples: &Samples<'_>, ink: &Ink, y: usize, luma: &mut [u8]) -> Range<usize> {
        let Self { touches, changed } = self;
        touches.clear(luma.len());
        changed.clear();
        changed.resize(luma.len(), 0);
        let range = resolver.row(samples, ink, y, touches);
        if range.is_empty() {
            return luma.len()..0;
        }
        let touched = touches.weight[range.clone()].iter().zip(&touches.y[range.clone()]);
        for ((old, changed), (&weight, &new)) in luma[range.clone()].iter_mut().zip(&mut changed[range.clone()]).zip(touched) {
            let mixed = mix::<WHOLE>(*old, u32::from(weight), u32::from(weight) * u32::from(new));
            *changed = u8::from(mixed != *old);
            *old = mixed;
        }
        range
    }

    /// Adds the changed pixels to their slots' numbers.
    fn count(&self, range: Range<usize>, changed: &mut [u32]) {
        if let [only] = changed {
            *only += self.changed[range].iter().map(|&c| u32::from(c)).sum::<u32>();
            return;
        }
        for (&slot, &pixel) in self.touches.slot[range.clone()].iter().zip(&self.changed[range]) {
            if pixel != 0 {
                changed[usize::from(slot) - 1] += 1;
            }
        }
    }
}

/// Mixes the chroma samples under two rows of pixels (or under one, where the frame ends with it), and marks the touched pixels
/// over those that changed.
fn mix_chroma(upper: &mut BlendRow, mut lower: Option<&mut BlendRow>, touched: Range<usize>, cb: &mut [u8], cr: &mut [u8]) {
    let width = upper.changed.len();
    for column in touched.start / 2..touched.end.div_ceil(2) {
        // an odd last column stands for the one that is missing beyond it
        let pair = [2 * column, (2 * column + 1).min(width - 1)];
        let [mut weight, mut blue, mut red] = [0; 3];
        let second = lower.as_deref().unwrap_or(upper);
        for row in [&upper.touches, &second.touches] {
            for x in pair {
                let w = u32::from(row.weight[x]);
                weight += w;
                blue += w * u32::from(row.cb[x]);
                red += w * u32::from(row.cr[x]);
            }
        }
        if weight == 0 {
            continue;
        }
        let new = (mix::<{ 4 * WHOLE }>(cb[column], weight, blue), mix::<{ 4 * WHOLE }>(cr[column], weight, red));
        if new != (cb[column], cr[column]) {
            (cb[column], cr[column]) = new;
            for row in [Some(&mut *upper), lower.as_deref_mut()].into_iter().flatten() {
                for x in pair {
                    row.changed[x] |= u8::from(row.touches.weight[x] != 0);
                }
            }
        }
    }
}

/// `(old * (whole - weight) + add) / whole`, rounded; `weight` is at most `whole`, and `add` at most 255 times it.
#[inline]
fn mix<const WHOLE: u32>(old: u8, weight: u32, add: u32) -> u8 {
    // nothing here can overflow; checks for it would keep the loops out of wide registers
    let keep = u32::from(old).wrapping_mul(WHOLE.wrapping_sub(weight));
    (keep.wrapping_add(add).wrapping_add(WHOLE / 2) / WHOLE) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use halfpipe_core::{Colour, Matrix, Range, Rgb, Shading, Size};

    /// Blends white at full tone where `slots` is not 0 (two samples along each axis) into a picture of black.
    fn blended(size: Size, rect: Rect, slots: &[u8], opacity: u16) -> (Picture, Vec<u32>) {
        let bytes: Vec<u8> = slots.iter().flat_map(|&slot| [255, slot]).collect();
        let samples = Samples {
            bytes: &bytes,
            stride: rect.width as usize * 4,
            width: rect.width as usize,
            height: rect.height as usize,
            supersample: 2,
        };
        let mut picture = Picture::filled(size, [0, 100, 128]);
        let ink = Ink::new([Rgb(255, 255, 255); 2].into_iter(), Shading::Soft, Colour { matrix: Matrix::Bt601, range: Range::Full });
        let mut changed = vec![0; 2];
        Blender::default().blend(&mut picture, rect, &samples, &ink, opacity, &mut changed);
        (picture, changed)
    }

    #[test]
    fn a_whole_rectangle_is_replaced_and_nothing_beside_it() {
        let rect = Rect { x: 2, y: 2, width: 2, height: 2 };
        let (picture, changed) = blended(Size::new(6, 6), rect, &[1; 16], 256);
        let [luma, cb, cr] = picture.planes();
        for (i, &y) in luma.iter().enumerate() {
            let inside = (2..4).contains(&(i % 6)) && (2..4).contains(&(i / 6));
            assert_eq!(y, if inside { 255 } else { 0 }, "{i}");
        }
        assert_eq!(cb, [100, 100, 100, 100, 128, 100, 100, 100, 100]);
        assert!(cr.iter().all(|&v| v == 128));
        assert_eq!(changed, [4, 0]);
    }

    #[test]
    fn opacity_and_coverage_multiply() {
        // one of the four pixels is covered by half
        let mut slots = [0; 16];
        (slots[0], slots[1]) = (2, 2);
        let (picture, changed) = blended(Size::new(2, 2), Rect { x: 0, y: 0, width: 2, height: 2 }, &slots, 128);
        assert_eq!(picture.planes()[0], [64, 0, 0, 0]);
        assert_eq!(picture.planes()[1], [100 + 2], "an eighth of a quarter of 28 is 0.9, a quarter of a quarter 1.75");
        assert_eq!(changed, [0, 1]);
    }

    #[test]
    fn an_odd_corner_has_its_chroma_alone() {
        let (picture, changed) = blended(Size::new(3, 3), Rect { x: 2, y: 2, width: 1, height: 1 }, &[1; 4], 256);
        assert_eq!(picture.planes()[0], [0, 0, 0, 0, 0, 0, 0, 0, 255]);
        assert_eq!(picture.planes()[1], [100, 100, 100, 128]);
        assert_eq!(changed, [1, 0]);
    }

    #[test]
    fn what_stays_the_same_is_not_counted() {
        let size = Size::new(2, 2);
        let rect = Rect { x: 0, y: 0, width: 2, height: 2 };
        let bytes = [255, 1].repeat(16);
        let samples = Samples { bytes: &bytes, stride: 8, width: 2, height: 2, supersample: 2 };
        let mut picture = Picture::filled(size, [255, 128, 128]);
        let ink = Ink::new([Rgb(255, 255, 255)].into_iter(), Shading::Soft, Colour { matrix: Matrix::Bt601, range: Range::Full });
        let mut changed = [0];
        Blender::default().blend(&mut picture, rect, &samples, &ink, 200, &mut changed);
        assert_eq!(changed, [0]);
        assert_eq!(picture, Picture::filled(size, [255, 128, 128]));
    }
}
