//! Programs that are started before they are needed, so that nobody waits until the dynamic linker is through with them: 50 of the 60 ms
//! that a look into a file takes.
//!
//! A spare waits for its standard input, which tells it its file. If this process dies, however it does, the pipe closes, and the spare
//! ends with an error, for it has been told of none.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child as Process, Command, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tempfile::TempPath;

use crate::Tools;
use crate::ffmpeg::child::{Child, Input, Transfer};
use crate::ffmpeg::decode_args::{graph, spare_args};
use crate::ffmpeg::stop::{StopHandle, stop_signal};
use crate::ffmpeg::threads::half_the_cores;
use crate::info::VideoInfo;
use crate::probe::{WHAT, probe_args};
use crate::tools::{list, list_url};

/// From when one is taken until the next is started: who took it needs the cores first.
const PAUSE: Duration = Duration::from_millis(300);
/// Containers that are told by their content alone. A spare knows no file name, and others are told by that as well.
const CONTAINERS: [&str; 2] = ["mov,", "matroska,"];

/// Programs that wait.
pub(crate) struct Spares {
    tools: Tools,
    kept: Mutex<Kept>,
    /// Whether others are started for those that were taken.
    again: bool,
    /// Held while some are started, so that nobody starts the same.
    starting: Mutex<()>,
}

#[derive(Default)]
struct Kept {
    probe: Option<SpareProbe>,
    decoder: Option<SpareDecoder>,
}

impl fmt::Debug for Spares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.kept();
        f.debug_struct("Spares").field("probe", &kept.probe.is_some()).field("decoder", &kept.decoder.is_some()).finish()
    }
}

/// Whether a spare can do with a file whose container ffprobe gives this name.
pub(crate) fn suits(container: &str) -> bool {
    CONTAINERS.iter().any(|known| container.starts_with(known))
}

impl Spares {
    /// Starts one of each in the background, and another whenever one is taken.
    pub(crate) fn start(tools: &Tools) -> Arc<Self> {
        let spares = Arc::new(Self::new(tools, Kept::default(), true));
        spares.fill_after(Duration::ZERO);
        spares
    }

    /// Starts a decoder, once.
    pub(crate) fn decoder(tools: &Tools) -> Arc<Self> {
        let decoder = SpareDecoder::start(tools).inspect_err(|error| tracing::debug!(%error, "no spare was started")).ok();
        Arc::new(Self::new(tools, Kept { probe: None, decoder }, false))
    }

    fn new(tools: &Tools, kept: Kept, again: bool) -> Self {
        Self { tools: Tools { spares: None, ..tools.clone() }, kept: Mutex::new(kept), again, starting: Mutex::default() }
    }

    /// ffprobe's answer about a file, as to [`WHAT`]; none where no spare is there, or it did not live to give one.
    pub(crate) fn ask(self: &Arc<Self>, path: &Path) -> Option<Output> {
        let spare = self.kept().probe.take();
        self.fill_after(PAUSE);
        spare?.ask(path).inspect_err(|error| tracing::debug!(%error, "a spare ffprobe gave no answer")).ok()
    }

    /// An ffmpeg that decodes all of a file on so many threads; none where no spare is there or suits.
    pub(crate) fn decode(self: &Arc<Self>, path: &Path, info: &VideoInfo, threads: u32) -> Option<Decoding> {
        let spare = self.kept().decoder.take_if(|spare| suits(&info.container) && spare.threads == threads);
        self.fill_after(PAUSE);
        spare?.decode(path, info).inspect_err(|error| tracing::debug!(%error, "a spare ffmpeg could not be told its file")).ok()
    }

    /// Starts what is missing after a while, unless nobody wants spares by then.
    fn fill_after(self: &Arc<Self>, pause: Duration) {
        if !self.again {
            return;
        }
        let spares = Arc::downgrade(self);
        let fill = move || {
            std::thread::sleep(pause);
            if let Some(spares) = spares.upgrade()
                && let Err(error) = spares.fill()
            {
                // nothing depends on them, and who starts the program next tells what is wrong with it
                tracing::debug!(%error, "no spare was started");
            }
        };
        if let Err(error) = std::thread::Builder::new().name("spares".to_owned()).spawn(fill) {
            tracing::debug!(%error, "no spare was started");
        }
    }

    fn fill(&self) -> io::Result<()> {
        let _starting = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        let (probe, decoder) = {
            let kept = self.kept();
            (kept.probe.is_none(), kept.decoder.is_none())
        };
        if probe {
            let probe = SpareProbe::start(&self.tools, &WHAT)?;
            self.kept().probe = Some(probe);
        }
        if decoder {
            let decoder = SpareDecoder::start(&self.tools)?;
            self.kept().decoder = Some(decoder);
        }
        Ok(())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An ffprobe that waits. Dropped, it is killed and waited for.
pub(crate) struct SpareProbe(Option<Process>);

impl SpareProbe {
    /// One that will be asked this.
    pub(crate) fn start(tools: &Tools, what: &[&str]) -> io::Result<Self> {
        let args: Vec<OsString> = probe_args("concatf,pipe,file", what, list_url(Path::new("-")));
        let mut command = Command::new(&tools.ffprobe);
        command.args(args).process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().map(|process| Self(Some(process)))
    }

    /// Its answer about a file.
    pub(crate) fn ask(mut self, path: &Path) -> io::Result<Output> {
        let Some(mut process) = self.0.take() else { return Err(io::ErrorKind::NotFound.into()) };
        let told = process.stdin.take().ok_or(io::ErrorKind::BrokenPipe.into()).and_then(|mut stdin| stdin.write_all(&list(path)?));
        // waited for in any case
        let output = process.wait_with_output();
        told.and(output)
    }
}

impl Drop for SpareProbe {
    fn drop(&mut self) {
        if let Some(mut process) = self.0.take() {
            // both fail only where it has ended and been waited for
            process.kill().ok();
            process.wait().ok();
        }
    }
}

/// An ffmpeg that waits.
struct SpareDecoder {
    child: Child,
    stop: StopHandle,
    list: TempPath,
    threads: u32,
}

/// An ffmpeg that decodes.
pub(crate) struct Decoding {
    pub(crate) child: Child,
    pub(crate) stop: StopHandle,
    /// Where it reads its file's name, sooner or later.
    pub(crate) list: TempPath,
}

impl SpareDecoder {
    fn start(tools: &Tools) -> io::Result<Self> {
        let list = tempfile::Builder::new().prefix("halfpipe-spare-").tempfile()?.into_temp_path();
        let (stop, signal) = stop_signal()?;
        let threads = half_the_cores();
        let child = Child::spawn(&tools.ffmpeg, spare_args(&list, threads, tools.avutil), Input::Text, signal)?;
        Ok(Self { child, stop, list, threads })
    }

    fn decode(mut self, path: &Path, info: &VideoInfo) -> io::Result<Decoding> {
        std::fs::write(&self.list, list(path)?)?;
        if self.child.write(graph(info).as_bytes())? != Transfer::Whole {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.child.end_input();
        Ok(Decoding { child: self.child, stop: self.stop, list: self.list })
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Instant;

    use futures::executor::block_on;
    use halfpipe_core::ByteBudget;
    use halfpipe_testkit::clips;

    use super::*;
    use crate::{DecodeOptions, FfmpegSource, FrameSource, probe};

    const SQUARES: &str = "-f lavfi -i testsrc2=s=96x64:r=12:d=2";

    fn tools() -> Tools {
        Tools::find().unwrap()
    }

    /// With both of them there, and none that would be started when they are taken, so that it shows.
    fn with_spares() -> Tools {
        let tools = tools();
        let kept = Kept { probe: SpareProbe::start(&tools, &WHAT).ok(), decoder: SpareDecoder::start(&tools).ok() };
        let spares = Arc::new(Spares::new(&tools, kept, false));
        Tools { spares: Some(spares), ..tools }
    }

    fn wait_for_spares(tools: &Tools) {
        let begun = Instant::now();
        while kept(tools) != [true, true] {
            assert!(begun.elapsed() < Duration::from_secs(30), "no spare was started");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn kept(tools: &Tools) -> [bool; 2] {
        let kept = tools.spares.as_ref().unwrap().kept();
        [kept.probe.is_some(), kept.decoder.is_some()]
    }

    fn clip(folder: &tempfile::TempDir, name: &str, args: &str) -> PathBuf {
        let made = clips::ffmpeg(&format!("{SQUARES} {args}").split_whitespace().collect::<Vec<_>>(), &folder.path().join("made.mp4"));
        let named = folder.path().join(name);
        std::fs::rename(&made, &named).or_else(|_| std::fs::copy(&made, &named).map(drop)).unwrap();
        named
    }

    /// All frames and their timestamps.
    fn decoded(tools: &Tools, path: &Path) -> (VideoInfo, Vec<i64>, Vec<Vec<u8>>) {
        let info = probe(tools, path).unwrap();
        let mut source = FfmpegSource::open_probed(tools, path, info.clone(), DecodeOptions::new(ByteBudget::new(1 << 24))).unwrap();
        let (mut pts, mut frames) = (Vec::new(), Vec::new());
        while let Some(batch) = block_on(source.next(5)).unwrap() {
            pts.extend(batch.pts.iter());
            frames.extend(batch.pictures.wait_blocking().unwrap().iter().map(|picture| picture.planes().concat()));
        }
        (info, pts, frames)
    }

    #[test]
    fn a_spare_finds_and_decodes_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let cases = [
            ("plain.mp4", "-c:v libx264 -bf 2 -f mp4"),
            ("full range.mov", "-c:v libx264 -pix_fmt yuvj444p -f mov"),
            ("times.mkv", "-vf setpts=PTS+0.3/TB -c:v libx264 -f matroska"),
            ("it's \\ a\n'name'.mp4", "-c:v mpeg4 -vf setsar=4/3 -f mp4"),
        ];
        for (name, args) in cases {
            let (plain, spare, path) = (tools(), with_spares(), clip(&folder, name, args));
            assert_eq!(decoded(&spare, &path), decoded(&plain, &path), "{name}");
            assert_eq!(kept(&spare), [false, false], "{name}: both have been taken");
        }
    }

    #[test]
    fn what_no_spare_suits_is_left_to_another_program() {
        let folder = tempfile::tempdir().unwrap();
        let (plain, spare) = (tools(), with_spares());
        let text = folder.path().join("text.mp4");
        std::fs::write(&text, "not a video").unwrap();
        let message = |tools: &Tools| probe(tools, &text).unwrap_err().to_string();
        assert_eq!(message(&spare), message(&plain));
        let raw = clip(&folder, "raw.h264", "-c:v libx264 -f h264");
        assert_eq!(decoded(&spare, &raw), decoded(&plain, &raw));
        assert!(kept(&spare)[1], "nobody took the decoder");
    }

    #[test]
    fn a_spare_that_died_is_not_missed_and_one_that_was_taken_is_made_up_for() {
        let folder = tempfile::tempdir().unwrap();
        let (tools, path) = (tools().with_spares(), clip(&folder, "a.mp4", "-c:v libx264 -f mp4"));
        wait_for_spares(&tools);
        {
            let mut kept = tools.spares.as_ref().unwrap().kept();
            let process = kept.probe.as_mut().unwrap().0.as_mut().unwrap();
            process.kill().unwrap();
            process.wait().unwrap();
            let decoder = kept.decoder.as_mut().unwrap();
            rustix::process::kill_process(
                rustix::process::Pid::from_raw(decoder.child.id() as i32).unwrap(),
                rustix::process::Signal::KILL,
            )
            .unwrap();
        }
        assert_eq!(decoded(&tools, &path).1.len(), 24);
        wait_for_spares(&tools);
        assert_eq!(decoded(&tools, &path).1.len(), 24);
    }

    #[test]
    fn a_decoder_that_was_started_once_is_taken_once() {
        let folder = tempfile::tempdir().unwrap();
        let (tools, path) = (tools().with_spare_decoder(), clip(&folder, "a.mp4", "-c:v libx264 -f mp4"));
        assert_eq!(kept(&tools), [false, true]);
        let first = decoded(&tools, &path);
        assert_eq!(kept(&tools), [false, false]);
        assert_eq!(decoded(&tools, &path), first);
    }

    #[test]
    fn a_spare_that_is_told_nothing_ends() {
        let tools = tools();
        let mut decoder = SpareDecoder::start(&tools).unwrap();
        assert!(!decoder.child.finish().unwrap().unwrap().success());
        let mut probe = SpareProbe::start(&tools, &WHAT).unwrap();
        let mut process = probe.0.take().unwrap();
        drop(process.stdin.take());
        assert!(!process.wait().unwrap().success());
    }
}
