//! The ways to run a job that are compared.

use serde_json::{Value, json};

use crate::args::BATCH;

/// One way to run the job.
pub(super) struct Variant {
    pub(super) name: &'static str,
    /// Wait for each piece of work before the next is queued.
    pub(super) lockstep: bool,
    pub(super) batch: u32,
    /// Detector on every frame and two landmark passes, whatever the shipped policy would save.
    pub(super) equal_work: bool,
}

/// In the order in which they run and in which ratios number them, from 1.
pub(super) const VARIANTS: [Variant; 4] = [
    Variant { name: "halfpipe", lockstep: false, batch: BATCH, equal_work: false },
    Variant { name: "one at a time", lockstep: true, batch: 1, equal_work: false },
    Variant { name: "equal work", lockstep: false, batch: BATCH, equal_work: true },
    Variant { name: "equal work, one at a time", lockstep: true, batch: 1, equal_work: true },
];

/// Pairs to compare, as indices of [`VARIANTS`]. The first two have equal options.
pub(super) const PAIRS: [(usize, usize); 3] = [(0, 1), (2, 3), (0, 3)];

impl Variant {
    pub(super) fn options(&self) -> Value {
        if self.equal_work { json!({ "detector_frames": 1, "landmark_passes": 2 }) } else { json!({}) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compared_variants_differ_in_what_the_ratio_says() {
        for (a, b) in PAIRS {
            assert!(!VARIANTS[a].lockstep && VARIANTS[a].batch > 1, "{} is overlapped", VARIANTS[a].name);
            assert!(VARIANTS[b].lockstep && VARIANTS[b].batch == 1, "{} is sequential", VARIANTS[b].name);
        }
        assert!(PAIRS[..2].iter().all(|(a, b)| VARIANTS[*a].options() == VARIANTS[*b].options()));
    }
}
