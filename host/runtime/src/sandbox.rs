//! The wasmtime engine, its linker and its clock: one per process.

use std::path::{Path, PathBuf};
use std::time::Duration;

use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, ProfilingStrategy};

use crate::bindings::Pipeline;
use crate::error::RuntimeError;
use crate::limits::Limits;
use crate::precompiled::Precompiled;
use crate::state::JobState;

/// How often a running guest gives the thread back, so that limits and stop requests are seen.
const TICK: Duration = Duration::from_millis(50);
/// Most guests alive at once.
const MOST_INSTANCES: u32 = 64;
/// Bytes of a guest's memory, and of each of its tables and stacks, that stay for the next one.
const KEPT_BYTES: usize = 4 << 20;

/// The sandbox: compiles and instantiates guests.
#[derive(Clone)]
pub struct Sandbox {
    engine: Engine,
    linker: std::sync::Arc<Linker<JobState>>,
    planner_linker: std::sync::Arc<Linker<JobState>>,
    precompiled: Precompiled,
}

impl Sandbox {
    /// Starts the engine and its clock thread. Components are taken from `precompiled` where it has them in a form that fits, and
    /// compiled where not.
    ///
    /// # Errors
    /// [`RuntimeError::Engine`] where the system does not give enough address space or threads.
    pub fn new(limits: &Limits, precompiled: Precompiled) -> Result<Self, RuntimeError> {
        Self::start(limits, precompiled, ProfilingStrategy::None)
    }

    /// The same, and tells Linux's `perf` the names of the guests' functions, in the file where it looks for them:
    /// `/tmp/perf-<process id>.map`, which stays for `perf report`.
    ///
    /// # Errors
    /// As [`new`](Self::new); [`RuntimeError::Engine`] where that file cannot be written.
    pub fn with_perf_map(limits: &Limits, precompiled: Precompiled) -> Result<Self, RuntimeError> {
        Self::start(limits, precompiled, ProfilingStrategy::PerfMap)
    }

    fn start(limits: &Limits, precompiled: Precompiled, profiling: ProfilingStrategy) -> Result<Self, RuntimeError> {
        let fault = |e: wasmtime::Error| RuntimeError::Engine(format!("{e:#}"));
        let mut pool = PoolingAllocationConfig::default();
        pool.total_component_instances(MOST_INSTANCES)
            .total_core_instances(MOST_INSTANCES * 8)
            .total_memories(MOST_INSTANCES * 2)
            .total_tables(MOST_INSTANCES * 8)
            .total_stacks(MOST_INSTANCES)
            .max_memories_per_component(16)
            .max_tables_per_component(64)
            .table_elements(limits.table_elements)
            .max_memory_size(limits.memory_bytes)
            .max_component_instance_size(1 << 20)
            .max_core_instance_size(1 << 20)
            // what a job touched is cleared for the next one, instead of given back and faulted in anew
            .linear_memory_keep_resident(KEPT_BYTES)
            .table_keep_resident(KEPT_BYTES)
            .async_stack_keep_resident(KEPT_BYTES)
            .pagemap_scan(Enabled::Auto);
        let mut config = Config::new();
        config.wasm_component_model(true).epoch_interruption(true).allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        config.profiler(profiling);
        let engine = Engine::new(&config).map_err(fault)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(fault)?;
        Pipeline::add_to_linker::<_, HasSelf<JobState>>(&mut linker, |state| state).map_err(fault)?;
        crate::interfaces::nn::give_data_in_place(&mut linker).map_err(fault)?;
        let mut planner_linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut planner_linker).map_err(fault)?;
        crate::bindings::planner::Planner::add_to_linker::<_, HasSelf<JobState>>(&mut planner_linker, |state| state).map_err(fault)?;
        let weak = engine.weak();
        std::thread::Builder::new()
            .name("epoch".into())
            .spawn(move || {
                while let Some(engine) = weak.upgrade() {
                    engine.increment_epoch();
                    drop(engine);
                    std::thread::sleep(TICK);
                }
            })
            .map_err(|e| RuntimeError::Engine(format!("cannot start the clock thread: {e}")))?;
        let (linker, planner_linker) = (std::sync::Arc::new(linker), std::sync::Arc::new(planner_linker));
        Ok(Self { engine, linker, planner_linker, precompiled })
    }

    /// The engine.
    #[must_use]
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The component in these bytes (read from `path`, with this sha256 as hex); and whether it had been compiled before.
    pub(crate) fn component(&self, path: &Path, bytes: &[u8], sha256: &str) -> wasmtime::Result<(Component, bool)> {
        self.precompiled.component(&self.engine, path, bytes, sha256)
    }

    /// Compiles the component in the file `path` into `folder`, and gives the file, which appears whole or not at all; see
    /// [`crate::precompiled`].
    ///
    /// # Errors
    /// [`RuntimeError::GuestFile`] where it cannot be read, [`RuntimeError::GuestInvalid`] where it does not compile,
    /// [`RuntimeError::Precompiled`] where the file cannot be written.
    pub fn precompile(&self, path: &Path, folder: &Path) -> Result<PathBuf, RuntimeError> {
        let bytes = std::fs::read(path).map_err(|source| RuntimeError::GuestFile { path: path.to_owned(), source })?;
        crate::precompiled::write(folder, &self.engine, path, &bytes)
    }

    /// The linker with everything a pipeline may import.
    #[must_use]
    pub fn linker(&self) -> &Linker<JobState> {
        &self.linker
    }

    /// The linker with what a planner may import: logging, and WASI without files, network or environment.
    #[must_use]
    pub fn planner_linker(&self) -> &Linker<JobState> {
        &self.planner_linker
    }
}
