//! Progress: a bar with stage, frames a second and time left on a terminal, plain lines otherwise.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use halfpipe_runtime::{Progress, Stage};
use indicatif::{ProgressBar, ProgressStyle};

/// How often a plain line is printed.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Where progress is shown.
#[derive(Clone)]
pub enum Bar {
    /// Nowhere.
    Quiet,
    /// A bar that redraws itself.
    Terminal(ProgressBar),
    /// Lines on stderr.
    Lines(Arc<Mutex<Lines>>),
}

/// State of the plain lines.
pub struct Lines {
    started: Instant,
    printed: Option<(Instant, Stage)>,
}

const fn name(stage: Stage) -> &'static str {
    match stage {
        Stage::Loading => "loading models",
        Stage::Opening => "opening",
        Stage::Running => "running",
        Stage::Finishing => "finishing",
    }
}

impl Bar {
    /// A bar where stderr is a terminal, lines where not.
    pub fn new(quiet: bool) -> Self {
        if quiet {
            Self::Quiet
        } else if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new_spinner();
            bar.enable_steady_tick(Duration::from_millis(120));
            Self::Terminal(bar)
        } else {
            Self::Lines(Arc::new(Mutex::new(Lines { started: Instant::now(), printed: None })))
        }
    }

    /// Shows how far things are.
    pub fn show(&self, progress: Progress) {
        match self {
            Self::Quiet => {}
            Self::Terminal(bar) => show_bar(bar, progress),
            Self::Lines(lines) => {
                let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                if progress.stage != Stage::Running {
                    // the rate is that of the frames, not of loading models
                    lines.started = Instant::now();
                }
                let due = lines.printed.is_none_or(|(at, stage)| stage != progress.stage || at.elapsed() >= LINE_EVERY);
                if due {
                    lines.printed = Some((Instant::now(), progress.stage));
                    eprintln!("{}", line(progress, lines.started.elapsed()));
                }
            }
        }
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        if let Self::Terminal(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// One plain line.
fn line(progress: Progress, elapsed: Duration) -> String {
    let Progress { stage, done, total } = progress;
    if stage != Stage::Running || done == 0 {
        return format!("{} ...", name(stage));
    }
    let rate = done as f64 / elapsed.as_secs_f64().max(1e-3);
    match total.filter(|t| *t >= done) {
        Some(total) => {
            let left = (total - done) as f64 / rate.max(1e-3);
            format!("running: frame {done} of {total} ({:.0} %), {rate:.1} frames/s, {left:.0} s left", 100.0 * done as f64 / total as f64)
        }
        None => format!("running: frame {done}, {rate:.1} frames/s"),
    }
}

fn show_bar(bar: &ProgressBar, progress: Progress) {
    let known = progress.total.is_some();
    if progress.stage == Stage::Running && (bar.length().is_some() != known || bar.position() == 0) {
        let template = if known {
            "{msg:14} [{bar:32}] {pos}/{len} frames  {per_sec}  {eta} left"
        } else {
            "{spinner} {msg:14} {pos} frames  {per_sec}  {elapsed}"
        };
        // the templates are constants, checked by the test below
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> ").with_key("per_sec", rate_key));
        }
        if bar.position() == 0 {
            bar.reset_elapsed();
        }
    }
    bar.set_message(name(progress.stage));
    if let Some(total) = progress.total {
        bar.set_length(total);
    }
    bar.set_position(progress.done);
}

fn rate_key(state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write) {
    // a terminal that cannot be written to is not this job's fault
    write!(out, "{:.1} frames/s", state.per_sec()).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_rate_and_time_left() {
        let p = Progress { stage: Stage::Running, done: 50, total: Some(200) };
        assert_eq!(line(p, Duration::from_secs(10)), "running: frame 50 of 200 (25 %), 5.0 frames/s, 30 s left");
        let p = Progress { stage: Stage::Running, done: 50, total: None };
        assert_eq!(line(p, Duration::from_secs(10)), "running: frame 50, 5.0 frames/s");
        assert_eq!(line(Progress { stage: Stage::Loading, done: 0, total: None }, Duration::ZERO), "loading models ...");
    }

    #[test]
    fn the_bar_takes_known_and_unknown_lengths() {
        let bar = ProgressBar::hidden();
        show_bar(&bar, Progress { stage: Stage::Running, done: 1, total: None });
        show_bar(&bar, Progress { stage: Stage::Running, done: 2, total: Some(9) });
        assert_eq!((bar.position(), bar.length()), (2, Some(9)));
    }
}
