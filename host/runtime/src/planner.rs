//! Planner components: an event in, the jobs that follow from it out, checked before anybody sees them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use halfpipe_store::Key;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::bindings::planner::PlannerPre;
use crate::bindings::planner::exports::halfpipe::job::planning as wit;
use crate::error::RuntimeError;
use crate::guest::hex;
use crate::host::Host;
use crate::job::{guarded, idle_state, new_store};
use crate::limits::Limits;
use crate::sandbox::Sandbox;
use crate::state::{CancelToken, JobState};

/// The interface that makes a component a planner.
const PLANNING: &str = "halfpipe:job/planning@0.1.0";
/// Most jobs one event may become.
pub const MAX_JOBS: usize = 1000;
/// Wall time one call may take.
const WALL: Duration = Duration::from_secs(5);
/// Most CPU time between two calls to the host; less where the limits of pipelines say so.
const SPIN: Duration = Duration::from_secs(2);
/// Longest sentence of a planner that is passed on, characters.
const LONGEST_SENTENCE: usize = 500;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanEventKind {
    /// An object was written.
    ObjectCreated,
    /// An object was removed.
    ObjectRemoved,
    /// Somebody asked for a job.
    Request,
}

impl PlanEventKind {
    /// The name the planner sees.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ObjectCreated => "object-created",
            Self::ObjectRemoved => "object-removed",
            Self::Request => "request",
        }
    }
}

/// Something that happened to an object, or a request for a job: all that a planner gets to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanEvent {
    /// What happened.
    pub kind: PlanEventKind,
    /// Bucket of the object, for planners that tell buckets apart.
    pub bucket: String,
    /// Key of the object, decoded.
    pub key: String,
    /// Size of the object in bytes, where it is known.
    pub bytes: Option<u64>,
    /// Entity tag of the object, without quotes, where it is known.
    pub etag: Option<String>,
    /// Metadata of the object or fields of the request, in any order.
    pub metadata: Vec<(String, String)>,
}

/// One job a planner asks for; everything in it has been checked.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedJob {
    /// Key of the input object.
    pub input: Key,
    /// Prefix under which results go: a valid key followed by `/`, not the prefix of any other job of the same answer.
    pub output_prefix: String,
    /// Pipeline guest, `name` or `name@version`: letters, digits, `-` and `_`, in the version `.` and `+` too.
    pub pipeline: String,
    /// Options for it, not yet checked against its schema.
    pub options: Map<String, Value>,
}

/// A loaded planner component.
pub struct Planner {
    /// Where it came from.
    pub path: PathBuf,
    /// sha256 of the file, hex.
    pub sha256: String,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Whether it had been compiled ahead of time; see [`crate::precompiled`].
    pub precompiled: bool,
    name: String,
    pre: PlannerPre<JobState>,
}

impl std::fmt::Debug for Planner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Planner").field("path", &self.path).field("sha256", &self.sha256).finish_non_exhaustive()
    }
}

impl Planner {
    /// Reads, compiles and checks a component. None of its code runs yet.
    ///
    /// # Errors
    /// [`RuntimeError::GuestFile`] where the file cannot be read, [`RuntimeError::PlannerInvalid`] with what does not fit: not
    /// WebAssembly, not a component, no planning export, or an import that planners are not given.
    pub fn load(sandbox: &Sandbox, path: &Path) -> Result<Arc<Self>, RuntimeError> {
        let bytes = std::fs::read(path).map_err(|source| RuntimeError::GuestFile { path: path.to_owned(), source })?;
        let invalid = |message: String| RuntimeError::PlannerInvalid { path: path.to_owned(), message };
        if !bytes.starts_with(b"\0asm") {
            return Err(invalid("it is not WebAssembly".into()));
        }
        let sha256 = hex(&Sha256::digest(&bytes));
        let (component, precompiled) = sandbox.component(path, &bytes, &sha256).map_err(|e| invalid(format!("{e:#}")))?;
        let ty = component.component_type();
        let exports: Vec<&str> = ty.exports(sandbox.engine()).map(|(name, _)| name).collect();
        if !exports.contains(&PLANNING) {
            let found = if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") };
            return Err(invalid(format!("it exports {found}, not {PLANNING}")));
        }
        let pre = sandbox.planner_linker().instantiate_pre(&component).and_then(PlannerPre::new).map_err(|e| invalid(format!("{e:#}")))?;
        Ok(Arc::new(Self {
            path: path.to_owned(),
            sha256,
            bytes: bytes.len() as u64,
            precompiled,
            name: path.file_stem().and_then(|s| s.to_str()).unwrap_or("planner").to_owned(),
            pre,
        }))
    }

    /// Its name: that of its file without `.wasm`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The jobs that follow from an event; none is a good answer. Each call runs in a store of its own, so a planner keeps
    /// nothing between events. `limits` are those of pipelines; a call may take 5 s at most whatever they say.
    ///
    /// # Errors
    /// [`RuntimeError::EventRefused`] with the planner's sentence; [`RuntimeError::Planner`] where it trapped, passed a limit, or
    /// gave an answer that cannot be worked on.
    pub async fn plan(&self, sandbox: &Sandbox, limits: &Limits, event: PlanEvent) -> Result<Vec<PlannedJob>, RuntimeError> {
        let broke = |message: String| RuntimeError::Planner { planner: self.name.clone(), message };
        // a planner reads no frames: how long it may take is bounded below, not by the pipelines' rules on progress
        let limits = Limits { spin: limits.spin.min(SPIN), stall: Duration::MAX, wall: None, ..limits.clone() };
        let state = JobState { id: "plan".into(), ..idle_state(&limits, &self.name) };
        let clock = state.clock.clone();
        let mut store = new_store(sandbox, state);
        let event = wit::Event {
            kind: event.kind.name().to_owned(),
            bucket: event.bucket,
            key: event.key,
            bytes: event.bytes,
            etag: event.etag,
            metadata: event.metadata,
        };
        let asked = async {
            let planner = self.pre.instantiate_async(&mut store).await?;
            planner.halfpipe_job_planning().call_plan(&mut store, &event).await
        };
        let cancel = CancelToken::default();
        let answer = tokio::time::timeout(WALL, guarded(asked, &clock, &limits, &cancel))
            .await
            .map_err(|_| broke(format!("took longer than the {WALL:?} that one event may take")))?
            .map_err(broke)?;
        let jobs = answer.map_err(|sentence| RuntimeError::EventRefused { planner: self.name.clone(), message: shortened(&sentence) })?;
        checked(jobs).map_err(broke)
    }
}

impl Host {
    /// Loads a planner component from a file.
    ///
    /// # Errors
    /// As [`Planner::load`].
    pub fn load_planner(&self, path: &Path) -> Result<Arc<Planner>, RuntimeError> {
        Planner::load(&self.sandbox, path)
    }

    /// Asks a planner within this host's limits.
    ///
    /// # Errors
    /// As [`Planner::plan`].
    pub async fn plan(&self, planner: &Planner, event: PlanEvent) -> Result<Vec<PlannedJob>, RuntimeError> {
        planner.plan(&self.sandbox, &self.limits, event).await
    }
}

/// Checks an answer; the error is one clause that says what the planner did.
fn checked(jobs: Vec<wit::Job>) -> Result<Vec<PlannedJob>, String> {
    if jobs.len() > MAX_JOBS {
        return Err(format!("answered with {} jobs where an event may become {MAX_JOBS} at most", jobs.len()));
    }
    let mut prefixes = BTreeSet::new();
    let mut planned = Vec::with_capacity(jobs.len());
    for (job, number) in jobs.into_iter().zip(1..) {
        let job = checked_job(job).map_err(|what| format!("answered with a job {number} that cannot be worked on: {what}"))?;
        if !prefixes.insert(job.output_prefix.clone()) {
            return Err(format!("answered with two jobs that write under {:?}", job.output_prefix));
        }
        planned.push(job);
    }
    Ok(planned)
}

fn checked_job(job: wit::Job) -> Result<PlannedJob, String> {
    let input = Key::new(job.input).map_err(|e| format!("its input: {e}"))?;
    let Some(folder) = job.output_prefix.strip_suffix('/') else {
        return Err(format!("its output-prefix {:?} does not end with a slash", shortened(&job.output_prefix)));
    };
    Key::new(folder).map_err(|e| format!("its output-prefix: {e}"))?;
    if !is_pipeline(&job.pipeline) {
        return Err(format!("its pipeline {:?} is neither a name nor name@version", shortened(&job.pipeline)));
    }
    let options =
        serde_json::from_str(&job.options).map_err(|e| format!("its options are not a JSON object: {}", shortened(&e.to_string())))?;
    Ok(PlannedJob { input, output_prefix: job.output_prefix, pipeline: job.pipeline, options })
}

/// Whether a text is `name` or `name@version`; never a path.
fn is_pipeline(text: &str) -> bool {
    let word = |text: &str, more: &str| {
        (1..=128).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c) || more.contains(c))
    };
    match text.split_once('@') {
        Some((name, version)) => word(name, "") && word(version, ".+"),
        None => word(text, ""),
    }
}

/// A planner's text on one line and not too long, for error messages.
fn shortened(text: &str) -> String {
    text.chars().take(LONGEST_SENTENCE).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipelines_are_names_with_or_without_a_version() {
        for good in ["overlay", "my_guest-2", "overlay@0.1.0", "overlay@1.0.0-rc.1+build5"] {
            assert!(is_pipeline(good), "{good}");
        }
        for bad in ["", "@", "overlay@", "@1.0", "a/b", "../a", "a.wasm", "a@1@2", "a b", "é", &"x".repeat(129)] {
            assert!(!is_pipeline(bad), "{bad}");
        }
    }

    #[test]
    fn sentences_of_planners_are_cut_to_one_line() {
        assert_eq!(shortened("a\nb\u{1b}[31m"), "a b [31m");
        assert_eq!(shortened(&"é".repeat(900)).chars().count(), LONGEST_SENTENCE);
    }
}
