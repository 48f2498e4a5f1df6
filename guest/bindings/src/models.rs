//! Networks by name, and their outputs by name.

use crate::convert::{self, Floats};
use crate::host::exports::halfpipe::job::runner::Failure;
use crate::host::wasi::nn::inference::GraphExecutionContext;
use crate::host::wasi::nn::tensor::Tensor;
use crate::host::{bad_model, wasi::nn::graph};

/// A model by name.
///
/// # Errors
/// A model's fault: the job was not granted it, or it cannot be loaded.
pub fn load(name: &str) -> Result<GraphExecutionContext, Failure> {
    graph::load_by_name(name).and_then(|g| g.init_execution_context()).map_err(bad_model)
}

/// A network's outputs by name.
pub struct Named {
    model: String,
    outputs: Vec<(String, Tensor)>,
}

impl Named {
    /// Queues a run of `model` and gives its outputs, which may still be in the making.
    ///
    /// # Errors
    /// A model's fault.
    pub fn compute(model: &str, context: &GraphExecutionContext, inputs: Vec<(String, Tensor)>) -> Result<Self, Failure> {
        let outputs = context.compute(inputs).map_err(bad_model)?;
        Ok(Self { model: model.to_owned(), outputs })
    }

    /// One output.
    ///
    /// # Errors
    /// A model's fault, with the name of what it lacks.
    pub fn get(&self, name: &str) -> Result<&Tensor, Failure> {
        let found = self.outputs.iter().find(|(n, _)| n == name);
        found.map(|(_, t)| t).ok_or_else(|| self.fault(format!("there is no output {name}")))
    }

    /// The same, taken out.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn take(&mut self, name: &str) -> Result<Tensor, Failure> {
        match self.outputs.iter().position(|(n, _)| n == name) {
            Some(i) => Ok(self.outputs.swap_remove(i).1),
            None => Err(self.fault(format!("there is no output {name}"))),
        }
    }

    /// The values of an output of f32. Waits for them.
    ///
    /// # Errors
    /// As [`get`](Self::get); another type than f32.
    pub fn floats(&self, name: &str) -> Result<Floats, Failure> {
        convert::floats(self.get(name)?).ok_or_else(|| self.fault(format!("output {name} is not of f32")))
    }

    /// The values of an output of any type as f32. Waits for them.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn numbers(&self, name: &str) -> Result<Vec<f32>, Failure> {
        self.get(name).map(convert::numbers)
    }

    /// A model's fault, with its name.
    pub fn fault(&self, what: impl std::fmt::Display) -> Failure {
        Failure::BadModel(format!("{}: {what}", self.model))
    }
}
