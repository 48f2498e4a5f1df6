//! `halfpipe doctor`: checks everything a job needs, and says what to do about each failure.

use std::path::Path;

use halfpipe_media::{MediaError, Tools, VideoChoice};
use halfpipe_nn::ort::OrtLibrary;
use halfpipe_nn::{Catalog, NnConfig, NnLane};
use halfpipe_render::{DrawLane, LaneConfig};
use halfpipe_runtime::{Guest, Limits, Planner, Sandbox};
use serde::Serialize;

use crate::args::DoctorArgs;
use crate::exit::Environment;
use crate::places;

/// Free space below which a job may not have room for its output.
const LOW_DISK_BYTES: u64 = 1 << 30;

/// One finding.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    ok: bool,
    /// What was found, or what is wrong and what to do.
    message: String,
}

/// Findings so far.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add<E: std::fmt::Display>(&mut self, check: &'static str, result: Result<String, E>) {
        let (ok, message) = match result {
            Ok(found) => (true, found),
            Err(e) => (false, format!("{e:#}")),
        };
        self.0.push(Finding { check, ok, message });
    }
}

/// Runs all checks and prints them.
pub fn doctor(args: &DoctorArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut findings = Findings::default();
    let tools = Tools::find();
    findings.add("ffmpeg", tools.as_ref().map(|t| format!("{} {}", t.ffmpeg.display(), t.ffmpeg_version)));
    if let Ok(tools) = &tools {
        findings.add("video codecs", video(args, tools));
    }
    findings.add("onnxruntime", library(args));
    findings.add("adapter", runtime.block_on(adapter(args)));
    let catalog = args.places.catalog();
    match (catalog, args.places.models_dir()) {
        (Ok(catalog), Ok(dir)) => {
            models(&catalog, &dir, &mut findings);
            findings.add("network", runtime.block_on(network(args, catalog)));
        }
        (catalog, dir) => findings.add("models", catalog.map(|_| String::new()).and(dir.map(|_| String::new()))),
    }
    runtime.block_on(guests(args, &mut findings));
    findings.add("disk", disk(Path::new(".")));
    findings.add("disk for temporary files", disk(&std::env::temp_dir()));
    print(args, &findings.0)
}

fn print(args: &DoctorArgs, findings: &[Finding]) -> anyhow::Result<()> {
    if args.json {
        println!("{}", serde_json::to_string_pretty(findings)?);
    } else {
        for f in findings {
            println!("{}  {:<26} {}", if f.ok { "ok  " } else { "FAIL" }, f.check, f.message.replace('\n', " "));
        }
    }
    let failed = findings.iter().filter(|f| !f.ok).count();
    if failed == 0 {
        Ok(())
    } else {
        Err(Environment(format!("{failed} of {} checks failed; each says what to do", findings.len())).into())
    }
}

fn library(args: &DoctorArgs) -> anyhow::Result<String> {
    let library = OrtLibrary::load(args.places.ort_lib.as_deref())?;
    let providers: Vec<&str> = library.providers()?.into_iter().filter(|p| p.built_in).map(|p| p.name).collect();
    Ok(format!("{} ({}), built with: {}", library.path().display(), library.build(), providers.join(", ")))
}

/// What decodes and encodes videos. A GPU's codecs are tried out unless software was asked for.
fn video(args: &DoctorArgs, tools: &Tools) -> anyhow::Result<String> {
    let gpu = args.devices.gpu;
    let fault = match args.devices.video() {
        VideoChoice::Software => return Ok("software (ffmpeg's decoders, libx264), as asked for".to_owned()),
        VideoChoice::Auto | VideoChoice::Nvidia { .. } => halfpipe_media::probe_nvidia(tools, gpu)?,
    };
    match (fault, args.devices.video()) {
        (None, VideoChoice::Nvidia { .. }) => Ok(format!("GPU {gpu} encoded frames (h264_nvenc) and decoded them again")),
        (None, _) => Ok(format!(
            "GPU {gpu} encoded frames (h264_nvenc) and decoded them again; `--video auto` takes it where networks run on it, `--video nvidia` in any case"
        )),
        (Some(why), VideoChoice::Nvidia { gpu }) => Err(MediaError::NvidiaAbsent { gpu, why }.into()),
        (Some(why), _) => Ok(format!("software (ffmpeg's decoders, libx264); no NVDEC and NVENC of GPU {gpu}: {why}")),
    }
}

async fn adapter(args: &DoctorArgs) -> anyhow::Result<String> {
    let lane = DrawLane::start(LaneConfig { adapter: args.devices.adapter(), ..LaneConfig::default() })?;
    lane.self_test().await?;
    let a = lane.adapter();
    let kind = if a.software { "software" } else { "hardware" };
    Ok(format!("{} ({}, {}, {kind}); a triangle was drawn and read back", a.name, a.backend, a.driver))
}

fn models(catalog: &Catalog, dir: &Path, findings: &mut Findings) {
    for entry in catalog.entries() {
        let checked = entry.files().into_iter().try_for_each(|file| halfpipe_nn::catalog::verify(file, dir));
        findings.add("model", checked.map(|()| format!("{} ({}), digest as in the catalog", entry.name(), entry.licence())));
    }
}

/// Loads the smallest network on the device that was asked for.
async fn network(args: &DoctorArgs, catalog: Catalog) -> anyhow::Result<String> {
    let smallest = catalog.entries().min_by_key(|e| e.bytes()).map(|e| e.name().to_owned());
    let Some(name) = smallest else { anyhow::bail!("the catalog is empty") };
    let lane = NnLane::start(NnConfig {
        library: args.places.ort_lib.clone(),
        device: args.devices.device(),
        intra_threads: args.devices.threads.map(usize::from),
        catalog: std::sync::Arc::new(catalog),
        models_dir: args.places.models_dir()?,
        clock: halfpipe_core::StageClock::default(),
    })?;
    lane.load(&name).await?;
    let device = lane.device();
    Ok(format!("{name} loaded on {} ({}): {}", device.device, device.provider, device.reason))
}

async fn guests(args: &DoctorArgs, findings: &mut Findings) {
    let limits = Limits::default();
    let dir = match args.places.guests_dir() {
        Ok(dir) => dir,
        Err(e) => return findings.add("guest", Err::<String, _>(e)),
    };
    let sandbox = match Sandbox::new(&limits, places::compiled()) {
        Ok(sandbox) => sandbox,
        Err(e) => return findings.add("sandbox", Err::<String, _>(e)),
    };
    let files = crate::guests::files(&dir);
    if files.is_empty() {
        let message = format!("there are no pipeline components in {}; run `make guests`", dir.display());
        return findings.add("guest", Err::<String, _>(message));
    }
    let planners = halfpipe_runtime::host::planners(&dir);
    for file in files {
        let name = file.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
        if planners.iter().any(|planner| planner == name) {
            let loaded = Planner::load(&sandbox, &file);
            findings.add("planner", loaded.map(|p| format!("{} ({})", p.name(), file.display())));
        } else {
            let loaded = Guest::load(&sandbox, &limits, &file).await;
            findings.add("guest", loaded.map(|g| format!("{} {} ({})", g.description.name, g.description.version, file.display())));
        }
    }
}

fn disk(path: &Path) -> anyhow::Result<String> {
    let stat = rustix::fs::statvfs(path)?;
    let free = stat.f_bavail * stat.f_frsize;
    let text = format!("{:.1} GiB free in {}", free as f64 / (1u64 << 30) as f64, path.display());
    anyhow::ensure!(free >= LOW_DISK_BYTES, "{text}; long videos need more, free some space");
    Ok(text)
}
