//! The job record: everything that is known of a job, as one JSON object.

use std::collections::BTreeMap;

use halfpipe_join::WindowPlan;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Version of the record's format; a record of another version is left alone.
pub const VERSION: u32 = 1;

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waits for its turn (also between two attempts).
    Queued,
    /// Somebody holds its lease.
    Processing,
    /// Done; the outputs exist and were verified.
    Complete,
    /// Ended by a fault that another attempt would not mend, or by the last attempt.
    Error,
    /// Ended because it was asked to.
    Cancelled,
}

impl State {
    /// Whether nothing will change any more.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Complete | Self::Error | Self::Cancelled)
    }

    /// The name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Processing => "processing",
            Self::Complete => "complete",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Which results are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Wanted {
    /// The overlay video.
    pub video: bool,
    /// poses.jsonl.
    pub poses: bool,
    /// Animated glTF.
    pub glb: bool,
    /// Biovision motion.
    pub bvh: bool,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { video: true, poses: true, glb: true, bvh: true }
    }
}

/// What a job is to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Spec {
    /// Pipeline guest by name, or name@version.
    pub pipeline: String,
    /// Key of the input video in the store.
    pub input: String,
    /// Version of the input the job was made for; none for whatever is there. The job fails if it finds another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_etag: Option<String>,
    /// Whether the input was put by the service for this job alone, and goes with it.
    #[serde(default)]
    pub input_owned: bool,
    /// Key prefix under which results go, ending in `/`.
    pub output_prefix: String,
    /// Options of the guest.
    #[schema(value_type = Object)]
    pub options: Map<String, Value>,
    /// Frames a batch, 1 to 64.
    pub batch: u32,
    /// One window of a plan of `halfpipe split`, where only that is to be worked on: as the plan has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub window: Option<WindowPlan>,
    /// How to cut the video into windows that others work on, each as a job of its own; the job itself joins them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
    /// The job that this one is a window of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_of: Option<String>,
    /// Which results.
    #[serde(default)]
    pub outputs: Wanted,
    /// The caller's own words, carried through.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// Where to tell of the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
}

impl Spec {
    /// Frames a batch where nobody says.
    pub const BATCH: u32 = 8;
}

/// How a long video is cut, as `halfpipe split` takes it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// How many windows. Either this or `seconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 10000)]
    pub windows: Option<u32>,
    /// About how long each window is, seconds; a video that gives one window only is worked on whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(exclusive_minimum = 0)]
    pub seconds: Option<f64>,
    /// Seconds that a window sees of the one before it, and half as many of the one behind; 2 where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 600)]
    pub overlap: Option<f64>,
}

/// The windows of a job that was split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Parts {
    /// Key of the plan in the store.
    pub plan: String,
    /// The job of each window, in the order of the windows.
    pub jobs: Vec<String>,
    /// Whether all of these jobs were submitted and announced.
    pub announced: bool,
}

/// Who works on a job, and until when nobody else may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Lease {
    /// Process that holds it.
    pub owner: String,
    /// Grows with each lease of the job. Whoever acts on the job shows it, so that an owner that lost its lease is told.
    pub token: u64,
    /// Unix time in milliseconds after which the job may be taken over, by the owner's clock: for people to read. Others count
    /// [`Lease::length_ms`] by their own, from when they first saw this version of the record.
    pub expires_ms: u64,
    /// How long the lease lasts from each renewal, milliseconds.
    #[serde(default)]
    pub length_ms: u64,
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProgressRecord {
    /// `queued`, `fetching`, `loading`, `opening`, `running`, `finishing`, `storing` or `done`; of a job that is split also `splitting`,
    /// `windows` (it waits until they have ended) and `joining`.
    pub stage: String,
    /// Frames written.
    pub frames_done: u64,
    /// Frames in all, where known.
    pub frames_total: Option<u64>,
    /// 0 to 1, where known.
    pub fraction: Option<f64>,
    /// Seconds left, where they can be told.
    pub eta_seconds: Option<f64>,
}

impl Default for ProgressRecord {
    fn default() -> Self {
        Self { stage: "queued".into(), frames_done: 0, frames_total: None, fraction: None, eta_seconds: None }
    }
}

/// Why a job ended badly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobError {
    /// Stable: `bad_input`, `bad_guest`, `bad_model`, `environment`, `store`, `interrupted`, `given_up`, `failed`.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// Whether another attempt may help. On a finished job: whether submitting it anew may.
    pub passing: bool,
}

/// One attempt that did not end well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// Which process.
    pub owner: String,
    /// Unix time in milliseconds.
    pub ended_ms: u64,
    /// What happened.
    pub error: JobError,
}

/// A stored result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Output {
    /// `video`, `poses`, `glb`, `bvh`, `report`.
    pub role: String,
    /// Key in the store.
    pub key: String,
    /// Size.
    pub bytes: u64,
    /// Version.
    pub etag: String,
}

/// Everything known of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Record {
    /// [`VERSION`].
    pub version: u32,
    /// Grows with every put, so that no two versions have equal bytes: where a store's versions are digests of bytes, as in S3, a
    /// version that was seen does not come back.
    #[serde(default)]
    pub revision: u64,
    /// Unguessable; the only id there is.
    pub id: String,
    /// Where it is.
    pub state: State,
    /// What it is to do.
    pub spec: Spec,
    /// Attempts begun; one that was handed over at a shutdown does not count.
    pub attempts: u32,
    /// Leases taken so far.
    #[serde(default)]
    pub leases: u64,
    /// The lease under which results were first put; later ones put theirs elsewhere, so that they share no object with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_stored: Option<u64>,
    /// Its windows, of a job that was split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<Parts>,
    /// Attempts that failed.
    #[serde(default)]
    pub history: Vec<Attempt>,
    /// The present lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// Somebody asked to stop.
    #[serde(default)]
    pub cancel_requested: bool,
    /// Unix time in milliseconds: submitted.
    pub created_ms: u64,
    /// First taken up.
    pub started_ms: Option<u64>,
    /// Ended.
    pub finished_ms: Option<u64>,
    /// Not to be taken up before (back-off between attempts).
    #[serde(default)]
    pub not_before_ms: u64,
    /// How far.
    #[serde(default)]
    pub progress: ProgressRecord,
    /// Results, of a complete job.
    #[serde(default)]
    pub outputs: Vec<Output>,
    /// The job's report.json, of a complete job.
    #[schema(value_type = Option<Object>)]
    pub report: Option<Value>,
    /// Why it failed.
    pub error: Option<JobError>,
    /// Digest of what identifies the submission; equal submissions are one job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<String>,
    /// Digest of what was asked for, so that a key that comes again with other wishes is noticed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

/// A job to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    /// What it is to do.
    pub spec: Spec,
    /// What identifies it (an Idempotency-Key, or bucket + key + version + options + digests); none for always a new job.
    pub idempotency: Option<String>,
    /// Digest of everything that was asked for, where `idempotency` does not say it itself: the same key with another one is an
    /// error.
    pub fingerprint: Option<String>,
    /// The id, where it had to be known before (because the input lies under it); none for a new one.
    pub id: Option<String>,
}

impl Record {
    /// A queued job.
    #[must_use]
    pub fn new(id: String, spec: Spec, now_ms: u64) -> Self {
        Self {
            version: VERSION,
            revision: 0,
            id,
            state: State::Queued,
            spec,
            attempts: 0,
            leases: 0,
            first_stored: None,
            parts: None,
            history: Vec::new(),
            lease: None,
            cancel_requested: false,
            created_ms: now_ms,
            started_ms: None,
            finished_ms: None,
            not_before_ms: 0,
            progress: ProgressRecord::default(),
            outputs: Vec::new(),
            report: None,
            error: None,
            idempotency: None,
            fingerprint: None,
        }
    }

    /// The output of a role.
    #[must_use]
    pub fn output(&self, role: &str) -> Option<&Output> {
        self.outputs.iter().find(|o| o.role == role)
    }
}

#[cfg(test)]
impl Spec {
    /// A job of tests: the default pipeline on `input`, which is not its own, with results under `output_prefix`.
    pub(crate) fn sample(input: &str, output_prefix: &str) -> Self {
        Self {
            pipeline: "overlay".into(),
            input: input.into(),
            input_etag: None,
            input_owned: false,
            output_prefix: output_prefix.into(),
            options: serde_json::Map::new(),
            batch: 8,
            outputs: Wanted::default(),
            metadata: std::collections::BTreeMap::new(),
            webhook: None,
            window: None,
            split: None,
            part_of: None,
        }
    }
}
