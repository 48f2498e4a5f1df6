//! Still pictures: a picture file becomes a video of one frame, and a video's first frame becomes a PNG.
//!
//! The kind of a picture is told by its first bytes, and ffmpeg is given exactly the demuxer of that kind: it never guesses, and
//! never follows a name that a file holds.

use std::ffi::OsString;
use std::io::Read;
use std::path::Path;

use crate::MediaError;
use crate::ffmpeg::log::without_address;
use crate::tools::{Tools, file_url};

/// Most pixels of a picture: what a small file may claim to unpack to.
const MOST_PIXELS: u32 = 64_000_000;

/// ffmpeg's demuxer for a file that begins like this; none where it is no picture that is taken.
fn demuxer(head: &[u8]) -> Option<&'static str> {
    match head {
        [0x89, b'P', b'N', b'G', ..] => Some("png_pipe"),
        [0xff, 0xd8, 0xff, ..] => Some("jpeg_pipe"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("webp_pipe"),
        [b'B', b'M', ..] => Some("bmp_pipe"),
        _ => None,
    }
}

/// Makes a lossless Matroska video of one frame from a PNG, JPEG, WebP or BMP picture of at most 64 megapixels. Waits for ffmpeg.
/// Read as a video, a picture of odd width or height loses its last column or row.
///
/// # Errors
/// [`MediaError::NotAPicture`] for what the file is; [`MediaError::Io`] or [`MediaError::ToolMissing`] for what this machine lacks.
pub fn still_to_video(tools: &Tools, picture: &Path, video: &Path) -> Result<(), MediaError> {
    let refused = |cause: String| MediaError::NotAPicture { path: picture.to_owned(), cause };
    let mut head = Vec::new();
    let file = std::fs::File::open(picture).map_err(|e| MediaError::io("read", picture, e))?;
    file.take(16).read_to_end(&mut head).map_err(|e| MediaError::io("read", picture, e))?;
    let Some(demuxer) = demuxer(&head) else { return Err(refused("its first bytes are those of none of them".into())) };
    let mut args: Vec<OsString> = ["-v", "error", "-nostdin", "-protocol_whitelist", "file", "-max_pixels"].map(Into::into).into();
    args.push(MOST_PIXELS.to_string().into());
    args.extend(["-f", demuxer, "-i"].map(Into::into));
    args.push(file_url(picture));
    args.extend(["-frames:v", "1", "-c:v", "ffv1", "-f", "matroska", "-y"].map(Into::into));
    args.push(file_url(video));
    let output = tools.ffmpeg(args)?;
    if output.status.success() && std::fs::metadata(video).is_ok_and(|m| m.len() > 0) {
        return Ok(());
    }
    Err(refused(first_line(&output.stderr)))
}

/// The first frame of a video as a PNG. Waits for ffmpeg.
///
/// # Errors
/// [`MediaError::Decode`] where there is none; [`MediaError::ToolMissing`] for what this machine lacks.
pub fn first_frame_png(tools: &Tools, video: &Path) -> Result<Vec<u8>, MediaError> {
    let mut args: Vec<OsString> = ["-v", "error", "-nostdin", "-protocol_whitelist", "file,pipe", "-i"].map(Into::into).into();
    args.push(file_url(video));
    args.extend(["-frames:v", "1", "-c:v", "png", "-f", "image2pipe", "pipe:1"].map(Into::into));
    let output = tools.ffmpeg(args)?;
    if output.status.success() && !output.stdout.is_empty() {
        return Ok(output.stdout);
    }
    Err(MediaError::Decode { path: video.to_owned(), frames: 0, cause: first_line(&output.stderr) })
}

/// What ffmpeg says is wrong.
fn first_line(messages: &[u8]) -> String {
    let messages = String::from_utf8_lossy(messages);
    let line = messages.lines().map(str::trim).find(|l| !l.is_empty());
    line.map_or_else(|| "ffmpeg gave no reason".to_owned(), without_address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(tools: &Tools, path: &Path) {
        let mut args: Vec<OsString> =
            ["-v", "error", "-f", "lavfi", "-i", "color=red:s=64x48", "-frames:v", "1", "-y"].map(Into::into).into();
        args.push(path.into());
        assert!(tools.ffmpeg(args).unwrap().status.success());
    }

    #[test]
    fn each_kind_becomes_a_video_of_one_frame_and_back() {
        let (tools, dir) = (Tools::find().unwrap(), tempfile::tempdir().unwrap());
        let video = dir.path().join("still.mkv");
        for name in ["a.png", "a.jpg", "a.bmp"] {
            let file = dir.path().join(name);
            picture(&tools, &file);
            // the name says nothing
            let bare = dir.path().join("bare");
            std::fs::rename(&file, &bare).unwrap();
            still_to_video(&tools, &bare, &video).unwrap();
            let info = crate::probe(&tools, &video).unwrap();
            assert_eq!((info.format.size.width, info.format.size.height), (64, 48), "{name}");
            assert!(first_frame_png(&tools, &video).unwrap().starts_with(b"\x89PNG"), "{name}");
        }
    }

    #[test]
    fn what_is_no_picture_is_refused_with_the_reason() {
        let (tools, dir) = (Tools::find().unwrap(), tempfile::tempdir().unwrap());
        let (file, video) = (dir.path().join("x"), dir.path().join("x.mkv"));
        for bytes in [b"#EXTM3U\nfile:///etc/passwd\n".as_slice(), b"", b"\x89PNG\r\n\x1a\nbut then nothing", b"\xff\xd8\xff\xe0"] {
            std::fs::write(&file, bytes).unwrap();
            let error = still_to_video(&tools, &file, &video).unwrap_err();
            assert!(matches!(error, MediaError::NotAPicture { .. }), "{error}");
        }
    }
}
