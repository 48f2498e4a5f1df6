//! schemathesis, from PyPI, reads the service's own OpenAPI document and throws requests at it that fit it, that barely fit, and that do
//! not. No answer may be a server error, and every answer must be one that the document describes.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]

mod common;
#[path = "common/server.rs"]
mod server;

use std::path::PathBuf;
use std::process::Command;

use common::Desk;
use server::Server;

/// Checks, all of schemathesis' own but two kinds: those that ask for more than a schema can say (a window of frames is at most 1000 long,
/// a picture is valid base64), and those about sessions, which the API has none of.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                      response_schema_conformance,negative_data_rejection,unsupported_method";

fn schemathesis() -> PathBuf {
    let cache =
        std::env::var_os("XDG_CACHE_HOME").map_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache"), PathBuf::from);
    let program = cache.join("halfpipe/schemathesis/bin/schemathesis");
    assert!(program.is_file(), "{} is missing; run `make peers`", program.display());
    program
}

#[test]
fn the_service_keeps_to_its_document() {
    let desk = Desk::new();
    let server = Server::start(&desk, &["--waiting", "100000", "--jobs", "0"]);
    let done = Command::new(schemathesis())
        .current_dir(desk.dir.path())
        .args(["run", &format!("{}/openapi.json", server.base)])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "10", "--checks", CHECKS, "--seed", "1"])
        // these two hold the line until a job ends, and there is nobody to work on jobs here
        .args(["--exclude-path", "/process_video", "--exclude-path", "/jobs/{id}/events"])
        .args(["--request-timeout", "60", "--no-color"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{told}\n{}\n{}", String::from_utf8_lossy(&done.stderr), server.log());
    assert!(told.contains("Tested: 19"), "fewer routes than there are were tried: {told}");
    assert_eq!(server.curl(&[], "/livez").status, 200);
}
