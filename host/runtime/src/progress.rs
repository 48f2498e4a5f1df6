//! How far a job is, as told to whoever started it.

/// The part of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Models and the guest are being loaded.
    Loading,
    /// The guest opens its objects.
    Opening,
    /// Frames are being worked on.
    Running,
    /// Files are being closed, exported, verified.
    Finishing,
}

/// One report of progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Progress {
    /// The part.
    pub stage: Stage,
    /// Frames done.
    pub done: u64,
    /// Frames in all, where known.
    pub total: Option<u64>,
}
