//! Settings that the programs share, each said once: flag, variable, default and meaning. The commands of `halfpipe` take them as flags
//! or variables, the Lambda function as variables; the table in docs/serving.md is made of them.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use halfpipe_nn::Catalog;
use halfpipe_queue::{QueueError, SqsConfig};
use halfpipe_runtime::{HostConfig, RuntimeError};
use halfpipe_store::StoreError;

use crate::{Config, Place};

/// Where the store is.
#[derive(Debug, Clone, Args)]
pub struct StoreSettings {
    /// Where videos, results and job records are: s3://BUCKET/PREFIX, a folder, or memory: [default: an S3 server of its own under ./data; in Lambda a bucket must be given]
    #[arg(long, env = "HALFPIPE_STORE", value_name = "URL|DIR")]
    pub store: Option<String>,
    /// Where results go, if not into the store: s3://BUCKET/PREFIX of the same server, or a folder; outside of the store, so that they start no jobs [default: the store]
    #[arg(long, env = "HALFPIPE_RESULTS", value_name = "URL|DIR", requires = "store")]
    pub results: Option<String>,
    /// S3 endpoint, where it is not AWS
    #[arg(long, env = "HALFPIPE_S3_ENDPOINT", value_name = "URL", requires = "store")]
    pub endpoint: Option<String>,
    /// S3 region [default: as for the AWS command line]
    #[arg(long, env = "HALFPIPE_S3_REGION", value_name = "NAME")]
    pub region: Option<String>,
}

impl StoreSettings {
    /// Where it is; none where nothing is given.
    ///
    /// # Errors
    /// [`StoreError::Settings`] where the text is no store's address.
    pub fn place(&self) -> Result<Option<Place>, StoreError> {
        self.store.as_deref().map(|store| Place::of(store, self.endpoint.as_deref(), self.region.as_deref())).transpose()
    }

    /// Where results go; none where that is the store.
    ///
    /// # Errors
    /// [`StoreError::Settings`] where the text is no store's address, or results would lie within the store or around it.
    pub fn results(&self) -> Result<Option<Place>, StoreError> {
        let Some(address) = self.results.as_deref() else { return Ok(None) };
        let place = Place::of(address, self.endpoint.as_deref(), self.region.as_deref())?;
        let refused = |rule: &str| Err(StoreError::Settings { store: address.to_owned(), rule: rule.to_owned() });
        match (&place, self.place()?) {
            (Place::Memory, _) => refused("results in memory are seen by nobody; give s3://BUCKET/PREFIX or a folder"),
            (_, Some(store)) if place.overlaps(&store) => refused(
                "results would lie within the store or around it, where they could start jobs; give another bucket, or a prefix outside of it",
            ),
            _ => Ok(Some(place)),
        }
    }
}

/// Where models and pipelines are.
#[derive(Debug, Clone, Args)]
pub struct Places {
    /// Folder of model files [default: the user cache, where `make models` puts them]
    #[arg(long, env = "HALFPIPE_MODELS", value_name = "DIR")]
    pub models: Option<PathBuf>,
    /// Further catalog of models, added to the built-in one
    #[arg(long, env = "HALFPIPE_CATALOG", value_name = "FILE")]
    pub catalog: Option<PathBuf>,
    /// ONNX Runtime library [default: the user cache, then the system]
    #[arg(long, env = "HALFPIPE_ORT_LIB", value_name = "FILE")]
    pub ort_lib: Option<PathBuf>,
    /// Folder of pipeline components [default: `guests` beside this program]
    #[arg(long, env = "HALFPIPE_GUESTS", value_name = "DIR")]
    pub guests: Option<PathBuf>,
}

impl Places {
    /// The built-in catalog with what was imported and the user's additions.
    ///
    /// # Errors
    /// As [`Catalog::installed`].
    pub fn catalog(&self) -> Result<Catalog, RuntimeError> {
        Ok(Catalog::installed(&self.models_dir()?, self.catalog.as_deref())?)
    }

    /// The folder of model files.
    ///
    /// # Errors
    /// Where none is given and there is no user cache.
    pub fn models_dir(&self) -> Result<PathBuf, RuntimeError> {
        Ok(halfpipe_nn::catalog::models_dir(self.models.as_deref())?)
    }

    /// The folder of pipeline components: as given, else `guests` beside this program or one folder up.
    ///
    /// # Errors
    /// [`RuntimeError::BadInput`] where none is given and the system does not say where this program is.
    pub fn guests_dir(&self) -> Result<PathBuf, RuntimeError> {
        if let Some(dir) = &self.guests {
            return Ok(dir.clone());
        }
        let program = std::env::current_exe().ok();
        let Some(folder) = program.as_deref().and_then(std::path::Path::parent) else {
            return Err(RuntimeError::BadInput("cannot tell where this program is; give --guests DIR, or HALFPIPE_GUESTS".into()));
        };
        let candidates = [folder.join("guests"), folder.join("../guests"), folder.join("../lib/halfpipe/guests")];
        Ok(candidates.iter().find(|c| c.is_dir()).unwrap_or(&candidates[0]).clone())
    }

    /// Settings of the engines, with these models and library.
    ///
    /// # Errors
    /// As [`Places::catalog`].
    pub fn host(&self) -> Result<HostConfig, RuntimeError> {
        Ok(HostConfig { ort_library: self.ort_lib.clone(), ..HostConfig::new(self.catalog()?, self.models_dir()?) })
    }
}

/// Who may ask for what.
#[derive(Debug, Clone, Args)]
pub struct ApiSettings {
    /// Keys of which a client must show one (Authorization: Bearer KEY, or X-Api-Key: KEY)
    #[arg(long = "api-key", env = "HALFPIPE_API_KEYS", value_name = "KEY", value_delimiter = ',', hide_env_values = true)]
    pub api_keys: Vec<String>,
    /// Origins that browsers may call from, and put to presigned addresses of the S3 server of its own; * for any
    #[arg(long = "cors-origin", env = "HALFPIPE_CORS_ORIGINS", value_name = "ORIGIN", value_delimiter = ',')]
    pub cors_origins: Vec<String>,
    /// Largest video taken in, MiB
    #[arg(long, env = "HALFPIPE_MAX_UPLOAD_MIB", default_value_t = 2048, value_name = "MIB")]
    pub max_upload_mib: u64,
    /// Hours after which an upload that no job has is removed
    #[arg(long, env = "HALFPIPE_ORPHAN_HOURS", default_value_t = 24, value_name = "HOURS", value_parser = clap::value_parser!(u64).range(1..=8760))]
    pub orphan_hours: u64,
    /// Announce jobs on this SQS queue and leave the work to those who take its messages, on the same store; storage events are queued as they are
    #[arg(long, env = "HALFPIPE_QUEUE_URL", value_name = "URL", conflicts_with = "jobs")]
    pub queue: Option<String>,
    /// Jobs that may wait before more are refused with 429 [default: 100; in Lambda 1000]
    #[arg(long, env = "HALFPIPE_WAITING", value_name = "N")]
    pub waiting: Option<u32>,
}

/// How jobs are worked on.
#[derive(Debug, Clone, Args)]
pub struct JobSettings {
    /// Jobs worked on at once: they share models and cores, so more than one gains little without a GPU; 0 takes jobs in and leaves the work to other processes on the same store
    #[arg(long, env = "HALFPIPE_JOBS", default_value_t = 1, value_name = "N")]
    pub jobs: u16,
    /// Folder for work in progress [default: `halfpipe` in the system's folder for temporary files]
    #[arg(long, env = "HALFPIPE_SPOOL", value_name = "DIR")]
    pub spool: Option<PathBuf>,
    /// Seconds after which the job of a process that stopped answering is taken over
    #[arg(long, env = "HALFPIPE_LEASE_SECONDS", default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(2..=3600))]
    pub lease: u64,
    /// Attempts a job gets where its fault may pass
    #[arg(long, env = "HALFPIPE_ATTEMPTS", default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=20))]
    pub attempts: u32,
    /// Longest time one job may take, seconds [default: any]
    #[arg(long, env = "HALFPIPE_JOB_SECONDS", value_name = "SECONDS")]
    pub job_timeout: Option<u64>,
    /// Cut videos longer than about one and a half times this into windows of about this many seconds, each a job of its own that any process takes up [default: never]
    #[arg(long, env = "HALFPIPE_WINDOW_SECONDS", value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86400))]
    pub window_seconds: Option<u32>,
    /// Pipeline of jobs that name none
    #[arg(long, env = "HALFPIPE_PIPELINE", default_value = "overlay", value_name = "NAME")]
    pub pipeline: String,
    /// Planner component that decides on upload events: a name in the guests' folder
    #[arg(long, env = "HALFPIPE_PLANNER", default_value = "planner", value_name = "NAME")]
    pub planner: String,
    /// Signs webhooks; none refuses jobs that want one
    #[arg(long, env = "HALFPIPE_WEBHOOK_SECRET", value_name = "TEXT", hide_env_values = true)]
    pub webhook_secret: Option<String>,
    /// Let webhooks go to loopback and private addresses
    #[arg(long, env = "HALFPIPE_WEBHOOK_PRIVATE")]
    pub webhook_private: bool,
}

impl JobSettings {
    /// The service's settings, with components from the folder `guests`.
    #[must_use]
    pub fn config(&self, guests: PathBuf) -> Config {
        let spool = self.spool.clone().unwrap_or_else(|| std::env::temp_dir().join("halfpipe"));
        Config {
            running: usize::from(self.jobs),
            lease: Duration::from_secs(self.lease),
            most_attempts: self.attempts,
            job_timeout: self.job_timeout.map(Duration::from_secs),
            window_seconds: self.window_seconds.map(f64::from),
            pipeline: self.pipeline.clone(),
            planner: self.planner.clone(),
            webhook_secret: self.webhook_secret.clone(),
            webhook_private: self.webhook_private,
            ..Config::new(spool, guests)
        }
    }
}

impl ApiSettings {
    /// The queue on which jobs are announced; none where this process works on them itself.
    ///
    /// # Errors
    /// [`QueueError::Settings`] where the text is no queue's address.
    pub fn queue(&self) -> Result<Option<SqsConfig>, QueueError> {
        self.queue.as_deref().map(SqsConfig::from_url).transpose()
    }

    /// Puts them into the service's settings; `waiting` where the operator does not say how many jobs may wait.
    pub fn set(&self, config: &mut Config, waiting: u32) {
        config.api_keys = self.api_keys.iter().filter(|key| !key.is_empty()).cloned().collect();
        config.cors_origins.clone_from(&self.cors_origins);
        config.orphan_age = Duration::from_secs(self.orphan_hours.saturating_mul(3600));
        config.most_upload_bytes = self.max_upload_mib.saturating_mul(1 << 20);
        config.most_waiting = usize::try_from(self.waiting.unwrap_or(waiting)).unwrap_or(usize::MAX);
    }
}
