//! Comparison of pictures by how far apart they are.

/// Mean absolute difference of two buffers of 8-bit samples.
///
/// # Panics
/// If they differ in length.
#[must_use]
pub fn mean_difference(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len(), "pictures of different sizes");
    let sum: u64 = a.iter().zip(b).map(|(x, y)| u64::from(x.abs_diff(*y))).sum();
    sum as f64 / a.len().max(1) as f64
}

/// Part of the samples that differ by more than `tolerance`.
///
/// # Panics
/// If they differ in length.
#[must_use]
pub fn changed_part(a: &[u8], b: &[u8], tolerance: u8) -> f64 {
    assert_eq!(a.len(), b.len(), "pictures of different sizes");
    a.iter().zip(b).filter(|(x, y)| x.abs_diff(**y) > tolerance).count() as f64 / a.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_counted() {
        assert!((mean_difference(&[0, 10], &[4, 10]) - 2.0).abs() < 1e-12);
        assert!((changed_part(&[0, 10, 7, 7], &[4, 10, 7, 9], 2) - 0.25).abs() < 1e-12);
    }
}
