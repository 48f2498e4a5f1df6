//! From tone and slot to the samples of the output: what a lit body's colour is in a video's own colour space.

use halfpipe_core::{Colour, Rgb, Shading};

/// The exponent of displays as 4D-Humans' renderer takes it.
const GAMMA: f32 = 2.2;
/// What a tone of 1 stands for in raymond light, as a multiple of the brightest value shown: more than the lights together
/// reach. `RAYMOND_PEAK` of `shader/body.wgsl`.
const RAYMOND_PEAK: f32 = 1.25;

/// `[y, cb, cr]` of every tone of every slot.
#[derive(Debug)]
pub(crate) struct Ink(Vec<[[u8; 3]; 256]>);

impl Ink {
    /// The ink of the slots 1, 2, ...: each slot's colour times the tone, which runs from 0 (black) to 255. In soft light 255 is
    /// the colour itself. In raymond light a colour is what the surface reflects of linear light; what is brighter than white
    /// is white.
    pub(crate) fn new(slots: impl Iterator<Item = Rgb>, shading: Shading, colour: Colour) -> Self {
        let peak = |value: u8| match shading {
            Shading::Soft => f32::from(value),
            Shading::Raymond => 255.0 * RAYMOND_PEAK * (f32::from(value) / 255.0).powf(1.0 / GAMMA),
        };
        let samples = |peak: [f32; 3], tone: usize| {
            colour.from_rgb(peak.map(|value| (value * tone as f32 / 255.0).min(255.0))).map(|sample| sample.round() as u8)
        };
        Self(
            slots
                .map(|Rgb(r, g, b)| {
                    let peak = [r, g, b].map(peak);
                    std::array::from_fn(|tone| samples(peak, tone))
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

    const HD: Colour = Colour { matrix: Matrix::Bt709, range: Range::Limited };

    #[test]
    fn tones_run_from_black_to_the_colour() {
        let ink = Ink::new([Rgb(0, 0, 255), Rgb(255, 0, 0)].into_iter(), Shading::Soft, HD);
        assert_eq!(ink.of(2, 255), [63, 102, 240]);
        assert_eq!(ink.of(2, 0), [16, 128, 128]);
        let half = HD.to_rgb(ink.of(2, 128).map(f32::from));
        assert!((half[0] - 128.0).abs() < 2.0 && half[1] < 2.0 && half[2] < 2.0, "{half:?}");
    }

    #[test]
    fn raymond_colours_are_linear_light() {
        let ink = Ink::new([Rgb(128, 255, 0)].into_iter(), Shading::Raymond, HD);
        // a tone of 1 / 1.25 is the colour in full light: (128 / 255)^(1 / 2.2) = 0.731
        let full = HD.to_rgb(ink.of(1, 204).map(f32::from));
        assert!((full[0] - 186.4).abs() < 2.5 && (full[1] - 255.0).abs() < 2.5 && full[2] < 2.5, "{full:?}");
        let over = HD.to_rgb(ink.of(1, 255).map(f32::from));
        assert!((over[0] - 1.25 * 186.4).abs() < 2.5 && (over[1] - 255.0).abs() < 2.5, "{over:?}");
    }
}
