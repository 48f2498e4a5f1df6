//! The parts of a plan, written one by one and put together, are the video that one run would have written.

use std::path::{Path, PathBuf};

use futures::executor::block_on;
use halfpipe_core::ByteBudget;
use halfpipe_media::{
    EncodeOptions, FfmpegSink, FfmpegSource, FrameList, FrameSink, FrameSource, MediaError, Part, SourceFile, Stitch, Window, Written,
    list_frames, probe, stitch, stop_signal,
};

use crate::common::{BUDGET, Scratch, decode, ffprobe, options, tools};

/// Writes the frames `first..after` to `output`, having read `context` frames more at both ends.
fn part(source: &SourceFile, list: &FrameList, (index, first, after): (u32, usize, usize), context: usize, output: &Path) -> Written {
    let end = |i: usize| list.pts.get(i).copied().unwrap_or(list.pts[list.pts.len() - 1] + 1);
    let part = Part { plan: [1; 32], index, first_pts: list.pts[first], after_pts: end(after), reads: 0 };
    let ends = (list.pts[first.saturating_sub(context)], end(after + context));
    let window = Window::of_part(ends, part, source.info.format.time_base).unwrap();
    let mut reader = FfmpegSource::open(&tools(), &source.path, options(Some(window))).unwrap();
    let encode = EncodeOptions { window: Some(window), quality: 12, ..EncodeOptions::following(source.clone(), ByteBudget::new(BUDGET)) };
    let mut sink: Box<dyn FrameSink> = Box::new(FfmpegSink::create(&tools(), output, encode).unwrap());
    let mut read = 0;
    while let Some(batch) = block_on(reader.next(8)).unwrap() {
        read += batch.len();
        block_on(sink.write(batch)).unwrap();
    }
    assert_eq!(read, (after + context).min(list.pts.len()) - first.saturating_sub(context));
    block_on(sink.finish()).unwrap()
}

/// Cuts at these frames, writes all parts and puts them together.
fn cut_and_stitch(dir: &Scratch, clip: &Path, cuts: &[usize], output: &Path) -> Result<Written, MediaError> {
    let list = list_frames(&tools(), clip).unwrap();
    let source = SourceFile { path: clip.to_owned(), info: probe(&tools(), clip).unwrap() };
    let ends: Vec<usize> = [&[0], cuts, &[list.pts.len()]].concat();
    let parts: Vec<PathBuf> = (0..ends.len() - 1)
        .map(|i| {
            let file = dir.path(&format!("part {i}'s.mp4"));
            let written = part(&source, &list, (i as u32, ends[i], ends[i + 1]), 5, &file);
            assert_eq!(written.frames as usize, ends[i + 1] - ends[i], "its own frames and no others");
            file
        })
        .collect();
    assert!(ffprobe(&parts[0], "a", "-show_entries stream=index").is_empty(), "the sound comes later");
    let (_handle, signal) = stop_signal().unwrap();
    stitch(&tools(), &Stitch { parts: &parts, source: &source, pts: &list.pts }, output, signal)
}

/// The number that `drawn` draws into each picture, as bright and dark columns.
fn number(picture: &halfpipe_core::Picture) -> usize {
    let [luma, ..] = picture.planes();
    let width = picture.size().width as usize;
    let row = &luma[luma.len() / 2 / width * width..][..width];
    (0..8).filter(|bit| row[bit * 16 + 8] > 128).map(|bit| 1 << bit).sum()
}

#[test]
fn numbered_frames_come_back_in_order_each_once() {
    let dir = Scratch::new();
    // eight columns of 16 pixels, the bits of the frame's number; B frames, and key frames far apart
    let drawn = "-f lavfi -i color=s=128x16:r=30:d=6,format=gray,geq=lum='if(mod(floor(N/pow(2,floor(X/16))),2),230,20)'";
    let coded = "-c:v libx264 -pix_fmt yuv420p -crf 10 -g 70 -bf 3";
    let clip = dir.clip(&format!("{drawn} {coded} numbered.mp4"));
    let whole = decode(&clip, None).unwrap();
    assert_eq!(whole.pictures.iter().map(|p| number(p)).collect::<Vec<_>>(), (0..180).collect::<Vec<_>>());
    for (n, cuts) in [vec![], vec![8, 70, 71, 99, 140, 172]].into_iter().enumerate() {
        let output = dir.path(&format!("whole{n}.mp4"));
        let written = cut_and_stitch(&dir, &clip, &cuts, &output).unwrap();
        let joined = decode(&output, None).unwrap();
        assert_eq!((written.frames, &joined.pts), (180, &whole.pts), "{cuts:?}");
        assert_eq!(joined.pictures.iter().map(|p| number(p)).collect::<Vec<_>>(), (0..180).collect::<Vec<_>>(), "{cuts:?}");
        assert_eq!(joined.report.warnings(), [""; 0]);
    }
}

#[test]
fn clocks_and_sound_of_every_kind_are_kept() {
    let dir = Scratch::new();
    let sound = "-f lavfi -i sine=d=4:r=48000";
    dir.clip(&format!("-f lavfi -i testsrc2=s=160x90:r=30:d=4 {sound} -c:v libx264 -c:a aac plain.mp4"));
    // uneven frames, a clock of 1/200000, a start that is no whole number of anything
    let uneven = "-vf select='not(eq(mod(n,7),3))',settb=1/200000,setpts=PTS+123457 -fps_mode passthrough -enc_time_base:v 1:200000";
    dir.clip(&format!("-f lavfi -i testsrc2=s=160x90:r=30:d=4 {uneven} -c:v libx264 -video_track_timescale 200000 -copyts uneven.mp4"));
    dir.ffmpeg("-i plain.mp4 -c copy -output_ts_offset 7.7 late.mp4");
    dir.ffmpeg("-i plain.mp4 -c copy plain.mkv");
    for name in ["plain.mp4", "uneven.mp4", "late.mp4", "plain.mkv"] {
        let clip = dir.path(name);
        let output = dir.path(&format!("of {name}.mp4"));
        let whole = decode(&clip, None).unwrap();
        let list = list_frames(&tools(), &clip).unwrap();
        assert_eq!(list.pts, whole.pts, "{name}: what is listed is what is read");
        assert_eq!(list.keys.first(), Some(&0), "{name}");
        let frames = whole.pts.len();
        let written = cut_and_stitch(&dir, &clip, &[frames / 3, frames - 9], &output).unwrap();
        let joined = decode(&output, None).unwrap();
        assert_eq!(written.frames as usize, frames, "{name}");
        let same = joined.seconds().iter().zip(whole.seconds()).all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(same, "{name}: {:?} instead of {:?}", joined.pts, whole.pts);
        let packets = |file: &Path| ffprobe(file, "a", "-show_entries packet=pts_time,size");
        if name.ends_with("mp4") {
            assert_eq!(packets(&output), packets(&clip), "{name}: the sound is the source's, packet by packet");
        } else {
            assert_eq!(packets(&output).len(), packets(&clip).len(), "{name}");
        }
    }
}

#[test]
fn parts_that_cannot_follow_each_other_are_named() {
    let dir = Scratch::new();
    let clip = dir.clip("-f lavfi -i testsrc2=s=160x90:r=30:d=2 -c:v libx264 in.mp4");
    let source = SourceFile { path: clip.clone(), info: probe(&tools(), &clip).unwrap() };
    let list = list_frames(&tools(), &clip).unwrap();
    let (one, two) = (dir.path("one.mp4"), dir.path("two.mp4"));
    part(&source, &list, (0, 0, 30), 0, &one);
    part(&source, &list, (1, 30, 60), 0, &two);
    let other = dir.clip("-i two.mp4 -c:v libx264 -profile:v baseline -copyts other.mp4");
    let output = dir.path("out.mp4");
    for (parts, words) in [
        (vec![one.clone(), other], "other.mp4 is not the video that was to be written: its encoder's parameters differ"),
        (vec![two.clone(), one.clone()], "one.mp4 is not the video that was to be written: it does not start after"),
        (vec![one.clone()], "it has 30 frames, not 60"),
    ] {
        let (_handle, signal) = stop_signal().unwrap();
        let error = stitch(&tools(), &Stitch { parts: &parts, source: &source, pts: &list.pts }, &output, signal).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert!(!output.exists(), "nothing is left of what failed");
    }
    let (handle, signal) = stop_signal().unwrap();
    drop(handle);
    let stopped = stitch(&tools(), &Stitch { parts: &[one, two], source: &source, pts: &list.pts }, &output, signal);
    assert!(stopped.unwrap_err().to_string().contains("given up unfinished") && !output.exists());
}
