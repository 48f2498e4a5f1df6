//! One model as an ONNX Runtime session.

use std::sync::Arc;

use ort::logging::LogLevel;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{Session, SessionInputValue};
use ort::value::{Outlet, TensorElementType, TensorRef};

use super::bound::Bound;
use super::device::Device;
use super::library::OrtLibrary;
use super::output;
use crate::catalog::{Entry, PortEntry};
use crate::tensor::with_values;
use crate::{Model, NnError, Port, Ports, Tensor, TensorType};

/// Where the runtime looks for external data that it was not given: a path under which there cannot be a file.
const NO_FOLDER: &str = "/dev/null";
/// What is said where it looked there.
const UNLISTED: &str = "; the model has external data that its catalog entry does not list under `data`";

/// A session and what is known of it.
pub(super) struct OrtModel {
    name: String,
    session: Session,
    /// Where its inputs and outputs lie, on a GPU.
    bound: Option<Bound>,
    ports: Ports,
    notes: Vec<String>,
}

impl OrtModel {
    /// Makes a session from the bytes of an ONNX file and of the files with weights that it refers to, by their names.
    pub(super) fn new(
        library: &'static OrtLibrary,
        device: Device,
        threads: usize,
        name: &str,
        bytes: &[u8],
        data: &[(String, Arc<[u8]>)],
    ) -> Result<Self, NnError> {
        let failed = |e: ort::Error| {
            let message = e.to_string();
            let unlisted = if message.contains(NO_FOLDER) { UNLISTED } else { "" };
            engine_error(name, &format!("{message}{unlisted}"))
        };
        let mut notes = Vec::new();
        let strict = |device| with_data(strict(library, device, threads)?, data);
        let session = match strict(device).map_err(failed)?.commit_from_memory(bytes) {
            // shape arithmetic belongs on the CPU; allow it, and say so
            Err(e) if device.is_gpu() && e.message().contains("CPU EP") => {
                notes.push(format!("some operations of `{name}` run on the CPU: {e}"));
                let lenient = options(library, device, threads).and_then(|options| with_data(options, data));
                lenient.map_err(failed)?.commit_from_memory(bytes)
            }
            result => result,
        };
        let session = session.map_err(failed)?;
        let ports = Ports { inputs: ports(name, session.inputs())?, outputs: ports(name, session.outputs())? };
        let mut model = Self { name: name.to_owned(), session, bound: None, ports, notes };
        if device.is_gpu()
            && let Err(e) = model.bind(device)
        {
            model.notes.push(format!("`{name}` goes by way of ordinary memory, because page-locked memory cannot be had: {e}"));
        }
        Ok(model)
    }

    /// From now on inputs and outputs lie where the device reaches them.
    fn bind(&mut self, device: Device) -> ort::Result<()> {
        let outputs = self.ports.outputs.iter().map(|port| port.name.as_str());
        self.bound = Some(Bound::new(&self.session, device, outputs)?);
        Ok(())
    }
}

impl Model for OrtModel {
    fn ports(&self) -> &Ports {
        &self.ports
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn run(&mut self, inputs: &[(String, Tensor)]) -> Result<Vec<Tensor>, NnError> {
        let name = &self.name;
        let batch = inputs.first().and_then(|(_, t)| t.dims().first().copied()).unwrap_or(1);
        let failed = |e: ort::Error| run_error(name, batch, &e.to_string());
        // page-locked memory is wanted for the next run
        let keep = self.bound.is_none();
        let outputs = match &mut self.bound {
            Some(bound) => bound.run(&mut self.session, inputs),
            None => inputs
                .iter()
                .map(|(n, t)| Ok((n.as_str(), borrow(t)?)))
                .collect::<ort::Result<Vec<(&str, SessionInputValue<'_>)>>>()
                .and_then(|values| self.session.run(values)),
        };
        let mut outputs = outputs.map_err(failed)?;
        let take = |port: &Port| match outputs.remove(&port.name) {
            Some(value) => output::tensor(name, port, value, keep),
            None => Err(engine_error(name, &format!("the output {port} did not come"))),
        };
        self.ports.outputs.iter().map(take).collect()
    }
}

/// The options of every session.
fn options(library: &'static OrtLibrary, device: Device, threads: usize) -> ort::Result<SessionBuilder> {
    let options = Session::builder(library.environment())?
        .with_log_level(LogLevel::Warning)?
        .with_intra_threads(threads)?
        .with_inter_threads(1)?
        // spinning threads would take the cores that decode and encode
        .with_intra_op_spinning(false)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_memory_pattern(true)?
        .with_config_entry("session.model_external_initializers_file_folder_path", NO_FOLDER)?
        .with_execution_providers(device.execution_providers())?;
    Ok(options)
}

/// The same, and where a GPU was asked for no operation may fall back to the CPU.
fn strict(library: &'static OrtLibrary, device: Device, threads: usize) -> ort::Result<SessionBuilder> {
    let options = options(library, device, threads)?;
    if device.is_gpu() { Ok(options.with_disable_cpu_fallback()?) } else { Ok(options) }
}

/// The same with the files that hold weights, which the runtime copies while the session is made.
fn with_data(mut options: SessionBuilder, data: &[(String, Arc<[u8]>)]) -> ort::Result<SessionBuilder> {
    for (file, bytes) in data {
        options = options.with_external_initializer_file_in_memory(file, Arc::clone(bytes))?;
    }
    Ok(options)
}

/// Views a tensor's values as an input without a copy.
fn borrow(tensor: &Tensor) -> ort::Result<SessionInputValue<'_>> {
    with_values!(tensor.storage(), values => TensorRef::from_array_view((tensor.dims(), &values[..])).map(Into::into))
}

fn ports(model: &str, outlets: &[Outlet]) -> Result<Vec<Port>, NnError> {
    outlets.iter().map(|o| port(model, o)).collect()
}

fn port(model: &str, outlet: &Outlet) -> Result<Port, NnError> {
    let unsupported = || engine_error(model, &format!("`{}` is {}, which is not a tensor type of wasi-nn", outlet.name(), outlet.dtype()));
    let ty = match outlet.dtype().tensor_type().ok_or_else(unsupported)? {
        TensorElementType::Float16 => TensorType::F16,
        TensorElementType::Float32 => TensorType::F32,
        TensorElementType::Float64 => TensorType::F64,
        TensorElementType::Bfloat16 => TensorType::BF16,
        TensorElementType::Uint8 => TensorType::U8,
        TensorElementType::Int32 => TensorType::I32,
        TensorElementType::Int64 => TensorType::I64,
        _ => return Err(unsupported()),
    };
    // a free dimension is -1 in ONNX Runtime and 0 here
    let dims = outlet.dtype().tensor_shape().map(|s| s.iter().map(|d| usize::try_from(*d).unwrap_or(0)).collect()).unwrap_or_default();
    Ok(Port { name: outlet.name().to_owned(), ty, dims })
}

/// Checks that a graph has the inputs and outputs that its catalog entry states, so that guests can trust the catalog.
pub(super) fn check_against_catalog(entry: Entry<'_>, ports: &Ports) -> Result<(), NnError> {
    for (what, stated, found) in [("input", entry.inputs(), &ports.inputs), ("output", entry.outputs(), &ports.outputs)] {
        if let Some(message) = difference(what, stated, found) {
            return Err(NnError::Mismatch { model: entry.name().to_owned(), message });
        }
    }
    Ok(())
}

fn difference(what: &str, stated: &[PortEntry], found: &[Port]) -> Option<String> {
    if stated.len() != found.len() {
        return Some(format!("the file has {} {what}s, not {}", found.len(), stated.len()));
    }
    for (s, f) in stated.iter().zip(found) {
        // exporters often leave an output's rank or sizes open
        let open = f.dims.is_empty() && !s.dims.is_empty();
        // what is stated as free is given any size, so an input must take any
        let free = |s: usize, f: usize| if what == "input" { f == 0 } else { s == 0 || f == 0 };
        let dims = open || s.dims.len() == f.dims.len() && s.dims.iter().zip(&f.dims).all(|(s, f)| free(*s, *f) || s == f);
        if s.name != f.name || s.ty != f.ty || !dims {
            return Some(format!("the file's {what} {f} stands where `{}` {} {:?} is stated", s.name, s.ty, s.dims));
        }
    }
    None
}

pub(super) fn engine_error(model: &str, message: &str) -> NnError {
    NnError::Engine { model: model.to_owned(), message: message.to_owned() }
}

/// Tells a lack of memory from other failures. ONNX Runtime has no code for it, only texts: its arena's, the C++ runtime's,
/// and those of CUDA, cuBLAS and cuDNN.
fn run_error(model: &str, batch: usize, message: &str) -> NnError {
    let lower = message.to_lowercase();
    let memory = ["failed to allocate memory", "bad_alloc", "bad allocation", "out of memory", "alloc_failed", "failed to allocate"];
    if memory.iter().any(|m| lower.contains(m)) {
        NnError::OutOfMemory { model: model.to_owned(), batch, message: message.to_owned() }
    } else {
        engine_error(model, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Doubles four numbers; made by `tests/fixtures/make_fixtures.py`.
    const PROBE: &[u8] = include_bytes!("probe.onnx");

    #[test]
    fn bound_inputs_and_outputs_give_the_same() -> Result<(), NnError> {
        let library = OrtLibrary::load(None)?;
        let mut model = OrtModel::new(library, Device::Cpu, 1, "probe", PROBE, &[])?;
        model.bind(Device::Cpu).map_err(|e| engine_error("probe", &e.to_string()))?;
        for first in [1.0f32, 7.0, -3.0] {
            let x = Tensor::from_vec(vec![4], (0..4).map(|i| first + i as f32).collect())?;
            let y = model.run(&[("x".into(), x)])?;
            assert_eq!(y[0].as_f32()?, [0.0, 1.0, 2.0, 3.0].map(|i| 2.0 * (first + i)), "each run has its own values");
        }
        let wrong = Tensor::from_vec(vec![3], vec![0.0f32; 3])?;
        assert!(model.run(&[("x".into(), wrong)]).is_err(), "a shape that the graph does not take");
        assert!(model.run(&[("z".into(), Tensor::from_vec(vec![4], vec![0.0f32; 4])?)]).is_err(), "an input that it does not have");
        assert!(model.run(&[]).is_err(), "and none");
        let x = Tensor::from_vec(vec![4], vec![0.5f32; 4])?;
        assert_eq!(model.run(&[("x".into(), x)])?[0].as_f32()?, [1.0; 4], "it goes on after an error");
        Ok(())
    }

    #[test]
    fn page_locked_memory_without_a_gpu_is_an_error() -> Result<(), NnError> {
        let mut model = OrtModel::new(OrtLibrary::load(None)?, Device::Cpu, 1, "probe", PROBE, &[])?;
        assert!(model.bind(Device::Cuda { id: 0 }).is_err());
        let x = Tensor::from_vec(vec![4], vec![2.0f32; 4])?;
        assert_eq!(model.run(&[("x".into(), x)])?[0].as_f32()?, [4.0; 4], "and the model is as it was");
        Ok(())
    }
}
