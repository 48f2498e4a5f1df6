//! From a video to its plan.

use std::path::Path;

use halfpipe_core::Rational;
use halfpipe_media::{FrameList, Tools, list_frames};

use crate::cut::{Span, Wanted, cut};
use crate::plan::{Plan, PlanSchema, PlanSource, WindowPlan};
use crate::{Digest, JoinError};

/// How to split.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SplitOptions {
    /// How many windows.
    pub wanted: Wanted,
    /// Seconds of context before each window; half of it behind.
    pub overlap: f64,
}

impl SplitOptions {
    /// Context where nobody says: people are followed and smoothed as in a run without cuts well before it ends, and it is longer than
    /// anybody may be out of sight and keep the number.
    pub const OVERLAP: f64 = 2.0;
}

/// Plans the windows of a video. Reads the file once for its digest; nothing is decoded.
///
/// # Errors
/// Those of [`list_frames`]; [`JoinError::Cut`] where the wishes cannot be met.
pub fn split(tools: &Tools, path: &Path, options: SplitOptions) -> Result<Plan, JoinError> {
    let list = list_frames(tools, path)?;
    let tick = list.info.format.time_base.as_f64();
    let times: Vec<f64> = list.pts.iter().map(|pts| *pts as f64 * tick).collect();
    let spans = cut(&times, &list.keys, options.wanted, options.overlap)?;
    let bytes = std::fs::metadata(path).map_err(|e| JoinError::io("read", path, e))?.len();
    let sha256 = Digest::of_file(path)?;
    let Rational { num, den } = list.info.format.time_base;
    let source = PlanSource {
        path: path.to_owned(),
        bytes,
        sha256,
        frames: list.pts.len() as u64,
        time_base: [num, den],
        frame_rate: [list.info.frame_rate.num, list.info.frame_rate.den],
        start_pts: list.pts[0],
        end_pts: end(&list, list.pts.len()),
    };
    let windows = spans.iter().enumerate().map(|(i, span)| window(&list, &source, i as u32, span)).collect();
    let mut plan = Plan { schema: PlanSchema::V1, id: Digest::of(b""), source, overlap_seconds: options.overlap, windows };
    plan.seal();
    Ok(plan)
}

/// The tick at which frame `index` starts, or the first one after the last frame.
fn end(list: &FrameList, index: usize) -> i64 {
    list.pts.get(index).copied().unwrap_or_else(|| list.pts.last().map_or(0, |last| last + list.info.frame_ticks()))
}

fn window(list: &FrameList, source: &PlanSource, index: u32, span: &Span) -> WindowPlan {
    let keys_before = list.keys.partition_point(|key| *key <= span.context_first);
    let decode_from = keys_before.checked_sub(1).map_or(0, |k| list.keys[k]);
    WindowPlan {
        // put in once all of the plan is known
        plan: Digest::of(b""),
        index,
        source_bytes: source.bytes,
        source_sha256: source.sha256,
        time_base: source.time_base,
        first_frame: span.first as u64,
        frames: (span.after - span.first) as u64,
        context_first_frame: span.context_first as u64,
        context_frames: (span.context_after - span.context_first) as u64,
        first_pts: list.pts[span.first],
        after_pts: end(list, span.after),
        context_first_pts: list.pts[span.context_first],
        context_after_pts: end(list, span.context_after),
        decode_from_pts: list.pts[decode_from],
    }
}
