//! The sound of the source is in the output, packet by packet.

use std::path::Path;

use halfpipe_core::ByteBudget;
use halfpipe_media::{EncodeOptions, FfmpegSink, FrameSink, SourceFile, Window, probe};

use crate::common::{BUDGET, Scratch, ffprobe, grey, round_trip, tools};

/// `time,hash` of every packet of one audio stream.
fn packets(path: &Path, stream: usize) -> Vec<String> {
    ffprobe(path, &format!("a:{stream}"), "-show_data_hash md5 -show_entries packet=pts_time,data_hash")
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
    dir.ffmpeg("-f lavfi -i testsrc2=s=160x90:r=30:d=8 -f lavfi -i sine=r=48000:d=8 -c:v libx264 -g 240 -c:a aac in.mp4");
    dir.ffmpeg("-i in.mp4 -c copy in.ts");
    for (name, from, to) in [("in.mp4", 0.0, 1.0), ("in.mp4", 4.2, 6.6), ("in.mp4", 7.0, 50.0), ("in.ts", 4.2, 6.6)] {
        let (input, output) = (dir.path(name), dir.path("out.mp4"));
        round_trip(&input, &output, Some(Window::new(from, to).unwrap())).unwrap();
        let inside = |p: &String| (from..to).contains(&p.split(',').next().unwrap().parse::<f64>().unwrap());
        let hashes = |list: Vec<String>| list.iter().map(|p| p.rsplit(',').next().unwrap().to_owned()).collect::<Vec<_>>();
        let wanted: Vec<String> = packets(&input, 0).into_iter().filter(inside).collect();
        assert!(wanted.len() > 40);
        assert_eq!(hashes(packets(&output, 0)), hashes(wanted.clone()), "{name} {from} {to}");
        let (a, b) = (&packets(&output, 0)[0], &wanted[0]);
        let start = |p: &String| p.split(',').next().unwrap().parse::<f64>().unwrap();
        assert!((start(a) - start(b)).abs() < 2e-5, "{name}: sound starts at {a}, not {b}");
    }
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
    let source = SourceFile { path: clip.clone(), info: info.clone() };
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
        if is_sound { sound = dts } else { picture = dts }
        assert!(sound - picture < 3.0 || picture > 56.0, "at byte {pos} sound is at {sound} s, pictures at {picture} s");
    }
}
