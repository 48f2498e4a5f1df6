//! The generated bindings of the world, and one error conversion for each family of host calls.
#![allow(unsafe_code, missing_docs, clippy::all, reason = "wit-bindgen generates the component's ABI; the documentation is in wit/")]

wit_bindgen::generate!({ path: "../../wit", world: "halfpipe:app/pipeline", generate_all, pub_export_macro: true });

use self::exports::halfpipe::job::runner::Failure;
use self::halfpipe::media::errors::Error;

/// A media, scene or job error ends the job as what it is.
pub fn failed(e: Error) -> Failure {
    match e {
        Error::Cancelled => Failure::Cancelled,
        Error::InvalidArgument(m) => Failure::Failed(format!("a host call refused its arguments: {m}")),
        Error::NotFound(m) => Failure::BadModel(m),
        Error::Denied(m) | Error::Unsupported(m) | Error::OverBudget(m) | Error::Failed(m) => Failure::Failed(m),
    }
}

/// A wasi-nn error ends the job as a model's fault.
pub fn bad_model(e: self::wasi::nn::errors::Error) -> Failure {
    Failure::BadModel(e.data())
}
