//! Who may depend on whom: engines do not see each other, and each large library has one home.

use crate::repository::{Dependency, Member, assert_none, members, root};

/// A workspace crate may depend only on crates of a lower layer.
const LAYERS: &[&[&str]] = &[
    &["halfpipe-core", "halfpipe-kit"],
    &["halfpipe-media", "halfpipe-nn", "halfpipe-render", "halfpipe-store", "halfpipe-motion"],
    &["halfpipe-queue", "halfpipe-join"],
    &["halfpipe-runtime"],
    &["halfpipe-service"],
    &["halfpipe-cli", "halfpipe-lambda"],
];

/// Helps tests, so it is a development dependency of anyone and a real one of nobody.
const TESTKIT: &str = "halfpipe-testkit";

/// What pipeline guests share that needs the world's bindings: a library for guests only.
const GUEST_BINDINGS: &str = "halfpipe-bindings";

/// Libraries (by name or `prefix-*`) and the only crates that may be built on them. Tests may use them anywhere.
const HOMES: &[(&str, &[&str])] = &[
    ("ort", &["halfpipe-nn"]),
    ("wgpu", &["halfpipe-render"]),
    ("ffmpeg-sidecar", &["halfpipe-media"]),
    ("aws-*", &["halfpipe-store", "halfpipe-queue"]),
    ("wasmtime", &["halfpipe-runtime"]),
    ("wasmtime-*", &["halfpipe-runtime"]),
    ("s3s*", &["halfpipe-store"]),
    ("axum", &["halfpipe-service"]),
    ("utoipa", &["halfpipe-service"]),
    ("lambda_http", &["halfpipe-lambda"]),
    ("gltf-json", &["halfpipe-motion"]),
];

/// What part of the house a package belongs to.
enum Place {
    /// A host crate or the kit, with its layer.
    Layer(usize),
    Testkit,
    Guest,
    /// A crate of nothing but tests: it may depend on anything, nothing depends on it.
    Tests,
}

/// `folder` is the package's folder from the root.
fn place(name: &str, folder: &str) -> Option<Place> {
    if name == TESTKIT {
        return Some(Place::Testkit);
    }
    if let Some(layer) = LAYERS.iter().position(|layer| layer.contains(&name)) {
        return Some(Place::Layer(layer));
    }
    if folder.starts_with("guest/") || folder.starts_with("tests/guests/") {
        return Some(Place::Guest);
    }
    folder.starts_with("tests/").then_some(Place::Tests)
}

fn is_home(library: &str, pattern: &str) -> bool {
    pattern.strip_suffix('*').map_or(library == pattern, |prefix| library.starts_with(prefix))
}

/// What is wrong with a package's dependencies.
fn complaints(name: &str, folder: &str, dependencies: &[Dependency]) -> Vec<String> {
    let Some(own) = place(name, folder) else {
        return vec![format!("{name} ({folder}) has no place yet: give it one in tests/tidy/src/layers.rs")];
    };
    let mut found = Vec::new();
    for dependency in dependencies {
        let other = dependency.name.as_str();
        let in_tests = dependency.kind.as_deref() == Some("dev");
        if dependency.source.is_none() {
            let allowed = match (&own, LAYERS.iter().position(|layer| layer.contains(&other))) {
                _ if other == TESTKIT => in_tests || matches!(own, Place::Tests),
                // A crate's tests may ask for its own optional features this way.
                _ if other == name => in_tests,
                (Place::Tests, _) => true,
                (Place::Guest, _) => other == "halfpipe-kit" || (other == GUEST_BINDINGS && name != GUEST_BINDINGS),
                (Place::Layer(own), Some(layer)) => layer < *own,
                (Place::Testkit, Some(layer)) => layer < 2,
                (_, None) => false,
            };
            if !allowed {
                found.push(format!("{name} may not depend on {other}"));
            }
        } else if !in_tests
            && !matches!(own, Place::Tests)
            && let Some((_, homes)) = HOMES.iter().find(|(pattern, _)| is_home(other, pattern))
            && !homes.contains(&name)
        {
            found.push(format!("{name} may not depend on {other}, which belongs to {}", homes.join(", ")));
        }
    }
    found
}

fn folder(member: &Member) -> String {
    let folder = member.manifest_path.parent().expect("a manifest lies in a folder");
    folder.strip_prefix(root()).expect("members lie below the root").to_string_lossy().replace('\\', "/")
}

#[test]
fn crates_depend_on_lower_layers_only() {
    let found: Vec<String> = members().iter().flat_map(|member| complaints(&member.name, &folder(member), &member.dependencies)).collect();
    assert_none("Dependencies point downwards, and each large library has one home (tests/tidy/src/layers.rs):", &found);
}

#[test]
fn every_crate_takes_the_workspace_lints() {
    let found: Vec<String> = members()
        .iter()
        .filter(|member| {
            let text = std::fs::read_to_string(&member.manifest_path).expect("a manifest can be read");
            let manifest: toml::Table = toml::from_str(&text).expect("a manifest is TOML");
            manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool) != Some(true)
        })
        .map(|member| format!("{}/Cargo.toml", folder(member)))
        .collect();
    assert_none("These manifests lack `[lints] workspace = true`:", &found);
}

#[test]
fn a_wrong_dependency_is_found() {
    let ours = |name: &str, kind: Option<&str>| Dependency { name: name.into(), kind: kind.map(Into::into), source: None };
    let theirs = |name: &str, kind: Option<&str>| Dependency { source: Some("registry".into()), ..ours(name, kind) };
    let wrong = |name: &str, folder: &str, dependency| complaints(name, folder, &[dependency]).len() == 1;

    assert!(wrong("halfpipe-nn", "host/nn", ours("halfpipe-media", None)), "engines do not see each other");
    assert!(wrong("halfpipe-nn", "host/nn", ours("halfpipe-media", Some("dev"))), "nor do their tests");
    assert!(wrong("halfpipe-nn", "host/nn", ours("halfpipe-runtime", None)), "nothing looks upwards");
    assert!(wrong("halfpipe-kit", "guest/kit", ours("halfpipe-core", None)), "the kit knows no host crate");
    assert!(wrong("halfpipe-overlay", "guest/overlay", ours("halfpipe-core", None)), "nor do guests");
    assert!(wrong("halfpipe-cli", "host/cli", ours("halfpipe-testkit", None)), "test helpers are not shipped");
    assert!(wrong("halfpipe-cli", "host/cli", theirs("wgpu", None)), "a library has one home");
    assert!(wrong("halfpipe-cli", "host/cli", theirs("aws-sdk-sqs", None)), "so has a family of them");
    assert!(wrong("halfpipe-new", "host/new", ours("halfpipe-core", None)), "a new crate needs a place");

    assert!(!wrong("halfpipe-runtime", "host/runtime", ours("halfpipe-nn", None)));
    assert!(!wrong("halfpipe-nn", "host/nn", ours("halfpipe-testkit", Some("dev"))));
    assert!(!wrong("halfpipe-cli", "host/cli", theirs("wgpu", Some("dev"))));
    assert!(wrong("halfpipe-cli", "host/cli", ours("halfpipe-bindings", None)), "what guests share is no host's");
    assert!(wrong("halfpipe-overlay", "guest/overlay", ours("halfpipe-hmr2", None)), "guests do not see each other");
    assert!(!wrong("halfpipe-overlay", "guest/overlay", ours("halfpipe-kit", None)));
    assert!(!wrong("halfpipe-overlay", "guest/overlay", ours("halfpipe-bindings", None)));
}
