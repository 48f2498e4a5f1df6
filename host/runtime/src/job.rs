//! One job: checks, grants, the guest's run within limits, then the host's own verification before anything appears.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use halfpipe_core::{ByteBudget, Size, StageClock};
use halfpipe_media::{DecodeOptions, Decoder, Encoder, Expect, ExpectedTimes, FfmpegSource, FrameSource as _, Verifier, VideoInfo, Window};
use serde_json::{Value, json};
use wasmtime::Store;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::WasiCtx;

use halfpipe_nn::catalog::Entry;

use crate::accounting::GuestClock;
use crate::bindings::halfpipe::job::types as wit;
use crate::error::{FaultKind, RuntimeError};
use crate::grants::{self, Grants, Staged, role};
use crate::guest::{Guest, hex};
use crate::host::Host;
use crate::interfaces::objects;
use crate::limits::Limits;
use crate::motion::{self, MotionFiles};
use crate::progress::{Progress, Stage};
use crate::report::{CopiedBytes, Counts, InputFacts, JobReport, OutputFacts, Provenance, SandboxFacts, Warning};
use crate::sandbox::Sandbox;
use crate::state::{CancelToken, JobState};
use crate::{options, usage};

/// How often limits and stop requests are looked at.
const WATCH: Duration = Duration::from_millis(100);
/// How long a guest that was asked to stop may take before it is stopped.
const GRACE: Duration = Duration::from_secs(2);

/// Files to write; what is none is not made.
#[derive(Debug, Clone, Default)]
pub struct Outputs {
    /// The overlay video.
    pub video: Option<PathBuf>,
    /// poses.jsonl.
    pub poses: Option<PathBuf>,
    /// Skinned, animated glTF.
    pub glb: Option<PathBuf>,
    /// Biovision motion of the longest track; further tracks beside it.
    pub bvh: Option<PathBuf>,
    /// report.json.
    pub report: Option<PathBuf>,
}

impl Outputs {
    fn all(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        [("video", &self.video), ("poses", &self.poses), ("glb", &self.glb), ("bvh", &self.bvh), ("report", &self.report)]
            .into_iter()
            .filter_map(|(name, path)| Some((name, path.as_ref()?)))
    }
}

/// One job.
#[derive(Clone)]
pub struct Job {
    /// Its id: letters, digits, `-` and `_`.
    pub id: String,
    /// The pipeline.
    pub guest: Arc<Guest>,
    /// The video to read.
    pub input: PathBuf,
    /// What [`halfpipe_media::probe`] said of that file, where somebody asked before; none to ask now.
    pub probed: Option<VideoInfo>,
    /// What to write.
    pub outputs: Outputs,
    /// Options of the guest, a JSON object.
    pub options: Value,
    /// Frames a batch, 1 to 64.
    pub batch: u32,
    /// Part of the input.
    pub window: Option<Window>,
    /// Constant rate factor; none for the default.
    pub quality: Option<u8>,
    /// A preset of the encoder that the host has (`ultrafast` to `veryslow`, or `p1` to `p7` of NVENC); none for the default.
    pub preset: Option<String>,
    /// Wait for each piece of work before the next is queued: the baseline that benches compare with.
    pub lockstep: bool,
    /// Stop request.
    pub cancel: CancelToken,
    /// Where progress goes.
    pub progress: Arc<dyn Fn(Progress) + Send + Sync>,
}

/// A store with its limits set.
pub(crate) fn new_store(sandbox: &Sandbox, state: JobState) -> Store<JobState> {
    let call_bytes = state.limits.call_bytes;
    let mut store = Store::new(sandbox.engine(), state);
    store.limiter(|s| &mut s.store_limits);
    store.set_hostcall_fuel(call_bytes);
    store.set_epoch_deadline(1);
    store.epoch_deadline_async_yield_and_update(1);
    store
}

/// State without any grants, for a guest that only describes itself.
pub(crate) fn idle_state(limits: &Limits, guest: &str) -> JobState {
    let mut table = ResourceTable::new();
    table.set_max_capacity(limits.handles);
    JobState {
        table,
        wasi: WasiCtx::builder().build(),
        store_limits: JobState::store_limits(limits),
        budget: ByteBudget::new(limits.handle_bytes),
        limits: limits.clone(),
        shared: None,
        id: "describe".into(),
        guest: guest.to_owned(),
        models: BTreeSet::new(),
        grants: Grants { inputs: BTreeMap::new(), outputs: BTreeMap::new() },
        window: None,
        quality: None,
        preset: None,
        encoder: Encoder::default(),
        decoder: Decoder::default(),
        picture_bytes: 0,
        ready: None,
        input: None,
        frames_read: 0,
        pts: Vec::new(),
        source_warnings: Vec::new(),
        input_ended: false,
        ended_source: None,
        verifier: Verifier::default(),
        frames_written: 0,
        file_bytes: 0,
        stages: StageClock::default(),
        clock: GuestClock::default(),
        drawn: Vec::new(),
        frames_drawn: 0,
        pixels_drawn: 0,
        copied: CopiedBytes::default(),
        begun: Instant::now(),
        first_batch: None,
        warnings: Vec::new(),
        lockstep: false,
        input_fault: None,
        cancel: CancelToken::default(),
        progress: Arc::new(|_| {}),
    }
}

/// Runs guest code under its time limits; the error is one clause that says what the guest did.
pub(crate) async fn guarded<R>(
    work: impl Future<Output = wasmtime::Result<R>>,
    clock: &GuestClock,
    limits: &Limits,
    cancel: &CancelToken,
) -> Result<R, String> {
    let started = Instant::now();
    let mut asked: Option<Instant> = None;
    let mut work = clock.watch(work);
    let mut tick = tokio::time::interval(WATCH);
    loop {
        tokio::select! {
            result = &mut work => return result.map_err(|e| format!("was stopped: {}", cause(&e))),
            _ = tick.tick() => {}
        }
        if cancel.is_cancelled() && asked.get_or_insert_with(Instant::now).elapsed() > GRACE {
            return Err("did not stop when it was asked to".into());
        }
        if clock.spinning() > limits.spin {
            return Err(format!("computed for more than {:?} without a call to the host; is it in an endless loop?", limits.spin));
        }
        if clock.stalled() > limits.stall {
            return Err(format!("neither read nor wrote a frame for {:?}", limits.stall));
        }
        if let Some(wall) = limits.wall.filter(|wall| started.elapsed() > *wall) {
            return Err(format!("took longer than the {wall:?} that a job may take"));
        }
    }
}

/// The innermost cause of a trap, without the wasm backtrace.
fn cause(error: &wasmtime::Error) -> String {
    let mut text = error.root_cause().to_string();
    if let Some(cut) = text.find("\nCaused by") {
        text.truncate(cut);
    }
    text.lines().next().unwrap_or_default().to_owned()
}

/// The folder a path lies in.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

impl Job {
    /// What can be said before anything is started.
    fn check(&self) -> Result<(), RuntimeError> {
        let bad = |m: String| Err(RuntimeError::BadInput(m));
        if !(1..=64).contains(&self.batch) {
            return bad(format!("a batch of {} frames; it must be 1 to 64", self.batch));
        }
        if self.outputs.all().next().is_none() {
            return bad("nothing to write; name at least one output".into());
        }
        if let Some(video) = &self.outputs.video
            && !video.is_dir()
        {
            halfpipe_media::Container::of(video)?;
        }
        let input = std::fs::canonicalize(&self.input).ok();
        let mut seen: BTreeMap<PathBuf, &str> = BTreeMap::new();
        for (name, path) in self.outputs.all() {
            let place = std::fs::canonicalize(folder(path)).map_or_else(|_| path.clone(), |f| f.join(path.file_name().unwrap_or_default()));
            let real = std::fs::canonicalize(path).unwrap_or_else(|_| place.clone());
            if input.as_ref() == Some(&real) {
                return bad(format!("the {name} output {} is the input itself; choose another file", path.display()));
            }
            if let Some(other) = seen.insert(place, name) {
                return bad(format!("the {name} and {other} outputs are the same file {}; choose two", path.display()));
            }
        }
        Ok(())
    }

    /// Stages everything the guest or the host will write.
    fn grants(&self) -> Result<Grants, RuntimeError> {
        let mut outputs = BTreeMap::new();
        if let Some(video) = &self.outputs.video {
            outputs.insert(role::OUTPUT.to_owned(), Staged::new(video, &self.id)?);
        }
        let motion = self.outputs.glb.as_ref().or(self.outputs.bvh.as_ref());
        match (&self.outputs.poses, motion) {
            (Some(poses), _) => drop(outputs.insert(role::POSES.to_owned(), Staged::new(poses, &self.id)?)),
            // motion files are made from the poses, wanted or not
            (None, Some(motion)) => {
                let staged = Staged::intermediate(folder(motion), "poses.jsonl", &self.id)?;
                drop(outputs.insert(role::POSES.to_owned(), staged));
            }
            (None, None) => {}
        }
        Ok(Grants { inputs: BTreeMap::from([(role::INPUT.to_owned(), self.input.clone())]), outputs })
    }
}

/// What a guest needs, split by kind and loaded.
struct Needs {
    names: BTreeSet<String>,
    bodies: Vec<String>,
    provenance: Provenance,
}

impl Host {
    /// Runs one job to its end. Nothing is visible at the outputs' places unless this returns a report.
    ///
    /// # Errors
    /// What went wrong and what to do about it; everything the job held is freed and no file is left behind.
    pub async fn run(&self, mut job: Job) -> Result<JobReport, RuntimeError> {
        let begun = Instant::now();
        job.check()?;
        if let Some(preset) = &job.preset {
            self.encoder_of(&job).check_preset(preset)?;
        }
        if job.window.is_some_and(|w| w.part.is_some()) {
            options::settle_for_part(&job.guest.description.options_schema, &mut job.options);
        }
        let guest = &job.guest;
        options::check(&guest.description.options_schema, &job.options)
            .map_err(|message| RuntimeError::Options { guest: guest.description.name.clone(), message })?;
        let stages = StageClock::default();
        let (ready, needs, load) = self.prepare(&job, &stages).await?;
        let grants = job.grants()?;

        let (started, cpu) = (Instant::now(), usage::cpu_secs());
        let (mut state, report, instantiate) = self.run_guest(&job, grants, &needs, (ready, stages, begun)).await?;
        state.tell(Stage::Finishing, report.frames, Some(report.frames));
        self.verify(&job, &mut state, &report).await?;
        self.export_motion(&job, &mut state, &needs)?;
        if job.cancel.is_cancelled() {
            return Err(RuntimeError::Cancelled);
        }
        let wall = started.elapsed().as_secs_f64();
        let outcome = Outcome { wall, load: load.as_secs_f64(), cpu: usage::cpu_secs() - cpu, instantiate };
        if let Some(message) = self.shared.codecs.warning.clone() {
            state.warnings.push(Warning { code: "software_video".into(), message });
        }
        let report = make_report(&job, &state, report, needs, &outcome)?;
        self.stage_report(&job, &mut state, &report)?;
        grants::publish(&state.grants.outputs)?;
        Ok(report)
    }

    /// What encodes this job's video.
    fn encoder_of(&self, job: &Job) -> Encoder {
        self.shared.codecs.encoder_of(job.window.is_some_and(|w| w.part.is_some()))
    }

    /// Looks at the input and starts to decode it, while what the guest needs is loaded, and says how long that loading took. Of two
    /// faults the input's is told, and at once.
    async fn prepare(&self, job: &Job, stages: &StageClock) -> Result<(FfmpegSource, Needs, Duration), RuntimeError> {
        let (tools, input, probed) = (self.shared.tools.clone(), job.input.clone(), job.probed.clone());
        let probing = tokio::task::spawn_blocking(move || probed.map_or_else(|| halfpipe_media::probe(&tools, &input), Ok));
        let mut loading = pin!(async {
            let start = Instant::now();
            let needs = self.load_needs(job).await?;
            Ok::<_, RuntimeError>((needs, start.elapsed()))
        });
        let mut loaded = None;
        let mut probing = pin!(probing);
        let probed = loop {
            tokio::select! {
                probed = &mut probing => break probed.map_err(|e| RuntimeError::Engine(format!("ffprobe was not waited for: {e}")))??,
                needs = &mut loading, if loaded.is_none() => loaded = Some(needs),
            }
        };
        (job.progress)(Progress { stage: Stage::Loading, done: 0, total: None });
        let picture_bytes = probed.format.size.picture_bytes() as u64;
        let options = DecodeOptions {
            window: job.window,
            clock: stages.clone(),
            decoder: self.shared.codecs.decoder,
            ..DecodeOptions::new(objects::queue(picture_bytes, job.lockstep))
        };
        let ready = FfmpegSource::open_probed(&self.shared.tools, &job.input, probed, options)?;
        let (needs, load) = match loaded {
            Some(needs) => needs?,
            None => loading.await?,
        };
        Ok((ready, needs, load))
    }

    /// Asks the guest what it needs and loads it, digests checked.
    async fn load_needs(&self, job: &Job) -> Result<Needs, RuntimeError> {
        let guest = &job.guest;
        let names = self.needs(guest, &job.options.to_string()).await?;
        let (mut models, mut licences, mut bodies) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        let entries = names.iter().map(|name| self.shared.catalog.entry(name)).collect::<Result<Vec<_>, _>>()?;
        // the lane has as many threads for this as it has for inferences
        futures::future::try_join_all(names.iter().map(|name| self.load_model(name))).await?;
        for (name, entry) in names.iter().zip(entries) {
            if matches!(entry, Entry::Body(_)) {
                bodies.push(name.clone());
            }
            models.insert(name.clone(), entry.onnx().sha256.to_string());
            // a rig, or weights that lie beside the graph
            let others = entry.files().into_iter().filter(|file| file.file != entry.onnx().file);
            models.extend(others.map(|file| (format!("{name}/{}", file.file), file.sha256.to_string())));
            licences.insert(name.clone(), entry.licence().to_owned());
        }
        let (device, adapter) = (self.shared.nn.device(), self.shared.draw.adapter());
        let provenance = Provenance {
            host_version: env!("CARGO_PKG_VERSION").to_owned(),
            guest: guest.description.name.clone(),
            guest_version: guest.description.version.clone(),
            guest_sha256: guest.sha256.clone(),
            models,
            licences,
            execution_provider: format!("{} ({}, {})", device.provider, device.device, device.library),
            precision: device.precision.clone(),
            adapter: format!("{} ({})", adapter.name, adapter.backend),
            adapter_software: adapter.software,
            ffmpeg: self.shared.tools.ffmpeg_version.clone(),
        };
        Ok(Needs { names: names.into_iter().collect(), bodies, provenance })
    }

    /// Instantiates the guest and calls `run` under the job's limits. Gives back the state with the guest gone.
    async fn run_guest(
        &self,
        job: &Job,
        grants: Grants,
        needs: &Needs,
        (ready, stages, begun): (FfmpegSource, StageClock, Instant),
    ) -> Result<(JobState, wit::Report, Duration), RuntimeError> {
        let guest_fault = |message: String| RuntimeError::Guest { guest: job.guest.description.name.clone(), message };
        let roles: Vec<String> = grants.inputs.keys().chain(grants.outputs.keys()).cloned().collect();
        let mut provenance = serde_json::to_value(&needs.provenance).map_err(|e| RuntimeError::Engine(e.to_string()))?;
        if let Some(part) = job.window.and_then(|w| w.part) {
            // what the parts of one plan must have in common, where a guest cannot know it
            let encoder = job.outputs.video.as_ref().map(|_| self.encoder_of(job).name());
            provenance["window"] = json!({
                "plan": hex(&part.plan), "index": part.index, "quality": job.quality, "preset": job.preset, "encoder": encoder,
            });
        }
        let state = JobState {
            shared: Some(Arc::new(self.shared.for_job())),
            id: job.id.clone(),
            models: needs.names.clone(),
            grants,
            window: job.window,
            picture_bytes: ready.info().format.size.picture_bytes() as u64,
            ready: Some(ready),
            stages,
            begun,
            quality: job.quality,
            preset: job.preset.clone(),
            encoder: self.encoder_of(job),
            decoder: self.shared.codecs.decoder,
            lockstep: job.lockstep,
            cancel: job.cancel.clone(),
            progress: Arc::clone(&job.progress),
            ..idle_state(&self.limits, &job.guest.description.name)
        };
        let clock = state.clock.clone();
        let mut store = new_store(&self.sandbox, state);
        let started = Instant::now();
        let instance =
            job.guest.pre().instantiate_async(&mut store).await.map_err(|e| guest_fault(format!("cannot be started: {}", cause(&e))))?;
        let instantiate = started.elapsed();
        let spec =
            wit::Spec { id: job.id.clone(), options: job.options.to_string(), batch: job.batch, roles, provenance: provenance.to_string() };
        let run = instance.halfpipe_job_runner().call_run(&mut store, &spec);
        let result = guarded(run, &clock, &self.limits, &job.cancel).await;
        let state = store.into_data();
        if job.cancel.is_cancelled() {
            return Err(RuntimeError::Cancelled);
        }
        match result.map_err(guest_fault)? {
            Ok(report) => Ok((state, report, instantiate)),
            Err(wit::Failure::Cancelled) => Err(guest_fault("says it was cancelled, but nobody asked it to stop".into())),
            Err(wit::Failure::BadInput(message)) => Err(reported(&state, FaultKind::BadInput, &message)),
            Err(wit::Failure::BadModel(message)) => Err(reported(&state, FaultKind::BadModel, &message)),
            Err(wit::Failure::Failed(message)) => Err(reported(&state, state.input_fault.unwrap_or(FaultKind::Failed), &message)),
        }
    }

    /// Compares what the guest says with what the host saw, and opens what was written.
    async fn verify(&self, job: &Job, state: &mut JobState, report: &wit::Report) -> Result<(), RuntimeError> {
        let lies = |message: String| RuntimeError::Guest { guest: job.guest.description.name.clone(), message };
        state.count_drawn(true).await.map_err(|e| RuntimeError::Reported { kind: FaultKind::Failed, message: e.to_string() })?;
        for (name, staged) in &state.grants.outputs {
            if !staged.created {
                return Err(lies(format!("ended without making the output {name:?}")));
            }
            if !staged.finished {
                return Err(lies(format!("ended without finishing the output {name:?}")));
            }
        }
        if !state.input_ended {
            return Err(lies(format!("read {} frames and then stopped before the end of the input", state.frames_read)));
        }
        if let Some(part) = job.window.and_then(|w| w.part).filter(|part| part.reads != state.frames_read) {
            let (index, reads, read) = (part.index, part.reads, state.frames_read);
            return Err(RuntimeError::BadInput(format!(
                "window {index} has {reads} frames by its plan, but {read} could be read: the video is damaged or tells its frames wrongly, so write it anew with ffmpeg and split that"
            )));
        }
        if report.frames != state.frames_read {
            return Err(lies(format!("reports {} frames where {} were read", report.frames, state.frames_read)));
        }
        if report.frames_drawn != state.frames_drawn {
            return Err(lies(format!("reports {} frames drawn on where {} changed", report.frames_drawn, state.frames_drawn)));
        }
        let Some(staged) = state.grants.outputs.get(role::OUTPUT) else { return Ok(()) };
        // every frame that was read, or of a window of a plan its own
        let pts = job.window.map_or(state.pts.as_slice(), |w| w.written(&state.pts));
        let frames = pts.len() as u64;
        if staged.frames != Some(frames) {
            let written = staged.frames.unwrap_or(0);
            return Err(lies(format!("wrote {written} frames where {frames} were read")));
        }
        let (Some(info), Some(size)) = (&state.input, staged.size) else { return Ok(()) };
        let times = ExpectedTimes { time_base: info.format.time_base, pts };
        let expect = Expect { frames, size, times: Some(times) };
        let verifier = std::mem::take(&mut state.verifier);
        state.stages.time("verify", state.frames_read, || verifier.verify(&self.shared.tools, &staged.path, expect))?;
        Ok(())
    }

    /// Makes .glb and .bvh from the poses.
    fn export_motion(&self, job: &Job, state: &mut JobState, needs: &Needs) -> Result<(), RuntimeError> {
        if job.outputs.glb.is_none() && job.outputs.bvh.is_none() {
            return Ok(());
        }
        let Some(poses) = state.grants.outputs.get(role::POSES).map(|s| s.path.clone()) else { return Ok(()) };
        let [body] = needs.bodies.as_slice() else {
            let message = format!("motion files need a pipeline with exactly one body; this one uses {}", needs.bodies.len());
            return Err(RuntimeError::BadInput(message));
        };
        let rig = self.shared.body(body)?;
        let stages = state.stages.clone();
        let start = Instant::now();
        let files = MotionFiles { glb: job.outputs.glb.as_deref(), bvh: job.outputs.bvh.as_deref() };
        let made = motion::export(files, &job.id, &rig, needs.provenance.licences.get(body).map_or("", String::as_str), &poses)?;
        stages.add("motion", start.elapsed(), state.frames_read);
        state.warnings.extend(made.warnings);
        state.grants.outputs.extend(made.staged);
        Ok(())
    }

    /// Stages report.json beside the other outputs.
    fn stage_report(&self, job: &Job, state: &mut JobState, report: &JobReport) -> Result<(), RuntimeError> {
        let Some(path) = &job.outputs.report else { return Ok(()) };
        let mut staged = Staged::new(path, &job.id)?;
        let text = serde_json::to_string_pretty(report).map_err(|e| RuntimeError::Engine(e.to_string()))?;
        std::fs::write(&staged.path, text + "\n").map_err(|e| RuntimeError::Output { path: path.clone(), message: e.to_string() })?;
        staged.finished = true;
        state.grants.outputs.insert("report".to_owned(), staged);
        Ok(())
    }
}

/// A failure that the guest reported; staged files are called by the names their owner knows.
fn reported(state: &JobState, kind: FaultKind, message: &str) -> RuntimeError {
    let mut message = message.to_owned();
    for staged in state.grants.outputs.values() {
        let name = staged.target.as_ref().unwrap_or(&staged.path);
        message = message.replace(&staged.path.display().to_string(), &name.display().to_string());
    }
    RuntimeError::Reported { kind, message }
}

/// Times of a job.
struct Outcome {
    wall: f64,
    load: f64,
    cpu: f64,
    instantiate: Duration,
}

fn make_report(job: &Job, state: &JobState, report: wit::Report, needs: Needs, outcome: &Outcome) -> Result<JobReport, RuntimeError> {
    let info = state.input.as_ref().ok_or_else(|| RuntimeError::Engine("a finished job without an input".into()))?;
    let Size { width, height } = info.format.size;
    let settings: Value = serde_json::from_str(&report.settings).map_err(|e| RuntimeError::Guest {
        guest: job.guest.description.name.clone(),
        message: format!("reports settings that are not JSON: {e}"),
    })?;
    let mut warnings = state.warnings.clone();
    warnings.extend(state.source_warnings.iter().map(|m| Warning { code: "input".into(), message: m.clone() }));
    warnings.extend(report.warnings.into_iter().map(|w| Warning { code: w.code, message: w.message }));
    if needs.provenance.adapter_software && state.frames_drawn > 0 {
        let message = format!("bodies were drawn by the software adapter {}", needs.provenance.adapter);
        warnings.push(Warning { code: "software_renderer".into(), message });
    }
    let (sections, host_calls) = state.clock.totals();
    let to_guest = state.clock.reads().values().sum();
    let without_fit: f64 = sections.iter().filter(|(name, _)| *name != "fit").map(|(_, secs)| secs).sum();
    Ok(JobReport {
        schema: "halfpipe.report/1",
        job: job.id.clone(),
        status: "complete",
        input: InputFacts {
            width,
            height,
            frame_rate: info.frame_rate.as_f64(),
            duration_seconds: info.duration_secs,
            rotation: info.rotation,
            codec: info.codec.clone(),
            audio_streams: info.audio.len(),
        },
        outputs: state
            .grants
            .outputs
            .iter()
            .filter_map(|(role, staged)| {
                let path = staged.target.as_ref()?.display().to_string();
                Some(OutputFacts { role: role.clone(), path, bytes: staged.bytes, frames: staged.frames })
            })
            .collect(),
        counts: Counts {
            frames: report.frames,
            frames_drawn: state.frames_drawn,
            pixels_drawn: state.pixels_drawn,
            people: report.people,
            tracks: report.tracks,
            statuses: report.statuses.into_iter().collect(),
            other: report.counts.into_iter().collect(),
        },
        settings: json!({
            "batch": job.batch,
            "quality": state.quality,
            "preset": state.preset,
            "video": { "decoder": state.decoder.name(), "encoder": job.outputs.video.as_ref().map(|_| state.encoder.name()) },
            "window": job.window.map(|w| [w.start_secs, w.end_secs]),
            "guest": settings,
        }),
        wall_seconds: outcome.wall,
        load_seconds: outcome.load,
        first_batch_seconds: state.first_batch.map(|d| d.as_secs_f64()),
        frames_per_second: report.frames as f64 / outcome.wall.max(1e-9),
        cpu_seconds: outcome.cpu,
        peak_rss_bytes: usage::peak_rss_bytes(),
        stages: state.stages.snapshot().into_iter().map(|(name, times)| (name, times.into())).collect(),
        copied_bytes: CopiedBytes { to_guest, from_guest: state.file_bytes, ..state.copied },
        sandbox: SandboxFacts {
            host_calls,
            tensor_bytes_read: to_guest,
            tensors_read: state.clock.reads(),
            instantiate_microseconds: outcome.instantiate.as_secs_f64() * 1e6,
            share_without_fit: without_fit / outcome.cpu.max(1e-9),
            cpu_seconds: sections,
        },
        warnings,
        provenance: needs.provenance,
    })
}
