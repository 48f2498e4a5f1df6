//! The square of a frame that HMR2 looks at (4D-Humans' `ViTDetDataset` and `expand_to_aspect_ratio`).
//!
//! 4D-Humans warps with OpenCV, which takes pixel `i` to lie at `i`, and a box's numbers go into its matrix as the detector gave
//! them. The host's `blurred-crops` counts pixels in the same way, so nothing is shifted here.

use super::INPUT;
use crate::movenet::Rect;

/// Width and height that a box is grown to: the network looks at the middle 192 of 256 columns.
const ASPECT: [f32; 2] = [192.0, 256.0];
/// A crop that shrinks the frame by more than twice this is blurred first.
const BLUR_FROM: f32 = 1.1;

/// A square around a person, pixels of the frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PersonCrop {
    /// Middle of the person's box.
    pub center: [f32; 2],
    /// Side of the square.
    pub side: f32,
    /// Standard deviation of the Gaussian blur that the frame gets before it is resampled, pixels; 0 for none.
    pub blur: f32,
}

impl PersonCrop {
    /// The square for a person's box: the longer side of the box grown to 192:256. `None` for a box without area.
    #[must_use]
    pub fn from_box(bbox: &Rect) -> Option<Self> {
        let (width, height) = (bbox.width(), bbox.height());
        if !(bbox.is_finite() && width > 0.0 && height > 0.0) {
            return None;
        }
        let side = height.max(width * ASPECT[1] / ASPECT[0]);
        // half of how much the frame is shrunk, as 4D-Humans counts it
        let shrink = side / INPUT as f32 / 2.0;
        let blur = if shrink > BLUR_FROM { (shrink - 1.0) / 2.0 } else { 0.0 };
        Some(Self { center: bbox.center(), side, blur })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crop(width: f32, height: f32) -> PersonCrop {
        PersonCrop::from_box(&Rect::new(100.0, 50.0, 100.0 + width, 50.0 + height)).unwrap()
    }

    #[test]
    fn a_tall_box_gives_its_height_and_a_wide_one_grows() {
        assert_eq!(crop(100.0, 300.0).side, 300.0);
        assert_eq!(crop(300.0, 300.0).side, 400.0);
        assert_eq!(crop(192.0, 256.0).side, 256.0);
        assert_eq!(crop(600.0, 90.0).side, 800.0);
        assert_eq!(crop(100.0, 300.0).center, [150.0, 200.0]);
    }

    #[test]
    fn blur_begins_where_the_frame_is_shrunk_by_more_than_2_2() {
        assert_eq!(crop(10.0, 563.0).blur, 0.0);
        let blur = crop(10.0, 564.0).blur;
        assert!((blur - (564.0 / 512.0 - 1.0) / 2.0).abs() < 1e-6, "{blur}");
        assert!((crop(10.0, 1536.0).blur - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_box_without_area_has_no_crop() {
        for rect in [Rect::new(5.0, 5.0, 5.0, 9.0), Rect::new(9.0, 5.0, 5.0, 9.0), Rect::new(f32::NAN, 0.0, 1.0, 1.0)] {
            assert_eq!(PersonCrop::from_box(&rect), None, "{rect:?}");
        }
    }
}
