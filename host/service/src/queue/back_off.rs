//! Waits between attempts: they double, and a random half keeps those that failed together from coming back together.

use std::time::Duration;

/// Waits that grow from attempt to attempt.
#[derive(Debug, Clone)]
pub struct BackOff {
    next: Duration,
    most: Duration,
}

impl BackOff {
    /// The first wait is at most `first`, every later one at most `most`.
    #[must_use]
    pub const fn new(first: Duration, most: Duration) -> Self {
        Self { next: first, most }
    }

    /// How long to wait now.
    #[must_use]
    pub fn wait(&mut self) -> Duration {
        let whole = self.next.min(self.most);
        self.next = whole.saturating_mul(2);
        jittered(whole)
    }
}

impl Default for BackOff {
    /// From a quarter of a second to half a minute: for servers that do not answer.
    fn default() -> Self {
        Self::new(Duration::from_millis(250), Duration::from_secs(30))
    }
}

/// A random span from half of `whole` to `whole`.
pub(super) fn jittered(whole: Duration) -> Duration {
    let [a, b, c, d, ..] = uuid::Uuid::new_v4().into_bytes();
    whole.mul_f64(0.5 + f64::from(u32::from_le_bytes([a, b, c, d])) / f64::from(u32::MAX) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_most_and_differ() {
        let mut back_off = BackOff::new(Duration::from_secs(1), Duration::from_secs(5));
        for whole in [1, 2, 4, 5, 5] {
            let (wait, whole) = (back_off.wait(), Duration::from_secs(whole));
            assert!(wait >= whole / 2 && wait <= whole, "{wait:?} of {whole:?}");
        }
        assert_ne!(back_off.wait(), back_off.wait());
    }
}
