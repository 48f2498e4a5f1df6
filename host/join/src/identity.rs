//! Who is who across windows: tracks of two windows that stand for one person are paired by the frames that both windows saw.

use std::collections::BTreeMap;

use halfpipe_kit::movenet::Rect;
use halfpipe_kit::poses::{JOINTS, Person};
use halfpipe_kit::track::assign;

/// Two sights are as likely of two people as of one at this similarity.
const EVEN: f64 = 0.5;
/// Spread of a joint in units of the person's size, for the key-point similarity: that of COCO's hips (`2 * 0.107`), which its
/// annotators place least exactly.
const SPREAD: f64 = 0.214;

/// Somebody in one frame, as one window saw them.
#[derive(Debug, Clone, PartialEq)]
pub struct Sight {
    /// Track number in that window.
    pub track: u32,
    /// `[x, y, width, height]`, pixels.
    pub bbox: [f32; 4],
    /// Joints of the posed body, where there is one.
    pub joints: Option<Joints>,
}

/// Joints of a posed body.
#[derive(Debug, Clone, PartialEq)]
pub struct Joints {
    /// `[x, y]`, pixels.
    pub px: [[f32; 2]; JOINTS],
    /// `[x, y, z]`, metres, camera axes.
    pub camera: [[f32; 3]; JOINTS],
}

impl Sight {
    /// What a pose file says of a person.
    #[must_use]
    pub fn of(person: &Person) -> Self {
        let joints = person.pose.as_ref().map(|p| Joints { px: p.joints2d, camera: p.joints3d });
        Self { track: person.track, bbox: person.bbox, joints }
    }

    fn rect(&self) -> Rect {
        let [x, y, width, height] = self.bbox;
        Rect::new(x, y, x + width, y + height)
    }

    /// How alike two sights in one frame are, 0 to 1: object key-point similarity (COCO) of the joints where both have a pose, else the
    /// boxes' intersection over union.
    #[must_use]
    pub fn similarity(&self, other: &Self) -> f64 {
        let (a, b) = (self.rect(), other.rect());
        let (Some(p), Some(q)) = (&self.joints, &other.joints) else { return f64::from(a.iou(&b)) };
        let variance = f64::from(a.area().max(b.area())) * SPREAD * SPREAD;
        if variance <= 0.0 {
            return 0.0;
        }
        let squared = |(p, q): (&[f32; 2], &[f32; 2])| f64::from(p[0] - q[0]).powi(2) + f64::from(p[1] - q[1]).powi(2);
        p.px.iter().zip(&q.px).map(|pair| (-squared(pair) / (2.0 * variance)).exp()).sum::<f64>() / JOINTS as f64
    }
}

/// Pairs the tracks of two windows. `shared` holds the frames that both saw, as the earlier and as the later window saw them.
///
/// Two tracks gain their similarity less [`EVEN`] in every frame that has both, and the pairs with the greatest gain in all are made
/// (Hungarian method); pairs without a gain are not.
#[must_use]
pub fn pair(shared: &[(Vec<Sight>, Vec<Sight>)]) -> Vec<(u32, u32)> {
    let mut gains: BTreeMap<(u32, u32), f64> = BTreeMap::new();
    for (earlier, later) in shared {
        for a in earlier {
            for b in later {
                *gains.entry((a.track, b.track)).or_default() += a.similarity(b) - EVEN;
            }
        }
    }
    let distinct =
        |tracks: &mut dyn Iterator<Item = u32>| tracks.collect::<std::collections::BTreeSet<u32>>().into_iter().collect::<Vec<u32>>();
    let rows = distinct(&mut gains.keys().map(|(a, _)| *a));
    let columns = distinct(&mut gains.keys().map(|(_, b)| *b));
    let most = gains.values().copied().fold(0.0, f64::max);
    if most <= 0.0 {
        return Vec::new();
    }
    // a gain of nothing costs 1, as does staying alone
    let cost = |a: u32, b: u32| 1.0 - gains.get(&(a, b)).copied().unwrap_or(0.0).max(0.0) / most;
    let costs: Vec<f64> = rows.iter().flat_map(|&a| columns.iter().map(move |&b| (a, b))).map(|(a, b)| cost(a, b)).collect();
    let pairs = assign(&costs, rows.len(), columns.len(), 1.0);
    rows.iter().zip(pairs).filter_map(|(&a, column)| Some((a, columns[column?]))).collect()
}

/// Numbers for everybody in all windows, from 1 in the order in which people appear, without holes.
///
/// `appearances[k]` are the tracks of window `k` in the order in which they appear in its own frames; `links[k]` are the pairs
/// between window `k` and the one after it. The result gives each window's tracks their numbers.
#[must_use]
pub fn number(appearances: &[Vec<u32>], links: &[Vec<(u32, u32)>]) -> Vec<BTreeMap<u32, u32>> {
    let mut numbers: BTreeMap<(usize, u32), u32> = BTreeMap::new();
    let by_window = appearances.iter().enumerate().map(|(k, tracks)| {
        let number = |&track: &u32| {
            let next = numbers.len() as u32 + 1;
            (track, *numbers.entry(origin(links, k, track)).or_insert(next))
        };
        tracks.iter().map(number).collect()
    });
    by_window.collect()
}

/// The window and the track in it from which a track has been carried on.
fn origin(links: &[Vec<(u32, u32)>], window: usize, track: u32) -> (usize, u32) {
    let (mut at, mut track) = (window, track);
    while let Some((before, _)) = at.checked_sub(1).and_then(|k| links.get(k)?.iter().find(|(_, later)| *later == track)) {
        (at, track) = (at - 1, *before);
    }
    (at, track)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Somebody upright at `x`, 100 pixels high.
    fn sight(track: u32, x: f32, posed: bool) -> Sight {
        let px = std::array::from_fn(|j| [x + 3.0 * (j % 5) as f32, 4.0 * j as f32]);
        let joints = posed.then_some(Joints { px, camera: [[0.0; 3]; JOINTS] });
        Sight { track, bbox: [x, 0.0, 40.0, 100.0], joints }
    }

    #[test]
    fn the_same_person_is_alike_and_another_is_not() {
        for posed in [true, false] {
            let one = sight(1, 100.0, posed);
            assert!((one.similarity(&sight(2, 100.0, posed)) - 1.0).abs() < 1e-9);
            assert!(one.similarity(&sight(2, 104.0, posed)) > 0.8);
            assert!(one.similarity(&sight(2, 160.0, posed)) < 0.1);
        }
        assert!(sight(1, 0.0, true).similarity(&sight(1, 2.0, false)) > 0.8, "boxes, where only one has a pose");
    }

    #[test]
    fn people_who_pass_each_other_keep_their_numbers() {
        // two people cross; the later window has them in the other order
        let shared: Vec<_> = (0..30)
            .map(|i| {
                let (a, b) = (10.0 * i as f32, 300.0 - 10.0 * i as f32);
                (vec![sight(4, a, true), sight(9, b, true)], vec![sight(1, b + 1.0, true), sight(2, a + 1.0, true)])
            })
            .collect();
        assert_eq!(pair(&shared), [(4, 2), (9, 1)]);
    }

    #[test]
    fn who_was_seen_by_one_window_only_stays_alone() {
        let shared = vec![(vec![sight(1, 0.0, true)], vec![sight(5, 500.0, true)]), (vec![], vec![sight(5, 505.0, true)])];
        assert_eq!(pair(&shared), []);
        assert_eq!(pair(&[]), []);
        // a track that broke in two goes to its longer half
        let broken = |i: usize| (vec![sight(1, 0.0, true)], vec![sight(if i < 8 { 3 } else { 7 }, 0.0, true)]);
        assert_eq!(pair(&(0..30).map(broken).collect::<Vec<_>>()), [(1, 7)]);
    }

    #[test]
    fn numbers_follow_the_order_of_appearance() {
        let numbers = number(&[vec![2, 5], vec![1, 3, 4], vec![1]], &[vec![(5, 3)], vec![(3, 1)]]);
        assert_eq!(numbers[0], BTreeMap::from([(2, 1), (5, 2)]));
        assert_eq!(numbers[1], BTreeMap::from([(1, 3), (3, 2), (4, 4)]));
        assert_eq!(numbers[2], BTreeMap::from([(1, 2)]), "carried through two windows");
        // carried from a track that was seen only beyond the first window's own frames
        assert_eq!(number(&[vec![], vec![6]], &[vec![(8, 6)]])[1], BTreeMap::from([(6, 1)]));
    }
}
