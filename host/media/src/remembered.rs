//! The programs that were found good the last time, so that a short job need not start them once more to ask.
//!
//! They count as the same while their files are, and what the dynamic linker would load for them: their size and time of change, the
//! linker's cache, which every installation of a library renews, and its variables. A script is asked each time, for what it starts
//! may change while it does not.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{MediaError, Tools};

/// Name of the file in the cache's folder.
const FILE: &str = "tools.json";
/// What the dynamic linker of glibc looks libraries up in.
const LINKER_CACHE: &str = "/etc/ld.so.cache";
/// Variables that have it load others.
const LINKER_VARIABLES: [&str; 2] = ["LD_LIBRARY_PATH", "LD_PRELOAD"];

/// What the file holds.
#[derive(Serialize, Deserialize)]
struct Memory {
    seen: Seen,
    tools: Tools,
}

/// What the programs were like when they were asked.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    /// Version of the host that asked, which knows what it needs.
    host: String,
    programs: [Stamp; 2],
    linker_cache: Option<Stamp>,
    linker_variables: [Option<String>; 2],
}

/// A file as it was.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    path: PathBuf,
    bytes: u64,
    /// Device and number of the file on it.
    inode: (u64, u64),
    /// Of the content, seconds and nanoseconds.
    modified: (i64, i64),
}

/// The programs at these paths as `folder` remembers them; else asks them, and writes down what they said.
pub(crate) fn tools(folder: &Path, ffmpeg: &Path, ffprobe: &Path) -> Result<Tools, MediaError> {
    let Some(seen) = Seen::now(ffmpeg, ffprobe) else { return Tools::at(ffmpeg, ffprobe) };
    let file = folder.join(FILE);
    let memory = fs::read(&file).ok().and_then(|bytes| serde_json::from_slice::<Memory>(&bytes).ok());
    let known = |m: &Memory| m.seen == seen && m.tools.ffmpeg == ffmpeg && m.tools.ffprobe == ffprobe;
    if let Some(memory) = memory.filter(known) {
        return Ok(memory.tools);
    }
    let tools = Tools::at(ffmpeg, ffprobe)?;
    if let Err(error) = write(folder, &file, &Memory { seen, tools: tools.clone() }) {
        tracing::debug!(file = %file.display(), %error, "what ffmpeg and ffprobe are is not remembered");
    }
    Ok(tools)
}

/// Whole or not at all: another process may read it meanwhile.
fn write(folder: &Path, file: &Path, memory: &Memory) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    serde_json::to_writer(&mut new, memory)?;
    new.persist(file).map(drop).map_err(|e| e.error)
}

impl Seen {
    /// None where a program is no program of the system's own kind.
    fn now(ffmpeg: &Path, ffprobe: &Path) -> Option<Self> {
        let program = |path: &Path| is_elf(path).then(|| Stamp::of(path)).flatten();
        Some(Self {
            host: env!("CARGO_PKG_VERSION").to_owned(),
            programs: [program(ffmpeg)?, program(ffprobe)?],
            linker_cache: Stamp::of(Path::new(LINKER_CACHE)),
            linker_variables: LINKER_VARIABLES.map(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())),
        })
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let path = fs::canonicalize(path).ok()?;
        let meta = fs::metadata(&path).ok()?;
        Some(Self { bytes: meta.len(), inode: (meta.dev(), meta.ino()), modified: (meta.mtime(), meta.mtime_nsec()), path })
    }
}

fn is_elf(path: &Path) -> bool {
    let mut magic = [0; 4];
    File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == *b"\x7fELF"
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// What the file says, with another version of ffmpeg, so that it shows who was asked.
    fn mark(file: &Path) -> Memory {
        let mut memory: Memory = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        memory.tools.ffmpeg_version = "remembered".into();
        write(file.parent().unwrap(), file, &memory).unwrap();
        memory
    }

    #[test]
    fn programs_are_asked_once_and_again_when_they_change() {
        let (folder, asked) = (tempfile::tempdir().unwrap(), Tools::find().unwrap());
        let cache = folder.path().join("cache");
        let file = cache.join(FILE);
        let found = || tools(&cache, &asked.ffmpeg, &asked.ffprobe).unwrap();
        assert_eq!(found(), asked, "nothing is remembered yet");
        mark(&file);
        assert_eq!(found().ffmpeg_version, "remembered");

        let alter: [fn(&mut Memory); 5] = [
            |m| m.seen.programs[0].bytes += 1,
            |m| m.seen.programs[1].modified.1 += 1,
            |m| m.seen.linker_cache = None,
            |m| m.seen.linker_variables[0] = Some("/elsewhere".into()),
            |m| m.seen.host = "0.0.0".into(),
        ];
        for alter in alter {
            let mut memory = mark(&file);
            alter(&mut memory);
            write(&cache, &file, &memory).unwrap();
            assert_eq!(found(), asked, "it is not what was seen");
            mark(&file);
            assert_eq!(found().ffmpeg_version, "remembered", "and is seen anew");
        }
        fs::write(&file, "{").unwrap();
        assert_eq!(found(), asked);
    }

    #[test]
    fn a_script_is_asked_each_time() {
        let (folder, asked) = (tempfile::tempdir().unwrap(), Tools::find().unwrap());
        let script = folder.path().join("ffmpeg");
        fs::write(&script, format!("#!/bin/sh\nexec '{}' \"$@\"\n", asked.ffmpeg.display())).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let cache = folder.path().join("cache");
        assert_eq!(tools(&cache, &script, &asked.ffprobe).unwrap().ffmpeg_version, asked.ffmpeg_version);
        assert!(!cache.exists());
    }

    #[test]
    fn a_cache_that_cannot_be_written_costs_only_time() {
        let asked = Tools::find().unwrap();
        assert_eq!(tools(Path::new("/dev/null/cache"), &asked.ffmpeg, &asked.ffprobe).unwrap(), asked);
    }
}
