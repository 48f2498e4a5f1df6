//! `halfpipe bench`: how fast the pipeline is, against a sequential baseline that runs in the same process.
//!
//! Four variants of the same job run in turn on each clip, 1 2 3 4 1 2 3 4 ..., after one run that loads the models and fills the
//! page cache. All write the overlay video, poses, glTF and BVH, as `make demo` does.
//!
//! | | variant | frames at once | detector and landmark network |
//! |---|---|---|---|
//! | 1 | halfpipe | overlapped, batches | as shipped: the detector pauses while it can, one landmark pass a person |
//! | 2 | one at a time | lockstep, batch of 1 | the same |
//! | 3 | equal work | overlapped, batches | detector on every frame, two landmark passes a person |
//! | 4 | equal work, one at a time | lockstep, batch of 1 | the same as 3 |
//!
//! In lockstep each piece of work is waited for before the next is queued. ffmpeg decodes and encodes in processes of its own
//! and still does so beside the rest, a frame or two ahead, so the baseline is a little better than strictly sequential.
//!
//! How to read it:
//!
//! - 1/2 is what batches and overlap gain, 3/4 the same where the networks have more to do, and 1/4 what these and the pauses of
//!   the detector gain together. A ratio of frames/s above 1 and a ratio of CPU time below 1 are gains.
//! - A ratio is computed within each round and its median shown, with the lowest and highest in brackets: other work on the machine
//!   slows a whole round more evenly than it slows two runs that are minutes apart. Trust a ratio whose range is narrow.
//! - Stages overlap, so their busy times need not add up to the time of a frame, and may exceed it. They are wall times: a stage is
//!   busy for longer where others use the same cores. Stages with "wait" in the name wait, the others work; decode and encode
//!   include waiting for ffmpeg.
//! - CPU time is that of this process and of its ffmpeg processes.
//!
//! Variants with equal options must come to equal counts in every run; where they do not, there is no figure but an error. Whether
//! the poses were equal to the last digit too is reported.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use halfpipe_runtime::report::{Counts, Provenance};
use halfpipe_runtime::{CancelToken, Guest, Host, Job, JobReport, Limits, Outputs, RuntimeError};
use serde::Serialize;
use serde_json::{Value, json};

use crate::args::{BATCH, BenchArgs};
use crate::{places, signals};

/// One way to run the job.
struct Variant {
    name: &'static str,
    /// Wait for each piece of work before the next is queued.
    lockstep: bool,
    batch: u32,
    /// Detector on every frame and two landmark passes, whatever the shipped policy would save.
    equal_work: bool,
}

/// In the order in which they run and in which ratios number them, from 1.
const VARIANTS: [Variant; 4] = [
    Variant { name: "halfpipe", lockstep: false, batch: BATCH, equal_work: false },
    Variant { name: "one at a time", lockstep: true, batch: 1, equal_work: false },
    Variant { name: "equal work", lockstep: false, batch: BATCH, equal_work: true },
    Variant { name: "equal work, one at a time", lockstep: true, batch: 1, equal_work: true },
];

/// Pairs to compare, as indices of [`VARIANTS`]. The first two have equal options.
const PAIRS: [(usize, usize); 3] = [(0, 1), (2, 3), (0, 3)];

impl Variant {
    fn options(&self) -> Value {
        if self.equal_work { json!({ "detector_frames": 1, "landmark_passes": 2 }) } else { json!({}) }
    }
}

/// One run of one variant.
struct Run {
    report: JobReport,
    /// The lines of poses.jsonl after its header, which names the settings.
    poses: String,
    /// Highest resident memory during this run, bytes; none where the kernel does not let the mark be set back.
    peak_rss_bytes: Option<u64>,
}

impl Run {
    fn cpu_ms_per_frame(&self) -> f64 {
        1000.0 * self.report.cpu_seconds / self.frames()
    }
    /// At least 1, for divisions.
    fn frames(&self) -> f64 {
        self.report.counts.frames.max(1) as f64
    }
}

/// Median, lowest and highest of a figure over the rounds.
#[derive(Debug, Clone, Copy, Serialize)]
struct Spread {
    median: f64,
    lowest: f64,
    highest: f64,
}

impl Spread {
    /// Of at least one value; the median of an even number is the mean of the middle two.
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let n = values.len();
        Self { median: f64::midpoint(values[(n - 1) / 2], values[n / 2]), lowest: values[0], highest: values[n - 1] }
    }
}

/// Everything that was measured.
#[derive(Serialize)]
struct BenchReport {
    /// `halfpipe.bench/1`.
    schema: &'static str,
    repeats: u8,
    machine: Machine,
    clips: Vec<ClipReport>,
}

/// Where it was measured.
#[derive(Serialize)]
struct Machine {
    /// Processors this process may use.
    cores: usize,
    /// Load of the last minute before the start, in processes: other work on this machine. None where the system does not say.
    load_average: Option<f64>,
    provenance: Provenance,
}

#[derive(Serialize)]
struct ClipReport {
    clip: PathBuf,
    width: u32,
    height: u32,
    codec: String,
    variants: Vec<VariantReport>,
    ratios: Vec<Ratio>,
    shipped: Shipped,
}

#[derive(Serialize)]
struct VariantReport {
    name: &'static str,
    lockstep: bool,
    batch: u32,
    options: Value,
    frames_per_second: Spread,
    cpu_ms_per_frame: Spread,
    wall_seconds: Spread,
    counts: Counts,
}

/// One variant over another, each round by itself.
#[derive(Serialize)]
struct Ratio {
    /// Numbers of the variants, from 1: `1/2`.
    pair: String,
    variant: &'static str,
    over: &'static str,
    frames_per_second: Spread,
    cpu_per_frame: Spread,
    /// Whether all poses were equal to the last digit; none where the options differ.
    same_poses: Option<bool>,
}

/// More of variant 1, from its run with the median wall time (the faster of two in the middle).
#[derive(Serialize)]
struct Shipped {
    stages_busy_ms_per_frame: BTreeMap<String, f64>,
    sandbox_share_without_fit: f64,
    fit_cpu_ms_per_frame: f64,
    instantiate_microseconds: f64,
    peak_rss_bytes: Option<u64>,
}

/// Measures and prints.
pub fn bench(args: &BenchArgs) -> anyhow::Result<()> {
    let clips = if args.clips.is_empty() { default_clips()? } else { args.clips.clone() };
    let load_average = load_average();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().context("cannot start the async runtime")?;
    let report = runtime.block_on(async {
        let cancel = CancelToken::default();
        let token = cancel.clone();
        signals::listen(move || token.cancel())?;
        let component = halfpipe_runtime::host::find_guest("overlay", &args.places.guests_dir()?)?;
        let host = places::host(&args.places, &args.devices, Limits::default())?;
        let guest = host.load_guest(&component).await?;
        let runner = Runner { host, guest, cancel, folder: tempfile::tempdir().context("cannot make a folder for outputs")? };
        let (mut reports, mut provenance) = (Vec::new(), None);
        for clip in &clips {
            let rounds = runner.rounds(clip, args.repeats).await?;
            provenance = Some(rounds[0][0].report.provenance.clone());
            reports.push(clip_report(clip, &rounds)?);
        }
        let provenance = provenance.context("no clips")?;
        let machine = Machine { cores: std::thread::available_parallelism()?.get(), load_average, provenance };
        anyhow::Ok(BenchReport { schema: "halfpipe.bench/1", repeats: args.repeats, machine, clips: reports })
    })?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", text(&report));
    }
    Ok(())
}

/// The demo clip in the cache and the squats of the repository.
fn default_clips() -> anyhow::Result<Vec<PathBuf>> {
    let cache = halfpipe_nn::catalog::cache_dir().context("neither XDG_CACHE_HOME nor HOME is set; name the clips")?;
    let clips = vec![cache.join("clips/sports2d_demo.mp4"), PathBuf::from("tests/fixtures/clips/tfjs_pose_squats.mp4")];
    match clips.iter().find(|c| !c.is_file()) {
        None => Ok(clips),
        Some(missing) => {
            let message = format!("{} is missing; run `make clips` and start in the repository, or name clips", missing.display());
            Err(RuntimeError::BadInput(message).into())
        }
    }
}

/// Load average of the last minute (proc(5)).
fn load_average() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split_ascii_whitespace().next()?.parse().ok()
}

/// What all runs share.
struct Runner {
    host: Host,
    guest: Arc<Guest>,
    cancel: CancelToken,
    /// For outputs; gone with this.
    folder: tempfile::TempDir,
}

impl Runner {
    /// A run to warm up, then all variants in turn; the result is by round, then by variant.
    async fn rounds(&self, clip: &Path, repeats: u8) -> anyhow::Result<Vec<Vec<Run>>> {
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

/// Everything that runs with equal options must agree on, by name.
fn findings(counts: &Counts) -> Vec<(&'static str, Value)> {
    vec![
        ("frames", counts.frames.into()),
        ("drawn frames", counts.frames_drawn.into()),
        ("people summed over frames", counts.people.into()),
        ("tracks", counts.tracks.into()),
        ("frames by status", json!(counts.statuses)),
    ]
}

/// Fails where two runs with equal options found different things.
fn check_equal(clip: &Path, (name, a): (&str, &Counts), (other, b): (&str, &Counts)) -> anyhow::Result<()> {
    for ((what, left), (_, right)) in findings(a).into_iter().zip(findings(b)) {
        anyhow::ensure!(
            left == right,
            "runs with equal options must find the same in {}, but {what} are {left} in \"{name}\" and {right} in \"{other}\"; \
             their times cannot be compared",
            clip.display()
        );
    }
    Ok(())
}

fn clip_report(clip: &Path, rounds: &[Vec<Run>]) -> anyhow::Result<ClipReport> {
    let all = |i: usize| rounds.iter().map(move |runs| &runs[i]);
    for (i, variant) in VARIANTS.iter().enumerate() {
        let (first, reference) = if variant.equal_work { (&VARIANTS[2], &rounds[0][2]) } else { (&VARIANTS[0], &rounds[0][0]) };
        for run in all(i) {
            check_equal(clip, (first.name, &reference.report.counts), (variant.name, &run.report.counts))?;
        }
    }
    let variants = VARIANTS.iter().enumerate().map(|(i, v)| VariantReport {
        name: v.name,
        lockstep: v.lockstep,
        batch: v.batch,
        options: v.options(),
        frames_per_second: Spread::of(all(i).map(|r| r.report.frames_per_second)),
        cpu_ms_per_frame: Spread::of(all(i).map(Run::cpu_ms_per_frame)),
        wall_seconds: Spread::of(all(i).map(|r| r.report.wall_seconds)),
        counts: rounds[0][i].report.counts.clone(),
    });
    let ratios = PAIRS.into_iter().map(|(a, b)| Ratio {
        pair: format!("{}/{}", a + 1, b + 1),
        variant: VARIANTS[a].name,
        over: VARIANTS[b].name,
        frames_per_second: Spread::of(all(a).zip(all(b)).map(|(a, b)| a.report.frames_per_second / b.report.frames_per_second)),
        cpu_per_frame: Spread::of(all(a).zip(all(b)).map(|(a, b)| a.cpu_ms_per_frame() / b.cpu_ms_per_frame())),
        same_poses: (VARIANTS[a].equal_work == VARIANTS[b].equal_work)
            .then(|| all(a).chain(all(b)).all(|run| run.poses == rounds[0][a].poses)),
    });
    let input = &rounds[0][0].report.input;
    Ok(ClipReport {
        clip: clip.to_owned(),
        width: input.width,
        height: input.height,
        codec: input.codec.clone(),
        variants: variants.collect(),
        ratios: ratios.collect(),
        shipped: shipped(all(0).collect()),
    })
}

fn shipped(mut runs: Vec<&Run>) -> Shipped {
    runs.sort_by(|a, b| a.report.wall_seconds.total_cmp(&b.report.wall_seconds));
    let run = runs[(runs.len() - 1) / 2];
    let (r, per_frame) = (&run.report, 1000.0 / run.frames());
    Shipped {
        stages_busy_ms_per_frame: r.stages.iter().map(|(name, times)| (name.clone(), times.busy_seconds * per_frame)).collect(),
        sandbox_share_without_fit: r.sandbox.share_without_fit,
        // the section is not there where there is nobody to fit
        fit_cpu_ms_per_frame: r.sandbox.cpu_seconds.get("fit").map_or(0.0, |secs| secs * per_frame),
        instantiate_microseconds: r.sandbox.instantiate_microseconds,
        peak_rss_bytes: run.peak_rss_bytes,
    }
}

/// The report for a person.
fn text(report: &BenchReport) -> String {
    let mut s = String::new();
    // writing to a String cannot fail
    let mut line = |text: std::fmt::Arguments<'_>| writeln!(s, "{text}").ok();
    let (m, p) = (&report.machine, &report.machine.provenance);
    let load = m.load_average.map_or_else(|| "unknown".to_owned(), |l| format!("{l:.1}"));
    line(format_args!("machine   {} cores, load average {load} before the start", m.cores));
    line(format_args!("networks  {}, {}", p.execution_provider, p.precision));
    line(format_args!("drawing   {}{}", p.adapter, if p.adapter_software { ", software" } else { "" }));
    line(format_args!("made by   halfpipe {}, {} {}, ffmpeg {}", p.host_version, p.guest, p.guest_version, p.ffmpeg));
    for clip in &report.clips {
        let counts = &clip.variants[0].counts;
        line(format_args!(""));
        line(format_args!(
            "{}: {}x{} {}, {} frames, {} tracks; median of {} (lowest to highest)",
            clip.clip.display(),
            clip.width,
            clip.height,
            clip.codec,
            counts.frames,
            counts.tracks,
            report.repeats
        ));
        line(format_args!("  {:<28} {:<24} {:<22} wall s", "", "frames/s", "CPU-ms a frame"));
        for (i, v) in clip.variants.iter().enumerate() {
            let (fps, cpu, wall) = (range(v.frames_per_second, 2), range(v.cpu_ms_per_frame, 0), range(v.wall_seconds, 2));
            line(format_args!("  {} {:<26} {fps:<24} {cpu:<22} {wall}", i + 1, v.name));
        }
        for r in &clip.ratios {
            let (fps, cpu) = (range(r.frames_per_second, 2), range(r.cpu_per_frame, 2));
            let poses = match r.same_poses {
                Some(true) => "the same poses to the last digit",
                Some(false) => "poses that differ in digits",
                None => "options differ",
            };
            line(format_args!("  {:<28} {fps:<24} {cpu:<22} {poses}", r.pair));
        }
        let h = &clip.shipped;
        let mut stages: Vec<_> = h.stages_busy_ms_per_frame.iter().collect();
        stages.sort_by(|a, b| b.1.total_cmp(a.1));
        line(format_args!("  stages of 1, busy ms a frame (they overlap)"));
        for (name, ms) in stages {
            line(format_args!("    {name:<34} {ms:>8.2}"));
        }
        let peak = h.peak_rss_bytes.map_or_else(|| "unknown".to_owned(), |b| format!("{:.0} MiB", b as f64 / f64::from(1 << 20)));
        line(format_args!(
            "  guest of 1: {:.2} % of all CPU time without the fit; fit {:.2} CPU-ms a frame; instantiated in {:.0} us; peak memory {peak}",
            100.0 * h.sandbox_share_without_fit,
            h.fit_cpu_ms_per_frame,
            h.instantiate_microseconds,
        ));
    }
    s
}

/// `19.40 (19.12 to 19.61)`.
fn range(s: Spread, digits: usize) -> String {
    format!("{:.digits$} ({:.digits$} to {:.digits$})", s.median, s.lowest, s.highest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let s = Spread::of([5.0, 1.0, 2.0].into_iter());
        assert_eq!((s.median, s.lowest, s.highest), (2.0, 1.0, 5.0));
        assert_eq!(Spread::of([1.0, 4.0, 3.0, 2.0].into_iter()).median, 2.5);
        assert_eq!(Spread::of([7.0].into_iter()).median, 7.0);
    }

    #[test]
    fn counts_that_differ_are_named() {
        let counts = |people, bodies| Counts {
            frames: 10,
            frames_drawn: 8,
            pixels_drawn: 8000,
            people,
            tracks: 1,
            statuses: BTreeMap::from([("tracked".to_owned(), bodies)]),
            // the guest's own counts say how the work was cut up, which is what variants differ in
            other: BTreeMap::from([("batches".to_owned(), people as f64)]),
        };
        let compare = |a, b| check_equal(Path::new("a.mp4"), ("halfpipe", &a), ("one at a time", &b));
        assert!(compare(counts(8, 8), counts(8, 8)).is_ok());
        let message = compare(counts(8, 8), counts(9, 8)).unwrap_err().to_string();
        assert!(message.contains("people summed over frames are 8 in \"halfpipe\" and 9 in \"one at a time\""), "{message}");
        assert!(compare(counts(8, 8), counts(8, 7)).unwrap_err().to_string().contains("frames by status"));
    }

    #[test]
    fn compared_variants_differ_in_what_the_ratio_says() {
        for (a, b) in PAIRS {
            assert!(!VARIANTS[a].lockstep && VARIANTS[a].batch > 1, "{} is overlapped", VARIANTS[a].name);
            assert!(VARIANTS[b].lockstep && VARIANTS[b].batch == 1, "{} is sequential", VARIANTS[b].name);
        }
        assert!(PAIRS[..2].iter().all(|(a, b)| VARIANTS[*a].options() == VARIANTS[*b].options()));
    }
}
