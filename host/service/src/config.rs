//! What can be set about the service.

use std::path::PathBuf;
use std::time::Duration;

/// Settings of an [`App`](crate::App). Every field has a flag and a variable of its own in `halfpipe serve`.
#[derive(Debug, Clone)]
pub struct Config {
    /// Keys of which a client must show one (`Authorization: Bearer`, or `X-Api-Key`); none lets everybody in.
    pub api_keys: Vec<String>,
    /// Origins that browsers may call from; `*` for any, none for no CORS headers at all.
    pub cors_origins: Vec<String>,
    /// Largest video taken in, bytes.
    pub most_upload_bytes: u64,
    /// Bytes that must stay free on the spool's disk after an upload.
    pub disk_reserve_bytes: u64,
    /// Longest pause between two parts of a request's body.
    pub body_pause: Duration,
    /// Folder for what is being worked on. Emptied of leftovers at the start.
    pub spool: PathBuf,
    /// Folder of pipeline components.
    pub guests: PathBuf,
    /// Jobs that may wait before more are refused.
    pub most_waiting: usize,
    /// Jobs worked on at once.
    pub running: usize,
    /// How long a job stays with a process that has stopped answering.
    pub lease: Duration,
    /// Attempts a job gets.
    pub most_attempts: u32,
    /// Wait before the second attempt; doubled for each further one, with jitter.
    pub back_off: Duration,
    /// Age at which an upload that no job has is removed.
    pub orphan_age: Duration,
    /// Longest wall time of one job; none for any.
    pub job_timeout: Option<Duration>,
    /// Videos longer than about one and a half times this are worked on in windows of about this many seconds; none for always whole.
    pub window_seconds: Option<f64>,
    /// Pipeline of jobs that name none.
    pub pipeline: String,
    /// Planner component, by name or path, that decides on upload events.
    pub planner: String,
    /// The bucket that events must come from; none for any.
    pub bucket: Option<String>,
    /// What keys in that bucket begin with before those of the store: empty, or ending in `/`.
    pub bucket_prefix: String,
    /// Signs the addresses of uploads; none for the store's own secret, else one derived from the webhook secret, else one drawn for
    /// this process.
    pub upload_secret: Option<[u8; 32]>,
    /// Signs webhooks (HMAC-SHA256); none refuses jobs that want one.
    pub webhook_secret: Option<String>,
    /// Whether webhooks may go to loopback and private addresses.
    pub webhook_private: bool,
}

impl Config {
    /// Key prefix of job records.
    pub const LEDGER_PREFIX: &'static str = "ledger/";
    /// Key prefix of inputs that clients sent.
    pub const UPLOADS_PREFIX: &'static str = "uploads/";
    /// What a store's secret that signs the addresses of uploads is called.
    pub const UPLOAD_SECRET: &'static str = "upload-addresses";
    /// Key prefix of results.
    pub const RESULTS_PREFIX: &'static str = "results/";

    /// The defaults, for a spool and a folder of guests.
    #[must_use]
    pub fn new(spool: PathBuf, guests: PathBuf) -> Self {
        Self {
            api_keys: Vec::new(),
            cors_origins: Vec::new(),
            most_upload_bytes: 2 << 30,
            disk_reserve_bytes: 512 << 20,
            body_pause: Duration::from_secs(30),
            spool,
            guests,
            most_waiting: 100,
            running: 1,
            lease: Duration::from_secs(30),
            most_attempts: 3,
            back_off: Duration::from_secs(2),
            orphan_age: Duration::from_secs(24 * 3600),
            job_timeout: None,
            window_seconds: None,
            pipeline: "overlay".into(),
            planner: "planner".into(),
            bucket: None,
            bucket_prefix: String::new(),
            upload_secret: None,
            webhook_secret: None,
            webhook_private: false,
        }
    }
}
