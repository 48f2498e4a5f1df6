//! The loop: receives messages while there is room, sees to each on a task of its own, and leaves none behind when it is asked to go.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use halfpipe_queue::{MOST_RECEIVED, Message, MessageQueue, QueueError};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::attend::Attendant;
use super::back_off::{BackOff, jittered};
use super::protect::Protect;
use super::status::{Part, Stage, Status};
use super::visit::{Crew, RECEIPT};
use crate::jobs::{DispatcherConfig, LedgerError};
use crate::{App, AppError};

/// How long a worker that leaves waits for messages that are on their way to it.
const LATE: Duration = Duration::from_millis(200);
/// Shortest request for messages of a worker that is about to leave because it is idle.
const SHORTEST: Duration = Duration::from_secs(1);
/// A worker that is never idle looks into the ledger so many times less often.
const BUSY: u32 = 10;

/// How a worker behaves. How many jobs it works on at once, leases and attempts stand in [`Config`](crate::Config).
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// This process, as leases and histories name it.
    pub owner: String,
    /// How long a message is held before the hold is renewed; after so long the messages of a worker that died come again.
    pub hold: Duration,
    /// Longest wait for a message.
    pub wait: Duration,
    /// How often an idle worker looks into the ledger for jobs that no message leads to.
    pub look: Duration,
    /// How long a running job may go on after the process was asked to leave, before it is handed over.
    pub drain: Duration,
    /// How long to go on where queue or store refuse in a way that waiting does not mend, such as a queue that was deleted.
    pub patience: Duration,
    /// Whom to tell that this process works.
    pub protect: Option<Protect>,
    /// How long there may be nothing to do before it leaves by itself; none for ever.
    pub idle_exit: Option<Duration>,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            owner: DispatcherConfig::default().owner,
            hold: Duration::from_secs(60),
            wait: Duration::from_secs(20),
            look: Duration::from_secs(60),
            drain: Duration::from_secs(10),
            patience: Duration::from_secs(300),
            protect: None,
            idle_exit: None,
        }
    }
}

/// Why a worker ended by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkerError {
    /// Queue or store refuse, and will go on refusing.
    #[error("the worker gave up after {seconds} s: {reason}")]
    Hopeless {
        /// How long it waited.
        seconds: u64,
        /// The last refusal.
        reason: String,
    },
}

type Receiving = Pin<Box<dyn Future<Output = Result<Vec<Message>, QueueError>> + Send>>;

/// Takes messages and works on the jobs they lead to, until it is told to leave.
#[derive(Debug)]
pub struct Worker {
    crew: Arc<Crew>,
    config: WorkerConfig,
}

impl Worker {
    /// A worker over an app, whose models should be warm. `leaving` asks it to finish; it cancels that itself where it gives up.
    #[must_use]
    pub fn new(app: Arc<App>, queue: Arc<dyn MessageQueue>, status: Arc<Status>, config: WorkerConfig, leaving: CancellationToken) -> Self {
        status.knows(&queue);
        let app = app.with_queue(Arc::clone(&queue));
        let attendant = Attendant::new(app, status, config.owner.clone(), leaving);
        Self { crew: Arc::new(Crew { attendant, queue, hold: config.hold }), config }
    }

    /// Works until asked to leave, or until nothing came for as long as it may be idle; then waits for jobs in work for as long as
    /// draining may take, hands over the rest, and gives all messages back.
    ///
    /// # Errors
    /// [`WorkerError`] where it left by itself; nothing is lost then either.
    pub async fn run(self) -> Result<(), WorkerError> {
        let crew = &self.crew;
        let done = CancellationToken::new();
        let protect = self.config.protect.clone().map(|who| tokio::spawn(who.run(crew.attendant.status.running(), done.clone())));
        self.learn_limit().await;
        crew.attendant.status.reach(Stage::Working);
        let mut running = JoinSet::new();
        let mut receiving: Option<Receiving> = None;
        let outcome = self.work(&mut running, &mut receiving).await;
        crew.attendant.status.reach(Stage::Leaving);
        self.leave(running, receiving).await;
        done.cancel();
        if let Some(protect) = protect
            && let Err(error) = protect.await
        {
            tracing::warn!(%error, "scale-in protection ended early");
        }
        outcome
    }

    /// Asks how often the queue gives a message out.
    async fn learn_limit(&self) {
        match self.crew.queue.facts().await {
            Ok(facts) => {
                if facts.most_receives.is_none() {
                    tracing::warn!(
                        queue = self.crew.queue.name(),
                        "the queue has no dead-letter queue: messages that cannot be worked on come back until they expire"
                    );
                }
                self.crew.attendant.status.facts(&facts);
            }
            Err(error) => tracing::warn!(%error, "the queue does not tell how often it gives a message out"),
        }
    }

    async fn work(&self, running: &mut JoinSet<()>, receiving: &mut Option<Receiving>) -> Result<(), WorkerError> {
        let crew = &self.crew;
        let mut back_off = BackOff::default();
        let (mut idle, mut wait) = (false, self.config.wait);
        let mut worked = Instant::now();
        let mut due = Instant::now() + jittered(self.config.look);
        while !crew.attendant.leaving.is_cancelled() {
            if let Some(reason) = crew.attendant.status.hopeless(self.config.patience) {
                crew.attendant.leaving.cancel();
                return Err(WorkerError::Hopeless { seconds: self.config.patience.as_secs(), reason });
            }
            while running.try_join_next().is_some() {
                worked = Instant::now();
            }
            if !running.is_empty() {
                worked = Instant::now();
            }
            if let Some(limit) = self.config.idle_exit
                && receiving.is_none()
            {
                let left = limit.saturating_sub(worked.elapsed());
                if left.is_zero() && idle {
                    tracing::info!(seconds = limit.as_secs(), "nothing came for so long: leaving");
                    return Ok(());
                }
                wait = wait.min(left.max(SHORTEST));
            }
            let room = crew.attendant.app.config.running.saturating_sub(running.len());
            // before the next message is asked for: there is no room afterwards
            let late = if idle { Duration::ZERO } else { self.config.look * (BUSY - 1) };
            if receiving.is_none() && room > 0 && due.elapsed() > late {
                let found = self.look(running).await;
                if found {
                    worked = Instant::now();
                }
                // where one was found, there may be more: an idle worker looks again if no message comes first
                due = Instant::now() + if found && idle { Duration::ZERO } else { jittered(self.config.look) };
                (idle, wait) = (false, if found { Duration::ZERO } else { self.config.wait });
                continue;
            }
            if receiving.is_none() && room > 0 {
                *receiving = Some(self.receive(room, wait));
            }
            let received = tokio::select! {
                received = async { match receiving.as_mut() { Some(receiving) => receiving.await, None => std::future::pending().await } } => received,
                // as soon as there is room, the next message is asked for
                Some(_) = running.join_next() => continue,
                // trouble of messages that are being seen to counts as well
                () = tokio::time::sleep(Duration::from_secs(1)), if room == 0 => continue,
                () = crew.attendant.leaving.cancelled() => return Ok(()),
            };
            *receiving = None;
            match received {
                Ok(messages) => {
                    back_off = BackOff::default();
                    crew.attendant.status.well(Part::Queue);
                    crew.attendant.status.received(&messages);
                    (idle, wait) = (messages.is_empty(), self.config.wait);
                    if !idle {
                        worked = Instant::now();
                    }
                    for message in messages {
                        let crew = Arc::clone(crew);
                        running.spawn(async move { crew.see_to(&message).await });
                    }
                }
                Err(error) => {
                    // not known to be empty
                    idle = false;
                    tracing::warn!(%error, "cannot receive messages; trying again");
                    crew.attendant.status.trouble(Part::Queue, &error.to_string(), !error.is_transient());
                    tokio::select! {
                        () = tokio::time::sleep(back_off.wait()) => {}
                        () = crew.attendant.leaving.cancelled() => {}
                    }
                }
            }
        }
        Ok(())
    }

    /// One call. Its messages are held for a short time first, so that those of an answer that nobody reads come again soon.
    fn receive(&self, room: usize, wait: Duration) -> Receiving {
        let (queue, hold) = (Arc::clone(&self.crew.queue), self.config.hold.min(RECEIPT));
        Box::pin(async move { queue.receive(room.min(MOST_RECEIVED), wait, hold).await })
    }

    /// Takes up a job that no message leads to: its message was lost, or never sent. Mostly an empty queue makes time for it, so that
    /// jobs whose messages are about to come are seldom taken from those who will get them. Whether there was one.
    async fn look(&self, running: &mut JoinSet<()>) -> bool {
        let crew = Arc::clone(&self.crew);
        let owner = crew.attendant.owner.clone();
        match crew.attendant.app.blocking(move |app| app.ledger.claim(&owner, app.config.most_attempts, &[])).await {
            Ok(Some(record)) => {
                tracing::info!(job = record.id, "found a job that no message led to");
                metrics::counter!("halfpipe_jobs_found_total").increment(1);
                running.spawn(async move { crew.attendant.run(record).await });
                true
            }
            Ok(None) => {
                self.crew.attendant.status.well(Part::Store);
                false
            }
            Err(error) => {
                if let AppError::Ledger(LedgerError::Store(error)) = &error {
                    self.crew.attendant.store_fails(error);
                }
                tracing::warn!(%error, "cannot look for jobs; trying again later");
                false
            }
        }
    }

    /// Ends in order: running jobs may go on for a while, then they are handed over; messages that still arrive go back at once.
    async fn leave(&self, mut running: JoinSet<()>, receiving: Option<Receiving>) {
        let crew = &self.crew;
        let late = async {
            let Some(receiving) = receiving else { return };
            // an answer that is on its way may still come; a request that waits for messages is given up
            let Ok(Ok(messages)) = tokio::time::timeout(LATE, receiving).await else { return };
            crew.attendant.status.received(&messages);
            for message in messages {
                crew.give_back(&message, Duration::ZERO, "leaving").await;
                crew.attendant.status.let_go();
            }
        };
        let drained = async {
            let drained = tokio::time::timeout(self.config.drain, async { while running.join_next().await.is_some() {} }).await;
            if drained.is_err() {
                crew.attendant.hand_over.cancel();
                while running.join_next().await.is_some() {}
            }
        };
        tokio::join!(late, drained);
    }
}
