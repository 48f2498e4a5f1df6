//! What a lane needs of an engine, so that a fake can stand in where ONNX Runtime is not the subject.

use crate::{NnError, Tensor, TensorType};

/// Makes models by name. Implementations look names up in their own catalog. Several threads may ask at once.
pub trait Engine: Send + Sync {
    /// The device that models run on and why.
    fn device(&self) -> &DeviceInfo;

    /// Makes a model ready to run. Called once a model.
    ///
    /// # Errors
    /// [`NnError`] where there is no such model, its file is missing or altered, or the engine refuses it.
    fn load(&self, name: &str) -> Result<Box<dyn Model>, NnError>;

    /// How many inferences may run at once, each on a thread and in a session of its own.
    fn workers(&self) -> usize {
        1
    }

    /// One more session of a model that [`load`](Self::load) gave; none where the engine keeps to one. It computes the same numbers.
    fn load_more(&self, name: &str) -> Option<Result<Box<dyn Model>, NnError>> {
        let _ = name;
        None
    }
}

/// A model that is ready to run. It is owned by one thread.
pub trait Model: Send {
    /// Inputs and outputs.
    fn ports(&self) -> &Ports;

    /// What whoever reads a report should know of how it runs, e.g. that parts of it run on the CPU.
    fn notes(&self) -> &[String] {
        &[]
    }

    /// Computes all outputs, in the order of the ports. The inputs were checked with [`Ports::check`].
    ///
    /// # Errors
    /// [`NnError::OutOfMemory`] where memory ran out, so that the caller may try a smaller batch; [`NnError::Engine`] for
    /// anything else. The model can be run again after an error.
    fn run(&mut self, inputs: &[(String, Tensor)]) -> Result<Vec<Tensor>, NnError>;
}

/// Where models run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// `cpu`, `cuda:0` or `tensorrt:0`.
    pub device: String,
    /// ONNX Runtime's name of the execution provider.
    pub provider: String,
    /// Precision of the sums of products: `f32`, or `tf32` where the device may round factors to 10 bits.
    pub precision: String,
    /// One sentence: who chose it and why.
    pub reason: String,
    /// The library and its build, for reports.
    pub library: String,
    /// Threads that inferences may use on the CPU, all together.
    pub intra_threads: usize,
}

/// One input or output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Name in the graph.
    pub name: String,
    /// Element type.
    pub ty: TensorType,
    /// Size of each dimension; 0 where any size fits.
    pub dims: Vec<usize>,
}

impl std::fmt::Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` {} {}", self.name, self.ty, show_dims(&self.dims))
    }
}

/// A model's inputs and outputs, in the graph's order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ports {
    /// Inputs.
    pub inputs: Vec<Port>,
    /// Outputs.
    pub outputs: Vec<Port>,
}

impl Ports {
    /// Checks that every input is there once, under its name, with its type, rank and fixed dimensions.
    ///
    /// # Errors
    /// [`NnError::Input`] that names the model and the input.
    pub fn check(&self, model: &str, inputs: &[(String, Tensor)]) -> Result<(), NnError> {
        self.find_fault(inputs).map_or(Ok(()), |message| Err(NnError::Input { model: model.to_owned(), message }))
    }

    fn find_fault(&self, inputs: &[(String, Tensor)]) -> Option<String> {
        for (i, (name, tensor)) in inputs.iter().enumerate() {
            let Some(port) = self.inputs.iter().find(|p| p.name == *name) else {
                let known = self.inputs.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", ");
                return Some(format!("there is no input `{name}`; it has: {known}"));
            };
            if inputs[..i].iter().any(|(n, _)| n == name) {
                return Some(format!("the input `{name}` was given twice"));
            }
            if tensor.ty() != port.ty {
                return Some(format!("the input `{name}` is {}, not {}", port.ty, tensor.ty()));
            }
            let fits = tensor.dims().len() == port.dims.len() && tensor.dims().iter().zip(&port.dims).all(|(t, p)| *p == 0 || t == p);
            if !fits {
                return Some(format!("the input `{name}` is {}, not {:?}", show_dims(&port.dims), tensor.dims()));
            }
            if tensor.is_empty() {
                return Some(format!("the input `{name}` has no elements: {:?}", tensor.dims()));
            }
        }
        let missing = self.inputs.iter().find(|p| !inputs.iter().any(|(n, _)| *n == p.name));
        missing.map(|port| format!("the input {port} is missing"))
    }
}

/// Dimensions with `any` where the size is free.
fn show_dims(dims: &[usize]) -> String {
    let list: Vec<String> = dims.iter().map(|d| if *d == 0 { "any".to_owned() } else { d.to_string() }).collect();
    format!("[{}]", list.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(inputs: &[(&str, Tensor)]) -> String {
        let ports = Ports {
            inputs: vec![
                Port { name: "x".into(), ty: TensorType::F32, dims: vec![0, 3] },
                Port { name: "k".into(), ty: TensorType::I64, dims: vec![1] },
            ],
            outputs: vec![],
        };
        let inputs: Vec<_> = inputs.iter().map(|(n, t)| ((*n).to_owned(), t.clone())).collect();
        ports.check("net", &inputs).map_or_else(|e| e.to_string(), |()| "fits".into())
    }

    #[test]
    fn a_wrong_input_is_named_with_its_model() {
        let x = || Tensor::from_vec(vec![2, 3], vec![0f32; 6]).unwrap();
        let k = || Tensor::from_vec(vec![1], vec![1i64]).unwrap();
        assert_eq!(fault(&[("k", k()), ("x", x())]), "fits");
        assert_eq!(fault(&[("x", x())]), "model `net`: the input `k` i64 [1] is missing");
        assert_eq!(fault(&[("x", x()), ("x", x())]), "model `net`: the input `x` was given twice");
        assert_eq!(fault(&[("y", x())]), "model `net`: there is no input `y`; it has: x, k");
        assert_eq!(fault(&[("x", k())]), "model `net`: the input `x` is f32, not i64");
        let wide = Tensor::from_vec(vec![2, 4], vec![0f32; 8]).unwrap();
        assert_eq!(fault(&[("x", wide)]), "model `net`: the input `x` is [any, 3], not [2, 4]");
        let flat = Tensor::from_vec(vec![3], vec![0f32; 3]).unwrap();
        assert_eq!(fault(&[("x", flat)]), "model `net`: the input `x` is [any, 3], not [3]");
        let none = Tensor::from_vec(vec![0, 3], Vec::<f32>::new()).unwrap();
        assert_eq!(fault(&[("x", none)]), "model `net`: the input `x` has no elements: [0, 3]");
    }
}
