//! The fit on real landmarks: 65 frames of a person who squats, as BlazePose's makers' own code saw them
//! (tests/fixtures/clips in the repository). The body is the made-up test rig, so only what any body must meet is asked.

use halfpipe_kit::angles;
use halfpipe_kit::camera::Pinhole;
use halfpipe_kit::fit::{Fit, FitOptions, Fitter, Observation};
use halfpipe_kit::rig::testrig;
use halfpipe_kit::shape::ShapeEstimator;
use halfpipe_kit::skeleton::{LANDMARKS, landmark as l};

const WIDTH: u32 = 720;
const HEIGHT: u32 = 1280;

type Frames = Vec<Vec<[f64; 3]>>;

fn frames(text: &str) -> Frames {
    serde_json::from_str(text).expect("the fixture is [frames][33][3] numbers")
}

fn single<const N: usize>(points: &[[f64; 3]]) -> [[f32; N]; LANDMARKS] {
    assert_eq!(points.len(), LANDMARKS);
    std::array::from_fn(|i| std::array::from_fn(|c| points[i][c] as f32))
}

/// Each frame's world landmarks and fit, with the shape of the whole track so far, started from the frame before.
fn fits() -> Vec<([[f32; 3]; LANDMARKS], Fit)> {
    let image = frames(include_str!("../../../tests/fixtures/clips/tfjs_pose_squats.full.json"));
    let world = frames(include_str!("../../../tests/fixtures/clips/tfjs_pose_squats_3d.full.json"));
    let fitter = Fitter::new(&testrig::humanoid()).expect("the test rig can be fitted");
    let camera = Pinhole::for_size(WIDTH, HEIGHT);
    let (mut shape, mut all) = (ShapeEstimator::default(), Vec::<([[f32; 3]; LANDMARKS], Fit)>::new());
    // the fixture holds no visibilities; the person is in full view throughout
    let visibility = [1.0; LANDMARKS];
    for (image, world) in image.iter().zip(&world) {
        let image: [[f32; 2]; LANDMARKS] = single(image);
        let hips = std::array::from_fn(|c| f64::from(image[l::LEFT_HIP][c] + image[l::RIGHT_HIP][c]) / 2.0);
        let world = camera.rotate_to_ray(hips, &single(world));
        let betas = shape.add(fitter.shape(), &world, &visibility).expect("the fixture is finite");
        let options = FitOptions { betas: Some(&betas), previous: all.last().map(|a| &a.1), ..Default::default() };
        let observation = Observation { image: &image, visibility: &visibility, world: &world };
        let fit = fitter.fit(&observation, &camera, &options).expect("every frame shows a whole person");
        all.push((world, fit));
    }
    all
}

#[test]
fn the_body_lies_on_the_person() {
    let mut residuals: Vec<f64> = fits().iter().map(|f| f.1.residual_px * 640.0 / f64::from(WIDTH)).collect();
    assert_eq!(residuals.len(), 65);
    residuals.sort_by(f64::total_cmp);
    // the product's bound, at a width of 640, and none far beyond it
    assert!(residuals[32] < 5.0 && residuals[64] < 10.0, "median {}, worst {}", residuals[32], residuals[64]);
}

#[test]
fn knees_bend_as_the_landmarks_do() {
    let mut deepest = 180.0f64;
    for (frame, (world, fit)) in fits().iter().enumerate() {
        let angles = angles::joint_angles(&fit.joints_camera);
        for (side, got) in angles[..2].iter().enumerate() {
            let at = |i: usize| world[i + side].map(f64::from).into();
            let seen = angles::angle_at(&at(l::LEFT_HIP), &at(l::LEFT_KNEE), &at(l::LEFT_ANKLE)).expect("legs have a length");
            let got = got.expect("fitted joints are apart");
            assert!((got - seen).abs() < 20.0, "frame {frame}, side {side}: the landmarks say {seen}, the body {got}");
            deepest = deepest.min(got);
        }
    }
    assert!(deepest < 90.0, "a squat goes below {deepest} degrees");
}

#[test]
fn the_body_keeps_its_size_and_moves_steadily() {
    let fits = fits();
    for (frame, pair) in fits.windows(2).enumerate().skip(10) {
        let [(_, a), (_, b)] = pair else { continue };
        let largest = a.betas.iter().zip(&b.betas).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
        assert!(largest < 0.06, "frame {frame}: a shape parameter jumps by {largest}");
        // five frames a second: a squat moves the pelvis by decimetres, never by metres
        let moved = (0..3).map(|c| (a.translation[c] - b.translation[c]).powi(2)).sum::<f64>().sqrt();
        assert!(moved < 0.4, "frame {frame}: the body jumps by {moved} m");
    }
}
