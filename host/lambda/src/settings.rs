//! The function's variables: those that it shares with the `halfpipe` program.

use std::sync::Arc;

use anyhow::bail;
use clap::Parser;
use halfpipe_media::VideoChoice;
use halfpipe_nn::Device;
use halfpipe_queue::SqsConfig;
use halfpipe_render::AdapterChoice;
use halfpipe_runtime::HostConfig;
use halfpipe_service::settings::{ApiSettings, JobSettings, Places, StoreSettings};
use halfpipe_service::{Config, Place};
use halfpipe_store::{ObjectStore, S3Config, S3Store};

/// Jobs that may wait where the operator does not say: events come in crowds, and each waits for its turn in an invocation of its own.
const WAITING: u32 = 1000;

/// Variables of the function.
#[derive(Debug, Clone, Parser)]
pub struct Settings {
    /// Where the store is
    #[command(flatten)]
    place: StoreSettings,
    /// Where things are
    #[command(flatten)]
    places: Places,
    /// Who may ask for what
    #[command(flatten)]
    api: ApiSettings,
    /// How jobs are worked on
    #[command(flatten)]
    work: JobSettings,
}

impl Settings {
    /// The bucket: what is in a folder or in memory would be gone with the machine.
    fn bucket(&self) -> anyhow::Result<S3Config> {
        match self.place.place()? {
            Some(Place::Bucket(bucket)) => Ok(bucket),
            _ => bail!("there is no bucket; set HALFPIPE_STORE to s3://BUCKET/PREFIX"),
        }
    }

    /// The store. Blocks.
    pub fn store(&self) -> anyhow::Result<Arc<S3Store>> {
        Ok(Arc::new(S3Store::connect(self.bucket()?)?))
    }

    /// Where results go, where that is not the store. Blocks.
    pub fn results(&self) -> anyhow::Result<Option<Arc<dyn ObjectStore>>> {
        Ok(self.place.results()?.map(|place| place.open()).transpose()?.map(|opened| opened.store))
    }

    /// The queue on which the API announces jobs; none where this function works on them itself.
    pub fn queue(&self) -> anyhow::Result<Option<SqsConfig>> {
        Ok(self.api.queue()?)
    }

    /// The engines. Lambda has no GPU.
    pub fn host(&self) -> anyhow::Result<HostConfig> {
        let (device, adapter, video) = (Device::Cpu, AdapterChoice::Software, VideoChoice::Software);
        Ok(HostConfig { device, adapter, video, ..self.places.host()? })
    }

    /// The service.
    pub fn config(&self) -> anyhow::Result<Config> {
        let mut config = self.work.config(self.places.guests_dir()?);
        Place::Bucket(self.bucket()?).set(&mut config);
        self.api.set(&mut config, WAITING);
        Ok(config)
    }
}
