//! Where the time goes: busy seconds and items per named stage, shared by all threads of a job or a lane.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Seconds and items booked under one name.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct StageTimes {
    /// Wall seconds in which the stage was busy.
    pub busy_secs: f64,
    /// Items done (frames, crops, bodies; the stage says which).
    pub items: u64,
    /// How often.
    pub calls: u64,
}

/// A shared book of [`StageTimes`]. Clones write to the same book.
#[derive(Debug, Clone, Default)]
pub struct StageClock(Arc<Mutex<BTreeMap<String, StageTimes>>>);

impl StageClock {
    /// Books a span that ended now.
    pub fn add(&self, stage: &str, busy: Duration, items: u64) {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !book.contains_key(stage) {
            book.insert(stage.to_owned(), StageTimes::default());
        }
        if let Some(t) = book.get_mut(stage) {
            t.busy_secs += busy.as_secs_f64();
            t.items += items;
            t.calls += 1;
        }
    }
    /// Runs `work` and books its wall time.
    pub fn time<R>(&self, stage: &str, items: u64, work: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = work();
        self.add(stage, start.elapsed(), items);
        result
    }
    /// What was booked so far.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<String, StageTimes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_add_up_under_their_name() {
        let clock = StageClock::default();
        let other_thread = clock.clone();
        other_thread.add("draw", Duration::from_millis(250), 8);
        clock.add("draw", Duration::from_millis(250), 4);
        let t = clock.snapshot()["draw"];
        assert!((t.busy_secs - 0.5).abs() < 1e-9);
        assert_eq!((t.items, t.calls), (12, 2));
    }
}
