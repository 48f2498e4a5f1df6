//! Frames per second of decoding alone, or of decoding and encoding: `throughput INPUT [OUTPUT]`.
//!
//! ffmpeg -f lavfi -i testsrc2=s=1280x720:r=30:d=20 -f lavfi -i sine=d=20 -c:v libx264 -c:a aac clip.mp4

use std::path::PathBuf;
use std::time::Instant;

use futures::executor::block_on;
use halfpipe_core::{ByteBudget, StageClock};
use halfpipe_media::{DecodeOptions, EncodeOptions, FfmpegSink, FfmpegSource, FrameSink, FrameSource, MediaError, SourceFile, Tools};

/// Bytes of frames that wait on either side.
const BUDGET: u64 = 32 << 20;
/// Frames in a batch.
const BATCH: usize = 8;

fn main() -> Result<(), MediaError> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let (input, output) = (args.next(), args.next());
    let Some(input) = input else {
        return Err(MediaError::InvalidArgument { what: "usage: throughput INPUT [OUTPUT]".to_owned() });
    };
    let (tools, clock) = (Tools::find()?, StageClock::default());
    let start = Instant::now();
    let mut source =
        FfmpegSource::open(&tools, &input, DecodeOptions { clock: clock.clone(), ..DecodeOptions::new(ByteBudget::new(BUDGET)) })?;
    let mut sink: Option<Box<dyn FrameSink>> = match output {
        None => None,
        Some(output) => {
            let file = SourceFile { path: input, info: source.info().clone() };
            let options = EncodeOptions { clock: clock.clone(), ..EncodeOptions::following(file, ByteBudget::new(BUDGET)) };
            Some(Box::new(FfmpegSink::create(&tools, &output, options)?))
        }
    };
    let mut frames = 0;
    while let Some(batch) = block_on(source.next(BATCH))? {
        frames += batch.len();
        if let Some(sink) = &mut sink {
            block_on(sink.write(batch))?;
        }
    }
    let written = sink.map(|sink| block_on(sink.finish())).transpose()?;
    let secs = start.elapsed().as_secs_f64();
    println!("{frames} frames of {} in {secs:.2} s: {:.1} frames/s", source.info().format.size, frames as f64 / secs);
    println!("{:?}", clock.snapshot());
    println!("{:?} {:?}", source.report().warnings(), written);
    Ok(())
}
