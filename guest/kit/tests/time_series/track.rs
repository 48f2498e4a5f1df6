//! Identities through crossings, occlusions, jumps, comings and goings.

use crate::people::{Noise, ids, sight};
use halfpipe_kit::movenet::Rect;
use halfpipe_kit::track::{Observation, Outcome, RemovedReason, TrackOptions, TrackState, Tracker};

const FPS: f64 = 30.0;
const FRAME: (u32, u32) = (1280, 720);

fn tracker() -> Tracker {
    Tracker::new(FRAME, TrackOptions::default())
}

/// Two people who walk through each other's picture between these times; the farther one is hidden while they overlap. In `doubled`
/// runs the hidden one's crop shows the nearer one, as the landmark network does.
fn crossing(times: &[f64], speed: f32, doubled: bool) {
    let (mut tracker, mut noise) = (tracker(), Noise(5));
    let mut hidden_frames = 0;
    for (f, &t) in times.iter().enumerate() {
        let way = speed * (t - times[0]) as f32;
        let half = speed * (times[times.len() - 1] - times[0]) as f32 / 2.0;
        let (near, far) = (640.0 - half + way, 640.0 + half - way);
        let phase = 6.0 * t as f32;
        let mut seen = vec![Observation { hint: Some(1), ..sight(near, 600.0, 260.0, phase, &mut noise, 2.0) }];
        let hidden = (near - far).abs() < 60.0;
        if !hidden {
            seen.push(sight(far, 590.0, 240.0, phase + 1.0, &mut noise, 2.0));
        } else if doubled {
            seen.push(Observation { hint: Some(2), ..sight(near, 600.0, 260.0, phase, &mut noise, 2.0) });
        }
        let update = tracker.update(t, &seen);
        hidden_frames += u32::from(hidden);
        assert!(update.removed.is_empty(), "frame {f}: {:?}", update.removed);
        assert_eq!(update.outcomes[0], Outcome::Confirmed(1), "frame {f}");
        if !hidden {
            assert_eq!(update.outcomes[1], Outcome::Confirmed(2), "frame {f}");
        } else if doubled {
            assert_eq!(update.outcomes[1], Outcome::Ghost(1), "frame {f}: the nearer person counts once");
        }
    }
    assert!(hidden_frames >= 4, "{hidden_frames}");
    assert_eq!(tracker.confirmed(), 2);
}

#[test]
fn who_cross_keep_their_ids() {
    let times: Vec<f64> = (0..120).map(|f| f64::from(f) / FPS).collect();
    for doubled in [false, true] {
        for speed in [100.0, 180.0, 300.0] {
            crossing(&times, speed, doubled);
        }
    }
}

#[test]
fn who_cross_at_a_variable_frame_rate_keep_their_ids() {
    let spacing = [0.033, 0.033, 0.1, 0.02, 0.05, 0.012, 0.08, 0.04];
    let mut t = 7.25;
    let times: Vec<f64> = (0..80)
        .map(|f| {
            t += spacing[f % spacing.len()];
            t
        })
        .collect();
    crossing(&times, 150.0, false);
    crossing(&times, 150.0, true);
}

#[test]
fn an_occlusion_of_0_6_seconds_keeps_the_id_and_one_of_2_seconds_does_not() {
    for (hidden_for, same) in [(0.6, true), (2.0, false)] {
        let (mut tracker, mut noise) = (tracker(), Noise(9));
        let mut last = None;
        let mut gone = Vec::new();
        for f in 0..150 {
            let t = f64::from(f) / FPS;
            let x = 200.0 + 160.0 * t as f32;
            let hidden = (1.0..1.0 + hidden_for).contains(&t);
            let seen = if hidden { vec![] } else { vec![sight(x, 600.0, 250.0, 6.0 * t as f32, &mut noise, 2.0)] };
            let update = tracker.update(t, &seen);
            gone.extend(update.removed.iter().map(|r| (r.id, r.reason)));
            if hidden {
                let state = tracker.people().next().map(|p| p.1);
                assert!(matches!(state, Some(TrackState::Lost) | None));
                assert!(!tracker.is_anyone_visible());
            } else {
                last = ids(&update)[0];
            }
        }
        assert_eq!(last, Some(if same { 1 } else { 2 }), "hidden for {hidden_for} s");
        assert_eq!(gone, if same { vec![] } else { vec![(1, RemovedReason::Gone)] });
    }
}

#[test]
fn who_is_hidden_is_expected_further_on_and_not_where_last_seen() {
    // When the walker steps out of hiding somebody of the same looks stands where the walker was last seen.
    let (mut tracker, mut noise) = (tracker(), Noise(15));
    for f in 0..60 {
        let t = f64::from(f) / FPS;
        let place = |t: f64| 200.0 + 240.0 * t as f32;
        let seen = match f {
            0..30 => vec![sight(place(t), 600.0, 250.0, 6.0 * t as f32, &mut noise, 2.0)],
            30..48 => vec![],
            _ => [place(29.0 / FPS), place(t)].map(|x| sight(x, 600.0, 250.0, 6.0 * t as f32, &mut noise, 2.0)).to_vec(),
        };
        let found = ids(&tracker.update(t, &seen));
        if f >= 48 {
            assert_eq!(found, [Some(2), Some(1)], "frame {f}");
        }
    }
}

#[test]
fn a_jumper_keeps_the_id_through_the_air() {
    // 1.2 s of flight, beside two people who stand; 0.3 s without a sight at take-off, on top, and on the way down.
    let height = 220.0;
    let gravity = 9.81 / 1.75 * height;
    for blind_from in [0.05f32, 0.45, 0.85] {
        let (mut tracker, mut noise) = (tracker(), Noise(21));
        for f in 0..100 {
            let t = f as f32 / FPS as f32;
            let air = t - 1.0;
            let flying = (0.0..1.2).contains(&air);
            let rise = if flying { gravity * air * (1.2 - air) / 2.0 } else { 0.0 };
            let x = 300.0 + 120.0 * t;
            let blind = (blind_from..blind_from + 0.3).contains(&air);
            let mut seen = vec![sight(330.0, 640.0, 230.0, 0.0, &mut noise, 2.0), sight(650.0, 640.0, 210.0, 0.0, &mut noise, 2.0)];
            if !blind {
                seen.push(sight(x, 700.0 - rise, height, 1.0, &mut noise, 2.0));
            }
            let found = ids(&tracker.update(f64::from(t), &seen));
            // Names go by size at first sight: the jumper, in mid-stride, is the largest.
            assert_eq!(found, [Some(2), Some(3), Some(1)][..seen.len()], "frame {f}, {air} s in the air");
        }
    }
}

#[test]
fn who_come_one_after_another_get_new_ids() {
    let (mut tracker, mut noise) = (tracker(), Noise(2));
    let mut found = Vec::new();
    for f in 0..(3 * 105) {
        let (visit, within) = (f / 105, f % 105);
        let seen = if within < 60 {
            vec![sight(100.0 + 6.0 * within as f32, 500.0, 200.0 + 10.0 * visit as f32, within as f32 / 5.0, &mut noise, 1.5)]
        } else {
            vec![]
        };
        let update = tracker.update(f64::from(f) / FPS, &seen);
        found.extend(ids(&update).into_iter().flatten().map(|id| (visit, id)));
    }
    found.dedup();
    assert_eq!(found, [(0, 1), (1, 2), (2, 3)], "one id a visit, counted from 1, never used again");
    assert_eq!(tracker.confirmed(), 3);
    assert_eq!(tracker.people().count(), 0);
}

#[test]
fn one_person_seen_twice_counts_once() {
    let (mut tracker, mut noise) = (tracker(), Noise(3));
    for f in 0..60 {
        let x = 300.0 + 4.0 * f as f32;
        let mut seen: Vec<_> = (0..3).map(|_| sight(x, 600.0, 250.0, 0.0, &mut noise, 2.0)).collect();
        seen[1].score = 0.95;
        seen[2].hint = Some(1);
        let update = tracker.update(f64::from(f) / FPS, &seen);
        let confirmed = update.outcomes.iter().filter(|o| **o == Outcome::Confirmed(1)).count();
        let ghosts = update.outcomes.iter().filter(|o| **o == Outcome::Ghost(1)).count();
        assert_eq!((confirmed, ghosts), (1, 2), "{:?}", update.outcomes);
        if f > 0 {
            assert_eq!(update.outcomes[2], Outcome::Confirmed(1), "the sight from the person's own crop is the one that counts");
        }
    }
    assert_eq!(tracker.confirmed(), 1);
}

#[test]
fn what_only_the_crop_of_somebody_known_shows_is_nobody_new() {
    for hint in [Some(1), None] {
        let (mut tracker, mut noise) = (tracker(), Noise(21));
        for f in 0..10 {
            tracker.update(f64::from(f) / FPS, &[sight(600.0, 600.0, 300.0, 0.0, &mut noise, 2.0)]);
        }
        // curled up in the air: a third as large as a moment ago
        let curled = Observation { hint, ..sight(600.0, 500.0, 90.0, 0.0, &mut noise, 1.0) };
        let outcome = tracker.update(10.0 / FPS, &[curled]).outcomes[0];
        let (expected, people) = if hint.is_some() { (Outcome::Ignored, 1) } else { (Outcome::Confirmed(2), 2) };
        assert_eq!((outcome, tracker.confirmed()), (expected, people), "{hint:?}");
        let standing = Observation { hint: Some(1), ..sight(600.0, 600.0, 300.0, 0.0, &mut noise, 2.0) };
        assert_eq!(tracker.update(11.0 / FPS, &[standing]).outcomes, [Outcome::Confirmed(1)]);
    }
}

#[test]
fn a_second_sight_that_differs_for_a_frame_is_nobody_and_one_that_stays_is_somebody() {
    for stays in [false, true] {
        let (mut tracker, mut noise) = (tracker(), Noise(22));
        for f in 0..10 {
            let mut seen = vec![sight(600.0, 600.0, 300.0, 0.0, &mut noise, 2.0)];
            if f == 5 || (stays && f > 5) {
                // beside the first one, over most of the same ground, and in another pose
                let mut beside = sight(612.0, 600.0, 290.0, 2.0, &mut noise, 2.0);
                beside.keypoints.iter_mut().for_each(|k| k.x = 1224.0 - k.x + 25.0);
                assert!((0.5..0.85).contains(&beside.bbox.iou(&seen[0].bbox)));
                seen.push(beside);
            }
            let update = tracker.update(f64::from(f) / FPS, &seen);
            assert_eq!(update.outcomes[0], Outcome::Confirmed(1), "frame {f}");
            let expected = [Outcome::Tentative(2), Outcome::Confirmed(2)];
            if seen.len() == 2 {
                assert_eq!(update.outcomes[1], expected[usize::from(f > 5)], "frame {f}");
            }
        }
        assert_eq!(tracker.confirmed(), if stays { 2 } else { 1 });
    }
}

/// A person of whom at first two halves are taken for two people; from the tenth frame on both crops show the whole.
fn halves(hint_of_whole: u32) -> (Tracker, Vec<(u32, RemovedReason)>, Vec<Outcome>) {
    let (mut tracker, mut noise) = (tracker(), Noise(4));
    let (mut gone, mut last) = (Vec::new(), Vec::new());
    for f in 0..60 {
        let whole = || sight(400.0, 600.0, 300.0, 0.0, &mut Noise(f), 2.0);
        let seen = if f < 10 {
            let part = |low: f32, high: f32, noise: &mut Noise| {
                let mut o = sight(400.0, 600.0, 300.0, 0.0, noise, 2.0);
                o.bbox = Rect::new(o.bbox.x0, 600.0 - high, o.bbox.x1, 600.0 - low);
                o.keypoints.iter_mut().filter(|k| !(low..high).contains(&(600.0 - k.y))).for_each(|k| k.score = 0.0);
                o
            };
            vec![part(130.0, 320.0, &mut noise), part(0.0, 130.0, &mut noise)]
        } else {
            vec![Observation { hint: Some(hint_of_whole), ..whole() }]
        };
        let update = tracker.update(f as f64 / FPS, &seen);
        if f == 9 {
            assert_eq!(ids(&update), [Some(1), Some(2)], "two tracks to start with");
        }
        if f >= 10 {
            assert_eq!(update.outcomes.iter().filter(|o| o.id().is_some()).count(), 1);
        }
        gone.extend(update.removed.iter().map(|r| (r.id, r.reason)));
        last = update.outcomes;
    }
    (tracker, gone, last)
}

#[test]
fn two_tracks_on_one_person_become_one_and_the_younger_is_flagged() {
    for hint in [1, 2] {
        let (tracker, gone, last) = halves(hint);
        assert_eq!(gone, [(2, RemovedReason::Ghost { of: 1 })], "hint {hint}");
        assert_eq!(last, [Outcome::Confirmed(1)], "the older one stays, whichever saw the person last");
        assert_eq!(tracker.confirmed(), 1, "a ghost was nobody");
        assert_eq!(tracker.people().map(|p| (p.0, p.1)).collect::<Vec<_>>(), [(1, TrackState::Confirmed)]);
    }
}

#[test]
fn the_most_confident_and_largest_are_kept_and_stay() {
    let options = TrackOptions { max_people: 3, ..TrackOptions::default() };
    let (mut tracker, mut noise) = (Tracker::new(FRAME, options), Noise(6));
    let heights = [120.0, 300.0, 200.0, 260.0, 90.0];
    let mut scene = |extra: Option<f32>| {
        let all = heights.iter().copied().chain(extra).enumerate();
        all.map(|(i, h)| sight(120.0 + 200.0 * i as f32, 650.0, h, 0.0, &mut noise, 1.0)).collect::<Vec<_>>()
    };
    let places = |ids: Vec<Option<u32>>| ids.iter().enumerate().filter(|(_, id)| id.is_some()).map(|(i, _)| i).collect::<Vec<_>>();
    for f in 0..30 {
        let found = ids(&tracker.update(f64::from(f) / FPS, &scene(None)));
        assert_eq!(places(found), [1, 2, 3], "frame {f}");
    }
    // A little larger than the smallest one tracked: stays out, so that nobody flickers.
    let found = ids(&tracker.update(1.0, &scene(Some(230.0))));
    assert_eq!(places(found), [1, 2, 3]);
    // Far larger: takes the place.
    let update = tracker.update(1.0 + 1.0 / FPS, &scene(Some(420.0)));
    assert_eq!(places(ids(&update)), [1, 3, 5]);
    assert_eq!(update.removed.iter().map(|r| r.reason).collect::<Vec<_>>(), [RemovedReason::Crowded]);
}

#[test]
fn twenty_people_keep_their_ids_in_a_crowd() {
    let (mut tracker, mut noise) = (tracker(), Noise(8));
    let home = |i: usize| (90.0 + 120.0 * (i % 10) as f32, 330.0 + 330.0 * (i / 10) as f32);
    let mut names = [None; 20];
    let mut sights = 0;
    for f in 0..600 {
        let t = f64::from(f) / FPS;
        let mut who = Vec::new();
        let mut seen = Vec::new();
        for i in 0..20 {
            let (x, y) = home(i);
            let wave = t as f32 * (1.0 + 0.05 * i as f32) + i as f32;
            let missing = f > 0 && noise.next() > 0.9;
            if !missing {
                who.push(i);
                seen.push(sight(x + 45.0 * wave.sin(), y + 10.0 * wave.cos(), 240.0, 5.0 * wave, &mut noise, 2.5));
            }
        }
        let update = tracker.update(t, &seen);
        assert!(update.removed.is_empty(), "frame {f}");
        for (i, id) in who.into_iter().zip(ids(&update)) {
            let name = names[i].get_or_insert(id);
            // While neighbours stand closely together one may pass for the other's ghost; nobody's name changes.
            assert!(id.is_none() || id == *name, "frame {f}: {i} was {name:?} and is {id:?}");
            sights += u32::from(id.is_some());
        }
    }
    assert_eq!(tracker.confirmed(), 20);
    assert!(sights > 600 * 20 * 9 / 10, "{sights}");
}

#[test]
fn noise_and_badly_scored_sights_are_never_confirmed() {
    let (mut tracker, mut noise) = (tracker(), Noise(10));
    for f in 0..300 {
        let mut seen = Vec::new();
        // Anywhere, with the presence that crops without a person get; and some that pass the threshold, once in a place.
        for score in [0.05, 0.2, 0.45, 0.49, if f % 3 == 0 { 0.65 } else { 0.45 }] {
            let (x, y) = (640.0 + 600.0 * noise.next(), 360.0 + 340.0 * noise.next());
            seen.push(Observation { score, ..sight(x, y, 150.0 + 60.0 * noise.next(), 0.0, &mut noise, 5.0) });
        }
        // A thing that always looks a little like a person.
        seen.push(Observation { score: 0.45, ..sight(1000.0, 600.0, 200.0, 0.0, &mut noise, 1.0) });
        let update = tracker.update(f64::from(f) / FPS, &seen);
        assert!(update.outcomes.iter().all(|o| !matches!(o, Outcome::Confirmed(_))), "frame {f}: {:?}", update.outcomes);
        assert!(update.removed.iter().all(|r| !r.confirmed));
    }
    assert_eq!(tracker.confirmed(), 0);
    assert!(!tracker.is_anyone_visible());
}

#[test]
fn somebody_unsure_is_confirmed_by_being_seen_again() {
    let (mut tracker, mut noise) = (tracker(), Noise(11));
    let mut sight = |score| Observation { score, ..sight(600.0, 600.0, 200.0, 0.0, &mut noise, 1.0) };
    let mut see = |t, score| tracker.update(t, &[sight(score)]).outcomes[0];
    assert_eq!(see(0.0, 0.55), Outcome::Tentative(1));
    assert_eq!(see(0.03, 0.55), Outcome::Tentative(1));
    assert_eq!(see(0.07, 0.55), Outcome::Confirmed(1));
    assert_eq!(see(0.10, 0.42), Outcome::Confirmed(1), "somebody known may score less");
    assert_eq!(see(0.13, 0.3), Outcome::Ignored);
}

#[test]
fn a_slow_recording_keeps_ids_over_its_long_pauses() {
    let (mut tracker, mut noise) = (tracker(), Noise(12));
    for f in 0..10 {
        let seen = [
            sight(400.0 + 20.0 * noise.next(), 600.0, 250.0, 0.0, &mut Noise(f), 2.0),
            sight(800.0 + 20.0 * noise.next(), 600.0, 240.0, 0.0, &mut Noise(f + 50), 2.0),
        ];
        assert_eq!(ids(&tracker.update(2.0 * f as f64, &seen)), [Some(1), Some(2)], "frame {f}");
    }
}

#[test]
fn predictions_and_assignments_change_nothing() {
    let (mut tracker, mut noise) = (tracker(), Noise(13));
    for f in 0..30 {
        tracker.update(f64::from(f) / FPS, &[sight(200.0 + 5.0 * f as f32, 600.0, 250.0, 0.0, &mut noise, 1.0)]);
    }
    let predicted = tracker.predict(31.0 / FPS);
    assert_eq!(predicted.len(), 1);
    let [x, _] = predicted[0].bbox.center();
    assert!((x - 355.0).abs() < 6.0, "{x}");
    assert!((predicted[0].roi.center[0] - 355.0).abs() < 6.0 && predicted[0].fault.is_none());
    let candidates = [
        sight(700.0, 600.0, 250.0, 0.0, &mut noise, 1.0),
        sight(356.0, 600.0, 250.0, 0.0, &mut noise, 1.0),
        sight(352.0, 600.0, 250.0, 0.0, &mut noise, 1.0),
    ];
    assert_eq!(tracker.assign(31.0 / FPS, &candidates), [None, Some(1), Some(1)]);
    assert_eq!(tracker.predict(31.0 / FPS), predicted);
    // Who has left the frame has a crop with a fault.
    let mut leaving = Tracker::new(FRAME, TrackOptions::default());
    for f in 0..45 {
        leaving.update(f64::from(f) / FPS, &[sight(1280.0 - 260.0 + 9.0 * f as f32, 600.0, 250.0, 0.0, &mut noise, 1.0)]);
    }
    assert!(leaving.predict(45.0 / FPS)[0].fault.is_some());
}

#[test]
fn odd_input_is_ignored() {
    let (mut tracker, mut noise) = (tracker(), Noise(14));
    let good = sight(600.0, 600.0, 200.0, 0.0, &mut noise, 1.0);
    let mut broken = [good.clone(), good.clone(), good.clone(), good.clone()];
    broken[0].bbox.x0 = f32::NAN;
    broken[1].score = f32::NAN;
    broken[2].roi.side = 0.0;
    broken[3].keypoints[4].y = f32::INFINITY;
    assert!(tracker.update(f64::NAN, &broken).outcomes.iter().all(|o| *o == Outcome::Ignored));
    assert_eq!(tracker.update(1.0, std::slice::from_ref(&good)).outcomes, [Outcome::Confirmed(1)]);
    for t in [1.0, 0.5, f64::NAN, f64::NEG_INFINITY, 1.0] {
        assert_eq!(tracker.update(t, std::slice::from_ref(&good)).outcomes, [Outcome::Confirmed(1)], "time {t}");
    }
    assert!(tracker.predict(f64::INFINITY)[0].bbox.is_finite());
    assert!(tracker.update(1.1, &[]).outcomes.is_empty());
}
