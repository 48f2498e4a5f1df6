//! Components compiled ahead of time: used where they fit, passed over where they do not, and never instead of another component.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]
// the engines' types are deep: wgpu's resources stand behind the store's data
#![recursion_limit = "256"]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use halfpipe_runtime::{Guest, Limits, Planner, Precompiled, RuntimeError, Sandbox};
use halfpipe_testkit::places;
use tempfile::TempDir;

fn limits() -> Limits {
    Limits { memory_bytes: 64 << 20, ..Limits::default() }
}

fn load(folder: &Path, component: &Path) -> Arc<Guest> {
    load_from(Precompiled::new(folder.to_owned()), component)
}

fn load_from(precompiled: Precompiled, component: &Path) -> Arc<Guest> {
    let sandbox = Sandbox::new(&limits(), precompiled).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(Guest::load(&sandbox, &limits(), component)).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

/// A folder with the example guest compiled into it; and the file.
fn compiled() -> (TempDir, PathBuf, PathBuf) {
    let folder = TempDir::new().unwrap();
    let component = places::guest("example");
    let sandbox = Sandbox::new(&limits(), Precompiled::default()).unwrap();
    let file = sandbox.precompile(&component, folder.path()).unwrap();
    (folder, component, file)
}

#[test]
fn what_was_compiled_ahead_is_used_and_says_the_same_of_itself() {
    let (folder, component, file) = compiled();
    let (quick, slow) = (load(folder.path(), &component), load(&folder.path().join("none"), &component));
    assert!(quick.precompiled && !slow.precompiled);
    assert!(file.file_name().unwrap().to_str().unwrap().starts_with(&quick.sha256));
    assert_eq!((&quick.sha256, quick.bytes, &quick.exports), (&slow.sha256, slow.bytes, &slow.exports));
    assert_eq!(
        (&quick.description.version, &quick.description.options_schema),
        (&slow.description.version, &slow.description.options_schema)
    );
}

#[test]
fn a_cache_is_filled_by_the_first_start_and_serves_the_second() {
    let folder = TempDir::new().unwrap();
    let cache = folder.path().join("new/compiled");
    let start = || load_from(Precompiled::default().with_cache(cache.clone()), &places::guest("example"));
    let (first, second) = (start(), start());
    assert!(!first.precompiled && second.precompiled);
    assert!(names(&cache).iter().any(|name| name.starts_with(&first.sha256)));
    // a cache that cannot be written to is no reason to fail
    let blocked = folder.path().join("file");
    std::fs::write(&blocked, "").unwrap();
    assert!(!load_from(Precompiled::default().with_cache(blocked.join("below")), &places::guest("example")).precompiled);
}

#[test]
fn a_cache_forgets_the_oldest() {
    let folder = TempDir::new().unwrap();
    for i in 0..40 {
        std::fs::write(folder.path().join(format!("{i:064}.cwasm")), "old").unwrap();
    }
    let guest = load_from(Precompiled::default().with_cache(folder.path().to_owned()), &places::guest("example"));
    let left = names(folder.path());
    assert_eq!(left.len(), 32);
    assert!(left.iter().any(|name| name.starts_with(&guest.sha256)), "the newest stays");
}

#[test]
fn planners_too() {
    let folder = TempDir::new().unwrap();
    let component = places::guest("planner");
    let sandbox = Sandbox::new(&limits(), Precompiled::new(folder.path().to_owned())).unwrap();
    assert!(!Planner::load(&sandbox, &component).unwrap().precompiled);
    sandbox.precompile(&component, folder.path()).unwrap();
    assert!(Planner::load(&sandbox, &component).unwrap().precompiled);
}

#[test]
fn an_exchanged_component_is_compiled_anew() {
    let (folder, component, _) = compiled();
    let changed = folder.path().join("example.wasm");
    let mut bytes = std::fs::read(component).unwrap();
    // an empty custom section named "x": the same code under another digest
    bytes.extend([0, 2, 1, b'x']);
    std::fs::write(&changed, bytes).unwrap();
    assert!(!load(folder.path(), &changed).precompiled);
}

#[test]
fn the_code_of_another_component_is_not_taken_for_this_one() {
    let (folder, component, file) = compiled();
    let other = places::guest("planner");
    let sandbox = Sandbox::new(&limits(), Precompiled::default()).unwrap();
    let others = sandbox.precompile(&other, folder.path()).unwrap();
    std::fs::rename(others, file).unwrap();
    assert!(!load(folder.path(), &component).precompiled);
}

#[test]
fn a_file_that_does_not_fit_is_passed_over() {
    type Damage = fn(Vec<u8>) -> Vec<u8>;
    let damages: [(&str, Damage); 5] = [
        ("empty", |_| Vec::new()),
        ("no first line", |bytes| bytes.into_iter().filter(|b| *b != b'\n').collect()),
        ("cut short", |mut bytes| bytes.split_off(bytes.len() / 2)),
        ("one bit", |mut bytes| {
            *bytes.last_mut().unwrap() ^= 1;
            bytes
        }),
        ("another host's", |bytes| {
            let line = bytes.iter().position(|b| *b == b'\n').unwrap();
            let label = String::from_utf8(bytes[..line].to_vec()).unwrap();
            let host = format!("\"host\":\"{}\"", env!("CARGO_PKG_VERSION"));
            assert!(label.contains(&host), "{label}");
            [label.replace(&host, "\"host\":\"0.0.1\"").as_bytes(), &bytes[line..]].concat()
        }),
    ];
    let (folder, component, file) = compiled();
    let whole = std::fs::read(&file).unwrap();
    for (name, damage) in damages {
        std::fs::write(&file, damage(whole.clone())).unwrap();
        assert!(!load(folder.path(), &component).precompiled, "{name}");
    }
    std::fs::write(&file, whole).unwrap();
    assert!(load(folder.path(), &component).precompiled);
}

#[test]
#[cfg(unix)]
fn what_anybody_may_write_to_is_not_trusted() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, component, file) = compiled();
    for place in [folder.path(), file.as_path()] {
        let before = std::fs::metadata(place).unwrap().permissions();
        std::fs::set_permissions(place, std::fs::Permissions::from_mode(before.mode() | 0o002)).unwrap();
        assert!(!load(folder.path(), &component).precompiled, "{}", place.display());
        std::fs::set_permissions(place, before).unwrap();
    }
    assert!(load(folder.path(), &component).precompiled);
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_with_a_remedy() {
    let (folder, component, file) = compiled();
    let sandbox = Sandbox::new(&limits(), Precompiled::default()).unwrap();
    let error = sandbox.precompile(&component, &file.join("more")).unwrap_err();
    assert!(matches!(error, RuntimeError::Precompiled { .. }) && error.to_string().contains("--out"), "{error}");
    drop(folder);
}

#[cfg(target_os = "linux")]
#[test]
fn perf_is_told_the_functions_of_a_guest() {
    let (folder, component, _) = compiled();
    let map = PathBuf::from(format!("/tmp/perf-{}.map", std::process::id()));
    let sandbox = Sandbox::with_perf_map(&limits(), Precompiled::new(folder.path().to_owned())).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let guest = runtime.block_on(Guest::load(&sandbox, &limits(), &component)).unwrap();
    let named = std::fs::read_to_string(&map).unwrap();
    std::fs::remove_file(&map).unwrap();
    assert!(guest.precompiled, "what was compiled before can be named too");
    assert!(named.lines().filter(|line| line.contains("function[")).count() > 50, "{named}");
}
