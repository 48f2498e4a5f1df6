//! Shelves of components, loaded when first asked for, and again when their file has changed: pipelines by name, and the planner. A
//! running job keeps the component it started with.
//!
//! Loading may compile for seconds, so it happens on a thread for blocking work, and holds up only those who want the same component.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use halfpipe_runtime::{Guest, Host, Planner, RuntimeError};

use crate::{AppError, Config};

/// What tells one state of a file from another without reading it.
type Stamp = (SystemTime, u64);

fn stamp(path: &Path) -> Result<Stamp, RuntimeError> {
    let fault = |source| RuntimeError::GuestFile { path: path.to_owned(), source };
    let facts = std::fs::metadata(path).map_err(fault)?;
    Ok((facts.modified().map_err(fault)?, facts.len()))
}

/// What was loaded from one file: locked while it is loaded.
type Place<T> = Arc<tokio::sync::Mutex<Option<(Stamp, Arc<T>)>>>;

/// Components by file.
#[derive(Debug)]
struct Loaded<T> {
    places: Mutex<HashMap<PathBuf, Place<T>>>,
}

impl<T> Default for Loaded<T> {
    fn default() -> Self {
        Self { places: Mutex::default() }
    }
}

impl<T: Send + Sync + 'static> Loaded<T> {
    /// The component of a file as the file is now. `load` runs where blocking is allowed, once for each state of the file, whoever
    /// asks for it meanwhile.
    async fn get(
        &self,
        path: &Path,
        load: impl FnOnce(&Path) -> Result<Arc<T>, RuntimeError> + Send + 'static,
    ) -> Result<Arc<T>, RuntimeError> {
        let stamp = stamp(path)?;
        // nobody panics with this lock, and nobody waits with it
        let place = Arc::clone(self.places.lock().unwrap_or_else(PoisonError::into_inner).entry(path.to_owned()).or_default());
        let mut place = place.lock().await;
        if let Some((former, component)) = place.as_ref()
            && *former == stamp
        {
            return Ok(Arc::clone(component));
        }
        let file = path.to_owned();
        let component = tokio::task::spawn_blocking(move || load(&file))
            .await
            .map_err(|e| RuntimeError::Engine(format!("loading {} was broken off ({e}); try again", path.display())))??;
        *place = Some((stamp, Arc::clone(&component)));
        Ok(component)
    }
}

/// Loaded pipelines.
#[derive(Debug)]
pub struct Shelf {
    folder: PathBuf,
    loaded: Loaded<Guest>,
}

impl Shelf {
    /// A shelf over a folder of components.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, loaded: Loaded::default() }
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
        let (host, runtime) = (host.clone(), tokio::runtime::Handle::current());
        let load = move |file: &Path| {
            let guest = runtime.block_on(host.load_guest(file))?;
            tracing::info!(guest = guest.description.name, sha256 = guest.sha256, "loaded a pipeline");
            Ok(guest)
        };
        self.loaded.get(&path, load).await
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
    loaded: Loaded<Planner>,
}

impl PlannerShelf {
    /// The configured planner, as its file is now.
    ///
    /// # Errors
    /// [`RuntimeError::GuestUnknown`] with what is there, [`RuntimeError::GuestFile`], [`RuntimeError::PlannerInvalid`].
    pub async fn get(&self, host: &Host, config: &Config) -> Result<Arc<Planner>, AppError> {
        let path = halfpipe_runtime::host::find_guest(&config.planner, &config.guests)?;
        let host = host.clone();
        let load = move |file: &Path| {
            let planner = host.load_planner(file)?;
            tracing::info!(planner = planner.name(), sha256 = planner.sha256, "loaded a planner");
            Ok(planner)
        };
        Ok(self.loaded.get(&path, load).await?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    /// One thread runs everything that does not block, so a load on it would never end: what it waits for comes from that thread.
    #[tokio::test]
    async fn loading_leaves_the_executor_free_and_happens_once() {
        let folder = tempfile::tempdir().unwrap();
        let (slow, quick) = (folder.path().join("slow.wasm"), folder.path().join("quick.wasm"));
        std::fs::write(&slow, b"1").unwrap();
        std::fs::write(&quick, b"1").unwrap();
        let shelf = Arc::new(Loaded::<usize>::default());
        let loads = Arc::new(AtomicUsize::new(0));
        let (begun, begins) = tokio::sync::oneshot::channel();
        let (go_on, told) = mpsc::sync_channel::<()>(1);
        let first = tokio::spawn({
            let (shelf, slow, loads) = (Arc::clone(&shelf), slow.clone(), Arc::clone(&loads));
            async move {
                let load = move |_: &Path| {
                    begun.send(()).unwrap();
                    told.recv().unwrap();
                    Ok(Arc::new(loads.fetch_add(1, Ordering::Relaxed)))
                };
                shelf.get(&slow, load).await.unwrap()
            }
        });
        begins.await.unwrap();
        let second = tokio::spawn({
            let (shelf, slow) = (Arc::clone(&shelf), slow.clone());
            async move { shelf.get(&slow, |_| panic!("it is being loaded already")).await.unwrap() }
        });
        // another component is to be had meanwhile
        assert_eq!(*shelf.get(&quick, |_| Ok(Arc::new(7))).await.unwrap(), 7);
        assert!(!first.is_finished() && !second.is_finished());
        go_on.send(()).unwrap();
        assert!(Arc::ptr_eq(&first.await.unwrap(), &second.await.unwrap()));
        assert_eq!(loads.load(Ordering::Relaxed), 1);
        // a changed file is loaded anew, a failure is not kept
        std::fs::write(&slow, b"22").unwrap();
        let failed = shelf.get(&slow, |_| Err(RuntimeError::Engine("broken".into()))).await;
        assert!(failed.is_err());
        assert_eq!(*shelf.get(&slow, |_| Ok(Arc::new(9))).await.unwrap(), 9);
    }
}
