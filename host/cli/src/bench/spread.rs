//! A figure over rounds.

use serde::Serialize;

/// Median, lowest and highest of a figure over the rounds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) lowest: f64,
    pub(super) highest: f64,
}

impl Spread {
    /// Of at least one value; the median of an even number is the mean of the middle two.
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let n = values.len();
        Self { median: f64::midpoint(values[(n - 1) / 2], values[n / 2]), lowest: values[0], highest: values[n - 1] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let s = Spread::of([5.0, 1.0, 2.0].into_iter());
        assert_eq!((s.median, s.lowest, s.highest), (2.0, 1.0, 5.0));
        assert_eq!(Spread::of([1.0, 4.0, 3.0, 2.0].into_iter()).median, 2.5);
        assert_eq!(Spread::of([7.0].into_iter()).median, 7.0);
    }
}
