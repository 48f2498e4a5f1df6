//! What a catalog must be beyond its form: names, file names, digests and normalisations that make sense.

use std::collections::HashSet;
use std::path::Path;

use super::{BodyEntry, Catalog, Entry, ModelEntry, detector};

/// Checks a whole catalog; the error is one sentence.
pub(super) fn all(catalog: &Catalog) -> Result<(), String> {
    if catalog.schema != 1 {
        return Err(format!("the schema is {}, this program reads 1", catalog.schema));
    }
    let mut names = HashSet::new();
    for entry in catalog.entries() {
        check_entry(entry)?;
        if !names.insert(entry.name()) {
            return Err(format!("two entries are named `{}`; rename one", entry.name()));
        }
    }
    catalog.models.iter().try_for_each(check_normalization)?;
    catalog.bodies.iter().try_for_each(check_outputs)?;
    catalog.models.iter().try_for_each(detector::check)?;
    let mut packages = HashSet::new();
    match catalog.packages.iter().find(|p| !packages.insert((&p.registry, &p.name))) {
        Some(twice) => Err(format!("two packages are named `{}` in {}", twice.name, twice.registry)),
        None => Ok(()),
    }
}

fn check_entry(entry: Entry<'_>) -> Result<(), String> {
    let name = entry.name();
    if name.is_empty() || !name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'_' | b'-' | b'.')) {
        return Err(format!("`{name}` is not a model name: use lower-case letters, digits, `_`, `-` and `.`"));
    }
    for file in entry.files() {
        let plain = Path::new(file.file).components().count() == 1 && Path::new(file.file).file_name().is_some();
        if !plain || file.file.contains('\\') {
            return Err(format!("`{name}`: `{}` is not a plain file name", file.file));
        }
        if file.sha256.len() != 64 || !file.sha256.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(format!("`{name}`: the sha256 of {} is not 64 lower-case hex digits", file.file));
        }
    }
    let mut files = HashSet::new();
    if let Some(twice) = entry.files().iter().find(|f| !files.insert(f.file)) {
        return Err(format!("`{name}` has two files named {}", twice.file));
    }
    for (what, ports) in [("input", entry.inputs()), ("output", entry.outputs())] {
        if ports.is_empty() {
            return Err(format!("`{name}` has no {what}s"));
        }
        let mut seen = HashSet::new();
        if let Some(twice) = ports.iter().find(|p| !seen.insert(&p.name)) {
            return Err(format!("`{name}` has two {what}s named `{}`", twice.name));
        }
    }
    Ok(())
}

fn check_outputs(body: &BodyEntry) -> Result<(), String> {
    let has = |name: &str| body.outputs.iter().any(|p| p.name == name);
    if has("vertices") && has("joints") { Ok(()) } else { Err(format!("`{}`: a body has the outputs `vertices` and `joints`", body.name)) }
}

fn check_normalization(model: &ModelEntry) -> Result<(), String> {
    match (model.mean, model.std) {
        (None, None) => Ok(()),
        (Some(mean), Some(std)) if mean.iter().chain(&std).all(|v| v.is_finite()) && !std.contains(&0.0) => Ok(()),
        (Some(_), Some(_)) => Err(format!("`{}`: mean and std must be finite, and std not 0", model.name)),
        _ => Err(format!("`{}`: mean and std go together", model.name)),
    }
}
