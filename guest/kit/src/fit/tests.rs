//! Derivatives against finite differences. What a fit must achieve stands in the crate's integration tests.

use super::problem::POINTS;
use super::*;
use crate::rig::testrig;

/// Smooth made-up numbers between -1 and 1.
fn wave(i: usize) -> f64 {
    ((i as f64) * 2.399 + 0.7).sin()
}

fn with_problem(test: impl FnOnce(&Fitter, &Problem)) {
    let rig = testrig::humanoid();
    let fitter = Fitter::new(&rig).unwrap();
    let camera = Pinhole::for_size(640, 480);
    let shaped = rig.shaped(&[0.2; 8]).unwrap();
    let start = std::array::from_fn(|k| rotation::exp(&Vec3::new(wave(k), wave(k + 50), wave(k + 100)).scale(0.6)));
    let image = std::array::from_fn(|i| [320.0 + 150.0 * wave(i), 240.0 + 200.0 * wave(i + 40)]);
    let world = std::array::from_fn(|i| Vec3::new(wave(i + 1), wave(i + 41), wave(i + 81)).scale(0.5));
    let visibility = std::array::from_fn(|i| 0.5 + 0.5 * wave(i + 7));
    let parts = (&fitter.tree, fitter.points.as_slice(), &camera);
    test(&fitter, &Problem::new(parts, shaped, start, &image, (&world, &visibility)).unwrap());
}

fn state() -> State {
    State {
        theta: std::array::from_fn(|n| Vec3::new(wave(n + 3), wave(n + 33), wave(n + 63)).scale(0.5)),
        translation: Vec3::new(0.2, -0.1, 3.0),
    }
}

fn moved(state: &State, unknown: usize, by: f64) -> State {
    let mut s = state.clone();
    match unknown / 3 {
        0 => s.translation[unknown] += by,
        n => s.theta[n - 1][unknown % 3] += by,
    }
    s
}

#[test]
fn normal_equations_agree_with_finite_differences() {
    with_problem(|fitter, problem| {
        let state = state();
        let r = problem.residuals(&state);
        let unknowns = 3 + 3 * FREE.len();
        assert_eq!(r.len(), POINTS * 5 + FREE.len() * 3);
        let h = 1e-6;
        let mut jacobian = nalgebra::DMatrix::zeros(r.len(), unknowns);
        for c in 0..unknowns {
            let d = problem.residuals(&moved(&state, c, h)) - problem.residuals(&moved(&state, c, -h));
            jacobian.set_column(c, &(d / (2.0 * h)));
        }
        let (a, g) = problem.linearise(&problem.pose(&state.theta), &state).dense(&fitter.tree);
        let (want_a, want_g) = (jacobian.tr_mul(&jacobian), jacobian.tr_mul(&r));
        // the whole matrix: a block that the tree leaves out must be zero in truth
        assert!((&a - &want_a).amax() < 1e-6 * want_a.amax(), "off by {}", (&a - &want_a).amax());
        assert!((&g - &want_g).amax() < 1e-6 * want_g.amax(), "off by {}", (&g - &want_g).amax());
    });
}

#[test]
fn the_cost_is_the_sum_of_squared_residuals() {
    with_problem(|_, problem| {
        let state = state();
        let cost = problem.cost(&problem.pose(&state.theta), &state);
        assert!((cost - problem.residuals(&state).norm_squared()).abs() < 1e-9);
        let behind = State { translation: Vec3::new(0.0, 0.0, -3.0), ..state };
        assert_eq!(problem.cost(&problem.pose(&behind.theta), &behind), f64::INFINITY);
    });
}

#[test]
fn the_median_is_the_middle() {
    assert_eq!(median(vec![]), None);
    assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
    assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
}
