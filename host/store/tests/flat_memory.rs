//! A large object passes through the directory store in pieces: the process' peak memory hardly grows. Alone in its binary, because
//! the peak belongs to the whole process.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use halfpipe_store::{DirectoryStore, Key, ObjectStore, PutMode};

const SIZE: u64 = 128 << 20;
const ALLOWED_KB: u64 = 16 << 10;

/// Most memory this process ever had resident, KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_large_object_streams() {
    let root = tempfile::tempdir().unwrap();
    let store = DirectoryStore::open(root.path()).unwrap();
    let store: &dyn ObjectStore = &store;
    let key = Key::new("large").unwrap();
    let before = peak();
    store.put_stream(&key, &mut std::io::Read::take(std::io::repeat(7), SIZE), PutMode::Create).unwrap();
    let mut object = store.open(&key, None).unwrap();
    assert_eq!(std::io::copy(&mut object.body, &mut std::io::sink()).unwrap(), SIZE);
    let grown = peak() - before;
    assert!(grown < ALLOWED_KB, "the peak grew by {grown} KiB");
}
