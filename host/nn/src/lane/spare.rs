//! Whether cores stand idle, so that a batch had better take more of them.
//!
//! Two threads on one batch are less than twice as fast as one, so they are worth their price only while nobody else wants the second
//! core: decoder, encoder, renderer, other jobs, other programs. Linux tells the time that each core was idle; elsewhere, and where a
//! group's share of the cores is limited in another way than by their numbers, cores count as idle.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a finding is held; the kernel counts in hundredths of a second.
const HELD: Duration = Duration::from_secs(1);
/// Idle share of the cores from which there is one to spare, in percent.
const ENOUGH: u64 = 20;
/// While it is taken, less of it is left: share below which it is given back, in percent.
const LEFT: u64 = 10;

/// What is known of the cores.
#[derive(Debug)]
pub(super) struct Spare(Mutex<Seen>);

#[derive(Debug)]
struct Seen {
    since: Instant,
    times: Option<Times>,
    idle: bool,
}

/// Time of the cores that this process may use, in the kernel's ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Times {
    idle: u64,
    all: u64,
}

impl Spare {
    /// Cores count as busy until they have been watched: whoever makes a lane is about to start something.
    pub(super) fn new() -> Self {
        Self(Mutex::new(Seen { since: Instant::now(), times: Times::now(), idle: false }))
    }

    /// A finding that stays, for tests.
    #[cfg(test)]
    pub(super) fn fixed(idle: bool) -> Self {
        // it is not looked at again before this is over
        Self(Mutex::new(Seen { since: Instant::now() + Duration::from_secs(3600), times: None, idle }))
    }

    /// Whether they stood idle of late.
    pub(super) fn is_there(&self) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.since.elapsed() >= HELD {
            let now = Times::now();
            let least = if seen.idle { LEFT } else { ENOUGH };
            seen.idle = now.zip(seen.times).is_none_or(|(now, then)| now.has_idled_since(then, least));
            (seen.since, seen.times) = (Instant::now(), now);
        }
        seen.idle
    }
}

impl Times {
    fn now() -> Option<Self> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        Self::of(&status, &std::fs::read_to_string("/proc/stat").ok()?)
    }

    /// From the kernel's files on this process and on the system (proc(5)).
    fn of(status: &str, stat: &str) -> Option<Self> {
        let allowed = cores(status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?)?;
        let mut sum = Self { idle: 0, all: 0 };
        for line in stat.lines() {
            let mut words = line.split_ascii_whitespace();
            let Some(core) = words.next().and_then(|name| name.strip_prefix("cpu")?.parse::<usize>().ok()) else { continue };
            if allowed.iter().any(|range| range.contains(&core)) {
                // user, nice, system, idle, iowait, irq, softirq, steal; what follows is counted in these
                let times: Vec<u64> = words.take(8).map(|word| word.parse().ok()).collect::<Option<_>>()?;
                sum.idle += times.get(3)? + times.get(4)?;
                sum.all += times.iter().sum::<u64>();
            }
        }
        (sum.all > 0).then_some(sum)
    }

    /// Whether at least `percent` of the time since `then` was idle.
    fn has_idled_since(self, then: Self, percent: u64) -> bool {
        let (idle, all) = (self.idle.saturating_sub(then.idle), self.all.saturating_sub(then.all));
        // a clock that has not moved says nothing
        all == 0 || idle * 100 >= all * percent
    }
}

/// `0-3,8` as ranges.
fn cores(list: &str) -> Option<Vec<std::ops::RangeInclusive<usize>>> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    list.trim().split(',').map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str =
        "cpu  900 0 0 900 0 0 0 0 0 0\ncpu0 100 5 20 300 10 1 4 60 9 9\ncpu1 200 0 0 50 0 0 0 0 0 0\ncpu9 1 0 0 0 0 0 0 0 0 0\nintr 5\n";

    #[test]
    fn the_kernels_files_are_read() {
        let of = |list: &str| Times::of(&format!("Name:\tx\nCpus_allowed_list:\t{list}\n"), STAT);
        assert_eq!(of("0"), Some(Times { idle: 310, all: 500 }));
        assert_eq!(of("0-1,9"), Some(Times { idle: 360, all: 751 }));
        assert_eq!(of("4"), None, "none of them is told of");
        assert_eq!(of("x"), None);
        assert_eq!(Times::of("", STAT), None);
        #[cfg(target_os = "linux")]
        assert!(Times::now().is_some());
    }

    #[test]
    fn shares_are_of_the_time_between() {
        let then = Times { idle: 100, all: 1000 };
        let idled = |idle: u64, all: u64| Times { idle: 100 + idle, all: 1000 + all }.has_idled_since(then, 20);
        assert!(idled(20, 100) && !idled(19, 100));
        assert!(idled(0, 0));
    }

    #[test]
    fn a_finding_is_held_for_a_while() {
        let spare = Spare(Mutex::new(Seen { since: Instant::now(), times: None, idle: false }));
        assert!(!spare.is_there());
        spare.0.lock().unwrap().since -= HELD;
        assert!(spare.is_there(), "what is not known counts as idle");
    }
}
