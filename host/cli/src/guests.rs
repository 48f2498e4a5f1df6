//! `halfpipe guest`: what a pipeline component says of itself.

use std::path::{Path, PathBuf};

use anyhow::Context;
use halfpipe_runtime::{Guest, Limits, Precompiled, Sandbox};
use serde_json::{Value, json};

use crate::args::{GuestArgs, GuestCommand};
use crate::places::compiled;

/// Components in a folder, by name.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "wasm")).collect();
    files.sort();
    files
}

/// Inspects or lists.
pub fn guest(args: &GuestArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let limits = Limits::default();
    let sandbox = |compiled| Sandbox::new(&limits, compiled);
    match &args.command {
        GuestCommand::Inspect { pipeline, json, places } => {
            let sandbox = sandbox(compiled())?;
            let file = halfpipe_runtime::host::find_guest(pipeline, &places.guests_dir()?)?;
            let guest = runtime.block_on(Guest::load(&sandbox, &limits, &file))?;
            inspect(&guest, *json)
        }
        GuestCommand::Precompile { pipelines, out, places } => {
            precompile(&sandbox(Precompiled::default())?, pipelines, out.as_deref(), &places.guests_dir()?)
        }
        GuestCommand::List { places } => {
            let sandbox = sandbox(compiled())?;
            let dir = places.guests_dir()?;
            let planners = halfpipe_runtime::host::planners(&dir);
            for file in files(&dir) {
                let name = file.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
                if planners.iter().any(|planner| planner == name) {
                    println!("{name:<14} {:<8} a planner: says which jobs follow from an event (`halfpipe serve --planner`)", "");
                    continue;
                }
                match runtime.block_on(Guest::load(&sandbox, &limits, &file)) {
                    Ok(g) => println!("{:<14} {:<8} {}", g.description.name, g.description.version, g.description.summary),
                    Err(e) => println!("{:<14} not usable: {e}", file.display()),
                }
            }
            Ok(())
        }
    }
}

/// Compiles the components named (all of the folder where none) into `out`, or beside this program.
fn precompile(sandbox: &Sandbox, names: &[String], out: Option<&Path>, guests: &Path) -> anyhow::Result<()> {
    let wanted = if names.is_empty() {
        files(guests)
    } else {
        names.iter().map(|name| halfpipe_runtime::host::find_guest(name, guests)).collect::<Result<_, _>>()?
    };
    anyhow::ensure!(!wanted.is_empty(), "there is no component in {}; give --guests DIR or the .wasm files", guests.display());
    let folder = match out {
        Some(folder) => folder.to_owned(),
        None => {
            let program = std::env::current_exe().context("cannot tell where this program is; give --out DIR")?;
            program.parent().context("cannot tell where this program is; give --out DIR")?.join("precompiled")
        }
    };
    for path in wanted {
        let file = sandbox.precompile(&path, &folder)?;
        println!("{} -> {}", path.display(), file.display());
    }
    Ok(())
}

fn inspect(guest: &Guest, as_json: bool) -> anyhow::Result<()> {
    let d = &guest.description;
    let schema: Value = serde_json::from_str(&d.options_schema)?;
    if as_json {
        let all = json!({
            "name": d.name, "version": d.version, "summary": d.summary, "file": guest.path, "sha256": guest.sha256, "bytes": guest.bytes,
            "models": d.models, "imports": guest.imports, "exports": guest.exports, "options": schema,
        });
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(());
    }
    println!("{} {}: {}", d.name, d.version, d.summary);
    println!("file     {} ({} bytes)", guest.path.display(), guest.bytes);
    println!("sha256   {}", guest.sha256);
    println!("models   {}", d.models.join(", "));
    println!("exports  {}", guest.exports.join(", "));
    println!("imports  {}", guest.imports.join(", "));
    println!("options (--set KEY=VALUE)");
    for (name, option) in schema["properties"].as_object().into_iter().flatten() {
        let default = option.get("default").map_or_else(String::new, |v| format!(" [default: {v}]"));
        println!("  {name:<18} {}{default}", option["description"].as_str().unwrap_or_default());
    }
    Ok(())
}
