//! Clips that tests make with ffmpeg, and what ffprobe says of files.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs ffmpeg with these arguments and `out` at the end.
///
/// # Panics
/// If ffmpeg is missing or fails; its own words are shown.
pub fn ffmpeg(args: &[&str], out: &Path) -> PathBuf {
    let done = Command::new("ffmpeg").args(["-y", "-nostdin", "-hide_banner", "-loglevel", "error"]).args(args).arg(out).output();
    let done = done.unwrap_or_else(|e| panic!("ffmpeg did not start ({e}); run `make packages`"));
    assert!(done.status.success(), "ffmpeg {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    out.to_owned()
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

/// sha256 of each audio stream's packets.
///
/// # Panics
/// If ffmpeg fails.
#[must_use]
pub fn audio_hashes(file: &Path) -> Vec<String> {
    let done = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-i"])
        .arg(file)
        .args(["-map", "0:a", "-c", "copy", "-f", "streamhash", "-hash", "sha256", "-"])
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).lines().map(str::to_owned).collect()
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

/// The same, empty for a file without sound.
#[must_use]
pub fn audio_hashes_or_none(file: &Path) -> Vec<String> {
    if ffprobe(file, &["-select_streams", "a", "-show_entries", "stream=index"]).is_empty() { Vec::new() } else { audio_hashes(file) }
}
