//! Guest components: loading, checking, describing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use wasmtime::Store;
use wasmtime::component::types::ComponentItem;

use crate::bindings::exports::halfpipe::job::runner;
use crate::bindings::{Pipeline, PipelinePre};
use crate::error::RuntimeError;
use crate::job::idle_state;
use crate::limits::Limits;
use crate::sandbox::Sandbox;
use crate::state::JobState;

/// What a guest says of itself.
pub type Description = runner::Description;

/// A loaded pipeline component.
#[derive(Clone)]
pub struct Guest {
    /// Where it came from.
    pub path: PathBuf,
    /// sha256 of the file, hex.
    pub sha256: String,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Whether it had been compiled ahead of time; see [`crate::precompiled`].
    pub precompiled: bool,
    /// What it says of itself.
    pub description: Description,
    /// Interfaces it imports, with versions.
    pub imports: Vec<String>,
    /// Interfaces it exports.
    pub exports: Vec<String>,
    pre: PipelinePre<JobState>,
}

impl std::fmt::Debug for Guest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guest").field("path", &self.path).field("sha256", &self.sha256).finish_non_exhaustive()
    }
}

impl Guest {
    /// Reads, compiles and checks a component, and asks it to describe itself.
    ///
    /// # Errors
    /// [`RuntimeError::GuestFile`] or [`RuntimeError::GuestInvalid`] with what does not fit.
    pub async fn load(sandbox: &Sandbox, limits: &Limits, path: &Path) -> Result<Arc<Self>, RuntimeError> {
        let bytes = std::fs::read(path).map_err(|source| RuntimeError::GuestFile { path: path.to_owned(), source })?;
        let invalid = |e: wasmtime::Error| RuntimeError::GuestInvalid { path: path.to_owned(), message: format!("{e:#}") };
        if !bytes.starts_with(b"\0asm") {
            return Err(RuntimeError::GuestInvalid { path: path.to_owned(), message: "it is not WebAssembly".into() });
        }
        let sha256 = hex(&Sha256::digest(&bytes));
        let (component, precompiled) = sandbox.component(path, &bytes, &sha256).map_err(invalid)?;
        let ty = component.component_type();
        let names = |items: &mut dyn Iterator<Item = (String, ComponentItem)>| items.map(|(n, _)| n).collect::<Vec<_>>();
        let imports = names(&mut ty.imports(sandbox.engine()).map(|(n, i)| (n.to_owned(), i.ty)));
        let exports = names(&mut ty.exports(sandbox.engine()).map(|(n, i)| (n.to_owned(), i.ty)));
        let pre = sandbox.linker().instantiate_pre(&component).and_then(PipelinePre::new).map_err(invalid)?;
        let mut guest = Self {
            path: path.to_owned(),
            sha256,
            bytes: bytes.len() as u64,
            precompiled,
            description: Description {
                name: path.file_stem().and_then(|s| s.to_str()).unwrap_or("guest").to_owned(),
                version: String::new(),
                summary: String::new(),
                models: Vec::new(),
                options_schema: String::new(),
            },
            imports,
            exports,
            pre,
        };
        guest.description = guest.describe(sandbox, limits).await?;
        Ok(Arc::new(guest))
    }

    /// The component, ready to be instantiated.
    #[must_use]
    pub const fn pre(&self) -> &PipelinePre<JobState> {
        &self.pre
    }

    /// Instantiates without grants and calls one of the describing exports.
    async fn ask<R>(
        &self,
        sandbox: &Sandbox,
        limits: &Limits,
        call: impl AsyncFnOnce(&Pipeline, &mut Store<JobState>) -> wasmtime::Result<R>,
    ) -> Result<R, RuntimeError> {
        let state = idle_state(limits, &self.description.name);
        let clock = state.clock.clone();
        let mut store = crate::job::new_store(sandbox, state);
        let asked = async {
            let instance = self.pre.instantiate_async(&mut store).await?;
            call(&instance, &mut store).await
        };
        crate::job::guarded(asked, &clock, limits, &crate::state::CancelToken::default())
            .await
            .map_err(|message| RuntimeError::Guest { guest: self.description.name.clone(), message })
    }

    async fn describe(&self, sandbox: &Sandbox, limits: &Limits) -> Result<Description, RuntimeError> {
        self.ask(sandbox, limits, async |instance, store| instance.halfpipe_job_runner().call_describe(store).await).await
    }

    /// Models and bodies a job with these options needs.
    ///
    /// # Errors
    /// [`RuntimeError::Options`] with the guest's sentence.
    pub async fn needs(&self, sandbox: &Sandbox, limits: &Limits, options: &str) -> Result<Vec<String>, RuntimeError> {
        let answer =
            self.ask(sandbox, limits, async |instance, store| instance.halfpipe_job_runner().call_needs(store, options).await).await?;
        answer.map_err(|message| RuntimeError::Options { guest: self.description.name.clone(), message })
    }
}

/// Interfaces that a component's file exports; none where it cannot be read or is no component.
pub(crate) fn exports(path: &Path) -> Vec<String> {
    use wasmparser::{Parser, Payload};
    let Ok(bytes) = std::fs::read(path) else { return Vec::new() };
    let mut depth = 0_u32;
    let mut names = Vec::new();
    for payload in Parser::new(0).parse_all(&bytes) {
        match payload {
            Ok(Payload::ModuleSection { .. } | Payload::ComponentSection { .. }) => depth += 1,
            Ok(Payload::End(_)) => depth = depth.saturating_sub(1),
            // components within have exports of their own
            Ok(Payload::ComponentExportSection(section)) if depth == 0 => {
                names.extend(section.into_iter().flatten().map(|export| export.name.name.to_owned()));
            }
            Ok(_) => {}
            Err(_) => return Vec::new(),
        }
    }
    names
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
