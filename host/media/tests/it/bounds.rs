//! Memory stays within the budgets; waiting callers may give up and lose nothing.

use futures::FutureExt as _;
use futures::executor::block_on;
use halfpipe_core::{ByteBudget, FrameBatch, Pending, Size};
use halfpipe_media::{DecodeOptions, EncodeOptions, FfmpegSink, FfmpegSource, FrameSink, FrameSource, MediaError, SourceFile};

use crate::common::{BUDGET, Scratch, grey, options, tools};

const CLIP: &str = "-f lavfi -i testsrc2=s=320x180:r=30:d=5 -c:v libx264 in.mp4";

#[test]
fn no_more_is_read_ahead_than_the_budget_allows() {
    let dir = Scratch::new();
    let clip = dir.clip(CLIP);
    let frame = (Size::new(320, 180).picture_bytes() as u64).next_multiple_of(1024);
    let ahead = ByteBudget::new(5 * frame + frame / 2);
    let mut source = FfmpegSource::open(&tools(), &clip, DecodeOptions { ahead: ahead.clone(), ..options(None) }).unwrap();
    let mut given = 0;
    loop {
        // until the reader has used up what it may; then it must stop
        while ahead.free() >= frame && given + source.report().frames < 150 {
            std::thread::yield_now();
        }
        assert!(source.report().frames <= given + 5, "{} frames read, {given} given", source.report().frames);
        match block_on(source.next(1)).unwrap() {
            Some(batch) => given += batch.len() as u64,
            None => break,
        }
        if given == 20 {
            break;
        }
    }
    // batches larger than the budget still come whole
    assert_eq!(block_on(source.next(64)).unwrap().unwrap().len(), 64);
    assert_eq!(block_on(source.next(200)).unwrap().unwrap().len(), 150 - 64 - 20);
    assert!(block_on(source.next(1)).unwrap().is_none());
    assert_eq!(ahead.free(), ahead.total());
}

#[test]
fn a_next_given_up_loses_no_frame() {
    let dir = Scratch::new();
    let clip = dir.clip(CLIP);
    let mut source = FfmpegSource::open(&tools(), &clip, options(None)).unwrap();
    let (mut frames, mut given_up) = (Vec::new(), 0);
    loop {
        match source.next(40).now_or_never() {
            None => given_up += 1,
            Some(batch) => match batch.unwrap() {
                Some(batch) => frames.extend(batch.pts.iter().copied()),
                None => break,
            },
        }
    }
    assert!(given_up > 0, "no call ever waited, so nothing was tested");
    assert_eq!(frames, (0..150).map(|i| i * source.info().frame_ticks()).collect::<Vec<_>>());
}

#[test]
fn asking_for_no_frames_is_refused() {
    let dir = Scratch::new();
    let mut source = FfmpegSource::open(&tools(), &dir.clip(CLIP), options(None)).unwrap();
    assert!(matches!(block_on(source.next(0)), Err(MediaError::InvalidArgument { .. })));
}

#[test]
fn a_write_waits_for_room_and_may_be_given_up() {
    let dir = Scratch::new();
    let clip = dir.clip(CLIP);
    let info = halfpipe_media::probe(&tools(), &clip).unwrap();
    let queue = ByteBudget::new(4 * info.format.size.picture_bytes() as u64);
    let source = SourceFile { path: clip, info: info.clone() };
    let mut sink = Box::new(FfmpegSink::create(&tools(), &dir.path("out.mp4"), EncodeOptions::following(source, queue)).unwrap());
    let step = info.frame_ticks();
    let (resolver, pictures) = Pending::new("draw");
    let first = grey(&info, 0, 3);
    let ready = first.pictures.wait_blocking().unwrap().as_ref().clone();
    // accepted at once, though its pictures are still in the making
    sink.write(FrameBatch { pictures, ..first }).now_or_never().expect("there was room").unwrap();
    assert!(sink.write(grey(&info, 3 * step, 3)).now_or_never().is_none(), "there was no room");
    resolver.resolve(ready);
    // what was given up was not taken, so it can be written again
    block_on(sink.write(grey(&info, 3 * step, 3))).unwrap();
    assert_eq!(block_on(sink.finish()).unwrap().frames, 6);
}

#[test]
fn a_batch_larger_than_the_queue_passes_alone() {
    let dir = Scratch::new();
    let clip = dir.clip(CLIP);
    let info = halfpipe_media::probe(&tools(), &clip).unwrap();
    let options = EncodeOptions::new(info.format, info.frame_rate, ByteBudget::new(1000));
    let mut sink = Box::new(FfmpegSink::create(&tools(), &dir.path("out.mp4"), options).unwrap());
    for i in 0..3 {
        block_on(sink.write(grey(&info, i * 20 * info.frame_ticks(), 20))).unwrap();
    }
    assert_eq!(block_on(sink.finish()).unwrap().frames, 60);
}

#[test]
fn the_time_each_stage_takes_is_booked() {
    let dir = Scratch::new();
    let clip = dir.clip(CLIP);
    let clock = halfpipe_core::StageClock::default();
    let mut source = FfmpegSource::open(&tools(), &clip, DecodeOptions { clock: clock.clone(), ..options(None) }).unwrap();
    let encode = EncodeOptions {
        clock: clock.clone(),
        ..EncodeOptions::new(source.info().format, source.info().frame_rate, ByteBudget::new(BUDGET))
    };
    let mut sink = Box::new(FfmpegSink::create(&tools(), &dir.path("out.mp4"), encode).unwrap());
    while let Some(batch) = block_on(source.next(16)).unwrap() {
        block_on(sink.write(batch)).unwrap();
    }
    block_on(sink.finish()).unwrap();
    let book = clock.snapshot();
    assert_eq!((book["decode"].items, book["encode"].items), (150, 150));
    assert!(book["decode"].busy_secs > 0.0 && book["encode"].busy_secs > 0.0);
}
