//! A large object passes through the S3 store and the embedded server in pieces: the process' peak memory hardly grows. Alone in its
//! binary, because the peak belongs to the whole process.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;

use halfpipe_store::{EmbeddedServer, Key, ObjectStore, PutMode, S3Store, ServerCredentials};

const SIZE: u64 = 192 << 20;
/// Two parts of 8 MiB in the store, what the sockets hold, the server's chunks.
const ALLOWED_KB: u64 = 64 << 10;

/// Most memory this process ever had resident, KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_large_object_streams() {
    let folder = tempfile::tempdir().unwrap();
    let credentials = ServerCredentials { access_key: "tester".into(), secret: "a secret of the tests".into() };
    let server = EmbeddedServer::start(folder.path(), "videos", SocketAddr::from(([127, 0, 0, 1], 0)), credentials).unwrap();
    let store = S3Store::connect(server.config("")).unwrap();
    let store: &dyn ObjectStore = &store;
    let key = Key::new("large").unwrap();
    let before = peak();
    store.put_stream(&key, &mut std::io::Read::take(std::io::repeat(7), SIZE), PutMode::Create).unwrap();
    let mut object = store.open(&key, None).unwrap();
    assert_eq!(std::io::copy(&mut object.body, &mut std::io::sink()).unwrap(), SIZE);
    let grown = peak() - before;
    assert!(grown < ALLOWED_KB, "the peak grew by {grown} KiB");
}
