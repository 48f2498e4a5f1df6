//! `deny.toml`, enforced without a tool to install: licences, sources and duplicates of what is really compiled.

use std::collections::{BTreeMap, BTreeSet};

use semver::{Version, VersionReq};
use serde::Deserialize;
use spdx::{Expression, ParseMode};

use crate::repository::{assert_none, cargo, root};

/// The part of `deny.toml` that is read here; `cargo deny` reads the same lines.
#[derive(Deserialize)]
struct Deny {
    graph: Graph,
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Graph {
    targets: Vec<String>,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    skip: Vec<Skip>,
}

/// A duplicate that cannot be helped.
#[derive(Deserialize)]
struct Skip {
    /// `name@version requirement`.
    #[serde(rename = "crate")]
    krate: String,
    reason: String,
}

/// A crate that some target or test compiles.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    name: String,
    version: Version,
    licence: String,
}

fn deny() -> Deny {
    let text = std::fs::read_to_string(root().join("deny.toml")).expect("deny.toml lies in the root");
    toml::from_str(&text).expect("deny.toml has the fields that are read here")
}

/// A line of `cargo tree --prefix none --format '{p}|{l}'`: `name v1.2.3 (proc-macro)|MIT (*)`. `None` for our own crates,
/// which have a path there.
fn package(line: &str) -> Option<Package> {
    let (package, licence) = line.split_once('|')?;
    if package.contains("(/") {
        return None;
    }
    let mut words = package.split(' ');
    let name = words.next()?.to_owned();
    let version = Version::parse(words.next()?.strip_prefix('v')?).ok()?;
    Some(Package { name, version, licence: licence.trim_end_matches(" (*)").to_owned() })
}

/// What is compiled for the targets of `deny.toml`, with the features in use; tests and build scripts included.
fn compiled(targets: &[String]) -> BTreeSet<Package> {
    let mut arguments = vec!["tree", "--workspace", "--locked", "--prefix", "none", "--format", "{p}|{l}"];
    arguments.extend(targets.iter().flat_map(|target| ["--target", target.as_str()]));
    let packages: BTreeSet<Package> = cargo(&arguments).lines().filter_map(package).collect();
    assert!(packages.iter().any(|package| package.name == "serde"), "cargo tree printed nothing that could be read");
    packages
}

/// What is wrong with a crate's licence.
fn licence_complaint(package: &Package, allow: &[String]) -> Option<String> {
    let Package { name, version, licence } = package;
    match Expression::parse_mode(licence, ParseMode::LAX) {
        Ok(expression) if expression.evaluate(|wanted| allow.contains(&wanted.to_string())) => None,
        Ok(_) => Some(format!("{name} {version}: {licence}")),
        Err(_) => Some(format!("{name} {version}: \"{licence}\" is no licence expression")),
    }
}

/// Crates that are compiled in several versions without a line in `deny.toml`, and lines that are not needed.
fn duplicate_complaints(packages: &BTreeSet<Package>, skips: &[Skip]) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<&Version>> = BTreeMap::new();
    for package in packages {
        versions.entry(&package.name).or_default().insert(&package.version);
    }
    let mut found = Vec::new();
    for skip in skips {
        let (name, requirement) = skip.krate.split_once('@').unwrap_or((&skip.krate, "*"));
        let Ok(requirement) = VersionReq::parse(requirement) else {
            found.push(format!("\"{}\" in skip is not `name@version`", skip.krate));
            continue;
        };
        if skip.reason.trim().is_empty() {
            found.push(format!("\"{}\" in skip has no reason", skip.krate));
        }
        let all = versions.entry(name).or_default();
        let before = all.len();
        all.retain(|version| !requirement.matches(version));
        if all.len() == before || before == 1 {
            found.push(format!("\"{}\" in skip is not needed", skip.krate));
        }
    }
    for (name, versions) in versions.into_iter().filter(|(_, versions)| versions.len() > 1) {
        let list: Vec<String> = versions.into_iter().map(ToString::to_string).collect();
        found.push(format!("{name} is compiled as {}: bring them together, or name one in skip with the reason", list.join(" and ")));
    }
    found
}

/// Packages of a lock file that come from anywhere but the one public registry.
fn source_complaints(lock: &str) -> Vec<String> {
    let lock: toml::Table = toml::from_str(lock).expect("a lock file is TOML");
    let packages = lock.get("package").and_then(toml::Value::as_array).expect("a lock file lists packages");
    let text = |package: &toml::Value, key: &str| package.get(key).and_then(toml::Value::as_str).map(str::to_owned);
    packages
        .iter()
        .filter_map(|package| Some((text(package, "name")?, text(package, "source")?)))
        .filter(|(_, source)| !(source.starts_with("registry+") && source.ends_with(concat!("/crates", ".io-index"))))
        .map(|(name, source)| format!("{name}: {source}"))
        .collect()
}

#[test]
fn licences_are_permissive() {
    let deny = deny();
    let found: Vec<String> =
        compiled(&deny.graph.targets).iter().filter_map(|package| licence_complaint(package, &deny.licenses.allow)).collect();
    assert_none("These licences are not allowed by deny.toml:", &found);
}

#[test]
fn duplicates_have_a_reason() {
    let deny = deny();
    let found = duplicate_complaints(&compiled(&deny.graph.targets), &deny.bans.skip);
    assert_none("deny.toml, [bans] skip:", &found);
}

#[test]
fn everything_comes_from_the_registry() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock lies in the root");
    assert_none("Only the public registry is a source of crates:", &source_complaints(&lock));
}

#[test]
fn a_line_of_cargo_tree_is_read() {
    let read = package("syn v2.0.1 (proc-macro)|MIT OR Apache-2.0 (*)").unwrap();
    assert_eq!(read, Package { name: "syn".into(), version: Version::new(2, 0, 1), licence: "MIT OR Apache-2.0".into() });
    assert_eq!(package("halfpipe-core v0.1.0 (/somewhere/host/core)|Apache-2.0"), None);
}

#[test]
fn a_wrong_licence_is_found() {
    let allow = ["MIT".to_owned(), "Apache-2.0 WITH LLVM-exception".to_owned()];
    let wrong = |licence: &str| {
        let package = Package { name: "a".into(), version: Version::new(1, 0, 0), licence: licence.into() };
        licence_complaint(&package, &allow).is_some()
    };
    assert!(!wrong("MIT"));
    assert!(!wrong("GPL-3.0-only OR MIT"));
    assert!(!wrong("MIT/Apache-2.0"));
    assert!(!wrong("Apache-2.0 WITH LLVM-exception"));
    assert!(wrong("Apache-2.0"));
    assert!(wrong("MIT AND GPL-3.0-only"));
    assert!(wrong(""));
}

#[test]
fn a_duplicate_is_found() {
    let package = |name: &str, major| Package { name: name.into(), version: Version::new(major, 2, 3), licence: "MIT".into() };
    let skip = |krate: &str, reason: &str| Skip { krate: krate.into(), reason: reason.into() };
    let packages = BTreeSet::from([package("a", 1), package("a", 2), package("b", 1)]);

    assert_eq!(duplicate_complaints(&packages, &[]).len(), 1, "a comes twice");
    assert_eq!(duplicate_complaints(&packages, &[skip("a@1", "old")]).len(), 0, "one of them is excused");
    assert_eq!(duplicate_complaints(&packages, &[skip("a@1", "")]).len(), 1, "without a reason");
    assert_eq!(duplicate_complaints(&packages, &[skip("a@1", "old"), skip("b@1", "old")]).len(), 1, "b comes once");
    assert_eq!(duplicate_complaints(&packages, &[skip("a@3", "old")]).len(), 2, "there is no a 3, and a comes twice");
}

#[test]
fn a_foreign_source_is_found() {
    let lock = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"git+https://example.org/a#0123\"\n[[package]]\nname = \"own\"\n";
    assert_eq!(source_complaints(lock).len(), 1);
}
