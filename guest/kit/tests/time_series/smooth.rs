//! The One-Euro filter: steady at rest, quick in motion, on any timestamps.

use crate::people::Noise;
use halfpipe_kit::blazepose::{LANDMARKS, Landmarks, Roi};
use halfpipe_kit::smooth::{LandmarkOptions, LandmarkSmoother, OneEuroOptions, SmoothVec, Smoothers};

fn options() -> OneEuroOptions {
    OneEuroOptions { min_cutoff: 1.0, beta: 0.5, derivative_cutoff: 1.0, reset_after: 0.5 }
}

#[test]
fn constant_in_constant_out() {
    let mut filter = SmoothVec::new(options());
    for f in 0..50 {
        let t = 3.0 + f64::from(f * f) * 1e-3 / 5.0;
        assert_eq!(filter.apply(t, [1.25, -7.0], 1.0), [1.25, -7.0]);
    }
}

#[test]
fn a_step_is_followed_without_overshoot() {
    let mut filter = SmoothVec::new(options());
    let mut last = 0.0;
    for f in 0..60 {
        let [v] = filter.apply(f64::from(f) / 30.0, [if f < 10 { 0.0 } else { 1.0 }], 1.0);
        assert!(v >= last && v <= 1.0, "frame {f}: {v} after {last}");
        if f == 10 {
            assert!(v > 0.1 && v < 0.9, "{v}");
        }
        last = v;
    }
    assert!(last > 0.99, "{last}");
}

#[test]
fn the_first_steps_are_those_of_the_paper() {
    // alpha(fc) = r / (r + 1), r = 2 pi fc dt; speed 3 / 0.1 after a low-pass of 1 Hz; cut-off 1 + 0.5 |speed|.
    let mut filter = SmoothVec::new(options());
    filter.apply(0.0, [2.0], 1.0);
    let alpha = |fc: f64| (std::f64::consts::TAU * fc * 0.1) / (std::f64::consts::TAU * fc * 0.1 + 1.0);
    let speed = alpha(1.0) * 30.0;
    let expected = 2.0 + alpha(1.0 + 0.5 * speed) * 3.0;
    let [found] = filter.apply(0.1, [5.0], 1.0);
    assert!((found - expected).abs() < 1e-12, "{found} instead of {expected}");
}

/// Deviation of what is left of noise at rest, and the lag (seconds) behind steady motion at `speed` sizes a second.
fn rest_and_lag(options: OneEuroOptions, noise_size: f64, speed: f64) -> (f64, f64) {
    let (mut filter, mut noise) = (SmoothVec::new(options), Noise(1));
    let mut sum = 0.0;
    for f in 0..300 {
        let [v] = filter.apply(f64::from(f) / 30.0, [noise_size * f64::from(noise.next())], 1.0);
        sum += if f >= 60 { v * v } else { 0.0 };
    }
    let mut moving = SmoothVec::new(options);
    let mut lag = 0.0;
    for f in 0..60 {
        let x = speed * f64::from(f) / 30.0;
        lag = (x - moving.apply(f64::from(f) / 30.0, [x], 1.0)[0]) / speed;
    }
    ((sum / 240.0).sqrt(), lag)
}

#[test]
fn jitter_shrinks_and_lag_stays_bounded() {
    let noise = 0.003;
    let raw = noise / 3f64.sqrt();
    let (image, lag) = rest_and_lag(LandmarkOptions::default().image, noise, 0.5);
    assert!(image < 0.6 * raw, "{image} of {raw}");
    assert!(lag < 0.01, "{lag} s at half a crop a second");
    let (alignment, lag) = rest_and_lag(LandmarkOptions::default().alignment, noise, 0.5);
    assert!(alignment < image, "crops are held steadier than landmarks");
    assert!(lag < 0.05, "{lag}");
    // The body's distance: 5 cm of jitter, and a walk of 1.5 m/s.
    let (depth, lag) = rest_and_lag(OneEuroOptions::translation(), 0.05, 1.5);
    assert!(depth < 0.45 * 0.05 / 3f64.sqrt(), "{depth}");
    assert!(lag < 0.06, "{lag}");
}

#[test]
fn speed_is_measured_in_sizes() {
    let run = |scale: f64| {
        let mut filter = SmoothVec::new(options());
        (0..20).map(|f| filter.apply(f64::from(f) / 30.0, [scale * f64::from(f % 4)], scale)[0] / scale).collect::<Vec<_>>()
    };
    let (small, large) = (run(1.0), run(500.0));
    assert!(small.iter().zip(&large).all(|(a, b)| (a - b).abs() < 1e-9), "near and far people are smoothed alike");
}

#[test]
fn irregular_timestamps_follow_the_same_curve() {
    // The same slow wave sampled at even and at uneven times comes out alike.
    let wave = |t: f64| (t * 1.5).sin();
    let run = |steps: &[f64]| {
        let (mut filter, mut t, mut i) = (SmoothVec::new(options()), 0.0, 0);
        let mut worst: f64 = 0.0;
        while t < 4.0 {
            let [v] = filter.apply(t, [wave(t)], 1.0);
            worst = worst.max((v - wave(t)).abs());
            t += steps[i % steps.len()];
            i += 1;
        }
        worst
    };
    let (even, uneven) = (run(&[1.0 / 30.0]), run(&[0.01, 0.06, 0.033, 0.02, 0.045]));
    assert!(even < 0.25 && (even - uneven).abs() < 0.05, "{even} {uneven}");
}

#[test]
fn no_time_long_time_and_no_numbers() {
    let mut filter = SmoothVec::new(options());
    assert!(filter.apply(0.0, [f64::NAN], 1.0)[0].is_nan(), "nothing is known yet");
    assert_eq!(filter.apply(0.0, [1.0], 1.0), [1.0]);
    assert_eq!(filter.apply(0.0, [9.0], 1.0), [1.0], "no time has passed");
    let moved = filter.apply(0.1, [2.0], 1.0);
    assert!(moved[0] > 1.0 && moved[0] < 2.0);
    assert_eq!(filter.apply(0.2, [f64::INFINITY], 1.0), moved);
    assert_eq!(filter.apply(f64::NAN, [3.0], 1.0), moved);
    for scale in [0.0, -1.0, f64::NAN] {
        assert!(filter.apply(0.25 + f64::EPSILON, [2.0], scale)[0].is_finite());
    }
    assert_eq!(filter.apply(0.9, [7.0], 1.0), [7.0], "after a long pause it starts anew");
    assert_eq!(filter.apply(0.5, [4.0], 1.0), [4.0], "a step back in time starts anew");
    filter.reset();
    assert_eq!(filter.apply(0.51, [-4.0], 1.0), [-4.0]);
}

fn landmarks(shift: f32, noise: &mut Noise) -> Landmarks {
    let mut jitter = || noise.next() * 0.8;
    Landmarks {
        presence: 0.9,
        image: std::array::from_fn(|i| [300.0 + shift + 3.0 * i as f32 + jitter(), 200.0 + 5.0 * i as f32 + jitter()]),
        depth: std::array::from_fn(|i| i as f32 + jitter()),
        visibility: std::array::from_fn(|i| if i % 2 == 0 { 1.0 } else { 0.0 }),
        world: std::array::from_fn(|i| [0.01 * i as f32 + 0.01 * jitter(), 0.02 * i as f32, 0.0]),
        alignment: [[350.0 + jitter(), 280.0], [350.0, 100.0 + jitter()]],
        roi: Roi { center: [350.0, 280.0], side: 450.0, rotation: 0.0 },
    }
}

#[test]
fn landmarks_are_steadied_and_keep_their_places() {
    let (mut smoother, mut noise) = (LandmarkSmoother::new(&LandmarkOptions::default()), Noise(3));
    let (mut raw, mut smooth) = (0.0, 0.0);
    for f in 0..120 {
        let l = landmarks(0.0, &mut noise);
        let s = smoother.apply(f64::from(f) / 30.0, &l);
        assert_eq!((s.presence, s.roi), (l.presence, l.roi));
        if f >= 30 {
            for i in 0..LANDMARKS {
                raw += (l.image[i][0] - 300.0 - 3.0 * i as f32).powi(2) + (l.depth[i] - i as f32).powi(2);
                smooth += (s.image[i][0] - 300.0 - 3.0 * i as f32).powi(2) + (s.depth[i] - i as f32).powi(2);
                assert!((s.image[i][1] - 200.0 - 5.0 * i as f32).abs() < 1.0 && (s.world[i][1] - 0.02 * i as f32).abs() < 1e-5);
            }
            assert!((s.alignment[1][1] - 100.0).abs() < 0.5);
        }
    }
    assert!(smooth < 0.3 * raw, "{smooth} of {raw}");
}

#[test]
fn visibility_follows_real_time() {
    let run = |fps: f64| {
        let (mut smoother, mut noise) = (LandmarkSmoother::new(&LandmarkOptions::default()), Noise(3));
        let dark = landmarks(0.0, &mut noise);
        let mut last = 0.0;
        for f in 0..=(fps as u32 / 2) {
            let mut l = dark.clone();
            l.visibility = [if f == 0 { 1.0 } else { 0.0 }; LANDMARKS];
            last = smoother.apply(f64::from(f) / fps, &l).visibility[7];
        }
        last
    };
    assert!((run(30.0) - 0.9f32.powi(15)).abs() < 1e-4, "weight 0.1 a frame at 30 frames a second");
    assert!((run(60.0) - run(30.0)).abs() < 1e-3 && (run(10.0) - run(30.0)).abs() < 1e-3);
}

#[test]
fn every_track_has_its_own_smoother() {
    let (mut smoothers, mut noise) = (Smoothers::new(LandmarkOptions::default()), Noise(3));
    assert!(smoothers.is_empty());
    let (a, b) = (landmarks(0.0, &mut noise), landmarks(200.0, &mut noise));
    assert_eq!(smoothers.apply(1, 0.0, &a), a, "the first sight comes out as it goes in");
    assert_eq!(smoothers.apply(2, 0.0, &b), b);
    let shifted = smoothers.apply(1, 0.033, &b);
    assert!(shifted.image[0][0] > a.image[0][0] && shifted.image[0][0] < b.image[0][0]);
    assert_eq!(smoothers.apply(2, 2.0, &a), a, "back after a long time: starts anew");
    smoothers.remove(1);
    assert_eq!(smoothers.len(), 1);
    assert_eq!(smoothers.apply(1, 0.066, &b), b);
}
