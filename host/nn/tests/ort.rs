//! The ONNX Runtime engine on small graphs: conformance, and errors that say what to do.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use halfpipe_nn::ort::{OrtConfig, OrtEngine, OrtLibrary};
use halfpipe_nn::{Catalog, CatalogError, Device, Engine, NnError, Tensor, conformance};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn config(device: Device) -> OrtConfig {
    let catalog = Catalog::load(&fixtures().join("catalog.toml")).unwrap();
    OrtConfig { library: None, device, intra_threads: Some(1), catalog: Arc::new(catalog), models_dir: fixtures() }
}

fn engine() -> OrtEngine {
    OrtEngine::new(config(Device::Cpu)).expect("these tests need ONNX Runtime: run `make models`")
}

#[test]
fn the_engine_conforms() {
    conformance::all(&engine());
}

#[test]
fn several_sessions_conform_as_one_does() {
    for threads in [2, 3] {
        conformance::all(&OrtEngine::new(OrtConfig { intra_threads: Some(threads), ..config(Device::Cpu) }).unwrap());
    }
}

#[test]
fn a_device_that_is_not_there_is_an_error_with_a_remedy() {
    engine();
    let cpu_build = OrtLibrary::load(None).unwrap().providers().unwrap().iter().all(|p| p.built_in == (p.name == "CPUExecutionProvider"));
    assert!(cpu_build, "this test needs the CPU build of ONNX Runtime that `make models` fetches");
    for device in [Device::Cuda { id: 0 }, Device::TensorRt { id: 0 }] {
        let error = OrtEngine::new(config(device)).unwrap_err();
        assert!(matches!(error, NnError::Device { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(&device.to_string()) && text.contains(device.provider()), "{text}");
        assert!(text.contains("HALFPIPE_ORT_LIB") && text.contains("`auto`"), "{text}");
    }
    let auto = OrtEngine::new(config(Device::Auto)).unwrap();
    assert_eq!(auto.device().device, "cpu");
    assert!(auto.device().reason.contains("auto chose the CPU, because") && auto.device().reason.contains("CUDA"), "{:?}", auto.device());
}

#[test]
fn a_second_library_is_refused_and_the_same_one_is_shared() {
    engine();
    let first = OrtLibrary::load(None).unwrap();
    assert!(std::ptr::eq(first, OrtLibrary::load(Some(first.path())).unwrap()));
    assert!(first.build().contains("ORT Build Info"), "{}", first.build());
    let text = OrtLibrary::load(Some(&fixtures().join("README.md"))).unwrap_err().to_string();
    assert!(text.contains("loaded already"), "{text}");
    let text = OrtLibrary::load(Some(Path::new("/nowhere/libonnxruntime.so"))).unwrap_err().to_string();
    assert!(text.contains("/nowhere/libonnxruntime.so") && text.contains("make models"), "{text}");
}

#[test]
fn altered_and_missing_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = std::fs::read(fixtures().join("double.onnx")).unwrap();
    bytes[20] ^= 1;
    std::fs::write(dir.path().join("double.onnx"), bytes).unwrap();
    let engine = OrtEngine::new(OrtConfig { models_dir: dir.path().to_owned(), ..config(Device::Cpu) }).unwrap();
    assert!(matches!(engine.load("double").err(), Some(NnError::Catalog(CatalogError::Altered { .. }))));
    assert!(matches!(engine.load("pair").err(), Some(NnError::Catalog(CatalogError::Missing { .. }))));
}

/// 300 numbers from -2 to 2, as `make_fixtures.py` writes them.
fn weights() -> impl Iterator<Item = f32> {
    (0..300u16).map(|i| -2.0 + 4.0 * f32::from(i) / 299.0)
}

#[test]
fn weights_in_a_file_of_their_own_are_used() {
    let engine = engine();
    for (name, close) in [("weighted_f32", 1e-6), ("weighted_f16", 2e-3)] {
        let mut model = engine.load(name).unwrap();
        // the bytes are given back after loading; the session must have its own
        let other = engine.load(name).unwrap();
        drop(other);
        let x = Tensor::from_vec(vec![2, 300], [vec![1f32; 300], vec![3f32; 300]].concat()).unwrap();
        let y = model.run(&[("x".into(), x)]).unwrap();
        let y = y[0].as_f32().unwrap();
        for (i, w) in weights().enumerate() {
            assert!((y[i] - w).abs() < close && (y[300 + i] - 3.0 * w).abs() < 3.0 * close, "{name}, {i}: {} is not {w}", y[i]);
        }
    }
}

#[test]
fn altered_missing_and_unlisted_weights_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let copy = |file: &str| std::fs::copy(fixtures().join(file), dir.path().join(file)).unwrap();
    copy("weighted_f32.onnx");
    let engine = OrtEngine::new(OrtConfig { models_dir: dir.path().to_owned(), ..config(Device::Cpu) }).unwrap();
    let error = engine.load("weighted_f32").err().unwrap();
    assert!(matches!(&error, NnError::Catalog(CatalogError::Missing { .. })) && error.to_string().contains("weighted_f32.data"), "{error}");

    copy("weighted_f32.data");
    assert!(engine.load("weighted_f32").is_ok());
    let mut bytes = std::fs::read(dir.path().join("weighted_f32.data")).unwrap();
    for altered in [
        {
            bytes[700] ^= 1;
            bytes.clone()
        },
        bytes[..1196].to_vec(),
        [bytes, vec![0; 4]].concat(),
    ] {
        std::fs::write(dir.path().join("weighted_f32.data"), altered).unwrap();
        let error = engine.load("weighted_f32").err().unwrap();
        assert!(
            matches!(&error, NnError::Catalog(CatalogError::Altered { .. })) && error.to_string().contains("weighted_f32.data"),
            "{error}"
        );
    }

    // the right file lies beside the model, but nobody vouches for it
    copy("weighted_f32.data");
    let text = std::fs::read_to_string(fixtures().join("catalog.toml")).unwrap();
    let unlisted: String = text.lines().filter(|line| !line.starts_with("data = ")).flat_map(|line| [line, "\n"]).collect();
    let catalog = Arc::new(Catalog::parse(&unlisted, "unlisted.toml").unwrap());
    let engine = OrtEngine::new(OrtConfig { catalog, models_dir: dir.path().to_owned(), ..config(Device::Cpu) }).unwrap();
    let text = engine.load("weighted_f32").err().unwrap().to_string();
    assert!(text.contains("does not list under `data`"), "{text}");
}

#[test]
fn a_graph_that_is_not_what_the_catalog_states_is_refused() {
    let text = std::fs::read_to_string(fixtures().join("catalog.toml")).unwrap();
    for (from, to, wanted) in [
        ("name = \"sum\", type = \"f32\"", "name = \"sum\", type = \"f16\"", "`sum` f32 [any, 3]"),
        ("name = \"sum\"", "name = \"total\"", "`total`"),
        ("{ name = \"a\", type = \"f32\", dims = [0, 3] },", "", "2 inputs, not 1"),
        ("name = \"a\", type = \"f32\", dims = [0, 3]", "name = \"a\", type = \"f32\", dims = [0, 4]", "[0, 4]"),
    ] {
        let catalog = Catalog::parse(&text.replace(from, to), "changed.toml").unwrap();
        let engine = OrtEngine::new(OrtConfig { catalog: Arc::new(catalog), ..config(Device::Cpu) }).unwrap();
        let error = engine.load("pair").err().unwrap();
        assert!(matches!(error, NnError::Mismatch { .. }) && error.to_string().contains(wanted), "{error}");
    }
}

#[test]
fn bytes_that_are_no_graph_are_an_error() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("double.onnx"), "abc").unwrap();
    let text = std::fs::read_to_string(fixtures().join("catalog.toml")).unwrap();
    let catalog = Catalog::load(&fixtures().join("catalog.toml")).unwrap();
    let old = catalog.entry("double").unwrap().onnx().sha256.to_owned();
    // the digest of "abc"
    let text = text.replace(&old, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    let catalog = Arc::new(Catalog::parse(&text, "changed.toml").unwrap());
    let engine = OrtEngine::new(OrtConfig { catalog, models_dir: dir.path().to_owned(), ..config(Device::Cpu) }).unwrap();
    assert!(matches!(engine.load("double").err(), Some(NnError::Engine { .. })));
}
