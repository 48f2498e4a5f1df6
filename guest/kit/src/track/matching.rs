//! Which observation is whom: grouping of double sights, costs, gates.

use super::TrackState;
use super::assignment::assign;
use super::observation::Observation;
use super::person::Track;
use crate::movenet::{KEYPOINTS, Keypoint, Rect, keypoint_similarity, same_person};

/// Two observations whose boxes overlap by more than this show one person.
const SAME_BOX: f32 = 0.85;
/// A track out of sight of whose predicted box a seen one covers more than this is hidden by it.
pub(super) const SHADOW_COVER: f32 = 0.6;
/// What it costs to leave a track or an observation without a partner; pairs cost less.
const UNMATCHED: f64 = 0.95;
/// Farthest an observation may be from the prediction, in sizes of the person: a constant part, and a part per standard deviation of the
/// prediction, up to a bound beyond which nobody moves.
const GATE: f32 = 0.35;
const GATE_DEVIATIONS: f32 = 3.0;
const GATE_MAX: f32 = 1.5;
/// The bound for tracks not yet believed in: two false alarms somewhere near each other are no person.
const GATE_TENTATIVE: f32 = 0.6;
/// Weights of the parts of a cost, which are 0..=1 each: overlap, pose, distance, size.
const WEIGHTS: [f32; 4] = [0.3, 0.3, 0.3, 0.1];
/// A seen track is preferred to one out of sight by this much, so that who steps out of hiding does not get the other's name.
const LOST_COST: f32 = 0.05;
/// An observation from a seen track's own crop is preferred by this much. The crop of a track out of sight is a guess, and often shows
/// whoever hides it.
const HINT_GAIN: f32 = 0.1;
/// Poses change between frames by more than COCO's annotators differ.
const POSE_SLACK: f32 = 2.0;
/// Shoulders and hips, which move least against the body.
const TORSO: [usize; 4] = [5, 6, 11, 12];
/// Key points below this score do not measure motion.
const MIN_SCORE: f32 = 0.1;

/// Observations (by index) that show one person, grouped, the surest first in each group and among groups.
pub(super) fn group(observations: &[Observation], mut indices: Vec<usize>) -> Vec<Vec<usize>> {
    indices.sort_by(|&a, &b| observations[b].score.total_cmp(&observations[a].score));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for i in indices {
        let o = &observations[i];
        let same = |g: &&mut Vec<usize>| {
            let first = &observations[g[0]];
            same_person((&first.bbox, &first.keypoints), (&o.bbox, &o.keypoints), SAME_BOX)
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(i),
            None => groups.push(vec![i]),
        }
    }
    groups
}

/// The track (index) of each group, at the lowest total cost. Tracks not yet believed in take nothing that scores below `new_score`.
pub(super) fn pair(tracks: &[&Track], observations: &[Observation], groups: &[Vec<usize>], now: f64, new_score: f32) -> Vec<Option<usize>> {
    let mut costs = Vec::with_capacity(groups.len() * tracks.len());
    for group in groups {
        for track in tracks {
            let hinted = track.state != TrackState::Lost && group.iter().any(|&i| observations[i].hint == Some(track.id));
            let o = &observations[group[0]];
            let cost = if track.state == TrackState::Tentative && o.score < new_score { None } else { cost(track, o, now) };
            costs.push(cost.map_or(UNMATCHED, |c| f64::from(c - if hinted { HINT_GAIN } else { 0.0 }).min(UNMATCHED)));
        }
    }
    assign(&costs, groups.len(), tracks.len(), UNMATCHED)
}

/// What it costs to take the observation for the track; `None` where it cannot be.
fn cost(track: &Track, o: &Observation, now: f64) -> Option<f32> {
    let dt = (now - track.seen) as f32;
    let shift = track.shift(now);
    let moved = displacement(&track.keypoints, &track.bbox, o);
    let distance = (moved[0] - shift[0]).hypot(moved[1] - shift[1]) / track.size;
    let deviation = track.motion.deviation(now - track.seen, f64::from(track.size)) as f32 / track.size;
    let growth = (o.bbox.diagonal() / track.size).ln().abs();
    let bound = if track.state == TrackState::Tentative { GATE_TENTATIVE } else { GATE_MAX };
    let fits = distance <= (GATE + GATE_DEVIATIONS * deviation).min(bound) && growth <= std::f32::consts::LN_2 + 0.5 * dt;
    if !fits {
        return None;
    }
    let bbox = track.bbox.shifted(shift);
    let overlap = bbox.iou(&o.bbox);
    let keypoints = track.keypoints.map(|k| Keypoint { x: k.x + shift[0], y: k.y + shift[1], ..k });
    let pose = keypoint_similarity(&keypoints, &o.keypoints, bbox.area().max(o.bbox.area()), POSE_SLACK).unwrap_or(overlap);
    let parts = [1.0 - overlap, 1.0 - pose, distance.min(1.0), (growth / std::f32::consts::LN_2).min(1.0)];
    let lost = if track.state == TrackState::Lost { LOST_COST } else { 0.0 };
    Some(parts.iter().zip(WEIGHTS).map(|(p, w)| p * w).sum::<f32>() + lost)
}

/// How far a person has moved between a last sight (key points and box) and an observation, pixels: the mean way of the torso's key
/// points, or else of all that both sides found, or else of the box.
pub(super) fn displacement(keypoints: &[Keypoint; KEYPOINTS], bbox: &Rect, o: &Observation) -> [f32; 2] {
    let mean = |indices: &mut dyn Iterator<Item = usize>, least: u16| {
        let (mut sum, mut count) = ([0.0f32; 2], 0u16);
        for (a, b) in indices.map(|i| (&keypoints[i], &o.keypoints[i])) {
            if a.score >= MIN_SCORE && b.score >= MIN_SCORE {
                sum = [sum[0] + b.x - a.x, sum[1] + b.y - a.y];
                count += 1;
            }
        }
        (count >= least).then(|| sum.map(|s| s / f32::from(count)))
    };
    mean(&mut TORSO.into_iter(), 2).or_else(|| mean(&mut (0..KEYPOINTS), 3)).unwrap_or_else(|| {
        let (from, to) = (bbox.center(), o.bbox.center());
        [to[0] - from[0], to[1] - from[1]]
    })
}
