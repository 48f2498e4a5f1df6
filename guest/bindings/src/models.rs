//! Networks by name, and their outputs by name.

use std::rc::Rc;

use halfpipe_kit::movenet::DecodeError;
use halfpipe_kit::planes::{Planes, Slice};

use crate::convert::{self, Floats};
use crate::host::exports::halfpipe::job::runner::Failure;
use crate::host::halfpipe::job::catalog::{self, Port};
use crate::host::halfpipe::media::errors::Error;
use crate::host::halfpipe::media::slices::{self, Slice as WitSlice};
use crate::host::wasi::nn::inference::GraphExecutionContext;
use crate::host::wasi::nn::tensor::{Tensor, TensorType};
use crate::host::{bad_model, failed, wasi::nn::graph};

/// A model by name.
pub struct Network {
    name: Rc<str>,
    context: GraphExecutionContext,
    /// Its outputs, as the catalog describes them.
    ports: Rc<[Port]>,
}

impl Network {
    /// Loads it.
    ///
    /// # Errors
    /// A model's fault: the job was not granted it, or it cannot be loaded.
    pub fn load(name: &str) -> Result<Self, Failure> {
        let context = graph::load_by_name(name).and_then(|g| g.init_execution_context()).map_err(bad_model)?;
        let facts = catalog::model(name).map_err(failed)?;
        Ok(Self { name: name.into(), context, ports: facts.outputs.into() })
    }

    /// Queues a run and gives its outputs, which may still be in the making.
    ///
    /// # Errors
    /// A model's fault.
    pub fn compute(&self, inputs: Vec<(String, Tensor)>) -> Result<Named, Failure> {
        let outputs = self.context.compute(inputs).map_err(bad_model)?;
        Ok(Named { model: Rc::clone(&self.name), ports: Rc::clone(&self.ports), outputs })
    }
}

/// A network's outputs by name.
pub struct Named {
    model: Rc<str>,
    ports: Rc<[Port]>,
    outputs: Vec<(String, Tensor)>,
}

impl Planes for Named {
    type Error = Failure;
    type Values = Floats;

    fn read(&self, output: &'static str, slices: &[Slice]) -> Result<Floats, Failure> {
        let tensor = self.of_floats(output)?;
        // each is within a tensor, whose sides are 32 bits
        let slice = |Slice { plane, rows, columns }: &Slice| WitSlice {
            plane: *plane as u32,
            top: rows.start as u32,
            left: columns.start as u32,
            height: rows.len() as u32,
            width: columns.len() as u32,
        };
        let slices: Vec<WitSlice> = slices.iter().map(slice).collect();
        slices::read(tensor, &slices).map(Floats::new).map_err(|e| match e {
            Error::InvalidArgument(what) => self.fault(format!("output {output}: {what}")),
            other => failed(other),
        })
    }

    fn misfit(&self, error: DecodeError) -> Failure {
        self.fault(error)
    }
}

impl Named {
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
        Ok(Floats::of(self.of_floats(name)?))
    }

    /// One output of f32. The host has made sure that outputs are of the types that the catalog gives them.
    fn of_floats(&self, name: &str) -> Result<&Tensor, Failure> {
        let tensor = self.get(name)?;
        let known = self.ports.iter().find(|port| port.name == name);
        match known.map_or_else(|| tensor.ty(), |port| port.element) {
            TensorType::Fp32 => Ok(tensor),
            _ => Err(self.fault(format!("output {name} is not of f32"))),
        }
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
