//! Where models run: what was asked for, what there is, and what to do where the two differ.

use std::str::FromStr;

use ort::ep::cuda::ConvAlgorithmSearch;
use ort::ep::{CPU, CUDA, ExecutionProvider, ExecutionProviderDispatch, TensorRT};

use super::library::OrtLibrary;
use super::session::OrtModel;
use crate::catalog::cache_dir;
use crate::{Model, NnError, Tensor};

/// A device by name: `auto`, `cpu`, `cuda`, `cuda:1`, `tensorrt`, `tensorrt:1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// The first CUDA device where one works, else the CPU; the reason says which and why.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A CUDA device by number.
    Cuda {
        /// Number of the device, from 0.
        id: u32,
    },
    /// A CUDA device by number, through TensorRT.
    TensorRt {
        /// Number of the device, from 0.
        id: u32,
    },
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda { id } => write!(f, "cuda:{id}"),
            Self::TensorRt { id } => write!(f, "tensorrt:{id}"),
        }
    }
}

impl FromStr for Device {
    type Err = NnError;

    fn from_str(text: &str) -> Result<Self, NnError> {
        let (kind, id) = text.split_once(':').map_or((text, "0"), |(k, i)| (k, i));
        match (kind, id.parse::<u32>()) {
            ("auto", _) if text == "auto" => Ok(Self::Auto),
            ("cpu", _) if text == "cpu" => Ok(Self::Cpu),
            ("cuda", Ok(id)) => Ok(Self::Cuda { id }),
            ("tensorrt", Ok(id)) => Ok(Self::TensorRt { id }),
            _ => Err(NnError::InvalidArgument(format!(
                "`{text}` is not a device: use auto, cpu, cuda, cuda:<number>, tensorrt or tensorrt:<number>"
            ))),
        }
    }
}

impl Device {
    /// ONNX Runtime's name of the execution provider.
    #[must_use]
    pub const fn provider(self) -> &'static str {
        match self {
            Self::Auto | Self::Cpu => CPU::NAME,
            Self::Cuda { .. } => CUDA::NAME,
            Self::TensorRt { .. } => TensorRT::NAME,
        }
    }

    /// Precision of the sums of products. The GPU providers round f32 factors to tf32 on devices that have it.
    #[must_use]
    pub const fn precision(self) -> &'static str {
        match self {
            Self::Auto | Self::Cpu => "f32",
            Self::Cuda { .. } | Self::TensorRt { .. } => "tf32",
        }
    }

    /// Whether this is a GPU.
    pub(super) const fn is_gpu(self) -> bool {
        matches!(self, Self::Cuda { .. } | Self::TensorRt { .. })
    }

    /// The execution providers to register, best first; each is an error where it does not start.
    pub(super) fn execution_providers(self) -> Vec<ExecutionProviderDispatch> {
        // a heuristic search: the exhaustive one costs about half a second for every new shape
        let cuda = |id: u32| {
            let id = i32::try_from(id).unwrap_or(i32::MAX);
            CUDA::default()
                .with_device_id(id)
                .with_conv_algorithm_search(ConvAlgorithmSearch::Heuristic)
                .with_tf32(true)
                .build()
                .error_on_failure()
        };
        match self {
            Self::Auto | Self::Cpu => vec![],
            Self::Cuda { id } => vec![cuda(id)],
            Self::TensorRt { id } => {
                let number = i32::try_from(id).unwrap_or(i32::MAX);
                let mut tensorrt = TensorRT::default().with_device_id(number);
                // engines take minutes to build, for every shape anew
                if let Some(cache) = cache_dir().map(|cache| cache.join("tensorrt")) {
                    let path = cache.display();
                    tensorrt = tensorrt
                        .with_engine_cache(true)
                        .with_engine_cache_path(path.to_string())
                        .with_timing_cache(true)
                        .with_timing_cache_path(path.to_string());
                }
                vec![tensorrt.build().error_on_failure(), cuda(id)]
            }
        }
    }
}

/// Doubles four numbers; made by `tests/fixtures/make_fixtures.py`.
const PROBE: &[u8] = include_bytes!("probe.onnx");

/// Turns what was asked for into a device that computes, and says why it is this one.
pub(super) fn settle(library: &'static OrtLibrary, asked: Device, threads: usize) -> Result<(Device, String), NnError> {
    match asked {
        Device::Auto => match probe(library, Device::Cuda { id: 0 }, threads) {
            Ok(()) => Ok((Device::Cuda { id: 0 }, "auto chose the first CUDA device, which computes".into())),
            Err(why) => {
                probe(library, Device::Cpu, threads).map_err(|message| absent(Device::Cpu, message))?;
                Ok((Device::Cpu, format!("auto chose the CPU, because {why}")))
            }
        },
        stated => {
            probe(library, stated, threads).map_err(|message| absent(stated, message))?;
            Ok((stated, format!("{stated} was asked for")))
        }
    }
}

/// Runs a small graph. That a provider is listed proves nothing: a GPU build lists CUDA on a machine without a GPU.
fn probe(library: &'static OrtLibrary, device: Device, threads: usize) -> Result<(), String> {
    let providers = library.providers().map_err(|e| e.to_string())?;
    if !providers.iter().any(|p| p.name == device.provider() && p.built_in) {
        return Err(format!("the ONNX Runtime library {} was built without {}", library.path().display(), device.provider()));
    }
    let failed = |e: NnError| format!("{} does not start: {e}", device.provider());
    let mut model = OrtModel::new(library, device, threads, "probe", PROBE, &[]).map_err(failed)?;
    let x = Tensor::from_vec(vec![4], vec![1.0f32, 2.0, 3.0, 4.0]).map_err(|e| e.to_string())?;
    let y = model.run(&[("x".into(), x)]).map_err(failed)?;
    match y.first().and_then(|t| t.as_f32().ok()) {
        Some([2.0, 4.0, 6.0, 8.0]) => Ok(()),
        other => Err(format!("{} doubles 1, 2, 3, 4 to {other:?}", device.provider())),
    }
}

fn absent(device: Device, message: String) -> NnError {
    let remedy = if device.is_gpu() {
        "set HALFPIPE_ORT_LIB to a GPU build of ONNX Runtime with its CUDA libraries and driver in reach (`halfpipe doctor` shows \
         what is found), or ask for the device `cpu` or `auto`"
    } else {
        "use another build of ONNX Runtime (HALFPIPE_ORT_LIB)"
    };
    NnError::Device { message: format!("the device {device} was asked for, but {message}"), remedy: remedy.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_make_the_way_there_and_back() {
        for device in [Device::Auto, Device::Cpu, Device::Cuda { id: 0 }, Device::Cuda { id: 3 }, Device::TensorRt { id: 1 }] {
            assert_eq!(device.to_string().parse::<Device>().unwrap(), device);
        }
        assert_eq!("cuda".parse::<Device>().unwrap(), Device::Cuda { id: 0 });
        for wrong in ["gpu", "cpu:0", "auto:1", "cuda:", "cuda:-1", ""] {
            assert!(wrong.parse::<Device>().unwrap_err().to_string().contains("tensorrt:<number>"), "{wrong}");
        }
    }
}
