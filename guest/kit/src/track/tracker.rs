//! The tracker: one update a frame.

use super::person::Track;
use super::{Observation, Outcome, Predicted, Removed, RemovedReason, TrackId, TrackOptions, TrackState, Update, matching};
use crate::movenet::Rect;

/// Somebody new is preferred to a tracked person only when this much surer and larger.
const REPLACE_FACTOR: f32 = 1.5;
/// Somebody new whose box overlaps that of a person seen in the same frame by more than this is not believed in at once.
const DOUBTFUL_OVERLAP: f32 = 0.5;
/// Two tracks that lived apart for longer than this, seconds, are two people, however they overlap later.
const GHOST_AGE: f64 = 1.5;

/// Follows people through a video.
#[derive(Debug, Clone)]
pub struct Tracker {
    options: TrackOptions,
    frame: (u32, u32),
    tracks: Vec<Track>,
    next_id: TrackId,
    confirmed: u32,
    now: f64,
}

impl Tracker {
    /// A tracker for frames of this size (width, height).
    #[must_use]
    pub fn new(frame: (u32, u32), options: TrackOptions) -> Self {
        Self { options, frame, tracks: Vec::new(), next_id: 1, confirmed: 0, now: f64::NEG_INFINITY }
    }

    /// Where everybody should be at `time` (seconds), oldest first; those out of sight too.
    #[must_use]
    pub fn predict(&self, time: f64) -> Vec<Predicted> {
        let now = self.clock(time);
        self.tracks.iter().filter(|t| !self.expired(t, now)).map(|t| t.predicted(now, self.frame, &self.options.roi)).collect()
    }

    /// Which track each candidate fits, without any update; for telling known people of a detector's output from new ones. Of several
    /// that show one person the first strongest has the id; the others have it too, so that nobody is cropped twice.
    #[must_use]
    pub fn assign(&self, time: f64, candidates: &[Observation]) -> Vec<Option<TrackId>> {
        let now = self.clock(time);
        let usable: Vec<usize> = (0..candidates.len()).filter(|&i| candidates[i].is_valid()).collect();
        let groups = matching::group(candidates, usable);
        let live: Vec<&Track> = self.tracks.iter().filter(|t| !self.expired(t, now)).collect();
        let mut ids = vec![None; candidates.len()];
        for (group, track) in groups.iter().zip(matching::pair(&live, candidates, &groups, now, self.options.new_score)) {
            for &member in group {
                ids[member] = track.map(|k| live[k].id);
            }
        }
        ids
    }

    /// Takes what was seen at `time` (seconds; every frame must be told of, also those in which nobody was seen).
    pub fn update(&mut self, time: f64, observations: &[Observation]) -> Update {
        self.now = self.clock(time);
        let mut update = Update { outcomes: vec![Outcome::Ignored; observations.len()], removed: Vec::new() };
        self.drop_expired(&mut update.removed);
        let usable = (0..observations.len()).filter(|&i| observations[i].is_valid() && observations[i].score >= self.options.keep_score);
        let groups = matching::group(observations, usable.collect());
        let paired = matching::pair(&self.tracks.iter().collect::<Vec<_>>(), observations, &groups, self.now, self.options.new_score);

        let mut seen = vec![false; self.tracks.len()];
        let mut strangers: Vec<&[usize]> = Vec::new();
        for (group, track) in groups.iter().zip(paired) {
            match track {
                Some(k) => {
                    seen[k] = true;
                    let track = &mut self.tracks[k];
                    // Of several sights of one person the one from the person's own crop is the best centred.
                    let member = group.iter().copied().find(|&i| observations[i].hint == Some(track.id)).unwrap_or(group[0]);
                    track.see(&observations[member], self.now, self.frame, &self.options);
                    self.confirmed += track.confirm(&self.options);
                    mark(&mut update.outcomes, group, member, track);
                }
                None => strangers.push(group),
            }
        }
        self.miss(&seen, &mut update.removed);
        self.settle_shadows(&mut update);
        self.admit(observations, &strangers, &mut update);
        update
    }

    /// Everybody tracked: id, state, last box.
    pub fn people(&self) -> impl Iterator<Item = (TrackId, TrackState, Rect)> + '_ {
        self.tracks.iter().map(|t| (t.id, t.state, t.bbox))
    }

    /// How many different people have been confirmed so far (ghosts that were dropped later are taken off).
    #[must_use]
    pub fn confirmed(&self) -> u32 {
        self.confirmed
    }

    /// Whether somebody is seen and believed in right now.
    #[must_use]
    pub fn is_anyone_visible(&self) -> bool {
        self.tracks.iter().any(|t| t.state == TrackState::Confirmed)
    }

    /// Everybody who is followed.
    pub(super) fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    /// Time never runs backwards, and a timestamp that is no number is the last one again.
    fn clock(&self, time: f64) -> f64 {
        if time.is_finite() { time.max(self.now) } else { self.now.max(0.0) }
    }

    /// Only who has already been missed can be gone: in a slow recording two frames may be further apart than `max_lost`.
    fn expired(&self, track: &Track, now: f64) -> bool {
        track.missed_at.is_some() && now - track.seen > self.options.max_lost
    }

    fn drop_expired(&mut self, removed: &mut Vec<Removed>) {
        let (gone, live): (Vec<Track>, Vec<Track>) = std::mem::take(&mut self.tracks).into_iter().partition(|t| self.expired(t, self.now));
        self.tracks = live;
        removed.extend(gone.iter().map(|t| t.removed(RemovedReason::Gone)));
    }

    /// Those not seen go out of sight; who was never confirmed is dropped.
    fn miss(&mut self, seen: &[bool], removed: &mut Vec<Removed>) {
        let mut seen = seen.iter();
        let now = self.now;
        self.tracks.retain_mut(|track| {
            if seen.next().copied().unwrap_or(false) {
                return true;
            }
            if track.state == TrackState::Tentative {
                removed.push(track.removed(RemovedReason::Gone));
                return false;
            }
            track.state = TrackState::Lost;
            track.missed_at.get_or_insert(now);
            true
        });
    }

    /// Finds tracks whose place another track's observation has taken. Either one person hides another, or the two are one person: if
    /// they never lived apart and move alike, the younger is dropped, and the older takes over what it saw.
    fn settle_shadows(&mut self, update: &mut Update) {
        let mut ghosts: Vec<(TrackId, TrackId)> = Vec::new();
        for k in 0..self.tracks.len() {
            let track = &self.tracks[k];
            if track.state != TrackState::Lost {
                continue;
            }
            let (bbox, velocity, now) = (track.predicted_box(self.now), track.motion.velocity(), self.now);
            let covered = |o: &Track| o.bbox.intersection(&bbox) / bbox.area();
            let cover = self.tracks.iter().filter(|o| o.state != TrackState::Lost && covered(o) > matching::SHADOW_COVER);
            let cover = cover.max_by(|a, b| covered(a).total_cmp(&covered(b)));
            let shadow = cover.map(|o| match track.shadow {
                Some((id, since)) if id == o.id => (id, since),
                _ => (o.id, now),
            });
            if let (Some((id, since)), Some(o)) = (shadow, cover) {
                let apart = since - track.born.max(o.born);
                let [vx, vy] = o.motion.velocity();
                let alike = (vx - velocity[0]).hypot(vy - velocity[1]) < f64::from(0.5 * track.size);
                if now - since >= self.options.ghost_after && apart < GHOST_AGE && alike {
                    ghosts.push((track.id, id));
                }
            }
            self.tracks[k].shadow = shadow;
        }
        for (hidden, seen) in ghosts {
            self.merge(hidden, seen, update);
        }
    }

    /// Makes one track of two: the older id stays, with the state of the one that is seen.
    fn merge(&mut self, hidden: TrackId, seen: TrackId, update: &mut Update) {
        let find = |id| self.tracks.iter().position(|t: &Track| t.id == id);
        let (Some(h), Some(s)) = (find(hidden), find(seen)) else {
            return; // an earlier merge of this frame took one of them
        };
        let (keep, drop) = if self.tracks[h].id < self.tracks[s].id { (h, s) } else { (s, h) };
        let (kept, dropped) = (self.tracks[keep].id, self.tracks[drop].removed(RemovedReason::Ghost { of: self.tracks[keep].id }));
        if keep == h {
            let (id, born) = (self.tracks[h].id, self.tracks[h].born);
            self.tracks[h] = self.tracks[s].clone();
            // The older one had been believed in, so whoever it turns out to be is.
            (self.tracks[h].id, self.tracks[h].born, self.tracks[h].state) = (id, born, TrackState::Confirmed);
            for outcome in &mut update.outcomes {
                match *outcome {
                    Outcome::Confirmed(id) | Outcome::Tentative(id) if id == seen => *outcome = Outcome::Confirmed(kept),
                    Outcome::Ghost(id) if id == seen => *outcome = Outcome::Ghost(kept),
                    _ => {}
                }
            }
        }
        self.confirmed -= u32::from(dropped.confirmed);
        update.removed.push(dropped);
        self.tracks.remove(drop);
    }

    /// Starts tracks for those who fit nobody, the surest and largest first, as far as there is room.
    ///
    /// What only the crop of somebody known showed is nobody new, however little it fits: somebody upside down in the air looks half as
    /// large for a frame. If it is another person, the detector finds that one too.
    fn admit(&mut self, observations: &[Observation], strangers: &[&[usize]], update: &mut Update) {
        let known = |i: &usize| self.tracks.iter().any(|track| observations[*i].hint == Some(track.id));
        let new = |g: &&[usize]| observations[g[0]].score >= self.options.new_score && !g.iter().all(known);
        let mut strangers: Vec<&[usize]> = strangers.iter().copied().filter(new).collect();
        strangers.sort_by(|a, b| observations[b[0]].rank().total_cmp(&observations[a[0]].rank()));
        for group in strangers {
            let observation = &observations[group[0]];
            if self.tracks.len() >= self.options.max_people {
                let weakest = self.tracks.iter().enumerate().min_by(|a, b| a.1.rank().total_cmp(&b.1.rank()));
                match weakest {
                    Some((k, track)) if observation.rank() > REPLACE_FACTOR * track.rank() => {
                        let removed = self.tracks.remove(k).removed(RemovedReason::Crowded);
                        for outcome in &mut update.outcomes {
                            if outcome.id() == Some(removed.id) {
                                *outcome = Outcome::Ignored;
                            }
                        }
                        update.removed.push(removed);
                    }
                    _ => continue,
                }
            }
            let mut track = Track::new(self.next_id, observation, self.now, self.frame, &self.options);
            self.next_id += 1;
            // two sights of one person differ now and then; a second person is there in the next frame as well
            let doubtful = self.tracks.iter().any(|t| t.seen >= self.now && t.bbox.iou(&observation.bbox) > DOUBTFUL_OVERLAP);
            if !doubtful {
                self.confirmed += track.confirm(&self.options);
            }
            mark(&mut update.outcomes, group, group[0], &track);
            self.tracks.push(track);
        }
    }
}

/// Writes down that the members of a group show the track, and that one of them is the sight that counts.
fn mark(outcomes: &mut [Outcome], group: &[usize], counts: usize, track: &Track) {
    for &i in group {
        outcomes[i] = match track.state {
            _ if i != counts => Outcome::Ghost(track.id),
            TrackState::Tentative => Outcome::Tentative(track.id),
            TrackState::Confirmed | TrackState::Lost => Outcome::Confirmed(track.id),
        };
    }
}
