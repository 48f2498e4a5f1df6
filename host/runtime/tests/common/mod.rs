//! One host for all tests of a file, and jobs with a folder of their own.
#![allow(dead_code, reason = "each test program uses its own part of this module")]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use halfpipe_nn::{Catalog, Device};
use halfpipe_runtime::{CancelToken, Guest, Host, HostConfig, Job, JobReport, Limits, Outputs, Precompiled, RuntimeError};
use halfpipe_testkit::{clips, places};
use serde_json::Value;

/// Limits small enough that tests need not wait long for them.
pub fn limits() -> Limits {
    Limits {
        memory_bytes: 192 << 20,
        handles: 1000,
        handle_bytes: 64 << 20,
        spin: Duration::from_millis(300),
        // wall time: generous, so that a busy machine does not end the well-behaved
        stall: Duration::from_secs(8),
        ..Limits::default()
    }
}

/// The host of this test program.
pub fn host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| {
        let config = HostConfig {
            device: Device::Cpu,
            limits: limits(),
            precompiled: Precompiled::default().with_cache(places::compiled()),
            ..HostConfig::new(Catalog::builtin().unwrap(), places::models())
        };
        Host::start(config).unwrap()
    })
}

/// A folder, an input clip of 30 frames in it, and places for outputs.
pub struct Bench {
    pub dir: tempfile::TempDir,
    pub input: PathBuf,
}

impl Bench {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let input = clips::test_pattern(&dir.path().join("in.mp4"), "320x180", "30", 30, true);
        Self { dir, input }
    }

    pub fn out(&self, name: &str) -> PathBuf {
        self.dir.path().join("out").join(name)
    }

    pub fn job(&self, guest: Arc<Guest>, options: Value) -> Job {
        std::fs::create_dir_all(self.dir.path().join("out")).unwrap();
        Job {
            id: "test".into(),
            guest,
            input: self.input.clone(),
            outputs: Outputs { video: Some(self.out("out.mp4")), ..Outputs::default() },
            options,
            probed: None,
            batch: 8,
            window: None,
            quality: None,
            preset: Some("ultrafast".into()),
            lockstep: false,
            cancel: CancelToken::default(),
            progress: Arc::new(|_| {}),
        }
    }

    /// What lies in the output folder, hidden files too.
    pub fn leftovers(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.dir.path().join("out")).into_iter().flatten().flatten();
        entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect()
    }
}

/// Loads a guest of `make guests`.
pub async fn guest(name: &str) -> Arc<Guest> {
    host().load_guest(&places::guest(name)).await.unwrap()
}

/// Runs a job on the host of this program.
pub fn run(make: impl AsyncFnOnce() -> Job) -> Result<JobReport, RuntimeError> {
    runtime().block_on(async { host().run(make().await).await })
}

/// An async runtime like the command's.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// ffmpeg and ffprobe children of this process that are still there, zombies included.
pub fn children() -> Vec<String> {
    let me = std::process::id().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten().filter(|e| e.file_name().to_string_lossy().parse::<u32>().is_ok());
    processes
        .filter_map(|e| std::fs::read_to_string(e.path().join("stat")).ok())
        .filter(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.split_ascii_whitespace().nth(1) == Some(&me)))
        .collect()
}
