//! Shelves of components, loaded when first asked for, and again when their file has changed: pipelines by name, and the planner. A
//! running job keeps the component it started with.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use halfpipe_runtime::{Guest, Host, Planner, RuntimeError};
use tokio::sync::Mutex;

use crate::{AppError, Config};

/// What tells one state of a file from another without reading it.
type Stamp = (SystemTime, u64);

fn stamp(path: &Path) -> Result<Stamp, RuntimeError> {
    let fault = |source| RuntimeError::GuestFile { path: path.to_owned(), source };
    let facts = std::fs::metadata(path).map_err(fault)?;
    Ok((facts.modified().map_err(fault)?, facts.len()))
}

/// Loaded pipelines.
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
        let stamp = stamp(&path)?;
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

    /// Names of the pipelines in the folder, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        halfpipe_runtime::host::pipelines(&self.folder)
    }
}

/// The planner component, loaded when first asked for, and again when its file has changed.
#[derive(Debug, Default)]
pub struct PlannerShelf {
    loaded: Mutex<Option<(PathBuf, Stamp, Arc<Planner>)>>,
}

impl PlannerShelf {
    /// The configured planner, as its file is now.
    ///
    /// # Errors
    /// [`RuntimeError::GuestUnknown`] with what is there, [`RuntimeError::GuestFile`], [`RuntimeError::PlannerInvalid`].
    pub async fn get(&self, host: &Host, config: &Config) -> Result<Arc<Planner>, AppError> {
        let path = halfpipe_runtime::host::find_guest(&config.planner, &config.guests)?;
        let stamp = stamp(&path)?;
        let mut loaded = self.loaded.lock().await;
        if let Some((former, then, planner)) = loaded.as_ref()
            && *former == path
            && *then == stamp
        {
            return Ok(Arc::clone(planner));
        }
        // compiling takes a processor for a while
        let (host, file) = (host.clone(), path.clone());
        let planner = tokio::task::spawn_blocking(move || host.load_planner(&file)).await??;
        tracing::info!(planner = planner.name(), sha256 = planner.sha256, "loaded a planner");
        *loaded = Some((path, stamp, Arc::clone(&planner)));
        Ok(planner)
    }
}
