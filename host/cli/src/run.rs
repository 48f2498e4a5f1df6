//! `halfpipe run`: one video, one pipeline, here and now.

use std::time::Duration;

use anyhow::Context;
use halfpipe_media::Window;
use halfpipe_runtime::{CancelToken, Host, HostConfig, Job, JobReport, Limits, Outputs, RuntimeError};
use serde_json::{Map, Value};

use crate::args::{LandmarksArg, LayoutArg, RunArgs};
use crate::bar::Bar;
use crate::{places, signals, split, summary};

/// Runs the job and prints its report.
pub fn run(args: RunArgs) -> anyhow::Result<()> {
    check_outputs(&args)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().context("cannot start the async runtime")?;
    let bar = Bar::new(args.quiet || args.data.json);
    let cancel = CancelToken::default();
    let report = runtime.block_on(async {
        let token = cancel.clone();
        signals::listen(move || token.cancel())?;
        work(&args, &bar, &cancel).await
    });
    bar.clear();
    let report = report?;
    if args.data.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", summary::text(&report));
    }
    Ok(())
}

async fn work(args: &RunArgs, bar: &Bar, cancel: &CancelToken) -> anyhow::Result<JobReport> {
    let limits = Limits { wall: args.timeout.map(Duration::from_secs), ..Limits::default() };
    let mut tools = places::tools()?;
    if !args.input.exists() {
        // the commonest mistake deserves an answer before models are loaded
        halfpipe_media::probe(&tools, &args.input).map_err(RuntimeError::from)?;
    }
    // while the engines start
    let window = window(args)?;
    if window.is_none() {
        tools = tools.with_spare_decoder();
    }
    let probing = {
        let (tools, input) = (tools.clone(), args.input.clone());
        tokio::task::spawn_blocking(move || halfpipe_media::probe(&tools, &input))
    };
    let component = halfpipe_runtime::host::find_guest(&args.pipeline, &args.places.guests_dir()?)?;
    let config = places::config(&args.places, &args.devices, limits)?;
    let host = Host::start(HostConfig { tools: Some(tools), perf_map: args.perf_map, ..config })?;
    let guest = host.load_guest(&component).await?;
    let show = bar.clone();
    let job = Job {
        id: format!("run-{}", std::process::id()),
        guest,
        input: args.input.clone(),
        probed: Some(probing.await?.map_err(RuntimeError::from)?),
        outputs: Outputs {
            video: args.output.clone(),
            poses: args.data.poses.clone(),
            glb: args.data.glb.clone(),
            bvh: args.data.bvh.clone(),
            report: args.data.report.clone(),
        },
        options: Value::Object(options(args)),
        batch: args.batch,
        window,
        quality: args.quality,
        preset: args.preset.clone(),
        lockstep: false,
        cancel: cancel.clone(),
        progress: std::sync::Arc::new(move |progress| show.show(progress)),
    };
    Ok(host.run(job).await?)
}

/// The part of the video to work on, where not all of it is wanted.
fn window(args: &RunArgs) -> anyhow::Result<Option<Window>> {
    if let Some((plan, index)) = &args.window {
        return split::window(plan, *index, &args.input).map(Some);
    }
    Ok(args.to.map(|to| Window::new(args.from, to)).transpose().map_err(|e| RuntimeError::BadInput(e.to_string()))?)
}

/// The pipeline's options: what was given, nothing else, so that its own defaults hold.
fn options(args: &RunArgs) -> Map<String, Value> {
    let mut options = Map::new();
    if let Some(people) = args.people {
        options.insert("people".into(), people.into());
    }
    if let Some(opacity) = args.opacity {
        options.insert("opacity".into(), opacity.into());
    }
    if let Some(layout) = args.layout {
        let name = match layout {
            LayoutArg::Overlay => "overlay",
            LayoutArg::MeshOnly => "mesh-only",
            LayoutArg::SideBySide => "side-by-side",
        };
        options.insert("layout".into(), name.into());
    }
    if let Some(landmarks) = args.landmarks {
        let name = match landmarks {
            LandmarksArg::Lite => "lite",
            LandmarksArg::Full => "full",
            LandmarksArg::Heavy => "heavy",
        };
        options.insert("landmarks".into(), name.into());
    }
    options.extend(args.set.iter().cloned());
    options
}

/// Refuses to replace files unasked, before any work is done.
fn check_outputs(args: &RunArgs) -> anyhow::Result<()> {
    let outputs = [&args.output, &args.data.poses, &args.data.glb, &args.data.bvh, &args.data.report];
    if outputs.iter().all(|o| o.is_none()) {
        let message = "nothing to write; give -o FILE, --poses FILE, --glb FILE or --bvh FILE".to_owned();
        return Err(RuntimeError::BadInput(message).into());
    }
    let input = std::fs::canonicalize(&args.input).ok();
    for output in outputs.into_iter().flatten() {
        let same = input.is_some() && std::fs::canonicalize(output).ok() == input;
        // the runtime has a better sentence for an output that is the input, or a folder
        if !args.data.overwrite && !same && output.is_file() {
            return Err(RuntimeError::BadInput(format!("{} exists; give -y to replace it, or another name", output.display())).into());
        }
    }
    Ok(())
}
