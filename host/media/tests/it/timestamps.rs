//! Every frame keeps its time, in count, order and value, through decoding and encoding.

use crate::common::{Scratch, decode, frame_times, round_trip};

/// Name of the clip, ffmpeg arguments that make it, and what the output is called.
const CLIPS: [(&str, &str, &str); 11] = [
    ("constant rate", "-f lavfi -i testsrc2=s=160x90:r=30:d=2 -c:v libx264 in.mp4", "out.mp4"),
    ("NTSC rate", "-f lavfi -i testsrc2=s=160x90:r=30000/1001:d=2 -c:v libx264 in.mp4", "out.mp4"),
    (
        "variable rate",
        "-f lavfi -i testsrc2=s=160x90:r=60:d=3 -vf select=lt(n\\,40)+not(mod(n\\,7))+eq(n\\,123) -fps_mode passthrough -c:v libx264 in.mp4",
        "out.mp4",
    ),
    (
        "variable rate in Matroska",
        "-f lavfi -i testsrc2=s=160x90:r=50:d=2 -vf setpts=PTS+(random(0)*0.015+floor(N/30)*0.7)/TB -fps_mode passthrough -c:v libx264 in.mkv",
        "out.mp4",
    ),
    ("Matroska to Matroska", "-f lavfi -i testsrc2=s=160x90:r=30:d=2 -output_ts_offset 3.3 -c:v libx264 in.mkv", "out.mkv"),
    (
        "start at 5.0333 s",
        "-f lavfi -i testsrc2=s=160x90:r=30:d=2 -f lavfi -i sine=d=2 -output_ts_offset 5.0333 -c:v libx264 -c:a aac in.mp4",
        "out.mp4",
    ),
    (
        "start at 1.4 s and a tick of 1/90000 s",
        "-f lavfi -i testsrc2=s=160x90:r=30000/1001:d=2 -f lavfi -i sine=d=2 -c:v libx264 -c:a aac in.ts",
        "out.mp4",
    ),
    (
        "late start in QuickTime",
        "-f lavfi -i testsrc2=s=160x90:r=24000/1001:d=2 -output_ts_offset 0.1234567 -c:v libx264 in.mov",
        "out.mov",
    ),
    ("one frame", "-f lavfi -i testsrc2=s=160x90:r=25 -frames:v 1 -output_ts_offset 2.5 -c:v libx264 in.mp4", "out.mp4"),
    (
        "a tick of a microsecond",
        "-f lavfi -i testsrc2=s=160x90:r=30:d=1 -vf settb=1/1000000,setpts=PTS+random(0)*9000 -fps_mode passthrough -enc_time_base 1:1000000 \
         -video_track_timescale 1000000 -movie_timescale 1000000 -c:v libx264 in.mp4",
        "out.mp4",
    ),
    ("a slide show", "-f lavfi -i testsrc2=s=160x90:r=1/20:d=200 -c:v libx264 in.mp4", "out.mp4"),
];

#[test]
fn times_are_those_of_the_source() {
    for (what, args, output) in CLIPS {
        let dir = Scratch::new();
        let (input, output) = (dir.clip(args), dir.path(output));
        let (video, written) = round_trip(&input, &output, None).unwrap_or_else(|e| panic!("{what}: {e}"));
        let (before, after) = (frame_times(&input), frame_times(&output));
        assert_eq!(video.pts.len(), before.len(), "{what}");
        assert_eq!(before, after, "{what}");
        assert_eq!(written.warnings, [""; 0], "{what}");
        // and they are what the source said they are
        let seconds: Vec<f64> = before.iter().map(|t| t.parse().unwrap()).collect();
        for (told, probed) in video.seconds().iter().zip(seconds) {
            assert!((told - probed).abs() < 1e-6, "{what}: {told} {probed}");
        }
        assert_eq!(decode(&output, None).unwrap().pts, video.pts, "{what}");
    }
}

#[test]
fn repeated_timestamps_are_repaired_and_told_of() {
    let dir = Scratch::new();
    let clip = dir.clip(
        "-f lavfi -i testsrc2=s=160x90:r=25:d=2 -vf setpts=floor(N/2)*2/25/TB -fps_mode passthrough -enc_time_base 1:1000 -c:v ffv1 in.mkv",
    );
    let (video, _) = round_trip(&clip, &dir.path("out.mp4"), None).unwrap();
    assert_eq!((video.pts.len(), video.report.repaired_timestamps), (50, 25));
    assert_eq!(video.pts[..4], [0, 1, 80, 81]);
    assert!(video.report.warnings().iter().any(|w| w.starts_with("25 frames had no timestamp")), "{:?}", video.report.warnings());
}

#[test]
fn a_stream_without_a_container_keeps_its_frames() {
    let dir = Scratch::new();
    let clip = dir.clip("-f lavfi -i testsrc2=s=160x90:r=25:d=2 -c:v libx264 in.h264");
    let (video, written) = round_trip(&clip, &dir.path("out.mp4"), None).unwrap();
    assert_eq!((video.pts.len(), written.frames), (50, 50));
    let steps: Vec<f64> = video.seconds().windows(2).map(|w| w[1] - w[0]).collect();
    assert!(steps.iter().all(|s| (s - 0.04).abs() < 1e-6), "{steps:?}");
}

#[test]
fn a_change_of_size_in_the_middle_keeps_the_frames() {
    let dir = Scratch::new();
    dir.clip("-f lavfi -i testsrc2=s=160x90:r=25:d=1 -c:v libx264 -bf 0 a.h264");
    dir.clip("-f lavfi -i testsrc2=s=320x180:r=25:d=1 -c:v libx264 -bf 0 b.h264");
    let both = [std::fs::read(dir.path("a.h264")).unwrap(), std::fs::read(dir.path("b.h264")).unwrap()].concat();
    std::fs::write(dir.path("both.h264"), both).unwrap();
    let video = decode(&dir.path("both.h264"), None).unwrap();
    assert_eq!(video.pts.len(), 50);
}
