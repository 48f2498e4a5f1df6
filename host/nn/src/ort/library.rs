//! Finding and loading the ONNX Runtime shared library, once a process.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use ort::ep::{CPU, CUDA, ExecutionProvider, TensorRT};

use crate::NnError;
use crate::catalog::{cache_dir, env};

const REMEDY: &str = "run `make models`, which fetches it, or set HALFPIPE_ORT_LIB to a libonnxruntime.so of version 1.24 or later";

/// The loaded library and the environment that all sessions share.
#[derive(Debug)]
pub struct OrtLibrary {
    path: PathBuf,
    environment: ort::environment::Environment,
}

/// An execution provider that this program can use, and whether the library was built with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderInfo {
    /// ONNX Runtime's name.
    pub name: &'static str,
    /// Whether the library has it. It may still fail to start, e.g. for want of a device or a driver.
    pub built_in: bool,
}

static LOADED: OnceLock<OrtLibrary> = OnceLock::new();
static LOADING: Mutex<()> = Mutex::new(());

impl OrtLibrary {
    /// Loads `given`, else HALFPIPE_ORT_LIB, else ORT_DYLIB_PATH, else `lib/libonnxruntime.so` in the cache directory
    /// (`${XDG_CACHE_HOME:-~/.cache}/halfpipe`), else the system's. A path that is stated must exist. A process has one
    /// library: a second call returns it.
    ///
    /// # Errors
    /// [`NnError::Library`] where there is none, where it is too old, or where another one is loaded already.
    pub fn load(given: Option<&Path>) -> Result<&'static Self, NnError> {
        let _one_at_a_time = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
        let path = resolve(given, env, cache_dir())?;
        if let Some(loaded) = LOADED.get() {
            return if loaded.path == path { Ok(loaded) } else { Err(loaded.second(&path)) };
        }
        let builder = ort::init_from(&path).map_err(|e| fault(format!("ONNX Runtime cannot be loaded: {e}")))?;
        let environment = builder
            .with_name("halfpipe")
            .with_telemetry(false)
            .build()
            .map_err(|e| fault(format!("ONNX Runtime at {} cannot be started: {e}", path.display())))?;
        // the environment starts at the most talkative level, and every message is formatted before it is filtered
        environment.set_log_level(ort::logging::LogLevel::Warning);
        Ok(LOADED.get_or_init(|| Self { path, environment }))
    }

    /// Where it was loaded from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says of its build: branch, commit, type and flags.
    #[must_use]
    pub fn build(&self) -> &'static str {
        ort::info()
    }

    /// The execution providers that this program can use, best first.
    ///
    /// # Errors
    /// [`NnError::Library`] where the library does not answer.
    pub fn providers(&self) -> Result<Vec<ProviderInfo>, NnError> {
        let ask = |name, built_in: ort::Result<bool>| match built_in {
            Ok(built_in) => Ok(ProviderInfo { name, built_in }),
            Err(e) => Err(fault(format!("ONNX Runtime at {} does not list its providers: {e}", self.path.display()))),
        };
        Ok(vec![
            ask(TensorRT::NAME, TensorRT::is_available())?,
            ask(CUDA::NAME, CUDA::is_available())?,
            ask(CPU::NAME, CPU::is_available())?,
        ])
    }

    pub(super) fn environment(&self) -> &ort::environment::Environment {
        &self.environment
    }

    fn second(&self, path: &Path) -> NnError {
        NnError::Library {
            message: format!("{} is loaded already, so {} cannot be", self.path.display(), path.display()),
            remedy: "use one ONNX Runtime library a process".into(),
        }
    }
}

fn fault(message: String) -> NnError {
    NnError::Library { message, remedy: REMEDY.into() }
}

fn resolve(given: Option<&Path>, env: impl Fn(&str) -> Option<OsString>, cache: Option<PathBuf>) -> Result<PathBuf, NnError> {
    let stated = given
        .map(|p| ("the path given for ONNX Runtime", p.to_owned()))
        .or_else(|| env("HALFPIPE_ORT_LIB").map(|v| ("HALFPIPE_ORT_LIB", v.into())))
        .or_else(|| env("ORT_DYLIB_PATH").map(|v| ("ORT_DYLIB_PATH", v.into())));
    if let Some((what, path)) = stated {
        return path.canonicalize().map_err(|e| fault(format!("{what} is {}, which cannot be used: {e}", path.display())));
    }
    if let Some(cached) = cache.and_then(|c| c.join("lib/libonnxruntime.so").canonicalize().ok()) {
        return Ok(cached);
    }
    // a bare name leaves the search to the system's loader
    Ok(PathBuf::from("libonnxruntime.so"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path_of(given: Option<&Path>, vars: &[(&str, &Path)], cache: Option<&Path>) -> Result<PathBuf, String> {
        let env = |key: &str| vars.iter().find(|(k, _)| *k == key).map(|(_, v)| v.as_os_str().to_owned());
        resolve(given, env, cache.map(Path::to_owned)).map_err(|e| e.to_string())
    }

    #[test]
    fn a_stated_path_wins_and_must_exist() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("lib")).unwrap();
        let [a, b, cached] = ["a.so", "b.so", "lib/libonnxruntime.so"].map(|n| root.join(n));
        for file in [&a, &b, &cached] {
            std::fs::write(file, "").unwrap();
        }
        let vars: &[(&str, &Path)] = &[("HALFPIPE_ORT_LIB", &a), ("ORT_DYLIB_PATH", &b)];
        assert_eq!(path_of(Some(&b), vars, Some(&root)).unwrap(), b);
        assert_eq!(path_of(None, vars, Some(&root)).unwrap(), a);
        assert_eq!(path_of(None, &vars[1..], Some(&root)).unwrap(), b);
        assert_eq!(path_of(None, &[], Some(&root)).unwrap(), cached);
        assert_eq!(path_of(None, &[], None).unwrap(), Path::new("libonnxruntime.so"));
        let text = path_of(None, &[("HALFPIPE_ORT_LIB", Path::new("/nowhere/x.so"))], Some(&root)).unwrap_err();
        assert!(text.starts_with("HALFPIPE_ORT_LIB is /nowhere/x.so, which cannot be used") && text.contains("make models"), "{text}");
    }
}
