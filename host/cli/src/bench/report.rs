//! What the runs of a clip come to, if they found the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use halfpipe_runtime::report::{Counts, Provenance};
use serde::Serialize;
use serde_json::{Value, json};

use super::runner::Run;
use super::spread::Spread;
use super::variants::{PAIRS, VARIANTS};

/// Everything that was measured.
#[derive(Serialize)]
pub(super) struct BenchReport {
    /// `halfpipe.bench/1`.
    pub(super) schema: &'static str,
    pub(super) repeats: u8,
    pub(super) machine: Machine,
    pub(super) clips: Vec<ClipReport>,
}

/// Where it was measured.
#[derive(Serialize)]
pub(super) struct Machine {
    /// Processors this process may use.
    pub(super) cores: usize,
    /// Load of the last minute before the start, in processes: other work on this machine. None where the system does not say.
    pub(super) load_average: Option<f64>,
    pub(super) provenance: Provenance,
}

#[derive(Serialize)]
pub(super) struct ClipReport {
    pub(super) clip: PathBuf,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) codec: String,
    pub(super) variants: Vec<VariantReport>,
    pub(super) ratios: Vec<Ratio>,
    pub(super) shipped: Shipped,
}

#[derive(Serialize)]
pub(super) struct VariantReport {
    pub(super) name: &'static str,
    pub(super) lockstep: bool,
    pub(super) batch: u32,
    pub(super) options: Value,
    pub(super) frames_per_second: Spread,
    pub(super) cpu_ms_per_frame: Spread,
    pub(super) wall_seconds: Spread,
    pub(super) counts: Counts,
}

/// One variant over another, each round by itself.
#[derive(Serialize)]
pub(super) struct Ratio {
    /// Numbers of the variants, from 1: `1/2`.
    pub(super) pair: String,
    pub(super) variant: &'static str,
    pub(super) over: &'static str,
    pub(super) frames_per_second: Spread,
    pub(super) cpu_per_frame: Spread,
    /// Whether all poses were equal to the last digit; none where the options differ.
    pub(super) same_poses: Option<bool>,
}

/// More of variant 1, from its run with the median wall time (the faster of two in the middle).
#[derive(Serialize)]
pub(super) struct Shipped {
    pub(super) stages_busy_ms_per_frame: BTreeMap<String, f64>,
    pub(super) sandbox_share_without_fit: f64,
    pub(super) fit_cpu_ms_per_frame: f64,
    pub(super) instantiate_microseconds: f64,
    pub(super) peak_rss_bytes: Option<u64>,
}

/// Everything that runs with equal options must agree on, by name.
fn findings(counts: &Counts) -> Vec<(&'static str, Value)> {
    vec![
        ("frames", counts.frames.into()),
        ("drawn frames", counts.frames_drawn.into()),
        ("people summed over frames", counts.people.into()),
        ("tracks", counts.tracks.into()),
        ("frames by status", json!(counts.statuses)),
    ]
}

/// Fails where two runs with equal options found different things.
fn check_equal(clip: &Path, (name, a): (&str, &Counts), (other, b): (&str, &Counts)) -> anyhow::Result<()> {
    for ((what, left), (_, right)) in findings(a).into_iter().zip(findings(b)) {
        anyhow::ensure!(
            left == right,
            "runs with equal options must find the same in {}, but {what} are {left} in \"{name}\" and {right} in \"{other}\"; \
             their times cannot be compared",
            clip.display()
        );
    }
    Ok(())
}

pub(super) fn clip_report(clip: &Path, rounds: &[Vec<Run>]) -> anyhow::Result<ClipReport> {
    let all = |i: usize| rounds.iter().map(move |runs| &runs[i]);
    for (i, variant) in VARIANTS.iter().enumerate() {
        let (first, reference) = if variant.equal_work { (&VARIANTS[2], &rounds[0][2]) } else { (&VARIANTS[0], &rounds[0][0]) };
        for run in all(i) {
            check_equal(clip, (first.name, &reference.report.counts), (variant.name, &run.report.counts))?;
        }
    }
    let variants = VARIANTS.iter().enumerate().map(|(i, v)| VariantReport {
        name: v.name,
        lockstep: v.lockstep,
        batch: v.batch,
        options: v.options(),
        frames_per_second: Spread::of(all(i).map(|r| r.report.frames_per_second)),
        cpu_ms_per_frame: Spread::of(all(i).map(Run::cpu_ms_per_frame)),
        wall_seconds: Spread::of(all(i).map(|r| r.report.wall_seconds)),
        counts: rounds[0][i].report.counts.clone(),
    });
    let ratios = PAIRS.into_iter().map(|(a, b)| Ratio {
        pair: format!("{}/{}", a + 1, b + 1),
        variant: VARIANTS[a].name,
        over: VARIANTS[b].name,
        frames_per_second: Spread::of(all(a).zip(all(b)).map(|(a, b)| a.report.frames_per_second / b.report.frames_per_second)),
        cpu_per_frame: Spread::of(all(a).zip(all(b)).map(|(a, b)| a.cpu_ms_per_frame() / b.cpu_ms_per_frame())),
        same_poses: (VARIANTS[a].equal_work == VARIANTS[b].equal_work)
            .then(|| all(a).chain(all(b)).all(|run| run.poses == rounds[0][a].poses)),
    });
    let input = &rounds[0][0].report.input;
    Ok(ClipReport {
        clip: clip.to_owned(),
        width: input.width,
        height: input.height,
        codec: input.codec.clone(),
        variants: variants.collect(),
        ratios: ratios.collect(),
        shipped: shipped(all(0).collect()),
    })
}

fn shipped(mut runs: Vec<&Run>) -> Shipped {
    runs.sort_by(|a, b| a.report.wall_seconds.total_cmp(&b.report.wall_seconds));
    let run = runs[(runs.len() - 1) / 2];
    let (r, per_frame) = (&run.report, 1000.0 / run.frames());
    Shipped {
        stages_busy_ms_per_frame: r.stages.iter().map(|(name, times)| (name.clone(), times.busy_seconds * per_frame)).collect(),
        sandbox_share_without_fit: r.sandbox.share_without_fit,
        // the section is not there where there is nobody to fit
        fit_cpu_ms_per_frame: r.sandbox.cpu_seconds.get("fit").map_or(0.0, |secs| secs * per_frame),
        instantiate_microseconds: r.sandbox.instantiate_microseconds,
        peak_rss_bytes: run.peak_rss_bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_that_differ_are_named() {
        let counts = |people, bodies| Counts {
            frames: 10,
            frames_drawn: 8,
            pixels_drawn: 8000,
            people,
            tracks: 1,
            statuses: BTreeMap::from([("tracked".to_owned(), bodies)]),
            // the guest's own counts say how the work was cut up, which is what variants differ in
            other: BTreeMap::from([("batches".to_owned(), people as f64)]),
        };
        let compare = |a, b| check_equal(Path::new("a.mp4"), ("halfpipe", &a), ("one at a time", &b));
        assert!(compare(counts(8, 8), counts(8, 8)).is_ok());
        let message = compare(counts(8, 8), counts(9, 8)).unwrap_err().to_string();
        assert!(message.contains("people summed over frames are 8 in \"halfpipe\" and 9 in \"one at a time\""), "{message}");
        assert!(compare(counts(8, 8), counts(8, 7)).unwrap_err().to_string().contains("frames by status"));
    }
}
