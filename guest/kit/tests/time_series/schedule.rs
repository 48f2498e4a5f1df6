//! On which frames the detector runs.

use crate::people::{Noise, sight};
use halfpipe_kit::track::{DetectorOptions, DetectorReason, DetectorSchedule, Observation, TrackOptions, Tracker};

/// Runs a video of `frames` at `fps` in which `seen` says who is there, and gives the frames on which the detector ran, and why.
fn run(frames: u64, fps: f64, seen: impl Fn(u64) -> Vec<Observation>) -> Vec<(u64, DetectorReason)> {
    let mut tracker = Tracker::new((1280, 720), TrackOptions::default());
    let mut schedule = DetectorSchedule::new(DetectorOptions::default());
    let mut runs = Vec::new();
    for f in 0..frames {
        let t = f as f64 / fps;
        if let Some(reason) = schedule.due(f, t, &tracker) {
            runs.push((f, reason));
            schedule.ran(f, t);
        }
        tracker.update(t, &seen(f));
    }
    runs
}

fn standing(f: u64) -> Vec<Observation> {
    vec![sight(600.0, 600.0, 250.0, 0.0, &mut Noise(f), 1.0)]
}

#[test]
fn an_empty_scene_is_looked_at_every_third_frame() {
    let runs = run(10, 30.0, |_| vec![]);
    assert_eq!(runs, [(0, DetectorReason::First), (3, DetectorReason::Empty), (6, DetectorReason::Empty), (9, DetectorReason::Empty)]);
}

#[test]
fn with_somebody_there_every_half_second_and_at_most_15_frames() {
    let frames = |fps| run(61, fps, standing).into_iter().map(|r| r.0).collect::<Vec<_>>();
    assert_eq!(frames(30.0), [0, 15, 30, 45, 60]);
    assert_eq!(frames(120.0), [0, 15, 30, 45, 60]);
    assert_eq!(frames(10.0), [0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60]);
}

#[test]
fn a_loss_is_looked_into_at_once_and_then_from_time_to_time() {
    let runs = run(70, 30.0, |f| if f < 20 { standing(f) } else { vec![] });
    let expected: Vec<(u64, DetectorReason)> = [(0, DetectorReason::First), (15, DetectorReason::Interval)]
        .into_iter()
        .chain((21..=48).step_by(3).map(|f| (f, DetectorReason::Lost)))
        .collect();
    assert_eq!(runs[..expected.len()], expected, "lost on frame 20, noticed before frame 21");
    assert!(runs[expected.len()..].iter().all(|r| matches!(r.1, DetectorReason::Lost | DetectorReason::Empty)));
    assert!(runs.windows(2).all(|w| w[1].0 - w[0].0 <= 15));
}

#[test]
fn a_bad_crop_is_looked_into() {
    let low = |f: u64| {
        let mut seen = standing(f);
        seen[0].score = if f >= 5 { 0.45 } else { 0.9 };
        seen
    };
    let runs = run(13, 30.0, low);
    assert_eq!(runs[..3], [(0, DetectorReason::First), (6, DetectorReason::Suspect), (9, DetectorReason::Suspect)]);
    let jump = |f: u64| {
        let mut seen = standing(f);
        seen[0].roi.side *= if f == 5 { 2.5 } else { 1.0 };
        seen
    };
    assert!(run(8, 30.0, jump).contains(&(6, DetectorReason::Suspect)));
}

/// What is foreseen of the next `ahead` frames after each of a video's, and what came true.
fn foreseen(
    frames: u64,
    ahead: u64,
    options: DetectorOptions,
    seen: impl Fn(u64) -> Vec<Observation>,
) -> Vec<(u64, Vec<(u64, DetectorReason)>)> {
    let mut tracker = Tracker::new((1280, 720), TrackOptions::default());
    let mut schedule = DetectorSchedule::new(options);
    let time = |f: u64| f as f64 / 30.0;
    let mut found = Vec::new();
    for f in 0..frames {
        if schedule.due(f, time(f), &tracker).is_some() {
            schedule.ran(f, time(f));
        }
        tracker.update(time(f), &seen(f));
        found.push((f, schedule.foreseen((f + 1..=f + ahead).map(|f| (f, time(f))), &tracker)));
    }
    found
}

#[test]
fn pauses_are_foreseen() {
    for (f, due) in foreseen(60, 4, DetectorOptions::default(), standing) {
        let next = (f / 15 + 1) * 15;
        assert_eq!(due, if next <= f + 4 { vec![(next, DetectorReason::Interval)] } else { vec![] }, "after frame {f}");
    }
    let empty = foreseen(1, 7, DetectorOptions::default(), |_| vec![]);
    assert_eq!(empty[0].1, [(3, DetectorReason::Empty), (6, DetectorReason::Empty)], "nobody is there");
    let always = DetectorOptions { max_frames: 1, empty_frames: 1, search_frames: 1, ..DetectorOptions::default() };
    for (f, due) in foreseen(30, 3, always, |f| if f < 15 { standing(f) } else { vec![] }) {
        assert_eq!(due.iter().map(|(f, _)| *f).collect::<Vec<_>>(), [f + 1, f + 2, f + 3]);
    }
}

#[test]
fn a_search_is_foreseen_as_long_as_it_lasts() {
    let lost = |f| if (20..26).contains(&f) { vec![] } else { standing(f) };
    let found = foreseen(30, 5, DetectorOptions::default(), lost);
    assert_eq!(found[19].1, [], "nobody can know that somebody gets lost");
    // missed on 20, so the detector runs on 21, and then on every third frame
    let search = |f| (f, DetectorReason::Lost);
    assert_eq!(found[21].1, [search(24)]);
    assert_eq!(found[22].1, [search(24), search(27)]);
    assert_eq!(found[24].1, [search(27)]);
    // seen again on 26: the pause since 24 is the usual one
    assert_eq!(found[26].1, []);
}

#[test]
fn what_was_foreseen_comes_true_where_nothing_changes() {
    let lost = |f| if f < 20 { standing(f) } else { vec![] };
    let runs = run(60, 30.0, lost);
    for (f, due) in foreseen(40, 3, DetectorOptions::default(), lost).into_iter().filter(|(f, _)| *f > 20) {
        for look in due {
            assert!(runs.contains(&look), "after frame {f}: {look:?} in {runs:?}");
        }
    }
}

#[test]
fn nothing_is_foreseen_before_the_first_look() {
    let tracker = Tracker::new((1280, 720), TrackOptions::default());
    assert!(DetectorSchedule::new(DetectorOptions::default()).foreseen([(0, 0.0), (30, 1.0)], &tracker).is_empty());
}
