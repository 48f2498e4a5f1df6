//! One suite of tests for every store: what passes it keeps the promises of [`ObjectStore`].
//!
//! It is library code, so that stores of other crates and stores that need a server can be held to it as well. It leaves nothing
//! behind under its prefix `conformance/`.

use std::io::{Read, Write};
use std::sync::Barrier;
use std::thread;

use crate::{Key, Object, ObjectStore, PutMode, StoreError};

/// Size of the object that must pass as a stream.
const LARGE: u64 = 64 << 20;
/// Writers that race for one key.
const RACERS: usize = 16;
/// Updates that each of them makes to one counter.
const UPDATES: usize = 10;

/// Runs every test on a store that holds nothing under `conformance/`.
///
/// # Panics
/// With the promise the store broke.
pub fn run(store: &dyn ObjectStore) {
    assert_eq!(keys(store, "conformance/"), Vec::<String>::new(), "the suite needs an empty prefix");
    put_get_head_delete(store);
    ranges(store);
    conditions(store);
    unfinished_writers_leave_nothing(store);
    listing(store);
    unusual_keys(store);
    files(store);
    an_open_object_stays_the_same(store);
    one_of_many_creates_wins(store);
    no_update_is_lost(store);
    large_objects_stream(store);
    for key in keys(store, "conformance/") {
        ok(store.delete(&self::key(&key)), "deleting");
    }
    assert_eq!(keys(store, "conformance/"), Vec::<String>::new(), "everything was deleted");
}

fn put_get_head_delete(store: &dyn ObjectStore) {
    let key = key("conformance/basic/a.bin");
    assert!(matches!(store.head(&key), Err(StoreError::NotFound { .. })), "head of nothing");
    assert!(matches!(store.open(&key, None), Err(StoreError::NotFound { .. })), "open of nothing");
    assert_eq!(store.local_path(&key), None, "no path of nothing");
    ok(store.delete(&key), "deleting nothing is well");

    let first = ok(store.put(&key, b"first", PutMode::Overwrite), "put");
    assert_eq!((first.size, &first.key), (5, &key), "put tells size and key");
    assert_eq!(ok(store.head(&key), "head"), first, "head agrees with put");
    let (bytes, meta) = ok(store.read(&key, 5), "read");
    assert_eq!((bytes.as_slice(), &meta), (&b"first"[..], &first), "read agrees with put");
    assert!(matches!(store.read(&key, 4), Err(StoreError::TooLarge { size: 5, max: 4, .. })), "read keeps its limit");

    let second = ok(store.put(&key, b"other", PutMode::Overwrite), "overwrite");
    assert_ne!(second.etag, first.etag, "a new version has a new etag");
    let third = ok(store.put(&key, b"other", PutMode::Overwrite), "overwrite with the same");
    // S3's etag is a digest of the bytes, so the same bytes may or may not be the same version
    assert_ne!(third.etag, first.etag, "etags do not come back with other bytes");
    assert_eq!(ok(store.head(&key), "head"), third, "head agrees with the last put");
    assert_eq!(contents(store, &key), b"other");
    if let Some(path) = store.local_path(&key) {
        assert_eq!(ok(std::fs::read(path), "reading the local path"), b"other", "the local path holds the object");
    }
    ok(store.put(&key, b"", PutMode::Overwrite), "an empty object");
    assert_eq!((ok(store.head(&key), "head").size, contents(store, &key)), (0, vec![]));
    ok(store.put_stream(&key, &mut &b"streamed"[..], PutMode::Overwrite), "put_stream");
    assert_eq!(contents(store, &key), b"streamed");
    ok(store.delete(&key), "delete");
    assert!(matches!(store.head(&key), Err(StoreError::NotFound { .. })), "deleted is gone");
}

fn ranges(store: &dyn ObjectStore) {
    let key = key("conformance/ranges");
    ok(store.put(&key, b"0123456789", PutMode::Overwrite), "put");
    for (asked, given, bytes) in
        [(0..1, 0..1, "0"), (0..10, 0..10, "0123456789"), (9..10, 9..10, "9"), (3..7, 3..7, "3456"), (8..u64::MAX, 8..10, "89")]
    {
        let object = ok(store.open(&key, Some(asked.clone())), "open of a range");
        assert_eq!((object.range.clone(), object.meta.size), (given, 10), "range {asked:?}");
        assert_eq!(drain(object), bytes.as_bytes(), "range {asked:?}");
    }
    let reversed = std::ops::Range { start: 7, end: 3 };
    for asked in [10..11, 10..10, 5..5, 0..0, 11..u64::MAX, reversed] {
        let outcome = store.open(&key, Some(asked.clone()));
        assert!(matches!(outcome, Err(StoreError::Range { size: 10, .. })), "range {asked:?} has no bytes");
    }
    ok(store.put(&key, b"", PutMode::Overwrite), "put");
    assert!(matches!(store.open(&key, Some(0..1)), Err(StoreError::Range { size: 0, .. })), "an empty object has no ranges");
}

fn conditions(store: &dyn ObjectStore) {
    let key = key("conformance/conditions");
    let update = |etag: &str| PutMode::Update(etag.into());
    assert!(matches!(store.put(&key, b"x", update("none")), Err(StoreError::Changed { .. })), "nothing to update");
    let first = ok(store.put(&key, b"1", PutMode::Create), "create");
    assert!(matches!(store.put(&key, b"x", PutMode::Create), Err(StoreError::AlreadyExists { .. })), "created once only");
    let second = ok(store.put(&key, b"2", update(&first.etag)), "update of the version seen");
    assert!(matches!(store.put(&key, b"x", update(&first.etag)), Err(StoreError::Changed { .. })), "update of an old version");
    assert_eq!(contents(store, &key), b"2", "refused puts change nothing");
    assert_eq!(ok(store.head(&key), "head").etag, second.etag);
    // what counts is the moment of the commit
    let mut late = ok(store.create(&key, update(&second.etag)), "create");
    ok(late.write_all(b"late"), "write");
    ok(store.put(&key, b"3", PutMode::Overwrite), "overwrite");
    assert!(matches!(late.commit(), Err(StoreError::Changed { .. })), "the condition is checked at the commit");
    ok(store.delete(&key), "delete");
    assert!(matches!(store.put(&key, b"x", update(&second.etag)), Err(StoreError::Changed { .. })), "update of a deleted object");
    ok(store.put(&key, b"4", PutMode::Create), "create again");
    assert_eq!(contents(store, &key), b"4");
}

fn unfinished_writers_leave_nothing(store: &dyn ObjectStore) {
    let (new, old) = (key("conformance/unfinished/new"), key("conformance/unfinished/old"));
    ok(store.put(&old, b"old", PutMode::Overwrite), "put");
    for key in [&new, &old] {
        let mut writer = ok(store.create(key, PutMode::Overwrite), "create");
        ok(writer.write_all(&[7; 100_000]), "write");
        ok(writer.flush(), "flush");
        assert_eq!(keys(store, "conformance/unfinished/"), [old.as_str()], "nothing is visible before the commit");
        drop(writer);
    }
    assert!(matches!(store.head(&new), Err(StoreError::NotFound { .. })), "a dropped writer leaves no object");
    assert_eq!(contents(store, &old), b"old", "a dropped writer leaves the former version");
    assert_eq!(keys(store, "conformance/unfinished/"), [old.as_str()]);
}

fn listing(store: &dyn ObjectStore) {
    // bytes around the slash: a folder's keys stand between those that end in - and 0
    let mut names = ["b/1", "a-b", "a/b/c", "a/b", "a0", "a/a", "B", "é", "a/b-c", "b/10", "b/2"].map(|n| format!("conformance/list/{n}"));
    names = names.map(|n| if n.ends_with("a/b") { format!("{n}z") } else { n });
    for name in &names {
        ok(store.put(&key(name), name.as_bytes(), PutMode::Create), "put");
    }
    names.sort_unstable();
    assert_eq!(keys(store, "conformance/list/"), names, "all, in the order of bytes");
    for prefix in [
        "conformance/list/a",
        "conformance/list/a/",
        "conformance/list/a/b",
        "conformance/list/b/1",
        "conformance/list/é",
        "conformance/li",
    ] {
        let due: Vec<&String> = names.iter().filter(|n| n.starts_with(prefix)).collect();
        assert_eq!(keys(store, prefix).iter().collect::<Vec<_>>(), due, "prefix {prefix} is text, not a folder");
    }
    for prefix in ["conformance/list/x", "conformance/list/a/b/c/", "conformance/../conformance/list", "/conformance", "conformance//"] {
        assert_eq!(keys(store, prefix), Vec::<String>::new(), "prefix {prefix}");
    }
    for (i, name) in names.iter().enumerate() {
        let page = ok(store.list("conformance/list/", Some(&key(name)), 2), "list");
        let listed: Vec<&str> = page.iter().map(|m| m.key.as_str()).collect();
        assert_eq!(listed, names[i + 1..].iter().take(2).collect::<Vec<_>>(), "two after {name}");
        assert!(page.iter().all(|m| m.size == m.key.as_str().len() as u64), "listed sizes are true");
        if let Some(first) = page.first() {
            assert_eq!(&ok(store.head(&first.key), "head"), first, "list agrees with head");
        }
    }
    let between = key("conformance/list/a/b-");
    let next = ok(store.list("conformance/list/", Some(&between), 1), "list");
    assert_eq!(next[0].key.as_str(), "conformance/list/a/b-c", "a key that does not exist is a place as well");
    assert_eq!(ok(store.list("conformance/list/", None, 0), "list"), vec![]);
}

fn unusual_keys(store: &dyn ObjectStore) {
    let deep = format!("conformance/deep/{}end", "d/".repeat(200));
    let long = format!("conformance/{}", "é".repeat(127));
    let names = [
        "conformance/日本語/снег ☃.mp4",
        "conformance/.hidden",
        "conformance/%2e%2e",
        "conformance/a b+c&d=?#",
        "conformance/..x",
        &deep,
        &long,
    ];
    for name in names {
        let key = key(name);
        ok(store.put(&key, name.as_bytes(), PutMode::Create), name);
        assert_eq!(contents(store, &key), name.as_bytes(), "{name}");
        assert_eq!(keys(store, name), [name], "{name} is listed");
        ok(store.delete(&key), name);
        assert_eq!(keys(store, name), Vec::<String>::new(), "{name} is deleted");
    }
}

fn files(store: &dyn ObjectStore) {
    let folder = ok(tempfile::tempdir(), "a temporary folder");
    let key = key("conformance/files/staged.mp4");
    let stage = |bytes: &[u8]| {
        let path = folder.path().join("staged");
        ok(std::fs::write(&path, bytes), "staging");
        path
    };
    let meta = ok(store.put_file(&key, &stage(b"from a file"), PutMode::Create), "put_file");
    assert_eq!((meta.size, contents(store, &key)), (11, b"from a file".to_vec()));
    assert!(!folder.path().join("staged").exists(), "the staged file is consumed");
    let outcome = store.put_file(&key, &stage(b"again"), PutMode::Create);
    assert!(matches!(outcome, Err(StoreError::AlreadyExists { .. })), "put_file keeps conditions");
    assert!(folder.path().join("staged").exists(), "a refused file stays");
    let next = ok(store.put_file(&key, &stage(b"from a fila"), PutMode::Update(meta.etag.clone())), "put_file");
    assert_ne!(next.etag, meta.etag, "put_file makes a version");
    assert_eq!(ok(store.head(&key), "head"), next);
    assert_eq!(contents(store, &key), b"from a fila");
    for bad in [folder.path().join("missing"), folder.path().to_path_buf()] {
        assert!(matches!(store.put_file(&key, &bad, PutMode::Overwrite), Err(StoreError::Io { .. })), "{bad:?} is no file");
    }
}

fn an_open_object_stays_the_same(store: &dyn ObjectStore) {
    let key = key("conformance/open");
    let old = vec![1; 300_000];
    ok(store.put(&key, &old, PutMode::Overwrite), "put");
    let mut first = ok(store.open(&key, None), "open");
    let mut begun = vec![0; 1000];
    ok(first.body.read_exact(&mut begun), "read");
    let second = ok(store.open(&key, None), "open");
    ok(store.put(&key, &vec![2; 200_000], PutMode::Overwrite), "overwrite");
    begun.extend(drain(first));
    assert_eq!(begun, old, "a reader sees one version");
    ok(store.delete(&key), "delete");
    assert_eq!(drain(second), old, "also when the object is deleted");
}

fn one_of_many_creates_wins(store: &dyn ObjectStore) {
    for round in 0..5 {
        let key = key(&format!("conformance/race/{round}/winner"));
        let outcomes = race(|racer| store.put(&key, racer.to_string().as_bytes(), PutMode::Create));
        let winners: Vec<usize> = (0..RACERS).filter(|i| outcomes[*i].is_ok()).collect();
        assert_eq!(winners.len(), 1, "of {RACERS} racing creates these won: {winners:?}");
        for outcome in outcomes {
            assert!(matches!(outcome, Ok(_) | Err(StoreError::AlreadyExists { .. })), "losers are told why: {outcome:?}");
        }
        assert_eq!(contents(store, &key), winners[0].to_string().as_bytes(), "the winner's bytes stay");
    }
}

fn no_update_is_lost(store: &dyn ObjectStore) {
    let key = key("conformance/counter");
    ok(store.put(&key, b"000", PutMode::Create), "put");
    race(|_| {
        let mut done = 0;
        while done < UPDATES {
            let (bytes, meta) = ok(store.read(&key, 3), "read");
            let count: usize = ok(ok(String::from_utf8(bytes), "utf-8").parse(), "a number");
            match store.put(&key, format!("{:03}", count + 1).as_bytes(), PutMode::Update(meta.etag)) {
                Ok(_) => done += 1,
                Err(StoreError::Changed { .. }) => {}
                Err(other) => panic!("updating: {other}"),
            }
        }
    });
    assert_eq!(contents(store, &key), (RACERS * UPDATES).to_string().as_bytes(), "each update builds on the one before");
}

fn large_objects_stream(store: &dyn ObjectStore) {
    let key = key("conformance/large.bin");
    let meta = ok(store.put_stream(&key, &mut Pattern(0).take(LARGE), PutMode::Create), "put_stream");
    assert_eq!(meta.size, LARGE);
    for range in [0..LARGE, LARGE / 2 + 1..LARGE / 2 + 3_000_001, LARGE - 1..LARGE] {
        let mut object = ok(store.open(&key, Some(range.clone())), "open");
        let (mut expected, mut at) = (Pattern(range.start), range.start);
        let (mut a, mut b) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
        loop {
            let n = ok(object.body.read(&mut a), "read");
            if n == 0 {
                break;
            }
            ok(expected.read_exact(&mut b[..n]), "the pattern");
            assert!(a[..n] == b[..n], "bytes {at}..{} differ", at + n as u64);
            at += n as u64;
        }
        assert_eq!(at, range.end, "all bytes came");
    }
    ok(store.delete(&key), "delete");
}

/// Bytes that differ from place to place, from a place on, without end.
struct Pattern(u64);

impl Read for Pattern {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        for byte in buffer.iter_mut() {
            *byte = (self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8;
            self.0 += 1;
        }
        Ok(buffer.len())
    }
}

/// Of several writers that all have sent parts of one new object when the first of them commits, exactly one makes it.
///
/// Not in [`run`]: moto compares and puts in two steps, so there two may win.
///
/// # Panics
/// Where another number of them does, or one fails for another reason.
pub fn racing_creates_in_parts(store: &dyn ObjectStore) {
    const RACERS: usize = 4;
    let (key, start) = (key("conformance/large"), Barrier::new(RACERS));
    let racer = || {
        let mut writer = ok(store.create(&key, PutMode::Create), "create");
        ok(writer.write_all(&vec![1; 9 << 20]), "writing");
        start.wait();
        writer.commit()
    };
    let outcomes: Vec<_> = thread::scope(|scope| {
        let racers: Vec<_> = (0..RACERS).map(|_| scope.spawn(racer)).collect();
        racers.into_iter().map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for error in outcomes.into_iter().filter_map(Result::err) {
        assert!(matches!(error, StoreError::AlreadyExists { .. }), "{error}");
    }
    ok(store.delete(&key), "delete");
}

/// Runs `work` on many threads that start together; results in the order of their numbers.
fn race<T: Send>(work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let start = Barrier::new(RACERS);
    thread::scope(|scope| {
        let spawn = |racer| {
            let (work, start) = (&work, &start);
            let run = move || {
                start.wait();
                work(racer)
            };
            ok(thread::Builder::new().name(format!("racer-{racer}")).spawn_scoped(scope, run), "starting a thread")
        };
        let threads: Vec<_> = (0..RACERS).map(spawn).collect();
        threads.into_iter().map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

fn key(text: &str) -> Key {
    ok(Key::new(text), "a key")
}

fn keys(store: &dyn ObjectStore, prefix: &str) -> Vec<String> {
    ok(store.list(prefix, None, usize::MAX), "list").into_iter().map(|m| m.key.to_string()).collect()
}

fn contents(store: &dyn ObjectStore, key: &Key) -> Vec<u8> {
    drain(ok(store.open(key, None), "open"))
}

fn drain(mut object: Object) -> Vec<u8> {
    let mut bytes = Vec::new();
    ok(object.body.read_to_end(&mut bytes), "reading");
    bytes
}

fn ok<T, E: std::fmt::Display>(outcome: Result<T, E>, what: &str) -> T {
    outcome.unwrap_or_else(|e| panic!("{what}: {e}"))
}
