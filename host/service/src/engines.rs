//! The engines, which start in the background while the service already answers.

use std::sync::Arc;
use std::thread::JoinHandle;

use halfpipe_runtime::{Host, HostConfig};
use tokio::sync::watch;

/// How far the engines are.
#[derive(Clone)]
pub enum EngineStatus {
    /// On their way.
    Starting,
    /// There.
    Ready(Host),
    /// Not to be had; the sentence says what is missing.
    Failed(String),
}

/// A handle on the engines. Cheap to clone. The last one to go waits until a start under way has ended: a process that
/// ends while a graphics driver opens a device on another thread takes the driver's memory from under it, and crashes.
#[derive(Clone)]
pub struct Engines {
    status: watch::Receiver<EngineStatus>,
    _start: Option<Arc<Start>>,
}

/// The thread that starts the engines.
struct Start(Option<JoinHandle<()>>);

impl Drop for Start {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that started the engines panicked");
        }
    }
}

impl std::fmt::Debug for Engines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match &*self.status.borrow() {
            EngineStatus::Starting => "Starting",
            EngineStatus::Ready(_) => "Ready",
            EngineStatus::Failed(_) => "Failed",
        };
        f.debug_tuple("Engines").field(&name).finish()
    }
}

impl Engines {
    /// Starts them on a thread of their own. Somebody waits for each of a service's jobs, so ffmpeg and ffprobe are started beforehand.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn start(config: HostConfig) -> std::io::Result<Self> {
        let (sender, status) = watch::channel(EngineStatus::Starting);
        let thread = std::thread::Builder::new().name("engines".into()).spawn(move || {
            let outcome = match Host::start(HostConfig { spares: true, ..config }) {
                Ok(host) => EngineStatus::Ready(host),
                Err(error) => {
                    tracing::error!(%error, "the engines did not start");
                    EngineStatus::Failed(error.to_string())
                }
            };
            sender.send_replace(outcome);
        })?;
        Ok(Self { status, _start: Some(Arc::new(Start(Some(thread)))) })
    }

    /// Engines that are there already.
    #[must_use]
    pub fn ready(host: Host) -> Self {
        Self { status: watch::channel(EngineStatus::Ready(host)).1, _start: None }
    }

    /// Engines that are not to be had: for a process that only takes jobs in. The sentence says why.
    #[must_use]
    pub fn absent(message: impl Into<String>) -> Self {
        Self { status: watch::channel(EngineStatus::Failed(message.into())).1, _start: None }
    }

    /// How far they are, now.
    #[must_use]
    pub fn status(&self) -> EngineStatus {
        self.status.borrow().clone()
    }

    /// The engines, as soon as they are there.
    ///
    /// # Errors
    /// The sentence that says what is missing.
    pub async fn wait(&self) -> Result<Host, String> {
        let mut status = self.status.clone();
        let found = status.wait_for(|s| !matches!(s, EngineStatus::Starting)).await;
        match found.map(|s| s.clone()) {
            Ok(EngineStatus::Ready(host)) => Ok(host),
            Ok(EngineStatus::Failed(message)) => Err(message),
            Ok(EngineStatus::Starting) | Err(_) => Err("the engines went away while they started; restart the service".into()),
        }
    }
}
