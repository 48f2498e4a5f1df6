//! `halfpipe bench`: the shipped pipeline beside the same models one frame at a time, in one process and one run.
//!
//! The baseline is [`Job::lockstep`] with a batch of 1: every piece of work is waited for before the next is queued, as a plain
//! sequential program does it. Runs are interleaved and medians are shown, because machines are noisy; read the ratios.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use halfpipe_runtime::{CancelToken, Guest, Host, Job, JobReport, Limits, Outputs, RuntimeError};
use serde_json::{Value, json};

use crate::args::BenchArgs;
use crate::places;

/// One way to do the work.
struct Variant {
    name: &'static str,
    options: Value,
    lockstep: bool,
}

/// As shipped, one at a time, and both again with the detector on every frame and two landmark passes.
fn variants() -> [Variant; 4] {
    let all = json!({ "detector_frames": 1, "landmark_passes": 2 });
    [
        Variant { name: "shipped", options: json!({}), lockstep: false },
        Variant { name: "one at a time", options: json!({}), lockstep: true },
        Variant { name: "every inference", options: all.clone(), lockstep: false },
        Variant { name: "every inference, one at a time", options: all, lockstep: true },
    ]
}

/// Runs all variants on all clips and prints figures and ratios.
pub fn bench(args: &BenchArgs) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().context("cannot start the async runtime")?;
    runtime.block_on(async {
        let component = halfpipe_runtime::host::find_guest("overlay", &args.places.guests_dir()?)?;
        let host = places::host(&args.places, &args.devices, Limits::default())?;
        let guest = host.load_guest(&component).await?;
        let mut results = Vec::new();
        for clip in clips(args)? {
            results.push(clip_figures(&host, &guest, &clip, args).await?);
        }
        if args.json {
            println!("{}", serde_json::to_string_pretty(&results)?);
        }
        Ok(())
    })
}

/// The clips given, or those that the repository brings.
fn clips(args: &BenchArgs) -> anyhow::Result<Vec<PathBuf>> {
    if !args.clips.is_empty() {
        return Ok(args.clips.clone());
    }
    let fetched = halfpipe_nn::catalog::cache_dir().map(|c| c.join("clips/sports2d_demo.mp4"));
    let found: Vec<PathBuf> =
        fetched.into_iter().chain([PathBuf::from("tests/fixtures/clips/tfjs_pose_squats.mp4")]).filter(|p| p.is_file()).collect();
    if found.is_empty() {
        return Err(
            RuntimeError::BadInput("there is no clip to run on; name one, or run `make clips` and start in the repository".into()).into()
        );
    }
    Ok(found)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn clip_figures(host: &Host, guest: &Arc<Guest>, clip: &Path, args: &BenchArgs) -> anyhow::Result<Value> {
    let dir = tempfile::tempdir().context("cannot make a temporary folder")?;
    let variants = variants();
    // models loaded, files cached
    run(host, guest, clip, &variants[0], dir.path()).await?;
    let mut reports: Vec<Vec<JobReport>> = variants.iter().map(|_| Vec::new()).collect();
    for round in 0..args.repeats {
        for (variant, reports) in variants.iter().zip(&mut reports) {
            eprintln!("{}: round {} of {}, {}", clip.display(), round + 1, args.repeats, variant.name);
            reports.push(run(host, guest, clip, variant, dir.path()).await?);
        }
    }
    for (a, b) in [(0, 1), (2, 3)] {
        let counts = |i: usize| (reports[i][0].counts.frames, reports[i][0].counts.people, reports[i][0].counts.frames_drawn);
        anyhow::ensure!(counts(a) == counts(b), "{}: {:?} and {:?} must come to the same", clip.display(), counts(a), counts(b));
    }
    let rate = |i: usize| median(reports[i].iter().map(|r| r.frames_per_second).collect());
    let cpu = |i: usize| median(reports[i].iter().map(|r| 1e3 * r.cpu_seconds / r.counts.frames.max(1) as f64).collect());
    let rows: Vec<Value> = (0..variants.len())
        .map(|i| json!({ "variant": variants[i].name, "frames_per_second": rate(i), "cpu_ms_per_frame": cpu(i) }))
        .collect();
    let ratios = json!({
        "shipped / one at a time": rate(0) / rate(1),
        "every inference / the same one at a time": rate(2) / rate(3),
        "shipped / every inference one at a time": rate(0) / rate(3),
    });
    let typical = &reports[0][0];
    let result = json!({
        "clip": clip, "repeats": args.repeats, "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "variants": rows, "ratios": ratios, "report": typical,
    });
    if !args.json {
        print(&result, typical);
    }
    Ok(result)
}

fn print(result: &Value, typical: &JobReport) {
    let frames = typical.counts.frames.max(1) as f64;
    println!(
        "{}  {}x{}, {} frames, median of {} runs",
        result["clip"], typical.input.width, typical.input.height, frames, result["repeats"]
    );
    println!("  on {} cores, {}, {}", result["cores"], typical.provenance.execution_provider, typical.provenance.adapter);
    for row in result["variants"].as_array().into_iter().flatten() {
        let name = row["variant"].as_str().unwrap_or_default();
        println!(
            "  {name:<32} {:>7.2} frames/s {:>8.1} CPU-ms a frame",
            row["frames_per_second"].as_f64().unwrap_or(0.0),
            row["cpu_ms_per_frame"].as_f64().unwrap_or(0.0)
        );
    }
    for (name, ratio) in result["ratios"].as_object().into_iter().flatten() {
        println!("  {name:<42} {:>5.2} x", ratio.as_f64().unwrap_or(0.0));
    }
    println!("  stages of one shipped run, busy ms a frame (they overlap)");
    for (name, stage) in &typical.stages {
        println!("    {name:<38} {:>7.2}", 1e3 * stage.busy_seconds / frames);
    }
    for (name, secs) in &typical.sandbox.cpu_seconds {
        println!("    {:<38} {:>7.2}", format!("guest CPU: {name}"), 1e3 * secs / frames);
    }
    println!(
        "  guest without the fit: {:.2} % of all CPU time; instantiated in {:.0} microseconds",
        100.0 * typical.sandbox.share_without_fit,
        typical.sandbox.instantiate_microseconds
    );
}

async fn run(host: &Host, guest: &Arc<Guest>, clip: &Path, variant: &Variant, dir: &Path) -> anyhow::Result<JobReport> {
    let job = Job {
        id: "bench".into(),
        guest: Arc::clone(guest),
        input: clip.to_owned(),
        outputs: Outputs { video: Some(dir.join("out.mp4")), poses: Some(dir.join("poses.jsonl")), ..Outputs::default() },
        options: variant.options.clone(),
        batch: if variant.lockstep { 1 } else { crate::args::BATCH },
        window: None,
        quality: None,
        preset: None,
        lockstep: variant.lockstep,
        cancel: CancelToken::default(),
        progress: Arc::new(|_| {}),
    };
    Ok(host.run(job).await?)
}
