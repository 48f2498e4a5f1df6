//! People out of any detector that the catalog describes: boxes with scores and perhaps classes.
//!
//! The contract mirrors the record `detector` of the catalog interface. MoveNet's own heads have a decoder of their own
//! ([`crate::movenet`]), whose detections are people as well.

use crate::movenet::{DecodeError, Detection, KEYPOINTS, Keypoint, Letterbox, Rect, expect_len, same_person};

/// How far a score may lie outside of 0 to 1 and count as rounding.
const SLACK: f32 = 1e-3;

/// What the four numbers of a box are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoxFormat {
    /// Left, top, right, bottom.
    Xyxy,
    /// Top, left, bottom, right.
    Yxyx,
    /// Centre x, centre y, width, height.
    CxCyWh,
}

/// Units of a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoxUnits {
    /// Pixels of the network's input.
    Pixels,
    /// Fractions of the input's width and height.
    Normalized,
}

/// What a detector's outputs mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoxContract {
    /// Order of a box's numbers.
    pub format: BoxFormat,
    /// Unit of a box's numbers.
    pub units: BoxUnits,
    /// The class that means a person.
    pub person: u32,
    /// The network has already dropped boxes that overlap a better one.
    pub suppressed: bool,
}

/// What to take for a person.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoxOptions {
    /// Candidates must score above this, 0..=1.
    pub min_score: f32,
    /// Of two boxes that overlap by more than this (intersection over union) the weaker one is dropped.
    pub max_overlap: f32,
    /// People of a frame, the strongest first.
    pub limit: usize,
}

/// Somebody in a frame, whatever found them.
#[derive(Debug, Clone, PartialEq)]
pub struct PersonBox {
    /// How sure it is, 0..=1.
    pub score: f32,
    /// The person's box, pixels of the frame; it may reach beyond it.
    pub bbox: Rect,
    /// COCO key points, where the detector gives any.
    pub keypoints: Option<[Keypoint; KEYPOINTS]>,
}

impl PersonBox {
    /// The key points as the pose file has them: `[x, y, score]`; empty where there are none.
    #[must_use]
    pub fn keypoint_list(&self) -> Vec<[f32; 3]> {
        self.keypoints.iter().flatten().map(|k| [k.x, k.y, k.score]).collect()
    }
}

impl From<Detection> for PersonBox {
    fn from(d: Detection) -> Self {
        Self { score: d.score, bbox: d.bbox, keypoints: Some(d.keypoints) }
    }
}

/// Scores of a detector, row-major.
#[derive(Debug, Clone, Copy)]
pub enum Scores<'a> {
    /// `[frames, candidates]`, of the class that `classes` (the same shape) names, or of a person where there are no classes.
    Single {
        /// The scores.
        scores: &'a [f32],
        /// Class of each candidate.
        classes: Option<&'a [f32]>,
    },
    /// `[frames, candidates, width]`: one number a class.
    PerClass {
        /// The scores.
        scores: &'a [f32],
        /// Number of classes.
        width: usize,
    },
}

/// Outputs whose sizes have been checked.
#[derive(Debug, Clone, Copy)]
pub struct Boxes<'a> {
    contract: BoxContract,
    candidates: usize,
    frames: usize,
    boxes: &'a [f32],
    scores: Scores<'a>,
}

impl<'a> Boxes<'a> {
    /// Outputs for `frames` frames: `boxes` is `[frames, candidates, 4]`, row-major.
    ///
    /// # Errors
    /// [`DecodeError::Values`] names the output whose length does not fit, [`DecodeError::Class`] a person's class that per-class
    /// scores do not have.
    pub fn new(contract: BoxContract, frames: usize, candidates: usize, boxes: &'a [f32], scores: Scores<'a>) -> Result<Self, DecodeError> {
        let rows = frames.checked_mul(candidates);
        expect_len("boxes", boxes, rows.and_then(|n| n.checked_mul(4)))?;
        match scores {
            Scores::Single { scores, classes } => {
                expect_len("scores", scores, rows)?;
                if let Some(classes) = classes {
                    expect_len("classes", classes, rows)?;
                }
            }
            Scores::PerClass { scores, width } => {
                expect_len("scores", scores, rows.and_then(|n| n.checked_mul(width)))?;
                if contract.person as usize >= width {
                    return Err(DecodeError::Class { person: contract.person, classes: width });
                }
            }
        }
        Ok(Self { contract, candidates, frames, boxes, scores })
    }

    /// The people of one frame, the strongest first. `map` is how the frame lies in the input, `input` the input's width and height.
    ///
    /// # Errors
    /// [`DecodeError::Index`] where there is no such frame, [`DecodeError::Score`] where a score is none (logits, per cent).
    pub fn decode(&self, frame: usize, map: &Letterbox, input: (u32, u32), options: &BoxOptions) -> Result<Vec<PersonBox>, DecodeError> {
        if frame >= self.frames {
            return Err(DecodeError::Index { index: frame, len: self.frames });
        }
        let mut found = Vec::new();
        for row in frame * self.candidates..(frame + 1) * self.candidates {
            let Some(score) = self.score(row).filter(|s| *s > options.min_score) else { continue };
            if score > 1.0 + SLACK {
                return Err(DecodeError::Score { score: score.to_string() });
            }
            let bbox = map.rect_to_frame(&self.rect(row, input));
            if bbox.is_finite() && bbox.area() > 0.0 {
                found.push(PersonBox { score: score.min(1.0), bbox, keypoints: None });
            }
        }
        // nothing overlaps by more than everything
        let max_overlap = if self.contract.suppressed { f32::INFINITY } else { options.max_overlap };
        Ok(merge(found, max_overlap, options.limit))
    }

    /// How sure it is that a candidate is a person; none where it is something else.
    fn score(&self, row: usize) -> Option<f32> {
        match self.scores {
            Scores::Single { scores, classes } => {
                let person = classes.is_none_or(|c| c[row] == self.contract.person as f32);
                person.then(|| scores[row])
            }
            Scores::PerClass { scores, width } => Some(scores[row * width + self.contract.person as usize]),
        }
    }

    /// A candidate's box in pixels of the input.
    fn rect(&self, row: usize, (width, height): (u32, u32)) -> Rect {
        let b = &self.boxes[4 * row..4 * row + 4];
        let rect = match self.contract.format {
            BoxFormat::Xyxy => Rect::new(b[0], b[1], b[2], b[3]),
            BoxFormat::Yxyx => Rect::new(b[1], b[0], b[3], b[2]),
            BoxFormat::CxCyWh => Rect::new(b[0] - b[2] / 2.0, b[1] - b[3] / 2.0, b[0] + b[2] / 2.0, b[1] + b[3] / 2.0),
        };
        match self.contract.units {
            BoxUnits::Pixels => rect,
            BoxUnits::Normalized => {
                let (w, h) = (width as f32, height as f32);
                Rect::new(rect.x0 * w, rect.y0 * h, rect.x1 * w, rect.y1 * h)
            }
        }
    }
}

/// Joins people of one frame, perhaps found at several input sizes: of two that are the same person (boxes overlap by more than
/// `max_overlap`, or key points coincide) the surer one stays. The surest first, at most `limit`.
#[must_use]
pub fn merge(mut found: Vec<PersonBox>, max_overlap: f32, limit: usize) -> Vec<PersonBox> {
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept: Vec<PersonBox> = Vec::new();
    for person in found {
        if kept.len() >= limit {
            break;
        }
        let keypoints = person.keypoints.unwrap_or_default();
        let same = |k: &PersonBox| same_person((&k.bbox, &k.keypoints.unwrap_or_default()), (&person.bbox, &keypoints), max_overlap);
        if person.bbox.is_finite() && !kept.iter().any(same) {
            kept.push(person);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: BoxOptions = BoxOptions { min_score: 0.5, max_overlap: 0.5, limit: 8 };
    const CONTRACT: BoxContract = BoxContract { format: BoxFormat::Xyxy, units: BoxUnits::Pixels, person: 0, suppressed: false };
    /// A frame of 200 x 100 at half size, 10 pixels below the input's top.
    const MAP: Letterbox = Letterbox { scale: [0.5, 0.5], offset: [0.0, 10.0] };
    const INPUT: (u32, u32) = (100, 80);

    fn decode(contract: BoxContract, boxes: &[f32], scores: Scores<'_>) -> Vec<PersonBox> {
        let candidates = boxes.len() / 4;
        Boxes::new(contract, 1, candidates, boxes, scores).unwrap().decode(0, &MAP, INPUT, &OPTIONS).unwrap()
    }

    const fn single(scores: &[f32]) -> Scores<'_> {
        Scores::Single { scores, classes: None }
    }

    #[test]
    fn every_format_names_the_same_box() {
        let wanted = Rect::new(20.0, 40.0, 60.0, 100.0);
        for (format, units, numbers) in [
            (BoxFormat::Xyxy, BoxUnits::Pixels, [10.0, 30.0, 30.0, 60.0]),
            (BoxFormat::Yxyx, BoxUnits::Pixels, [30.0, 10.0, 60.0, 30.0]),
            (BoxFormat::CxCyWh, BoxUnits::Pixels, [20.0, 45.0, 20.0, 30.0]),
            (BoxFormat::Xyxy, BoxUnits::Normalized, [0.1, 0.375, 0.3, 0.75]),
            (BoxFormat::CxCyWh, BoxUnits::Normalized, [0.2, 0.5625, 0.2, 0.375]),
        ] {
            let found = decode(BoxContract { format, units, ..CONTRACT }, &numbers, single(&[0.9]));
            let [PersonBox { score: 0.9, bbox, keypoints: None }] = found[..] else { panic!("{format:?} {units:?}: {found:?}") };
            let edges = |r: Rect| [r.x0, r.y0, r.x1, r.y1];
            assert!(edges(bbox).iter().zip(edges(wanted)).all(|(a, b)| (a - b).abs() < 1e-4), "{format:?} {units:?}: {bbox:?}");
        }
    }

    #[test]
    fn overlapping_boxes_are_dropped_here_unless_the_network_has_done_it() {
        let boxes = [10.0, 20.0, 30.0, 60.0, 11.0, 20.0, 31.0, 60.0, 50.0, 20.0, 70.0, 60.0];
        let scores = [0.6, 0.8, 0.7];
        let found = decode(CONTRACT, &boxes, single(&scores));
        assert_eq!(found.iter().map(|p| p.score).collect::<Vec<_>>(), [0.8, 0.7]);
        let found = decode(BoxContract { suppressed: true, ..CONTRACT }, &boxes, single(&scores));
        assert_eq!(found.iter().map(|p| p.score).collect::<Vec<_>>(), [0.8, 0.7, 0.6]);
    }

    #[test]
    fn only_people_count_and_only_sure_ones() {
        let boxes = [10.0, 20.0, 30.0, 60.0, 50.0, 20.0, 70.0, 60.0, 80.0, 20.0, 90.0, 60.0];
        let by_class = Scores::Single { scores: &[0.9, 0.9, 0.5], classes: Some(&[17.0, 0.0, 0.0]) };
        let found = decode(CONTRACT, &boxes, by_class);
        assert_eq!(found.len(), 1, "a dog and a doubtful one: {found:?}");
        assert_eq!(found[0].bbox.x0, 100.0);
        let per_class = Scores::PerClass { scores: &[0.9, 0.1, 0.2, 0.8, 0.4, 0.6], width: 2 };
        let found = decode(BoxContract { person: 1, ..CONTRACT }, &boxes, per_class);
        assert_eq!(found.iter().map(|p| p.score).collect::<Vec<_>>(), [0.8, 0.6]);
    }

    #[test]
    fn frames_of_a_batch_are_apart() {
        let boxes = [10.0, 20.0, 30.0, 60.0, 50.0, 20.0, 70.0, 60.0];
        let heads = Boxes::new(CONTRACT, 2, 1, &boxes, single(&[0.9, 0.7])).unwrap();
        assert_eq!(heads.decode(1, &MAP, INPUT, &OPTIONS).unwrap()[0].score, 0.7);
        assert_eq!(heads.decode(2, &MAP, INPUT, &OPTIONS), Err(DecodeError::Index { index: 2, len: 2 }));
        assert!(Boxes::new(CONTRACT, 3, 0, &[], single(&[])).unwrap().decode(2, &MAP, INPUT, &OPTIONS).unwrap().is_empty());
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let boxes = [10.0, 20.0, 30.0, 60.0];
        let fault = |scores| Boxes::new(BoxContract { person: 3, ..CONTRACT }, 1, 1, &boxes, scores).unwrap_err();
        assert!(matches!(fault(single(&[0.1, 0.2])), DecodeError::Values { name: "scores", .. }));
        assert!(matches!(fault(Scores::Single { scores: &[0.1], classes: Some(&[]) }), DecodeError::Values { name: "classes", .. }));
        assert_eq!(fault(Scores::PerClass { scores: &[0.1, 0.2], width: 2 }), DecodeError::Class { person: 3, classes: 2 });
        let logits = Boxes::new(CONTRACT, 1, 1, &boxes, single(&[4.2])).unwrap();
        assert!(matches!(logits.decode(0, &MAP, INPUT, &OPTIONS), Err(DecodeError::Score { .. })));
        let nothing = Boxes::new(CONTRACT, 1, 1, &[f32::NAN; 4], single(&[0.9])).unwrap();
        assert!(nothing.decode(0, &MAP, INPUT, &OPTIONS).unwrap().is_empty());
    }
}
