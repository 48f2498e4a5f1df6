//! The fit against an independent implementation (see fixtures/geometry/README.md).

use halfpipe_kit::analytic::AnalyticPose;
use halfpipe_kit::camera::Pinhole;
use halfpipe_kit::fit::{FitOptions, Fitter, Observation};
use halfpipe_kit::rig::testrig;
use halfpipe_kit::rotation::{self, Mat3};
use halfpipe_kit::skeleton::{JOINT_NAMES, JOINTS, LANDMARKS};
use serde::Deserialize;

#[derive(Deserialize)]
struct Reference {
    rig: StoredRig,
    camera: StoredCamera,
    steps: usize,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct StoredRig {
    joints: Vec<StoredJoint>,
    surface: Vec<StoredPoint>,
}

#[derive(Deserialize)]
struct StoredJoint {
    name: String,
    rest: [f64; 3],
    shape: Vec<[f64; 3]>,
    bind: [[f64; 3]; 3],
}

#[derive(Deserialize)]
struct StoredPoint {
    name: String,
    rest: [f64; 3],
    shape: Vec<[f64; 3]>,
    bones: Vec<(usize, f64)>,
}

#[derive(Deserialize)]
struct StoredCamera {
    focal: f64,
    center: [f64; 2],
}

#[derive(Deserialize)]
struct Case {
    image: Vec<[f32; 2]>,
    world: Vec<[f32; 3]>,
    visibility: Vec<f32>,
    closed_form: Vec<[[f64; 3]; 3]>,
    local: Vec<[[f64; 3]; 3]>,
    translation: [f64; 3],
    betas: Vec<f64>,
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("fixtures/geometry/reference.json")).expect("reference.json is what make_reference.py writes")
}

fn matrix(rows: &[[f64; 3]; 3]) -> Mat3 {
    Mat3::from_fn(|r, c| rows[r][c])
}

fn near(a: &[f64], b: &[f64], tolerance: f64) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(x, y)| (x - y).abs() <= tolerance)
}

fn compare(case: usize, what: &str, got: &[Mat3; JOINTS], want: &[[[f64; 3]; 3]], tolerance: f64) {
    assert_eq!(want.len(), JOINTS);
    for (k, rows) in want.iter().enumerate() {
        let angle = rotation::angle_between(&got[k], &matrix(rows));
        assert!(angle < tolerance, "case {case}, {what}, {}: {angle} rad apart", JOINT_NAMES[k]);
    }
}

#[test]
fn the_test_rig_is_the_one_the_reference_was_made_with() {
    let (stored, rig) = (reference().rig, testrig::humanoid());
    let advice = "the test rig has changed: make reference.json again (fixtures/geometry/README.md)";
    assert_eq!(stored.joints.len(), JOINTS);
    for (s, j) in stored.joints.iter().zip(rig.joints()) {
        let same = s.name == j.name && near(&s.rest, &j.rest, 1e-9) && near(s.shape.as_flattened(), j.shape.as_flattened(), 1e-9);
        assert!(same && (matrix(&s.bind) - j.bind).amax() < 1e-9, "{advice} ({})", s.name);
    }
    assert_eq!(stored.surface.len(), rig.surface().len());
    for (s, p) in stored.surface.iter().zip(rig.surface()) {
        let same = s.name == p.name && near(&s.rest, &p.rest, 1e-9) && near(s.shape.as_flattened(), p.shape.as_flattened(), 1e-9);
        assert!(same && s.bones == p.bones, "{advice} ({})", s.name);
    }
}

#[test]
fn closed_form_shape_and_fit_agree_with_the_reference() {
    let reference = reference();
    let rig = testrig::humanoid();
    let (fitter, analytic) = (Fitter::new(&rig).unwrap(), AnalyticPose::new(&rig).unwrap());
    let camera = Pinhole { focal: reference.camera.focal, center: reference.camera.center };
    // as many steps as the reference takes, however short
    let options = FitOptions { steps: reference.steps, tolerance: 0.0, ..Default::default() };
    assert!(reference.cases.len() >= 10);
    for (i, case) in reference.cases.iter().enumerate() {
        let image: &[[f32; 2]; LANDMARKS] = case.image.as_slice().try_into().unwrap();
        let world = case.world.as_slice().try_into().unwrap();
        let visibility = case.visibility.as_slice().try_into().unwrap();
        compare(i, "closed form", &analytic.solve(world, visibility).unwrap(), &case.closed_form, 1e-5);
        let fit = fitter.fit(&Observation { image, visibility, world }, &camera, &options).unwrap();
        assert!(near(&fit.betas, &case.betas, 1e-5), "case {i}: {:?} against {:?}", fit.betas, case.betas);
        assert!(near(&fit.translation, &case.translation, 1e-3), "case {i}: {:?} against {:?}", fit.translation, case.translation);
        compare(i, "fit", &fit.local, &case.local, 1e-3);
    }
}
