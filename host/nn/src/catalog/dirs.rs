//! Where models and libraries live when nobody says.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::CatalogError;

/// Looks up an environment variable that is set and not empty.
pub(crate) fn env(key: &str) -> Option<OsString> {
    std::env::var_os(key).filter(|v| !v.is_empty())
}

/// `${XDG_CACHE_HOME:-~/.cache}/halfpipe`, if either variable is set.
#[must_use]
pub fn cache_dir() -> Option<PathBuf> {
    cache_dir_in(env)
}

/// The directory of model files: `given` (the `--models` option), else HALFPIPE_MODELS, else `models` in [`cache_dir`].
///
/// # Errors
/// [`CatalogError::NoDirectory`] where none of them says.
pub fn models_dir(given: Option<&Path>) -> Result<PathBuf, CatalogError> {
    models_dir_in(given, env)
}

pub(crate) fn cache_dir_in(env: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    // the XDG base directory specification says to ignore a relative path
    let xdg = env("XDG_CACHE_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    xdg.or_else(|| env("HOME").map(|home| Path::new(&home).join(".cache"))).map(|cache| cache.join("halfpipe"))
}

fn models_dir_in(given: Option<&Path>, env: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, CatalogError> {
    given
        .map(Path::to_owned)
        .or_else(|| env("HALFPIPE_MODELS").map(PathBuf::from))
        .or_else(|| cache_dir_in(env).map(|c| c.join("models")))
        .ok_or(CatalogError::NoDirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env_of(pairs: &'static [(&'static str, &'static str)]) -> impl Fn(&str) -> Option<OsString> {
        move |key| pairs.iter().find(|(k, _)| *k == key).map(|(_, v)| OsString::from(v))
    }

    #[test]
    fn the_more_explicit_setting_wins() {
        let all = &[("HALFPIPE_MODELS", "/m"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h")];
        assert_eq!(models_dir_in(Some(Path::new("/given")), env_of(all)).unwrap(), Path::new("/given"));
        assert_eq!(models_dir_in(None, env_of(all)).unwrap(), Path::new("/m"));
        assert_eq!(models_dir_in(None, env_of(&[("XDG_CACHE_HOME", "/x"), ("HOME", "/h")])).unwrap(), Path::new("/x/halfpipe/models"));
        assert_eq!(
            models_dir_in(None, env_of(&[("XDG_CACHE_HOME", "rel"), ("HOME", "/h")])).unwrap(),
            Path::new("/h/.cache/halfpipe/models")
        );
        assert!(matches!(models_dir_in(None, env_of(&[])), Err(CatalogError::NoDirectory)));
    }
}
