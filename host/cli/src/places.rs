//! Where models, guests and libraries are, from the command line and the environment.

use std::path::PathBuf;

use anyhow::Context;
use halfpipe_nn::{Catalog, Device};
use halfpipe_render::AdapterChoice;
use halfpipe_runtime::{Host, HostConfig, Limits, Precompiled, RuntimeError};

use crate::args::{DeviceArg, Devices, Places, RendererArg};

impl Places {
    /// The built-in catalog with what was imported and the user's additions.
    pub fn catalog(&self) -> anyhow::Result<Catalog> {
        Ok(Catalog::installed(&self.models_dir()?, self.catalog.as_deref()).map_err(RuntimeError::from)?)
    }

    /// The folder of model files.
    pub fn models_dir(&self) -> anyhow::Result<PathBuf> {
        Ok(halfpipe_nn::catalog::models_dir(self.models.as_deref()).map_err(RuntimeError::from)?)
    }

    /// Where compiled components are looked for and kept: beside this program, and in the user's cache.
    pub fn compiled(&self) -> Precompiled {
        match halfpipe_nn::catalog::cache_dir() {
            Some(cache) => Precompiled::beside_program().with_cache(cache.join("compiled")),
            None => Precompiled::beside_program(),
        }
    }

    /// The folder of pipeline components: as given, else `guests` beside this program or one folder up.
    pub fn guests_dir(&self) -> anyhow::Result<PathBuf> {
        if let Some(dir) = &self.guests {
            return Ok(dir.clone());
        }
        let program = std::env::current_exe().context("cannot tell where this program is; give --guests DIR")?;
        let folder = program.parent().context("cannot tell where this program is; give --guests DIR")?;
        let candidates = [folder.join("guests"), folder.join("../guests"), folder.join("../lib/halfpipe/guests")];
        Ok(candidates.iter().find(|c| c.is_dir()).unwrap_or(&candidates[0]).clone())
    }
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
}

/// Starts the engines.
pub fn host(places: &Places, devices: &Devices, limits: Limits) -> anyhow::Result<Host> {
    Ok(Host::start(config(places, devices, limits)?)?)
}

/// Settings of the engines.
pub fn config(places: &Places, devices: &Devices, limits: Limits) -> anyhow::Result<HostConfig> {
    Ok(HostConfig {
        ort_library: places.ort_lib.clone(),
        device: devices.device(),
        intra_threads: devices.threads.map(usize::from),
        adapter: devices.adapter(),
        limits,
        precompiled: places.compiled(),
        ..HostConfig::new(places.catalog()?, places.models_dir()?)
    })
}
