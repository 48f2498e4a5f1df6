//! The decoders agree with an independent implementation on pseudo-random outputs (`expected/README.md`).

use halfpipe_kit::blazepose::{Outputs, Roi};
use halfpipe_kit::movenet::{DetectOptions, Heads, Letterbox};
use halfpipe_kit::planes::Whole;
use serde_json::Value;

struct Lcg(u32);

impl Lcg {
    fn fill(&mut self, n: usize, low: f32, high: f32) -> Vec<f32> {
        let next = |_| {
            self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            low + (high - low) * ((self.0 >> 8) as f32 / (1 << 24) as f32)
        };
        (0..n).map(next).collect()
    }
}

fn expected() -> Value {
    serde_json::from_str(include_str!("expected/expected.json")).unwrap()
}

fn floats(v: &Value) -> Vec<f64> {
    match v {
        Value::Array(items) => items.iter().flat_map(floats).collect(),
        _ => vec![v.as_f64().unwrap()],
    }
}

#[track_caller]
fn assert_close(name: &str, found: impl IntoIterator<Item = f32>, expected: &Value, tolerance: f64) {
    let (found, expected): (Vec<f32>, Vec<f64>) = (found.into_iter().collect(), floats(expected));
    assert_eq!(found.len(), expected.len(), "{name}");
    for (i, (a, b)) in found.iter().zip(&expected).enumerate() {
        assert!((f64::from(*a) - b).abs() <= tolerance, "{name}[{i}]: {a} instead of {b}");
    }
}

fn roi_values(roi: &Roi) -> [f32; 4] {
    [roi.center[0], roi.center[1], roi.side, roi.rotation]
}

#[test]
fn movenet_heads() {
    let (n, h, w) = (2, 24, 32);
    let cells = n * h * w;
    let mut random = Lcg(2024);
    let center = random.fill(cells, 0.0, 1.0);
    let box_scale = random.fill(2 * cells, 4.0, 14.0);
    let box_offset = random.fill(2 * cells, -0.5, 0.5);
    let kpt_regress = random.fill(34 * cells, -5.0, 5.0);
    let kpt_heatmap = random.fill(17 * cells, 0.0, 1.0);
    let kpt_offset = random.fill(34 * cells, -0.5, 0.5);
    let heads = [
        ("center", &center),
        ("box_scale", &box_scale),
        ("box_offset", &box_offset),
        ("kpt_regress", &kpt_regress),
        ("kpt_heatmap", &kpt_heatmap),
        ("kpt_offset", &kpt_offset),
    ];
    let planes = Whole(heads.map(|(name, values)| (name, &values[..], [h, w])).to_vec());
    let heads = Heads::new(n, h, w, &planes);
    let map = Letterbox::fit((1280, 720), (128, 96));
    let options = DetectOptions { min_score: 0.9, max_overlap: 0.5, limit: 100 };
    let mut compared = 0;
    for (f, frame) in expected()["movenet"].as_array().unwrap().iter().enumerate() {
        let people = heads.decode(f, &map, &options).unwrap();
        assert_eq!(people.len(), frame.as_array().unwrap().len(), "frame {f}");
        for (p, e) in people.iter().zip(frame.as_array().unwrap()) {
            assert_close("score", [p.score], &e["score"], 1e-5);
            assert_close("box", [p.bbox.x0, p.bbox.y0, p.bbox.x1, p.bbox.y1], &e["box"], 2e-3);
            assert_close("keypoints", p.keypoints.iter().flat_map(|k| [k.x, k.y, k.score]), &e["keypoints"], 2e-3);
            // The other implementation takes hips and shoulders however unsure they are.
            if [5, 6, 11, 12].iter().all(|&i| p.keypoints[i].score > 0.1) {
                let roi = Roi::from_keypoints(&p.keypoints, &p.bbox).unwrap();
                assert_close("roi", roi_values(&roi), &e["roi"], 5e-3);
                compared += 1;
            }
        }
    }
    assert!(compared > 40, "only {compared} crops could be compared");
}

#[test]
fn blazepose_outputs() {
    let rois = [
        Roi { center: [640.0, 360.0], side: 500.0, rotation: 0.0 },
        Roi { center: [100.0, 50.0], side: 320.0, rotation: 2.5 },
        Roi { center: [900.0, 700.0], side: 800.0, rotation: -1.1 },
    ];
    let mut random = Lcg(77);
    let mut landmarks = random.fill(3 * 195, -20.0, 276.0);
    let presence = random.fill(3, 0.0, 1.0);
    let heatmap = random.fill(3 * 39 * 64 * 64, -12.0, 0.25);
    let world = random.fill(3 * 117, -1.0, 1.0);
    for point in landmarks.chunks_exact_mut(5) {
        point[3..].iter_mut().for_each(|v| *v = (*v - 128.0) / 40.0);
    }
    let heatmap = &Whole(vec![("heatmap", &heatmap, [64, 64])]);
    let outputs = Outputs { landmarks: &landmarks, presence: &presence, heatmap, world_landmarks: &world };
    let people = outputs.decode(&rois).unwrap();
    for (p, e) in people.iter().zip(expected()["blazepose"].as_array().unwrap()) {
        let p = p.as_ref().unwrap();
        assert_close("presence", [p.presence], &e["presence"], 1e-5);
        assert_close("image", p.image.iter().flatten().copied(), &e["image"], 5e-3);
        assert_close("depth", p.depth, &e["depth"], 1e-3);
        assert_close("visibility", p.visibility, &e["visibility"], 1e-5);
        assert_close("world", p.world.iter().flatten().copied(), &e["world"], 1e-5);
        assert_close("alignment", p.alignment.iter().flatten().copied(), &e["alignment"], 5e-3);
        assert_close("next roi", roi_values(&Roi::from_landmarks(p).unwrap()), &e["next_roi"], 0.05);
    }
    assert_eq!(people.len(), 3);
}
