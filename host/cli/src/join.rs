//! `halfpipe join`: one video and one pose file of the parts that the windows of a plan made.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use clap::Args;
use halfpipe_join::{JoinReport, Plan, Request};
use halfpipe_media::stop_signal;
use halfpipe_runtime::RuntimeError;
use halfpipe_runtime::motion::{MotionFiles, export_files};
use halfpipe_service::settings::Places;

use crate::args::DataArgs;
use crate::split::{fault, refuse_to_replace};
use crate::{places, signals};

const EXAMPLES: &str = "\
Examples:
  halfpipe join plan.json --parts parts -o match_overlay.mp4 --poses match.jsonl
  halfpipe join plan.json --parts parts --source /data/match.mp4 --glb match.glb --bvh match.bvh

The folder of parts holds out_K.mp4 and poses_K.jsonl for every window K. A join that failed can be repeated once the part that it
names was made again.";

/// `halfpipe join`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct JoinArgs {
    /// The plan that `halfpipe split` made
    pub plan: PathBuf,
    /// Folder of the parts: out_K.mp4 (where a video is wanted) and poses_K.jsonl for every window K
    #[arg(long, value_name = "DIR")]
    pub parts: PathBuf,
    /// The video that was split [default: where it was then, or beside the plan]
    #[arg(long, value_name = "FILE")]
    pub source: Option<PathBuf>,
    /// The video (.mp4, .mov or .mkv), with the sound of the one that was split
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// What is written beside the video
    #[command(flatten)]
    pub data: DataArgs,
    /// Where things are
    #[command(flatten)]
    pub places: Places,
}

/// Joins and prints the report.
pub fn join(args: &JoinArgs) -> anyhow::Result<()> {
    let outputs = [&args.output, &args.data.poses, &args.data.glb, &args.data.bvh];
    if outputs.iter().all(|o| o.is_none()) {
        let message = "nothing to write; give -o FILE, --poses FILE, --glb FILE or --bvh FILE".to_owned();
        return Err(RuntimeError::BadInput(message).into());
    }
    for output in outputs.into_iter().chain([&args.data.report]).flatten() {
        refuse_to_replace(output, args.data.overwrite)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.context("cannot start the async runtime")?;
    let report = runtime.block_on(async {
        let (handle, signal) = stop_signal().context("cannot make a pipe")?;
        let (handle, asked) = (Mutex::new(Some(handle)), std::sync::Arc::new(AtomicBool::new(false)));
        let told = std::sync::Arc::clone(&asked);
        signals::listen(move || {
            told.store(true, Ordering::Release);
            // dropping it stops ffmpeg
            handle.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        })?;
        let work = args.clone();
        let done = tokio::task::spawn_blocking(move || work_on(&work, signal)).await.context("the join broke down")?;
        if asked.load(Ordering::Acquire) && done.is_err() { Err(RuntimeError::Cancelled.into()) } else { done }
    })?;
    if args.data.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", text(&report));
    }
    Ok(())
}

fn work_on(args: &JoinArgs, signal: halfpipe_media::StopSignal) -> anyhow::Result<JoinReport> {
    let plan = Plan::load(&args.plan).map_err(fault)?;
    let source = match &args.source {
        Some(source) => source.clone(),
        None => find_source(&plan.source.path, &args.plan),
    };
    let tools = places::tools()?;
    let motion = args.data.glb.is_some() || args.data.bvh.is_some();
    // motion files are made from the poses, wanted or not
    let scratch =
        (motion && args.data.poses.is_none()).then(tempfile::NamedTempFile::new).transpose().context("cannot make a temporary file")?;
    let poses = args.data.poses.as_deref().or(scratch.as_ref().map(tempfile::NamedTempFile::path));
    let request =
        Request { plan: &plan, plan_path: &args.plan, source: &source, folder: &args.parts, video: args.output.as_deref(), poses };
    let report = halfpipe_join::join(&tools, &request, signal).map_err(fault)?;
    if let Some(poses) = poses.filter(|_| motion) {
        let files = MotionFiles { glb: args.data.glb.as_deref(), bvh: args.data.bvh.as_deref() };
        let warnings = export_files(&args.places.catalog()?, &args.places.models_dir()?, poses, files)?;
        for warning in warnings {
            tracing::warn!("{}", warning.message);
        }
    }
    if let Some(path) = &args.data.report {
        let text = serde_json::to_string_pretty(&report)? + "\n";
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(report)
}

/// Where the video was when it was split; else beside the plan, where folders are moved together.
fn find_source(then: &Path, plan: &Path) -> PathBuf {
    let beside = then.file_name().map(|name| plan.with_file_name(name)).filter(|path| path.is_file());
    if then.is_file() { then.to_owned() } else { beside.unwrap_or_else(|| then.to_owned()) }
}

/// The report as text.
fn text(r: &JoinReport) -> String {
    use std::fmt::Write;
    let mut s = String::new();
    // writing to a String cannot fail
    let mut line = |text: std::fmt::Arguments<'_>| writeln!(s, "{text}").ok();
    if let Some(video) = &r.video {
        line(format_args!("video    {}  ({:.1} MiB)", video.path.display(), video.bytes as f64 / f64::from(1 << 20)));
    }
    let statuses: Vec<String> = r.statuses.iter().map(|(k, v)| format!("{v} {}", k.replace('_', " "))).collect();
    line(format_args!("frames   {} ({}) of {} parts", r.frames, statuses.join(", "), r.parts.len()));
    line(format_args!("people   {} tracks", r.tracks));
    for seam in &r.seams {
        let difference = match (seam.joints_mm, seam.pose_mm, seam.pixels) {
            (Some(joints), Some(pose), Some(px)) => {
                format!("joints differ by {joints:.1} mm ({pose:.1} mm without the place), {px:.2} pixels")
            }
            _ => "nobody to compare".to_owned(),
        };
        line(format_args!(
            "seam     before frame {}: {} carried over {} frames, {difference}",
            seam.frame, seam.carried, seam.shared_frames
        ));
    }
    for warning in &r.warnings {
        line(format_args!("note     {warning}"));
    }
    s
}
