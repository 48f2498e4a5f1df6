//! One attempt at one job: fetch, run, store, settle. The lease is renewed all the while; whoever loses it stops and leaves no trace.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use halfpipe_runtime::report::Warning;
use halfpipe_runtime::{CancelToken, FaultKind, Job, JobReport, Outputs, Progress, RuntimeError, Stage};
use halfpipe_store::{Key, ObjectMeta, ObjectStore, PutMode, StoreError};
use serde_json::Value;
use tracing::{Instrument, Span};

use crate::app::{App, AppError};
use crate::jobs::batches::Batches;
use crate::jobs::ledger::LedgerError;
use crate::jobs::live::LiveProgress;
use crate::jobs::record::{JobError, Output, ProgressRecord, Record, State};
use crate::jobs::windows::{self, Shared};

/// Prefix of folders in the spool that are this service's own.
const SPOOL_PREFIX: &str = "job-";
/// Piece in which inputs are copied.
const PIECE: usize = 256 << 10;

/// Makes the spool and removes folders in it whose process is gone.
///
/// # Errors
/// Where the folder cannot be made or read.
pub fn settle_spool(spool: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(spool)?;
    for entry in std::fs::read_dir(spool)?.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|n| n.strip_prefix(SPOOL_PREFIX)?.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            std::fs::remove_dir_all(entry.path())?;
            tracing::info!(folder = %entry.path().display(), "removed what a killed process left in the spool");
        }
    }
    Ok(())
}

/// A folder in the spool that dies with its owner.
///
/// # Errors
/// Where it cannot be made.
pub fn spool_folder(spool: &Path) -> std::io::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix(&format!("{SPOOL_PREFIX}{}-", std::process::id())).tempdir_in(spool)
}

/// Why an attempt was stopped before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Stopped {
    No = 0,
    /// The client asked.
    Asked = 1,
    /// The process is shutting down.
    Leaving = 2,
    /// Another process has the job.
    Lost = 3,
}

/// What an attempt came to, where nothing went wrong.
enum Attempted {
    /// The results, and the report as the record keeps it.
    Done(Vec<Output>, Value),
    /// The job waits until its windows have ended.
    Parted,
}

/// What the running attempt and its heartbeat share.
pub(super) struct Pulse {
    pub(super) cancel: CancelToken,
    stopped: AtomicU8,
    progress: LiveProgress,
    running_since: Mutex<Option<Instant>>,
    batches: Mutex<Batches>,
}

impl Pulse {
    fn new(job: Span) -> Self {
        Self {
            cancel: CancelToken::default(),
            stopped: AtomicU8::new(Stopped::No as u8),
            progress: Arc::new(Mutex::new(ProgressRecord { stage: "fetching".into(), ..ProgressRecord::default() })),
            running_since: Mutex::new(None),
            batches: Mutex::new(Batches::new(job)),
        }
    }

    /// The first reason stands, except that a lost lease outweighs the others.
    fn stop(&self, why: Stopped) {
        if why == Stopped::Lost {
            self.stopped.store(why as u8, Ordering::Release);
        } else {
            // keeping the earlier reason is what is wanted when there is one
            self.stopped.compare_exchange(Stopped::No as u8, why as u8, Ordering::AcqRel, Ordering::Acquire).ok();
        }
        self.cancel.cancel();
    }

    fn why(&self) -> Stopped {
        match self.stopped.load(Ordering::Acquire) {
            1 => Stopped::Asked,
            2 => Stopped::Leaving,
            3 => Stopped::Lost,
            _ => Stopped::No,
        }
    }

    pub(super) fn stage(&self, name: &str) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        name.clone_into(&mut progress.stage);
    }

    fn show(&self, seen: Progress) {
        let mut batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.stage {
            Stage::Loading | Stage::Opening => batches.begin(),
            Stage::Running => batches.reached(seen.done, seen.total),
            Stage::Finishing => batches.end(),
        }
        drop(batches);
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.stage = match seen.stage {
            Stage::Loading => "loading",
            Stage::Opening => "opening",
            Stage::Running => "running",
            Stage::Finishing => "finishing",
        }
        .into();
        if seen.stage == Stage::Running {
            let since = *self.running_since.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
            progress.frames_done = seen.done;
            progress.frames_total = seen.total;
            let fraction = seen.total.filter(|t| *t > 0).map(|t| (seen.done as f64 / t as f64).min(1.0));
            progress.fraction = fraction;
            progress.eta_seconds = fraction.filter(|f| *f > 0.0).map(|f| since.elapsed().as_secs_f64() * (1.0 - f) / f);
        }
    }

    fn progress(&self) -> ProgressRecord {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Works on a claimed job until it is settled, or handed over because `leaving` was cancelled. An attempt that has not ended at `ends` has
/// failed in a way that may pass.
///
/// # Errors
/// Where the record cannot be settled: the lease will run out and the job be taken up again.
pub async fn work(
    app: &Arc<App>,
    record: Record,
    leaving: &tokio_util::sync::CancellationToken,
    ends: Option<tokio::time::Instant>,
) -> Result<(), AppError> {
    let Some(token) = record.lease.as_ref().map(|l| l.token) else { return Ok(()) };
    let span = tracing::info_span!("job", job = record.id, attempt = record.attempts, lease = token, pipeline = record.spec.pipeline);
    let pulse = Arc::new(Pulse::new(span.clone()));
    app.live.begin(&record.id, token, &pulse.progress);
    run(app, record, token, pulse, leaving, ends).instrument(span).await
}

/// Works on a job within its span.
async fn run(
    app: &Arc<App>,
    record: Record,
    token: u64,
    pulse: Arc<Pulse>,
    leaving: &tokio_util::sync::CancellationToken,
    ends: Option<tokio::time::Instant>,
) -> Result<(), AppError> {
    let id = record.id.clone();
    tracing::info!("job taken up");
    let beat = beat(Arc::clone(app), id.clone(), token, Arc::clone(&pulse), leaving.clone());
    let beat = tokio::spawn(beat.in_current_span());
    let begun = Instant::now();
    let attempt = attempt(app, &record, token, &pulse);
    let outcome = match ends {
        Some(ends) => tokio::time::timeout_at(ends, attempt).await.unwrap_or_else(|_| {
            let message = format!("the {:.0} s that this process may take were over before it was done", begun.elapsed().as_secs_f64());
            Err(JobError { code: "interrupted".into(), message, passing: true })
        }),
        None => attempt.await,
    };
    beat.abort();
    let settled = settle(app, &id, token, outcome, pulse.why(), record.attempts).await;
    match settled {
        Ok(after) => {
            let (state, frames, seconds) = (after.state.name(), after.progress.frames_done, begun.elapsed().as_secs_f64());
            tracing::info!(state, frames, seconds, "attempt ended");
            if after.state.is_final() {
                metrics::histogram!("halfpipe_job_seconds").record(begun.elapsed().as_secs_f64());
                metrics::counter!("halfpipe_frames_total").increment(if after.state == State::Complete {
                    after.progress.frames_done
                } else {
                    0
                });
                ended(app, &after).await;
            } else if after.parts.is_some() && after.lease.is_none() {
                // those that ended before the job was put back have told nobody
                windows::look_at(app, &after).await?;
            }
            Ok(())
        }
        Err(AppError::Ledger(LedgerError::LeaseLost { .. })) => {
            tracing::warn!(job = id, token, "lost the lease; what was done counts for nothing");
            Ok(())
        }
        Err(e) => Err(e),
    }
}

/// What follows from the end of a job, whoever ended it: it is counted, its input goes, and who wants to know is told.
pub(crate) async fn ended(app: &Arc<App>, record: &Record) {
    metrics::counter!("halfpipe_jobs_total", "state" => record.state.name()).increment(1);
    forget_input(app, record).await;
    windows::clear(app, record).await;
    if let Err(error) = windows::part_ended(app, record).await {
        tracing::warn!(job = record.id, %error, "the job that this one is a window of could not be told; it looks by itself");
    }
    crate::webhook::tell(app, record).await;
}

/// Renews the lease at least three times in its span, tells progress, and watches for reasons to stop. The first renewals come sooner,
/// since people watch the beginning and most jobs are short; each is a read and a write of the store.
async fn beat(app: Arc<App>, id: String, token: u64, pulse: Arc<Pulse>, leaving: tokio_util::sync::CancellationToken) {
    let lease = app.ledger.lease();
    let mut pauses = pauses(lease);
    let mut good_until = Instant::now() + lease;
    let mut asked_here = app.cancels.subscribe();
    loop {
        tokio::select! {
            () = tokio::time::sleep(pauses.next().unwrap_or(lease / 3)) => {}
            // who asked for a stop in this process need not wait for the next renewal
            Ok(()) = asked_here.changed() => {}
            () = leaving.cancelled(), if pulse.why() == Stopped::No => pulse.stop(Stopped::Leaving),
        }
        let (job, progress) = (id.clone(), pulse.progress());
        let asked = Instant::now();
        let renewed = app.blocking(move |app| app.ledger.heartbeat(&job, token, &progress));
        // a store that does not answer in time has told us nothing either
        let Ok(renewed) = tokio::time::timeout_at(good_until.into(), renewed).await else { return pulse.stop(Stopped::Lost) };
        match renewed {
            Ok(record) => {
                good_until = asked + lease;
                if record.cancel_requested {
                    pulse.stop(Stopped::Asked);
                }
            }
            Err(AppError::Ledger(LedgerError::LeaseLost { .. } | LedgerError::Unknown(_))) => return pulse.stop(Stopped::Lost),
            Err(error) => {
                tracing::warn!(job = id, %error, "cannot renew the lease");
                if Instant::now() >= good_until {
                    // nobody can tell us whether the job is still ours, so it is not
                    return pulse.stop(Stopped::Lost);
                }
            }
        }
    }
}

/// Pauses between renewals: a second, doubled each time, up to a third of the lease.
fn pauses(lease: Duration) -> impl Iterator<Item = Duration> {
    let most = lease / 3;
    std::iter::successors(Some(Duration::from_secs(1).min(most)), move |pause| Some((*pause * 2).min(most)))
}

/// Fetches, runs and stores; gives what the record is to say.
async fn attempt(app: &Arc<App>, record: &Record, token: u64, pulse: &Arc<Pulse>) -> Result<Attempted, JobError> {
    let spec = &record.spec;
    let windows = windows::of(app, record).await?;
    if let Some(windows) = &windows
        && windows.are_open()?
    {
        return Ok(Attempted::Parted);
    }
    let folder = spool_folder(&app.config.spool).map_err(|e| environment(format!("the spool cannot be written to: {e}")))?;
    let input = {
        let (key, etag) = (spec.input.clone(), spec.input_etag.clone());
        let (target, cancel) = (folder.path().to_owned(), pulse.cancel.clone());
        app.blocking(move |app| Ok::<_, AppError>(fetch(app, (&key, etag.as_deref()), &target, "input", &cancel)))
            .await
            .map_err(|e| app_error(&e))??
    };
    match windows::share(app, (record, token), pulse, &input, folder.path(), windows).await? {
        Shared::Whole => {}
        Shared::Parted => return Ok(Attempted::Parted),
        Shared::Joined(joined) => {
            pulse.stage("storing");
            let (id, prefix) = (record.id.clone(), spec.output_prefix.clone());
            let folder = app.blocking(move |app| app.ledger.begin_storing(&id, token)).await.map_err(|e| app_error(&e))?;
            let stored = store(app, record, token, &format!("{prefix}{folder}"), joined.made, joined.report).await;
            return stored.map(|(outputs, report)| Attempted::Done(outputs, report)).map_err(|e| app_error(&e));
        }
    }
    let window = match spec.window.clone() {
        None => None,
        Some(planned) => {
            let file = input.clone();
            let checked = app.blocking(move |_| Ok::<_, AppError>(planned.check_source(&file).map(|()| planned)));
            let planned = checked
                .await
                .map_err(|e| app_error(&e))?
                .map_err(|e| bad_input(e.to_string().replace(&input.display().to_string(), &spec.input)))?;
            Some(planned.window().map_err(|e| bad_input(e.to_string()))?)
        }
    };
    pulse.stage("loading");
    let host = app.engines.wait().await.map_err(environment)?;
    let guest = app.shelf.get(&host, &spec.pipeline).await.map_err(|e| runtime_error(&e))?;
    let made = folder.path().join("made");
    std::fs::create_dir(&made).map_err(|e| environment(format!("the spool cannot be written to: {e}")))?;
    let want = |wanted: bool, name: &str| wanted.then(|| made.join(name));
    let outputs = Outputs {
        video: want(spec.outputs.video, "overlay.mp4"),
        poses: want(spec.outputs.poses, "poses.jsonl"),
        glb: want(spec.outputs.glb, "motion.glb"),
        bvh: want(spec.outputs.bvh, "motion.bvh"),
        report: None,
    };
    // clients know keys, not where things lie here
    let by_keys =
        |text: &str, prefix: &str| text.replace(&format!("{}/", made.display()), prefix).replace(&input.display().to_string(), &spec.input);
    let seen = Arc::clone(pulse);
    let job = Job {
        id: record.id.clone(),
        guest,
        input: input.clone(),
        outputs,
        options: Value::Object(spec.options.clone()),
        probed: app.probes.take(&spec.input, spec.input_etag.as_deref()),
        batch: spec.batch,
        window,
        quality: None,
        preset: None,
        lockstep: false,
        cancel: pulse.cancel.clone(),
        progress: Arc::new(move |progress| seen.show(progress)),
    };
    let running = host.run(job);
    let report = match app.config.job_timeout {
        Some(limit) => tokio::time::timeout(limit, running).await.map_err(|_| JobError {
            code: "failed".into(),
            message: format!("it took longer than the {} s that one job may take; give it a shorter clip", limit.as_secs()),
            passing: false,
        })?,
        None => running.await,
    }
    .map_err(|e| {
        let error = runtime_error(&e);
        JobError { message: by_keys(&error.message, &spec.output_prefix), ..error }
    })?;
    pulse.stage("storing");
    let id = record.id.clone();
    let folder = app.blocking(move |app| app.ledger.begin_storing(&id, token)).await.map_err(|e| app_error(&e))?;
    let prefix = format!("{}{folder}", spec.output_prefix);
    let warnings = report.warnings.iter().map(|w| Warning { code: w.code.clone(), message: by_keys(&w.message, &prefix) }).collect();
    let report = JobReport { warnings, ..report };
    let made = report.outputs.iter().map(|made| Made {
        // the guest's name for the overlay; clients ask for the video
        role: if made.role == "output" { "video".into() } else { made.role.clone() },
        path: PathBuf::from(&made.path),
        frames: made.frames,
    });
    let value = serde_json::to_value(&report).map_err(|e| environment(format!("the report cannot be written: {e}")))?;
    let stored = store(app, record, token, &prefix, made.collect(), value).await;
    stored.map(|(outputs, report)| Attempted::Done(outputs, report)).map_err(|e| app_error(&e))
}

/// A result as a file.
pub(super) struct Made {
    /// What it is.
    pub role: String,
    /// Where it is. It is named so in the store as well.
    pub path: PathBuf,
    /// Frames, of a video.
    pub frames: Option<u64>,
}

/// Puts the results under their keys and gives them with the report as the record keeps it.
async fn store(
    app: &Arc<App>,
    record: &Record,
    token: u64,
    prefix: &str,
    all: Vec<Made>,
    mut report: Value,
) -> Result<(Vec<Output>, Value), AppError> {
    let (mut outputs, mut keyed) = (Vec::new(), Vec::new());
    let place = Arc::clone(app.results_of(record));
    // what was really made: further tracks have .bvh files of their own
    for Made { role, path, frames } in all {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or(&role).to_owned();
        let key = Key::new(format!("{prefix}{name}")).map_err(LedgerError::from)?;
        let (id, at, store) = (record.id.clone(), key.clone(), Arc::clone(&place));
        let put = move |app: &App| put_fenced(app, store.as_ref(), &id, token, &at, |mode| store.put_file(&at, &path, mode));
        let meta = app.blocking(put).await?;
        // paths of the spool mean nothing to anybody; keys do
        keyed.push(serde_json::json!({ "role": role, "key": key.to_string(), "bytes": meta.size, "frames": frames }));
        outputs.push(Output { role, key: key.to_string(), bytes: meta.size, etag: meta.etag });
    }
    report["outputs"] = keyed.into();
    let key = Key::new(format!("{prefix}report.json")).map_err(LedgerError::from)?;
    let (id, at, text) = (record.id.clone(), key.clone(), report.to_string());
    let put = move |app: &App| put_fenced(app, place.as_ref(), &id, token, &at, |mode| place.put(&at, text.as_bytes(), mode));
    let meta = app.blocking(put).await?;
    outputs.push(Output { role: "report".into(), key: key.to_string(), bytes: meta.size, etag: meta.etag });
    Ok((outputs, report))
}

/// Puts a result unless somebody else owns the job by now.
///
/// The order is what makes it safe: look at what is there, then make sure that the lease is ours, then put on condition that
/// nothing changed since the look. A successor can only have written after the lease was lost, so after the look; the put fails.
/// Where versions are digests of bytes, a successor's equal bytes would pass for no change: it puts elsewhere, see
/// [`crate::jobs::Ledger::begin_storing`].
fn put_fenced(
    app: &App,
    store: &dyn ObjectStore,
    id: &str,
    token: u64,
    key: &Key,
    put: impl FnOnce(PutMode) -> Result<ObjectMeta, StoreError>,
) -> Result<ObjectMeta, AppError> {
    let mode = match store.head(key) {
        Ok(there) => PutMode::Update(there.etag),
        Err(StoreError::NotFound { .. }) => PutMode::Create,
        Err(e) => return Err(e.into()),
    };
    let record = app.ledger.get(id)?;
    if record.lease.as_ref().is_none_or(|l| l.token != token) {
        return Err(LedgerError::LeaseLost { id: id.to_owned(), token }.into());
    }
    Ok(put(mode)?)
}

/// Brings an object to a local file `name` in `folder`.
pub(super) fn fetch(
    app: &App,
    (key, etag): (&str, Option<&str>),
    folder: &Path,
    name: &str,
    cancel: &CancelToken,
) -> Result<PathBuf, JobError> {
    let reserve = app.config.disk_reserve_bytes;
    let key = Key::new(key).map_err(|e| bad_input(e.to_string()))?;
    let meta = app.store.head(&key).map_err(|e| store_error(&e))?;
    if etag.is_some_and(|expected| expected != meta.etag) {
        return Err(bad_input(format!("{key} was replaced after the job was submitted; submit the new version")));
    }
    if let Some(path) = app.store.local_path(&key) {
        return Ok(path);
    }
    let free = rustix::fs::statvfs(folder)
        .map(|s| s.f_bavail * s.f_frsize)
        .map_err(|e| environment(format!("the spool cannot be looked at: {e}")))?;
    if free < meta.size.saturating_add(reserve) {
        return Err(environment(format!("{key} has {} bytes and the spool's disk only {free} free; make room there", meta.size)));
    }
    let mut object = app.store.open(&key, None).map_err(|e| store_error(&e))?;
    if object.meta.etag != meta.etag {
        return Err(JobError { code: "store".into(), message: format!("{key} was replaced while it was fetched"), passing: true });
    }
    let path = folder.join(name);
    let mut file = std::fs::File::create(&path).map_err(|e| environment(format!("the spool cannot be written to: {e}")))?;
    let mut piece = vec![0; PIECE];
    loop {
        if cancel.is_cancelled() {
            return Err(JobError { code: "cancelled".into(), message: "stopped while the input was fetched".into(), passing: true });
        }
        let n = object.body.read(&mut piece).map_err(|e| JobError {
            code: "store".into(),
            message: format!("reading {key} failed: {e}"),
            passing: true,
        })?;
        if n == 0 {
            return Ok(path);
        }
        file.write_all(&piece[..n]).map_err(|e| environment(format!("the spool cannot be written to: {e}")))?;
    }
}

/// Writes the outcome into the record.
async fn settle(
    app: &Arc<App>,
    id: &str,
    token: u64,
    outcome: Result<Attempted, JobError>,
    stopped: Stopped,
    attempts: u32,
) -> Result<Record, AppError> {
    let id = id.to_owned();
    let (most, back_off) = (app.config.most_attempts, back_off(app.config.back_off, attempts));
    match outcome {
        Ok(Attempted::Done(outputs, report)) => app.blocking(move |app| app.ledger.complete(&id, token, &outputs, &report)).await,
        Ok(Attempted::Parted) => app.blocking(move |app| app.ledger.wait_for_parts(&id, token)).await,
        Err(error) => match stopped {
            Stopped::Lost => Err(LedgerError::LeaseLost { id, token }.into()),
            Stopped::Leaving => app.blocking(move |app| app.ledger.hand_over(&id, token)).await,
            Stopped::Asked => app.blocking(move |app| app.ledger.cancelled(&id, token)).await,
            Stopped::No => {
                tracing::warn!(job = id, code = error.code, message = error.message, "the attempt failed");
                app.blocking(move |app| app.ledger.fail(&id, token, &error, most, back_off)).await
            }
        },
    }
}

/// The input of a finished job goes where it was the job's own.
async fn forget_input(app: &Arc<App>, record: &Record) {
    if !record.spec.input_owned {
        return;
    }
    let key = record.spec.input.clone();
    let gone = app.blocking(move |app| Ok::<_, AppError>(app.store.delete(&Key::new(key).map_err(LedgerError::from)?)?)).await;
    if let Err(error) = gone {
        tracing::warn!(job = record.id, %error, "the job's input could not be removed");
    }
}

/// Exponential, with a random half so that jobs that failed together do not come back together.
fn back_off(base: Duration, attempts: u32) -> Duration {
    let whole = base.saturating_mul(1 << attempts.saturating_sub(1).min(10));
    let random = f64::from(u32::from_le_bytes(uuid::Uuid::new_v4().into_bytes()[..4].try_into().unwrap_or_default())) / f64::from(u32::MAX);
    whole.mul_f64(0.5 + random / 2.0)
}

pub(super) fn bad_input(message: String) -> JobError {
    JobError { code: "bad_input".into(), message, passing: false }
}

pub(super) fn environment(message: String) -> JobError {
    JobError { code: "environment".into(), message, passing: true }
}

fn store_error(error: &StoreError) -> JobError {
    match error {
        StoreError::NotFound { .. } | StoreError::FolderConflict { .. } => bad_input(error.to_string()),
        // disks are cleared, races are over and credentials renewed the next time; wrong buckets and settings stay wrong
        _ => {
            let lasting = matches!(error, StoreError::NoBucket { .. } | StoreError::Settings { .. });
            JobError { code: "store".into(), message: error.to_string(), passing: !lasting }
        }
    }
}

pub(super) fn app_error(error: &AppError) -> JobError {
    match error {
        AppError::Store(e) => store_error(e),
        AppError::Ledger(LedgerError::Store(e)) => store_error(e),
        AppError::Runtime(e) => runtime_error(e),
        AppError::Ledger(LedgerError::Key(_)) => bad_input(error.to_string()),
        other => JobError { code: "failed".into(), message: other.to_string(), passing: true },
    }
}

pub(super) fn runtime_error(error: &RuntimeError) -> JobError {
    let (code, passing) = match error.kind() {
        FaultKind::BadInput => ("bad_input", false),
        FaultKind::BadModel => ("bad_model", false),
        FaultKind::BadGuest => ("bad_guest", false),
        FaultKind::Cancelled => ("cancelled", false),
        FaultKind::Environment => ("environment", true),
        FaultKind::Failed => ("failed", true),
    };
    JobError { code: code.into(), message: error.to_string(), passing }
}

#[cfg(test)]
mod tests;
