//! A reduced HMR2 and a made-up SMPL, imported as users import theirs, against what PyTorch and smplx give (`make hmr2-fixture`;
//! `models/tests/hmr2/fixture.py` says how it is made).
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use halfpipe_core::{Pending, StageClock};
use halfpipe_nn::catalog::{cache_dir, verify};
use halfpipe_nn::{BodyRig, Catalog, CatalogError, Device, NnConfig, NnError, NnLane, Tensor};
use safetensors::SafeTensors;

const NEEDED: &str = "these tests need ONNX Runtime, a reduced HMR2 and a made-up SMPL: run `make models hmr2-fixture`";

fn fixture() -> PathBuf {
    let given = std::env::var_os("HALFPIPE_HMR2_FIXTURE").map(PathBuf::from);
    let dir = given.or_else(|| cache_dir().map(|cache| cache.join("hmr2-fixture"))).expect(NEEDED);
    assert!(dir.join("expected.safetensors").is_file(), "{NEEDED} ({} is missing)", dir.display());
    dir
}

fn lane(models_dir: &Path) -> NnLane {
    let config = NnConfig {
        library: None,
        device: Device::Cpu,
        intra_threads: Some(1),
        catalog: Arc::new(Catalog::installed(&fixture(), None).unwrap()),
        models_dir: models_dir.to_owned(),
        clock: StageClock::default(),
    };
    NnLane::start(config).expect(NEEDED)
}

/// The named tensors of `expected.safetensors`, f32.
fn expected<const N: usize>(names: [&str; N]) -> [Tensor; N] {
    let bytes = std::fs::read(fixture().join("expected.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    names.map(|name| {
        let view = file.tensor(name).unwrap();
        let values = view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect::<Vec<f32>>();
        Tensor::from_vec(view.shape().to_vec(), values).unwrap()
    })
}

fn compute(lane: &NnLane, model: &str, inputs: &[(&str, Tensor)]) -> Vec<(String, Tensor)> {
    let model = lane.load_blocking(model).unwrap();
    let inputs = inputs.iter().map(|(n, t)| ((*n).to_owned(), Pending::ready(t.clone()))).collect();
    let out = lane.compute_blocking(&model, inputs, &StageClock::default()).unwrap();
    out.iter().map(|(n, t)| (n.clone(), t.wait_blocking().unwrap().as_ref().clone())).collect()
}

/// Row `i` of a tensor, as a batch of one.
fn row(t: &Tensor, i: usize) -> Tensor {
    let n = t.len() / t.dims()[0];
    let dims = [&[1], &t.dims()[1..]].concat();
    Tensor::from_vec(dims, t.as_f32().unwrap()[i * n..(i + 1) * n].to_vec()).unwrap()
}

/// The largest difference, and the largest number of `want`.
fn difference(got: &Tensor, want: &Tensor) -> (f32, f32) {
    assert_eq!(got.dims(), want.dims());
    let (got, want) = (got.as_f32().unwrap(), want.as_f32().unwrap());
    assert!(got.iter().all(|v| v.is_finite()));
    let most = got.iter().zip(want).fold(0.0_f32, |m, (g, w)| m.max((g - w).abs()));
    (most, want.iter().fold(0.0_f32, |m, w| m.max(w.abs())))
}

#[test]
fn hmr2_gives_what_pytorch_gives_in_either_precision() {
    const OUTPUTS: [&str; 4] = ["global_orient", "body_pose", "betas", "pred_cam"];
    let lane = lane(&fixture());
    let ([img], wanted) = (expected(["img"]), expected(OUTPUTS));
    assert_eq!(img.dims(), [8, 3, 256, 256]);
    for (model, close) in [("hmr2", 1e-4), ("hmr2_fp16", 1e-2)] {
        let together = compute(&lane, model, &[("img", img.clone())]);
        assert_eq!(together.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>(), OUTPUTS);
        for ((name, got), want) in together.iter().zip(&wanted) {
            let (most, largest) = difference(got, want);
            println!("{model}, {name}: {:.1e} of the largest number", most / largest);
            assert!(most <= close * largest, "{model}, `{name}` is off by {most}, the largest number is {largest}");
            // the pictures matter
            assert!(difference(&row(got, 0), &row(got, 1)).0 > 1e-3 * largest, "{model}, `{name}` is the same for two pictures");
        }
        for i in 0..8 {
            for ((name, alone), (_, all)) in compute(&lane, model, &[("img", row(&img, i))]).iter().zip(&together) {
                let (most, largest) = difference(alone, &row(all, i));
                assert!(most <= close / 10.0 * largest.max(1.0), "{model}, `{name}`: picture {i} alone differs by {most}");
            }
        }
    }
}

#[test]
fn smpl_gives_what_smplx_gives() {
    let lane = lane(&fixture());
    let ([rotations, shape], wanted) = (expected(["rotations", "shape"]), expected(["vertices", "joints", "openpose"]));
    let got = compute(&lane, "smpl_neutral", &[("rotations", rotations.clone()), ("shape", shape.clone())]);
    assert_eq!(got.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>(), ["vertices", "joints", "openpose"]);
    for ((name, got), want) in got.iter().zip(&wanted) {
        let (most, largest) = difference(got, want);
        println!("{name}: {most:.1e} m");
        assert!(largest > 0.5 && most < 1e-5, "`{name}` is off by {most} m");
    }
    let alone = compute(&lane, "smpl_neutral", &[("rotations", row(&rotations, 5)), ("shape", row(&shape, 5))]);
    for ((name, alone), (_, all)) in alone.iter().zip(&got) {
        assert!(difference(alone, &row(all, 5)).0 < 1e-6, "`{name}` of one body alone is another");
    }
    let catalog = Catalog::installed(&fixture(), None).unwrap();
    let rig = BodyRig::load(catalog.body("smpl_neutral").unwrap(), &fixture()).unwrap();
    assert_eq!((rig.shapes(), rig.joint_names[0].as_str()), (10, "pelvis"));
}

#[test]
fn altered_weights_of_hmr2_are_refused() {
    let copy = tempfile::tempdir().unwrap();
    let catalog = Catalog::installed(&fixture(), None).unwrap();
    let entry = catalog.entry("hmr2").unwrap();
    let [graph, weights] = entry.files()[..] else { panic!("hmr2 has a graph and weights") };
    std::fs::copy(fixture().join(graph.file), copy.path().join(graph.file)).unwrap();
    let lane = lane(copy.path());
    let error = lane.load_blocking("hmr2").unwrap_err();
    assert!(matches!(error, NnError::Catalog(CatalogError::Missing { .. })) && error.to_string().contains(weights.file), "{error}");
    let mut bytes = std::fs::read(fixture().join(weights.file)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(copy.path().join(weights.file), bytes).unwrap();
    let error = lane.load_blocking("hmr2").unwrap_err();
    assert!(matches!(error, NnError::Catalog(CatalogError::Altered { .. })) && error.to_string().contains(weights.file), "{error}");
    assert!(verify(weights, copy.path()).is_err() && verify(weights, &fixture()).is_ok());
}
