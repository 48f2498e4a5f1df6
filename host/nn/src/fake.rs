//! A fake engine for tests of whatever drives a lane: models are Rust closures, and what was loaded and run is counted.
//!
//! It passes the same conformance checks as the ONNX Runtime engine ([`crate::conformance`]).

use std::sync::{Arc, Mutex, PoisonError};

use crate::{CatalogError, DeviceInfo, Engine, Model, NnError, Port, Ports, Tensor, TensorType};

/// What a fake model computes from its inputs, in the order they were given: its outputs in port order.
pub type FakeRun = dyn Fn(&[(String, Tensor)]) -> Result<Vec<Tensor>, NnError> + Send + Sync;

/// An engine whose models are closures.
pub struct FakeEngine {
    info: DeviceInfo,
    models: Vec<(String, Ports, Arc<FakeRun>)>,
    workers: usize,
    /// Sessions that are given beyond the first of each model.
    more: bool,
    load_time: std::time::Duration,
    log: FakeLog,
}

/// What a [`FakeEngine`] was asked for. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct FakeLog(Arc<Mutex<Vec<String>>>);

impl FakeLog {
    /// The calls so far: `load <model>` and `run <model> <rows of the first input>`.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, call: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(call);
    }
}

impl Default for FakeEngine {
    fn default() -> Self {
        let info = DeviceInfo {
            device: "fake".into(),
            provider: "FakeExecutionProvider".into(),
            precision: "f32".into(),
            reason: "a test asked for it".into(),
            library: "none".into(),
            intra_threads: 1,
        };
        Self { info, models: Vec::new(), workers: 1, more: true, load_time: std::time::Duration::ZERO, log: FakeLog::default() }
    }
}

impl FakeEngine {
    /// Lets so many threads use models at once, where `more` each with a session of its own.
    #[must_use]
    pub fn with_workers(self, workers: usize, more: bool) -> Self {
        Self { workers, more, ..self }
    }

    /// Takes this long to load a model.
    #[must_use]
    pub fn with_load_time(self, load_time: std::time::Duration) -> Self {
        Self { load_time, ..self }
    }

    /// Adds a model.
    #[must_use]
    pub fn with_model(
        mut self,
        name: &str,
        ports: Ports,
        run: impl Fn(&[(String, Tensor)]) -> Result<Vec<Tensor>, NnError> + Send + Sync + 'static,
    ) -> Self {
        self.models.push((name.to_owned(), ports, Arc::new(run)));
        self
    }

    /// The models that [`crate::conformance`] asks for; see `tests/fixtures/README.md`.
    #[must_use]
    pub fn with_conformance_models(self) -> Self {
        let rows = |name: &str| port(name, TensorType::F32, &[0, 3]);
        let double = Ports { inputs: vec![rows("x")], outputs: vec![rows("y")] };
        let pair = Ports { inputs: vec![rows("a"), rows("b")], outputs: vec![rows("sum"), rows("difference")] };
        let fill = Ports { inputs: vec![port("shape", TensorType::I64, &[1])], outputs: vec![port("y", TensorType::F32, &[0])] };
        let mut engine = self
            .with_model("double", double, |inputs| Ok(vec![zip(&inputs[0].1, &inputs[0].1, |a, b| a + b)?]))
            .with_model("pair", pair, |inputs| {
                let of = |name: &str| {
                    inputs.iter().find(|(n, _)| n == name).map(|(_, t)| t).ok_or_else(|| failure("pair", "an input is missing"))
                };
                Ok(vec![zip(of("a")?, of("b")?, |a, b| a + b)?, zip(of("a")?, of("b")?, |a, b| a - b)?])
            })
            .with_model("fill", fill, |inputs| {
                let wanted = inputs[0].1.as_slice::<i64>()?[0];
                match usize::try_from(wanted) {
                    Ok(n) if n <= 1 << 20 => Ok(vec![Tensor::from_vec(vec![n], vec![0f32; n])?]),
                    _ => Err(NnError::OutOfMemory { model: "fill".into(), batch: 1, message: "more than 4 MiB".into() }),
                }
            });
        for ty in crate::conformance::TYPES {
            let ports = Ports { inputs: vec![port("x", ty, &[0, 2])], outputs: vec![port("y", ty, &[0, 2])] };
            engine = engine.with_model(&format!("same_{ty}"), ports, |inputs| Ok(vec![inputs[0].1.clone()]));
        }
        engine
    }

    /// What the engine will have been asked for.
    #[must_use]
    pub fn log(&self) -> FakeLog {
        self.log.clone()
    }
}

fn port(name: &str, ty: TensorType, dims: &[usize]) -> Port {
    Port { name: name.into(), ty, dims: dims.into() }
}

fn failure(model: &str, message: &str) -> NnError {
    NnError::Engine { model: model.into(), message: message.into() }
}

fn zip(a: &Tensor, b: &Tensor, f: fn(f32, f32) -> f32) -> Result<Tensor, NnError> {
    let values = a.as_f32()?.iter().zip(b.as_f32()?).map(|(a, b)| f(*a, *b)).collect();
    Ok(Tensor::from_vec(a.dims().to_vec(), values)?)
}

impl Engine for FakeEngine {
    fn device(&self) -> &DeviceInfo {
        &self.info
    }

    fn load(&self, name: &str) -> Result<Box<dyn Model>, NnError> {
        self.log.add(format!("load {name}"));
        std::thread::sleep(self.load_time);
        let Some((_, ports, run)) = self.models.iter().find(|(n, _, _)| n == name) else {
            let known = self.models.iter().map(|(n, _, _)| n.as_str()).collect::<Vec<_>>().join(", ");
            return Err(CatalogError::Unknown { name: name.to_owned(), known }.into());
        };
        Ok(Box::new(FakeModel { name: name.to_owned(), ports: ports.clone(), run: Arc::clone(run), log: self.log.clone() }))
    }

    fn workers(&self) -> usize {
        self.workers
    }

    fn load_more(&self, name: &str) -> Option<Result<Box<dyn Model>, NnError>> {
        (self.workers > 1 && self.more).then(|| self.load(name))
    }
}

struct FakeModel {
    name: String,
    ports: Ports,
    run: Arc<FakeRun>,
    log: FakeLog,
}

impl Model for FakeModel {
    fn ports(&self) -> &Ports {
        &self.ports
    }

    fn run(&mut self, inputs: &[(String, Tensor)]) -> Result<Vec<Tensor>, NnError> {
        let rows = inputs.first().and_then(|(_, t)| t.dims().first()).copied().unwrap_or(0);
        self.log.add(format!("run {} {rows}", self.name));
        (self.run)(inputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fake_conforms() {
        for workers in [1, 2] {
            crate::conformance::all(&FakeEngine::default().with_workers(workers, true).with_conformance_models());
        }
    }
}
