//! The engine on ONNX Runtime, whose shared library is loaded when the program runs: one binary serves CPU and GPU builds.

mod bound;
mod device;
mod library;
mod pair;
mod session;

use std::path::PathBuf;
use std::sync::Arc;

use crate::buckets::Buckets;
use crate::catalog::{PinnedFile, read_verified, read_verified_shared};
use crate::{Catalog, CatalogError, DeviceInfo, Engine, Model, NnError};

pub use device::Device;
pub use library::{OrtLibrary, ProviderInfo};
use pair::Pair;
use session::OrtModel;

/// A network up to this size gets two more sessions.
const MOST_PAIRED_BYTES: usize = 64 << 20;

/// What an [`OrtEngine`] is made of.
#[derive(Debug, Clone)]
pub struct OrtConfig {
    /// Path of the ONNX Runtime library; see [`OrtLibrary::load`] for what happens without.
    pub library: Option<PathBuf>,
    /// Where models shall run.
    pub device: Device,
    /// Threads that one inference may use on the CPU; the number of cores where none.
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

    /// Digests are checked over the very bytes that the session is made from, those of external data too, so that nothing can
    /// change in between. That costs the size of the external data in memory, once more than the session itself, while the
    /// model is loaded; the runtime has its own copy when that is done. External data that the catalog does not list is not
    /// read from anywhere. The ONNX file itself is below protobuf's limit of 2 GB.
    fn load(&self, name: &str) -> Result<Box<dyn Model>, NnError> {
        let entry = self.catalog.entry(name)?;
        let bytes = read_verified(entry.onnx(), &self.models_dir)?;
        let read = |file: PinnedFile<'_>| Ok((file.file.to_owned(), read_verified_shared(file, &self.models_dir)?));
        let data = entry.data().into_iter().map(read).collect::<Result<Vec<_>, CatalogError>>()?;
        let size = bytes.len() + data.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        let (library, device, threads) = (self.library, self.device, self.info.intra_threads);
        let pair = threads >= 2 && size <= MOST_PAIRED_BYTES;
        let whole = OrtModel::new(library, device, threads, name, &bytes, &data)?;
        session::check_against_catalog(entry, whole.ports())?;
        if device.is_gpu() {
            return Ok(Box::new(Buckets::new(Box::new(whole))));
        }
        if !pair {
            return Ok(Box::new(whole));
        }
        let own = name.to_owned();
        let half = move |threads| OrtModel::new(library, device, threads, &own, &bytes, &data);
        Ok(Box::new(Pair::new(name, whole, move || Ok([half(threads - threads / 2)?, half(threads / 2)?]))))
    }
}
