//! How a worker is doing, for probes and metrics.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use halfpipe_queue::{Facts, Message, MessageQueue};
use tokio::sync::watch;

/// How far a worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Reaches for queue and store.
    Connecting,
    /// Loads the models.
    Warming,
    /// Takes messages.
    Working,
    /// Takes no more; ends what it has.
    Leaving,
}

/// Whom a worker depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The queue.
    Queue,
    /// The store, with the ledger in it.
    Store,
}

/// What stands in the way of work at the moment.
#[derive(Debug, Clone)]
struct Trouble {
    reason: String,
    /// Since when every answer has been one that waiting does not mend.
    lasting_since: Option<Instant>,
}

/// How a worker is doing. Shared by the worker and its probes.
#[derive(Debug)]
pub struct Status {
    stage: Mutex<Stage>,
    /// One for each [`Part`].
    troubles: Mutex<[Option<Trouble>; 2]>,
    queue: OnceLock<Arc<dyn MessageQueue>>,
    /// The queue's limit; zero where it has none.
    most_receives: AtomicU32,
    held: AtomicUsize,
    /// Jobs in work.
    running: watch::Sender<usize>,
}

impl Default for Status {
    fn default() -> Self {
        describe();
        Self {
            stage: Mutex::new(Stage::Connecting),
            troubles: Mutex::default(),
            queue: OnceLock::new(),
            most_receives: AtomicU32::new(0),
            held: AtomicUsize::new(0),
            running: watch::Sender::new(0),
        }
    }
}

fn describe() {
    crate::http::health::recorder();
    metrics::describe_counter!("halfpipe_messages_received_total", "Messages received");
    metrics::describe_counter!("halfpipe_messages_settled_total", "Messages deleted, since nothing is left to do about them");
    metrics::describe_counter!("halfpipe_messages_returned_total", "Messages given back to the queue, by reason");
    metrics::describe_counter!("halfpipe_messages_given_up_total", "Messages that failed the last time the queue gives them out");
    metrics::describe_counter!("halfpipe_jobs_found_total", "Jobs found in the ledger without a message");
    metrics::describe_gauge!("halfpipe_messages_held", "Messages this worker holds");
    metrics::describe_gauge!("halfpipe_jobs_running", "Jobs this worker works on");
    metrics::describe_gauge!("halfpipe_message_age_seconds", "Age of the oldest message of the last call that received any; 0 after none");
    metrics::describe_gauge!("halfpipe_queue_messages", "Messages of the whole queue, approximately, by state");
}

impl Status {
    /// Where it is.
    pub fn reach(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    fn troubles(&self) -> MutexGuard<'_, [Option<Trouble>; 2]> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A part does not do what it is asked: something that waiting may mend, or something lasting.
    pub fn trouble(&self, part: Part, reason: &str, lasting: bool) {
        let trouble = &mut self.troubles()[part as usize];
        let since = trouble.as_ref().and_then(|t| t.lasting_since).unwrap_or_else(Instant::now);
        *trouble = Some(Trouble { reason: reason.to_owned(), lasting_since: lasting.then_some(since) });
    }

    /// A part does what it is asked.
    pub fn well(&self, part: Part) {
        self.troubles()[part as usize] = None;
    }

    /// What has been in the way for longer than `patience` though waiting does not mend it.
    pub(super) fn hopeless(&self, patience: Duration) -> Option<String> {
        let hopeless = |t: &&Trouble| t.lasting_since.is_some_and(|since| since.elapsed() > patience);
        self.troubles().iter().flatten().find(hopeless).map(|t| t.reason.clone())
    }

    /// Why no messages are taken; none while they are.
    pub(super) fn unready(&self) -> Option<String> {
        let stage = *self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        let trouble = self.troubles().iter().flatten().next().map(|t| t.reason.clone());
        match stage {
            Stage::Working => trouble,
            Stage::Connecting => Some(trouble.unwrap_or_else(|| "it connects to queue and store".into())),
            Stage::Warming => Some(trouble.unwrap_or_else(|| "models are being loaded".into())),
            Stage::Leaving => Some("it is leaving".into()),
        }
    }

    /// The queue, for metrics.
    pub(super) fn knows(&self, queue: &Arc<dyn MessageQueue>) {
        self.queue.get_or_init(|| Arc::clone(queue));
    }

    pub(super) fn queue(&self) -> Option<&Arc<dyn MessageQueue>> {
        self.queue.get()
    }

    /// Takes note of what the queue says of itself.
    pub(super) fn facts(&self, facts: &Facts) {
        self.most_receives.store(facts.most_receives.unwrap_or(0), Ordering::Relaxed);
        for (state, count) in [("waiting", facts.waiting), ("held", facts.held), ("delayed", facts.delayed)] {
            metrics::gauge!("halfpipe_queue_messages", "state" => state).set(count as f64);
        }
    }

    /// The queue's numbers are not known: an old number would be a lie.
    pub(super) fn no_facts(&self) {
        for state in ["waiting", "held", "delayed"] {
            metrics::gauge!("halfpipe_queue_messages", "state" => state).set(f64::NAN);
        }
    }

    /// Whether the queue gives a message out so many times and no more.
    pub(super) fn has_limit(&self) -> bool {
        self.most_receives.load(Ordering::Relaxed) > 0
    }

    /// Whether the queue will not give this message out again.
    pub(super) fn is_last(&self, message: &Message) -> bool {
        self.has_limit() && message.receives >= self.most_receives.load(Ordering::Relaxed)
    }

    pub(super) fn received(&self, messages: &[Message]) {
        metrics::counter!("halfpipe_messages_received_total").increment(messages.len() as u64);
        let ages = messages.iter().map(|message| SystemTime::now().duration_since(message.sent).unwrap_or_default());
        metrics::gauge!("halfpipe_message_age_seconds").set(ages.max().unwrap_or_default().as_secs_f64());
        self.hold(messages.len());
    }

    fn hold(&self, more: usize) {
        let held = self.held.fetch_add(more, Ordering::Relaxed) + more;
        metrics::gauge!("halfpipe_messages_held").set(held as f64);
    }

    /// A message is no longer held.
    pub(super) fn let_go(&self) {
        let held = self.held.fetch_sub(1, Ordering::Relaxed).saturating_sub(1);
        metrics::gauge!("halfpipe_messages_held").set(held as f64);
    }

    /// Jobs in work, as they come and go.
    pub(super) fn running(&self) -> watch::Receiver<usize> {
        self.running.subscribe()
    }

    /// A job is in work for as long as the answer lives.
    pub(super) fn job(self: &Arc<Self>) -> InWork {
        self.count(|jobs| jobs + 1);
        InWork(Arc::clone(self))
    }

    fn count(&self, change: impl Fn(usize) -> usize) {
        self.running.send_modify(|jobs| {
            *jobs = change(*jobs);
            metrics::gauge!("halfpipe_jobs_running").set(*jobs as f64);
        });
    }
}

/// A job in work.
pub(super) struct InWork(Arc<Status>);

impl Drop for InWork {
    fn drop(&mut self) {
        self.0.count(|jobs| jobs.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trouble_that_lasts_is_hopeless() {
        let status = Status::default();
        status.reach(Stage::Working);
        assert_eq!(status.unready(), None);
        status.trouble(Part::Queue, "no answer", false);
        assert_eq!((status.unready().as_deref(), status.hopeless(Duration::ZERO)), (Some("no answer"), None));
        status.trouble(Part::Queue, "no such queue", true);
        std::thread::sleep(Duration::from_millis(5));
        status.trouble(Part::Queue, "no such queue", true);
        assert_eq!(status.hopeless(Duration::ZERO).as_deref(), Some("no such queue"));
        assert_eq!(status.hopeless(Duration::from_secs(60)), None);
        status.trouble(Part::Queue, "no answer", false);
        assert_eq!(status.hopeless(Duration::ZERO), None, "a server that does not answer says nothing that lasts");
        status.well(Part::Store);
        assert!(status.unready().is_some(), "one part does not stand for the other");
        status.well(Part::Queue);
        assert_eq!(status.unready(), None);
        status.reach(Stage::Leaving);
        assert!(status.unready().is_some());
    }

    #[test]
    fn the_last_time_is_the_limits() {
        let status = Status::default();
        let message = |receives| Message { id: "m".into(), body: "b".into(), receipt: "r".into(), receives, sent: SystemTime::UNIX_EPOCH };
        assert!(!status.is_last(&message(1000)), "a queue without a limit gives it out for ever");
        status.facts(&Facts { most_receives: Some(3), ..Facts::default() });
        assert_eq!([2, 3, 4].map(|n| status.is_last(&message(n))), [false, true, true]);
    }
}
