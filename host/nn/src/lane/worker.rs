//! A lane's threads: each takes the next command, and answers it with a value or an error; nothing a command does ends it.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use halfpipe_core::{FairReceiver, FrameBatch, PendingError, Resolver, StageClock, Taken};

use super::sessions::Sessions;
use super::spare::Spare;
use super::{Command, Failed, Loaded, ModelFacts, ModelHandle, NamedTensor, Queued};
use crate::image::{ImageJob, ImageWorker};
use crate::{Engine, NnError, Tensor};

/// What the workers of a lane share.
pub(super) struct Context {
    engine: Box<dyn Engine>,
    clock: StageClock,
    loaded: Loaded,
    failed: Failed,
    models: Mutex<HashMap<String, Slot>>,
    spare: Spare,
}

/// A model's place: empty until it is loaded, locked while it is.
type Slot = Arc<Mutex<Option<Arc<Sessions>>>>;

/// One of a lane's threads.
pub(super) struct Worker {
    context: Arc<Context>,
    images: ImageWorker,
}

impl Context {
    pub(super) fn new(engine: Box<dyn Engine>, clock: StageClock, spare: Spare, loaded: Loaded, failed: Failed) -> Arc<Self> {
        Arc::new(Self { engine, clock, loaded, failed, models: Mutex::default(), spare })
    }

    fn slot(&self, name: &str) -> Slot {
        Arc::clone(lock(&self.models).entry(name.to_owned()).or_default())
    }
}

impl Worker {
    pub(super) fn new(context: &Arc<Context>) -> Self {
        Self { context: Arc::clone(context), images: ImageWorker::default() }
    }

    /// Works until every client is gone and nothing is left. Whoever waits for the next command holds the queue; what another worker
    /// has done meanwhile is booked when it gets it.
    pub(super) fn run(mut self, queue: &Mutex<FairReceiver<Queued>>) {
        let mut done = None;
        loop {
            let taken = {
                let mut queue = lock(queue);
                if let Some((client, busy)) = done.take() {
                    queue.charge(client, busy);
                }
                queue.take_blocking()
            };
            let Some(Taken { value: Queued { command, span }, client, waited }) = taken else { return };
            let _in_job = span.enter();
            let start = Instant::now();
            match command {
                Command::Load { name, reply } => {
                    let outcome = self.load(&name);
                    let mut failed = lock(&self.context.failed);
                    match &outcome {
                        Ok(_) => failed.remove(&name),
                        Err(e) => failed.insert(name, e.to_string()),
                    };
                    drop(failed);
                    // whoever asked may have gone; the model stays for the next one
                    reply.send(outcome).ok();
                }
                Command::Compute { model, inputs, outputs, clock } => {
                    self.book(&clock, "nn.wait", waited, 1);
                    self.compute(&model, inputs, outputs, &clock);
                }
                Command::Image { batch, job, output, clock } => {
                    self.book(&clock, "nn.wait", waited, 1);
                    self.image(&batch, &job, output, &clock);
                }
            }
            done = Some((client, start.elapsed()));
        }
    }

    fn load(&self, name: &str) -> Result<ModelHandle, NnError> {
        let Context { engine, clock, loaded, .. } = &*self.context;
        let slot = self.context.slot(name);
        // another worker may be loading it
        let mut place = lock(&slot);
        if let Some(model) = lock(loaded).get(name) {
            return Ok(model.clone());
        }
        let start = Instant::now();
        let model = guarded(name, || engine.load(name))?;
        let took = start.elapsed();
        clock.add(&format!("nn.load.{name}"), took, 1);
        tracing::info!(model = name, secs = took.as_secs_f64(), "model loaded");
        for note in model.notes() {
            tracing::warn!(model = name, "{note}");
        }
        let facts = ModelFacts {
            name: name.to_owned(),
            ports: model.ports().clone(),
            notes: model.notes().to_vec(),
            load_secs: took.as_secs_f64(),
        };
        let handle = ModelHandle(Arc::new(facts));
        *place = Some(Arc::new(Sessions::new(name, model, took, engine.workers())));
        lock(loaded).insert(name.to_owned(), handle.clone());
        Ok(handle)
    }

    fn compute(&self, model: &ModelHandle, inputs: Vec<NamedTensor>, outputs: Vec<Resolver<Tensor>>, clock: &StageClock) {
        if outputs.iter().all(Resolver::is_unwanted) {
            return;
        }
        let inputs = match wait_for(inputs) {
            Ok(inputs) => inputs,
            Err(error) => return outputs.into_iter().for_each(|o| o.fail_from(error.clone())),
        };
        match self.infer(model, &inputs, clock) {
            Ok(tensors) => outputs.into_iter().zip(tensors).for_each(|(o, t)| o.resolve(t)),
            Err(error) => {
                let message: Arc<str> = error.to_string().into();
                outputs.into_iter().for_each(|o| o.fail(Arc::clone(&message)));
            }
        }
    }

    fn infer(&self, handle: &ModelHandle, inputs: &[(String, Tensor)], clock: &StageClock) -> Result<Vec<Tensor>, NnError> {
        let name = handle.name();
        let elsewhere = || NnError::InvalidArgument(format!("the model `{name}` was loaded on another lane"));
        let sessions = lock(&self.context.slot(name)).clone().ok_or_else(elsewhere)?;
        sessions.ports().check(name, inputs)?;
        let rows = inputs.first().and_then(|(_, t)| t.dims().first()).copied().unwrap_or(1) as u64;
        let start = Instant::now();
        let (mut halved, expected) = (0, handle.ports().outputs.len());
        let Context { engine, spare, .. } = &*self.context;
        let result = guarded(name, || sessions.run(engine.as_ref(), spare, inputs, &mut halved));
        self.book(clock, &format!("nn.infer.{name}"), start.elapsed(), rows);
        if halved > 0 {
            self.book(clock, &format!("nn.halved.{name}"), Duration::ZERO, halved);
        }
        match result {
            Ok(tensors) if tensors.len() != expected => {
                let message = format!("it gave {} outputs instead of {expected}", tensors.len());
                Err(NnError::Engine { model: name.to_owned(), message })
            }
            result => result,
        }
    }

    fn image(&mut self, batch: &FrameBatch, job: &ImageJob, output: Resolver<Tensor>, clock: &StageClock) {
        if output.is_unwanted() {
            return;
        }
        let pictures = match batch.pictures.wait_blocking() {
            Ok(pictures) => pictures,
            Err(error) => return output.fail_from(error),
        };
        let stage = match job {
            ImageJob::Fitted { .. } => "nn.letterbox",
            ImageJob::Crops { .. } => "nn.crops",
        };
        let start = Instant::now();
        let result = guarded(stage, || self.images.run(batch, &pictures, job));
        self.book(clock, stage, start.elapsed(), job.count() as u64);
        output.settle(result.map_err(|e| e.to_string()));
    }

    fn book(&self, job: &StageClock, stage: &str, busy: Duration, items: u64) {
        self.context.clock.add(stage, busy, items);
        job.add(stage, busy, items);
    }
}

/// The inputs, which are there already unless the lane is ending.
fn wait_for(inputs: Vec<NamedTensor>) -> Result<Vec<(String, Tensor)>, PendingError> {
    inputs.into_iter().map(|(name, pending)| Ok((name, pending.wait_blocking()?.as_ref().clone()))).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Turns a panic, which is a bug, into the error of the one command that met it.
fn guarded<T>(model: &str, work: impl FnOnce() -> Result<T, NnError>) -> Result<T, NnError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
        let message = format!("a bug in the host: {}", text.as_deref().unwrap_or("panic without a message"));
        Err(NnError::Engine { model: model.to_owned(), message })
    })
}
