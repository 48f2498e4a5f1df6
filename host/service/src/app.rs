//! What every request and every job shares.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use halfpipe_runtime::warmup::Warmed;
use halfpipe_runtime::{Host, RuntimeError};
use halfpipe_store::{ObjectStore, StoreError};
use tokio::sync::Notify;

use crate::config::Config;
use crate::engines::Engines;
use crate::http::uploads::Presign;
use crate::jobs::{Ledger, LedgerError, Record, Submission};
use crate::shelf::{PlannerShelf, Shelf};

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
    /// Where videos, results and records are.
    pub store: Arc<dyn ObjectStore>,
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
    /// The planner component, once an event has asked for it.
    pub planner: PlannerShelf,
}

impl App {
    /// Puts the parts together and empties the spool of what a killed process left.
    ///
    /// # Errors
    /// [`AppError::Spool`].
    pub fn new(config: Config, store: Arc<dyn ObjectStore>, engines: Engines) -> Result<Arc<Self>, AppError> {
        crate::jobs::work::settle_spool(&config.spool).map_err(|source| AppError::Spool { path: config.spool.clone(), source })?;
        let ledger = Ledger::new(Arc::clone(&store), Config::LEDGER_PREFIX, config.lease, config.most_waiting);
        let shelf = Shelf::new(config.guests.clone());
        Ok(Arc::new(Self {
            config,
            store,
            ledger,
            engines,
            shelf,
            wake: Notify::new(),
            presign: OnceLock::new(),
            planner: PlannerShelf::default(),
        }))
    }

    /// Lets clients upload straight to the store by addresses that it signs. The first signer stays.
    #[must_use]
    pub fn with_presign(self: Arc<Self>, presign: Arc<dyn Presign>) -> Arc<Self> {
        self.presign.get_or_init(|| presign);
        self
    }

    /// Models of the default pipeline with its default options.
    ///
    /// # Errors
    /// Where the pipeline cannot be had.
    pub async fn default_needs(&self, host: &Host) -> Result<Vec<String>, RuntimeError> {
        let guest = self.shelf.get(host, &self.config.pipeline).await?;
        host.needs(&guest, "{}").await
    }

    /// Loads the default pipeline and its models as soon as the engines are there, and runs each model once, so that the first job
    /// finds them ready. Gives each model's outcome; what failed is tried again by the job that needs it.
    ///
    /// # Errors
    /// [`AppError::Engines`], [`AppError::Runtime`] where there is no such pipeline.
    pub async fn warm(&self) -> Result<BTreeMap<String, Result<Warmed, RuntimeError>>, AppError> {
        let host = self.engines.wait().await.map_err(AppError::Engines)?;
        let mut outcomes = BTreeMap::new();
        for name in self.default_needs(&host).await? {
            let outcome = host.warm(&name).await;
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
        let app = Arc::clone(self);
        tokio::task::spawn_blocking(move || call(&app)).await?.map_err(Into::into)
    }

    /// Submits a job and wakes the dispatcher. The flag says whether it is new.
    ///
    /// # Errors
    /// As [`Ledger::submit`].
    pub async fn submit(self: &Arc<Self>, submission: Submission) -> Result<(Record, bool), AppError> {
        let submitted = self.blocking(move |app| app.ledger.submit(submission)).await?;
        self.wake.notify_one();
        Ok(submitted)
    }
}
