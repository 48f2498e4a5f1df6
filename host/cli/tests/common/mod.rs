//! Runs the real program on a folder of its own.
#![allow(dead_code, reason = "each test program uses its own part of this module")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use halfpipe_testkit::places;
use serde_json::Value;

/// A folder for one test.
pub struct Desk {
    pub dir: tempfile::TempDir,
}

/// What a run of the program came to.
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Desk {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Names in the folder, hidden ones too.
    pub fn names(&self) -> BTreeSet<String> {
        std::fs::read_dir(self.dir.path()).unwrap().flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect()
    }

    /// The program with this folder as its working directory.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_halfpipe"));
        command.current_dir(self.dir.path()).env("HALFPIPE_GUESTS", places::guests()).env("HALFPIPE_MODELS", places::models());
        command.env("HALFPIPE_DEVICE", "cpu");
        command
    }

    /// Runs the program with these arguments.
    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::from(self.command().args(args).output().unwrap())
    }

    /// Runs a job that must succeed and gives its report.
    pub fn report(&self, args: &[&str]) -> Value {
        let ran = self.run(&[&["run", "--json"], args].concat());
        assert_eq!(ran.code, Some(0), "{args:?}: {}", ran.stderr);
        serde_json::from_str(&ran.stdout).unwrap()
    }

    /// Runs something that must fail with `code`, in one line with these words, and leave the folder as it was.
    pub fn fails(&self, args: &[&str], code: i32, words: &[&str]) {
        let before = self.names();
        let ran = self.run(args);
        assert_eq!(ran.code, Some(code), "{args:?}: {}", ran.stderr);
        let error = ran.error();
        for word in words {
            assert!(error.contains(word), "{args:?}: {error:?} lacks {word:?}");
        }
        assert_eq!(self.names(), before, "{args:?} left something behind");
    }
}

impl Ran {
    /// The one line that starts with `error:`.
    pub fn error(&self) -> String {
        let errors: Vec<&str> = self.stderr.lines().filter(|l| l.starts_with("error:")).collect();
        assert_eq!(errors.len(), 1, "one error line, not: {}", self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        errors[0].to_owned()
    }
}

impl From<Output> for Ran {
    fn from(o: Output) -> Self {
        Self {
            code: o.status.code(),
            stdout: String::from_utf8_lossy(&o.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&o.stderr).into_owned(),
        }
    }
}

/// A file's name as text.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The lines of a pose file, each checked against the schema.
pub fn poses(file: &Path) -> Vec<Value> {
    let schema: Value = serde_json::from_str(include_str!("../../../../guest/kit/schema/poses-1.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let lines = std::fs::read_to_string(file).unwrap();
    let lines: Vec<Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    for (i, line) in lines.iter().enumerate() {
        if let Some(fault) = validator.iter_errors(line).next() {
            panic!("line {} of {}: {}: {fault}", i + 1, file.display(), fault.instance_path());
        }
    }
    lines
}
