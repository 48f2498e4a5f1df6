//! Opening a graphics device: which adapters there are, which one is used, and what happens when it fails.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use futures::executor::block_on;

use crate::error::RenderError;

/// Which kind of adapter to draw on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AdapterChoice {
    /// Hardware where it works, else software; [`AdapterInfo`] and the log say which.
    #[default]
    Auto,
    /// Hardware; its absence is an error.
    Hardware,
    /// A driver that draws on the CPU, e.g. for pictures that are the same on every machine.
    Software,
}

impl FromStr for AdapterChoice {
    type Err = RenderError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s {
            "auto" => Ok(Self::Auto),
            "hardware" => Ok(Self::Hardware),
            "software" => Ok(Self::Software),
            other => Err(RenderError::UnknownChoice(other.to_owned())),
        }
    }
}

/// The programming interface an adapter is reached by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// Vulkan.
    Vulkan,
    /// OpenGL or OpenGL ES, by EGL without a display.
    Gl,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vulkan => "Vulkan",
            Self::Gl => "OpenGL",
        })
    }
}

/// The adapter that is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterInfo {
    /// Its name, as the driver gives it.
    pub name: String,
    /// How it is reached.
    pub backend: Backend,
    /// The driver's name and version.
    pub driver: String,
    /// Whether it draws on the CPU.
    pub software: bool,
    /// Adapters that would have come first but could not be used, each with the reason.
    pub passed_over: Vec<String>,
}

impl fmt::Display for AdapterInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.software { "software" } else { "hardware" };
        write!(f, "{} ({}, {kind}, {})", self.name, self.backend, self.driver)
    }
}

/// An open device with its queue and the errors it reported outside of calls.
pub(crate) struct Gpu {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) info: AdapterInfo,
    /// Largest side of a texture, samples.
    pub(crate) max_side: u32,
    pub(crate) faults: Faults,
}

impl Gpu {
    /// Whether the device is still there and has refused nothing since the last look.
    pub(crate) fn check(&self) -> Result<(), RenderError> {
        // the news of a lost device is delivered by a poll, whose own result says no more than that
        self.device.poll(wgpu::PollType::Poll).ok();
        self.faults.check()
    }
}

/// Errors that wgpu reports by callback: kept here, so that the work during which they came can fail with them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults(Arc<Mutex<FaultState>>);

#[derive(Debug, Default)]
struct FaultState {
    /// The device is gone for good.
    lost: Option<String>,
    /// The first refused call since the last look.
    refused: Option<String>,
}

impl Faults {
    fn note_lost(&self, message: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).lost.get_or_insert(message);
    }

    fn note_refused(&self, message: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).refused.get_or_insert(message);
    }

    /// Why the device is gone, if it is.
    pub(crate) fn lost(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).lost.clone()
    }

    /// Takes what was reported since the last call; a lost device stays lost.
    pub(crate) fn check(&self) -> Result<(), RenderError> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = state.refused.take();
        match state.lost.clone().or(refused) {
            Some(message) => Err(RenderError::Device(message)),
            None => Ok(()),
        }
    }
}

/// What the choice of an adapter depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Candidate {
    backend: Backend,
    kind: wgpu::DeviceType,
}

impl Candidate {
    fn software(self) -> bool {
        self.kind == wgpu::DeviceType::Cpu
    }

    /// Lower comes first: discrete before integrated before virtual hardware, software last; Vulkan before GL.
    fn rank(self) -> (u8, bool) {
        let kind = match self.kind {
            wgpu::DeviceType::DiscreteGpu => 0,
            wgpu::DeviceType::IntegratedGpu => 1,
            wgpu::DeviceType::VirtualGpu => 2,
            wgpu::DeviceType::Other => 3,
            wgpu::DeviceType::Cpu => 4,
        };
        (kind, self.backend == Backend::Gl)
    }
}

/// Indices of the candidates that `choice` allows, best first.
fn ranked(candidates: &[Candidate], choice: AdapterChoice) -> Vec<usize> {
    let allowed = |c: &Candidate| match choice {
        AdapterChoice::Auto => true,
        AdapterChoice::Hardware => !c.software(),
        AdapterChoice::Software => c.software(),
    };
    let mut order: Vec<usize> = (0..candidates.len()).filter(|&i| allowed(&candidates[i])).collect();
    order.sort_by_key(|&i| candidates[i].rank());
    order
}

/// All adapters of one backend. An instance that cannot be made has none.
fn adapters_of(backend: Backend) -> Vec<wgpu::Adapter> {
    let backends = match backend {
        Backend::Vulkan => wgpu::Backends::VULKAN,
        Backend::Gl => wgpu::Backends::GL,
    };
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    // validation layers are a developer's tool and print warnings where they are not installed
    descriptor.flags = wgpu::InstanceFlags::empty();
    block_on(wgpu::Instance::new(descriptor).enumerate_adapters(backends))
}

/// Opens the best adapter of `backends` (tried in their order) that `choice` allows and of which `make` makes something that works.
pub(crate) fn open<T>(choice: AdapterChoice, backends: &[Backend], make: impl Fn(Gpu) -> Result<T, RenderError>) -> Result<T, RenderError> {
    let mut adapters = Vec::new();
    let mut candidates = Vec::new();
    for &backend in backends {
        for adapter in adapters_of(backend) {
            candidates.push(Candidate { backend, kind: adapter.get_info().device_type });
            adapters.push(adapter);
        }
        // asking the next backend costs time and may print warnings of its driver, so only where this one has not what is wanted
        let wants_software = choice == AdapterChoice::Software;
        if candidates.iter().any(|c| c.software() == wants_software) {
            break;
        }
    }

    let mut passed_over = Vec::new();
    for i in ranked(&candidates, choice) {
        let tried = open_adapter(&adapters[i], candidates[i], &passed_over).and_then(|gpu| {
            let info = gpu.info.clone();
            make(gpu).map(|made| (info, made))
        });
        match tried {
            Ok((info, made)) => {
                tracing::info!(adapter = %info, ?choice, passed_over = ?info.passed_over, "drawing on");
                return Ok(made);
            }
            Err(e) => passed_over.push(format!("{}: {e}", adapters[i].get_info().name)),
        }
    }
    if !passed_over.is_empty() {
        return Err(RenderError::Unusable { reasons: passed_over });
    }
    if adapters.is_empty() {
        return Err(RenderError::NoAdapter);
    }
    let found = adapters.iter().map(|a| a.get_info().name).collect::<Vec<_>>().join(", ");
    // what is left over was not allowed, so the choice was not `Auto`
    Err(if choice == AdapterChoice::Hardware { RenderError::NoHardware { found } } else { RenderError::NoSoftware { found } })
}

fn open_adapter(adapter: &wgpu::Adapter, candidate: Candidate, passed_over: &[String]) -> Result<Gpu, RenderError> {
    let info = adapter.get_info();
    let limits = wgpu::Limits::downlevel_webgl2_defaults().using_resolution(adapter.limits());
    let descriptor = wgpu::DeviceDescriptor { label: Some("halfpipe"), required_limits: limits.clone(), ..Default::default() };
    let (device, queue) = block_on(adapter.request_device(&descriptor)).map_err(|e| RenderError::Device(e.to_string()))?;

    let faults = Faults::default();
    let refused = faults.clone();
    device.on_uncaptured_error(Arc::new(move |e: wgpu::Error| refused.note_refused(e.to_string())));
    let lost = faults.clone();
    device.set_device_lost_callback(move |reason, message| {
        lost.note_lost(format!("it was lost ({reason:?}: {message}); start a new lane or restart the process"));
    });

    let driver = [info.driver.as_str(), info.driver_info.as_str()].iter().filter(|s| !s.is_empty()).copied().collect::<Vec<_>>().join(" ");
    Ok(Gpu {
        device,
        queue,
        info: AdapterInfo {
            name: info.name,
            backend: candidate.backend,
            driver,
            software: candidate.software(),
            passed_over: passed_over.to_vec(),
        },
        max_side: limits.max_texture_dimension_2d,
        faults,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wgpu::DeviceType::{Cpu, DiscreteGpu, IntegratedGpu, Other};

    fn candidates(list: &[(Backend, wgpu::DeviceType)]) -> Vec<Candidate> {
        list.iter().map(|&(backend, kind)| Candidate { backend, kind }).collect()
    }

    #[test]
    fn auto_prefers_hardware_and_vulkan() {
        let all = candidates(&[
            (Backend::Vulkan, Cpu),
            (Backend::Gl, DiscreteGpu),
            (Backend::Vulkan, IntegratedGpu),
            (Backend::Vulkan, DiscreteGpu),
            (Backend::Gl, Other),
            (Backend::Gl, Cpu),
        ]);
        assert_eq!(ranked(&all, AdapterChoice::Auto), [3, 1, 2, 4, 0, 5]);
    }

    #[test]
    fn a_choice_leaves_no_other_kind() {
        let all = candidates(&[(Backend::Vulkan, Cpu), (Backend::Vulkan, IntegratedGpu)]);
        assert_eq!(ranked(&all, AdapterChoice::Hardware), [1]);
        assert_eq!(ranked(&all, AdapterChoice::Software), [0]);
        assert!(ranked(&all[..1], AdapterChoice::Hardware).is_empty());
        assert!(ranked(&all[1..], AdapterChoice::Software).is_empty());
    }

    #[test]
    fn choices_are_read_by_name() {
        assert_eq!("hardware".parse(), Ok(AdapterChoice::Hardware));
        assert_eq!("gpu".parse::<AdapterChoice>(), Err(RenderError::UnknownChoice("gpu".into())));
    }

    #[test]
    fn a_refused_call_fails_once_and_a_lost_device_for_good() {
        let faults = Faults::default();
        faults.note_refused("first".into());
        faults.note_refused("second".into());
        assert_eq!(faults.check(), Err(RenderError::Device("first".into())));
        assert_eq!(faults.check(), Ok(()));
        faults.note_lost("gone".into());
        for _ in 0..2 {
            assert_eq!(faults.check(), Err(RenderError::Device("gone".into())));
        }
        assert_eq!(faults.lost().as_deref(), Some("gone"));
    }

    #[test]
    fn a_call_the_device_refuses_is_an_error_and_no_panic() {
        let gpu = open(AdapterChoice::Software, &[Backend::Vulkan, Backend::Gl], Ok).unwrap();
        let wrong = wgpu::BufferDescriptor {
            label: Some("wrong"),
            size: 16,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::VERTEX,
            mapped_at_creation: false,
        };
        drop(gpu.device.create_buffer(&wrong));
        assert!(matches!(gpu.faults.check(), Err(RenderError::Device(_))));
    }

    #[test]
    fn an_adapter_that_fails_its_test_is_named() {
        let fail = |_: Gpu| -> Result<(), RenderError> { Err(RenderError::Device("it draws upside down".into())) };
        let Err(RenderError::Unusable { reasons }) = open(AdapterChoice::Software, &[Backend::Vulkan, Backend::Gl], fail) else {
            panic!("no adapter passed")
        };
        assert!(reasons[0].contains("it draws upside down"), "{reasons:?}");
    }
}
