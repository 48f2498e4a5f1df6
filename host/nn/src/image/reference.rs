//! Slow, plain versions of the image operations in f64, for the tests of the fast ones.

use halfpipe_core::{Colour, Crop, Matrix, Picture, Range, Size};

/// RGB pixels on the scale 0..=255.
pub(super) struct Rgb {
    size: Size,
    pixels: Vec<[f64; 3]>,
}

pub(super) const HD: Colour = Colour { matrix: Matrix::Bt709, range: Range::Limited };

/// A picture of `f`, which gives RGB (0..=255) at a position in pixels.
pub(super) fn picture(size: Size, colour: Colour, f: impl Fn(f64, f64) -> [f64; 3]) -> Picture {
    let ycc = |x: f64, y: f64| colour.from_rgb(f(x, y).map(|v| v as f32)).map(|v| v.round() as u8);
    let mut picture = Picture::filled(size, [0; 3]);
    let chroma = size.chroma();
    let [luma, cb, cr] = picture.planes_mut();
    for (i, v) in luma.iter_mut().enumerate() {
        let (x, y) = (i % size.width as usize, i / size.width as usize);
        *v = ycc(x as f64 + 0.5, y as f64 + 0.5)[0];
    }
    for (i, (cb, cr)) in cb.iter_mut().zip(cr).enumerate() {
        let (x, y) = (i % chroma.width as usize, i / chroma.width as usize);
        [_, *cb, *cr] = ycc(2.0 * x as f64 + 1.0, 2.0 * y as f64 + 1.0);
    }
    picture
}

/// Waves of three colours over a picture, a few dozen pixels long.
pub(super) fn waves(x: f64, y: f64) -> [f64; 3] {
    let wave = |a: f64, b: f64, p: f64| 128.0 + 90.0 * (x / a + y / b + p).sin();
    [wave(23.0, 31.0, 0.0), wave(-40.0, 19.0, 1.0), wave(35.0, -27.0, 2.0)]
}

impl Rgb {
    /// Every pixel converted, with chroma interpolated between sample centres and repeated at the edge.
    pub(super) fn of(picture: &Picture, colour: Colour) -> Self {
        let size = picture.size();
        let chroma = size.chroma();
        let [luma, cb, cr] = picture.planes();
        let interpolate = |plane: &[u8], x: f64, y: f64| {
            let (w, h) = (i64::from(chroma.width), i64::from(chroma.height));
            let at = |i: i64, j: i64| f64::from(plane[(j.clamp(0, h - 1) * w + i.clamp(0, w - 1)) as usize]);
            let (i, j) = (x.floor(), y.floor());
            let (fx, fy, i, j) = (x - i, y - j, i as i64, j as i64);
            (at(i, j) * (1.0 - fx) + at(i + 1, j) * fx) * (1.0 - fy) + (at(i, j + 1) * (1.0 - fx) + at(i + 1, j + 1) * fx) * fy
        };
        let pixel = |k: usize| {
            let (x, y) = ((k % size.width as usize) as f64, (k / size.width as usize) as f64);
            let (cx, cy) = ((x + 0.5) / 2.0 - 0.5, (y + 0.5) / 2.0 - 0.5);
            let ycc = [f64::from(luma[k]), interpolate(cb, cx, cy), interpolate(cr, cx, cy)];
            colour.to_rgb(ycc.map(|v| v as f32)).map(f64::from)
        };
        Self { size, pixels: (0..size.area()).map(pixel).collect() }
    }

    /// The pixel; black outside.
    pub(super) fn pixel(&self, x: i64, y: i64) -> [f64; 3] {
        let inside = x >= 0 && y >= 0 && x < i64::from(self.size.width) && y < i64::from(self.size.height);
        if inside { self.pixels[y as usize * self.size.width as usize + x as usize] } else { [0.0; 3] }
    }

    /// Bilinear at a position in pixels.
    pub(super) fn at(&self, x: f64, y: f64) -> [f64; 3] {
        let (x, y) = (x - 0.5, y - 0.5);
        let (fx, fy, i, j) = (x - x.floor(), y - y.floor(), x.floor() as i64, y.floor() as i64);
        let mix = |a: [f64; 3], b: [f64; 3], t: f64| std::array::from_fn(|c| a[c] + (b[c] - a[c]) * t);
        mix(mix(self.pixel(i, j), self.pixel(i + 1, j), fx), mix(self.pixel(i, j + 1), self.pixel(i + 1, j + 1), fx), fy)
    }

    /// Scales by averaging over exact areas: `[3, to.height, to.width]`.
    pub(super) fn scaled(&self, to: Size) -> Vec<f64> {
        let spans = |from: u32, to: u32| -> Vec<Vec<(i64, f64)>> {
            let scale = f64::from(from) / f64::from(to);
            let span = |i: u32| {
                let (a, b) = (f64::from(i) * scale, f64::from(i + 1) * scale);
                let part = |k: i64| (b.min(k as f64 + 1.0) - a.max(k as f64)) / scale;
                (a.floor() as i64..b.ceil() as i64).map(|k| (k, part(k))).collect()
            };
            (0..to).map(span).collect()
        };
        let (columns, rows) = (spans(self.size.width, to.width), spans(self.size.height, to.height));
        let mut out = vec![0.0; 3 * to.area()];
        for (v, row) in rows.iter().enumerate() {
            for (u, column) in columns.iter().enumerate() {
                for (y, wy) in row {
                    for (x, wx) in column {
                        for (c, value) in self.pixel(*x, *y).into_iter().enumerate() {
                            out[c * to.area() + v * to.width as usize + u] += value * wx * wy;
                        }
                    }
                }
            }
        }
        out
    }

    /// Blurred by a Gaussian, cut off at four deviations, that goes on beyond the edges as there.
    pub(super) fn blurred(&self, sigma: f64) -> Self {
        let radius = (4.0 * sigma + 0.5) as i64;
        let weights: Vec<f64> = (-radius..=radius).map(|d| (-0.5 * (d as f64 / sigma).powi(2)).exp()).collect();
        let sum: f64 = weights.iter().sum();
        let (w, h) = (i64::from(self.size.width), i64::from(self.size.height));
        let along = |from: &Self, dx: i64, dy: i64| {
            let pixel = |k: i64| {
                let (x, y) = (k % w, k / w);
                let mut mean = [0.0; 3];
                for (d, weight) in (-radius..=radius).zip(&weights) {
                    let seen = from.pixel((x + d * dx).clamp(0, w - 1), (y + d * dy).clamp(0, h - 1));
                    mean = std::array::from_fn(|c| mean[c] + seen[c] * weight / sum);
                }
                mean
            };
            Self { size: from.size, pixels: (0..w * h).map(pixel).collect() }
        };
        along(&along(self, 1, 0), 0, 1)
    }

    /// A crop with one bilinear sample a pixel, pixels counted by index: `[3, side, side]`.
    pub(super) fn cropped_by_index(&self, crop: &Crop, side: u32) -> Vec<f64> {
        let area = (side * side) as usize;
        let mut out = vec![0.0; 3 * area];
        let (sin, cos) = f64::from(crop.rotation).sin_cos();
        let step = f64::from(crop.side) / f64::from(side);
        for k in 0..area {
            let along = |i: usize| (i as f64 - f64::from(side) / 2.0) * step;
            let (u, v) = (along(k % side as usize), along(k / side as usize));
            let (x, y) = (f64::from(crop.center[0]) + cos * u - sin * v, f64::from(crop.center[1]) + sin * u + cos * v);
            // `at` takes positions, where a pixel's centre is half a pixel beyond its index
            for (c, value) in self.at(x + 0.5, y + 0.5).into_iter().enumerate() {
                out[c * area + k] = value;
            }
        }
        out
    }

    /// A crop with `n` x `n` bilinear samples a pixel, averaged: `[3, side, side]`.
    pub(super) fn cropped(&self, crop: &Crop, side: u32, n: u32) -> Vec<f64> {
        let area = (side * side) as usize;
        let mut out = vec![0.0; 3 * area];
        let (sin, cos) = f64::from(crop.rotation).sin_cos();
        for k in 0..side * side * n * n {
            let (pixel, sub) = (k / (n * n), k % (n * n));
            let along =
                |i: u32, j: u32| ((f64::from(i) + (f64::from(j) + 0.5) / f64::from(n)) / f64::from(side) - 0.5) * f64::from(crop.side);
            let (u, v) = (along(pixel % side, sub % n), along(pixel / side, sub / n));
            let (x, y) = (f64::from(crop.center[0]) + cos * u - sin * v, f64::from(crop.center[1]) + sin * u + cos * v);
            for (c, value) in self.at(x, y).into_iter().enumerate() {
                out[c * area + pixel as usize] += value / f64::from(n * n);
            }
        }
        out
    }
}

/// A crop with one sample a pixel, `[3, side, side]`: luma and chroma each bilinear between the nearest samples, repeated at the edge; then
/// as much of it as lies in the frame of the pixel around the position.
pub(super) fn sampled(picture: &Picture, colour: Colour, crop: &Crop, side: u32) -> Vec<f64> {
    let (size, chroma) = (picture.size(), picture.size().chroma());
    let [luma, cb, cr] = picture.planes();
    let between = |plane: &[u8], [w, h]: [u32; 2], x: f64, y: f64| {
        let (w, h) = (i64::from(w), i64::from(h));
        let at = |i: i64, j: i64| f64::from(plane[(j.clamp(0, h - 1) * w + i.clamp(0, w - 1)) as usize]);
        let (fx, fy, i, j) = (x - x.floor(), y - y.floor(), x.floor() as i64, y.floor() as i64);
        (at(i, j) * (1.0 - fx) + at(i + 1, j) * fx) * (1.0 - fy) + (at(i, j + 1) * (1.0 - fx) + at(i + 1, j + 1) * fx) * fy
    };
    let area = (side * side) as usize;
    let mut out = vec![0.0; 3 * area];
    let (sin, cos) = f64::from(crop.rotation).sin_cos();
    for k in 0..area {
        let along = |i: usize| ((i as f64 + 0.5) / f64::from(side) - 0.5) * f64::from(crop.side);
        let (u, v) = (along(k % side as usize), along(k / side as usize));
        let (x, y) = (f64::from(crop.center[0]) + cos * u - sin * v, f64::from(crop.center[1]) + sin * u + cos * v);
        let [cb, cr] = [cb, cr].map(|plane| between(plane, [chroma.width, chroma.height], x / 2.0 - 0.5, y / 2.0 - 0.5));
        let rgb = colour.to_rgb([between(luma, [size.width, size.height], x - 0.5, y - 0.5), cb, cr].map(|v| v as f32));
        let inside = |at: f64, length: u32| ((at + 0.5).min(f64::from(length)) - (at - 0.5).max(0.0)).max(0.0);
        for (c, value) in rgb.into_iter().enumerate() {
            out[c * area + k] = f64::from(value) * inside(x, size.width) * inside(y, size.height);
        }
    }
    out
}
