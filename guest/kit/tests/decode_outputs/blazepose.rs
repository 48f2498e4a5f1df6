//! Crops for upright, lying and upside-down people, and landmarks read back from them.

use std::f32::consts::{FRAC_PI_2, PI};

use halfpipe_kit::blazepose::{LANDMARKS, Landmarks, Outputs, Roi};
use halfpipe_kit::movenet::{DecodeError, KEYPOINTS, Keypoint, Rect};
use halfpipe_kit::planes::Whole;

/// Key points of a person whose hips are at the origin, one unit from hip to shoulder, upright (y down).
const BODY: [[f32; 2]; KEYPOINTS] = [
    [0.0, -1.5],
    [0.1, -1.6],
    [-0.1, -1.6],
    [0.2, -1.5],
    [-0.2, -1.5],
    [0.4, -1.0],
    [-0.4, -1.0],
    [0.6, -0.5],
    [-0.6, -0.5],
    [0.7, 0.0],
    [-0.7, 0.0],
    [0.2, 0.0],
    [-0.2, 0.0],
    [0.2, 0.9],
    [-0.2, 0.9],
    [0.2, 1.8],
    [-0.2, 1.8],
];

/// The body turned clockwise on the screen about its hips at (x, y), `unit` pixels from hip to shoulder.
fn body(x: f32, y: f32, unit: f32, turn: f32) -> [Keypoint; KEYPOINTS] {
    let (sin, cos) = turn.sin_cos();
    BODY.map(|[u, v]| Keypoint { x: x + unit * (cos * u - sin * v), y: y + unit * (sin * u + cos * v), score: 0.9 })
}

fn box_of(keypoints: &[Keypoint; KEYPOINTS]) -> Rect {
    Rect::around(keypoints.iter().map(|k| [k.x, k.y])).unwrap()
}

#[test]
fn the_crop_turns_with_the_person() {
    for turn in [0.0, 0.4, FRAC_PI_2, -FRAC_PI_2, 2.8, PI, -2.0] {
        let keypoints = body(300.0, 200.0, 50.0, turn);
        let roi = Roi::from_keypoints(&keypoints, &box_of(&keypoints)).unwrap();
        let off = (roi.rotation - turn + PI).rem_euclid(2.0 * PI) - PI;
        assert!(off.abs() < 1e-4 && (-PI..=PI).contains(&roi.rotation), "{} for {turn}", roi.rotation);
        assert!((roi.center[0] - 300.0).abs() < 1e-3 && (roi.center[1] - 200.0).abs() < 1e-3);
        let reach = 1.8f32.hypot(0.2) * 50.0;
        assert!((roi.side - 2.0 * reach * 1.15 * 1.25).abs() < 0.01, "{}", roi.side);
        // In the crop everybody stands upright: the head is straight above the hips.
        let nose = keypoints[0];
        let up = roi.to_frame([0.5, 0.5 - 1.5 * 50.0 / roi.side]);
        assert!((up[0] - nose.x).abs() < 0.01 && (up[1] - nose.y).abs() < 0.01, "{up:?} {nose:?}");
    }
}

#[test]
fn the_box_serves_where_key_points_are_missing() {
    let mut keypoints = body(300.0, 200.0, 50.0, 1.0);
    let bbox = Rect::new(250.0, 100.0, 350.0, 300.0);
    keypoints[11].score = 0.02;
    let one_hip = Roi::from_keypoints(&keypoints, &bbox).unwrap();
    assert!((one_hip.rotation - 1.0).abs() < 1e-4, "one hip is enough");
    keypoints[12].score = 0.02;
    assert_eq!(Roi::from_keypoints(&keypoints, &bbox), Roi::from_box(&bbox));
    assert_eq!(Roi::from_box(&bbox), Some(Roi { center: [300.0, 200.0], side: 250.0, rotation: 0.0 }));
    assert_eq!(Roi::from_box(&Rect::new(5.0, 5.0, 5.0, 5.0)), None);
    assert_eq!(Roi::from_box(&Rect::new(f32::NAN, 5.0, 5.0, 50.0)), None);
}

/// Outputs in which every point sits at a given place of the crop, unsure heat maps.
struct Crops {
    landmarks: Vec<f32>,
    presence: Vec<f32>,
    heatmap: Vec<f32>,
    world: Vec<f32>,
}

impl Crops {
    fn new(n: usize) -> Self {
        Self { landmarks: vec![128.0; n * 195], presence: vec![0.9; n], heatmap: vec![-9.0; n * 39 * 64 * 64], world: vec![0.0; n * 117] }
    }

    fn decode(&self, rois: &[Roi]) -> Result<Vec<Option<Landmarks>>, DecodeError> {
        let heatmap = &Whole(vec![("heatmap", &self.heatmap, [64, 64])]);
        Outputs { landmarks: &self.landmarks, presence: &self.presence, heatmap, world_landmarks: &self.world }.decode(rois)
    }
}

#[test]
fn landmarks_come_back_to_the_frame() {
    let rois = [Roi { center: [100.0, 80.0], side: 64.0, rotation: 0.0 }, Roi { center: [500.0, 300.0], side: 512.0, rotation: FRAC_PI_2 }];
    let mut crops = Crops::new(2);
    for i in 0..2 {
        // landmark 5 a quarter of the crop right of the middle, 16 pixels of the crop behind it
        let at = i * 195 + 5 * 5;
        crops.landmarks[at..at + 4].copy_from_slice(&[192.0, 128.0, 16.0, 0.0]);
        crops.world[i * 117 + 15..i * 117 + 18].copy_from_slice(&[0.5, 0.0, 0.25]);
    }
    let people: Vec<Landmarks> = crops.decode(&rois).unwrap().into_iter().map(Option::unwrap).collect();
    assert!((people[0].image[5][0] - 116.0).abs() < 1e-3 && (people[0].image[5][1] - 80.0).abs() < 1e-3);
    assert!((people[0].depth[5] - 4.0).abs() < 1e-4);
    assert_eq!(people[0].visibility[5], 0.5, "a logit of 0");
    assert_eq!(people[0].world[5], [0.5, 0.0, 0.25]);
    // The second person lies with the head to the right: the crop's right is down.
    assert!((people[1].image[5][0] - 500.0).abs() < 1e-3 && (people[1].image[5][1] - 428.0).abs() < 1e-3, "{:?}", people[1].image[5]);
    assert!((people[1].world[5][0]).abs() < 1e-6 && (people[1].world[5][1] - 0.5).abs() < 1e-6 && people[1].world[5][2] == 0.25);
    assert_eq!(people[1].presence, 0.9, "no second sigmoid");
}

#[test]
fn the_alignment_points_give_the_next_crop() {
    // Hips in the middle, the circle's point 64 crop pixels to the left of them: the head is to the left.
    let mut crops = Crops::new(1);
    crops.landmarks[34 * 5] = 64.0;
    let roi = Roi { center: [200.0, 200.0], side: 256.0, rotation: 0.0 };
    let person = crops.decode(&[roi]).unwrap().remove(0).unwrap();
    let next = Roi::from_landmarks(&person).unwrap();
    assert!((next.center[0] - 200.0).abs() < 1e-3 && (next.side - 2.0 * 64.0 * 1.25).abs() < 1e-3);
    assert!((next.rotation + FRAC_PI_2).abs() < 1e-5, "{}", next.rotation);
    // Seen through a crop that is turned already, the rotation adds up: the head is down now.
    let turned = crops.decode(&[Roi { rotation: -FRAC_PI_2, ..roi }]).unwrap().remove(0).unwrap();
    assert!((Roi::from_landmarks(&turned).unwrap().rotation.abs() - PI).abs() < 1e-5);
    // Both points in one place leave no circle.
    let flat = Crops::new(1).decode(&[roi]).unwrap().remove(0).unwrap();
    assert_eq!(Roi::from_landmarks(&flat), None);
}

#[test]
fn heat_maps_refine_only_where_they_are_sure() {
    let mut crops = Crops::new(1);
    let cell = |point: usize, x: usize, y: usize| (point * 64 + y) * 64 + x;
    // Two sure cells side by side, right of the regressed cell 32: the point moves between them.
    crops.heatmap[cell(0, 34, 32)] = 12.0;
    crops.heatmap[cell(0, 35, 32)] = 12.0;
    crops.heatmap[cell(1, 34, 32)] = -0.01;
    crops.heatmap[cell(2, 36, 32)] = 12.0;
    let roi = Roi { center: [128.0, 128.0], side: 256.0, rotation: 0.0 };
    let person = crops.decode(&[roi]).unwrap().remove(0).unwrap();
    assert!((person.image[0][0] - 34.5 * 4.0).abs() < 0.05 && (person.image[0][1] - 128.0).abs() < 0.05, "{:?}", person.image[0]);
    assert_eq!(person.image[1], [128.0, 128.0], "below 0.5");
    assert_eq!(person.image[2], [128.0, 128.0], "outside the window of 7 cells");
}

#[test]
fn wrong_lengths_and_odd_numbers_are_told() {
    let roi = Roi { center: [1.0, 1.0], side: 10.0, rotation: 0.0 };
    let mut crops = Crops::new(2);
    crops.landmarks[195 + 7] = f32::NAN;
    let people = crops.decode(&[roi, roi]).unwrap();
    assert!(people[0].is_some() && people[1].is_none());
    assert!(crops.decode(&[]).is_err(), "outputs of two crops are not those of none");
    crops.heatmap.truncate(39 * 64 * 64);
    let error = crops.decode(&[roi, roi]).unwrap_err();
    assert!(error.to_string().contains("heatmap"), "{error}");
}

#[test]
fn the_box_is_that_of_what_is_in_sight() {
    let mut crops = Crops::new(1);
    for (i, point) in crops.landmarks.chunks_exact_mut(5).take(LANDMARKS).enumerate() {
        point.copy_from_slice(&[100.0 + i as f32, 50.0 + 2.0 * i as f32, 0.0, 3.0, 0.0]);
    }
    crops.landmarks[32 * 5..32 * 5 + 4].copy_from_slice(&[900.0, 900.0, 0.0, -4.0]);
    let roi = Roi { center: [128.0, 128.0], side: 256.0, rotation: 0.0 };
    let person = crops.decode(&[roi]).unwrap().remove(0).unwrap();
    let bbox = person.bbox();
    assert!(bbox.x0 < 100.0 && bbox.x0 > 90.0 && bbox.x1 > 131.0 && bbox.x1 < 140.0, "{bbox:?}");
    assert_eq!(person.keypoints()[5].x, person.image[11][0], "COCO's left shoulder is landmark 11");
}
