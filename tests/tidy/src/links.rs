//! What the documents point to exists: files behind links, and targets behind `make` commands.

use crate::repository::{assert_none, root, texts};

/// Targets of Markdown links and pictures in a text.
fn links(text: &str) -> Vec<&str> {
    text.match_indices("](").filter_map(|(at, _)| text[at + 2..].split([')', ' ', '\n']).next()).collect()
}

/// Words that follow "make" in a code span or at the start of a line of a code block.
fn make_targets(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for start in ["`make ", "\nmake ", "    make ", "$ make ", "&& make "] {
        for (at, _) in text.match_indices(start) {
            let words = text[at + start.len()..].split(['`', '\n', '#', ';', '&', '.', ',']).next().unwrap_or_default();
            found.extend(words.split_whitespace().take_while(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')));
        }
    }
    found
}

#[test]
fn links_lead_to_files() {
    let root = root();
    let mut found = Vec::new();
    for (path, text) in texts().filter(|(path, _)| path.ends_with(".md")) {
        let folder = root.join(&path).parent().map(ToOwned::to_owned).unwrap_or_default();
        for link in links(&text) {
            let target = link.split('#').next().unwrap_or_default();
            let elsewhere = target.is_empty() || target.contains("://") || target.starts_with("mailto:");
            let base = if target.starts_with('/') { &root } else { &folder };
            if !elsewhere && !base.join(target.trim_start_matches('/')).exists() {
                found.push(format!("{path}: {link}"));
            }
        }
    }
    assert_none("These links lead nowhere:", &found);
}

#[test]
fn make_commands_exist() {
    let makefile = std::fs::read_to_string(root().join("Makefile")).expect("there is a Makefile");
    let targets: Vec<&str> = makefile.lines().filter_map(|line| line.strip_prefix(".PHONY: ")).collect();
    assert!(targets.contains(&"help"), "the Makefile declares its targets with .PHONY");
    let mut found = Vec::new();
    for (path, text) in texts().filter(|(path, _)| path.ends_with(".md")) {
        found.extend(make_targets(&text).into_iter().filter(|word| !targets.contains(word)).map(|word| format!("{path}: make {word}")));
    }
    assert_none("These make targets do not exist:", &found);
}

#[test]
fn links_and_commands_are_read() {
    assert_eq!(links("See [a](b.md#c) and ![d](e.png \"f\")."), ["b.md#c", "e.png"]);
    assert_eq!(make_targets("Run `make demo` or\nmake test lint ARGS=x\n"), ["demo", "test", "lint"]);
    assert_eq!(make_targets("It will make sure."), [""; 0]);
}
