//! The store's data: everything one job's guest can reach, and the books kept on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use halfpipe_core::{ByteBudget, Pending, StageClock};
use halfpipe_media::{Codecs, Decoder, Encoder, FfmpegSource, FrameSource, MediaError, Tools, Verifier, VideoInfo, Window};
use halfpipe_nn::{BodyRig, Catalog, NnLane};
use halfpipe_render::DrawLane;
use wasmtime::component::ResourceTable;
use wasmtime::{StoreLimits, StoreLimitsBuilder};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::accounting::GuestClock;
use crate::error::FaultKind;
use crate::grants::Grants;
use crate::limits::Limits;
use crate::progress::{Progress, Stage};
use crate::report::{CopiedBytes, Warning};

/// Asks a job to stop. Clones share the request.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// Asks.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }
    /// Whether somebody asked.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The engines and data all jobs share.
pub struct Shared {
    /// Models.
    pub nn: NnLane,
    /// Drawing.
    pub draw: DrawLane,
    /// Video tools.
    pub tools: Tools,
    /// What videos are decoded and encoded with.
    pub codecs: Codecs,
    /// Models and bodies by name.
    pub catalog: Arc<Catalog>,
    /// Folder of the model files.
    pub models_dir: std::path::PathBuf,
    /// Bodies loaded so far.
    pub bodies: Arc<Mutex<BTreeMap<String, Arc<BodyRig>>>>,
}

impl Shared {
    /// The same engines, with a queue of its own in front of the models: what one job is given, so that jobs take turns.
    /// (Each renderer that a job opens has one anyway.)
    #[must_use]
    pub fn for_job(&self) -> Self {
        Self {
            nn: self.nn.client(),
            draw: self.draw.clone(),
            tools: self.tools.clone(),
            codecs: self.codecs.clone(),
            catalog: Arc::clone(&self.catalog),
            models_dir: self.models_dir.clone(),
            bodies: Arc::clone(&self.bodies),
        }
    }
}

/// What a drawn batch came to, collected for the host's own count of drawn frames.
#[derive(Debug)]
pub struct DrawnBatch {
    /// Index in the video of the batch's first frame.
    pub first_index: u64,
    /// Frame within the batch of each placement.
    pub frames: Vec<u32>,
    /// Changed pixels of each placement.
    pub pixels: Pending<Vec<u32>>,
}

/// Data of one job's store.
pub struct JobState {
    /// Handles.
    pub table: ResourceTable,
    /// WASI: no files, no network, no environment; output goes to the log.
    pub wasi: WasiCtx,
    /// Memory and table limits.
    pub store_limits: StoreLimits,
    /// All limits.
    pub limits: Limits,
    /// Bytes behind handles.
    pub budget: ByteBudget,
    /// Shared engines; none while a guest only describes itself.
    pub shared: Option<Arc<Shared>>,
    /// The job's id.
    pub id: String,
    /// Guest name, for logs.
    pub guest: String,
    /// Models and bodies the guest said it needs.
    pub models: BTreeSet<String>,
    /// Objects.
    pub grants: Grants,
    /// Part of the input to read.
    pub window: Option<Window>,
    /// Constant rate factor, where the job says so; that of the video once it is begun.
    pub quality: Option<u8>,
    /// The encoder's preset, likewise.
    pub preset: Option<String>,
    /// What encodes the video; what encoded it, once it is begun.
    pub encoder: Encoder,
    /// What decodes the input; what decoded it, once it ended.
    pub decoder: Decoder,
    /// Bytes of one picture of the input.
    pub picture_bytes: u64,
    /// The input, being decoded since before the guest started; taken when the guest opens it.
    pub ready: Option<FfmpegSource>,
    /// Facts of the opened input.
    pub input: Option<VideoInfo>,
    /// Frames read so far.
    pub frames_read: u64,
    /// Their timestamps, ticks of the input's time base.
    pub pts: Vec<i64>,
    /// What reading the input turned up.
    pub source_warnings: Vec<String>,
    /// Whether the input was read to its end.
    pub input_ended: bool,
    /// The first source that was read to its end and let go. With the last of its memory the allocator gives megabytes back to the system,
    /// 3 ms that are not the guest's.
    pub ended_source: Option<Box<dyn FrameSource>>,
    /// Checks the output once the guest has ended; its program is started while the encoder finishes.
    pub verifier: Verifier,
    /// Frames written so far, and bytes of data files.
    pub frames_written: u64,
    /// Bytes of data files so far.
    pub file_bytes: u64,
    /// Busy seconds by stage.
    pub stages: StageClock,
    /// CPU of the guest.
    pub clock: GuestClock,
    /// Drawn batches whose coverage is counted at the end.
    pub drawn: Vec<DrawnBatch>,
    /// Frames drawn on so far.
    pub frames_drawn: u64,
    /// Pixels changed so far, each body's by itself.
    pub pixels_drawn: u64,
    /// Bytes that were copied so far, by where they went.
    pub copied: CopiedBytes,
    /// When the job was asked for.
    pub begun: Instant,
    /// How long after that the guest got its first frames.
    pub first_batch: Option<Duration>,
    /// Warnings of the host.
    pub warnings: Vec<Warning>,
    /// Wait for each piece of work before the next is queued: the baseline that benches compare with.
    pub lockstep: bool,
    /// Whose fault the last failed call on the input was, for errors that pass through the guest.
    pub input_fault: Option<FaultKind>,
    /// Stop request.
    pub cancel: CancelToken,
    /// Where progress goes.
    pub progress: Arc<dyn Fn(Progress) + Send + Sync>,
}

impl JobState {
    /// Limits of linear memory, tables and instances for wasmtime.
    #[must_use]
    pub fn store_limits(limits: &Limits) -> StoreLimits {
        StoreLimitsBuilder::new()
            .memory_size(limits.memory_bytes)
            .table_elements(limits.table_elements)
            .instances(64)
            .memories(16)
            .tables(64)
            .trap_on_grow_failure(true)
            .build()
    }

    /// The shared engines.
    ///
    /// # Errors
    /// A trap while the guest only describes itself: it has no grants then.
    pub fn shared(&self) -> wasmtime::Result<Arc<Shared>> {
        self.shared.clone().ok_or_else(|| wasmtime::Error::msg("the host offers no engines while a guest describes itself"))
    }

    /// Notes that the guest called the host.
    pub fn touch(&self) {
        self.clock.called();
    }

    /// In lockstep, waits for a promise; what it ended with is told by whoever uses it.
    pub fn pace<T: Send + Sync + 'static>(&self, pending: &Pending<T>) -> impl Future<Output = ()> + Send + use<T> {
        let wait = self.lockstep.then(|| pending.wait());
        async {
            if let Some(wait) = wait {
                wait.await.ok();
            }
        }
    }

    /// Keeps in mind whose fault a failed call on the input was.
    pub fn blame<T>(&mut self, result: Result<T, MediaError>) -> Result<T, MediaError> {
        result.inspect_err(|e| self.input_fault = Some(if e.is_bad_input() { FaultKind::BadInput } else { FaultKind::Failed }))
    }

    /// Tells the outside how far things are.
    pub fn tell(&self, stage: Stage, done: u64, total: Option<u64>) {
        (self.progress)(Progress { stage, done, total });
    }

    /// Adds up the coverage of batches that are drawn already; with `wait`, of all.
    ///
    /// # Errors
    /// The error the drawing ended with.
    pub async fn count_drawn(&mut self, wait: bool) -> Result<(), halfpipe_core::PendingError> {
        let mut rest = Vec::new();
        for batch in std::mem::take(&mut self.drawn) {
            if !wait && batch.pixels.peek().is_none() {
                rest.push(batch);
                continue;
            }
            let pixels = batch.pixels.wait().await?;
            let frames: BTreeSet<u32> =
                batch.frames.iter().zip(pixels.iter()).filter(|(_, changed)| **changed > 0).map(|(frame, _)| *frame).collect();
            self.frames_drawn += frames.len() as u64;
            self.pixels_drawn += pixels.iter().map(|changed| u64::from(*changed)).sum::<u64>();
        }
        self.drawn = rest;
        Ok(())
    }

    /// The rig of a body the guest was granted, loaded and verified once per process.
    ///
    /// # Errors
    /// A sentence naming the body where it is missing, altered or not granted.
    pub fn rig(&self, name: &str) -> Result<Arc<BodyRig>, crate::error::HostError> {
        use crate::bindings::halfpipe::media::errors::Error;
        if !self.models.contains(name) {
            return Err(
                Error::Denied(format!("the body {name} is not among what this guest said it needs ({})", self.model_names())).into()
            );
        }
        self.shared()?.body(name).map_err(|e| Error::NotFound(e.to_string()).into())
    }

    /// Names of the granted models, for error texts.
    #[must_use]
    pub fn model_names(&self) -> String {
        self.models.iter().cloned().collect::<Vec<_>>().join(", ")
    }
}

impl Shared {
    /// The rig of a body, loaded and verified once per process.
    ///
    /// # Errors
    /// As [`BodyRig::load`].
    pub fn body(&self, name: &str) -> Result<Arc<BodyRig>, halfpipe_nn::NnError> {
        let mut bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rig) = bodies.get(name) {
            return Ok(Arc::clone(rig));
        }
        let rig = Arc::new(BodyRig::load(self.catalog.body(name)?, &self.models_dir)?);
        bodies.insert(name.to_owned(), Arc::clone(&rig));
        Ok(rig)
    }
}

impl WasiView for JobState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
