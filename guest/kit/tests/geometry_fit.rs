//! What a fit must achieve: poses recovered from landmarks, wherever and however the person is, and errors in place of
//! nonsense.

use halfpipe_kit::axes;
use halfpipe_kit::camera::Pinhole;
use halfpipe_kit::fit::{Fit, FitError, FitOptions, Fitter, Observation};
use halfpipe_kit::rig::testrig::{self, Person, Random};
use halfpipe_kit::rig::{Rig, RigError};
use halfpipe_kit::rotation::{self, Mat3, Vec3};
use halfpipe_kit::skeleton::{JOINTS, LANDMARKS, joint, landmark};

const WIDTH: u32 = 1280;
const HEIGHT: u32 = 720;

struct Studio {
    rig: Rig,
    fitter: Fitter,
    camera: Pinhole,
}

fn studio() -> Studio {
    let rig = testrig::humanoid();
    Studio { fitter: Fitter::new(&rig).expect("the test rig can be fitted"), rig, camera: Pinhole::for_size(WIDTH, HEIGHT) }
}

impl Studio {
    fn person(&self, random: &mut Random, orientation: &Mat3, at: [f64; 3]) -> Person {
        let betas: Vec<f64> = self.rig.shape_names().iter().map(|n| if n == "weight" { 0.0 } else { 0.4 * random.signed() }).collect();
        testrig::observe(&self.rig, &betas, &testrig::pose(random, orientation), &at.into(), &self.camera)
    }

    fn fit(&self, person: &Person, options: &FitOptions) -> Result<Fit, FitError> {
        let observation = Observation { image: &person.image, visibility: &person.visibility, world: &person.world };
        self.fitter.fit(&observation, &self.camera, options)
    }
}

/// Mean distance between joints, metres, once both pelvises are at the origin.
fn joint_error(a: &[[f64; 3]; JOINTS], b: &[[f64; 3]; JOINTS]) -> f64 {
    let from_root = |j: &[[f64; 3]; JOINTS], k: usize| Vec3::from(j[k]) - Vec3::from(j[0]);
    (0..JOINTS).map(|k| (from_root(a, k) - from_root(b, k)).norm()).sum::<f64>() / JOINTS as f64
}

fn check(name: &str, fit: &Fit, person: &Person) {
    assert!(fit.residual_px < 1.0, "{name}: {} px", fit.residual_px);
    let error = joint_error(&fit.joints_camera, &person.joints);
    assert!(error < 0.02, "{name}: joints off by {error} m");
    let depth = person.joints[joint::PELVIS][2];
    assert!((fit.joints_camera[joint::PELVIS][2] - depth).abs() < 0.03 * depth, "{name}: depth {} of {depth}", fit.translation[2]);
    for (k, r) in fit.local.iter().enumerate() {
        assert!(rotation::is_rotation(r, 1e-6), "{name}: joint {k} {r}");
    }
}

#[test]
fn plausible_poses_are_recovered_from_any_side() {
    let s = studio();
    let mut random = Random(1);
    for i in 0..200 {
        let orientation = rotation::exp(&Vec3::new(0.0, std::f64::consts::PI * random.signed(), 0.0))
            * rotation::exp(&Vec3::new(0.3 * random.signed(), 0.0, 0.3 * random.signed()));
        let at = [0.8 * random.signed(), 0.3 * random.signed(), 4.0 + random.signed()];
        let person = s.person(&mut random, &orientation, at);
        check(&format!("person {i}"), &s.fit(&person, &FitOptions::default()).unwrap(), &person);
    }
}

#[test]
fn unusual_positions_are_recovered() {
    let s = studio();
    let turn = |x: f64, y: f64, z: f64| rotation::exp(&Vec3::new(x, y, z));
    let half = std::f64::consts::PI;
    let cases = [
        ("facing", turn(0.0, 0.0, 0.0), [0.0, 0.0, 3.5]),
        ("facing away", turn(0.0, half, 0.0), [0.0, 0.0, 3.5]),
        ("in profile", turn(0.0, half / 2.0, 0.0), [0.0, 0.0, 3.5]),
        ("lying across", turn(0.0, 0.0, half / 2.0), [0.0, 0.5, 4.0]),
        ("lying, feet to the camera", turn(-half / 2.0, 0.0, 0.0), [0.0, 0.8, 4.0]),
        ("lying, head to the camera", turn(half / 2.0, 0.0, 0.0), [0.0, 0.8, 4.0]),
        ("upside down", turn(0.0, 0.0, half), [0.3, -0.5, 4.0]),
        ("upside down from behind", turn(half, 0.0, 0.0), [0.3, -0.5, 4.0]),
        ("at the right edge", turn(0.0, 0.4, 0.0), [4.0 * 640.0 / 1408.0, 0.0, 4.0]),
        ("at the lower left corner", turn(0.0, -1.0, 0.2), [-4.0 * 640.0 / 1408.0, 4.0 * 360.0 / 1408.0, 4.0]),
        ("far away", turn(0.0, 2.0, 0.0), [2.0, -1.0, 25.0]),
    ];
    for (seed, (name, orientation, at)) in cases.into_iter().enumerate() {
        let person = s.person(&mut Random(100 + seed as u64), &orientation, at);
        check(name, &s.fit(&person, &FitOptions::default()).unwrap(), &person);
    }
}

#[test]
fn a_body_at_the_edge_needs_its_landmarks_turned_to_the_ray() {
    let s = studio();
    let (mut with, mut without) = (0.0, 0.0);
    for seed in 0..20 {
        let mut person = s.person(&mut Random(seed), &Mat3::identity(), [1.7, 0.3, 4.0]);
        let (hips_l, hips_r) = (person.image[landmark::LEFT_HIP], person.image[landmark::RIGHT_HIP]);
        let middle = [f64::from(hips_l[0] + hips_r[0]) / 2.0, f64::from(hips_l[1] + hips_r[1]) / 2.0];
        // what a network sees that looks at the crop as if it were straight ahead
        let back = s.camera.rotation_to_ray(middle).transpose();
        let seen = person.world.map(|p| {
            let q = back * Vec3::from(p.map(f64::from));
            [q.x as f32, q.y as f32, q.z as f32]
        });
        let truth = person.world;
        person.world = s.camera.rotate_to_ray(middle, &seen);
        for (a, b) in person.world.iter().flatten().zip(truth.iter().flatten()) {
            assert!((a - b).abs() < 1e-5);
        }
        with += joint_error(&s.fit(&person, &FitOptions::default()).unwrap().joints_camera, &person.joints);
        person.world = seen;
        without += joint_error(&s.fit(&person, &FitOptions::default()).unwrap().joints_camera, &person.joints);
    }
    assert!(with < without / 3.0, "turned {with}, not turned {without}");
}

#[test]
fn steps_bring_the_body_onto_the_picture_under_noise() {
    let s = studio();
    let mut random = Random(5);
    let (mut closed, mut fitted, mut error) = (vec![], vec![], vec![]);
    for _ in 0..60 {
        let facing = rotation::exp(&Vec3::new(0.0, 3.0 * random.signed(), 0.0));
        let mut person = s.person(&mut random, &facing, [0.5, 0.0, 4.0]);
        person.image.iter_mut().flatten().for_each(|x| *x += 2.0 * random.normal() as f32);
        person.world.iter_mut().flatten().for_each(|x| *x += 0.03 * random.normal() as f32);
        // one limb is nowhere near and says so
        person.image[landmark::LEFT_WRIST] = [10.0, 10.0];
        person.visibility[landmark::LEFT_WRIST] = 0.1;
        closed.push(s.fit(&person, &FitOptions { steps: 0, ..Default::default() }).unwrap().residual_px);
        let fit = s.fit(&person, &FitOptions::default()).unwrap();
        fitted.push(fit.residual_px);
        error.push(joint_error(&fit.joints_camera, &person.joints));
    }
    let median = |v: &mut Vec<f64>| {
        v.sort_by(f64::total_cmp);
        v[v.len() / 2]
    };
    let (closed, fitted, error) = (median(&mut closed), median(&mut fitted), median(&mut error));
    // the product's bound: 5 px where the picture is scaled to a width of 640
    let bound = 5.0 * f64::from(WIDTH) / 640.0;
    assert!(fitted < bound && fitted < closed / 2.0, "closed form {closed} px, fitted {fitted} px");
    assert!(error < 0.05, "joints off by {error} m");
}

#[test]
fn one_wild_landmark_does_not_drag_the_body_along() {
    let s = studio();
    let mut person = s.person(&mut Random(9), &Mat3::identity(), [0.0, 0.0, 4.0]);
    let clean = s.fit(&person, &FitOptions::default()).unwrap();
    person.image[landmark::RIGHT_ANKLE] = [1200.0, 30.0];
    let dragged = s.fit(&person, &FitOptions::default()).unwrap();
    assert!(dragged.residual_px < 3.0, "{} px", dragged.residual_px);
    assert!(joint_error(&clean.joints_camera, &dragged.joints_camera) < 0.06);
}

#[test]
fn a_warm_start_leads_to_the_same_body_and_a_wrong_one_does_no_harm() {
    let s = studio();
    let mut random = Random(11);
    let mut person = s.person(&mut random, &Mat3::identity(), [0.3, 0.0, 4.0]);
    person.world.iter_mut().flatten().for_each(|x| *x += 0.02 * random.normal() as f32);
    let long = FitOptions { steps: 40, tolerance: 1e-7, ..Default::default() };
    let cold = s.fit(&person, &long).unwrap();
    let warm = s.fit(&person, &FitOptions { previous: Some(&cold), ..long }).unwrap();
    assert!(warm.steps < cold.steps, "{} steps warm, {} cold", warm.steps, cold.steps);
    let stranger = s.fit(&s.person(&mut random, &rotation::exp(&Vec3::new(0.0, 3.0, 0.0)), [-1.0, 0.0, 3.0]), &long).unwrap();
    let misled = s.fit(&person, &FitOptions { previous: Some(&stranger), ..long }).unwrap();
    for other in [&warm, &misled] {
        assert!(joint_error(&cold.joints_camera, &other.joints_camera) < 1e-3);
    }
}

#[test]
fn given_betas_are_kept_and_wrong_ones_refused() {
    let s = studio();
    let person = s.person(&mut Random(3), &Mat3::identity(), [0.0, 0.0, 4.0]);
    let betas = [0.1, -0.2, 0.0, 0.3, 0.1, 0.0, 0.2, -0.1];
    assert_eq!(s.fit(&person, &FitOptions { betas: Some(&betas), ..Default::default() }).unwrap().betas, betas);
    for bad in [&betas[..7], &[f64::NAN; 8]] {
        let err = s.fit(&person, &FitOptions { betas: Some(bad), ..Default::default() }).unwrap_err();
        assert!(matches!(err, FitError::Shape(RigError::Betas { expected: 8, .. })), "{err}");
    }
}

#[test]
fn the_fit_says_where_its_body_stands() {
    let s = studio();
    let person = s.person(&mut Random(4), &rotation::exp(&Vec3::new(0.1, 0.8, 0.0)), [0.4, 0.1, 3.6]);
    let fit = s.fit(&person, &FitOptions::default()).unwrap();
    let posed = s.rig.shaped(&fit.betas).unwrap().pose(&fit.local);
    for k in 0..JOINTS {
        let camera = axes::camera_from_body(&posed.joints[k], &fit.translation.into());
        assert!((camera - Vec3::from(fit.joints_camera[k])).norm() < 1e-12);
        assert_eq!(s.camera.project(&camera), Some(fit.joints_px[k]));
    }
}

#[test]
fn nonsense_gives_errors() {
    let s = studio();
    let good = s.person(&mut Random(2), &Mat3::identity(), [0.0, 0.0, 4.0]);
    let fails = |change: &dyn Fn(&mut Person)| {
        let mut p = good.clone();
        change(&mut p);
        s.fit(&p, &FitOptions::default()).unwrap_err()
    };
    for value in [f32::NAN, f32::INFINITY] {
        let err = fails(&|p| p.image[landmark::NOSE][1] = value);
        assert_eq!(err, FitError::ImageNotFinite { index: landmark::NOSE });
        assert!(err.to_string().contains("nose"), "{err}");
        assert!(matches!(fails(&|p| p.world[7][2] = value), FitError::Landmarks(_)));
        assert!(matches!(fails(&|p| p.visibility[30] = value), FitError::Landmarks(_)));
    }
    assert!(matches!(fails(&|p| p.world = [[0.0; 3]; LANDMARKS]), FitError::Landmarks(_)));
    assert!(matches!(fails(&|p| p.world[landmark::LEFT_KNEE] = p.world[landmark::LEFT_HIP]), FitError::Landmarks(_)));
    assert!(matches!(fails(&|p| p.world[landmark::RIGHT_EAR] = p.world[landmark::LEFT_EAR]), FitError::Landmarks(_)));
    assert_eq!(fails(&|p| p.image = [[300.0, 200.0]; LANDMARKS]), FitError::NoSize);
    assert_eq!(fails(&|p| p.visibility = [0.1; LANDMARKS]), FitError::TooFewSeen { seen: 0 });
    // every number is finite and the 3D pose is a fine one, but the picture could only be of a body behind the camera
    let behind = s.person(&mut Random(2), &Mat3::identity(), [0.0, 0.0, -4.0]);
    assert!(matches!(fails(&|p| *p = behind.clone()), FitError::TooNear { .. }));
    // ten times closer than a body's length allows
    let inside = s.person(&mut Random(2), &Mat3::identity(), [0.0, 0.0, 0.2]);
    assert!(s.fit(&inside, &FitOptions::default()).is_err());
    for camera in [Pinhole { focal: 0.0, center: [1.0, 1.0] }, Pinhole { focal: f64::NAN, center: [1.0, 1.0] }] {
        let observation = Observation { image: &good.image, visibility: &good.visibility, world: &good.world };
        assert_eq!(s.fitter.fit(&observation, &camera, &FitOptions::default()), Err(FitError::BadCamera));
    }
}

#[test]
fn no_input_panics_and_every_success_is_finite() {
    let s = studio();
    let mut random = Random(77);
    let mut fitted = 0;
    for round in 0..3000 {
        let mut person = s.person(&mut random, &Mat3::identity(), [0.0, 0.0, 4.0]);
        // from single odd numbers to pure noise
        let share = f64::from(round % 10) / 9.0;
        let odd = [0.0, 1e30, -1e30, 1e-30, 1e5, f64::NAN, -1.0];
        let mut upset = |x: &mut f32, scale: f64| {
            if random.signed().abs() < share {
                *x = (scale * random.normal()) as f32;
            }
            if random.signed().abs() < 0.002 {
                *x = odd[((random.signed() + 1.0) * 3.49) as usize] as f32;
            }
        };
        person.image.iter_mut().flatten().for_each(|x| upset(x, 700.0));
        person.world.iter_mut().flatten().for_each(|x| upset(x, 0.5));
        person.visibility.iter_mut().for_each(|x| upset(x, 1.0));
        if let Ok(fit) = s.fit(&person, &FitOptions::default()) {
            fitted += 1;
            assert!(fit.translation[2] > 0.3 && fit.residual_px.is_finite());
            assert!(fit.joints_camera.iter().flatten().chain(fit.joints_px.iter().flatten()).all(|x| x.is_finite()));
            assert!(fit.local.iter().all(|r| rotation::is_rotation(r, 1e-6)));
        }
    }
    assert!(fitted > 100, "only {fitted} of 3000 odd inputs were fitted, so this test shows little");
}

#[test]
fn rigs_that_cannot_be_fitted_are_refused() {
    let rig = testrig::humanoid();
    let rebuilt = |change: &dyn Fn(&mut Vec<halfpipe_kit::rig::SurfacePoint>)| {
        let mut surface = rig.surface().to_vec();
        change(&mut surface);
        Fitter::new(&Rig::new(rig.shape_names().to_vec(), rig.joints().to_vec(), surface).unwrap()).unwrap_err()
    };
    assert_eq!(rebuilt(&|s| s.retain(|p| p.name != "right_index")), RigError::NoSurfacePoint { name: "right_index" });
    let two_limbs = vec![(joint::LEFT_HAND, 0.5), (joint::RIGHT_HAND, 0.5)];
    let err = rebuilt(&|s| s.iter_mut().filter(|p| p.name == "left_pinky").for_each(|p| p.bones = two_limbs.clone()));
    assert_eq!(err, RigError::BranchingBones { name: "left_pinky".into() });
    let err = rebuilt(&|s| {
        let heel = s.iter().find(|p| p.name == "left_heel").unwrap().rest;
        s.iter_mut().filter(|p| p.name == "left_toe").for_each(|p| p.rest = heel);
    });
    assert_eq!(err, RigError::ZeroLength { from: "left_heel", to: "left_toe" });
}
