//! Long videos over many workers: a job that is to be split makes a job of each window of its video, goes back to the queue, and joins
//! what they made once all have ended.
//!
//! Everything that is lasting is in the ledger and the store: the job's record names the jobs of its windows before any of them is
//! submitted, so whoever takes it up after a crash submits the same ones. Whoever ends the last window says so (a message where there is
//! a queue); should that be lost, somebody looks every minute. Plan and parts lie under `uploads/<job>/`, where no event starts a job,
//! and are gone when the job has ended.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use halfpipe_join::cut::Wanted as Cut;
use halfpipe_join::{JoinError, JoinReport, Plan, Request, SplitOptions};
use halfpipe_media::{StopSignal, stop_signal};
use halfpipe_runtime::motion::{MotionFiles, export_files};
use halfpipe_runtime::report::Warning;
use halfpipe_runtime::{Host, RuntimeError};
use halfpipe_store::{Key, PutMode};
use serde_json::{Value, json};

use crate::app::{App, AppError};
use crate::clock::now_ms;
use crate::config::Config;
use crate::jobs::ledger::{LedgerError, new_id};
use crate::jobs::record::{JobError, Output, Parts, Record, Spec, Split, State, Submission, Wanted};
use crate::jobs::work::{Made, Pulse, app_error, bad_input, environment, fetch, runtime_error};

/// Largest plan: ten thousand windows have about 5 MiB.
const MOST_PLAN_BYTES: u64 = 32 << 20;
/// How often a join looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(200);
/// Objects of a page.
const PAGE: usize = 1000;

/// How a job's video is worked on.
pub(super) enum Shared {
    /// Whole, by this attempt.
    Whole,
    /// By the jobs of its windows, which have not all ended.
    Parted,
    /// By the jobs of its windows; this is what they made together.
    Joined(Joined),
}

/// What windows made together.
pub(super) struct Joined {
    /// The results.
    pub made: Vec<Made>,
    /// The report.
    pub report: Value,
}

/// Where plan and parts of a job lie.
fn prefix(id: &str) -> String {
    format!("{}{id}/", Config::UPLOADS_PREFIX)
}

/// The windows of a job that was split before.
pub(super) struct Windows {
    plan: Plan,
    jobs: Vec<Record>,
}

/// The windows of a job that was split before, submitted now where that has not been done; none where it was not split. To be asked
/// before the video is fetched.
pub(super) async fn of(app: &Arc<App>, record: &Record) -> Result<Option<Windows>, JobError> {
    let Some(parts) = &record.parts else { return Ok(None) };
    let plan = load_plan(app, record, parts).await?;
    let jobs = submit(app, record, &plan, parts).await.map_err(|e| app_error(&e))?;
    Ok(Some(Windows { plan, jobs }))
}

impl Windows {
    /// Whether some of them have not ended.
    ///
    /// # Errors
    /// Where one ended badly: a video with a hole is no result.
    pub(super) fn are_open(&self) -> Result<bool, JobError> {
        let failed = self.jobs.iter().enumerate().find(|(_, job)| matches!(job.state, State::Error | State::Cancelled));
        if let Some((window, job)) = failed {
            let why = job.error.as_ref().map_or("it was cancelled", |e| e.message.as_str());
            let code = job.error.as_ref().map_or("failed", |e| e.code.as_str()).to_owned();
            let message = format!("window {window} of {} (job {}) did not end well: {why}", self.jobs.len(), job.id);
            return Err(JobError { code, message, passing: false });
        }
        Ok(self.jobs.iter().any(|job| job.state != State::Complete))
    }
}

/// Splits a job's video, or joins what its windows made. `input` is its video, `folder` one that dies with the attempt.
pub(super) async fn share(
    app: &Arc<App>,
    (record, token): (&Record, u64),
    pulse: &Arc<Pulse>,
    input: &Path,
    folder: &Path,
    windows: Option<Windows>,
) -> Result<Shared, JobError> {
    let spec = &record.spec;
    if let Some(windows) = windows {
        pulse.stage("joining");
        return join(app, record, pulse, &windows, input, folder).await.map(Shared::Joined);
    }
    let usual = app.config.window_seconds.map(|seconds| Split { windows: None, seconds: Some(seconds), overlap: None });
    let Some(split) = spec.split.or(usual).filter(|_| spec.window.is_none()) else { return Ok(Shared::Whole) };
    pulse.stage("splitting");
    let Some(plan) = plan(app, input, split, spec.split.is_some()).await.map_err(|e| keyed(e, input, spec))? else {
        return Ok(Shared::Whole);
    };
    let parts = note(app, record, token, &plan).await.map_err(|e| app_error(&e))?;
    submit(app, record, &plan, &parts).await.map_err(|e| app_error(&e))?;
    Ok(Shared::Parted)
}

/// The fault of a plan or a join, with keys in the place of paths.
fn keyed(error: JobError, input: &Path, spec: &Spec) -> JobError {
    JobError { message: error.message.replace(&input.display().to_string(), &spec.input), ..error }
}

fn join_error(error: JoinError) -> JobError {
    match error {
        JoinError::Media(media) => runtime_error(&RuntimeError::from(media)),
        error if error.is_bad_input() => bad_input(error.to_string()),
        error => JobError { code: "failed".into(), message: error.to_string(), passing: true },
    }
}

/// The plan of a video; none where it is one window. What cannot be split is an error only where it was `asked` for.
async fn plan(app: &Arc<App>, input: &Path, split: Split, asked: bool) -> Result<Option<Plan>, JobError> {
    let host = app.engines.wait().await.map_err(environment)?;
    let file = input.to_owned();
    let wanted = match (split.windows, split.seconds) {
        (Some(windows), _) => Cut::Windows(windows),
        (None, seconds) => Cut::Seconds(seconds.unwrap_or_default()),
    };
    let options = SplitOptions { wanted, overlap: split.overlap.unwrap_or(SplitOptions::OVERLAP) };
    let plan = tokio::task::spawn_blocking(move || halfpipe_join::split(&host.engines().tools, &file, options));
    match plan.await.map_err(|e| app_error(&e.into()))? {
        Ok(plan) => Ok(Some(plan).filter(|plan| plan.windows.len() > 1)),
        Err(error) if asked => Err(join_error(error)),
        Err(error) => {
            tracing::info!(%error, "the video is not split");
            Ok(None)
        }
    }
}

/// Keeps the plan, and notes on the record which jobs its windows will be.
async fn note(app: &Arc<App>, record: &Record, token: u64, plan: &Plan) -> Result<Parts, AppError> {
    let key = Key::new(format!("{}plan.json", prefix(&record.id))).map_err(LedgerError::from)?;
    let parts = Parts { plan: key.to_string(), jobs: plan.windows.iter().map(|_| new_id()).collect(), announced: false };
    let (id, noted) = (record.id.clone(), parts.clone());
    let text = plan.to_json(Path::new(key.as_str())).map_err(|e| RuntimeError::BadInput(e.to_string()))?;
    app.blocking(move |app| {
        app.store.put(&key, text.as_bytes(), PutMode::Overwrite)?;
        app.ledger.set_parts(&id, token, &noted).map_err(AppError::from)
    })
    .await?;
    Ok(parts)
}

async fn load_plan(app: &Arc<App>, record: &Record, parts: &Parts) -> Result<Plan, JobError> {
    let key = Key::new(&parts.plan).map_err(|e| bad_input(e.to_string()))?;
    let (bytes, _) = app.blocking(move |app| app.store.read(&key, MOST_PLAN_BYTES)).await.map_err(|e| app_error(&e))?;
    serde_json::from_slice(&bytes).map_err(|e| bad_input(format!("the plan of job {} cannot be read: {e}; submit the job anew", record.id)))
}

/// The jobs of all windows; those that are not there yet are submitted. Where it is not known that all were announced, all that wait are.
async fn submit(app: &Arc<App>, record: &Record, plan: &Plan, parts: &Parts) -> Result<Vec<Record>, AppError> {
    let mut windows = Vec::new();
    for (window, id) in plan.windows.iter().zip(&parts.jobs) {
        let spec = Spec {
            output_prefix: format!("{}part-{}/", prefix(&record.id), window.index),
            input_owned: false,
            window: Some(window.clone()),
            split: None,
            part_of: Some(record.id.clone()),
            outputs: Wanted { video: record.spec.outputs.video, poses: true, glb: false, bvh: false },
            webhook: None,
            ..record.spec.clone()
        };
        let submission = Submission { spec, idempotency: None, fingerprint: None, id: Some(id.clone()) };
        let id = id.clone();
        let find = move |app: &App| match app.ledger.get(&id) {
            Err(LedgerError::Unknown(_)) => app.ledger.submit(submission).map(|(record, _)| record),
            found => found,
        };
        let job = app.blocking(find).await?;
        if !parts.announced && job.state == State::Queued {
            app.announce(&job).await;
        }
        windows.push(job);
    }
    app.wake.notify_one();
    Ok(windows)
}

/// Fetches the parts and joins them.
async fn join(
    app: &Arc<App>,
    record: &Record,
    pulse: &Arc<Pulse>,
    Windows { plan, jobs: windows }: &Windows,
    input: &Path,
    folder: &Path,
) -> Result<Joined, JobError> {
    let unwritable = |e: std::io::Error| environment(format!("the spool cannot be written to: {e}"));
    let (parts, made) = (folder.join("parts"), folder.join("joined"));
    std::fs::create_dir(&parts).and_then(|()| std::fs::create_dir(&made)).map_err(unwritable)?;
    for (k, window) in (0..).zip(windows) {
        let names = [("video", halfpipe_join::video_name(k)), ("poses", halfpipe_join::poses_name(k))];
        for (part, name) in names.into_iter().filter_map(|(role, name)| Some((window.output(role)?.clone(), name))) {
            let Output { key, etag, .. } = part;
            let (target, cancel) = (parts.clone(), pulse.cancel.clone());
            app.blocking(move |app| Ok::<_, AppError>(fetch_part(app, &key, &etag, &target, &name, &cancel)))
                .await
                .map_err(|e| app_error(&e))??;
        }
    }
    let host = app.engines.wait().await.map_err(environment)?;
    let (handle, signal) = stop_signal().map_err(|e| environment(format!("there are no more pipes: {e}")))?;
    let task = JoinTask { host, plan: plan.clone(), source: input.to_owned(), parts, made, wanted: record.spec.outputs };
    let mut running = tokio::task::spawn_blocking(move || task.run(signal));
    let mut handle = Some(handle);
    let outcome = loop {
        tokio::select! {
            outcome = &mut running => break outcome,
            // dropping the handle stops ffmpeg
            () = tokio::time::sleep(LOOK) => if pulse.cancel.is_cancelled() { handle = None },
        }
    };
    drop(handle);
    let (made, report, warnings) = outcome.map_err(|e| app_error(&e.into()))?.map_err(|e| keyed(e, input, &record.spec))?;
    Ok(Joined { made, report: summary(record, windows, &report, &warnings)? })
}

/// A part, which lies in the store; a folder's own file is copied, since the join wants all of them in one place.
fn fetch_part(app: &App, key: &str, etag: &str, target: &Path, name: &str, cancel: &halfpipe_runtime::CancelToken) -> Result<(), JobError> {
    let file = fetch(app, (key, Some(etag)), target, name, cancel)?;
    if file.parent() != Some(target) {
        std::fs::copy(&file, target.join(name)).map_err(|e| environment(format!("the spool cannot be written to: {e}")))?;
    }
    Ok(())
}

/// A join as a thread does it.
struct JoinTask {
    host: Host,
    plan: Plan,
    source: PathBuf,
    parts: PathBuf,
    made: PathBuf,
    wanted: Wanted,
}

impl JoinTask {
    fn run(self, signal: StopSignal) -> Result<(Vec<Made>, JoinReport, Vec<Warning>), JobError> {
        let at = |name: &str| self.made.join(name);
        let (video, poses) = (at("overlay.mp4"), at("poses.jsonl"));
        let request = Request {
            plan: &self.plan,
            plan_path: &at("plan.json"),
            source: &self.source,
            folder: &self.parts,
            video: self.wanted.video.then_some(video.as_path()),
            poses: Some(&poses),
        };
        let engines = self.host.engines();
        let report = halfpipe_join::join(&engines.tools, &request, signal).map_err(join_error)?;
        let (glb, bvh) = (at("motion.glb"), at("motion.bvh"));
        let files = MotionFiles { glb: self.wanted.glb.then_some(glb.as_path()), bvh: self.wanted.bvh.then_some(bvh.as_path()) };
        let mut warnings = Vec::new();
        if self.wanted.glb || self.wanted.bvh {
            warnings = export_files(&engines.catalog, &engines.models_dir, &poses, files).map_err(|e| runtime_error(&e))?;
        }
        let mut made = Vec::new();
        let mut add = |role: &str, path: PathBuf, frames| made.push(Made { role: role.to_owned(), path, frames });
        if self.wanted.video {
            add("video", video, Some(report.frames));
        }
        if self.wanted.poses {
            add("poses", poses, None);
        }
        if self.wanted.glb {
            add("glb", glb, None);
        }
        // further tracks have files of their own: motion_track2.bvh
        let unreadable = |e: std::io::Error| environment(format!("the spool cannot be read: {e}"));
        for entry in std::fs::read_dir(&self.made).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
            if path.extension().is_some_and(|e| e == "bvh") {
                let digits = stem.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
                let role = if stem == "motion" { "bvh".to_owned() } else { format!("bvh.track{digits}") };
                add(&role, path, None);
            }
        }
        Ok((made, report, warnings))
    }
}

/// The report of the whole, in the form of a job's: what was counted, summed over the windows or taken from the join.
fn summary(record: &Record, windows: &[Record], joined: &JoinReport, warnings: &[Warning]) -> Result<Value, JobError> {
    let mut report = serde_json::to_value(joined).map_err(|e| environment(format!("the report cannot be written: {e}")))?;
    let reports: Vec<&Value> = windows.iter().filter_map(|window| window.report.as_ref()).collect();
    let sum = |name: &str| reports.iter().filter_map(|r| r["counts"][name].as_u64()).sum::<u64>();
    report["counts"] = json!({
        "frames": joined.frames, "frames_drawn": sum("frames_drawn"), "pixels_drawn": sum("pixels_drawn"), "people": sum("people"),
        "tracks": joined.tracks, "statuses": joined.statuses, "other": {},
    });
    let first = reports.first().copied().unwrap_or(&Value::Null);
    (report["input"], report["provenance"]) = (first["input"].clone(), first["provenance"].clone());
    let begun = record.started_ms.unwrap_or(record.created_ms);
    report["wall_seconds"] = json!(now_ms().saturating_sub(begun) as f64 / 1000.0);
    let of_join = joined.warnings.iter().map(|message| json!({ "code": "join", "message": message }));
    let of_motion = warnings.iter().map(|w| json!({ "code": w.code, "message": w.message }));
    report["warnings"] = of_join.chain(of_motion).collect();
    report["video"] = Value::Null;
    Ok(report)
}

/// What follows for the job that this one is a window of: it is taken up again once all its windows have ended, or one has failed.
///
/// # Errors
/// Where the store or the queue fail; it is looked at after a minute anyway, if anybody looks.
pub(crate) async fn part_ended(app: &Arc<App>, record: &Record) -> Result<(), AppError> {
    let Some(whole) = record.spec.part_of.clone().filter(|_| record.state.is_final()) else { return Ok(()) };
    match app.blocking(move |app| app.ledger.get(&whole)).await {
        Ok(whole) => look_at(app, &whole).await,
        // somebody cleared the records
        Err(AppError::Ledger(LedgerError::Unknown(_))) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Lets a job that waits for its windows go on if they have ended.
///
/// # Errors
/// As [`part_ended`].
pub(crate) async fn look_at(app: &Arc<App>, whole: &Record) -> Result<(), AppError> {
    let Some(parts) = whole.parts.clone().filter(|_| whole.state == State::Queued) else { return Ok(()) };
    let id = whole.id.clone();
    let due = app.blocking(move |app| {
        for job in &parts.jobs {
            match app.ledger.get(job).map(|window| window.state) {
                Ok(State::Complete) => {}
                Ok(State::Error | State::Cancelled) => break,
                // one that is not there yet is submitted by whoever takes the job up
                Ok(State::Queued | State::Processing) | Err(LedgerError::Unknown(_)) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        app.ledger.end_wait_for_parts(&id)
    });
    if due.await? {
        app.announce_now(whole).await?;
        app.wake.notify_one();
    }
    Ok(())
}

/// What follows from the end of a job that was split: windows that are still open are cancelled, and plan and parts are removed. What
/// is left where that fails is removed with other uploads that no job has.
pub(crate) async fn clear(app: &Arc<App>, record: &Record) {
    let Some(parts) = record.parts.clone().filter(|_| record.state.is_final() || record.cancel_requested) else { return };
    let (folder, keep) = (prefix(&record.id), record.spec.input.clone());
    let complete = record.state == State::Complete;
    let cleared = app.blocking(move |app| {
        if !complete {
            for job in &parts.jobs {
                match app.ledger.cancel(job) {
                    Ok(_) | Err(LedgerError::Unknown(_)) => {}
                    Err(error) => return Err(AppError::from(error)),
                }
            }
            return Ok(());
        }
        let mut after: Option<Key> = None;
        loop {
            let page = app.store.list(&folder, after.as_ref(), PAGE)?;
            for object in page.iter().filter(|object| object.key.as_str() != keep) {
                app.store.delete(&object.key)?;
            }
            if page.len() < PAGE {
                return Ok(());
            }
            after = page.last().map(|object| object.key.clone());
        }
    });
    if let Err(error) = cleared.await {
        tracing::warn!(job = record.id, %error, "what the windows of a job left could not be cleared");
    }
}
