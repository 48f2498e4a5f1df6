//! Measures the time of a fit: `cargo run --release -p halfpipe-kit --example fit_speed [people]`.
//!
//! Also prints what the steps buy: the median reprojection error of the closed form and of the fit, on landmarks with
//! noise of a real network's size.

use std::time::Instant;

use halfpipe_kit::camera::Pinhole;
use halfpipe_kit::fit::{Fit, FitError, FitOptions, Fitter, Observation};
use halfpipe_kit::rig::{RigError, testrig};
use halfpipe_kit::rotation::{Vec3, exp};

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Rig(#[from] RigError),
    #[error(transparent)]
    Fit(#[from] FitError),
}

fn main() -> Result<(), Failure> {
    let people: usize = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(500);
    let rig = testrig::humanoid();
    let fitter = Fitter::new(&rig)?;
    let camera = Pinhole::for_size(1280, 720);
    let mut random = testrig::Random(7);
    let seen: Vec<_> = (0..people)
        .map(|_| {
            let facing = exp(&Vec3::new(0.0, 3.0 * random.signed(), 0.0));
            let local = testrig::pose(&mut random, &facing);
            let at = Vec3::new(random.signed(), 0.2 * random.signed(), 4.0 + random.signed());
            let mut person = testrig::observe(&rig, &vec![0.0; rig.shape_names().len()], &local, &at, &camera);
            person.image.iter_mut().flatten().for_each(|x| *x += 3.0 * random.normal() as f32);
            person.world.iter_mut().flatten().for_each(|x| *x += 0.03 * random.normal() as f32);
            person
        })
        .collect();
    let run = |label: &str, options: &FitOptions| -> Result<Vec<Fit>, FitError> {
        let started = Instant::now();
        let fits: Vec<Fit> = seen
            .iter()
            .map(|p| fitter.fit(&Observation { image: &p.image, visibility: &p.visibility, world: &p.world }, &camera, options))
            .collect::<Result<_, _>>()?;
        let each = started.elapsed().as_secs_f64() * 1e3 / people as f64;
        let mut residuals: Vec<f64> = fits.iter().map(|f| f.residual_px).collect();
        residuals.sort_by(f64::total_cmp);
        let steps = fits.iter().map(|f| f.steps).sum::<usize>() as f64 / people as f64;
        println!("{label}: {each:.4} ms a fit, {steps:.2} steps, median residual {:.2} px", residuals[people / 2]);
        Ok(fits)
    };
    let still = FitOptions::default();
    run("warm-up           ", &still)?;
    run("closed form       ", &FitOptions { steps: 0, ..still })?;
    run("six steps         ", &FitOptions { tolerance: 0.0, ..still })?;
    run("until they settle ", &still)?;
    Ok(())
}
