//! What may be put in, and what is refused with a reason.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use halfpipe_core::{Rational, Size};
use halfpipe_media::{MediaError, Tools, probe};

use crate::common::{Scratch, decode, tools};

#[test]
fn the_programs_are_found_and_will_do() {
    let found = Tools::find().unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(found, tools());
    assert!(!found.ffmpeg_version.is_empty() && !found.ffprobe_version.is_empty(), "{found:?}");
}

#[test]
fn facts_of_a_clip_with_sound() {
    let dir = Scratch::new();
    let clip = dir.clip(
        "-f lavfi -i testsrc2=s=320x180:r=30000/1001:d=2 -f lavfi -i sine=r=48000:d=2 -c:v libx264 -c:a aac -ac 2 \
         -vf setsar=4/3 clip.mp4",
    );
    let info = probe(&tools(), &clip).unwrap();
    assert_eq!((info.format.size, info.frame_rate), (Size::new(320, 180), Rational::new(30000, 1001)));
    assert_eq!((info.format.time_base, info.start_pts), (Rational::new(1, 30000), Some(0)));
    assert_eq!((info.codec.as_str(), info.pixel_format.as_str()), ("h264", "yuv420p"));
    assert_eq!((info.frame_count, info.rotation, info.sample_aspect_ratio), (Some(60), 0, Rational::new(4, 3)));
    assert_eq!(info.audio.len(), 1);
    assert_eq!((info.audio[0].codec.as_deref(), info.audio[0].channels, info.audio[0].sample_rate), (Some("aac"), 2, 48000));
    assert!((info.duration_secs.unwrap() - 2.0).abs() < 0.05);
}

#[test]
fn a_rotated_clip_comes_out_upright() {
    let dir = Scratch::new();
    // the left half is white; turned clockwise for display, white is above
    dir.clip("-f lavfi -i color=black:s=64x48:r=10:d=1 -vf drawbox=w=32:h=48:c=white:t=fill -c:v libx264 -crf 1 lying.mp4");
    // releases up to 5 turn by tag, later ones by option
    let by_tag = std::process::Command::new(tools().ffmpeg)
        .args(["-v", "error", "-y", "-i"])
        .arg(dir.path("lying.mp4"))
        .args(["-c", "copy", "-metadata:s:v", "rotate=270"])
        .arg(dir.path("turned.mp4"))
        .status()
        .unwrap();
    assert!(by_tag.success());
    if probe(&tools(), &dir.path("turned.mp4")).unwrap().rotation == 0 {
        dir.ffmpeg("-display_rotation -90 -i lying.mp4 -c copy turned.mp4");
    }
    let video = decode(&dir.path("turned.mp4"), None).unwrap();
    assert_eq!((video.info.format.size, video.pts.len()), (Size::new(48, 64), 10));
    let [luma, ..] = video.pictures[3].planes();
    let (above, below) = (luma[48 * 5 + 24], luma[48 * 60 + 24]);
    match video.info.rotation {
        90 => assert!(above > 200 && below < 40, "{above} {below}"),
        270 => assert!(above < 40 && below > 200, "{above} {below}"),
        turn => panic!("turned by {turn}"),
    }
}

#[test]
fn odd_sizes_and_all_pixel_formats_decode() {
    let dir = Scratch::new();
    for format in ["yuv420p", "yuv444p", "yuv422p10le", "yuv420p10le", "yuvj420p", "gray", "bgr0", "yuva420p"] {
        let clip = dir.clip(&format!("-f lavfi -i testsrc=s=177x99:r=10:d=1 -pix_fmt {format} -c:v ffv1 {format}.mkv"));
        let video = decode(&clip, None).unwrap();
        assert_eq!((video.info.format.size, video.pts.len()), (Size::new(177, 99), 10), "{format}");
    }
}

#[test]
fn a_clip_of_one_frame() {
    let dir = Scratch::new();
    for name in ["one.mp4", "one.mkv"] {
        let clip = dir.clip(&format!("-f lavfi -i testsrc2=s=64x64:r=25 -frames:v 1 -c:v libx264 {name}"));
        assert_eq!(decode(&clip, None).unwrap().pts, [0], "{name}");
    }
}

#[test]
fn names_are_never_taken_for_options_or_protocols() {
    let dir = Scratch::new();
    let clip = dir.clip("-f lavfi -i testsrc2=s=64x64:r=25:d=1 -c:v libx264 clip.mp4");
    for name in ["-i.mp4", "a b%03d.mp4", "http:x.mp4", "quote'\"\u{e9};.mp4"] {
        fs::copy(&clip, dir.path(name)).unwrap();
        assert_eq!(decode(&dir.path(name), None).unwrap().pts.len(), 25, "{name}");
    }
}

/// The error and whether its text names the path.
fn refused(dir: &Scratch, name: &str) -> MediaError {
    let path = dir.path(name);
    let error = probe(&tools(), &path).unwrap_err();
    assert!(error.is_bad_input() && error.to_string().contains(&*path.to_string_lossy()), "{error}");
    error
}

#[test]
fn what_is_no_video_is_refused_with_the_reason() {
    let dir = Scratch::new();
    dir.clip("-f lavfi -i testsrc2=s=320x180:r=30:d=2 -f lavfi -i sine=d=2 -c:v libx264 -c:a aac whole.mp4");
    dir.ffmpeg("-i whole.mp4 -map 0:a -c copy sound.mp4");
    let whole = fs::read(dir.path("whole.mp4")).unwrap();
    fs::write(dir.path("cut.mp4"), &whole[..whole.len() / 2]).unwrap();
    fs::write(dir.path("text.mp4"), "Dear sirs, this is no video.\n".repeat(50)).unwrap();
    fs::write(dir.path("noise.mp4"), (0..9000_u32).map(|i| ((i * i) >> 3) as u8).collect::<Vec<_>>()).unwrap();
    fs::write(dir.path("empty.mp4"), "").unwrap();
    fs::create_dir(dir.path("folder.mp4")).unwrap();
    // a play list would make ffmpeg open other files
    fs::write(dir.path("list.mp4"), "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nwhole.mp4\n#EXT-X-ENDLIST\n").unwrap();
    fs::write(dir.path("concat.mp4"), "ffconcat version 1.0\nfile whole.mp4\n").unwrap();

    assert!(matches!(refused(&dir, "missing.mp4"), MediaError::NotFound { .. }));
    assert!(matches!(refused(&dir, "folder.mp4"), MediaError::NotAFile { .. }));
    assert!(matches!(refused(&dir, "empty.mp4"), MediaError::Empty { .. }));
    assert!(matches!(refused(&dir, "cut.mp4"), MediaError::Truncated { .. }));
    assert!(matches!(refused(&dir, "sound.mp4"), MediaError::NoVideoStream { audio: 1, .. }));
    for name in ["text.mp4", "noise.mp4", "list.mp4", "concat.mp4"] {
        let error = refused(&dir, name);
        assert!(matches!(error, MediaError::NotAVideo { .. }), "{error}");
    }
}

#[test]
fn an_old_ffmpeg_is_refused() {
    let dir = Scratch::new();
    let old = dir.path("ffmpeg");
    fs::write(&old, "#!/bin/sh\necho 'ffmpeg version 4.4.2 Copyright'\necho 'libavutil      56. 70.100 / 56. 70.100'\n").unwrap();
    fs::set_permissions(&old, fs::Permissions::from_mode(0o755)).unwrap();
    let error = Tools::at(&old, &tools().ffprobe).unwrap_err();
    assert!(matches!(&error, MediaError::ToolTooOld { version, .. } if version == "4.4.2"), "{error}");
    assert!(error.to_string().contains("5.1 or newer"), "{error}");
}

#[test]
fn an_ffmpeg_without_the_encoder_is_refused() {
    let dir = Scratch::new();
    let bare = dir.path("ffmpeg");
    fs::write(&bare, "#!/bin/sh\necho 'ffmpeg version 6.0 Copyright'\necho 'libavutil      58.  2.100 / 58.  2.100'\n").unwrap();
    fs::set_permissions(&bare, fs::Permissions::from_mode(0o755)).unwrap();
    let error = Tools::at(&bare, &tools().ffprobe).unwrap_err();
    assert!(matches!(&error, MediaError::ToolLacks { .. }) && error.to_string().contains("libx264"), "{error}");
}
