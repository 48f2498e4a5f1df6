//! s3s-fs, bare and with its layer, beside the embedded server, where it receives and the directory store publishes. Prints figures, and
//! asserts nothing; what must hold of the embedded server is asserted in `tests/s3`.

use std::io::Write;
use std::net::SocketAddr;
use std::panic::catch_unwind;
use std::process::Command;
use std::time::{Duration, Instant};

use halfpipe_store::{EmbeddedServer, ObjectStore, PutMode, S3Store, ServerCredentials, conformance};

use super::{Served, as_dyn, key, layer};

/// Objects of the listing.
const KEYS: usize = 10_000;
/// Small objects put one after the other.
const PUTS: usize = 500;
/// Size of the object whose way is looked at for memory, bytes.
const LARGE: u64 = 256 << 20;

/// Memory of this process, KiB: a line of its status.
fn memory(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with(line)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn measure(name: &str, store: &S3Store) {
    let start = Instant::now();
    for i in 0..PUTS {
        as_dyn(store).put(&key(&format!("puts/{i}")), b"{}", PutMode::Create).unwrap();
    }
    println!("{name}: {PUTS} small puts one after the other: {:.2} s", start.elapsed().as_secs_f64());

    let before = memory("VmRSS:");
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let start = Instant::now();
    as_dyn(store).put_stream(&key("large"), &mut std::io::Read::take(std::io::repeat(7), LARGE), PutMode::Create).unwrap();
    let put = start.elapsed().as_secs_f64();
    let mut object = store.open(&key("large"), None).unwrap();
    let start = Instant::now();
    std::io::copy(&mut object.body, &mut std::io::sink()).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    let grown = memory("VmHWM:").saturating_sub(before);
    println!("{name}: {} MiB: memory grew by {grown} KiB at most; put in {put:.2} s, read in {seconds:.2} s", LARGE >> 20);

    // the sum is of other bytes
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"damaged on the way").unwrap();
    let address = store.presign_put(&key("damaged"), Duration::from_secs(60), None).unwrap();
    let arguments = ["-sS", "-o", "/dev/null", "-w", "%{http_code}", "-H", "x-amz-checksum-crc32: AAAAAA==", "-T"];
    let output = Command::new("curl").args(arguments).arg(file.path()).arg(address).output().unwrap();
    let status = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{name}: bytes with another's checksum: {status}, and the object is there: {}", store.head(&key("damaged")).is_ok());

    let start = Instant::now();
    for limit in [1000, usize::MAX] {
        let found = store.list("many/", None, limit).unwrap().len();
        println!("{name}: {found} of {KEYS} keys listed after {:.2} s", start.elapsed().as_secs_f64());
    }
}

/// Two servers over one folder, as two processes would run them; each puts objects of its own.
fn two_at_once(name: &str, stores: [S3Store; 2]) {
    let failed: usize = std::thread::scope(|scope| {
        let threads = stores.iter().zip([b'a', b'b']).map(|(store, byte)| {
            scope.spawn(move || {
                let wrong = |i: &usize| {
                    let (key, bytes) = (key(&format!("two/{}/{i}", char::from(byte))), vec![byte; 1 << 20]);
                    let put = as_dyn(store).put(&key, &bytes, PutMode::Create).is_ok();
                    !put || as_dyn(store).read(&key, u64::MAX).map_or(true, |(found, _)| found != bytes)
                };
                (0..100).filter(wrong).count()
            })
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    println!("{name}: two servers over one folder put 200 objects of 1 MiB; failed or with other bytes: {failed}");
}

#[test]
#[ignore = "a measurement: cargo test --release -p halfpipe-store --test s3s_fs -- --ignored --nocapture --test-threads 1"]
fn beside_the_embedded_server() {
    let names = || (0..KEYS).map(|i| format!("many/{:03}/{i:05}", i % 100));
    let served = Served::bare();
    let bare = catch_unwind(|| conformance::run(&served.store("")));
    println!("s3s-fs bare: the suite passes: {}", bare.is_ok());

    let folder = tempfile::tempdir().unwrap();
    let credentials = ServerCredentials { access_key: "tester".into(), secret: "a secret of the tests".into() };
    let start = || EmbeddedServer::start(folder.path(), "videos", SocketAddr::from(([127, 0, 0, 1], 0)), credentials.clone()).unwrap();
    let (server, other) = (start(), start());
    let store = S3Store::connect(server.config("")).unwrap();
    two_at_once("embedded", [store.clone(), S3Store::connect(other.config("")).unwrap()]);
    for name in names() {
        let path = folder.path().join("videos").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, b"0123456789").unwrap();
    }
    measure("embedded", &store);

    let served = Served::start();
    let other = Served::over(tempfile::tempdir().unwrap(), |_| layer::Layer::new(served.folder.path()));
    two_at_once("s3s-fs with its layer", [served.store(""), other.store("")]);

    // through the server, since s3s-fs keeps files of its own about each
    let store = served.store("");
    for name in names() {
        as_dyn(&store).put(&key(&name), b"0123456789", PutMode::Create).unwrap();
    }
    measure("s3s-fs with its layer", &store);
}
