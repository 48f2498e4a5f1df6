//! Damaged and broken-off input: what can be decoded is given, and the rest is told of.

use std::fs;

use futures::executor::block_on;
use halfpipe_media::{FfmpegSource, FrameSource, MediaError};

use crate::common::{Scratch, children, decode, kill_child, options, read_all, tools};

/// A clip whose index comes first, its bytes, and where its data starts.
fn clip(dir: &Scratch) -> (Vec<u8>, usize) {
    dir.clip("-f lavfi -i testsrc2=s=320x180:r=30:d=6 -c:v libx264 -g 30 -movflags +faststart whole.mp4");
    let bytes = fs::read(dir.path("whole.mp4")).unwrap();
    let data = bytes.windows(4).position(|w| w == b"mdat").unwrap() + 4;
    (bytes, data)
}

#[test]
fn corrupt_packets_are_counted_and_the_frames_still_come() {
    let dir = Scratch::new();
    let (mut bytes, data) = clip(&dir);
    let length = bytes.len() - data;
    for i in 1..60 {
        bytes[data + length / 4 + i * length / 200] ^= 0x5A;
    }
    fs::write(dir.path("corrupt.mp4"), bytes).unwrap();
    let video = decode(&dir.path("corrupt.mp4"), None).unwrap();
    assert!(video.report.decode_errors > 0 && !video.report.tail.is_empty(), "{:?}", video.report);
    assert!(video.pts.len() > 150, "{}", video.pts.len());
    assert!(video.report.warnings()[0].starts_with("the input is damaged"), "{:?}", video.report.warnings());
}

#[test]
fn a_video_cut_short_gives_what_it_has() {
    let dir = Scratch::new();
    let (bytes, data) = clip(&dir);
    fs::write(dir.path("cut.mp4"), &bytes[..data + (bytes.len() - data) / 2]).unwrap();
    let video = decode(&dir.path("cut.mp4"), None).unwrap();
    assert!((60..180).contains(&video.pts.len()), "{}", video.pts.len());
    assert_eq!((video.report.frames, video.report.announced), (video.pts.len() as u64, Some(180)));
    let wanted = format!("the input announces 180 frames, but {} could be decoded", video.pts.len());
    assert!(video.report.warnings().contains(&wanted), "{:?}", video.report.warnings());
}

#[test]
fn a_video_without_a_decodable_frame_is_an_error() {
    let dir = Scratch::new();
    // a codec whose header tells all, so that probing finds no fault
    dir.clip("-f lavfi -i testsrc2=s=160x90:r=25:d=1 -c:v ffv1 -level 3 blank.mov");
    let mut bytes = fs::read(dir.path("blank.mov")).unwrap();
    let at = |kind: &[u8]| bytes.windows(4).position(|w| w == kind).unwrap();
    let (from, to) = (at(b"mdat") + 4, at(b"moov") - 4);
    bytes[from..to].fill(0xFF);
    fs::write(dir.path("blank.mov"), bytes).unwrap();
    let mut source = FfmpegSource::open(&tools(), &dir.path("blank.mov"), options(None)).unwrap();
    let error = block_on(source.next(4)).unwrap_err();
    assert!(matches!(error, MediaError::Decode { frames: 0, .. }), "{error}");
    assert!(source.report().decode_errors > 0);
    assert_eq!(block_on(source.next(4)).unwrap_err().to_string(), error.to_string(), "the error must stay");
}

#[test]
fn a_killed_decoder_is_an_error_after_the_frames_before() {
    let dir = Scratch::new();
    let (bytes, _) = clip(&dir);
    fs::write(dir.path("killed.mp4"), bytes).unwrap();
    let path = dir.path("killed.mp4");
    let few = halfpipe_media::DecodeOptions { ahead: halfpipe_core::ByteBudget::new(200_000), ..options(None) };
    let mut source = FfmpegSource::open(&tools(), &path, few).unwrap();
    let first = block_on(source.next(3)).unwrap().unwrap();
    assert_eq!(first.len(), 3);
    kill_child(&path);
    let error = read_all_after(&mut source, 3);
    assert!(matches!(&error, MediaError::Decode { frames, .. } if *frames < 180), "{error}");
    assert!(error.to_string().contains("killed by signal 9"), "{error}");
}

/// Reads on to the error; the frames before it must come first and in order.
fn read_all_after(source: &mut FfmpegSource, mut given: u64) -> MediaError {
    loop {
        match block_on(source.next(5)) {
            Ok(Some(batch)) => {
                assert_eq!(batch.first_index, given);
                given += batch.len() as u64;
            }
            Ok(None) => panic!("a killed decoder passed for the end of the video"),
            Err(error) => {
                assert_eq!(source.report().frames, given);
                return error;
            }
        }
    }
}

#[test]
fn a_whole_video_has_nothing_to_warn_of() {
    let dir = Scratch::new();
    clip(&dir);
    let mut source = FfmpegSource::open(&tools(), &dir.path("whole.mp4"), options(None)).unwrap();
    assert_eq!(read_all(&mut source).unwrap().0.len(), 180);
    assert_eq!(source.report().warnings(), [""; 0]);
    assert!(children(&dir.path("whole.mp4")).is_empty(), "the child was not waited for at the end");
}
