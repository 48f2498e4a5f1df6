//! A file that is not ONNX Runtime, in a process of its own, because a process has one library.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use halfpipe_nn::NnError;
use halfpipe_nn::ort::OrtLibrary;

#[test]
fn a_file_that_is_no_library_is_an_error_and_the_right_one_can_follow() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("libonnxruntime.so");
    std::fs::write(&path, "not a library").unwrap();
    let error = OrtLibrary::load(Some(&path)).unwrap_err();
    assert!(matches!(error, NnError::Library { .. }), "{error}");
    assert!(error.to_string().contains("libonnxruntime.so") && error.to_string().contains("make models"), "{error}");
    let library = OrtLibrary::load(None).expect("this test needs ONNX Runtime: run `make models`");
    assert!(library.providers().unwrap().iter().any(|p| p.name == "CPUExecutionProvider" && p.built_in));
}
