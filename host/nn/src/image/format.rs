//! The pictures that a network takes: their size and how frames fill them, and how their values lie in a tensor.

use half::f16;
use halfpipe_core::{Fit, Normalization, Size};
use serde::Deserialize;

use crate::{Tensor, TensorError, TensorType};

/// Order of a picture tensor's dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PixelLayout {
    /// `[n, 3, height, width]`.
    #[default]
    Nchw,
    /// `[n, height, width, 3]`.
    Nhwc,
    /// `[3, height, width]`, one picture.
    Chw,
    /// `[height, width, 3]`, one picture.
    Hwc,
}

impl PixelLayout {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Nchw, Self::Nhwc, Self::Chw, Self::Hwc];

    /// Dimensions of a tensor of `n` pictures; of one where the layout has no place for a number of them.
    #[must_use]
    pub fn dims(self, n: usize, height: usize, width: usize) -> Vec<usize> {
        match self {
            Self::Nchw => vec![n, 3, height, width],
            Self::Nhwc => vec![n, height, width, 3],
            Self::Chw => vec![3, height, width],
            Self::Hwc => vec![height, width, 3],
        }
    }

    /// Whether a tensor holds any number of pictures.
    #[must_use]
    pub const fn has_batch(self) -> bool {
        matches!(self, Self::Nchw | Self::Nhwc)
    }

    /// Whether each channel is a plane of its own.
    const fn is_planar(self) -> bool {
        matches!(self, Self::Nchw | Self::Chw)
    }
}

/// Order of a picture tensor's channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelOrder {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red.
    Bgr,
}

/// The pictures that a network takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PictureFormat {
    /// Pixels.
    pub size: Size,
    /// How a frame fills them.
    pub fit: Fit,
    /// Red, green and blue around the frame, before normalisation.
    pub fill: [u8; 3],
    /// Normalisation by red, green and blue, whatever the order of channels.
    pub norm: Normalization,
    /// Order of dimensions.
    pub layout: PixelLayout,
    /// Order of channels.
    pub channels: ChannelOrder,
    /// f32, f16, or u8: normalised values rounded, and kept within 0 to 255.
    pub element: TensorType,
}

impl PictureFormat {
    /// Element types that pictures may have.
    pub const ELEMENTS: [TensorType; 3] = [TensorType::F32, TensorType::F16, TensorType::U8];

    /// `[n, 3, height, width]`, f32, RGB; the aspect kept, the frame at the top left corner, the rest black.
    #[must_use]
    pub fn letterbox(size: Size, norm: Normalization) -> Self {
        Self {
            size,
            fit: Fit::LetterboxCorner,
            fill: [0; 3],
            norm,
            layout: PixelLayout::default(),
            channels: ChannelOrder::default(),
            element: TensorType::F32,
        }
    }

    /// Bytes of a tensor of `n` pictures.
    #[must_use]
    pub const fn bytes(&self, n: usize) -> usize {
        n.saturating_mul(3 * self.element.bytes()).saturating_mul(self.size.area())
    }

    /// Whether pictures are planes of f32 in RGB order, which is how they are made.
    pub(super) fn is_as_made(&self) -> bool {
        self.layout.is_planar() && self.channels == ChannelOrder::Rgb && self.element == TensorType::F32
    }
}

/// Pictures on their way from RGB planes of f32 to what a network takes.
pub(super) enum Packed {
    F32(Vec<f32>),
    F16(Vec<f16>),
    U8(Vec<u8>),
}

impl Packed {
    /// With room for `len` values; none for an element type that pictures do not have.
    pub(super) fn with_room(element: TensorType, len: usize) -> Option<Self> {
        match element {
            TensorType::F32 => Some(Self::F32(Vec::with_capacity(len))),
            TensorType::F16 => Some(Self::F16(Vec::with_capacity(len))),
            TensorType::U8 => Some(Self::U8(Vec::with_capacity(len))),
            _ => None,
        }
    }

    /// Adds a picture, of which `planes` has red, green and blue.
    pub(super) fn push(&mut self, planes: &[f32], layout: PixelLayout, channels: ChannelOrder) {
        match self {
            Self::F32(values) => extend(values, planes, layout, channels, |v| v),
            Self::F16(values) => extend(values, planes, layout, channels, f16::from_f32),
            // the cast keeps to 0..=255
            Self::U8(values) => extend(values, planes, layout, channels, |v| v.round() as u8),
        }
    }

    /// The tensor.
    pub(super) fn tensor(self, dims: Vec<usize>) -> Result<Tensor, TensorError> {
        match self {
            Self::F32(values) => Tensor::from_vec(dims, values),
            Self::F16(values) => Tensor::from_vec(dims, values),
            Self::U8(values) => Tensor::from_vec(dims, values),
        }
    }
}

fn extend<T>(out: &mut Vec<T>, planes: &[f32], layout: PixelLayout, channels: ChannelOrder, convert: impl Fn(f32) -> T) {
    let area = planes.len() / 3;
    let order = match channels {
        ChannelOrder::Rgb => [0, 1, 2],
        ChannelOrder::Bgr => [2, 1, 0],
    };
    let [first, second, third] = order.map(|c| &planes[c * area..][..area]);
    if layout.is_planar() {
        out.extend([first, second, third].into_iter().flatten().map(|v| convert(*v)));
    } else {
        out.extend(first.iter().zip(second).zip(third).flat_map(|((a, b), c)| [*a, *b, *c]).map(convert));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_pixels_in_every_order_and_type() {
        // red 1 and 2, green 10 and 20, blue 100 and 200
        let planes = [1.0, 2.0, 10.0, 20.0, 100.0, 200.0];
        for (layout, channels, wanted) in [
            (PixelLayout::Nchw, ChannelOrder::Rgb, [1.0, 2.0, 10.0, 20.0, 100.0, 200.0]),
            (PixelLayout::Chw, ChannelOrder::Bgr, [100.0, 200.0, 10.0, 20.0, 1.0, 2.0]),
            (PixelLayout::Nhwc, ChannelOrder::Rgb, [1.0, 10.0, 100.0, 2.0, 20.0, 200.0]),
            (PixelLayout::Hwc, ChannelOrder::Bgr, [100.0, 10.0, 1.0, 200.0, 20.0, 2.0]),
        ] {
            let packed = |element| {
                let mut packed = Packed::with_room(element, 6).unwrap();
                packed.push(&planes, layout, channels);
                packed.tensor(layout.dims(1, 1, 2)).unwrap()
            };
            assert_eq!(packed(TensorType::F32).as_f32().unwrap(), wanted, "{layout:?} {channels:?}");
            assert_eq!(packed(TensorType::F16).as_slice::<f16>().unwrap(), wanted.map(f16::from_f32), "{layout:?} {channels:?}");
            assert_eq!(packed(TensorType::U8).as_slice::<u8>().unwrap(), wanted.map(|v| v as u8), "{layout:?} {channels:?}");
        }
        assert!(Packed::with_room(TensorType::I64, 6).is_none());
    }

    #[test]
    fn levels_are_rounded_and_kept_within_a_byte() {
        let mut packed = Packed::with_room(TensorType::U8, 6).unwrap();
        packed.push(&[-3.0, 0.4, 0.6, 254.6, 300.0, f32::NAN], PixelLayout::Chw, ChannelOrder::Rgb);
        assert_eq!(packed.tensor(vec![6]).unwrap().as_slice::<u8>().unwrap(), [0, 0, 1, 255, 255, 0]);
    }
}
