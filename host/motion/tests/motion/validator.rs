//! Runs the Khronos glTF validator (npm package `gltf-validator`, pinned in `tests/gltf/package-lock.json`).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

/// Validates files and gives one report each; fails on any error, warning, information or hint.
pub fn validate(files: &[(&str, Vec<u8>)]) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gltf/validate.mjs");
    let mut node = Command::new("node");
    node.arg(script).arg(modules());
    for (name, bytes) in files {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        node.arg(path);
    }
    let text = run(&mut node);
    let reports: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for report in &reports {
        assert!(report["issues"]["messages"].as_array().unwrap().is_empty(), "{report:#}");
    }
    reports
}

/// The folder the validator is installed in, once for each version of the lock file.
fn modules() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gltf");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("gltf-validator");
        let names = ["package.json", "package-lock.json", ".npmrc"];
        let current = target.join("node_modules/gltf-validator/package.json").is_file()
            && names.iter().all(|n| std::fs::read(source.join(n)).ok() == std::fs::read(target.join(n)).ok());
        if !current {
            // beside the target first, so that a run cut short leaves nothing that looks installed
            let fresh = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            for name in names {
                std::fs::copy(source.join(name), fresh.path().join(name)).unwrap();
            }
            run(Command::new("npm").arg("ci").current_dir(fresh.path()));
            if target.exists() {
                std::fs::remove_dir_all(&target).unwrap();
            }
            std::fs::rename(fresh.keep(), &target).unwrap();
        }
        target
    })
}

fn run(command: &mut Command) -> String {
    let advice = "install Node.js 18 or later with npm (Debian: apt-get install nodejs npm); its packages come from the npm registry";
    let output = command.output().unwrap_or_else(|e| panic!("{command:?} did not start: {e}; {advice}"));
    assert!(output.status.success(), "{command:?} failed: {}; {advice}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
