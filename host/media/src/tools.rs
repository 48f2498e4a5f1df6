//! Where ffmpeg and ffprobe are, and whether they will do.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::spares::Spares;
use crate::{MediaError, remembered};

/// Overrides where ffmpeg is.
pub const FFMPEG_VARIABLE: &str = "HALFPIPE_FFMPEG";
/// Overrides where ffprobe is.
pub const FFPROBE_VARIABLE: &str = "HALFPIPE_FFPROBE";
/// Oldest release that will do: the first with `-fps_mode` and with the `movie_timescale` of the MP4 muxer.
pub const MINIMUM_VERSION: &str = "5.1";
/// The libavutil of that release. Builds from a checkout have no release number, but they all name this library's.
const MINIMUM_AVUTIL: (u32, u32) = (57, 28);

/// Containers that are opened at all. Play lists and image patterns are left out on purpose: they name other files.
pub(crate) const DEMUXERS: &str = "mov,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,nut,ogg,asf,mxf,ivf,h264,hevc,m4v,obu,gif,dv,\
                                   yuv4mpegpipe,wav,mp3,flac,aac";

/// The two programs, found and checked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tools {
    /// ffmpeg, with libx264.
    pub ffmpeg: PathBuf,
    /// ffprobe.
    pub ffprobe: PathBuf,
    /// Version of ffmpeg as it names itself, e.g. `5.1.9-0+deb12u1`.
    pub ffmpeg_version: String,
    /// Version of ffprobe.
    pub ffprobe_version: String,
    /// Major and minor number of ffmpeg's libavutil, which tell releases apart where builds name themselves as they like.
    pub(crate) avutil: (u32, u32),
    /// Of each one that has been started already; see [`Tools::with_spares`].
    #[serde(skip)]
    pub(crate) spares: Option<Arc<Spares>>,
}

impl PartialEq for Tools {
    /// The same programs; what has been started of them makes no difference.
    fn eq(&self, other: &Self) -> bool {
        self.programs() == other.programs()
    }
}

impl Tools {
    fn programs(&self) -> (&Path, &Path, &str, &str, (u32, u32)) {
        (&self.ffmpeg, &self.ffprobe, &self.ffmpeg_version, &self.ffprobe_version, self.avutil)
    }

    /// Keeps one of each started from now on, as long as a clone of this is there: [`crate::probe`] and a source that decodes a whole
    /// MP4, MOV or Matroska file then need not wait 50 ms until the dynamic linker is through. For services; each takes 47 MB, of which 9 are its own.
    #[must_use]
    pub fn with_spares(self) -> Self {
        let spares = Spares::start(&self);
        Self { spares: Some(spares), ..self }
    }

    /// Starts an ffmpeg for the next source that decodes a whole MP4, MOV or Matroska file in software: for a program that knows that it
    /// will decode one, while it finds out what is in it.
    #[must_use]
    pub fn with_spare_decoder(self) -> Self {
        let spares = Spares::decoder(&self);
        Self { spares: Some(spares), ..self }
    }

    /// Finds both: the environment variables first, then beside this program, then `PATH`. Starts each once.
    ///
    /// # Errors
    /// [`MediaError::ToolMissing`], [`MediaError::ToolTooOld`] or [`MediaError::ToolLacks`], saying what to install.
    pub fn find() -> Result<Self, MediaError> {
        let (ffmpeg, ffprobe) = places();
        Self::at(&ffmpeg, &ffprobe)
    }

    /// The same, but starts them only where they are not those that were found good the last time, which the file `tools.json` in
    /// `folder` tells: a start takes a tenth of a second, most of it in the dynamic linker.
    ///
    /// # Errors
    /// As [`Tools::find`]. A file that cannot be read or written is no error: then they are started.
    pub fn find_remembering(folder: &Path) -> Result<Self, MediaError> {
        let (ffmpeg, ffprobe) = places();
        remembered::tools(folder, &ffmpeg, &ffprobe)
    }

    /// Checks the two programs at these paths.
    ///
    /// # Errors
    /// As [`Tools::find`].
    pub fn at(ffmpeg: &Path, ffprobe: &Path) -> Result<Self, MediaError> {
        // each start takes a tenth of a second, most of it in the dynamic linker: one a program, side by side
        let (help, version) = std::thread::scope(|scope| {
            let version = scope.spawn(|| said(ffprobe, FFPROBE_VARIABLE, &["-version"]));
            // behind its banner, which names the versions
            let help = said(ffmpeg, FFMPEG_VARIABLE, &["-h", "encoder=libx264"]);
            (help, version.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        let (help, version) = (help?, version?);
        let (ffmpeg_version, avutil) = checked_version(ffmpeg, FFMPEG_VARIABLE, &help)?;
        let (ffprobe_version, _) = checked_version(ffprobe, FFPROBE_VARIABLE, &version)?;
        if !help.contains("Encoder libx264") {
            return Err(MediaError::ToolLacks { tool: ffmpeg.to_owned(), what: "the libx264 encoder", variable: FFMPEG_VARIABLE });
        }
        let (ffmpeg, ffprobe) = (ffmpeg.to_owned(), ffprobe.to_owned());
        Ok(Self { ffmpeg, ffprobe, ffmpeg_version, ffprobe_version, avutil, spares: None })
    }

    /// Runs ffprobe to its end.
    pub(crate) fn ffprobe<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Output, MediaError> {
        run(&self.ffprobe, FFPROBE_VARIABLE, args)
    }

    /// Runs ffmpeg to its end, for work of one frame.
    pub(crate) fn ffmpeg<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Output, MediaError> {
        run(&self.ffmpeg, FFMPEG_VARIABLE, args)
    }
}

/// Where the programs are.
fn places() -> (PathBuf, PathBuf) {
    let at = |variable: &str, usual: PathBuf| match std::env::var_os(variable) {
        Some(path) if !path.is_empty() => PathBuf::from(path),
        _ => on_path(usual),
    };
    (at(FFMPEG_VARIABLE, ffmpeg_sidecar::paths::ffmpeg_path()), at(FFPROBE_VARIABLE, ffmpeg_sidecar::ffprobe::ffprobe_path()))
}

/// The argument that opens exactly this file, whatever characters its name has, and never a protocol or an option.
pub(crate) fn file_url(path: &Path) -> std::ffi::OsString {
    let mut url = std::ffi::OsString::from("file:");
    url.push(path);
    url
}

/// The argument that opens the one file whose name is in a [`list`]; `-` stands for standard input. Its bytes are read as they are.
pub(crate) fn list_url(path: &Path) -> std::ffi::OsString {
    let mut url = std::ffi::OsString::from("concatf:");
    url.push(if path == Path::new("-") { "pipe:0".into() } else { file_url(path) });
    url
}

/// What ffmpeg's concatf protocol reads: the file's address in quotes, between which only quotes have a meaning.
pub(crate) fn list(path: &Path) -> std::io::Result<Vec<u8>> {
    let address = file_url(&std::path::absolute(path)?);
    let quoted = address.as_bytes().split(|byte| *byte == b'\'').collect::<Vec<_>>().join(&b"'\\''"[..]);
    Ok([b"'", &quoted[..], b"'\n"].concat())
}

/// The full path of a bare program name; what is not on `PATH` stays as it is and fails when run.
fn on_path(name: PathBuf) -> PathBuf {
    if name.components().count() > 1 {
        return name;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(&name)).find(|file| file.is_file()).unwrap_or(name)
}

fn run<S: AsRef<OsStr>>(tool: &Path, variable: &'static str, args: impl IntoIterator<Item = S>) -> Result<Output, MediaError> {
    // its own process group: a Ctrl-C in the terminal is for us, who then end our children in order
    Command::new(tool).args(args).stdin(Stdio::null()).process_group(0).output().map_err(|source| MediaError::ToolMissing {
        tool: tool.to_owned(),
        variable,
        minimum: MINIMUM_VERSION,
        source: Arc::new(source),
    })
}

/// What a program prints, its messages first.
fn said(tool: &Path, variable: &'static str, args: &[&str]) -> Result<String, MediaError> {
    let output = run(tool, variable, args)?;
    Ok(format!("{}\n{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout)))
}

fn checked_version(tool: &Path, variable: &'static str, text: &str) -> Result<(String, (u32, u32)), MediaError> {
    let version = release(text).unwrap_or("unknown").to_owned();
    match avutil(text) {
        Some(found) if found >= MINIMUM_AVUTIL => Ok((version, found)),
        _ => Err(MediaError::ToolTooOld { tool: tool.to_owned(), version, variable, minimum: MINIMUM_VERSION }),
    }
}

/// The word after `version` in the first line that is not empty.
fn release(text: &str) -> Option<&str> {
    text.lines().find(|line| !line.trim().is_empty())?.split_whitespace().skip_while(|word| *word != "version").nth(1)
}

/// Major and minor number of the libavutil that the program runs with (the second of the two it prints).
fn avutil(text: &str) -> Option<(u32, u32)> {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix("libavutil"))?;
    let mut numbers = line.split('/').nth(1)?.split('.').map(|n| n.trim().parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_releases_and_of_checkouts_are_read() {
        let debian = "ffmpeg version 5.1.9-0+deb12u1 Copyright (c) 2000-2026\nlibavutil      57. 28.100 / 57. 28.100\n";
        assert_eq!((release(debian), avutil(debian)), (Some("5.1.9-0+deb12u1"), Some((57, 28))));
        let checkout = "ffmpeg version N-112-gabc Copyright\nlibavutil      61.  1.102 / 61.  1.102\n";
        assert_eq!((release(checkout), avutil(checkout)), (Some("N-112-gabc"), Some((61, 1))));
        assert_eq!(avutil("GNU bash, version 5.2"), None);
    }

    #[test]
    fn a_missing_program_names_the_remedy() {
        let error = Tools::at(Path::new("/nowhere/ffmpeg"), Path::new("/nowhere/ffprobe")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/ffmpeg") && error.contains("install ffmpeg 5.1") && error.contains(FFMPEG_VARIABLE), "{error}");
    }

    #[test]
    fn another_program_under_that_name_is_refused() {
        let error = Tools::at(Path::new("/bin/echo"), Path::new("/bin/echo")).unwrap_err();
        assert!(matches!(error, MediaError::ToolTooOld { .. }), "{error}");
    }
}
