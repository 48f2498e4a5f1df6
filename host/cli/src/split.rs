//! `halfpipe split`: cuts a long video into windows, to be worked on by many.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use halfpipe_join::cut::Wanted;
use halfpipe_join::{JoinError, Plan, SplitOptions};
use halfpipe_media::Window;
use halfpipe_runtime::RuntimeError;

use crate::places;

const EXAMPLES: &str = "\
Examples:
  halfpipe split match.mp4 --windows 7 -o plan.json
  halfpipe split match.mp4 --seconds 60 --overlap 3 -o plan.json
  halfpipe run match.mp4 --window plan.json:0 -o parts/out_0.mp4 --poses parts/poses_0.jsonl    # and so on, anywhere
  halfpipe join plan.json --parts parts -o match_overlay.mp4 --poses match.jsonl";

/// `halfpipe split`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct SplitArgs {
    /// The video
    pub input: PathBuf,
    /// How many windows
    #[arg(long, value_name = "N", required_unless_present = "seconds", conflicts_with = "seconds")]
    pub windows: Option<u32>,
    /// About how long each window is
    #[arg(long, value_name = "SECONDS")]
    pub seconds: Option<f64>,
    /// What each window sees of the one before it; half as much of the one behind
    #[arg(long, value_name = "SECONDS", default_value_t = SplitOptions::OVERLAP)]
    pub overlap: f64,
    /// The plan, a JSON file
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Replace the plan if it exists
    #[arg(short = 'y', long)]
    pub overwrite: bool,
}

/// Writes the plan.
pub fn split(args: &SplitArgs) -> anyhow::Result<()> {
    refuse_to_replace(&args.output, args.overwrite)?;
    let wanted = match (args.windows, args.seconds) {
        (Some(windows), _) => Wanted::Windows(windows),
        (None, Some(seconds)) => Wanted::Seconds(seconds),
        (None, None) => return Err(RuntimeError::BadInput("give --windows N or --seconds S".into()).into()),
    };
    let tools = places::tools()?;
    let plan = halfpipe_join::split(&tools, &args.input, SplitOptions { wanted, overlap: args.overlap }).map_err(fault)?;
    let text = plan.to_json(&args.output).map_err(fault)?;
    std::fs::write(&args.output, text).with_context(|| format!("cannot write {}", args.output.display()))?;
    let [num, den] = plan.source.time_base;
    for w in &plan.windows {
        let at = |pts: i64| pts as f64 * num as f64 / den as f64;
        let (first, last) = (w.first_frame, w.after_frame() - 1);
        let (reads, to) = (w.context_first_frame, w.context_after_frame() - 1);
        println!(
            "window {:<3} frames {first}..{last} ({:.3} s to {:.3} s), reads {reads}..{to}",
            w.index,
            at(w.first_pts),
            at(w.after_pts)
        );
    }
    println!("plan     {}  ({} windows, {} frames)", args.output.display(), plan.windows.len(), plan.source.frames);
    Ok(())
}

/// The window of a plan for a job on `input`, which must be the plan's video.
pub fn window(plan: &Path, index: u32, input: &Path) -> anyhow::Result<Window> {
    let loaded = Plan::load(plan).map_err(fault)?;
    let window = loaded.window(plan, index).map_err(fault)?;
    window.check_source(input).map_err(fault)?;
    Ok(window.window().map_err(RuntimeError::from)?)
}

/// `plan.json:3`.
pub fn window_of_plan(text: &str) -> Result<(PathBuf, u32), String> {
    let parted = text.rsplit_once(':').filter(|(plan, _)| !plan.is_empty());
    let parted = parted.and_then(|(plan, index)| Some((PathBuf::from(plan), index.parse().ok()?)));
    parted.ok_or_else(|| "write it as PLAN:K, e.g. plan.json:3".to_owned())
}

/// Refuses to replace a file unasked.
pub fn refuse_to_replace(output: &Path, overwrite: bool) -> anyhow::Result<()> {
    if overwrite || !output.exists() {
        return Ok(());
    }
    Err(RuntimeError::BadInput(format!("{} exists; give -y to replace it, or another name", output.display())).into())
}

/// The fault in the form that exit codes are made of.
pub fn fault(error: JoinError) -> anyhow::Error {
    match error {
        JoinError::Media(media) => RuntimeError::from(media).into(),
        error if error.is_bad_input() => RuntimeError::BadInput(error.to_string()).into(),
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_named_by_plan_and_number() {
        assert_eq!(window_of_plan("plan.json:3"), Ok((PathBuf::from("plan.json"), 3)));
        assert_eq!(window_of_plan("a:b/plan.json:0"), Ok((PathBuf::from("a:b/plan.json"), 0)));
        for bad in ["plan.json", "plan.json:", ":3", "plan.json:-1", "plan.json:x"] {
            assert!(window_of_plan(bad).unwrap_err().contains("PLAN:K"), "{bad}");
        }
    }
}
