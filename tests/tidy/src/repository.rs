//! Access to the repository: its root, its files, its members, and a way to report all complaints at once.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

/// The folder of the workspace. Read when the test runs and not when it is compiled, so that a compiled test can serve
/// another clone.
pub fn root() -> PathBuf {
    let own = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR for tests; run `make tidy`");
    Path::new(&own).join("../..").canonicalize().expect("the workspace is two folders up")
}

/// A file of the repository: path from the root with `/`, and content where it is text.
pub struct File {
    pub path: String,
    pub text: Option<String>,
}

/// Every file that Git would not ignore, sorted by path.
pub fn files() -> Vec<File> {
    let root = root();
    let mut files: Vec<File> = ignore::WalkBuilder::new(&root)
        .hidden(false)
        .require_git(false)
        .filter_entry(|entry| entry.file_name() != ".git")
        .build()
        .map(|entry| entry.expect("the repository can be walked"))
        .filter(|entry| entry.file_type().is_some_and(|kind| kind.is_file()))
        .map(|entry| File {
            path: entry.path().strip_prefix(&root).expect("below the root").to_string_lossy().replace('\\', "/"),
            text: std::fs::read(entry.path()).ok().and_then(|bytes| String::from_utf8(bytes).ok()),
        })
        .collect();
    assert!(files.iter().any(|file| file.path == "Cargo.toml"), "no Cargo.toml in {}", root.display());
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// The text files among [`files`].
pub fn texts() -> impl Iterator<Item = (String, String)> {
    files().into_iter().filter_map(|file| Some((file.path, file.text?)))
}

/// A package of the workspace, as `cargo metadata` tells it.
#[derive(Deserialize)]
pub struct Member {
    pub name: String,
    pub manifest_path: PathBuf,
    pub dependencies: Vec<Dependency>,
}

/// A dependency as a manifest declares it.
#[derive(Deserialize)]
pub struct Dependency {
    pub name: String,
    /// `None` for an ordinary one, else `dev` or `build`.
    pub kind: Option<String>,
    /// Where it comes from; `None` for a path.
    pub source: Option<String>,
}

/// Every package of the workspace.
pub fn members() -> Vec<Member> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Member>,
    }
    let text = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    serde_json::from_str::<Metadata>(&text).expect("cargo metadata prints what it documents").packages
}

/// What a cargo command prints, run in the root.
pub fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(arguments).current_dir(root()).output().expect("cargo can be run");
    assert!(output.status.success(), "cargo {arguments:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}

/// Fails with every complaint if there is any.
#[track_caller]
pub fn assert_none(rule: &str, complaints: &[String]) {
    assert!(complaints.is_empty(), "{rule}\n  {}\n", complaints.join("\n  "));
}
