//! The shelf of guests: components by name, loaded when first asked for, and again when their file has changed. A running job
//! keeps the one it started with.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use halfpipe_runtime::{Guest, Host, RuntimeError};
use tokio::sync::Mutex;

/// What tells one state of a file from another without reading it.
type Stamp = (SystemTime, u64);

/// Loaded guests.
#[derive(Debug)]
pub struct Shelf {
    folder: PathBuf,
    loaded: Mutex<HashMap<PathBuf, (Stamp, Arc<Guest>)>>,
}

impl Shelf {
    /// A shelf over a folder of components.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, loaded: Mutex::new(HashMap::new()) }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The pipeline `name`, or `name@version`, as its file is now. Clients give names, never paths.
    ///
    /// # Errors
    /// [`RuntimeError::GuestUnknown`] with what is there, [`RuntimeError::GuestFile`], [`RuntimeError::GuestInvalid`].
    pub async fn get(&self, host: &Host, wanted: &str) -> Result<Arc<Guest>, RuntimeError> {
        let (name, version) = wanted.split_once('@').map_or((wanted, None), |(name, version)| (name, Some(version)));
        let guest = self.newest(host, name).await?;
        let there = &guest.description.version;
        if version.is_some_and(|v| v != there) {
            let (name, found) = (wanted.to_owned(), format!("{name}@{there}"));
            return Err(RuntimeError::GuestUnknown { name, dir: self.folder.clone(), found });
        }
        Ok(guest)
    }

    async fn newest(&self, host: &Host, name: &str) -> Result<Arc<Guest>, RuntimeError> {
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
            let unknown = |found: String| RuntimeError::GuestUnknown { name: name.to_owned(), dir: self.folder.clone(), found };
            return Err(unknown(self.names().join(", ")));
        }
        let path = halfpipe_runtime::host::find_guest(name, &self.folder)?;
        let fault = |source| RuntimeError::GuestFile { path: path.clone(), source };
        let facts = std::fs::metadata(&path).map_err(fault)?;
        let stamp = (facts.modified().map_err(fault)?, facts.len());
        let mut loaded = self.loaded.lock().await;
        if let Some((former, guest)) = loaded.get(&path)
            && *former == stamp
        {
            return Ok(Arc::clone(guest));
        }
        let guest = host.load_guest(&path).await?;
        tracing::info!(guest = name, sha256 = guest.sha256, "loaded a pipeline");
        loaded.insert(path, (stamp, Arc::clone(&guest)));
        Ok(guest)
    }

    /// Names of the components in the folder, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.filter_map(|e| e.file_name().to_str()?.strip_suffix(".wasm").map(str::to_owned)).collect();
        names.sort();
        names
    }
}
