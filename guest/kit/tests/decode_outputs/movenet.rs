//! People planted into synthetic heads are found where they were planted.

use halfpipe_kit::detector::{PersonBox, merge};
use halfpipe_kit::movenet::{DetectOptions, Detection, Heads, KEYPOINTS, Keypoint, Letterbox, Rect, input_size};
use halfpipe_kit::planes::Whole;

/// Heads into which people can be planted.
struct Canvas {
    frames: usize,
    height: usize,
    width: usize,
    tensors: [Vec<f32>; 6],
}

const CHANNELS: [usize; 6] = [1, 2, 2, 34, 17, 34];

impl Canvas {
    fn new(frames: usize, height: usize, width: usize) -> Self {
        Self { frames, height, width, tensors: CHANNELS.map(|c| vec![0.0; frames * c * height * width]) }
    }

    fn set(&mut self, head: usize, frame: usize, channel: usize, (y, x): (usize, usize), value: f32) {
        let at = ((frame * CHANNELS[head] + channel) * self.height + y) * self.width + x;
        self.tensors[head][at] = value;
    }

    /// Plants a person: a box in cells, and key points in cells (fractions allowed). The coarse positions are half a cell wrong.
    fn plant(&mut self, frame: usize, score: f32, bbox: Rect, keypoints: &[[f32; 2]; KEYPOINTS]) {
        let [cx, cy] = bbox.center();
        let cell = (cy.floor() as usize, cx.floor() as usize);
        self.set(0, frame, 0, cell, score);
        self.set(1, frame, 0, cell, bbox.height());
        self.set(1, frame, 1, cell, bbox.width());
        self.set(2, frame, 0, cell, cy - cell.0 as f32);
        self.set(2, frame, 1, cell, cx - cell.1 as f32);
        for (j, [x, y]) in keypoints.iter().copied().enumerate() {
            self.set(3, frame, 2 * j, cell, y - cell.0 as f32 + 0.5);
            self.set(3, frame, 2 * j + 1, cell, x - cell.1 as f32 - 0.5);
            let at = (y.floor() as usize, x.floor() as usize);
            self.set(4, frame, j, at, 0.9);
            self.set(5, frame, 2 * j, at, y - y.floor());
            self.set(5, frame, 2 * j + 1, at, x - x.floor());
        }
    }

    fn decode(&self, frame: usize, map: &Letterbox, options: &DetectOptions) -> Vec<Detection> {
        let [center, box_scale, box_offset, kpt_regress, kpt_heatmap, kpt_offset] = &self.tensors;
        let heads = [
            ("center", center),
            ("box_scale", box_scale),
            ("box_offset", box_offset),
            ("kpt_regress", kpt_regress),
            ("kpt_heatmap", kpt_heatmap),
            ("kpt_offset", kpt_offset),
        ];
        let planes = Whole(heads.map(|(name, values)| (name, &values[..], [self.height, self.width])).to_vec());
        Heads::new(self.frames, self.height, self.width, &planes).decode(frame, map, options).unwrap()
    }
}

/// Key points spread over a box.
fn spread(bbox: &Rect) -> [[f32; 2]; KEYPOINTS] {
    std::array::from_fn(|j| {
        let t = (j as f32 + 0.5) / KEYPOINTS as f32;
        [bbox.x0 + bbox.width() * (0.1 + 0.8 * ((t * 5.0) % 1.0)), bbox.y0 + bbox.height() * (0.05 + 0.9 * t)]
    })
}

#[track_caller]
fn assert_is(d: &Detection, score: f32, bbox: &Rect, keypoints: &[[f32; 2]; KEYPOINTS], map: &Letterbox) {
    assert_eq!(d.score, score);
    let expected = map.rect_to_frame(&bbox.scaled(4.0));
    for (a, b) in [(d.bbox.x0, expected.x0), (d.bbox.y0, expected.y0), (d.bbox.x1, expected.x1), (d.bbox.y1, expected.y1)] {
        assert!((a - b).abs() < 0.01, "{:?} instead of {expected:?}", d.bbox);
    }
    for (k, p) in d.keypoints.iter().zip(keypoints) {
        let [x, y] = map.to_frame(p.map(|v| v * 4.0));
        assert!((k.x - x).abs() < 0.02 && (k.y - y).abs() < 0.02, "{k:?} instead of {x}, {y}");
        assert!(k.score > 0.5);
    }
}

#[test]
fn planted_people_are_found_through_the_letterbox() {
    let frame = (1920, 1080);
    let target = input_size(frame, 256, 32);
    let map = Letterbox::fit(frame, target);
    let (h, w) = (target.1 as usize / 4, target.0 as usize / 4);
    let mut canvas = Canvas::new(3, h, w);
    let (near, far) = (Rect::new(6.3, 4.2, 20.1, 34.4), Rect::new(40.5, 10.0, 46.0, 24.6));
    canvas.plant(1, 0.8, near, &spread(&near));
    canvas.plant(1, 0.6, far, &spread(&far));
    canvas.plant(2, 0.7, far, &spread(&far));
    let options = DetectOptions::default();
    assert!(canvas.decode(0, &map, &options).is_empty());
    let people = canvas.decode(1, &map, &options);
    assert_eq!(people.len(), 2);
    assert_is(&people[0], 0.8, &near, &spread(&near), &map);
    assert_is(&people[1], 0.6, &far, &spread(&far), &map);
    assert_eq!(canvas.decode(2, &map, &options).len(), 1, "frames do not mix");
    assert!(canvas.decode(1, &map, &DetectOptions { min_score: 0.7, ..options }).len() == 1);
    assert!(canvas.decode(1, &map, &DetectOptions { limit: 1, ..options }).len() == 1);
}

#[test]
fn of_two_overlapping_centres_the_stronger_stays() {
    let mut canvas = Canvas::new(1, 32, 32);
    let (a, b) = (Rect::new(4.0, 4.0, 16.0, 28.0), Rect::new(7.5, 4.0, 19.5, 28.0));
    canvas.plant(0, 0.6, a, &spread(&a));
    canvas.plant(0, 0.9, b, &spread(&b));
    let map = Letterbox::fit((128, 128), (128, 128));
    let strict = canvas.decode(0, &map, &DetectOptions { max_overlap: 0.5, ..DetectOptions::default() });
    assert_eq!(strict.iter().map(|d| d.score).collect::<Vec<_>>(), [0.9]);
    let lenient = canvas.decode(0, &map, &DetectOptions { max_overlap: 0.6, ..DetectOptions::default() });
    assert_eq!(lenient.len(), 2);
}

#[test]
fn numbers_that_are_none_do_no_harm() {
    let mut canvas = Canvas::new(1, 16, 16);
    let a = Rect::new(2.0, 2.0, 9.0, 14.0);
    canvas.plant(0, 0.9, a, &spread(&a));
    canvas.set(0, 0, 0, (14, 14), f32::NAN);
    canvas.set(0, 0, 0, (0, 14), 0.8);
    canvas.set(1, 0, 0, (0, 14), f32::INFINITY);
    canvas.set(1, 0, 1, (0, 14), f32::NAN);
    canvas.set(3, 0, 0, (8, 5), f32::NAN);
    let map = Letterbox::fit((64, 64), (64, 64));
    let people = canvas.decode(0, &map, &DetectOptions::default());
    assert_eq!(people.len(), 1);
    assert!(people[0].keypoints.iter().all(|k| k.x.is_finite() && k.y.is_finite() && k.score.is_finite()));
    assert_eq!(people[0].keypoints[0], Keypoint::default(), "a coarse position that is no number is a key point not found");
    assert!(people[0].keypoints[1].score > 0.5);
    let empty = Canvas::new(1, 0, 0);
    assert!(empty.decode(0, &map, &DetectOptions::default()).is_empty());
}

fn person(score: f32, bbox: Rect) -> Detection {
    let keypoints = spread(&bbox).map(|[x, y]| Keypoint { x, y, score: 0.8 });
    Detection { score, bbox, keypoints }
}

#[test]
fn merging_sizes_and_tiles_counts_everybody_once() {
    let whole = person(0.7, Rect::new(100.0, 100.0, 200.0, 400.0));
    let again = person(0.5, Rect::new(104.0, 98.0, 203.0, 396.0));
    let other = person(0.4, Rect::new(190.0, 100.0, 290.0, 400.0));
    // A tile that ends at y = 250 shows the upper half only: a quite different box around the same key points.
    let half = Detection {
        score: 0.6,
        bbox: Rect::new(100.0, 100.0, 200.0, 250.0),
        keypoints: std::array::from_fn(|j| if whole.keypoints[j].y < 250.0 { whole.keypoints[j] } else { Keypoint::default() }),
    };
    let broken = Detection { bbox: Rect::new(f32::NAN, 0.0, 1.0, 1.0), ..person(0.9, Rect::new(0.0, 0.0, 1.0, 1.0)) };
    let found = [again, other.clone(), half, whole.clone(), broken].map(PersonBox::from).to_vec();
    let (whole, other) = (PersonBox::from(whole), PersonBox::from(other));
    let merged = merge(found, 0.5, 10);
    assert_eq!(merged, [whole.clone(), other]);
    assert_eq!(merge(merged, 0.5, 1), [whole]);
}
