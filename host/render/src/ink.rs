//! From tone and slot to the samples of the output: what a lit body's colour is in a video's own colour space.

use halfpipe_core::{Colour, Rgb};

/// `[y, cb, cr]` of every tone of every slot.
#[derive(Debug)]
pub(crate) struct Ink(Vec<[[u8; 3]; 256]>);

impl Ink {
    /// The ink of the slots 1, 2, ...: each slot's colour times the tone, which runs from 0 (black) to 255 (the colour itself).
    pub(crate) fn new(slots: impl Iterator<Item = Rgb>, colour: Colour) -> Self {
        let black = colour.from_rgb([0.0; 3]);
        Self(
            slots
                .map(|rgb| {
                    let full = colour.from_rgb([rgb.0, rgb.1, rgb.2].map(f32::from));
                    // the conversion is affine, so the samples are too
                    std::array::from_fn(|tone| {
                        std::array::from_fn(|c| (black[c] + (full[c] - black[c]) * tone as f32 / 255.0).round() as u8)
                    })
                })
                .collect(),
        )
    }

    /// `[y, cb, cr]` of a sample; `slot` is at least 1 and one of those given to [`Ink::new`].
    #[inline]
    pub(crate) fn of(&self, slot: u8, tone: u8) -> [u8; 3] {
        self.0[usize::from(slot) - 1][usize::from(tone)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use halfpipe_core::{Matrix, Range};

    #[test]
    fn tones_run_from_black_to_the_colour() {
        let colour = Colour { matrix: Matrix::Bt709, range: Range::Limited };
        let ink = Ink::new([Rgb(0, 0, 255), Rgb(255, 0, 0)].into_iter(), colour);
        assert_eq!(ink.of(2, 255), [63, 102, 240]);
        assert_eq!(ink.of(2, 0), [16, 128, 128]);
        let half = colour.to_rgb(ink.of(2, 128).map(f32::from));
        assert!((half[0] - 128.0).abs() < 2.0 && half[1] < 2.0 && half[2] < 2.0, "{half:?}");
    }
}
