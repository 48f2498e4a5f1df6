//! Components compiled ahead of time: `.cwasm` files beside the program, so that a cold start does not wait for the compiler, and
//! the user's cache of what was compiled before.
//!
//! A file is named after the sha256 of the component it was compiled from and the engine it is for, and begins with one line of
//! JSON that says for which host and engine (wasmtime's version and settings), and what the sha256 of the machine code behind it
//! is. It is used only where all of that holds and wasmtime finds its processor's features in it; anything else is told in the
//! log, and the component is compiled as if the file were not there. Components can be exchanged as before: another component has another digest.
//!
//! **Trust.** A component is sandboxed; machine code is not. That is why these files lie beside the program or in the cache of the
//! user who runs it, never in the folder of components, and why a file or folder that anybody may write to is refused: whoever
//! can write there could replace the program, or what it does for this user, as well.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::error::RuntimeError;
use crate::guest::hex;

/// What the first line of a file must say in this host.
const FORMAT: &str = "halfpipe.cwasm/1";
/// Longest first line, bytes.
const LONGEST_LABEL: usize = 4096;

/// The first line of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Label {
    /// [`FORMAT`].
    format: String,
    /// Version of the host that compiled it.
    host: String,
    /// Wasmtime's hash of its version and of the settings that machine code depends on, hex.
    engine: String,
    /// sha256 of the component, hex.
    component: String,
    /// sha256 of the machine code, hex.
    code: String,
}

/// Compiled components that a cache keeps; the oldest go.
const MOST_CACHED: usize = 32;

/// Where compiled components are looked for, and kept.
#[derive(Debug, Clone, Default)]
pub struct Precompiled {
    folders: Vec<PathBuf>,
    cache: Option<PathBuf>,
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("anybody may write to {}; take that right away (chmod o-w) or remove it", .0.display())]
    Open(PathBuf),
    #[error("it cannot be read: {0}")]
    Read(#[from] std::io::Error),
    #[error("it is not a file of `halfpipe guest precompile`")]
    Form,
    #[error("it was made for {0}")]
    Other(String),
    #[error("its machine code is not what its first line says")]
    Altered,
    #[error("wasmtime does not take it: {0}")]
    Engine(String),
}

impl Precompiled {
    /// The files in `folder`.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folders: vec![folder], cache: None }
    }

    /// Those beside this program: in `precompiled` in its folder, or in `../lib/halfpipe/precompiled`, where there are such folders.
    #[must_use]
    pub fn beside_program() -> Self {
        let program = std::env::current_exe().ok();
        let folders = program.as_deref().and_then(Path::parent).map(|f| [f.join("precompiled"), f.join("../lib/halfpipe/precompiled")]);
        Self { folders: folders.into_iter().flatten().filter(|f| f.is_dir()).collect(), cache: None }
    }

    /// Also keeps what has to be compiled in `folder`, for the next start.
    #[must_use]
    pub fn with_cache(self, folder: PathBuf) -> Self {
        Self { cache: Some(folder), ..self }
    }

    /// The component in `bytes` (read from `path`, with this sha256), compiled before or now; and whether it was before.
    pub(crate) fn component(&self, engine: &Engine, path: &Path, bytes: &[u8], sha256: &str) -> wasmtime::Result<(Component, bool)> {
        if let Some(component) = self.folders.iter().chain(&self.cache).find_map(|folder| find(folder, engine, sha256)) {
            return Ok((component, true));
        }
        if let Some(cache) = &self.cache {
            match write(cache, engine, path, bytes) {
                Ok(_) => prune(cache),
                // a component that does not compile gets its own error below
                Err(RuntimeError::GuestInvalid { .. }) => {}
                Err(error) => tracing::warn!("{error}"),
            }
            if let Some(component) = find(cache, engine, sha256) {
                return Ok((component, false));
            }
        }
        Ok((Component::new(engine, bytes)?, false))
    }
}

/// The compiled form in `folder` of the component with this digest, if there is one that fits.
fn find(folder: &Path, engine: &Engine, sha256: &str) -> Option<Component> {
    let path = folder.join(Label::new(engine, sha256).file_name());
    if !path.is_file() {
        return None;
    }
    load(folder, &path, engine, sha256)
        .inspect_err(|unfit| {
            tracing::warn!(file = %path.display(), "{unfit}; the component is compiled anew (`halfpipe guest precompile` makes the file again)");
        })
        .ok()
}

fn load(folder: &Path, path: &Path, engine: &Engine, sha256: &str) -> Result<Component, Unfit> {
    for place in [folder, path] {
        closed_to_others(place)?;
    }
    let bytes = std::fs::read(path)?;
    let line = bytes.iter().take(LONGEST_LABEL).position(|b| *b == b'\n').ok_or(Unfit::Form)?;
    let (label, code) = bytes.split_at(line);
    let code = code.get(1..).unwrap_or_default();
    let label: Label = serde_json::from_slice(label).map_err(|_| Unfit::Form)?;
    let wanted = Label { code: label.code.clone(), ..Label::new(engine, sha256) };
    if label != wanted {
        return Err(Unfit::Other(format!("component {} by host {}, engine {}", label.component, label.host, label.engine)));
    }
    if hex(&Sha256::digest(code)) != label.code {
        return Err(Unfit::Altered);
    }
    #[allow(unsafe_code, reason = "machine code out of a folder that is as trusted as the program, with the digest it was made with")]
    // SAFETY: the code was written by `write` below with this version, in a place only those may write to who may replace
    // this program; wasmtime compares its version, settings and processor itself.
    let component = unsafe { Component::deserialize(engine, code) };
    component.map_err(|e| Unfit::Engine(format!("{e:#}")))
}

/// Compiles a component (the bytes of a `.wasm` file) into the folder, and gives the file. It appears whole or not at all.
///
/// # Errors
/// [`RuntimeError::GuestInvalid`] where it does not compile, [`RuntimeError::Precompiled`] where the file cannot be written.
pub(crate) fn write(folder: &Path, engine: &Engine, path: &Path, bytes: &[u8]) -> Result<PathBuf, RuntimeError> {
    let invalid = |e: wasmtime::Error| RuntimeError::GuestInvalid { path: path.to_owned(), message: format!("{e:#}") };
    let code = engine.precompile_component(bytes).map_err(invalid)?;
    let sha256 = hex(&Sha256::digest(bytes));
    let label = Label { code: hex(&Sha256::digest(&code)), ..Label::new(engine, &sha256) };
    let target = folder.join(label.file_name());
    let put = || {
        std::fs::create_dir_all(folder)?;
        let mut staged = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer(&mut staged, &label)?;
        staged.write_all(b"\n")?;
        staged.write_all(&code)?;
        readable_by_all(staged.as_file())?;
        staged.persist(&target).map_err(|e| e.error)
    };
    put().map_err(|source: std::io::Error| RuntimeError::Precompiled { path: target.clone(), source })?;
    Ok(target)
}

/// Removes the oldest files of a cache beyond [`MOST_CACHED`].
fn prune(cache: &Path) {
    let entries = std::fs::read_dir(cache).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .filter(|e| e.path().extension().is_some_and(|e| e == "cwasm"))
        .filter_map(|e| Some((e.metadata().ok()?.modified().ok()?, e.path())))
        .collect();
    files.sort_by(|a, b| b.cmp(a));
    for (_, path) in files.into_iter().skip(MOST_CACHED) {
        // another process may have been quicker
        std::fs::remove_file(path).ok();
    }
}

impl Label {
    /// What a file of this host for this component says, the code's digest left empty.
    fn new(engine: &Engine, sha256: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Self {
            format: FORMAT.into(),
            host: env!("CARGO_PKG_VERSION").into(),
            engine: format!("{:016x}", hasher.finish()),
            component: sha256.into(),
            code: String::new(),
        }
    }

    fn file_name(&self) -> String {
        format!("{}-{}.cwasm", self.component, self.engine)
    }
}

#[cfg(unix)]
fn closed_to_others(path: &Path) -> Result<(), Unfit> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path)?.permissions().mode();
    if mode & 0o002 != 0 { Err(Unfit::Open(path.to_owned())) } else { Ok(()) }
}

#[cfg(not(unix))]
fn closed_to_others(_: &Path) -> Result<(), Unfit> {
    Ok(())
}

#[cfg(unix)]
fn readable_by_all(file: &std::fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    // the program may run as another user than whoever installed it
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable_by_all(_: &std::fs::File) -> std::io::Result<()> {
    Ok(())
}
