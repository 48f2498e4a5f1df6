//! Clips, whole decodes and round trips, and what ffprobe says of a file.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use futures::executor::block_on;
use halfpipe_core::{ByteBudget, FrameBatch, Picture};
use halfpipe_media::{
    DecodeOptions, EncodeOptions, Expect, ExpectedTimes, FfmpegSink, FfmpegSource, FrameSink, FrameSource, MediaError, SourceFile,
    SourceReport, Tools, VideoInfo, Window, Written, verify,
};
use halfpipe_testkit::clips;

/// Bytes of frames read ahead or queued where a test does not care.
pub const BUDGET: u64 = 16 << 20;

/// The programs, asked for their versions once and not in every test.
pub fn tools() -> Tools {
    Tools::find_remembering(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap_or_else(|e| panic!("{e}; run `make packages`"))
}

/// A folder for one test's files.
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs ffmpeg in the folder; `args` are split at blanks.
    pub fn ffmpeg(&self, args: &str) {
        let output = Command::new(tools().ffmpeg)
            .args(["-nostdin", "-v", "error", "-y"])
            .args(args.split_whitespace())
            .current_dir(self.0.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "ffmpeg {args}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A clip made by ffmpeg from `args`, which end with its name; made once only where it is nothing but filters.
    pub fn clip(&self, args: &str) -> PathBuf {
        let words: Vec<&str> = args.split_whitespace().collect();
        let (name, words) = words.split_last().unwrap();
        if words.iter().filter(|word| **word == "-i").count() == words.windows(2).filter(|pair| *pair == ["-f", "lavfi"]).count() {
            return clips::ffmpeg(words, &self.path(name));
        }
        self.ffmpeg(args);
        self.path(name)
    }
}

/// Lines that ffprobe prints for `entries` of the packets or frames of the streams selected.
pub fn ffprobe(path: &Path, select: &str, args: &str) -> Vec<String> {
    let output = Command::new(tools().ffprobe)
        .args(["-v", "error", "-of", "csv=p=0", "-select_streams", select])
        .args(args.split_whitespace())
        .arg(path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.trim_end_matches(',').to_owned()).filter(|line| !line.is_empty()).collect()
}

/// Presentation times of all frames as ffprobe decodes them.
pub fn frame_times(path: &Path) -> Vec<String> {
    ffprobe(path, "v:0", "-show_entries frame=pts_time")
}

/// All frames of a video.
pub struct Decoded {
    pub info: VideoInfo,
    pub pts: Vec<i64>,
    pub pictures: Vec<Arc<Picture>>,
    pub report: SourceReport,
}

impl Decoded {
    pub fn seconds(&self) -> Vec<f64> {
        self.pts.iter().map(|&p| p as f64 * self.info.format.time_base.as_f64()).collect()
    }
}

pub fn options(window: Option<Window>) -> DecodeOptions {
    DecodeOptions { window, ..DecodeOptions::new(ByteBudget::new(BUDGET)) }
}

/// Reads to the end in batches of 7, checking what every batch must be.
pub fn read_all(source: &mut FfmpegSource) -> Result<(Vec<i64>, Vec<Arc<Picture>>), MediaError> {
    let (mut pts, mut pictures) = (Vec::<i64>::new(), Vec::new());
    while let Some(batch) = block_on(source.next(7))? {
        assert_eq!(batch.first_index, pts.len() as u64);
        let here = batch.pictures.wait_blocking().unwrap();
        assert!(here.len() == batch.len() && here.iter().all(|p| p.size() == batch.format.size));
        pts.extend(batch.pts.iter());
        pictures.extend(here.iter().cloned());
        assert!(batch.len() == 7 || block_on(source.next(7))?.is_none(), "a batch in the middle was not full");
    }
    assert!(pts.is_sorted_by(|a, b| a < b), "{pts:?}");
    Ok((pts, pictures))
}

pub fn decode(path: &Path, window: Option<Window>) -> Result<Decoded, MediaError> {
    let mut source = FfmpegSource::open(&tools(), path, options(window))?;
    let (pts, pictures) = read_all(&mut source)?;
    Ok(Decoded { info: source.info().clone(), pts, pictures, report: source.report() })
}

/// Decodes and encodes again, frame by frame as they are; checks the output as the service would.
pub fn round_trip(input: &Path, output: &Path, window: Option<Window>) -> Result<(Decoded, Written), MediaError> {
    let mut source = FfmpegSource::open(&tools(), input, options(window))?;
    let info = source.info().clone();
    let file = SourceFile { path: input.to_owned(), info: info.clone() };
    let encode = EncodeOptions { window, ..EncodeOptions::following(file, ByteBudget::new(BUDGET)) };
    let mut sink: Box<dyn FrameSink> = Box::new(FfmpegSink::create(&tools(), output, encode)?);
    let (mut pts, mut pictures) = (Vec::new(), Vec::new());
    while let Some(batch) = block_on(source.next(8))? {
        pts.extend(batch.pts.iter().copied());
        pictures.extend(batch.pictures.wait_blocking().unwrap().iter().cloned());
        block_on(sink.write(batch))?;
    }
    let written = block_on(sink.finish())?;
    assert_eq!(written.frames as usize, pts.len());
    assert_eq!(written.bytes, std::fs::metadata(output).unwrap().len());
    let times = Some(ExpectedTimes { time_base: info.format.time_base, pts: &pts });
    verify(&tools(), output, Expect { frames: written.frames, size: written.size, times })?;
    Ok((Decoded { info, pts, pictures, report: source.report() }, written))
}

/// One batch of grey frames in the format of `info`.
pub fn grey(info: &VideoInfo, first_pts: i64, frames: usize) -> FrameBatch {
    let picture = Arc::new(Picture::filled(info.format.size, [128, 128, 128]));
    let step = info.frame_ticks();
    FrameBatch {
        format: info.format,
        first_index: 0,
        pts: (0..frames as i64).map(|i| first_pts + i * step).collect(),
        pictures: halfpipe_core::Pending::ready(vec![picture; frames]),
    }
}

/// Ids of running or unwaited children of this process whose command line names `path`.
pub fn children(path: &Path) -> Vec<u32> {
    let (me, name) = (std::process::id().to_string(), path.to_string_lossy().into_owned());
    let ids = std::fs::read_dir("/proc").unwrap().filter_map(|e| e.unwrap().file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let command = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1).map(str::to_owned));
        parent.as_deref() == Some(me.as_str()) && String::from_utf8_lossy(&command).contains(&name)
    })
    .collect()
}

/// The same, waiting until there are `count`: a process just started has no command line for a moment.
pub fn running_children(path: &Path, count: usize) -> Vec<u32> {
    for _ in 0..10_000 {
        let ids = children(path);
        if ids.len() == count {
            return ids;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    panic!("{count} children expected, not {:?}", children(path));
}

/// Ends the one child that names `path`, as `kill -9` does.
pub fn kill_child(path: &Path) {
    let id = running_children(path, 1)[0];
    rustix::process::kill_process(rustix::process::Pid::from_raw(id as i32).unwrap(), rustix::process::Signal::KILL).unwrap();
}
