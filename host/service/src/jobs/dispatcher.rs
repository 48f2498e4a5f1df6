//! The dispatcher: takes up jobs while there is room, and leaves none behind when the process is asked to go.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::jobs::work::work;

/// How the dispatcher behaves.
#[derive(Debug, Clone)]
pub struct DispatcherConfig {
    /// This process, as leases and histories name it.
    pub owner: String,
    /// How often to look for work that nobody announced: other processes' submissions, jobs whose owner died.
    pub poll: Duration,
    /// How long a running job may go on after the process was asked to leave, before it is handed over.
    pub drain: Duration,
}

impl Default for DispatcherConfig {
    fn default() -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self { owner: format!("{host}/{}", std::process::id()), poll: Duration::from_secs(1), drain: Duration::from_secs(10) }
    }
}

/// Works on jobs until it is told to leave.
#[derive(Debug)]
pub struct Dispatcher {
    app: Arc<App>,
    config: DispatcherConfig,
    /// No new jobs.
    leaving: CancellationToken,
}

impl Dispatcher {
    /// A dispatcher over the app's ledger. `leaving` asks it to finish.
    #[must_use]
    pub const fn new(app: Arc<App>, config: DispatcherConfig, leaving: CancellationToken) -> Self {
        Self { app, config, leaving }
    }

    /// Takes up jobs, at most `config.running` at once, until asked to leave; then waits for those that run, for as long as
    /// draining may take, and hands over the rest.
    pub async fn run(self) {
        let hand_over = CancellationToken::new();
        let mine = Arc::new(Mutex::new(BTreeSet::new()));
        let mut running = JoinSet::new();
        // jobs are taken up when they can be worked on: another process may be ready before this one
        tokio::select! {
            ready = self.app.engines.wait() => if let Err(message) = ready {
                tracing::error!(message, "no jobs are taken up");
                return;
            },
            () = self.leaving.cancelled() => return,
        }
        while !self.leaving.is_cancelled() {
            while running.try_join_next().is_some() {}
            let room = running.len() < self.app.config.running;
            if room && self.take_up(&mut running, &mine, &hand_over).await {
                continue;
            }
            tokio::select! {
                () = self.app.wake.notified(), if room => {}
                () = tokio::time::sleep(self.config.poll) => {}
                Some(_) = running.join_next() => {}
                () = self.leaving.cancelled() => {}
            }
        }
        let drained = tokio::time::timeout(self.config.drain, async { while running.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            hand_over.cancel();
            while running.join_next().await.is_some() {}
        }
    }

    /// Whether a job was found and started.
    async fn take_up(&self, running: &mut JoinSet<()>, mine: &Arc<Mutex<BTreeSet<String>>>, hand_over: &CancellationToken) -> bool {
        let owner = self.config.owner.clone();
        let not: Vec<String> = mine.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
        let claimed = self.app.blocking(move |app| app.ledger.claim(&owner, app.config.most_attempts, &not)).await;
        let record = match claimed {
            Ok(Some(record)) => record,
            Ok(None) => return false,
            Err(error) => {
                tracing::warn!(%error, "cannot look for jobs; trying again");
                return false;
            }
        };
        let (app, hand_over, mine) = (Arc::clone(&self.app), hand_over.clone(), Arc::clone(mine));
        mine.lock().unwrap_or_else(PoisonError::into_inner).insert(record.id.clone());
        running.spawn(async move {
            let id = record.id.clone();
            if let Err(error) = work(&app, record, &hand_over, None).await {
                tracing::error!(job = id, %error, "the job could not be settled; its lease will run out");
            }
            mine.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        });
        true
    }
}
