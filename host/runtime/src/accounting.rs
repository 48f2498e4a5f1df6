//! CPU seconds of the guest, by section: measured on the thread that polls it, so that waiting costs nothing.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// CPU time this thread has used.
fn thread_cpu() -> Duration {
    let t = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(t.tv_sec).unwrap_or(0), u32::try_from(t.tv_nsec).unwrap_or(0))
}

/// CPU time this whole process has used, all threads.
#[must_use]
pub fn process_cpu() -> Duration {
    let t = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(t.tv_sec).unwrap_or(0), u32::try_from(t.tv_nsec).unwrap_or(0))
}

#[derive(Debug)]
struct Book {
    section: String,
    since: Option<Duration>,
    cpu: BTreeMap<String, Duration>,
    since_call: Duration,
    calls: u64,
    reads: BTreeMap<String, u64>,
    alive: Instant,
}

/// A shared book of the guest's CPU time. Clones write to the same book.
#[derive(Debug, Clone)]
pub struct GuestClock(Arc<Mutex<Book>>);

impl Default for GuestClock {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Book {
            section: "logic".into(),
            since: None,
            cpu: BTreeMap::new(),
            since_call: Duration::ZERO,
            calls: 0,
            reads: BTreeMap::new(),
            alive: Instant::now(),
        })))
    }
}

impl GuestClock {
    fn book(&self, then: impl FnOnce(&mut Book)) {
        let mut b = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = b.since {
            let now = thread_cpu();
            let spent = now.saturating_sub(since);
            let Book { section, cpu, .. } = &mut *b;
            match cpu.get_mut(section) {
                Some(sum) => *sum += spent,
                None => drop(cpu.insert(section.clone(), spent)),
            }
            b.since_call += spent;
            b.since = Some(now);
        }
        then(&mut b);
    }
    /// From here on time is booked under `name`; under the name before where there are `most` others already.
    pub fn section(&self, name: &str, most: usize) {
        self.book(|b| {
            if b.cpu.len() < most || b.cpu.contains_key(name) {
                name.clone_into(&mut b.section);
            }
        });
    }
    /// The guest called the host.
    pub fn called(&self) {
        let mut b = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        b.calls += 1;
        b.since_call = Duration::ZERO;
    }
    /// The guest read `bytes` of a tensor that came from the call `origin`.
    pub fn read(&self, origin: &str, bytes: u64) {
        let reads = &mut self.0.lock().unwrap_or_else(PoisonError::into_inner).reads;
        match reads.get_mut(origin) {
            Some(sum) => *sum += bytes,
            None => drop(reads.insert(origin.to_owned(), bytes)),
        }
    }
    /// Bytes of tensors that were read, by the call they came from.
    #[must_use]
    pub fn reads(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).reads.clone()
    }
    /// The guest got something done: read or wrote frames, finished a file.
    pub fn progressed(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).alive = Instant::now();
    }
    /// CPU time since the last host call.
    #[must_use]
    pub fn spinning(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).since_call
    }
    /// Wall time since something got done.
    #[must_use]
    pub fn stalled(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).alive.elapsed()
    }
    /// CPU seconds by section, and the number of host calls.
    #[must_use]
    pub fn totals(&self) -> (BTreeMap<String, f64>, u64) {
        let b = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (b.cpu.iter().map(|(k, v)| (k.clone(), v.as_secs_f64())).collect(), b.calls)
    }
    /// Wraps the guest's future so that the CPU time of its polls is booked.
    pub fn watch<F: Future>(&self, inner: F) -> Watched<F> {
        Watched { clock: self.clone(), inner: Box::pin(inner) }
    }
}

/// A future whose polls are booked to a [`GuestClock`].
pub struct Watched<F> {
    clock: GuestClock,
    inner: Pin<Box<F>>,
}

impl<F: Future> Future for Watched<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.clock.book(|b| b.since = Some(thread_cpu()));
        let result = self.inner.as_mut().poll(cx);
        self.clock.book(|b| b.since = None);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_booked_by_section_and_sleep_is_free() {
        let clock = GuestClock::default();
        let inside = clock.clone();
        futures::executor::block_on(clock.watch(async move {
            std::thread::sleep(Duration::from_millis(60));
            inside.section("fit", 2);
            let start = thread_cpu();
            let mut x = 0u64;
            while thread_cpu() - start < Duration::from_millis(50) {
                x = std::hint::black_box(x + 1);
            }
            inside.called();
        }));
        let (cpu, calls) = clock.totals();
        assert!(cpu["fit"] >= 0.05, "{cpu:?}");
        assert!(cpu["logic"] < 0.03, "sleeping must not count: {cpu:?}");
        assert_eq!(calls, 1);
    }
}
