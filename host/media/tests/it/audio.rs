//! The sound of the source is in the output, packet by packet.

use std::path::Path;

use halfpipe_core::ByteBudget;
use halfpipe_media::{EncodeOptions, FfmpegSink, FrameSink, SourceFile, Window, probe};

use crate::common::{BUDGET, Scratch, ffprobe, grey, round_trip, tools};

/// `time,hash` of every packet of one audio stream.
fn packets(path: &Path, stream: usize) -> Vec<String> {
    let lines = ffprobe(path, &format!("a:{stream}"), "-show_data_hash md5 -show_entries packet=pts_time,data_hash");
    // a packet with side data is printed on two lines
    lines.join("\n").replace("\n,", ",").lines().map(str::to_owned).collect()
}

#[test]
fn two_streams_are_copied_bit_by_bit_with_their_times() {
    let dir = Scratch::new();
    let clip = dir.clip(
        "-f lavfi -i testsrc2=s=160x90:r=30:d=3 -f lavfi -i sine=r=44100:d=3 -f lavfi -i sine=f=880:r=48000:d=2.5 -map 0 -map 1 -map 2 \
         -output_ts_offset 4.321 -movie_timescale 705600 -c:v libx264 -c:a aac -ac:a:1 2 in.mp4",
    );
    let (_, written) = round_trip(&clip, &dir.path("out.mp4"), None).unwrap();
    assert_eq!(written.warnings, [""; 0]);
    for stream in 0..2 {
        let before = packets(&clip, stream);
        assert!(before.len() > 100);
        assert_eq!(before, packets(&dir.path("out.mp4"), stream));
    }
}

#[test]
fn sound_is_cut_to_the_window_by_packet() {
    let dir = Scratch::new();
    dir.clip("-f lavfi -i testsrc2=s=160x90:r=30:d=8 -f lavfi -i sine=r=48000:d=8 -c:v libx264 -g 240 -c:a aac in.mp4");
    dir.ffmpeg("-i in.mp4 -c copy in.ts");
    dir.ffmpeg("-i in.mp4 -c copy in.mkv");
    dir.ffmpeg("-i in.mp4 -c copy -output_ts_offset 10 late.mp4");
    for (name, from, to) in
        [("in.mp4", 0.5, 1.5), ("in.mp4", 7.0, 50.0), ("late.mp4", 14.2, 16.6), ("in.mkv", 4.2, 6.6), ("in.ts", 4.2, 6.6)]
    {
        let (input, output) = (dir.path(name), dir.path("out.mp4"));
        round_trip(&input, &output, Some(Window::new(from, to).unwrap())).unwrap();
        let inside = |p: &String| (from..to).contains(&p.split(',').next().unwrap().parse::<f64>().unwrap());
        let hash = |p: &String| p.rsplit(',').next().unwrap().to_owned();
        let start = |p: &String| p.split(',').next().unwrap().parse::<f64>().unwrap();
        let (wanted, found) = (packets(&input, 0).into_iter().filter(inside).collect::<Vec<_>>(), packets(&output, 0));
        assert!(wanted.len() > 40);
        assert_eq!(found.len(), wanted.len(), "{name} {from} {to}");
        let (a, b) = (&found[0], &wanted[0]);
        // a transport stream has a header of its own in every packet, which MP4 keeps once
        assert!(name == "in.ts" || found.iter().map(hash).eq(wanted.iter().map(hash)), "{name} {from} {to}: {a} {b}");
        // Matroska counts in milliseconds
        assert!((start(a) - start(b)).abs() < 1e-3, "{name}: sound starts at {a}, not {b}");
    }
}

#[test]
fn converted_sound_is_cut_to_the_window_too() {
    let dir = Scratch::new();
    // a click at every second
    let clip = dir.clip(
        "-f lavfi -i testsrc2=s=160x90:r=30:d=8 -f lavfi -i aevalsrc=lt(mod(t\\,1)\\,0.01)*sin(9000*t):s=48000:d=8 \
         -output_ts_offset 10 -c:v libx264 -g 240 -c:a pcm_s16le in.mkv",
    );
    round_trip(&clip, &dir.path("out.mp4"), Some(Window::new(13.5, 15.5).unwrap())).unwrap();
    dir.ffmpeg("-copyts -i out.mp4 -map 0:a -f f32le out.raw");
    let samples: Vec<f32> = std::fs::read(dir.path("out.raw")).unwrap().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    assert!((samples.len() as f64 / 48000.0 - 2.0).abs() < 0.05, "{} samples", samples.len());
    let first = samples.iter().position(|s| s.abs() > 0.3).unwrap() as f64 / 48000.0;
    let start: f64 = ffprobe(&dir.path("out.mp4"), "a", "-show_entries stream=start_time")[0].parse().unwrap();
    assert!((start + first - 14.0).abs() < 0.03, "the click of 14 s is at {} s", start + first);
}

#[test]
fn what_the_container_cannot_hold_becomes_aac_and_is_told_of() {
    let dir = Scratch::new();
    let clip = dir.clip(
        "-f lavfi -i testsrc2=s=160x90:r=30:d=2 -f lavfi -i sine=d=2 -f lavfi -i sine=d=2 -map 0 -map 1 -map 2 \
         -c:v libx264 -c:a:0 pcm_s16le -c:a:1 libmp3lame in.mkv",
    );
    let (_, written) = round_trip(&clip, &dir.path("out.mp4"), None).unwrap();
    assert_eq!(written.warnings, ["audio stream 1 was converted from pcm_s16le to AAC, since the container cannot hold it"]);
    assert_eq!(ffprobe(&dir.path("out.mp4"), "a", "-show_entries stream=codec_name"), ["aac", "mp3"]);
    for output in ["out.mov", "out.mkv"] {
        let (_, written) = round_trip(&clip, &dir.path(output), None).unwrap();
        assert_eq!(written.warnings, [""; 0]);
        assert_eq!(ffprobe(&dir.path(output), "a", "-show_entries stream=codec_name"), ["pcm_s16le", "mp3"]);
    }
}

#[test]
fn no_sound_no_stream() {
    let dir = Scratch::new();
    let clip = dir.clip("-f lavfi -i testsrc2=s=160x90:r=30:d=1 -c:v libx264 in.mp4");
    round_trip(&clip, &dir.path("out.mp4"), None).unwrap();
    assert!(ffprobe(&dir.path("out.mp4"), "a", "-show_entries stream=codec_name").is_empty());
}

/// A slow job must not make ffmpeg write all the sound first and all the pictures behind it.
#[test]
fn sound_and_pictures_stay_side_by_side_when_frames_come_slowly() {
    let dir = Scratch::new();
    let clip = dir.clip("-f lavfi -i testsrc2=s=160x90:r=10:d=60 -f lavfi -i sine=d=60 -c:v libx264 -c:a aac in.mp4");
    let info = probe(&tools(), &clip).unwrap();
    let source = SourceFile { path: clip, info: info.clone() };
    let output = dir.path("out.mp4");
    let mut sink = Box::new(FfmpegSink::create(&tools(), &output, EncodeOptions::following(source, ByteBudget::new(BUDGET))).unwrap());
    for batch in 0..20 {
        futures::executor::block_on(sink.write(grey(&info, batch * 30 * info.frame_ticks(), 30))).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(25));
    }
    futures::executor::block_on(sink.finish()).unwrap();
    let mut all: Vec<(u64, f64, bool)> = Vec::new();
    for (select, is_sound) in [("v:0", false), ("a:0", true)] {
        for line in ffprobe(&output, select, "-show_entries packet=dts_time,pos") {
            let (dts, pos) = line.split_once(',').unwrap();
            all.push((pos.parse().unwrap(), dts.parse().unwrap(), is_sound));
        }
    }
    all.sort_by_key(|p| p.0);
    let (mut sound, mut picture) = (0.0_f64, 0.0_f64);
    for (pos, dts, is_sound) in all {
        if is_sound {
            sound = dts;
        } else {
            picture = dts;
        }
        assert!(sound - picture < 3.0 || picture > 56.0, "at byte {pos} sound is at {sound} s, pictures at {picture} s");
    }
}
