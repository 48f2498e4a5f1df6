//! What a job may touch: objects by role, staged so that outputs appear whole or not at all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::RuntimeError;

/// Roles with a fixed meaning. A guest never sees paths, only these names.
pub mod role {
    /// The video to read.
    pub const INPUT: &str = "input";
    /// The video to write.
    pub const OUTPUT: &str = "output";
    /// poses.jsonl.
    pub const POSES: &str = "poses";
}

/// An output being made beside its final place.
#[derive(Debug)]
pub struct Staged {
    /// Where it will appear; none for an intermediate that is only read by the host.
    pub target: Option<PathBuf>,
    /// Where it is being written.
    pub path: PathBuf,
    /// Whether the guest started it.
    pub created: bool,
    /// Whether it was finished.
    pub finished: bool,
    /// Frames written, for a video.
    pub frames: Option<u64>,
    /// Size of those frames in the file.
    pub size: Option<halfpipe_core::Size>,
    /// Bytes written.
    pub bytes: u64,
}

/// The objects of one job.
#[derive(Debug)]
pub struct Grants {
    /// Readable files by role.
    pub inputs: BTreeMap<String, PathBuf>,
    /// Writable files by role.
    pub outputs: BTreeMap<String, Staged>,
}

/// Prefix of staged files: hidden, and never mistaken for a result.
const STAGE_PREFIX: &str = ".halfpipe-";

/// The staging path for a target: hidden, in the same folder (so that the last step is a rename), with the
/// process id (so that leftovers of a killed process are recognised) and the target's own extension.
fn staging_path(target: &Path, job: &str) -> Result<PathBuf, RuntimeError> {
    let fault = |message: &str| RuntimeError::Output { path: target.to_owned(), message: message.to_owned() };
    let name = target.file_name().and_then(|n| n.to_str()).ok_or_else(|| fault("it has no readable file name"))?;
    if target.is_dir() {
        return Err(fault("it is a directory"));
    }
    let folder = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    if !folder.is_dir() {
        return Err(fault("its folder does not exist"));
    }
    Ok(folder.join(format!("{STAGE_PREFIX}{}-{job}-part-{name}", std::process::id())))
}

/// Removes staged files in `folder` whose process is gone. What cannot be read or removed is left alone.
fn sweep(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|n| n.strip_prefix(STAGE_PREFIX)) else { continue };
        let Some((pid, _)) = rest.split_once('-') else { continue };
        let Ok(pid) = pid.parse::<u32>() else { continue };
        if !Path::new("/proc").join(pid.to_string()).exists() && std::fs::remove_file(entry.path()).is_ok() {
            tracing::info!(file = %entry.path().display(), "removed a leftover of a killed job");
        }
    }
}

impl Staged {
    /// Stages an output for `target`.
    ///
    /// # Errors
    /// [`RuntimeError::Output`] where the folder is missing or not writable, or the target is a directory.
    pub fn new(target: &Path, job: &str) -> Result<Self, RuntimeError> {
        let path = staging_path(target, job)?;
        if let Some(folder) = path.parent() {
            sweep(folder);
        }
        std::fs::File::create(&path).map_err(|e| RuntimeError::Output { path: target.to_owned(), message: e.to_string() })?;
        Ok(Self { target: Some(target.to_owned()), path, created: false, finished: false, frames: None, size: None, bytes: 0 })
    }
    /// Stages an intermediate in `folder` that is never published.
    ///
    /// # Errors
    /// [`RuntimeError::Output`] where the folder cannot be written.
    pub fn intermediate(folder: &Path, name: &str, job: &str) -> Result<Self, RuntimeError> {
        let mut staged = Self::new(&folder.join(name), job)?;
        staged.target = None;
        Ok(staged)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // published files were renamed away; anything else must not stay
        std::fs::remove_file(&self.path).ok();
    }
}

/// Moves all staged files to their places, or none: on a failure those already moved are removed again.
///
/// # Errors
/// [`RuntimeError::Output`] naming the file that could not be moved.
pub fn publish(outputs: &BTreeMap<String, Staged>) -> Result<(), RuntimeError> {
    let mut done: Vec<&Path> = Vec::new();
    for staged in outputs.values().filter(|s| s.finished) {
        let Some(target) = &staged.target else { continue };
        let moved = std::fs::File::open(&staged.path).and_then(|f| f.sync_all()).and_then(|()| std::fs::rename(&staged.path, target));
        if let Err(e) = moved {
            for path in done {
                std::fs::remove_file(path).ok();
            }
            return Err(RuntimeError::Output { path: target.clone(), message: e.to_string() });
        }
        done.push(target);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staged(target: &Path) -> Staged {
        let mut s = Staged::new(target, "j1").unwrap();
        std::fs::write(&s.path, b"data").unwrap();
        s.finished = true;
        s
    }

    #[test]
    fn nothing_is_visible_until_published_and_nothing_stays_behind() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out.mp4");
        drop(staged(&target));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let outputs = BTreeMap::from([("output".to_owned(), staged(&target))]);
        assert!(!target.exists());
        publish(&outputs).unwrap();
        drop(outputs);
        assert_eq!(std::fs::read(&target).unwrap(), b"data");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn all_or_none() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        let outputs = BTreeMap::from([("1".to_owned(), staged(&a)), ("2".to_owned(), staged(&b))]);
        std::fs::remove_file(&outputs["2"].path).unwrap();
        assert!(publish(&outputs).unwrap_err().to_string().contains("b"));
        assert!(!a.exists());
    }

    #[test]
    fn leftovers_of_dead_processes_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        let dead = dir.path().join(".halfpipe-4294967-j-part-x.mp4");
        std::fs::write(&dead, b"x").unwrap();
        let other = dir.path().join(".halfpipe-notes");
        std::fs::write(&other, b"x").unwrap();
        drop(staged(&dir.path().join("out")));
        assert!(!dead.exists());
        assert!(other.exists());
    }

    #[test]
    fn a_missing_folder_is_named() {
        let e = Staged::new(Path::new("/nonexistent-folder/x.mp4"), "j").unwrap_err().to_string();
        assert!(e.contains("/nonexistent-folder/x.mp4") && e.contains("folder does not exist"), "{e}");
    }
}
