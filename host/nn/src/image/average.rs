//! Part of a plane averaged down by a whole factor: each sample is the mean of a block, rounded.

use std::ops::Range;

use super::bilinear::Plane;

/// Samples of one channel as they lie in a picture: rows without padding.
#[derive(Debug, Clone, Copy)]
pub(super) struct Channel<'a> {
    pub(super) samples: &'a [u8],
    pub(super) width: usize,
    pub(super) height: usize,
}

/// A plane of means, once it is filled: at least two columns wide and two rows high; keeps its memory.
#[derive(Debug, Default)]
pub(super) struct Means {
    samples: Vec<u8>,
    width: usize,
    /// Samples of a row of blocks added up over their rows.
    narrow: Vec<u16>,
    wide: Vec<u32>,
}

impl Means {
    /// Means of the blocks in columns `x` and rows `y` of blocks of `factor` x `factor` samples: of those samples that exist. A single
    /// column or row of blocks is written twice.
    #[inline(always)]
    pub(super) fn fill(&mut self, channel: Channel<'_>, factor: usize, x: &Range<usize>, y: &Range<usize>) {
        self.samples.clear();
        self.width = x.len();
        for row in y.clone() {
            let rows = row * factor..((row + 1) * factor).min(channel.height);
            let columns = x.start * factor..(x.end * factor).min(channel.width);
            let rows = rows.map(|y| &channel.samples[y * channel.width..][columns.clone()]);
            // the usual factors by themselves: a loop of a known length costs a fraction
            match factor {
                1 => rows.for_each(|row| self.samples.extend_from_slice(row)),
                2 => self.row_of_blocks::<2>(rows),
                3 => self.row_of_blocks::<3>(rows),
                4 => self.row_of_blocks::<4>(rows),
                6 => self.row_of_blocks::<6>(rows),
                _ => self.row_of_large_blocks(factor, rows),
            }
        }
        if self.width == 1 {
            self.samples = self.samples.iter().flat_map(|sample| [*sample; 2]).collect();
            self.width = 2;
        }
        if self.samples.len() == self.width {
            self.samples.extend_from_within(..);
        }
    }

    /// The plane.
    pub(super) fn plane(&self) -> Plane<'_> {
        Plane { samples: &self.samples, width: self.width, height: self.samples.len() / self.width }
    }

    /// Blocks of `N` x `N` samples, fewer where the channel ends.
    #[inline(always)]
    fn row_of_blocks<'a, const N: usize>(&mut self, rows: impl ExactSizeIterator<Item = &'a [u8]>) {
        let high = rows.len();
        self.narrow.clear();
        for row in rows {
            self.narrow.resize(row.len(), 0);
            for (sum, sample) in self.narrow.iter_mut().zip(row) {
                // no overflow: so few rows, and below so few columns; a checked sum would not be vectorised
                *sum = sum.wrapping_add(u16::from(*sample));
            }
        }
        let (blocks, rest) = self.narrow.as_chunks::<N>();
        let of_columns = |columns: &[u16]| columns.iter().fold(0u32, |sum, column| sum.wrapping_add(u32::from(*column)));
        // division by a multiplication, in 16 bits after the point
        let per_sample = |columns: usize| (0x1_0000 + (columns * high) as u32 / 2) / (columns * high) as u32;
        let mean = |sum: u32, per_sample: u32| (sum.wrapping_mul(per_sample).wrapping_add(0x8000) >> 16) as u8;
        let whole = per_sample(N);
        self.samples.extend(blocks.iter().map(|block| mean(of_columns(block), whole)));
        if !rest.is_empty() {
            self.samples.push(mean(of_columns(rest), per_sample(rest.len())));
        }
    }

    fn row_of_large_blocks<'a>(&mut self, factor: usize, rows: impl ExactSizeIterator<Item = &'a [u8]>) {
        let high = rows.len();
        self.wide.clear();
        for row in rows {
            self.wide.resize(row.len(), 0);
            for (sum, sample) in self.wide.iter_mut().zip(row) {
                // no overflow: a picture has fewer than 2^24 rows
                *sum = sum.wrapping_add(u32::from(*sample));
            }
        }
        self.samples.extend(self.wide.chunks(factor).map(|block| {
            // 64 bits: a block may be a whole picture
            let (sum, samples) = (block.iter().map(|sum| u64::from(*sum)).sum::<u64>(), (block.len() * high) as u64);
            ((sum + samples / 2) / samples) as u8
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_the_rounded_mean_of_the_samples_that_exist() {
        let (width, height) = (23, 17);
        let samples: Vec<u8> = (0..width * height).map(|i| (i * 83 % 256) as u8).collect();
        let channel = Channel { samples: &samples, width, height };
        let mut means = Means::default();
        for factor in [1, 2, 3, 4, 5, 6, 8, 30] {
            let blocks = |pixels: usize| pixels.div_ceil(factor);
            for x in [0..blocks(width), blocks(width) / 2..blocks(width)] {
                let y = 0..blocks(height);
                means.fill(channel, factor, &x, &y);
                let plane = means.plane();
                for (j, i) in y.clone().flat_map(|j| x.clone().map(move |i| (j, i))) {
                    let (columns, rows) = (i * factor..width.min((i + 1) * factor), j * factor..height.min((j + 1) * factor));
                    let block: Vec<f64> =
                        rows.flat_map(|y| columns.clone().map(move |x| y * width + x)).map(|k| f64::from(samples[k])).collect();
                    let mean = block.iter().sum::<f64>() / block.len() as f64;
                    let got = f64::from(plane.sample(i - x.start, j - y.start));
                    assert!((got - mean).abs() <= 0.51, "factor {factor}, block {i}, {j}: {got}, not {mean}");
                }
            }
        }
    }

    #[test]
    fn a_single_block_is_written_twice_either_way() {
        let channel = Channel { samples: &[10, 20], width: 2, height: 1 };
        let mut means = Means::default();
        means.fill(channel, 2, &(0..1), &(0..1));
        let plane = means.plane();
        assert_eq!([(0, 0), (1, 0), (0, 1), (1, 1)].map(|(x, y)| plane.sample(x, y)), [15; 4]);
    }
}
