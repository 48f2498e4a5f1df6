//! People followed by their boxes alone, through frames of which a detector may see only some.
//!
//! For pipelines whose network needs no more than a box: the detector looks at every `stride`th frame and at the last one; in between,
//! each track's box runs straight from one detection to the next. Frames are held back until that is known, fewer than `stride` of them.
//! A person whom the detector looked for and missed is not filled in here: that is a gap of the track ([`crate::gaps`]).

use std::collections::BTreeMap;

use super::{Observation, Outcome, TrackId, TrackOptions, Tracker};
use crate::detector::PersonBox;
use crate::gaps::{Frame, GapFiller, GapOptions, Lerp, Person};
use crate::movenet::Rect;

/// Where somebody is in one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Sight {
    /// The person's box, pixels.
    pub bbox: Rect,
    /// What the detector said, where it saw the person in this frame.
    pub detection: Option<PersonBox>,
}

impl Lerp for Sight {
    fn lerp(&self, end: &Self, part: f64) -> Self {
        Self { bbox: self.bbox.lerp(&end.bbox, part as f32), detection: None }
    }
}

/// One frame, once it is known who is in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Followed {
    /// The people who are believed in. `interpolated` means that the box lies between two detections; a filled box's confidence is the
    /// lower of both ends.
    pub frame: Frame<Sight>,
    /// People seen in this frame who are not believed in yet.
    pub tentative: Vec<(TrackId, PersonBox)>,
    /// Tracks that ended before this frame.
    pub ended: Vec<TrackId>,
}

/// What goes with a frame while it is held.
#[derive(Debug, Default)]
struct Notes {
    tentative: Vec<(TrackId, PersonBox)>,
    ended: Vec<TrackId>,
}

/// Follows people from frame to frame.
#[derive(Debug)]
pub struct Follower {
    stride: u64,
    tracker: Tracker,
    filler: GapFiller<Sight>,
    notes: BTreeMap<u64, Notes>,
    /// Frames so far.
    frames: u64,
    filled: u64,
}

impl Follower {
    /// Nobody yet, in frames of this size (width, height); the detector looks at every `stride`th frame (0 counts as 1).
    #[must_use]
    pub fn new(size: (u32, u32), stride: u64, options: TrackOptions) -> Self {
        let stride = stride.max(1);
        // two detections in turn are joined however slow the recording is
        let between = GapOptions { max_frames: usize::try_from(stride - 1).unwrap_or(usize::MAX), max_seconds: f64::INFINITY };
        let (tracker, filler) = (Tracker::new(size, options), GapFiller::new(between));
        Self { stride, tracker, filler, notes: BTreeMap::new(), frames: 0, filled: 0 }
    }

    /// Whether the detector is to look at the frame that is `ahead` frames after the next one to be pushed. The caller adds the
    /// last frame of the video, so that nobody is lost before the end.
    #[must_use]
    pub fn due(&self, ahead: u64) -> bool {
        (self.frames + ahead).is_multiple_of(self.stride)
    }

    /// Takes the next frame of the video (index, seconds) with what the detector found in it, or `None` where it did not look. Gives
    /// the frames that are settled, in order.
    pub fn push(&mut self, index: u64, time: f64, found: Option<Vec<PersonBox>>) -> Vec<Followed> {
        self.frames += 1;
        let mut people = Vec::new();
        if let Some(found) = found {
            let found: Vec<(PersonBox, Observation)> =
                found.into_iter().filter_map(|p| Observation::from_person(&p).map(|o| (p, o))).collect();
            let observations: Vec<Observation> = found.iter().map(|(_, o)| o.clone()).collect();
            let update = self.tracker.update(time, &observations);
            let mut notes = Notes::default();
            for removed in update.removed {
                self.filler.end_track(removed.id);
                notes.ended.push(removed.id);
            }
            for ((p, _), outcome) in found.into_iter().zip(update.outcomes) {
                match outcome {
                    Outcome::Confirmed(id) => {
                        let (confidence, pose) = (p.score, Sight { bbox: p.bbox, detection: Some(p) });
                        people.push(Person { id, confidence, interpolated: false, pose });
                    }
                    Outcome::Tentative(id) => notes.tentative.push((id, p)),
                    Outcome::Ghost(_) | Outcome::Ignored => {}
                }
            }
            self.notes.insert(index, notes);
        }
        let settled = self.filler.push(Frame { index, time, people });
        self.followed(settled)
    }

    /// Gives the frames that are still held; the video is over.
    pub fn finish(&mut self) -> Vec<Followed> {
        let rest = self.filler.finish();
        self.followed(rest)
    }

    /// Different people so far.
    #[must_use]
    pub fn people(&self) -> u32 {
        self.tracker.confirmed()
    }

    /// Boxes that were filled in between two detections.
    #[must_use]
    pub fn filled(&self) -> u64 {
        self.filled
    }

    fn followed(&mut self, settled: Vec<Frame<Sight>>) -> Vec<Followed> {
        settled
            .into_iter()
            .map(|frame| {
                self.filled += frame.people.iter().filter(|p| p.interpolated).count() as u64;
                let Notes { tentative, ended } = self.notes.remove(&frame.index).unwrap_or_default();
                Followed { frame, tentative, ended }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: (u32, u32) = (640, 480);

    fn walker(frame: u64) -> PersonBox {
        let x = 100.0 + 2.0 * frame as f32;
        PersonBox { score: 0.9 - 0.01 * (frame % 5) as f32, bbox: Rect::new(x, 100.0, x + 60.0, 300.0), keypoints: None }
    }

    /// Runs `frames` frames at 30 a second through a follower; `seen` says whom the detector finds where it looks.
    fn run(stride: u64, frames: u64, seen: impl Fn(u64) -> Vec<PersonBox>) -> (Vec<Followed>, Follower) {
        let mut follower = Follower::new(SIZE, stride, TrackOptions { confirm_hits: 1, ..TrackOptions::default() });
        let mut out = Vec::new();
        for f in 0..frames {
            let looked = (follower.due(0) || f + 1 == frames).then(|| seen(f));
            out.extend(follower.push(f, f as f64 / 30.0, looked));
        }
        out.extend(follower.finish());
        (out, follower)
    }

    #[test]
    fn with_a_stride_every_frame_has_its_box_and_says_where_it_is_from() {
        for (stride, detections, filled) in [(1, 23, 0), (5, 6, 17), (100, 2, 21)] {
            let (out, follower) = run(stride, 23, |f| vec![walker(f)]);
            assert_eq!(out.iter().map(|f| f.frame.index).collect::<Vec<_>>(), (0..23).collect::<Vec<_>>());
            let mut seen = 0;
            for Followed { frame, .. } in &out {
                let [person] = &frame.people[..] else { panic!("one person in frame {}", frame.index) };
                assert_eq!((person.id, person.interpolated), (1, person.pose.detection.is_none()));
                seen += u64::from(!person.interpolated);
                let expected = walker(frame.index).bbox;
                assert!((person.pose.bbox.x0 - expected.x0).abs() < 1e-3 && (person.pose.bbox.x1 - expected.x1).abs() < 1e-3);
            }
            assert_eq!((seen, follower.filled(), follower.people()), (detections, filled, 1), "stride {stride}");
        }
    }

    #[test]
    fn somebody_the_detector_looked_for_and_missed_stays_missing() {
        let (out, _) = run(5, 21, |f| if f == 10 { vec![] } else { vec![walker(f)] });
        let missing: Vec<u64> = out.iter().filter(|f| f.frame.people.is_empty()).map(|f| f.frame.index).collect();
        assert_eq!(missing, (6..15).collect::<Vec<_>>());
        assert!(out.iter().all(|f| f.frame.people.iter().all(|p| p.id == 1)), "and comes back under the same number");
    }

    #[test]
    fn frames_are_held_no_longer_than_a_stride() {
        let mut follower = Follower::new(SIZE, 4, TrackOptions::default());
        let mut left = 0;
        for f in 0..40u64 {
            assert_eq!(follower.due(0), f % 4 == 0);
            assert_eq!(follower.due(3), (f + 3) % 4 == 0);
            left += follower.push(f, f as f64 / 30.0, follower.due(0).then(|| vec![walker(f)])).len() as u64;
            assert!(f + 1 - left < 4, "frame {f}: {left} have left");
        }
    }

    #[test]
    fn a_weak_sight_carries_somebody_on_and_makes_nobody_new() {
        let options = TrackOptions { keep_score: 0.1, new_score: 0.3, strong_score: 0.5, ..TrackOptions::default() };
        let mut follower = Follower::new(SIZE, 1, options);
        let weak = |bbox: Rect| PersonBox { score: 0.12, bbox, keypoints: None };
        for f in 0..60u64 {
            let here = if f < 3 { walker(f) } else { weak(walker(f).bbox) };
            let shadow = weak(Rect::new(500.0, 50.0, 540.0, 150.0));
            let out = follower.push(f, f as f64 / 30.0, Some(vec![here, shadow]));
            let [Followed { frame, tentative, .. }] = &out[..] else { panic!("{out:?}") };
            assert_eq!((frame.people.len(), frame.people[0].id, tentative.len()), (1, 1, 0), "frame {f}");
            assert_eq!(frame.people[0].confidence, if f < 3 { walker(f).score } else { 0.12 }, "it says how weak");
        }
        assert_eq!(follower.people(), 1);
    }

    #[test]
    fn a_doubtful_person_is_told_apart_and_an_end_is_told_in_its_frame() {
        let weak = |f: u64| PersonBox { score: 0.55, ..walker(f) };
        let mut follower = Follower::new(SIZE, 1, TrackOptions { strong_score: 0.9, max_lost: 0.1, ..TrackOptions::default() });
        let mut out = Vec::new();
        for f in 0..12u64 {
            out.extend(follower.push(f, f as f64 / 30.0, Some(if f < 4 { vec![weak(f)] } else { vec![] })));
        }
        let tentative: Vec<usize> = out.iter().map(|f| f.tentative.len()).collect();
        assert_eq!(tentative[..4], [1, 1, 0, 0], "believed in from the third sight on");
        assert_eq!(out[3].frame.people.len(), 1);
        let ended: Vec<u64> = out.iter().filter(|f| !f.ended.is_empty()).map(|f| f.frame.index).collect();
        assert_eq!(ended.len(), 1);
        assert!((7..10).contains(&ended[0]), "a tenth of a second after frame 3: {ended:?}");
    }
}
