//! What is written, what is refused, and what happens when writing fails.

use std::path::Path;

use futures::executor::block_on;
use halfpipe_core::{ByteBudget, Colour, FrameBatch, Matrix, Pending, Range, Rational, Size, VideoFormat};
use halfpipe_media::{
    EncodeOptions, Encoder, Expect, ExpectedTimes, FfmpegSink, FfmpegSource, FrameSink, FrameSource as _, MediaError, SourceFile, Verifier,
    VideoInfo, probe, verify,
};

use crate::common::{BUDGET, Scratch, children, decode, grey, kill_child, options, round_trip, tools};

fn facts(dir: &Scratch, size: &str) -> VideoInfo {
    let clip = dir.clip(&format!("-f lavfi -i testsrc2=s={size}:r=30:d=1 -c:v libx264 -preset ultrafast in.mp4"));
    probe(&tools(), &clip).unwrap()
}

fn create(info: &VideoInfo, path: &Path) -> Result<Box<FfmpegSink>, MediaError> {
    FfmpegSink::create(&tools(), path, EncodeOptions::new(info.format, info.frame_rate, ByteBudget::new(BUDGET))).map(Box::new)
}

#[test]
fn a_check_that_was_started_beforehand_finds_the_same() {
    let dir = Scratch::new();
    let clip = dir.clip("-f lavfi -i testsrc2=s=96x64:r=10:d=1 -c:v libx264 in.mp4");
    let (video, written) = round_trip(&clip, &dir.path("out.mp4"), None).unwrap();
    let check = |started: bool, frames: u64, pts: &[i64]| {
        let mut tools = tools();
        let verifier = if started { Verifier::start(&tools) } else { Verifier::default() };
        // no other ffprobe can be asked
        tools.ffprobe = dir.path("missing");
        let times = Some(ExpectedTimes { time_base: video.info.format.time_base, pts });
        verifier.verify(&tools, &dir.path("out.mp4"), Expect { frames, size: written.size, times })
    };
    check(true, 10, &video.pts).unwrap();
    assert!(matches!(check(false, 10, &video.pts), Err(MediaError::ToolMissing { .. })));
    assert!(matches!(check(true, 9, &video.pts), Err(MediaError::Verify { .. })));
    let late: Vec<i64> = video.pts.iter().map(|pts| pts + 1).collect();
    assert!(matches!(check(true, 10, &late), Err(MediaError::Verify { .. })));
}

#[test]
fn odd_frames_are_padded_by_their_edge_and_it_is_told() {
    let dir = Scratch::new();
    let clip = dir.clip("-f lavfi -i testsrc=s=177x99:r=10:d=1 -pix_fmt yuv420p -vf scale=177:99 -c:v ffv1 in.mkv");
    let (video, written) = round_trip(&clip, &dir.path("out.mp4"), None).unwrap();
    assert_eq!((video.info.format.size, written.size), (Size::new(177, 99), Size::new(178, 100)));
    assert_eq!(written.warnings, ["the frames were padded from 177x99 to 178x100, since H.264 needs even sides"]);
    let out = decode(&dir.path("out.mp4"), None).unwrap();
    let (before, after) = (video.pictures[5].planes()[0], out.pictures[5].planes()[0]);
    let mut difference = 0_u64;
    for y in 0..100 {
        for x in 0..178 {
            let (nearest_x, nearest_y) = (x.min(176), y.min(98));
            difference += u64::from(before[nearest_y * 177 + nearest_x].abs_diff(after[y * 178 + x]));
        }
    }
    assert!(difference < 178 * 100 * 4, "mean difference {}", difference as f64 / 17800.0);
}

#[test]
fn quality_and_preset_are_followed() {
    let dir = Scratch::new();
    let info = facts(&dir, "320x180");
    let video = decode(&dir.path("in.mp4"), None).unwrap();
    let mut sizes = Vec::new();
    for (quality, preset) in [(10, "veryfast"), (40, "veryfast"), (40, "ultrafast")] {
        let options = EncodeOptions {
            quality,
            preset: preset.to_owned(),
            ..EncodeOptions::new(info.format, info.frame_rate, ByteBudget::new(BUDGET))
        };
        let mut sink = Box::new(FfmpegSink::create(&tools(), &dir.path("out.mp4"), options).unwrap());
        let batch = FrameBatch { pictures: Pending::ready(video.pictures.clone()), ..grey(&info, 0, video.pictures.len()) };
        block_on(sink.write(batch)).unwrap();
        sizes.push(block_on(sink.finish()).unwrap().bytes);
    }
    assert!(sizes[0] > 2 * sizes[1] && sizes[1] != sizes[2], "{sizes:?}");
}

#[test]
fn arguments_out_of_range_are_refused_and_leave_no_file() {
    let dir = Scratch::new();
    let info = facts(&dir, "64x64");
    let good = EncodeOptions::new(info.format, info.frame_rate, ByteBudget::new(BUDGET));
    let format = |size, time_base| VideoFormat { size, time_base, ..info.format };
    let tick = info.format.time_base;
    let bad = [
        EncodeOptions { quality: 52, ..good.clone() },
        EncodeOptions { preset: "warp -i /etc/passwd".to_owned(), ..good.clone() },
        EncodeOptions { preset: "p4".to_owned(), ..good.clone() },
        EncodeOptions { preset: "superfast".to_owned(), ..good.clone().with_encoder(Encoder::Nvenc { gpu: 0 }) },
        // too small for it
        good.clone().with_encoder(Encoder::Nvenc { gpu: 0 }),
        EncodeOptions { format: format(Size::new(0, 10), tick), ..good.clone() },
        EncodeOptions { format: format(Size::new(64, 64), Rational::new(1, 1_000_000_000)), ..good.clone() },
        EncodeOptions { frame_rate: Rational::new(0, 1), ..good },
    ];
    for options in bad {
        let error = FfmpegSink::create(&tools(), &dir.path("out.mp4"), options).unwrap_err();
        assert!(matches!(error, MediaError::InvalidArgument { .. }), "{error}");
    }
    let error = create(&info, &dir.path("out.avi")).unwrap_err();
    assert!(matches!(error, MediaError::OutputContainer { .. }), "{error}");
    assert!(!dir.path("out.mp4").exists() && !dir.path("out.avi").exists());
}

#[test]
fn frames_of_another_kind_or_order_are_refused() {
    let dir = Scratch::new();
    let info = facts(&dir, "64x64");
    let mut sink = create(&info, &dir.path("out.mp4")).unwrap();
    block_on(sink.write(grey(&info, 1000, 2))).unwrap();
    let other = Colour { matrix: Matrix::Bt2020, range: Range::Full };
    let wrong = FrameBatch { format: VideoFormat { colour: other, ..info.format }, ..grey(&info, 5000, 1) };
    let early = FrameBatch { pts: [1000 + info.frame_ticks()].into(), ..grey(&info, 0, 1) };
    let negative = FrameBatch { pts: [-7].into(), ..grey(&info, 0, 1) };
    for batch in [wrong, early, negative] {
        let error = block_on(sink.write(batch)).unwrap_err();
        assert!(matches!(error, MediaError::InvalidArgument { .. }), "{error}");
    }
    // and those before and after are written all the same
    block_on(sink.write(grey(&info, 5000, 1))).unwrap();
    assert_eq!(block_on(sink.finish()).unwrap().frames, 3);
}

#[test]
fn an_output_needs_a_frame() {
    let dir = Scratch::new();
    let info = facts(&dir, "64x64");
    let error = block_on(create(&info, &dir.path("out.mp4")).unwrap().finish()).unwrap_err();
    assert!(error.to_string().contains("at least one frame"), "{error}");
    assert!(!dir.path("out.mp4").exists());
}

#[test]
fn frames_that_never_come_fail_the_output_with_their_origin() {
    let dir = Scratch::new();
    let info = facts(&dir, "64x64");
    let mut sink = create(&info, &dir.path("out.mp4")).unwrap();
    let (resolver, pictures) = Pending::new("draw(overlay)");
    block_on(sink.write(FrameBatch { pictures, ..grey(&info, 0, 2) })).unwrap();
    resolver.fail("the adapter was lost");
    let error = block_on(sink.finish()).unwrap_err();
    assert!(matches!(error, MediaError::FramesLost { .. }) && error.to_string().contains("draw(overlay)"), "{error}");
    assert!(!dir.path("out.mp4").exists());
}

#[test]
fn a_folder_that_is_not_there_is_an_error_at_once() {
    let dir = Scratch::new();
    let info = facts(&dir, "64x64");
    let error = create(&info, &dir.path("no/such/folder/out.mp4")).unwrap_err();
    assert!(matches!(error, MediaError::Io { .. }) && error.to_string().contains("no/such/folder"), "{error}");
}

#[test]
fn a_full_disk_is_an_error_that_says_so() {
    let dir = Scratch::new();
    let info = facts(&dir, "320x180");
    let output = dir.path("out.mp4");
    // the kernel's device that is always full; the link is what a failed output removes
    std::os::unix::fs::symlink("/dev/full", &output).unwrap();
    let mut sink = create(&info, &output).unwrap();
    let error = (0..400)
        .find_map(|i| block_on(sink.write(grey(&info, i * 10 * info.frame_ticks(), 10))).err())
        .unwrap_or_else(|| block_on(sink.finish()).unwrap_err());
    assert!(matches!(error, MediaError::Encode { .. }) && error.to_string().contains("No space left on device"), "{error}");
    assert!(!output.is_symlink() && Path::new("/dev/full").exists());
    assert!(children(&output).is_empty());
}

#[test]
fn a_killed_encoder_is_an_error_and_leaves_no_file() {
    let dir = Scratch::new();
    let info = facts(&dir, "320x180");
    let output = dir.path("out.mp4");
    let mut sink = create(&info, &output).unwrap();
    block_on(sink.write(grey(&info, 0, 10))).unwrap();
    kill_child(&output);
    let error = (1..400)
        .find_map(|i| block_on(sink.write(grey(&info, i * 10 * info.frame_ticks(), 10))).err())
        .expect("writing to a killed encoder must fail");
    assert!(error.to_string().contains("killed by signal 9"), "{error}");
    let again = block_on(sink.write(grey(&info, 9_000_000, 1))).unwrap_err();
    assert_eq!(again.to_string(), error.to_string(), "the error must stay");
    assert_eq!(block_on(sink.finish()).unwrap_err().to_string(), error.to_string());
    assert!(!output.exists());
}

#[test]
fn times_below_zero_are_moved_and_it_is_told() {
    let dir = Scratch::new();
    // the 33-bit clock of a transport stream starts anew 0.717 s after the start of this one
    let clip = dir.clip(
        "-f lavfi -i testsrc2=s=160x90:r=25:d=2 -f lavfi -i sine=d=2 -c:v libx264 -bf 0 -c:a aac -muxdelay 0 -muxpreload 0 \
         -output_ts_offset 95443 in.ts",
    );
    let mut source = FfmpegSource::open(&tools(), &clip, options(None)).unwrap();
    let file = SourceFile { path: clip, info: source.info().clone() };
    let encode = EncodeOptions::following(file, ByteBudget::new(BUDGET));
    let mut sink = Box::new(FfmpegSink::create(&tools(), &dir.path("out.mp4"), encode).unwrap());
    let batch = block_on(source.next(64)).unwrap().unwrap();
    assert!(batch.len() == 50 && (batch.seconds(0) + 0.717).abs() < 0.05, "{}", batch.seconds(0));
    block_on(sink.write(batch.clone())).unwrap();
    let written = block_on(sink.finish()).unwrap();
    assert!(written.warnings[0].starts_with("all times were moved 0.7"), "{:?}", written.warnings);
    let out = decode(&dir.path("out.mp4"), None).unwrap();
    assert_eq!(out.pts, batch.pts.iter().map(|p| p - batch.pts[0]).collect::<Vec<_>>());
}

#[test]
fn verify_finds_what_is_wrong() {
    let dir = Scratch::new();
    let info = facts(&dir, "64x64");
    let mut sink = create(&info, &dir.path("out.mp4")).unwrap();
    block_on(sink.write(grey(&info, 0, 5))).unwrap();
    block_on(sink.finish()).unwrap();
    let step = info.frame_ticks();
    let (pts, late) = ([0, step, 2 * step, 3 * step, 4 * step], [0, step, 2 * step, 3 * step, 5 * step]);
    let times = |pts| Some(ExpectedTimes { time_base: info.format.time_base, pts });
    let right = Expect { frames: 5, size: Size::new(64, 64), times: times(&pts) };
    verify(&tools(), &dir.path("out.mp4"), right).unwrap();
    let fault = |name: &str, expect| verify(&tools(), &dir.path(name), expect).unwrap_err().to_string();
    assert!(fault("out.mp4", Expect { frames: 6, ..right }).contains("5 frames, not 6"));
    assert!(fault("out.mp4", Expect { size: Size::new(64, 66), ..right }).contains("64x64, not 64x66"));
    assert!(fault("out.mp4", Expect { times: times(&late), ..right }).contains("frame 4"));
    // in.mp4 has its index at the end
    assert!(fault("in.mp4", Expect { frames: 30, times: None, ..right }).contains("index comes after its data"));
    dir.ffmpeg("-i in.mp4 -c:v mpeg4 -movflags +faststart other.mp4");
    assert!(fault("other.mp4", Expect { frames: 30, times: None, ..right }).contains("not h264"));
    let bytes = std::fs::read(dir.path("out.mp4")).unwrap();
    std::fs::write(dir.path("cut.mp4"), &bytes[..bytes.len() - 100]).unwrap();
    assert!(fault("cut.mp4", right).contains("past the end"));
}
