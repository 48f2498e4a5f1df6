//! Bounded, flagged interpolation of missing poses.
//!
//! A person that is missing for a few frames and then back as the same track gets poses in between, in time, marked as interpolated and
//! with the lower confidence of both ends. Longer holes stay holes. To know whether somebody comes back, frames are held back while a hole
//! may still close, never more than the longest hole that would be filled; they leave in order, and every frame that went in comes out.

use std::collections::{BTreeMap, VecDeque};

use crate::blazepose::Landmarks;
use crate::track::TrackId;

/// What can be interpolated.
pub trait Lerp: Sized {
    /// The state at `part` (0..=1) of the way from `self` to `end`. Positions run straight; rotations must take the shorter way.
    #[must_use]
    fn lerp(&self, end: &Self, part: f64) -> Self;
}

impl Lerp for Landmarks {
    fn lerp(&self, end: &Self, part: f64) -> Self {
        let s = part as f32;
        let mix = |a: f32, b: f32| a + (b - a) * s;
        Self {
            presence: self.presence.min(end.presence),
            image: std::array::from_fn(|i| std::array::from_fn(|k| mix(self.image[i][k], end.image[i][k]))),
            depth: std::array::from_fn(|i| mix(self.depth[i], end.depth[i])),
            visibility: std::array::from_fn(|i| self.visibility[i].min(end.visibility[i])),
            world: std::array::from_fn(|i| std::array::from_fn(|k| mix(self.world[i][k], end.world[i][k]))),
            alignment: std::array::from_fn(|i| std::array::from_fn(|k| mix(self.alignment[i][k], end.alignment[i][k]))),
            roi: self.roi.lerp(&end.roi, s),
        }
    }
}

/// Which holes are filled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GapOptions {
    /// Longest hole, frames; 0 fills nothing. It is also how many frames may be held back.
    pub max_frames: usize,
    /// Longest time between the two ends of a hole, seconds: ten frames of a slow recording are no short moment.
    pub max_seconds: f64,
}

impl Default for GapOptions {
    fn default() -> Self {
        Self { max_frames: 10, max_seconds: 1.0 }
    }
}

/// Somebody in one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Person<T> {
    /// Who it is; an id stands at most once in a frame.
    pub id: TrackId,
    /// How sure the pose is, 0..=1; for an interpolated one the lower value of both ends.
    pub confidence: f32,
    /// Whether the pose was made up from those before and after.
    pub interpolated: bool,
    /// The pose.
    pub pose: T,
}

/// One frame and who is in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame<T> {
    /// Index in the video; passed through.
    pub index: u64,
    /// Timestamp, seconds.
    pub time: f64,
    /// Those seen, then those interpolated.
    pub people: Vec<Person<T>>,
}

/// Where a track was seen last.
#[derive(Debug, Clone)]
struct End<T> {
    sequence: u64,
    time: f64,
    confidence: f32,
    pose: T,
}

/// Fills holes in a stream of frames.
#[derive(Debug, Clone)]
pub struct GapFiller<T> {
    options: GapOptions,
    held: VecDeque<Frame<T>>,
    /// How many frames went in: the number of the next one.
    sequence: u64,
    /// The last sight of each track that may still come back.
    ends: BTreeMap<TrackId, End<T>>,
}

impl<T: Lerp + Clone> GapFiller<T> {
    /// A filler that has seen nothing.
    #[must_use]
    pub fn new(options: GapOptions) -> Self {
        Self { options, held: VecDeque::new(), sequence: 0, ends: BTreeMap::new() }
    }

    /// Takes the next frame of the video and gives the frames that are settled, in order (often this one, sometimes none). Every frame
    /// counts, also those without people.
    pub fn push(&mut self, frame: Frame<T>) -> Vec<Frame<T>> {
        let (sequence, time) = (self.sequence, frame.time);
        self.sequence += 1;
        for person in &frame.people {
            let end = End { sequence, time, confidence: person.confidence, pose: person.pose.clone() };
            if let Some(start) = self.ends.insert(person.id, end.clone()) {
                self.fill(person.id, &start, &end);
            }
        }
        self.held.push_back(frame);
        self.release(time)
    }

    /// Says that a track is over: its hole will not close, so frames that wait for it can go.
    pub fn end_track(&mut self, id: TrackId) {
        self.ends.remove(&id);
    }

    /// Gives all frames that are still held, in order; the video is over.
    pub fn finish(&mut self) -> Vec<Frame<T>> {
        self.ends.clear();
        self.held.drain(..).collect()
    }

    /// How many frames are held back.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// How many tracks may still come back, those seen in the last frame among them.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.ends.len()
    }

    /// Whether a hole from `start` to a frame of this number and time would be filled.
    fn fits(&self, start: &End<T>, sequence: u64, time: f64) -> bool {
        let missing = sequence.saturating_sub(start.sequence + 1);
        missing <= self.options.max_frames as u64 && time - start.time <= self.options.max_seconds
    }

    /// Puts poses into the held frames between two sights of a track.
    fn fill(&mut self, id: TrackId, start: &End<T>, end: &End<T>) {
        if !self.fits(start, end.sequence, end.time) {
            return;
        }
        // The frames held are the last ones before `end`.
        let first_held = end.sequence - self.held.len() as u64;
        for sequence in (start.sequence + 1).max(first_held)..end.sequence {
            let frame = &mut self.held[(sequence - first_held) as usize];
            let span = end.time - start.time;
            let by_time = (frame.time - start.time) / span;
            // Where timestamps do not run forward, frames count.
            let by_count = (sequence - start.sequence) as f64 / (end.sequence - start.sequence) as f64;
            let part = if span > 0.0 && (0.0..=1.0).contains(&by_time) { by_time } else { by_count };
            let confidence = start.confidence.min(end.confidence);
            frame.people.push(Person { id, confidence, interpolated: true, pose: start.pose.lerp(&end.pose, part) });
        }
    }

    /// Forgets tracks that are away for too long, and gives the frames that nobody can be put into any more.
    fn release(&mut self, time: f64) -> Vec<Frame<T>> {
        // Somebody may at the earliest be back in the next frame.
        let next = self.sequence;
        let mut ends = std::mem::take(&mut self.ends);
        ends.retain(|_, end| self.fits(end, next, time));
        self.ends = ends;
        // The first frame that somebody is missing from.
        let first_open = self.ends.values().map(|end| end.sequence + 1).min().unwrap_or(next);
        let keep = (next.saturating_sub(first_open) as usize).min(self.held.len());
        self.held.drain(..self.held.len() - keep).collect()
    }
}
