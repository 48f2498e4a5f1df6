//! Where to cut: windows of about equal length that begin at key frames where there are some near, with context at both ends.

use crate::JoinError;

/// Fewest own frames of a window: enough for an encoder's reordering to end within it.
pub const LEAST_FRAMES: usize = 8;
/// How far a cut may be moved to meet a key frame, in lengths of a window.
const REACH: f64 = 0.25;
/// Seconds by which sums of times may be off without counting as another frame.
const ROUNDING: f64 = 1e-6;
/// Most context that can be asked for, seconds: beyond it the windows would hardly be parts.
pub const MOST_OVERLAP: f64 = 600.0;
/// Most windows of a plan.
pub const MOST_WINDOWS: usize = 10_000;

/// How many windows are wanted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Wanted {
    /// So many.
    Windows(u32),
    /// As many as make each about so many seconds long.
    Seconds(f64),
}

/// Frames of a window by index: `first..after` are its own, `context_first..context_after` are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First own frame.
    pub first: usize,
    /// First frame after the own ones.
    pub after: usize,
    /// First frame read.
    pub context_first: usize,
    /// First frame not read any more.
    pub context_after: usize,
}

/// Cuts a video whose frames are shown at `times` (seconds, increasing) and of which `keys` (indices, increasing) are key frames.
///
/// # Errors
/// [`JoinError::Cut`] where a number is out of its range, or the video too short for so many windows.
pub fn cut(times: &[f64], keys: &[usize], wanted: Wanted, overlap: f64) -> Result<Vec<Span>, JoinError> {
    let frames = times.len();
    let refused = |what: String| Err(JoinError::Cut(what));
    if !(0.0..=MOST_OVERLAP).contains(&overlap) {
        return refused(format!("an overlap of {overlap} s; it must be 0 to {MOST_OVERLAP} s"));
    }
    let (Some(start), Some(last)) = (times.first(), times.last()) else {
        return refused("a video without frames cannot be cut".to_owned());
    };
    let step = if frames > 1 { (last - start) / (frames - 1) as f64 } else { 0.0 };
    let length = last - start + step;
    let count = match wanted {
        Wanted::Windows(n) => n as usize,
        Wanted::Seconds(seconds) if seconds.is_finite() && seconds > 0.0 => ((length / seconds).round() as usize).max(1),
        Wanted::Seconds(seconds) => return refused(format!("windows of {seconds} s; a window's length must be above 0")),
    };
    if count == 0 || count > MOST_WINDOWS {
        return refused(format!("{count} windows; a plan has 1 to {MOST_WINDOWS}"));
    }
    if count > 1 && frames < count * LEAST_FRAMES {
        return refused(format!("{count} windows of {frames} frames; each needs at least {LEAST_FRAMES}, so ask for fewer"));
    }
    let mut cuts = vec![0];
    for i in 1..count {
        let before = cuts[i - 1];
        // room for this window and for all that follow
        let (least, most) = (before + LEAST_FRAMES, frames - (count - i) * LEAST_FRAMES);
        let ideal = start + length * i as f64 / count as f64;
        let exact = times.partition_point(|t| *t < ideal - step / 2.0).clamp(least, most);
        let reach = REACH * length / count as f64;
        let distance = |key: usize| (times[key] - ideal).abs();
        let near = keys.iter().copied().filter(|&key| (least..=most).contains(&key) && distance(key) <= reach);
        cuts.push(near.min_by(|&a, &b| distance(a).total_cmp(&distance(b))).unwrap_or(exact));
    }
    cuts.push(frames);
    let spans = cuts.windows(2).map(|pair| {
        let (first, after) = (pair[0], pair[1]);
        let context_first = times.partition_point(|t| *t < times[first] - overlap - ROUNDING);
        let context_after = if after == frames { frames } else { times.partition_point(|t| *t < times[after] + overlap / 2.0 - ROUNDING) };
        Span { first, after, context_first, context_after }
    });
    Ok(spans.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn even(frames: usize) -> Vec<f64> {
        (0..frames).map(|i| 5.0 + i as f64 / 30.0).collect()
    }

    #[test]
    fn own_frames_are_all_frames_each_once() {
        let times = even(1801);
        for (wanted, count) in [(Wanted::Windows(1), 1), (Wanted::Windows(7), 7), (Wanted::Seconds(9.0), 7), (Wanted::Seconds(1e9), 1)] {
            for keys in [vec![0], (0..1801).step_by(50).collect(), (0..1801).collect()] {
                let spans = cut(&times, &keys, wanted, 2.0).unwrap();
                assert_eq!(spans.len(), count);
                assert_eq!((spans[0].first, spans[count - 1].after), (0, 1801));
                assert!(spans.windows(2).all(|pair| pair[0].after == pair[1].first));
                for s in spans {
                    assert!(s.after - s.first >= LEAST_FRAMES);
                    assert_eq!(s.first - s.context_first, s.first.min(60));
                    assert_eq!(s.context_after - s.after, (1801 - s.after).min(30));
                }
            }
        }
    }

    #[test]
    fn windows_begin_at_key_frames_where_some_are_near() {
        let times = even(900);
        let starts =
            |keys: &[usize]| -> Vec<usize> { cut(&times, keys, Wanted::Windows(3), 1.0).unwrap().iter().map(|s| s.first).collect() };
        assert_eq!(starts(&[0, 280, 330, 640]), [0, 280, 640]);
        assert_eq!(starts(&[0]), [0, 300, 600], "to the frame where no key frame is near");
        assert_eq!(starts(&[0, 100, 450, 890]), [0, 300, 600], "those are too far");
    }

    #[test]
    fn uneven_frames_are_cut_by_time() {
        // 10 frames a second at first, 100 later
        let times: Vec<f64> = (0..100).map(|i| f64::from(i) / 10.0).chain((0..1000).map(|i| 10.0 + f64::from(i) / 100.0)).collect();
        let spans = cut(&times, &[0], Wanted::Windows(2), 1.0).unwrap();
        assert!((spans[1].first as i64 - 100).abs() <= 1, "{spans:?}");
        assert_eq!(spans[1].first - spans[1].context_first, 10);
        assert_eq!(spans[0].context_after - spans[0].after, 50);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let times = even(100);
        let says = |wanted, overlap, words: &str| {
            let error = cut(&times, &[0], wanted, overlap).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        };
        says(Wanted::Windows(13), 1.0, "ask for fewer");
        says(Wanted::Windows(0), 1.0, "0 windows");
        says(Wanted::Seconds(-1.0), 1.0, "above 0");
        says(Wanted::Seconds(f64::NAN), 1.0, "above 0");
        says(Wanted::Windows(2), -0.5, "overlap of -0.5 s");
        says(Wanted::Windows(2), f64::NAN, "overlap of NaN s");
        assert_eq!(cut(&times, &[0], Wanted::Windows(12), 0.0).unwrap().len(), 12);
        assert_eq!(cut(&[3.0], &[0], Wanted::Windows(1), 1.0).unwrap(), [Span { first: 0, after: 1, context_first: 0, context_after: 1 }]);
    }
}
