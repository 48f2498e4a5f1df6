//! The engines, as the command line and the environment want them.

use halfpipe_media::{Tools, VideoChoice};
use halfpipe_nn::Device;
use halfpipe_render::AdapterChoice;
use halfpipe_runtime::{Host, HostConfig, Limits, Precompiled, RuntimeError};
use halfpipe_service::settings::Places;

use crate::args::{DeviceArg, Devices, RendererArg, VideoArg};

/// Where compiled components are looked for and kept: beside this program, and in the user's cache.
pub fn compiled() -> Precompiled {
    match halfpipe_nn::catalog::cache_dir() {
        Some(cache) => Precompiled::beside_program().with_cache(cache.join("compiled")),
        None => Precompiled::beside_program(),
    }
}

/// ffmpeg and ffprobe, which the user's cache remembers from one start to the next.
pub fn tools() -> Result<Tools, RuntimeError> {
    Ok(halfpipe_nn::catalog::cache_dir().as_deref().map_or_else(Tools::find, Tools::find_remembering)?)
}

impl Devices {
    /// Where networks run.
    pub const fn device(&self) -> Device {
        match self.device {
            DeviceArg::Auto => Device::Auto,
            DeviceArg::Cpu => Device::Cpu,
            DeviceArg::Cuda => Device::Cuda { id: self.gpu },
            DeviceArg::Tensorrt => Device::TensorRt { id: self.gpu },
        }
    }

    /// Where bodies are drawn.
    pub const fn adapter(&self) -> AdapterChoice {
        match self.renderer {
            RendererArg::Auto => AdapterChoice::Auto,
            RendererArg::Hardware => AdapterChoice::Hardware,
            RendererArg::Software => AdapterChoice::Software,
        }
    }

    /// What decodes and encodes videos.
    pub const fn video(&self) -> VideoChoice {
        match self.video {
            VideoArg::Auto => VideoChoice::Auto,
            VideoArg::Software => VideoChoice::Software,
            VideoArg::Nvidia => VideoChoice::Nvidia { gpu: self.gpu },
        }
    }
}

/// Starts the engines.
pub fn host(places: &Places, devices: &Devices, limits: Limits) -> anyhow::Result<Host> {
    Ok(Host::start(config(places, devices, limits)?)?)
}

/// Settings of the engines.
pub fn config(places: &Places, devices: &Devices, limits: Limits) -> anyhow::Result<HostConfig> {
    Ok(HostConfig {
        device: devices.device(),
        intra_threads: devices.threads.map(usize::from),
        adapter: devices.adapter(),
        video: devices.video(),
        limits,
        precompiled: compiled(),
        ..places.host()?
    })
}
