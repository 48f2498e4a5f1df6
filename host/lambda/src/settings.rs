//! The function's variables, by the names that `halfpipe serve` knows them by.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use halfpipe_nn::{Catalog, Device};
use halfpipe_render::AdapterChoice;
use halfpipe_runtime::HostConfig;
use halfpipe_service::Config;
use halfpipe_store::{S3Config, S3Store};

/// Variables of the function.
#[derive(Debug, Clone, Parser)]
pub struct Settings {
    /// s3://BUCKET/PREFIX
    #[arg(long, env = "HALFPIPE_STORE")]
    store: String,
    /// S3 endpoint, where it is not AWS
    #[arg(long, env = "HALFPIPE_S3_ENDPOINT")]
    endpoint: Option<String>,
    /// S3 region
    #[arg(long, env = "HALFPIPE_S3_REGION")]
    region: Option<String>,
    /// Folder of model files
    #[arg(long, env = "HALFPIPE_MODELS")]
    models: Option<PathBuf>,
    /// Further catalog of models
    #[arg(long, env = "HALFPIPE_CATALOG")]
    catalog: Option<PathBuf>,
    /// ONNX Runtime library
    #[arg(long, env = "HALFPIPE_ORT_LIB")]
    ort_lib: Option<PathBuf>,
    /// Folder of components [default: `guests` beside this program]
    #[arg(long, env = "HALFPIPE_GUESTS")]
    guests: Option<PathBuf>,
    /// Folder for work in progress
    #[arg(long, env = "HALFPIPE_SPOOL", default_value = "/tmp/halfpipe")]
    spool: PathBuf,
    /// Keys of which a client must show one
    #[arg(long, env = "HALFPIPE_API_KEYS", value_delimiter = ',')]
    api_keys: Vec<String>,
    /// Origins that browsers may call from
    #[arg(long, env = "HALFPIPE_CORS_ORIGINS", value_delimiter = ',')]
    cors_origins: Vec<String>,
    /// Jobs worked on at once; 0 takes jobs in and leaves the work to other processes on the same store
    #[arg(long, env = "HALFPIPE_JOBS", default_value_t = 1)]
    jobs: u16,
    /// Jobs that may wait
    #[arg(long, env = "HALFPIPE_WAITING", default_value_t = 1000)]
    waiting: usize,
    /// Seconds after which the job of a process that stopped answering is taken over
    #[arg(long, env = "HALFPIPE_LEASE_SECONDS", default_value_t = 30)]
    lease: u64,
    /// Attempts a job gets
    #[arg(long, env = "HALFPIPE_ATTEMPTS", default_value_t = 3)]
    attempts: u32,
    /// Pipeline of jobs that name none
    #[arg(long, env = "HALFPIPE_PIPELINE", default_value = "overlay")]
    pipeline: String,
    /// Planner component
    #[arg(long, env = "HALFPIPE_PLANNER", default_value = "planner")]
    planner: String,
    /// Signs webhooks
    #[arg(long, env = "HALFPIPE_WEBHOOK_SECRET")]
    webhook_secret: Option<String>,
}

impl Settings {
    fn place(&self) -> anyhow::Result<S3Config> {
        let mut place = S3Config::from_url(&self.store)?;
        if let Some(endpoint) = &self.endpoint {
            place = place.at_endpoint(endpoint);
        }
        place.region.clone_from(&self.region);
        Ok(place)
    }

    /// The store.
    pub fn store(&self) -> anyhow::Result<Arc<S3Store>> {
        Ok(Arc::new(S3Store::connect(self.place()?)?))
    }

    /// The engines. Lambda has no GPU.
    pub fn host(&self) -> anyhow::Result<HostConfig> {
        let models = halfpipe_nn::catalog::models_dir(self.models.as_deref())?;
        let catalog = Catalog::installed(&models, self.catalog.as_deref())?;
        Ok(HostConfig {
            ort_library: self.ort_lib.clone(),
            device: Device::Cpu,
            adapter: AdapterChoice::Software,
            ..HostConfig::new(catalog, models)
        })
    }

    /// The service.
    pub fn config(&self) -> anyhow::Result<Config> {
        let guests = match &self.guests {
            Some(folder) => folder.clone(),
            None => {
                let program = std::env::current_exe().context("cannot tell where this program is; set HALFPIPE_GUESTS")?;
                program.parent().context("cannot tell where this program is; set HALFPIPE_GUESTS")?.join("guests")
            }
        };
        let place = self.place()?;
        Ok(Config {
            api_keys: self.api_keys.iter().filter(|k| !k.is_empty()).cloned().collect(),
            cors_origins: self.cors_origins.clone(),
            running: usize::from(self.jobs),
            most_waiting: self.waiting,
            lease: Duration::from_secs(self.lease),
            most_attempts: self.attempts,
            pipeline: self.pipeline.clone(),
            planner: self.planner.clone(),
            bucket: Some(place.bucket),
            bucket_prefix: if place.prefix.is_empty() { String::new() } else { format!("{}/", place.prefix) },
            webhook_secret: self.webhook_secret.clone(),
            ..Config::new(self.spool.clone(), guests)
        })
    }
}
