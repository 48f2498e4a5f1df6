//! The nn lane: threads that run models and do image operations, fed by bounded queues of commands.
//!
//! `compute`, `fitted` and `crops` queue work and return promises at once; they wait only while the queue is full. Each client
//! ([`NnLane::client`], one a job) has a queue of its own, and its commands are begun in the order in which they were queued, each as
//! soon as the promises that it needs are kept. Clients take turns by busy time ([`halfpipe_core::fair`]). Work whose promises
//! nobody holds any more is skipped.
//!
//! A GPU is driven by one thread. On a CPU there are two, so that what does not depend on each other (frames of two jobs, detector and
//! landmarks of one) runs side by side, each inference on its share of the cores, which is cheaper than all cores on each.
//!
//! Busy time is booked under these stages, on the lane's clock and on the clock given with the call:
//! `nn.letterbox` (frames), `nn.crops` (crops), `nn.infer.<model>` (rows), `nn.load.<model>` (1; the lane's clock only),
//! `nn.wait` (commands; time in which the lane waited for pictures or inputs that other threads make) and
//! `nn.halved.<model>` (rows; no time: how often a batch was split for want of memory).

mod halving;
mod images;
mod sessions;
mod spare;
mod worker;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use halfpipe_core::{FairClient, FrameBatch, Pending, Resolver, StageClock, fair_queue};
use tokio::sync::oneshot;
use tracing::Span;

use self::spare::Spare;
use crate::image::ImageJob;
use crate::ort::{OrtConfig, OrtEngine};
use crate::{Catalog, Device, DeviceInfo, Engine, NnError, Ports, Tensor};

/// Commands of one client that may wait. Each may hold a batch of frames in memory.
pub const QUEUE: usize = 16;

/// A named tensor that may still be in the making.
pub type NamedTensor = (String, Pending<Tensor>);

/// What a lane on ONNX Runtime is made of.
#[derive(Debug, Clone)]
pub struct NnConfig {
    /// Path of the ONNX Runtime library; see [`crate::ort::OrtLibrary::load`] for what happens without.
    pub library: Option<PathBuf>,
    /// Where models shall run.
    pub device: Device,
    /// Threads that inferences may use on the CPU, all together; the number of cores where none.
    pub intra_threads: Option<usize>,
    /// Where names are looked up.
    pub catalog: Arc<Catalog>,
    /// Where the catalog's files are.
    pub models_dir: PathBuf,
    /// Books the lane's busy time over all jobs.
    pub clock: StageClock,
}

/// A model that is loaded on a lane. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ModelHandle(Arc<ModelFacts>);

#[derive(Debug)]
struct ModelFacts {
    name: String,
    ports: Ports,
    notes: Vec<String>,
    load_secs: f64,
}

impl ModelHandle {
    /// Catalog name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }
    /// Inputs and outputs.
    #[must_use]
    pub fn ports(&self) -> &Ports {
        &self.0.ports
    }
    /// What a report should say of how it runs; see [`crate::Model::notes`].
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.0.notes
    }
    /// Seconds it took to read, check and load the model.
    #[must_use]
    pub fn load_secs(&self) -> f64 {
        self.0.load_secs
    }
}

type Loaded = Arc<Mutex<HashMap<String, ModelHandle>>>;
/// Models whose last loading failed, with why.
type Failed = Arc<Mutex<BTreeMap<String, String>>>;

/// A command and the span of the job it belongs to.
struct Queued {
    command: Command,
    span: Span,
}

enum Command {
    Load { name: String, reply: oneshot::Sender<Result<ModelHandle, NnError>> },
    Compute { model: ModelHandle, inputs: Vec<NamedTensor>, outputs: Vec<Resolver<Tensor>>, clock: StageClock },
    Image { batch: FrameBatch, job: ImageJob, output: Resolver<Tensor>, clock: StageClock },
}

impl Command {
    /// Done when everything it needs is there.
    fn ready(&self) -> impl Future<Output = ()> + Send + use<> {
        let (inputs, pictures) = match self {
            Self::Load { .. } => (Vec::new(), None),
            Self::Compute { inputs, .. } => (inputs.iter().map(|(_, tensor)| tensor.settled()).collect(), None),
            Self::Image { batch, .. } => (Vec::new(), Some(batch.pictures.settled())),
        };
        async move {
            for input in inputs {
                input.await;
            }
            if let Some(pictures) = pictures {
                pictures.await;
            }
        }
    }
}

/// The nn lane. Clones share it and their queue; dropping the last one finishes what is queued and wanted, and joins the threads.
#[derive(Debug, Clone)]
pub struct NnLane {
    // in this order: the last `Shared` joins a thread that ends only when no client is left
    commands: FairClient<Queued>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    device: DeviceInfo,
    loaded: Loaded,
    failed: Failed,
    threads: Vec<JoinHandle<()>>,
}

impl NnLane {
    /// Starts a lane on ONNX Runtime.
    ///
    /// # Errors
    /// [`NnError::Library`] or [`NnError::Device`], each with what to do; [`NnError::Lane`] where no thread can be had.
    pub fn start(config: NnConfig) -> Result<Self, NnError> {
        let NnConfig { library, device, intra_threads, catalog, models_dir, clock } = config;
        let engine = OrtEngine::new(OrtConfig { library, device, intra_threads, catalog, models_dir })?;
        Self::with_engine(Box::new(engine), clock)
    }

    /// Starts a lane on any engine.
    ///
    /// # Errors
    /// [`NnError::Lane`] where no thread can be had.
    pub fn with_engine(engine: Box<dyn Engine>, clock: StageClock) -> Result<Self, NnError> {
        Self::watching(engine, clock, Spare::new())
    }

    /// [`with_engine`](Self::with_engine) that asks this whether cores stand idle.
    fn watching(engine: Box<dyn Engine>, clock: StageClock, spare: Spare) -> Result<Self, NnError> {
        let device = engine.device().clone();
        let (loaded, failed) = (Loaded::default(), Failed::default());
        let (commands, queue) = fair_queue(QUEUE);
        let workers = engine.workers().max(1);
        let context = worker::Context::new(engine, clock, spare, Arc::clone(&loaded), Arc::clone(&failed));
        let queue = Arc::new(Mutex::new(queue));
        let mut shared = Shared { device, loaded, failed, threads: Vec::with_capacity(workers) };
        for _ in 0..workers {
            let (worker, queue) = (worker::Worker::new(&context), Arc::clone(&queue));
            let thread = std::thread::Builder::new().name("nn".into()).spawn(move || {
                halfpipe_core::sched::compute_in_long_turns();
                worker.run(&queue);
            });
            match thread {
                Ok(thread) => shared.threads.push(thread),
                Err(e) => {
                    // those that run end when nobody can send any more
                    drop(commands);
                    return Err(NnError::Lane(format!("its thread cannot be started: {e}")));
                }
            }
        }
        Ok(Self { commands, shared: Arc::new(shared) })
    }

    /// The same lane with a queue of its own, so that its work takes turns with that of others.
    #[must_use]
    pub fn client(&self) -> Self {
        Self { commands: self.commands.another(), shared: Arc::clone(&self.shared) }
    }

    /// Where models run and why.
    #[must_use]
    pub fn device(&self) -> &DeviceInfo {
        &self.shared.device
    }

    /// The models that are loaded, by name.
    #[must_use]
    pub fn loaded(&self) -> Vec<ModelHandle> {
        let mut models: Vec<_> = self.shared.loaded.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        models.sort_by(|a, b| a.name().cmp(b.name()));
        models
    }

    /// The models whose last loading failed, by name, with why.
    #[must_use]
    pub fn failed(&self) -> BTreeMap<String, String> {
        self.shared.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Loads a model, or gives the one that is loaded. Its file's digest is checked first. Waits until it is there.
    ///
    /// # Errors
    /// [`NnError`] where there is no such model, its file is missing or altered, or the engine refuses it.
    pub async fn load(&self, name: &str) -> Result<ModelHandle, NnError> {
        if let Some(model) = self.known(name) {
            return Ok(model);
        }
        let (command, answer) = load_command(name);
        self.send(command).await?;
        answer.await.map_err(|_| ended())?
    }

    /// [`load`](Self::load), blocking the thread. Never call it from async code.
    ///
    /// # Errors
    /// As `load`.
    pub fn load_blocking(&self, name: &str) -> Result<ModelHandle, NnError> {
        if let Some(model) = self.known(name) {
            return Ok(model);
        }
        let (command, answer) = load_command(name);
        self.send_blocking(command)?;
        answer.blocking_recv().map_err(|_| ended())?
    }

    /// Queues an inference and gives promises of the model's outputs, in the graph's order. Inputs go by name, in any
    /// order; names, types and dimensions are checked when the command runs, and an error breaks every promise. If memory
    /// runs out, a batch (the first dimension of every input and output, where it is free) is tried again in halves.
    ///
    /// # Errors
    /// [`NnError::Lane`] where the lane has ended.
    pub async fn compute(&self, model: &ModelHandle, inputs: Vec<NamedTensor>, clock: &StageClock) -> Result<Vec<NamedTensor>, NnError> {
        let (command, outputs) = compute_command(model, inputs, clock, Pending::new);
        self.send(command).await?;
        Ok(outputs)
    }

    /// [`compute`](Self::compute) that gives promises of `f` of each output. The lane calls it as soon as the output is there, whether or
    /// not anybody waits.
    ///
    /// # Errors
    /// As `compute`.
    pub async fn compute_through<U: Send + Sync + 'static>(
        &self,
        model: &ModelHandle,
        inputs: Vec<NamedTensor>,
        clock: &StageClock,
        f: impl Fn(Tensor) -> Result<U, String> + Clone + Send + 'static,
    ) -> Result<Vec<(String, Pending<U>)>, NnError> {
        let (command, outputs) = compute_command(model, inputs, clock, |origin| Pending::through(origin, f.clone()));
        self.send(command).await?;
        Ok(outputs)
    }

    /// [`compute`](Self::compute), blocking the thread while the queue is full. Never call it from async code.
    ///
    /// # Errors
    /// As `compute`.
    pub fn compute_blocking(&self, model: &ModelHandle, inputs: Vec<NamedTensor>, clock: &StageClock) -> Result<Vec<NamedTensor>, NnError> {
        let (command, outputs) = compute_command(model, inputs, clock, Pending::new);
        self.send_blocking(command)?;
        Ok(outputs)
    }

    fn known(&self, name: &str) -> Option<ModelHandle> {
        self.shared.loaded.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    async fn send(&self, command: Command) -> Result<(), NnError> {
        let ready = command.ready();
        self.commands.send(Queued { command, span: Span::current() }, ready).await.map_err(|_| ended())
    }

    fn send_blocking(&self, command: Command) -> Result<(), NnError> {
        let ready = command.ready();
        self.commands.send_blocking(Queued { command, span: Span::current() }, ready).map_err(|_| ended())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // every client went before, so the threads' loops end
        for thread in self.threads.drain(..) {
            // a promise may hold the last handle and be dropped by the lane itself
            if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
                tracing::error!("a thread of the nn lane panicked");
            }
        }
    }
}

fn load_command(name: &str) -> (Command, oneshot::Receiver<Result<ModelHandle, NnError>>) {
    let (reply, answer) = oneshot::channel();
    (Command::Load { name: name.to_owned(), reply }, answer)
}

/// A command, and what `promise` makes of each output.
fn compute_command<U: Send + Sync + 'static>(
    model: &ModelHandle,
    inputs: Vec<NamedTensor>,
    clock: &StageClock,
    promise: impl Fn(Arc<str>) -> (Resolver<Tensor>, Pending<U>),
) -> (Command, Vec<(String, Pending<U>)>) {
    let origin: Arc<str> = format!("compute({})", model.name()).into();
    let promise = |port: &crate::Port| {
        let (resolver, pending) = promise(Arc::clone(&origin));
        (resolver, (port.name.clone(), pending))
    };
    let (outputs, promises) = model.ports().outputs.iter().map(promise).unzip();
    (Command::Compute { model: model.clone(), inputs, outputs, clock: clock.clone() }, promises)
}

fn image_command(origin: &str, batch: &FrameBatch, job: ImageJob, clock: &StageClock) -> (Command, Pending<Tensor>) {
    let (output, pending) = Pending::new(origin);
    (Command::Image { batch: batch.clone(), job, output, clock: clock.clone() }, pending)
}

fn ended() -> NnError {
    NnError::Lane("its thread has ended".into())
}

#[cfg(test)]
mod tests;
