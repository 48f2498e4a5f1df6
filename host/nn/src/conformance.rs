//! What every engine must do, as checks that the fake engine and the one on ONNX Runtime both pass.
//!
//! The checks panic where an engine does not conform: they are tests, kept here so that both engines share them. An engine
//! under test offers the models of `tests/fixtures/catalog.toml`.
#![allow(clippy::unwrap_used, reason = "these are tests, compiled for tests only")]

use crate::{CatalogError, Engine, NnError, Tensor, TensorType};

/// Every element type.
pub const TYPES: [TensorType; 7] =
    [TensorType::F16, TensorType::F32, TensorType::F64, TensorType::BF16, TensorType::U8, TensorType::I32, TensorType::I64];

/// Runs every check.
pub fn all(engine: &dyn Engine) {
    ports_are_told(engine);
    values_are_computed(engine);
    several_inputs_go_by_name(engine);
    every_type_passes_unchanged(engine);
    a_batch_equals_its_rows(engine);
    an_unknown_model_is_named(engine);
    running_out_of_memory_is_told_and_survived(engine);
    the_device_is_told(engine);
    sessions_compute_the_same(engine);
}

fn run(engine: &dyn Engine, model: &str, inputs: &[(&str, Tensor)]) -> Result<Vec<Tensor>, NnError> {
    let mut model_ready = engine.load(model).unwrap();
    let inputs: Vec<_> = inputs.iter().map(|(n, t)| ((*n).to_owned(), t.clone())).collect();
    model_ready.ports().check(model, &inputs).unwrap();
    model_ready.run(&inputs)
}

fn rows(values: &[f32]) -> Tensor {
    Tensor::from_vec(vec![values.len() / 3, 3], values.to_vec()).unwrap()
}

/// Names, types and dimensions of inputs and outputs, with 0 for a free one.
pub fn ports_are_told(engine: &dyn Engine) {
    let model = engine.load("pair").unwrap();
    let text = |ports: &[crate::Port]| ports.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    assert_eq!(text(&model.ports().inputs), "`a` f32 [any, 3]; `b` f32 [any, 3]");
    assert_eq!(text(&model.ports().outputs), "`sum` f32 [any, 3]; `difference` f32 [any, 3]");
}

/// The numbers are right.
pub fn values_are_computed(engine: &dyn Engine) {
    let out = run(engine, "double", &[("x", rows(&[1.0, -2.0, 0.5]))]).unwrap();
    assert_eq!(out, [rows(&[2.0, -4.0, 1.0])]);
}

/// Inputs are bound by name in any order, outputs come in port order.
pub fn several_inputs_go_by_name(engine: &dyn Engine) {
    let (a, b) = (rows(&[5.0, 6.0, 7.0]), rows(&[1.0, 2.0, 3.0]));
    let out = run(engine, "pair", &[("b", b), ("a", a)]).unwrap();
    assert_eq!(out, [rows(&[6.0, 8.0, 10.0]), rows(&[4.0, 4.0, 4.0])]);
}

/// Every element type goes in and comes out bit by bit.
pub fn every_type_passes_unchanged(engine: &dyn Engine) {
    for ty in TYPES {
        let bytes: Vec<u8> = (1..=6 * ty.bytes() as u8).collect();
        let x = Tensor::from_bytes(vec![3, 2], ty, &bytes).unwrap();
        let out = run(engine, &format!("same_{ty}"), &[("x", x.clone())]).unwrap();
        assert_eq!(out, [x], "{ty}");
    }
}

/// A batch gives what its rows give one by one.
pub fn a_batch_equals_its_rows(engine: &dyn Engine) {
    let all = rows(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]);
    let batch = &run(engine, "double", &[("x", all.clone())]).unwrap()[0];
    for i in 0..3 {
        assert_eq!(run(engine, "double", &[("x", all.rows(i, 1))]).unwrap(), [batch.rows(i, 1)]);
    }
}

/// A model that does not exist is an error that lists those that do.
pub fn an_unknown_model_is_named(engine: &dyn Engine) {
    let error = engine.load("nothing").err().unwrap();
    assert!(matches!(error, NnError::Catalog(CatalogError::Unknown { .. })), "{error}");
    assert!(error.to_string().contains("`nothing`") && error.to_string().contains("double"), "{error}");
}

/// A lack of memory is told apart from other failures, and the same model runs afterwards.
pub fn running_out_of_memory_is_told_and_survived(engine: &dyn Engine) {
    let mut model = engine.load("fill").unwrap();
    let shape = |n: i64| [("shape".to_owned(), Tensor::from_vec(vec![1], vec![n]).unwrap())];
    let error = model.run(&shape(1 << 44)).unwrap_err();
    assert!(matches!(error, NnError::OutOfMemory { .. }), "{error}");
    assert_eq!(model.run(&shape(5)).unwrap(), [Tensor::from_vec(vec![5], vec![0f32; 5]).unwrap()]);
}

/// Reports can say where models run and why.
pub fn the_device_is_told(engine: &dyn Engine) {
    let info = engine.device();
    for text in [&info.device, &info.provider, &info.precision, &info.reason, &info.library] {
        assert!(!text.is_empty(), "{info:?}");
    }
    assert!(info.intra_threads >= 1);
}

/// Where several threads may use models, a model has a further session that knows and computes the same.
pub fn sessions_compute_the_same(engine: &dyn Engine) {
    let more = engine.load_more("double").transpose().unwrap();
    assert_eq!(more.is_some(), engine.workers() > 1);
    let Some(mut other) = more else { return };
    let mut first = engine.load("double").unwrap();
    assert_eq!(other.ports(), first.ports());
    let x = [("x".to_owned(), rows(&[1.0, 2.0, 3.0, -4.0, 0.5, 1e9]))];
    let (there, here) = std::thread::scope(|scope| {
        let there = scope.spawn(|| other.run(&x).unwrap());
        (first.run(&x).unwrap(), there.join().unwrap())
    });
    assert_eq!(here, there);
}
