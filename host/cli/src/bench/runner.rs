//! Runs the variants in turn.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use halfpipe_runtime::{CancelToken, Guest, Host, Job, JobReport, Outputs};

use super::variants::{VARIANTS, Variant};

/// One run of one variant.
pub(super) struct Run {
    pub(super) report: JobReport,
    /// The lines of poses.jsonl after its header, which names the settings.
    pub(super) poses: String,
    /// Highest resident memory during this run, bytes; none where the kernel does not let the mark be set back.
    pub(super) peak_rss_bytes: Option<u64>,
}

impl Run {
    pub(super) fn cpu_ms_per_frame(&self) -> f64 {
        1000.0 * self.report.cpu_seconds / self.frames()
    }
    /// At least 1, for divisions.
    pub(super) fn frames(&self) -> f64 {
        self.report.counts.frames.max(1) as f64
    }
}

/// What all runs share.
pub(super) struct Runner {
    pub(super) host: Host,
    pub(super) guest: Arc<Guest>,
    pub(super) cancel: CancelToken,
    /// For outputs; gone with this.
    pub(super) folder: tempfile::TempDir,
}

impl Runner {
    /// A run to warm up, then all variants in turn; the result is by round, then by variant.
    pub(super) async fn rounds(&self, clip: &Path, repeats: u8) -> anyhow::Result<Vec<Vec<Run>>> {
        eprintln!("{}: warming up", clip.display());
        self.run(clip, &VARIANTS[0]).await?;
        let mut rounds = Vec::new();
        for round in 1..=repeats {
            let mut runs = Vec::new();
            for variant in &VARIANTS {
                let run = self.run(clip, variant).await?;
                let r = &run.report;
                eprintln!("round {round} of {repeats}: {:<26} {:.1} s, {:.2} frames/s", variant.name, r.wall_seconds, r.frames_per_second);
                runs.push(run);
            }
            rounds.push(runs);
        }
        Ok(rounds)
    }

    async fn run(&self, clip: &Path, variant: &Variant) -> anyhow::Result<Run> {
        // outputs of a run do not outlive it: a round of long clips must not fill the disk
        let folder = tempfile::tempdir_in(self.folder.path()).context("cannot make a folder for outputs")?;
        let output = |name: &str| Some(folder.path().join(name));
        let poses = folder.path().join("poses.jsonl");
        // a "5" sets the mark of the highest resident memory back to the present (proc(5))
        let marked = std::fs::write("/proc/self/clear_refs", "5").is_ok();
        let job = Job {
            id: format!("bench-{}", std::process::id()),
            guest: Arc::clone(&self.guest),
            input: clip.to_owned(),
            outputs: Outputs {
                video: output("overlay.mp4"),
                poses: Some(poses.clone()),
                glb: output("motion.glb"),
                bvh: output("motion.bvh"),
                report: None,
            },
            options: variant.options(),
            probed: None,
            batch: variant.batch,
            window: None,
            quality: None,
            preset: None,
            lockstep: variant.lockstep,
            cancel: self.cancel.clone(),
            progress: Arc::new(|_| {}),
        };
        let report = self.host.run(job).await?;
        let poses = std::fs::read_to_string(&poses).with_context(|| format!("cannot read {}", poses.display()))?;
        let poses = poses.split_once('\n').map_or(String::new(), |(_, frames)| frames.to_owned());
        Ok(Run { peak_rss_bytes: marked.then_some(report.peak_rss_bytes), report, poses })
    }
}
