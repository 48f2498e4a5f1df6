//! Batches that wait until all their frames are settled.
//!
//! Frames come in batches and go out in batches, in order, but what a frame holds may be known only later: a gap may still close over
//! it. So batches are held, settled frames are sorted into them, and a batch leaves once it has all of its own.

use std::collections::VecDeque;

use crate::gaps::Frame;

/// A batch of video frames, whatever a host gives for one, with the frames of it that are settled.
#[derive(Debug)]
struct Held<B, T> {
    batch: B,
    length: usize,
    frames: Vec<Frame<T>>,
}

/// Batches in order, the oldest first.
#[derive(Debug)]
pub struct Batches<B, T> {
    held: VecDeque<Held<B, T>>,
}

impl<B, T> Default for Batches<B, T> {
    fn default() -> Self {
        Self { held: VecDeque::new() }
    }
}

impl<B, T> Batches<B, T> {
    /// Holds the next batch of the video, of `length` frames.
    pub fn hold(&mut self, batch: B, length: usize) {
        self.held.push_back(Held { batch, length, frames: Vec::with_capacity(length) });
    }

    /// The batch that was held last.
    #[must_use]
    pub fn last(&self) -> Option<&B> {
        self.held.back().map(|held| &held.batch)
    }

    /// Takes the next settled frames, in the order of the video, and gives the batches that are complete, in order. Frames beyond
    /// those of the held batches are left out.
    pub fn settle(&mut self, frames: Vec<Frame<T>>) -> Vec<(B, Vec<Frame<T>>)> {
        for frame in frames {
            // frames settle in order, so they belong to the first batch that still misses some
            if let Some(held) = self.held.iter_mut().find(|held| held.frames.len() < held.length) {
                held.frames.push(frame);
            }
        }
        let complete = self.held.iter().take_while(|held| held.frames.len() == held.length).count();
        self.held.drain(..complete).map(|held| (held.batch, held.frames)).collect()
    }

    /// How many batches are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(indices: std::ops::Range<u64>) -> Vec<Frame<()>> {
        indices.map(|index| Frame { index, time: index as f64, people: Vec::new() }).collect()
    }

    #[test]
    fn batches_leave_complete_and_in_order_however_frames_settle() {
        let mut batches = Batches::default();
        batches.hold("a", 3);
        assert!(batches.settle(frames(0..2)).is_empty());
        batches.hold("b", 2);
        batches.hold("c", 1);
        assert_eq!(batches.last(), Some(&"c"));
        let left = batches.settle(frames(2..4));
        assert_eq!(left.len(), 1);
        assert_eq!((left[0].0, left[0].1.iter().map(|f| f.index).collect::<Vec<_>>()), ("a", vec![0, 1, 2]));
        let left: Vec<(&str, usize)> = batches.settle(frames(4..6)).into_iter().map(|(b, f)| (b, f.len())).collect();
        assert_eq!(left, [("b", 2), ("c", 1)]);
        assert!(batches.is_empty() && batches.last().is_none());
    }
}
