//! What every request and every job shares.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use halfpipe_queue::{MessageQueue, QueueError};
use halfpipe_runtime::warmup::Warmed;
use halfpipe_runtime::{Host, RuntimeError};
use halfpipe_store::{ObjectStore, StoreError};
use tokio::sync::{Notify, watch};

use crate::config::Config;
use crate::engines::Engines;
use crate::http::uploads::Presign;
use crate::jobs::live::Live;
use crate::jobs::{Ledger, LedgerError, Record, Spec, Submission};
use crate::probes::Probes;
use crate::queue::{BackOff, job_message};
use crate::shelf::{PlannerShelf, Shelf};

/// How often a job is announced, over about an hour, before that is left to the ledger.
const ANNOUNCEMENTS: u32 = 120;
/// Batch sizes that models are run at beforehand: a single picture's, and that of jobs that say nothing else.
const WARM_BATCHES: [usize; 2] = [1, Spec::BATCH as usize];

/// Why the service did not start, or could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The spool cannot be used.
    #[error("the spool folder {path} cannot be used ({source}); give one that can be written to")]
    Spool {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The message queue.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The sandbox, a guest or an engine.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The engines did not start.
    #[error("the engines are not there: {0}")]
    Engines(String),
    /// A blocking call was lost.
    #[error("an inner task ended early: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// The service's parts. Shared by all requests and jobs.
#[derive(Debug)]
pub struct App {
    /// Settings.
    pub config: Config,
    /// Where videos and records are, and results unless they have a place of their own.
    pub store: Arc<dyn ObjectStore>,
    /// Where results are, where that is not the store; see [`App::with_results`].
    results: OnceLock<Arc<dyn ObjectStore>>,
    /// Changes whenever a client of this process asks a job to stop.
    pub(crate) cancels: watch::Sender<u64>,
    /// How far the jobs of this process are.
    pub(crate) live: Live,
    /// What was found in the videos that came in here.
    pub(crate) probes: Probes,
    /// What is known of jobs.
    pub ledger: Ledger,
    /// The engines.
    pub engines: Engines,
    /// Pipelines.
    pub shelf: Shelf,
    /// Told whenever there may be new work.
    pub wake: Notify,
    /// Signs addresses of the store, where it can; see [`App::with_presign`].
    pub presign: OnceLock<Arc<dyn Presign>>,
    /// Where jobs are announced to workers, in a front door; see [`App::with_queue`].
    pub queue: OnceLock<Arc<dyn MessageQueue>>,
    /// The planner component, once an event has asked for it.
    pub planner: PlannerShelf,
}

impl App {
    /// Puts the parts together and empties the spool of what a killed process left.
    ///
    /// # Errors
    /// [`AppError::Spool`]; [`AppError::Store`] where the store's secret cannot be had.
    pub fn new(mut config: Config, store: Arc<dyn ObjectStore>, engines: Engines) -> Result<Arc<Self>, AppError> {
        crate::jobs::work::settle_spool(&config.spool).map_err(|source| AppError::Spool { path: config.spool.clone(), source })?;
        if config.upload_secret.is_none() {
            config.upload_secret = store.secret(Config::UPLOAD_SECRET)?;
        }
        let ledger = Ledger::new(Arc::clone(&store), Config::LEDGER_PREFIX, config.lease, config.most_waiting);
        let shelf = Shelf::new(config.guests.clone());
        Ok(Arc::new(Self {
            config,
            store,
            results: OnceLock::new(),
            cancels: watch::Sender::new(0),
            live: Live::default(),
            probes: Probes::default(),
            ledger,
            engines,
            shelf,
            wake: Notify::new(),
            presign: OnceLock::new(),
            queue: OnceLock::new(),
            planner: PlannerShelf::default(),
        }))
    }

    /// What is known of a job, with its progress of this moment where this process works on it. Blocks.
    ///
    /// # Errors
    /// [`LedgerError`] where there is no such job, or the store does not answer.
    pub fn look(&self, id: &str) -> Result<Record, LedgerError> {
        let mut record = self.ledger.get(id)?;
        self.live.bring_up_to_date(&mut record);
        Ok(record)
    }

    /// Lets clients upload straight to the store by addresses that it signs. The first signer stays.
    #[must_use]
    pub fn with_presign(self: Arc<Self>, presign: Arc<dyn Presign>) -> Arc<Self> {
        self.presign.get_or_init(|| presign);
        self
    }

    /// Puts results elsewhere than into the store: another bucket, or another prefix of the same one. The first place stays.
    #[must_use]
    pub fn with_results(self: Arc<Self>, results: Arc<dyn ObjectStore>) -> Arc<Self> {
        self.results.get_or_init(|| results);
        self
    }

    /// Where the results of a job are. What the windows of a job made stays in the store, where it is joined.
    #[must_use]
    pub fn results_of(&self, record: &Record) -> &Arc<dyn ObjectStore> {
        self.results.get().filter(|_| record.spec.part_of.is_none()).unwrap_or(&self.store)
    }

    /// Asks a job to stop, and the jobs of its windows.
    ///
    /// # Errors
    /// As [`Ledger::cancel`].
    pub async fn cancel(self: &Arc<Self>, id: String) -> Result<Record, AppError> {
        let record = self.blocking(move |app| app.ledger.cancel(&id)).await?;
        if record.cancel_requested {
            crate::jobs::windows::clear(self, &record).await;
        }
        self.cancels.send_modify(|asked| *asked += 1);
        Ok(record)
    }

    /// Makes this process a front door: jobs are announced on the queue, and worked on by whoever takes messages from it. The first
    /// queue stays.
    #[must_use]
    pub fn with_queue(self: Arc<Self>, queue: Arc<dyn MessageQueue>) -> Arc<Self> {
        self.queue.get_or_init(|| queue);
        self
    }

    /// Announces a job on the queue, where there is one. The job is safe in the ledger already, so a queue that does not answer is
    /// tried again in the background; should this process end meanwhile, a worker finds the job as soon as it is idle.
    pub async fn announce(&self, record: &Record) {
        let Some(queue) = self.queue.get().filter(|_| !record.state.is_final()) else { return };
        let Err(error) = self.announce_now(record).await else { return };
        let (queue, message, id) = (Arc::clone(queue), job_message(&record.id), record.id.clone());
        tracing::warn!(job = id, %error, "a job could not be announced; trying again");
        tokio::spawn(async move {
            let mut back_off = BackOff::default();
            for _ in 0..ANNOUNCEMENTS {
                tokio::time::sleep(back_off.wait()).await;
                match queue.send(&message, Duration::ZERO).await {
                    Ok(_) => return,
                    Err(error) => tracing::warn!(job = id, %error, "a job could not be announced; trying again"),
                }
            }
            tracing::error!(job = id, "a job was not announced; it waits for a worker that is idle");
        });
    }

    /// Announces a job on the queue, where there is one, and does not try again.
    ///
    /// # Errors
    /// [`AppError::Queue`].
    pub(crate) async fn announce_now(&self, record: &Record) -> Result<(), AppError> {
        if let Some(queue) = self.queue.get() {
            queue.send(&job_message(&record.id), Duration::ZERO).await?;
        }
        Ok(())
    }

    /// Models of the default pipeline with its default options.
    ///
    /// # Errors
    /// Where the pipeline cannot be had.
    pub async fn default_needs(&self, host: &Host) -> Result<Vec<String>, RuntimeError> {
        let guest = self.shelf.get(host, &self.config.pipeline).await?;
        host.needs(&guest, "{}").await
    }

    /// Loads the default pipeline and its models as soon as the engines are there, and runs each model at the batch sizes that jobs
    /// use, so that the first job finds them ready. Gives each model's outcome; what failed is tried again by the job that needs it.
    ///
    /// # Errors
    /// [`AppError::Engines`], [`AppError::Runtime`] where there is no such pipeline.
    pub async fn warm(&self) -> Result<BTreeMap<String, Result<Warmed, RuntimeError>>, AppError> {
        let host = self.engines.wait().await.map_err(AppError::Engines)?;
        let mut outcomes = BTreeMap::new();
        for name in self.default_needs(&host).await? {
            let outcome = host.warm(&name, &WARM_BATCHES).await;
            if let Err(error) = &outcome {
                tracing::error!(model = name, %error, "a model of the default pipeline cannot be used");
            }
            outcomes.insert(name, outcome);
        }
        Ok(outcomes)
    }

    /// Runs a blocking call of store or ledger where blocking is allowed.
    ///
    /// # Errors
    /// The call's own, and [`AppError::Task`] where it was lost.
    pub async fn blocking<T: Send + 'static, E: Into<AppError> + Send + 'static>(
        self: &Arc<Self>,
        call: impl FnOnce(&Self) -> Result<T, E> + Send + 'static,
    ) -> Result<T, AppError> {
        let (app, span) = (Arc::clone(self), tracing::Span::current());
        tokio::task::spawn_blocking(move || span.in_scope(|| call(&app))).await?.map_err(Into::into)
    }

    /// Submits a job and wakes the dispatcher. The flag says whether it is new.
    ///
    /// # Errors
    /// As [`Ledger::submit`].
    pub async fn submit(self: &Arc<Self>, submission: Submission) -> Result<(Record, bool), AppError> {
        let submit = |app: &Self| {
            let submitted = app.ledger.submit(submission)?;
            crate::webhook::outbox::owe(app, &submitted.0)?;
            Ok::<_, AppError>(submitted)
        };
        let submitted = self.blocking(submit).await?;
        self.wake.notify_one();
        Ok(submitted)
    }
}
