//! An ffmpeg as on a machine with an NVIDIA GPU, for machines without one: it notes what it is asked for and does it in software. All but
//! the hardware is tested with it: the arguments, and everything that follows from the frames.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A program that stands in for ffmpeg.
pub struct GpuFfmpeg {
    /// The program.
    pub path: PathBuf,
}

impl GpuFfmpeg {
    /// Puts it into `folder`. `down` is the filter that gives frames as NVDEC's come down: `format=nv12`, or `format=p010le` for 10 bits.
    /// `says` is what its decoder prints before it goes on in software; nothing for one that decodes.
    ///
    /// # Panics
    /// If there is no ffmpeg, or the folder cannot be written to.
    #[must_use]
    pub fn new(folder: &Path, down: &str, says: &str) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let real = std::env::split_paths(&path).map(|dir| dir.join("ffmpeg")).find(|file| file.is_file());
        let real = real.unwrap_or_else(|| panic!("there is no ffmpeg on PATH; run `make packages`"));
        let program = folder.join("ffmpeg-with-gpu");
        let script = SCRIPT.replace("REAL", real.to_str().unwrap()).replace("DOWN", down).replace("SAYS", says);
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { path: program }
    }

    /// Its command lines so far, each as one line.
    ///
    /// # Panics
    /// If it was never started.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.path.with_file_name("ffmpeg-with-gpu.log")).unwrap();
        log.lines().map(str::to_owned).collect()
    }
}

/// Goes once around the arguments: each is taken from the front and put back behind the others, as software wants it.
const SCRIPT: &str = r#"#!/bin/sh
printf '%s\n' "$*" >>"$0.log"
nvdec=
left=$#
while [ "$left" -gt 0 ]; do
    arg=$1
    shift
    left=$((left - 1))
    case $arg in
    -hwaccel) nvdec=1; value= ;;
    -hwaccel_device | -gpu | -rc | -b:v | -tune) value= ;;
    -cq) arg=-crf; value=$1 ;;
    -preset) value=$1; case $1 in p[1-7]) value=ultrafast ;; esac ;;
    -c:v) value=$1; [ "$1" != h264_nvenc ] || value=libx264 ;;
    -vf) value=$1; [ -z "$nvdec" ] || value="DOWN,$1" ;;
    *)
        set -- "$@" "$arg"
        continue
        ;;
    esac
    shift
    left=$((left - 1))
    [ -z "$value" ] || set -- "$@" "$arg" "$value"
done
if [ -n "$nvdec" ] && [ -n "SAYS" ]; then echo "SAYS" >&2; fi
exec REAL "$@"
"#;
