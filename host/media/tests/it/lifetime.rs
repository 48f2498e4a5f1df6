//! A source or sink that is dropped leaves no process, no thread's frames and no file.

use std::path::Path;

use futures::FutureExt as _;
use futures::executor::block_on;
use halfpipe_core::{ByteBudget, FrameBatch, Pending};
use halfpipe_media::{DecodeOptions, EncodeOptions, FfmpegSink, FfmpegSource, FrameSink, FrameSource, SourceFile, VideoInfo, probe};

use crate::common::{BUDGET, Scratch, children, grey, options, running_children, tools};

fn clip(dir: &Scratch) -> std::path::PathBuf {
    dir.clip("-f lavfi -i testsrc2=s=320x180:r=30:d=10 -f lavfi -i sine=d=10 -c:v libx264 -preset ultrafast -c:a aac in.mp4")
}

fn sink(input: &Path, output: &Path, queue: ByteBudget) -> (Box<FfmpegSink>, VideoInfo) {
    let info = probe(&tools(), input).unwrap();
    let source = SourceFile { path: input.to_owned(), info: info.clone() };
    (Box::new(FfmpegSink::create(&tools(), output, EncodeOptions::following(source, queue)).unwrap()), info)
}

#[test]
fn a_source_dropped_half_way_leaves_nothing() {
    let dir = Scratch::new();
    let clip = clip(&dir);
    // waiting for room, waiting for ffmpeg, or at the end: whatever the reader does when it is stopped
    for (bytes, read) in [(100_000, 3), (BUDGET, 1), (1 << 30, 299)] {
        let ahead = ByteBudget::new(bytes);
        let mut source = FfmpegSource::open(&tools(), &clip, DecodeOptions { ahead: ahead.clone(), ..options(None) }).unwrap();
        assert_eq!(block_on(source.next(read)).unwrap().unwrap().len(), read);
        if read < 299 {
            running_children(&clip, 1);
        }
        drop(source);
        assert!(children(&clip).is_empty(), "ffmpeg outlived its source");
        assert_eq!(ahead.free(), ahead.total(), "frames outlived their source");
    }
}

#[test]
fn a_source_dropped_while_others_use_up_the_budget_still_ends() {
    let dir = Scratch::new();
    let clip = clip(&dir);
    let ahead = ByteBudget::new(200_000);
    let taken = ahead.try_take(ahead.total()).unwrap();
    let source = FfmpegSource::open(&tools(), &clip, DecodeOptions { ahead, ..options(None) }).unwrap();
    drop(source);
    assert!(children(&clip).is_empty());
    drop(taken);
}

#[test]
fn a_sink_dropped_half_way_leaves_nothing() {
    let dir = Scratch::new();
    let (clip, output) = (clip(&dir), dir.path("out.mp4"));
    let queue = ByteBudget::new(BUDGET);
    let (mut sink, info) = sink(&clip, &output, queue.clone());
    block_on(sink.write(grey(&info, 0, 60))).unwrap();
    running_children(&output, 1);
    assert!(output.exists());
    drop(sink);
    assert!(children(&output).is_empty(), "ffmpeg outlived its sink");
    assert!(!output.exists(), "an unfinished output was left");
    assert_eq!(queue.free(), queue.total());
}

#[test]
fn a_sink_dropped_while_frames_are_in_the_making_still_ends() {
    let dir = Scratch::new();
    let (clip, output) = (clip(&dir), dir.path("out.mp4"));
    let (mut sink, info) = sink(&clip, &output, ByteBudget::new(BUDGET));
    let (resolver, pictures) = Pending::new("draw");
    block_on(sink.write(FrameBatch { pictures, ..grey(&info, 0, 4) })).unwrap();
    drop(sink);
    assert!(children(&output).is_empty() && !output.exists());
    drop(resolver);
}

#[test]
fn a_finish_given_up_leaves_nothing() {
    let dir = Scratch::new();
    let (clip, output) = (clip(&dir), dir.path("out.mp4"));
    let (mut sink, info) = sink(&clip, &output, ByteBudget::new(BUDGET));
    let (_resolver, pictures) = Pending::new("draw");
    block_on(sink.write(FrameBatch { pictures, ..grey(&info, 0, 4) })).unwrap();
    assert!(sink.finish().now_or_never().is_none());
    assert!(children(&output).is_empty() && !output.exists());
}

#[test]
fn children_are_in_process_groups_of_their_own() {
    let dir = Scratch::new();
    let (clip, output) = (clip(&dir), dir.path("out.mp4"));
    let few = DecodeOptions { ahead: ByteBudget::new(100_000), ..options(None) };
    let source = FfmpegSource::open(&tools(), &clip, few).unwrap();
    let (sink, _) = sink(&clip, &output, ByteBudget::new(BUDGET));
    // the encoder names the clip too, for its sound
    for id in running_children(&clip, 2) {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
        let group: u32 = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(2).unwrap().parse().unwrap();
        assert_eq!(group, id);
    }
    drop((source, sink));
}
