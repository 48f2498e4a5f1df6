//! `halfpipe models`: what the catalog holds and whether the files are there; `recipes.rs` makes and imports them.

use halfpipe_runtime::RuntimeError;
use serde_json::json;

use crate::args::ModelsArgs;

/// Runs a recipe, or lists the models; with `--check`, compares every file with its digest.
pub fn models(args: &ModelsArgs) -> anyhow::Result<()> {
    if let Some(command) = &args.command {
        return command.run();
    }
    let catalog = args.places.catalog()?;
    let dir = args.places.models_dir()?;
    let mut first_fault = None;
    let mut list = Vec::new();
    for entry in catalog.entries() {
        let checked =
            if args.check { entry.files().into_iter().try_for_each(|file| halfpipe_nn::catalog::verify(file, &dir)) } else { Ok(()) };
        let present = entry.files().iter().all(|file| dir.join(file.file).is_file());
        let state = match (&checked, present) {
            (Err(_), true) => "altered",
            (_, false) => "missing",
            (Ok(()), true) if args.check => "verified",
            (Ok(()), true) => "present",
        };
        if let Err(e) = checked {
            first_fault.get_or_insert(e);
        }
        list.push((entry, state));
    }
    if args.json {
        let rows: Vec<_> = list
            .iter()
            .map(|(e, state)| {
                let files: Vec<_> = e.files().iter().map(|f| json!({ "file": f.file, "sha256": f.sha256 })).collect();
                json!({ "name": e.name(), "state": state, "licence": e.licence(), "credit": e.credit(), "summary": e.summary(), "files": files })
            })
            .collect();
        println!("{}", serde_json::to_string_pretty(&json!({ "folder": dir, "models": rows }))?);
    } else {
        println!("models in {}", dir.display());
        for (entry, state) in &list {
            println!("{state:<9} {:<22} {:<12} {}", entry.name(), entry.licence(), entry.summary());
            println!("{:<9} {:<22} {:<12} {}", "", "", "", entry.credit());
        }
        if list.iter().any(|(_, state)| *state == "missing") {
            println!("run `make models` for what is missing");
        }
    }
    first_fault.map_or(Ok(()), |e| Err(RuntimeError::from(e).into()))
}
