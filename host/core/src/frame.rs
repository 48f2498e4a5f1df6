//! Pictures in YCbCr 4:2:0 and batches of them with their own timestamps.

use std::sync::Arc;

use crate::recycle::Home;
use crate::{Pending, Recycler};

/// Width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Size {
    /// Pixels along x.
    pub width: u32,
    /// Pixels along y.
    pub height: u32,
}

impl Size {
    /// A size.
    #[must_use]
    pub const fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }
    /// Number of pixels.
    #[must_use]
    pub const fn area(self) -> usize {
        self.width as usize * self.height as usize
    }
    /// Size of the chroma planes: half, rounded up.
    #[must_use]
    pub const fn chroma(self) -> ChromaSize {
        ChromaSize { width: self.width.div_ceil(2), height: self.height.div_ceil(2) }
    }
    /// Bytes of one 8-bit 4:2:0 picture of this size.
    #[must_use]
    pub const fn picture_bytes(self) -> usize {
        let c = self.chroma();
        self.area() + 2 * c.width as usize * c.height as usize
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// Size of a chroma plane of a 4:2:0 picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChromaSize {
    /// Samples along x.
    pub width: u32,
    /// Samples along y.
    pub height: u32,
}

/// A ratio of integers, e.g. a frame rate (frames per second) or a time base (seconds per tick).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rational {
    /// Numerator.
    pub num: i64,
    /// Denominator, above 0.
    pub den: i64,
}

impl Rational {
    /// A ratio; `den` must be above 0.
    #[must_use]
    pub const fn new(num: i64, den: i64) -> Self {
        Self { num, den }
    }
    /// As a floating-point number.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        self.num as f64 / self.den as f64
    }
}

/// The luma/chroma matrix (ITU-R H.273 matrix coefficients).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matrix {
    /// BT.601 (SD video; the default below 720 lines where a file does not say).
    Bt601,
    /// BT.709 (HD video).
    Bt709,
    /// BT.2020 non-constant luminance.
    Bt2020,
}

impl Matrix {
    /// Kr and Kb of the matrix.
    #[must_use]
    pub const fn kr_kb(self) -> (f32, f32) {
        match self {
            Self::Bt601 => (0.299, 0.114),
            Self::Bt709 => (0.2126, 0.0722),
            Self::Bt2020 => (0.2627, 0.0593),
        }
    }
}

/// Range of the 8-bit samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// Luma 16..=235, chroma 16..=240.
    Limited,
    /// 0..=255.
    Full,
}

/// How samples map to colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour {
    /// Matrix between RGB and YCbCr.
    pub matrix: Matrix,
    /// Sample range.
    pub range: Range,
}

impl Colour {
    /// Converts one full-range RGB colour (0..=255 each) to 8-bit samples `[y, cb, cr]`.
    #[must_use]
    pub fn from_rgb(self, rgb: [f32; 3]) -> [f32; 3] {
        let (kr, kb) = self.matrix.kr_kb();
        let y = kr * rgb[0] + (1.0 - kr - kb) * rgb[1] + kb * rgb[2];
        let cb = (rgb[2] - y) / (2.0 * (1.0 - kb));
        let cr = (rgb[0] - y) / (2.0 * (1.0 - kr));
        match self.range {
            Range::Full => [y, cb + 128.0, cr + 128.0],
            Range::Limited => [16.0 + y * (219.0 / 255.0), 128.0 + cb * (224.0 / 255.0), 128.0 + cr * (224.0 / 255.0)],
        }
    }
    /// Converts 8-bit samples `[y, cb, cr]` to RGB on the scale 0..=255, clamped.
    #[must_use]
    pub fn to_rgb(self, ycc: [f32; 3]) -> [f32; 3] {
        let (kr, kb) = self.matrix.kr_kb();
        let (y, cb, cr) = match self.range {
            Range::Full => (ycc[0], ycc[1] - 128.0, ycc[2] - 128.0),
            Range::Limited => ((ycc[0] - 16.0) * (255.0 / 219.0), (ycc[1] - 128.0) * (255.0 / 224.0), (ycc[2] - 128.0) * (255.0 / 224.0)),
        };
        let r = y + 2.0 * (1.0 - kr) * cr;
        let b = y + 2.0 * (1.0 - kb) * cb;
        let g = (y - kr * r - kb * b) / (1.0 - kr - kb);
        [r.clamp(0.0, 255.0), g.clamp(0.0, 255.0), b.clamp(0.0, 255.0)]
    }
}

/// One 8-bit planar YCbCr 4:2:0 picture, rows packed without padding: Y, then Cb, then Cr.
///
/// Chroma planes are `ceil(w/2) x ceil(h/2)`; chroma sample (i, j) covers luma pixels 2i..2i+2, 2j..2j+2.
#[derive(Debug)]
pub struct Picture {
    size: Size,
    data: Vec<u8>,
    home: Home,
}

impl Clone for Picture {
    fn clone(&self) -> Self {
        Self { size: self.size, data: self.data.clone(), home: self.home.clone() }
    }
}

impl PartialEq for Picture {
    fn eq(&self, other: &Self) -> bool {
        self.size == other.size && self.data == other.data
    }
}

impl Eq for Picture {}

impl Drop for Picture {
    fn drop(&mut self) {
        self.home.take_back(std::mem::take(&mut self.data));
    }
}

impl Picture {
    /// Wraps packed planes; `None` where `data` is not exactly [`Size::picture_bytes`] long.
    #[must_use]
    pub fn from_data(size: Size, data: Vec<u8>) -> Option<Self> {
        (data.len() == size.picture_bytes()).then(|| Self { size, data, home: Home::default() })
    }
    /// [`from_data`](Self::from_data), whose memory goes back to the recycler when the picture and its use are gone.
    #[must_use]
    pub fn recycled(size: Size, data: Vec<u8>, recycler: &Recycler) -> Option<Self> {
        (data.len() == size.picture_bytes()).then(|| Self { size, data, home: recycler.home() })
    }
    /// A picture of one colour `[y, cb, cr]`.
    #[must_use]
    pub fn filled(size: Size, ycc: [u8; 3]) -> Self {
        let c = size.chroma();
        let chroma = c.width as usize * c.height as usize;
        let mut data = vec![ycc[0]; size.picture_bytes()];
        data[size.area()..size.area() + chroma].fill(ycc[1]);
        data[size.area() + chroma..].fill(ycc[2]);
        Self { size, data, home: Home::default() }
    }
    /// Size in pixels.
    #[must_use]
    pub const fn size(&self) -> Size {
        self.size
    }
    /// All planes, packed.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.data
    }
    /// The planes `[y, cb, cr]`.
    #[must_use]
    pub fn planes(&self) -> [&[u8]; 3] {
        let (y, c) = self.data.split_at(self.size.area());
        let (cb, cr) = c.split_at(c.len() / 2);
        [y, cb, cr]
    }
    /// The planes `[y, cb, cr]`, to write to.
    #[must_use]
    pub fn planes_mut(&mut self) -> [&mut [u8]; 3] {
        let (y, c) = self.data.split_at_mut(self.size.area());
        let half = c.len() / 2;
        let (cb, cr) = c.split_at_mut(half);
        [y, cb, cr]
    }
}

/// What all frames of one video share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoFormat {
    /// Size of every frame, upright.
    pub size: Size,
    /// How samples map to colours.
    pub colour: Colour,
    /// Seconds per tick of the frames' timestamps.
    pub time_base: Rational,
}

/// Consecutive frames of one video, in order. Cheap to clone; pixels are shared and may be pending.
#[derive(Debug, Clone)]
pub struct FrameBatch {
    /// What the frames share.
    pub format: VideoFormat,
    /// Index in the video of the first frame, from 0.
    pub first_index: u64,
    /// Presentation time of each frame, ticks of the format's time base, strictly increasing.
    pub pts: Arc<[i64]>,
    /// One picture a frame, each of `format.size`.
    pub pictures: Pending<Vec<Arc<Picture>>>,
}

impl FrameBatch {
    /// Number of frames.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pts.len()
    }
    /// Whether there is no frame (sources never give such a batch).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pts.is_empty()
    }
    /// Presentation time of frame `i` in seconds.
    #[must_use]
    pub fn seconds(&self, i: usize) -> f64 {
        self.pts[i] as f64 * self.format.time_base.as_f64()
    }
    /// Bytes of all pictures.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        (self.len() * self.format.size.picture_bytes()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_sizes_round_chroma_up() {
        let size = Size::new(5, 3);
        assert_eq!(size.picture_bytes(), 15 + 2 * 3 * 2);
        let mut p = Picture::filled(size, [1, 2, 3]);
        assert_eq!(p.planes().map(<[u8]>::len), [15, 6, 6]);
        assert_eq!(p.planes_mut()[2][5], 3);
        assert!(Picture::from_data(size, vec![0; 26]).is_none());
    }

    #[test]
    fn colours_survive_the_way_there_and_back() {
        for matrix in [Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020] {
            for range in [Range::Limited, Range::Full] {
                let c = Colour { matrix, range };
                for rgb in [[0.0, 0.0, 0.0], [255.0, 255.0, 255.0], [255.0, 0.0, 0.0], [10.0, 200.0, 90.0]] {
                    let back = c.to_rgb(c.from_rgb(rgb));
                    for (a, b) in rgb.iter().zip(back) {
                        assert!((a - b).abs() < 0.01, "{c:?} {rgb:?} {back:?}");
                    }
                }
            }
        }
        // BT.709 limited red, from the standard's integer table
        let red = Colour { matrix: Matrix::Bt709, range: Range::Limited }.from_rgb([255.0, 0.0, 0.0]);
        assert_eq!(red.map(|v| v.round() as i32), [63, 102, 240]);
    }
}
