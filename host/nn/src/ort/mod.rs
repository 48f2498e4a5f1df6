//! The engine on ONNX Runtime, whose shared library is loaded when the program runs: one binary serves CPU and GPU builds.

mod bound;
mod device;
mod library;
mod output;
mod session;

use std::path::PathBuf;
use std::sync::Arc;

use crate::buckets::Buckets;
use crate::catalog::{PinnedFile, read_verified, read_verified_shared};
use crate::pieces::Pieces;
use crate::{Catalog, CatalogError, DeviceInfo, Engine, Model, NnError};

pub use device::Device;
pub use library::{OrtLibrary, ProviderInfo};
use session::OrtModel;

/// Threads that use networks at once on a CPU.
const WORKERS: usize = 2;
/// A network up to this size gets more than one session.
const MOST_SHARED_BYTES: u64 = 64 << 20;

/// What an [`OrtEngine`] is made of.
#[derive(Debug, Clone)]
pub struct OrtConfig {
    /// Path of the ONNX Runtime library; see [`OrtLibrary::load`] for what happens without.
    pub library: Option<PathBuf>,
    /// Where models shall run.
    pub device: Device,
    /// Threads that inferences may use on the CPU, all together; the number of cores where none.
    pub intra_threads: Option<usize>,
    /// Where names are looked up.
    pub catalog: Arc<Catalog>,
    /// Where the catalog's files are.
    pub models_dir: PathBuf,
}

/// Makes sessions on one device for the models of a catalog.
#[derive(Debug)]
pub struct OrtEngine {
    library: &'static OrtLibrary,
    device: Device,
    info: DeviceInfo,
    catalog: Arc<Catalog>,
    models_dir: PathBuf,
}

impl OrtEngine {
    /// Loads the library, settles the device and proves with a small graph that it computes.
    ///
    /// # Errors
    /// [`NnError::Library`] or [`NnError::Device`], each with what to do; [`NnError::InvalidArgument`] for 0 threads.
    pub fn new(config: OrtConfig) -> Result<Self, NnError> {
        let intra_threads = match config.intra_threads {
            Some(0) => return Err(NnError::InvalidArgument("the number of intra-op threads must be at least 1".into())),
            Some(n) => n,
            None => std::thread::available_parallelism().map_or(1, usize::from),
        };
        let library = OrtLibrary::load(config.library.as_deref())?;
        let (device, reason) = device::settle(library, config.device, intra_threads)?;
        let info = DeviceInfo {
            device: device.to_string(),
            provider: device.provider().to_owned(),
            precision: device.precision().to_owned(),
            reason,
            library: format!("{} ({})", library.path().display(), library.build()),
            intra_threads,
        };
        tracing::info!(device = info.device, reason = info.reason, library = info.library, "models run on {}", info.provider);
        Ok(Self { library, device, info, catalog: config.catalog, models_dir: config.models_dir })
    }
}

impl Engine for OrtEngine {
    fn device(&self) -> &DeviceInfo {
        &self.info
    }

    fn load(&self, name: &str) -> Result<Box<dyn Model>, NnError> {
        self.session(name)
    }

    fn workers(&self) -> usize {
        if self.device.is_gpu() { 1 } else { WORKERS.min(self.info.intra_threads) }
    }

    fn load_more(&self, name: &str) -> Option<Result<Box<dyn Model>, NnError>> {
        match self.is_shared(name) {
            Ok(shared) => shared.then(|| self.session(name)),
            Err(e) => Some(Err(e)),
        }
    }
}

impl OrtEngine {
    /// Whether a model may have several sessions, each on its share of the threads.
    fn is_shared(&self, name: &str) -> Result<bool, NnError> {
        Ok(self.workers() > 1 && self.catalog.entry(name)?.bytes() <= MOST_SHARED_BYTES)
    }

    /// Makes a session.
    ///
    /// Digests are checked over the very bytes that the session is made from, those of external data too, so that nothing can
    /// change in between. That costs the size of the external data in memory, once more than the session itself, while the
    /// model is loaded; the runtime has its own copy when that is done. External data that the catalog does not list is not
    /// read from anywhere. The ONNX file itself is below protobuf's limit of 2 GB.
    fn session(&self, name: &str) -> Result<Box<dyn Model>, NnError> {
        let entry = self.catalog.entry(name)?;
        let bytes = read_verified(entry.onnx(), &self.models_dir)?;
        let read = |file: PinnedFile<'_>| Ok((file.file.to_owned(), read_verified_shared(file, &self.models_dir)?));
        let data = entry.data().into_iter().map(read).collect::<Result<Vec<_>, CatalogError>>()?;
        let threads = self.info.intra_threads;
        let threads = if self.is_shared(name)? { threads / self.workers() } else { threads };
        let model = OrtModel::new(self.library, self.device, threads, name, &bytes, &data)?;
        session::check_against_catalog(entry, model.ports())?;
        let model: Box<dyn Model> = Box::new(model);
        Ok(if self.device.is_gpu() { Box::new(Buckets::new(model)) } else { Box::new(Pieces::new(model, threads)) })
    }
}
