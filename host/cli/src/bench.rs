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

mod report;
mod runner;
mod spread;
mod text;
mod variants;

use std::path::PathBuf;

use anyhow::Context;
use halfpipe_runtime::{CancelToken, Limits, RuntimeError};

use crate::args::BenchArgs;
use crate::{places, signals};
use report::{BenchReport, Machine};
use runner::Runner;

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
            reports.push(report::clip_report(clip, &rounds)?);
        }
        let provenance = provenance.context("no clips")?;
        let machine = Machine { cores: std::thread::available_parallelism()?.get(), load_average, provenance };
        anyhow::Ok(BenchReport { schema: "halfpipe.bench/1", repeats: args.repeats, machine, clips: reports })
    })?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", text::text(&report));
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
