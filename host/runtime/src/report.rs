//! report.json: what a job did, with what, and how long it took.

use std::collections::BTreeMap;

use halfpipe_core::StageTimes;
use serde::Serialize;

/// A sentence for the user, with a stable code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// Lower-case words joined by `_`.
    pub code: String,
    /// The sentence.
    pub message: String,
}

/// Facts of the input video.
#[derive(Debug, Clone, Serialize)]
pub struct InputFacts {
    /// Pixels, upright.
    pub width: u32,
    /// Pixels, upright.
    pub height: u32,
    /// Average frames per second.
    pub frame_rate: f64,
    /// Seconds, where the container says so.
    pub duration_seconds: Option<f64>,
    /// Degrees of rotation metadata that were applied.
    pub rotation: u16,
    /// Video codec.
    pub codec: String,
    /// Number of audio streams.
    pub audio_streams: usize,
}

/// One output file.
#[derive(Debug, Clone, Serialize)]
pub struct OutputFacts {
    /// `output`, `poses`, `glb`, `bvh`.
    pub role: String,
    /// Where it is.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Frames, for a video.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames: Option<u64>,
}

/// What was counted.
#[derive(Debug, Clone, Serialize)]
pub struct Counts {
    /// Frames read and written.
    pub frames: u64,
    /// Frames in which a body changed pixels, counted by the host.
    pub frames_drawn: u64,
    /// Pixels that bodies changed, summed over bodies and frames, counted by the host.
    pub pixels_drawn: u64,
    /// Bodies, summed over frames.
    pub people: u64,
    /// Different people.
    pub tracks: u32,
    /// Frames by status.
    pub statuses: BTreeMap<String, u64>,
    /// Further counts of the guest.
    pub other: BTreeMap<String, f64>,
}

/// Bytes that were copied from one place to another, by where they went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CopiedBytes {
    /// Pictures, out of the decoder's pipe.
    pub from_decoder: u64,
    /// Pictures, into the encoder's pipe.
    pub to_encoder: u64,
    /// Tensors, into the guest's memory.
    pub to_guest: u64,
    /// Data files, out of the guest's memory.
    pub from_guest: u64,
}

/// Busy seconds of a stage. Stages overlap: their sum is not the wall time.
#[derive(Debug, Clone, Serialize)]
pub struct StageFacts {
    /// Wall seconds in which the stage was busy.
    pub busy_seconds: f64,
    /// Items done.
    pub items: u64,
    /// How often.
    pub calls: u64,
}

impl From<StageTimes> for StageFacts {
    fn from(t: StageTimes) -> Self {
        Self { busy_seconds: t.busy_secs, items: t.items, calls: t.calls }
    }
}

/// What the sandbox cost.
#[derive(Debug, Clone, Serialize)]
pub struct SandboxFacts {
    /// CPU seconds inside the guest and in its calls, by section (`logic` where the guest names none).
    pub cpu_seconds: BTreeMap<String, f64>,
    /// Calls from the guest to the host.
    pub host_calls: u64,
    /// Bytes of tensors that the guest read.
    pub tensor_bytes_read: u64,
    /// The same by the call that the tensors came from.
    pub tensors_read: BTreeMap<String, u64>,
    /// Microseconds from the loaded component to a running instance.
    pub instantiate_microseconds: f64,
    /// CPU seconds outside the `fit` section over CPU seconds of the whole job (ffmpeg's included).
    pub share_without_fit: f64,
}

/// What made this output.
#[derive(Debug, Clone, Serialize)]
pub struct Provenance {
    /// Version of the host.
    pub host_version: String,
    /// Guest name.
    pub guest: String,
    /// Guest version.
    pub guest_version: String,
    /// sha256 of the guest component.
    pub guest_sha256: String,
    /// sha256 by model name; of files beside a graph (a rig, external weights) by `name/file`.
    pub models: BTreeMap<String, String>,
    /// Licence by model name.
    pub licences: BTreeMap<String, String>,
    /// Execution provider and device.
    pub execution_provider: String,
    /// Element type the networks compute in.
    pub precision: String,
    /// Graphics adapter and backend.
    pub adapter: String,
    /// Whether the adapter is software.
    pub adapter_software: bool,
    /// ffmpeg's version.
    pub ffmpeg: String,
}

/// A whole report.
#[derive(Debug, Clone, Serialize)]
pub struct JobReport {
    /// `halfpipe.report/1`.
    pub schema: &'static str,
    /// The job's id.
    pub job: String,
    /// Always `complete`: a job that failed has no report.
    pub status: &'static str,
    /// The input.
    pub input: InputFacts,
    /// The outputs.
    pub outputs: Vec<OutputFacts>,
    /// What was counted.
    pub counts: Counts,
    /// Settings in effect. `video` says what decoded the input (`software`, `nvidia`) and what encoded the video (`libx264`, `h264_nvenc`;
    /// null where none was written).
    pub settings: serde_json::Value,
    /// Wall seconds of the job from when models are loaded and the input is being decoded: the frames that were decoded by then, at most
    /// those that wait for the guest, are not in it.
    pub wall_seconds: f64,
    /// Wall seconds of loading models, where this job had to.
    pub load_seconds: f64,
    /// Wall seconds from the call until the guest had its first frames: checks, loading, the start of the guest and of the decoder.
    pub first_batch_seconds: Option<f64>,
    /// Frames per second over `wall_seconds`.
    pub frames_per_second: f64,
    /// CPU seconds of this process and its ffmpeg children during the job. Other jobs at the same time are in it.
    pub cpu_seconds: f64,
    /// Highest resident memory of this process so far, bytes.
    pub peak_rss_bytes: u64,
    /// Busy seconds by stage.
    pub stages: BTreeMap<String, StageFacts>,
    /// What was copied.
    pub copied_bytes: CopiedBytes,
    /// What the sandbox cost.
    pub sandbox: SandboxFacts,
    /// What the user should know.
    pub warnings: Vec<Warning>,
    /// What made it.
    pub provenance: Provenance,
}
