//! Mixing a drawn patch into the planes of a picture.
//!
//! Luma is mixed pixel by pixel; a chroma sample by the mean over its (up to four) pixels of what each replaces, weighted with
//! how much it replaces (premultiplied). A pixel counts as changed if its luma byte or the chroma bytes over it came out different.

use halfpipe_core::Picture;

use crate::ink::Ink;
use crate::patch::Rect;
use crate::resolve::{Resolver, Samples, Touch};

/// Whole weight of a pixel, see [`Touch::weight`].
const WHOLE: u32 = 256;

/// Scratch space for blending.
#[derive(Debug, Default)]
pub(crate) struct Blender {
    resolver: Resolver,
    upper: Vec<Touch>,
    lower: Vec<Touch>,
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
            // an odd last row or column stands for the one that is missing beyond it
            let pair = y + 1 < height;
            for touches in [&mut *upper, &mut *lower] {
                touches.clear();
                touches.resize(width, Touch::default());
            }
            let mut range = resolver.row(samples, ink, y, upper);
            if pair {
                let second = resolver.row(samples, ink, y + 1, lower);
                range = match (range.is_empty(), second.is_empty()) {
                    (true, _) => second,
                    (_, true) => range,
                    _ => range.start.min(second.start)..range.end.max(second.end),
                };
            }
            let second = if pair { &*lower } else { &*upper };

            let chroma_row = ((top + y) / 2) * chroma_width + left / 2;
            for column in range.start / 2..range.end.div_ceil(2) {
                let x = 2 * column;
                let right = (x + 1).min(width - 1);
                let quad = [upper[x], upper[right], second[x], second[right]];
                let sum = |f: fn(&Touch) -> u32| f(&quad[0]) + f(&quad[1]) + f(&quad[2]) + f(&quad[3]);
                let weight = sum(|t| u32::from(t.weight));
                if weight == 0 {
                    continue;
                }
                let at = chroma_row + column;
                let new_cb = mix(cb[at], 4 * WHOLE - weight, sum(|t| u32::from(t.weight) * u32::from(t.ycc[1])), 4 * WHOLE);
                let new_cr = mix(cr[at], 4 * WHOLE - weight, sum(|t| u32::from(t.weight) * u32::from(t.ycc[2])), 4 * WHOLE);
                let chroma_changed = new_cb != cb[at] || new_cr != cr[at];
                (cb[at], cr[at]) = (new_cb, new_cr);

                for (row, touches) in [&*upper, &*lower].into_iter().enumerate().take(1 + usize::from(pair)) {
                    let at = (top + y + row) * luma_width + left;
                    for x in x..=right {
                        let Touch { weight, slot, ycc } = touches[x];
                        let old = &mut luma[at + x];
                        let new = mix(*old, WHOLE - u32::from(weight), u32::from(weight) * u32::from(ycc[0]), WHOLE);
                        if weight != 0 && (chroma_changed || new != *old) {
                            changed[usize::from(slot) - 1] += 1;
                        }
                        *old = new;
                    }
                }
            }
        }
    }
}

/// `(old * keep + add) / whole`, rounded.
#[inline]
fn mix(old: u8, keep: u32, add: u32, whole: u32) -> u8 {
    ((u32::from(old) * keep + add + whole / 2) / whole) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use halfpipe_core::{Colour, Matrix, Range, Rgb, Size};

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
        let ink = Ink::new([Rgb(255, 255, 255); 2].into_iter(), Colour { matrix: Matrix::Bt601, range: Range::Full });
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
        let ink = Ink::new([Rgb(255, 255, 255)].into_iter(), Colour { matrix: Matrix::Bt601, range: Range::Full });
        let mut changed = [0];
        Blender::default().blend(&mut picture, rect, &samples, &ink, 200, &mut changed);
        assert_eq!(changed, [0]);
        assert_eq!(picture, Picture::filled(size, [255, 128, 128]));
    }
}
