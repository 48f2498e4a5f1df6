//! What all jobs of a process share: engines, models, the sandbox, loaded guests.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use halfpipe_core::StageClock;
use halfpipe_media::{Codecs, Tools, VideoChoice};
use halfpipe_nn::catalog::Entry;
use halfpipe_nn::{Catalog, Device, DeviceInfo, ModelHandle, NnConfig, NnLane};
use halfpipe_render::{AdapterChoice, DrawLane, LaneConfig};

use crate::error::RuntimeError;
use crate::guest::Guest;
use crate::limits::Limits;
use crate::precompiled::Precompiled;
use crate::sandbox::Sandbox;
use crate::state::Shared;

/// Settings of a [`Host`].
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// Models by name.
    pub catalog: Arc<Catalog>,
    /// Folder of their files.
    pub models_dir: PathBuf,
    /// ONNX Runtime library; none to look in the usual places.
    pub ort_library: Option<PathBuf>,
    /// Where networks run.
    pub device: Device,
    /// Threads that networks may use, all together; none for one per core.
    pub intra_threads: Option<usize>,
    /// Where bodies are drawn.
    pub adapter: AdapterChoice,
    /// What decodes and encodes videos.
    pub video: VideoChoice,
    /// Limits of each job's guest.
    pub limits: Limits,
    /// Where compiled components are looked for, and kept.
    pub precompiled: Precompiled,
    /// ffmpeg and ffprobe, where they have been found already; none to look for them.
    pub tools: Option<Tools>,
    /// Whether an ffmpeg and an ffprobe are always started beforehand ([`Tools::with_spares`]).
    pub spares: bool,
    /// Whether Linux's `perf` is told the names of the guests' functions ([`Sandbox::with_perf_map`]).
    pub perf_map: bool,
}

impl HostConfig {
    /// The engines that are there, all cores, the usual limits, precompiled components beside the program; for this catalog with
    /// its files in `models_dir`.
    #[must_use]
    pub fn new(catalog: Catalog, models_dir: PathBuf) -> Self {
        Self {
            catalog: Arc::new(catalog),
            models_dir,
            ort_library: None,
            device: Device::Auto,
            intra_threads: None,
            adapter: AdapterChoice::Auto,
            video: VideoChoice::Auto,
            limits: Limits::default(),
            precompiled: Precompiled::beside_program(),
            tools: None,
            spares: false,
            perf_map: false,
        }
    }
}

/// The engines, ready for jobs.
#[derive(Clone)]
pub struct Host {
    pub(crate) sandbox: Sandbox,
    pub(crate) shared: Arc<Shared>,
    pub(crate) limits: Limits,
}

impl Host {
    /// Starts the engines. Models are loaded when the first job that needs them starts.
    ///
    /// # Errors
    /// What is missing and what to do about it: ffmpeg, the ONNX Runtime library, the device, an adapter, the codecs of a GPU.
    pub fn start(config: HostConfig) -> Result<Self, RuntimeError> {
        let nn = NnConfig {
            library: config.ort_library,
            device: config.device,
            intra_threads: config.intra_threads,
            catalog: Arc::clone(&config.catalog),
            models_dir: config.models_dir.clone(),
            clock: StageClock::default(),
        };
        let draw = LaneConfig { adapter: config.adapter, ..LaneConfig::default() };
        // each waits mostly for other programs, drivers and files; all have ended when this returns, also where one fails
        let (sandbox, tools, draw, nn) = std::thread::scope(|scope| {
            let tools = scope.spawn(|| config.tools.map_or_else(Tools::find, Ok));
            let draw = scope.spawn(|| DrawLane::start(draw));
            let nn = scope.spawn(|| NnLane::start(nn));
            let sandbox = if config.perf_map { Sandbox::with_perf_map } else { Sandbox::new };
            let sandbox = sandbox(&config.limits, config.precompiled);
            (sandbox, joined(tools), joined(draw), joined(nn))
        });
        let (sandbox, tools, draw, nn) = (sandbox?, tools?, draw?, nn?);
        let tools = if config.spares { tools.with_spares() } else { tools };
        let codecs = Codecs::settle(config.video, gpu_of(nn.device()), |gpu| halfpipe_media::probe_nvidia(&tools, gpu))?;
        if let Some(warning) = &codecs.warning {
            tracing::warn!("{warning}");
        }
        let shared = Shared { nn, draw, tools, codecs, catalog: config.catalog, models_dir: config.models_dir, bodies: Arc::default() };
        Ok(Self { sandbox, shared: Arc::new(shared), limits: config.limits })
    }

    /// The engines.
    #[must_use]
    pub fn engines(&self) -> &Shared {
        &self.shared
    }

    /// The limits of each job's guest.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The sandbox that guests run in.
    #[must_use]
    pub const fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Models and bodies that a job of this guest with these options (JSON) needs.
    ///
    /// # Errors
    /// As [`Guest::needs`].
    pub async fn needs(&self, guest: &Guest, options: &str) -> Result<Vec<String>, RuntimeError> {
        guest.needs(&self.sandbox, &self.limits, options).await
    }

    /// Loads a model or body of the catalog as a job does that needs it: digests checked, once.
    ///
    /// # Errors
    /// [`RuntimeError::Nn`] or [`RuntimeError::Catalog`] where there is none of that name, or its file is missing or altered.
    pub async fn load_model(&self, name: &str) -> Result<ModelHandle, RuntimeError> {
        let model = self.shared.nn.load(name).await?;
        if matches!(self.shared.catalog.entry(name)?, Entry::Body(_)) {
            self.shared.body(name)?;
        }
        Ok(model)
    }

    /// Loads a guest component from a file.
    ///
    /// # Errors
    /// As [`Guest::load`].
    pub async fn load_guest(&self, path: &Path) -> Result<Arc<Guest>, RuntimeError> {
        Guest::load(&self.sandbox, &self.limits, path).await
    }
}

/// The GPU that networks run on; none for the CPU.
fn gpu_of(networks: &DeviceInfo) -> Option<u32> {
    match networks.device.parse() {
        Ok(Device::Cuda { id } | Device::TensorRt { id }) => Some(id),
        _ => None,
    }
}

/// What a thread gives; its panic goes on here.
fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Finds a guest by the path of a .wasm file, or by name in `dir`.
///
/// # Errors
/// [`RuntimeError::GuestUnknown`] with what is there.
pub fn find_guest(name: &str, dir: &Path) -> Result<PathBuf, RuntimeError> {
    let direct = Path::new(name);
    if direct.extension().is_some_and(|e| e == "wasm") {
        return Ok(direct.to_owned());
    }
    let named = dir.join(format!("{name}.wasm"));
    if name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') && named.is_file() {
        return Ok(named);
    }
    let found = pipelines(dir);
    let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
    Err(RuntimeError::GuestUnknown { name: name.to_owned(), dir: dir.to_owned(), found })
}

/// Names of the components in a folder that are pipelines, sorted. Nothing is compiled: planners and what is no component are told
/// apart by what their files say they export.
#[must_use]
pub fn pipelines(dir: &Path) -> Vec<String> {
    exporters(dir, "halfpipe:job/runner@")
}

/// Names of the components in a folder that are planners, sorted, told apart in the same way.
#[must_use]
pub fn planners(dir: &Path) -> Vec<String> {
    exporters(dir, "halfpipe:job/planning@")
}

fn exporters(dir: &Path, interface: &str) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|e| crate::guest::exports(&e.path()).iter().any(|export| export.starts_with(interface)))
        .filter_map(|e| e.file_name().to_str()?.strip_suffix(".wasm").map(str::to_owned))
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_tell_their_gpu() {
        let on = |device: &str| DeviceInfo {
            device: device.into(),
            provider: String::new(),
            precision: String::new(),
            reason: String::new(),
            library: String::new(),
            intra_threads: 1,
        };
        assert_eq!(gpu_of(&on("cpu")), None);
        assert_eq!(gpu_of(&on(&Device::Cuda { id: 1 }.to_string())), Some(1));
        assert_eq!(gpu_of(&on(&Device::TensorRt { id: 0 }.to_string())), Some(0));
    }
}
