//! The lane's thread: takes commands in order, and answers each with a value or an error; nothing a command does ends it.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use halfpipe_core::{FairReceiver, FrameBatch, PendingError, Resolver, StageClock, Taken};

use super::{Command, Failed, Loaded, ModelFacts, ModelHandle, NamedTensor, Queued, halving};
use crate::image::{ImageJob, ImageWorker};
use crate::{Engine, Model, NnError, Tensor};

/// What the thread owns.
pub(super) struct Worker {
    engine: Box<dyn Engine>,
    clock: StageClock,
    loaded: Loaded,
    failed: Failed,
    models: HashMap<String, Box<dyn Model>>,
    images: ImageWorker,
}

impl Worker {
    pub(super) fn new(engine: Box<dyn Engine>, clock: StageClock, loaded: Loaded, failed: Failed) -> Self {
        Self { engine, clock, loaded, failed, models: HashMap::new(), images: ImageWorker::default() }
    }

    pub(super) fn run(mut self, mut queue: FairReceiver<Queued>) {
        while let Some(Taken { value: Queued { command, span }, client, waited }) = queue.take_blocking() {
            let _in_job = span.enter();
            let start = Instant::now();
            match command {
                Command::Load { name, reply } => {
                    let outcome = self.load(&name);
                    let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
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
            queue.charge(client, start.elapsed());
        }
    }

    fn load(&mut self, name: &str) -> Result<ModelHandle, NnError> {
        if let Some(model) = self.loaded.lock().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(model.clone());
        }
        let start = Instant::now();
        let model = guarded(name, || self.engine.load(name))?;
        let took = start.elapsed();
        self.clock.add(&format!("nn.load.{name}"), took, 1);
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
        self.models.insert(name.to_owned(), model);
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), handle.clone());
        Ok(handle)
    }

    fn compute(&mut self, model: &ModelHandle, inputs: Vec<NamedTensor>, outputs: Vec<Resolver<Tensor>>, clock: &StageClock) {
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

    fn infer(&mut self, handle: &ModelHandle, inputs: &[(String, Tensor)], clock: &StageClock) -> Result<Vec<Tensor>, NnError> {
        let name = handle.name();
        let elsewhere = || NnError::InvalidArgument(format!("the model `{name}` was loaded on another lane"));
        let model = self.models.get_mut(name).ok_or_else(elsewhere)?;
        model.ports().check(name, inputs)?;
        let rows = inputs.first().and_then(|(_, t)| t.dims().first()).copied().unwrap_or(1) as u64;
        let start = Instant::now();
        let (mut halved, expected) = (0, handle.ports().outputs.len());
        let result = guarded(name, || halving::run(model.as_mut(), name, inputs, &mut halved));
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
        self.clock.add(stage, busy, items);
        job.add(stage, busy, items);
    }
}

/// The inputs, which are there already unless the lane is ending.
fn wait_for(inputs: Vec<NamedTensor>) -> Result<Vec<(String, Tensor)>, PendingError> {
    inputs.into_iter().map(|(name, pending)| Ok((name, pending.wait_blocking()?.as_ref().clone()))).collect()
}

/// Turns a panic, which is a bug, into the error of the one command that met it.
fn guarded<T>(model: &str, work: impl FnOnce() -> Result<T, NnError>) -> Result<T, NnError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
        let message = format!("a bug in the host: {}", text.as_deref().unwrap_or("panic without a message"));
        Err(NnError::Engine { model: model.to_owned(), message })
    })
}
