//! What every source file keeps to: an opening comment, a readable length, reasons for exceptions, no word that is out of place.

use crate::repository::{assert_none, texts};

/// More lines than this are more than one subject.
const MAX_LINES: usize = 700;

/// Endings of files that people write and read as code.
const CODE: &[&str] = &[".rs", ".py", ".sh", ".wgsl", ".wit", ".js", ".ts", ".html"];

/// Text that has no business in the repository, and why.
const FORBIDDEN: &[(&str, &str)] = &[
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/ro", "ot/"), "a path of one machine"),
    (concat!("crates", ".io"), "a registry's host; clients know it"),
    (concat!("rust-lang", ".org"), "a registry's host; clients know it"),
    (concat!("pypi", ".org"), "a registry's host; clients know it"),
    (concat!("python", "hosted.org"), "a registry's host; clients know it"),
    (concat!("npmjs", ".org"), "a registry's host; clients know it"),
    (concat!("debian", ".org"), "a registry's host; clients know it"),
    (concat!("FIX", "ME"), "unfinished work; finish it or file it"),
    (concat!("TO", "DO"), "unfinished work; finish it or file it"),
];

fn is_code(path: &str) -> bool {
    CODE.iter().any(|ending| path.ends_with(ending))
}

/// Whether a Rust file opens with a comment that says what it is for.
fn opens_with_comment(text: &str) -> bool {
    text.lines().find(|line| !line.trim().is_empty()).is_some_and(|line| line.starts_with("//! "))
}

/// Line numbers of `#[allow(..)]` and `#[expect(..)]` without a reason.
fn unreasoned(text: &str) -> Vec<usize> {
    let mut lines = Vec::new();
    for marker in ["#[allow(", "#![allow(", "#[expect(", "#![expect("] {
        for (at, _) in text.match_indices(marker) {
            let line_start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
            let commented_or_quoted = text[line_start..at].contains(['"', '/', '`']);
            let attribute = text[at..].split(")]").next().unwrap_or_default();
            if !commented_or_quoted && !attribute.contains("reason = ") {
                lines.push(text[..at].matches('\n').count() + 1);
            }
        }
    }
    lines
}

/// Forbidden text, with its line and why. Paths and marks count only where they begin (`a/work/b` is no path of a machine),
/// hosts also within a longer name.
fn forbidden(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (word, why) in FORBIDDEN {
        let anywhere = word.contains('.');
        for (at, _) in text.match_indices(word) {
            let before = text[..at].chars().next_back();
            let inside = before.is_some_and(|c| c.is_alphanumeric() || "._-$}*".contains(c));
            if anywhere || !inside {
                found.push((text[..at].matches('\n').count() + 1, format!("\"{word}\": {why}")));
            }
        }
    }
    found
}

#[test]
fn rust_files_open_with_a_comment() {
    let found: Vec<String> =
        texts().filter(|(path, text)| path.ends_with(".rs") && !opens_with_comment(text)).map(|(path, _)| path).collect();
    assert_none("These files do not open with a `//!` that says what they are for:", &found);
}

#[test]
fn files_are_short() {
    let found: Vec<String> = texts()
        .filter(|(path, _)| is_code(path))
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .map(|(path, lines)| format!("{path}: {lines} lines"))
        .collect();
    assert_none(&format!("These files have more than {MAX_LINES} lines; one subject a file:"), &found);
}

#[test]
fn exceptions_have_reasons() {
    let found: Vec<String> = texts()
        .filter(|(path, _)| path.ends_with(".rs"))
        .flat_map(|(path, text)| unreasoned(&text).into_iter().map(move |line| format!("{path}:{line}")))
        .collect();
    assert_none("These allow or expect attributes lack `reason = \"..\"`:", &found);
}

#[test]
fn nothing_forbidden_is_written() {
    let found: Vec<String> = texts()
        // Cargo writes the registry's name into its lock file; licences and vendored interfaces are quoted as they are.
        .filter(|(path, _)| path != "Cargo.lock" && path != "LICENSE" && !path.starts_with("wit/deps/wasi-"))
        .flat_map(|(path, text)| forbidden(&text).into_iter().map(move |(line, what)| format!("{path}:{line}: {what}")))
        .collect();
    assert_none("These words do not belong into the repository:", &found);
}

#[test]
fn a_missing_opening_is_found() {
    assert!(opens_with_comment("//! Frames.\nuse std::fmt;\n"));
    assert!(!opens_with_comment("use std::fmt;\n//! Frames.\n"));
    assert!(!opens_with_comment("//!\n//! Frames.\n"));
    assert!(!opens_with_comment(""));
}

#[test]
fn a_missing_reason_is_found() {
    let attribute = |inside: &str| format!("fn a() {{}}\n#[{}({inside})]\nfn b() {{}}\n", "allow");
    assert_eq!(unreasoned(&attribute("dead_code")), [2]);
    assert_eq!(unreasoned(&attribute("dead_code,\n  reason = \"generated\"")), [0; 0]);
}

#[test]
fn a_forbidden_word_is_found() {
    let path = concat!("/ro", "ot/");
    assert_eq!(forbidden(&format!("a\ncp x {path}y")).len(), 1);
    assert_eq!(forbidden(&format!("cd project{path}y")).len(), 0);
    assert_eq!(forbidden(concat!("see pypi", ".org")).len(), 1);
    assert_eq!(forbidden(concat!("// TO", "DO: later")).len(), 1);
}
