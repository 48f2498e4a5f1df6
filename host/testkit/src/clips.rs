//! Clips that tests make with ffmpeg, and what ffprobe says of files.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs ffmpeg with these arguments and `out` at the end. What it makes out of nothing but filters, or of a clip that no test writes,
/// is kept beside cargo's output and copied the next time: starting ffmpeg costs more than most clips do.
///
/// # Panics
/// If ffmpeg is missing or fails; its own words are shown.
pub fn ffmpeg(args: &[&str], out: &Path) -> PathBuf {
    let Some(kept) = kept(args, out) else {
        run(args, out);
        return out.to_owned();
    };
    if !kept.is_file() {
        // several tests may want the same clip at once: each makes its own, and the last one stays
        let fresh = kept.with_file_name(format!("{}-{}", std::process::id(), kept.file_name().unwrap().to_str().unwrap()));
        std::fs::create_dir_all(kept.parent().unwrap()).unwrap();
        run(args, &fresh);
        std::fs::rename(&fresh, &kept).unwrap();
    }
    std::fs::copy(&kept, out).unwrap();
    out.to_owned()
}

fn run(args: &[&str], out: &Path) {
    let done = Command::new("ffmpeg").args(["-y", "-nostdin", "-hide_banner", "-loglevel", "error"]).args(args).arg(out).output();
    let done = done.unwrap_or_else(|e| panic!("ffmpeg did not start ({e}); run `make packages`"));
    assert!(done.status.success(), "ffmpeg {args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Where the output of these arguments is kept. None where they read a file that a test wrote: it is not read a second time.
fn kept(args: &[&str], out: &Path) -> Option<PathBuf> {
    let mut of = DefaultHasher::new();
    let program = std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join("ffmpeg")).find(|file| file.is_file())?;
    let about = program.metadata().ok()?;
    (about.len(), about.modified().ok()?).hash(&mut of);
    for (i, arg) in args.iter().enumerate() {
        let file = Path::new(arg);
        // filters have no file; a clip counts by what is in it, since another clone has it elsewhere
        if args[..i].ends_with(&["-i"]) && !args[..i].ends_with(&["-f", "lavfi", "-i"]) {
            if !file.is_absolute() || file.starts_with(std::env::temp_dir()) {
                return None;
            }
            std::fs::read(file).ok()?.hash(&mut of);
        } else {
            arg.hash(&mut of);
        }
    }
    let name = format!("{:016x}.{}", of.finish(), out.extension()?.to_str()?);
    Some(crate::places::profile_dir().join("../clips").join(name))
}

/// A moving test picture: `size` as `320x180`, with a tone as sound where `sound`.
pub fn test_pattern(out: &Path, size: &str, rate: &str, frames: u32, sound: bool) -> PathBuf {
    let video = format!("testsrc2=size={size}:rate={rate}");
    let frames = frames.to_string();
    let mut args = vec!["-f", "lavfi", "-i", &video];
    if sound {
        args.extend(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-c:a", "aac", "-shortest"]);
    }
    args.extend(["-frames:v", &frames, "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]);
    ffmpeg(&args, out)
}

/// The first frames of a real clip, without its sound: for what does not depend on a clip's length.
#[must_use]
pub fn first_frames(clip: &str, frames: u32, out: &Path) -> PathBuf {
    let whole = crate::places::clip(clip);
    let frames = frames.to_string();
    ffmpeg(&["-i", whole.to_str().unwrap(), "-frames:v", &frames, "-an", "-c:v", "libx264", "-preset", "ultrafast", "-crf", "18"], out)
}

/// Fields of a file's streams or frames as ffprobe prints them: one line an entry, values joined by commas.
///
/// # Panics
/// If ffprobe is missing or fails.
#[must_use]
pub fn ffprobe(file: &Path, args: &[&str]) -> Vec<String> {
    let done = Command::new("ffprobe").args(["-v", "error", "-of", "csv=p=0"]).args(args).arg(file).output();
    let done = done.unwrap_or_else(|e| panic!("ffprobe did not start ({e}); run `make packages`"));
    assert!(done.status.success(), "ffprobe {args:?} {}: {}", file.display(), String::from_utf8_lossy(&done.stderr));
    let text = String::from_utf8_lossy(&done.stdout);
    text.lines().map(|l| l.trim_end_matches(',').to_owned()).filter(|l| !l.is_empty()).collect()
}

/// Presentation times of all video frames, in seconds as the container says them, decoded.
#[must_use]
pub fn frame_times(file: &Path) -> Vec<String> {
    ffprobe(file, &["-select_streams", "v:0", "-show_entries", "frame=best_effort_timestamp_time"])
}

/// sha256 of each audio stream's packets; empty for a file without sound.
///
/// # Panics
/// If ffmpeg fails.
#[must_use]
pub fn audio_hashes(file: &Path) -> Vec<String> {
    let done = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-i"])
        .arg(file)
        // a video without sound still has something to hash
        .args(["-map", "0:v?", "-map", "0:a?", "-c", "copy", "-f", "streamhash", "-hash", "sha256", "-"])
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    // `index,a,SHA256=...`
    let streams = String::from_utf8_lossy(&done.stdout);
    streams.lines().filter_map(|line| line.split_once(",a,")).map(|(_, hash)| hash.to_owned()).collect()
}

/// The pictures of a video as packed RGB, upright, with their size.
///
/// # Panics
/// If ffmpeg fails.
#[must_use]
pub fn rgb_frames(file: &Path, size: (usize, usize)) -> Vec<Vec<u8>> {
    let done = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-i"])
        .arg(file)
        .args(["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"])
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(done.stdout.len() % (size.0 * size.1 * 3), 0, "frames of another size");
    done.stdout.chunks_exact(size.0 * size.1 * 3).map(<[u8]>::to_vec).collect()
}
