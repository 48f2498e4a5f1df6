//! The real models of the built-in catalog, as `make models` makes them.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::PathBuf;
use std::sync::Arc;

use halfpipe_core::{Pending, StageClock};
use halfpipe_nn::catalog::{Entry, models_dir, verify};
use halfpipe_nn::{BodyRig, Catalog, CatalogError, Device, ModelHandle, NnConfig, NnError, NnLane, Tensor};

const NEEDED: &str = "these tests need the models and ONNX Runtime: run `make models`";

fn directory() -> PathBuf {
    let dir = models_dir(None).expect(NEEDED);
    assert!(dir.is_dir(), "{NEEDED} ({} is missing)", dir.display());
    dir
}

fn lane(models_dir: PathBuf) -> NnLane {
    let config = NnConfig {
        library: None,
        device: Device::Cpu,
        // two, so that batches are shared by two sessions
        intra_threads: Some(2),
        catalog: Arc::new(Catalog::builtin().unwrap()),
        models_dir,
        clock: StageClock::default(),
    };
    NnLane::start(config).expect(NEEDED)
}

fn compute(lane: &NnLane, model: &ModelHandle, inputs: &[(&str, Tensor)]) -> Vec<Tensor> {
    let inputs = inputs.iter().map(|(n, t)| ((*n).to_owned(), Pending::ready(t.clone()))).collect();
    let out = lane.compute_blocking(model, inputs, &StageClock::default()).unwrap();
    out.iter().map(|(_, t)| t.wait_blocking().unwrap().as_ref().clone()).collect()
}

/// Numbers in 0..1 that look random (a linear congruential generator, Numerical Recipes' constants).
fn noise(n: usize, mut seed: u32) -> Vec<f32> {
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as f32 / 16_777_216.0
    };
    (0..n).map(|_| next()).collect()
}

/// Row `i` of a tensor, as a batch of one.
fn row(t: &Tensor, i: usize) -> Tensor {
    let n = t.len() / t.dims()[0];
    let dims = [&[1], &t.dims()[1..]].concat();
    Tensor::from_vec(dims, t.as_f32().unwrap()[i * n..(i + 1) * n].to_vec()).unwrap()
}

/// Checks that four rows together give what they give alone, within 1e-4 of the output's largest value.
fn batch_equals_rows(lane: &NnLane, name: &str, inputs: &[(&str, Tensor)]) {
    let model = lane.load_blocking(name).unwrap();
    let together = compute(lane, &model, inputs);
    assert!(together.iter().any(|t| row(t, 0) != row(t, 1)), "{name}: the rows do not matter");
    for i in 0..4 {
        let one: Vec<_> = inputs.iter().map(|(n, t)| (*n, row(t, i))).collect();
        for ((alone, all), port) in compute(lane, &model, &one).iter().zip(&together).zip(&model.ports().outputs) {
            let all = row(all, i);
            let (alone, all) = (alone.as_f32().unwrap(), all.as_f32().unwrap());
            assert!(alone.iter().all(|v| v.is_finite()), "{name}: `{}` is not finite", port.name);
            let largest = alone.iter().fold(1.0f32, |m, v| m.max(v.abs()));
            let most = alone.iter().zip(all).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
            assert!(most <= 1e-4 * largest, "{name}: `{}` differs by {most} of {largest} in row {i}", port.name);
        }
    }
}

#[test]
fn every_model_and_rig_of_the_catalog_loads() {
    let dir = directory();
    let lane = lane(dir.clone());
    let catalog = Catalog::builtin().unwrap();
    for entry in catalog.entries() {
        entry.files().into_iter().for_each(|f| verify(f, &dir).unwrap());
        let model = lane.load_blocking(entry.name()).unwrap();
        assert!(model.load_secs() > 0.0);
        if let Entry::Body(body) = entry {
            let rig = BodyRig::load(body, &dir).unwrap();
            let topology = rig.topology();
            assert_eq!((topology.vertices, topology.faces.len()), (body.vertices, body.faces as usize));
            let shape = model.ports().inputs.iter().find(|p| p.name == "shape").unwrap();
            assert_eq!(shape.dims, [0, rig.shapes()]);
        }
    }
}

#[test]
fn a_body_in_its_bind_pose_is_the_rigs_mesh() {
    let dir = directory();
    let lane = lane(dir.clone());
    for body in Catalog::builtin().unwrap().bodies() {
        let rig = BodyRig::load(body, &dir).unwrap();
        let model = lane.load_blocking(&body.name).unwrap();
        // a joint's global rotation is its bind rotation where the local one is (the parent's, inverted) x its own
        let local = (0..24).flat_map(|j| {
            let own = rig.bind_rotation[j];
            let parent = rig.parents[j].map(|p| rig.bind_rotation[p as usize]);
            (0..9).map(move |e| parent.map_or(own[e / 3][e % 3], |p| (0..3).map(|i| p[i][e / 3] * own[i][e % 3]).sum()))
        });
        let rotations = Tensor::from_vec(vec![1, 24, 3, 3], local.collect()).unwrap();
        let betas = noise(rig.shapes(), 7);
        let shape = Tensor::from_vec(vec![1, rig.shapes()], betas.clone()).unwrap();
        let out = compute(&lane, &model, &[("rotations", rotations), ("shape", shape)]);
        let moved = |rest: [f32; 3], directions: Vec<[f32; 3]>| {
            directions.iter().zip(&betas).fold(rest, |p, (d, b)| std::array::from_fn(|a| p[a] + b * d[a]))
        };
        let vertices = (0..rig.v_template.len()).map(|i| moved(rig.v_template[i], rig.vertex_shape(i)));
        let joints = (0..24).map(|i| moved(rig.j_template[i], rig.joint_shape(i)));
        for (got, want) in out.iter().zip([vertices.collect::<Vec<_>>(), joints.collect()]) {
            let got = got.as_f32().unwrap();
            let most = got.iter().zip(want.as_flattened()).fold(0.0f32, |m, (g, w)| m.max((g - w).abs()));
            assert!(got.len() == 3 * want.len() && most < 1e-4, "{}: off by {most} m", body.name);
        }
    }
}

#[test]
fn a_batch_of_bodies_equals_its_rows() {
    let lane = lane(directory());
    // turns about the x axis by up to a radian
    let mut rotations = Vec::new();
    for angle in noise(4 * 24, 1) {
        let (s, c) = angle.sin_cos();
        rotations.extend([1.0, 0.0, 0.0, 0.0, c, -s, 0.0, s, c]);
    }
    let rotations = Tensor::from_vec(vec![4, 24, 3, 3], rotations).unwrap();
    for body in Catalog::builtin().unwrap().bodies() {
        let shapes = body.inputs.iter().find(|p| p.name == "shape").unwrap().dims[1];
        let shape = Tensor::from_vec(vec![4, shapes], noise(4 * shapes, 2)).unwrap();
        batch_equals_rows(&lane, &body.name, &[("rotations", rotations.clone()), ("shape", shape)]);
    }
}

#[test]
fn a_batch_of_images_equals_its_rows() {
    let lane = lane(directory());
    let image = |side: usize, scale: f32| {
        let values = noise(4 * 3 * side * side, 3).into_iter().map(|v| v * scale).collect();
        Tensor::from_vec(vec![4, 3, side, side], values).unwrap()
    };
    batch_equals_rows(&lane, "movenet_multipose", &[("image", image(128, 255.0))]);
    batch_equals_rows(&lane, "pose_landmark_full", &[("image", image(256, 1.0))]);
}

#[test]
fn an_altered_model_file_is_refused_and_a_missing_one_says_what_to_run() {
    let (dir, copy) = (directory(), tempfile::tempdir().unwrap());
    let name = "halfpipe_body_small";
    let catalog = Catalog::builtin().unwrap();
    let file = catalog.entry(name).unwrap().onnx().file;
    let mut bytes = std::fs::read(dir.join(file)).expect(NEEDED);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(copy.path().join(file), bytes).unwrap();
    let lane = lane(copy.path().to_owned());
    let error = lane.load_blocking(name).unwrap_err();
    assert!(matches!(error, NnError::Catalog(CatalogError::Altered { .. })), "{error}");
    assert!(error.to_string().contains(file) && error.to_string().contains("make models"), "{error}");
    let error = lane.load_blocking("pose_landmark_lite").unwrap_err();
    assert!(matches!(error, NnError::Catalog(CatalogError::Missing { .. })), "{error}");
    let error = BodyRig::load(catalog.body(name).unwrap(), copy.path()).unwrap_err();
    assert!(matches!(error, NnError::Catalog(CatalogError::Missing { .. })), "{error}");
}
