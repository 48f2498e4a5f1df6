//! Holes of up to ten frames are filled and flagged; longer ones stay.

use halfpipe_kit::blazepose::{LANDMARKS, Landmarks, Roi};
use halfpipe_kit::gaps::{Frame, GapFiller, GapOptions, Lerp, Person};
use halfpipe_kit::track::TrackId;

/// A position on a line.
#[derive(Debug, Clone, PartialEq)]
struct At(f64);

impl Lerp for At {
    fn lerp(&self, end: &Self, part: f64) -> Self {
        Self(self.0 + (end.0 - self.0) * part)
    }
}

/// A frame with these tracks in it: (id, confidence). Everybody moves at 100 units a second, from 1000 times the id.
fn frame(index: u64, time: f64, people: &[(TrackId, f32)]) -> Frame<At> {
    let person = |&(id, confidence): &(TrackId, f32)| Person { id, confidence, interpolated: false, pose: at(id, time) };
    Frame { index, time, people: people.iter().map(person).collect() }
}

fn at(id: TrackId, time: f64) -> At {
    At(1000.0 * f64::from(id) + 100.0 * time)
}

/// Pushes frames at these times; `seen` says who is in each. Checks that every frame comes out once, in order, and that no more than
/// the longest hole is ever held back.
fn run(options: GapOptions, times: &[f64], seen: impl Fn(usize) -> Vec<(TrackId, f32)>) -> Vec<Frame<At>> {
    let mut filler = GapFiller::new(options);
    let mut out = Vec::new();
    for (i, &t) in times.iter().enumerate() {
        out.extend(filler.push(frame(i as u64, t, &seen(i))));
        assert!(filler.held() <= options.max_frames, "{} frames held after frame {i}", filler.held());
        assert_eq!(out.len() + filler.held(), i + 1);
    }
    out.extend(filler.finish());
    assert_eq!(filler.held(), 0);
    assert_eq!(out.iter().map(|f| f.index).collect::<Vec<_>>(), (0..times.len() as u64).collect::<Vec<_>>());
    for f in &out {
        assert_eq!(f.time, times[f.index as usize]);
        for p in &f.people {
            assert!((p.pose.0 - at(p.id, f.time).0).abs() < 1e-6, "frame {}: {:?}", f.index, p);
        }
    }
    out
}

fn steady(frames: usize) -> Vec<f64> {
    (0..frames).map(|f| f as f64 / 30.0).collect()
}

#[test]
fn holes_up_to_ten_frames_are_filled_and_longer_ones_are_not() {
    for hole in 1..=14 {
        let missing = 5..5 + hole;
        let out = run(GapOptions::default(), &steady(40), |i| if missing.contains(&i) { vec![] } else { vec![(1, 0.9)] });
        for f in &out {
            let within = missing.contains(&(f.index as usize));
            assert_eq!(f.people.len(), usize::from(!within || hole <= 10), "hole {hole}, frame {}", f.index);
            assert!(f.people.iter().all(|p| p.interpolated == within));
        }
    }
}

#[test]
fn the_confidence_is_the_lower_of_both_ends() {
    for (before, after) in [(0.9, 0.6), (0.55, 0.8)] {
        let out = run(GapOptions::default(), &steady(10), |i| match i {
            0..3 => vec![(1, before)],
            3..6 => vec![],
            _ => vec![(1, after)],
        });
        assert!(out[3..6].iter().all(|f| f.people[0].confidence == before.min(after) && f.people[0].interpolated));
        assert_eq!((out[2].people[0].confidence, out[6].people[0].confidence), (before, after), "ends stay as they are");
    }
}

#[test]
fn only_the_same_track_on_both_sides_closes_a_hole() {
    let out = run(GapOptions::default(), &steady(12), |i| match i {
        0..4 => vec![(1, 0.9)],
        4..8 => vec![],
        _ => vec![(2, 0.9)],
    });
    assert!(out[4..8].iter().all(|f| f.people.is_empty()));
}

#[test]
fn several_tracks_have_their_own_holes() {
    let out = run(GapOptions::default(), &steady(40), |i| {
        let mut seen = vec![(7, 0.95)];
        // track 1 misses 3..9, track 2 misses 6..12 and leaves at 20, track 3 comes at 10 and misses 14..30
        seen.extend((!(3..9).contains(&i)).then_some((1, 0.9)));
        seen.extend((!(6..12).contains(&i) && i < 20).then_some((2, 0.8)));
        seen.extend((i >= 10 && !(14..30).contains(&i)).then_some((3, 0.7)));
        seen
    });
    let made_up = |id| {
        let has = |f: &&Frame<At>| f.people.iter().any(|p| p.id == id && p.interpolated);
        out.iter().filter(has).map(|f| f.index).collect::<Vec<_>>()
    };
    assert_eq!(made_up(1), (3..9).collect::<Vec<_>>());
    assert_eq!(made_up(2), (6..12).collect::<Vec<_>>());
    assert_eq!(made_up(3), [0u64; 0], "sixteen frames are too many");
    assert_eq!(made_up(7), [0u64; 0]);
    assert!(out[20..].iter().all(|f| f.people.iter().all(|p| p.id != 2)), "nobody is carried on after leaving");
}

#[test]
fn interpolation_runs_in_time_not_in_frames() {
    // `run` checks every position against the clock.
    let times = [0.0, 0.04, 0.05, 0.20, 0.21, 0.50, 0.52];
    let out = run(GapOptions::default(), &times, |i| if (2..5).contains(&i) { vec![] } else { vec![(1, 0.9)] });
    assert!(out.iter().all(|f| f.people.len() == 1));
    // A hole that lasts too long stays, however few its frames.
    let slow: Vec<f64> = (0..8).map(|f| f64::from(f) * 0.6).collect();
    let out = run(GapOptions::default(), &slow, |i| if i == 3 { vec![] } else { vec![(1, 0.9)] });
    assert!(out[3].people.is_empty());
}

#[test]
fn timestamps_that_do_not_run_forward_fall_back_to_frames() {
    let mut filler = GapFiller::new(GapOptions::default());
    let mut out = filler.push(frame(0, 1.0, &[(1, 0.9)]));
    for i in 1..4 {
        out.extend(filler.push(frame(i, 1.0, &[])));
    }
    let mut last = frame(4, 1.0, &[(1, 0.9)]);
    last.people[0].pose = At(1500.0);
    out.extend(filler.push(last));
    let positions: Vec<f64> = out.iter().map(|f| f.people[0].pose.0).collect();
    assert_eq!(positions, [1100.0, 1200.0, 1300.0, 1400.0, 1500.0]);
}

#[test]
fn frames_leave_as_soon_as_they_can() {
    let mut filler = GapFiller::new(GapOptions::default());
    assert_eq!(filler.push(frame(0, 0.0, &[(1, 0.9)])).len(), 1, "a frame in which nobody is missing does not wait");
    for i in 1..=10 {
        assert!(filler.push(frame(i, i as f64 / 30.0, &[])).is_empty());
    }
    assert_eq!(filler.held(), 10);
    assert_eq!(filler.push(frame(11, 11.0 / 30.0, &[])).len(), 11, "the hole is too long now, whoever comes");
    assert_eq!(filler.push(frame(12, 12.0 / 30.0, &[])).len(), 1);

    filler.push(frame(13, 13.0 / 30.0, &[(1, 0.9)]));
    assert!(filler.push(frame(14, 14.0 / 30.0, &[])).is_empty());
    filler.end_track(1);
    assert_eq!(filler.push(frame(15, 15.0 / 30.0, &[])).len(), 2, "nobody waits for a track that is over");

    let mut off = GapFiller::new(GapOptions { max_frames: 0, ..GapOptions::default() });
    for i in 0..5 {
        let seen = if i == 2 { vec![] } else { vec![(1, 0.9)] };
        let out = off.push(frame(i, i as f64 / 30.0, &seen));
        assert_eq!((out.len(), out[0].people.len()), (1, seen.len()));
    }
}

#[test]
fn memory_does_not_grow_with_the_tracks_that_have_been() {
    let mut filler = GapFiller::new(GapOptions::default());
    for i in 0..30_000u64 {
        // somebody new every third frame, gone in the next
        let seen = if i % 3 == 0 { vec![(i as TrackId, 0.9)] } else { vec![] };
        filler.push(frame(i, i as f64 / 30.0, &seen));
        assert!(filler.held() <= 10 && filler.waiting() <= 5, "{} {}", filler.held(), filler.waiting());
    }
}

#[test]
fn landmarks_are_interpolated() {
    let landmarks = |x: f32, presence: f32, rotation: f32| Landmarks {
        presence,
        image: [[x, 2.0 * x]; LANDMARKS],
        depth: [x; LANDMARKS],
        visibility: [presence; LANDMARKS],
        world: [[x, 0.0, -x]; LANDMARKS],
        alignment: [[x, x], [x, 0.0]],
        roi: Roi { center: [x, x], side: 100.0 + x, rotation },
    };
    let middle = landmarks(0.0, 0.9, 3.0).lerp(&landmarks(10.0, 0.6, -3.0), 0.25);
    assert_eq!((middle.presence, middle.visibility[3]), (0.6, 0.6));
    assert_eq!((middle.image[32], middle.depth[1], middle.world[5]), ([2.5, 5.0], 2.5, [2.5, 0.0, -2.5]));
    assert_eq!((middle.alignment[0], middle.roi.side), ([2.5, 2.5], 102.5));
    assert!(middle.roi.rotation.abs() > 3.0, "the short way round: {}", middle.roi.rotation);
}
