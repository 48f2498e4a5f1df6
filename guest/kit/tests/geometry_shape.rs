//! Shape from bone lengths: known bodies are recognised, and a track's estimate is steadier than its frames'.

use halfpipe_kit::analytic::LandmarkError;
use halfpipe_kit::camera::Pinhole;
use halfpipe_kit::rig::testrig::{self, Person, Random};
use halfpipe_kit::rotation::{Mat3, Vec3};
use halfpipe_kit::shape::{ShapeEstimator, ShapeFitter};

fn person(betas: &[f64], random: &mut Random) -> Person {
    let local = testrig::pose(random, &Mat3::identity());
    testrig::observe(&testrig::humanoid(), betas, &local, &Vec3::new(0.0, 0.0, 4.0), &Pinhole::for_size(640, 480))
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum::<f64>().sqrt()
}

#[test]
fn long_and_short_limbs_are_told_apart() {
    let rig = testrig::humanoid();
    let fitter = ShapeFitter::new(&rig).unwrap();
    let column = |name: &str| rig.shape_names().iter().position(|n| n == name).unwrap();
    for (name, value) in [("leg_length", 0.8), ("leg_length", -0.8), ("height", 0.6), ("shoulder_width", 0.9), ("hip_width", -0.9)] {
        let mut betas = vec![0.0; 8];
        betas[column(name)] = value;
        let p = person(&betas, &mut Random(3));
        let found = fitter.fit(&p.world, &p.visibility).unwrap();
        let got = found[column(name)];
        assert!(got * value > 0.0 && got.abs() > 0.25 * value.abs(), "{name} {value}: {found:?}");
        let largest = found.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap();
        assert_eq!(largest, got, "{name} {value}: {found:?}");
    }
}

#[test]
fn bone_lengths_come_out_right_whatever_the_mix() {
    let rig = testrig::humanoid();
    let fitter = ShapeFitter::new(&rig).unwrap();
    let mut random = Random(8);
    for _ in 0..20 {
        let betas: Vec<f64> = (0..8).map(|i| if i == 0 || i == 2 { 0.0 } else { 0.5 * random.signed() }).collect();
        let p = person(&betas, &mut random);
        let found = fitter.fit(&p.world, &p.visibility).unwrap();
        let (truth, got) = (rig.shaped(&betas).unwrap(), rig.shaped(&found).unwrap());
        for k in [4, 7, 18, 20] {
            let length = |s: &halfpipe_kit::rig::Shaped| s.offsets[k].norm();
            assert!((length(&truth) - length(&got)).abs() < 0.006, "bone {k}: {} became {}", length(&truth), length(&got));
        }
    }
}

#[test]
fn unseen_limbs_say_nothing() {
    let rig = testrig::humanoid();
    let fitter = ShapeFitter::new(&rig).unwrap();
    let p = person(&[0.0, 0.8, 0.0, 0.8, 0.8, 0.8, 0.8, 0.8], &mut Random(3));
    assert_eq!(fitter.fit(&p.world, &[0.0; 33]).unwrap(), vec![0.0; 8]);
}

#[test]
fn a_track_settles_while_its_frames_jump() {
    let fitter = ShapeFitter::new(&testrig::humanoid()).unwrap();
    let betas = [0.0, 0.5, 0.0, -0.4, 0.3, 0.2, -0.3, 0.4];
    let mut random = Random(21);
    let clean = person(&betas, &mut random);
    let truth = fitter.fit(&clean.world, &clean.visibility).unwrap();
    let (mut track, mut single, mut last, mut jump) = (ShapeEstimator::default(), 0.0, vec![0.0; 8], 0.0);
    assert_eq!(track.betas(&fitter), vec![0.0; 8]);
    for frame in 0..200 {
        let mut p = person(&betas, &mut random);
        p.world.iter_mut().flatten().for_each(|x| *x += 0.02 * random.normal() as f32);
        let one = fitter.fit(&p.world, &p.visibility).unwrap();
        single += distance(&one, &truth) / 200.0;
        let now = track.add(&fitter, &p.world, &p.visibility).unwrap();
        if frame == 0 {
            assert!(distance(&now, &one) < 1e-12, "the first frame's estimate is that frame's");
        }
        if frame >= 100 {
            jump = distance(&now, &last).max(jump);
        }
        last = now;
    }
    let settled = distance(&last, &truth);
    assert!(settled < single / 3.0, "frames are off by {single}, the track by {settled}");
    assert!(jump < single / 20.0, "frames are off by {single}, the track still moves by {jump}");
    let before = track.clone().betas(&fitter);
    let err = track.add(&fitter, &[[f32::NAN; 3]; 33], &[1.0; 33]).unwrap_err();
    assert_eq!(err, LandmarkError::NotFinite { index: 0 });
    assert_eq!(track.betas(&fitter), before, "a bad frame leaves the estimate as it was");
}
