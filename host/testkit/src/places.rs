//! Where tests find what `make` has built. A missing piece fails the test with the command that makes it.

use std::path::{Path, PathBuf};

/// The repository's root.
#[must_use]
pub fn root() -> PathBuf {
    // asked for when the test runs: a compiled-in path would be that of whichever clone compiled it first
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.join("../..")
}

/// The folder of cargo's output that this test runs from (`.../release`).
///
/// # Panics
/// If the test was not started from cargo's own folders.
#[must_use]
pub fn profile_dir() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    // .../release/deps/test-123
    exe.parent().and_then(Path::parent).unwrap().to_owned()
}

/// The folder of guest components.
///
/// # Panics
/// If it is missing.
#[must_use]
pub fn guests() -> PathBuf {
    let dir = std::env::var_os("HALFPIPE_GUESTS").map_or_else(|| profile_dir().join("../guests"), PathBuf::from);
    assert!(dir.is_dir(), "{} is missing; run `make guests`", dir.display());
    dir
}

/// One guest component.
///
/// # Panics
/// If it is missing.
#[must_use]
pub fn guest(name: &str) -> PathBuf {
    let file = guests().join(format!("{name}.wasm"));
    assert!(file.is_file(), "{} is missing; run `make guests`", file.display());
    file
}

/// The folder in which tests that embed the host keep compiled components, so that each is compiled once for all of them.
///
/// # Panics
/// If the guests are missing.
#[must_use]
pub fn compiled() -> PathBuf {
    guests().join("../compiled")
}

/// The user cache of this project.
pub(crate) fn cache() -> PathBuf {
    let base =
        std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    base.unwrap_or_else(|| PathBuf::from(".cache")).join("halfpipe")
}

/// The folder of model files.
///
/// # Panics
/// If it is missing.
#[must_use]
pub fn models() -> PathBuf {
    let dir = std::env::var_os("HALFPIPE_MODELS").map_or_else(|| cache().join("models"), PathBuf::from);
    assert!(dir.is_dir(), "{} is missing; run `make models`", dir.display());
    dir
}

/// A folder of models with a reduced HMR2, a made-up SMPL, and what PyTorch and smplx give for them; `models/tests/hmr2/fixture.py`
/// says what is in it.
///
/// # Panics
/// If it is missing.
#[must_use]
pub fn hmr2_fixture() -> PathBuf {
    let dir = std::env::var_os("HALFPIPE_HMR2_FIXTURE").map_or_else(|| cache().join("hmr2-fixture"), PathBuf::from);
    assert!(dir.join("catalog.d/hmr2.toml").is_file(), "{} is missing; run `make hmr2-fixture`", dir.display());
    dir
}

/// A real clip: from the fixtures, or `sports2d_demo.mp4` from the package that ships it.
///
/// # Panics
/// If it is missing.
#[must_use]
pub fn clip(name: &str) -> PathBuf {
    let own = root().join("tests/fixtures/clips").join(name);
    let fetched = cache().join("clips").join(name);
    let file = if own.is_file() { own } else { fetched };
    assert!(file.is_file(), "{} is missing; run `make clips`", file.display());
    file
}

/// The `halfpipe` program.
///
/// # Panics
/// If it is missing.
#[must_use]
pub fn halfpipe() -> PathBuf {
    let program = profile_dir().join("halfpipe");
    assert!(program.is_file(), "{} is missing; run `make build`", program.display());
    program
}
