//! The function's variables: those that it shares with `halfpipe serve`, and where things are.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use halfpipe_nn::{Catalog, Device};
use halfpipe_render::AdapterChoice;
use halfpipe_runtime::HostConfig;
use halfpipe_service::Config;
use halfpipe_service::settings::{ApiSettings, JobSettings, StoreSettings};
use halfpipe_store::{S3Config, S3Store};

/// Jobs that may wait where the operator does not say: events come in crowds, and each waits for its turn in an invocation of its own.
const WAITING: u32 = 1000;

/// Variables of the function.
#[derive(Debug, Clone, Parser)]
pub struct Settings {
    /// Where the store is
    #[command(flatten)]
    place: StoreSettings,
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
    /// Jobs worked on at once; 0 takes jobs in and leaves the work to other processes on the same store
    #[arg(long, env = "HALFPIPE_JOBS", default_value_t = 1)]
    jobs: u16,
    /// Who may ask for what
    #[command(flatten)]
    api: ApiSettings,
    /// How jobs are worked on
    #[command(flatten)]
    work: JobSettings,
}

impl Settings {
    fn place(&self) -> anyhow::Result<S3Config> {
        let url = self.place.store.as_deref().context("there is no store; set HALFPIPE_STORE to s3://BUCKET/PREFIX")?;
        let mut place = S3Config::from_url(url)?;
        if let Some(endpoint) = &self.place.endpoint {
            place = place.at_endpoint(endpoint);
        }
        place.region.clone_from(&self.place.region);
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
        let mut config = Config {
            running: usize::from(self.jobs),
            bucket: Some(place.bucket),
            bucket_prefix: if place.prefix.is_empty() { String::new() } else { format!("{}/", place.prefix) },
            ..self.work.config(guests)
        };
        self.api.set(&mut config, WAITING);
        Ok(config)
    }
}
