//! The S3 store against s3s-fs as a server of its own, the way its makers serve it, with what it lacks put over it (`layer`); and the
//! measurements beside the embedded server (`compare`) that ARCHITECTURE.md rests on where it says what `halfpipe serve` leaves to
//! s3s-fs and what not.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod compare;
mod layer;

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use halfpipe_store::{Key, ObjectStore, PutMode, S3Config, S3Store, UploadedPart, conformance};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::runtime::{Builder, Runtime};

const MIB: usize = 1 << 20;
const BUCKET: &str = "videos";

/// s3s-fs with what it lacks, on a free port over a folder of its own.
struct Served {
    folder: tempfile::TempDir,
    address: SocketAddr,
    _runtime: Runtime,
}

impl Served {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        Self::over(folder, layer::Layer::new)
    }

    /// As it comes.
    fn bare() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        Self::over(folder, |root| s3s_fs::FileSystem::new(root).unwrap())
    }

    fn over<S: s3s::S3>(folder: tempfile::TempDir, open: impl FnOnce(&Path) -> S) -> Self {
        let mut service = S3ServiceBuilder::new(open(folder.path()));
        service.set_auth(SimpleAuth::from_single("tester", "a secret of the tests"));
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((socket, _)) = listener.accept().await {
                socket.set_nodelay(true).unwrap();
                let service = TowerToHyperService::new(service.clone());
                tokio::spawn(async move {
                    let http = auto::Builder::new(TokioExecutor::new());
                    // a client that breaks off is no fault of the server's
                    let _ = http.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self { folder, address, _runtime: runtime }
    }

    fn store(&self, prefix: &str) -> S3Store {
        let config = S3Config::new(BUCKET, prefix).at_endpoint(format!("http://{}", self.address));
        S3Store::connect(config.with_credentials("tester", "a secret of the tests")).unwrap()
    }

    /// Parts of uploads that are not complete.
    fn parts(&self) -> usize {
        let names = std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(".upload")).count()
    }
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn as_dyn(store: &impl ObjectStore) -> &dyn ObjectStore {
    store
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i * 31 % 251) as u8).collect()
}

#[test]
fn s3s_fs_keeps_the_promises() {
    let served = Served::start();
    conformance::run(&served.store(""));
    conformance::run(&served.store("a/prefix"));
    assert_eq!(served.parts(), 0);
}

#[test]
fn forty_mebibytes_go_in_parts_and_come_back() {
    let served = Served::start();
    let store = served.store("");
    let bytes = pattern(40 * MIB + 17);
    // over another one, whose checksums are not the new one's
    as_dyn(&store).put(&key("large"), b"small", PutMode::Create).unwrap();
    let meta = as_dyn(&store).put(&key("large"), &bytes, PutMode::Overwrite).unwrap();
    assert_eq!((meta.size, store.head(&key("large")).unwrap()), (bytes.len() as u64, meta.clone()));
    assert!(as_dyn(&store).read(&key("large"), u64::MAX).unwrap().0 == bytes);
    let mut writer = store.create(&key("other"), PutMode::Create).unwrap();
    writer.write_all(&vec![0; 20 * MIB]).unwrap();
    assert_ne!(served.parts(), 0);
    drop(writer);
    assert_eq!((served.parts(), store.list("", None, 9).unwrap()), (0, vec![meta]));
}

#[test]
fn of_racing_creates_in_parts_one_wins() {
    let served = Served::start();
    conformance::racing_creates_in_parts(&served.store(""));
    assert_eq!(served.parts(), 0, "losers clean up");
}

#[test]
fn presigned_addresses_and_parts_are_taken() {
    let served = Served::start();
    let store = served.store("in");
    let bytes = pattern(11 * MIB);
    let send = |url: &str, bytes: &[u8]| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let output = Command::new("curl").args(["-sS", "-i", "--fail-with-body", "-T"]).arg(file.path()).arg(url).output().unwrap();
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{answer}");
        answer.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("etag:").map(|etag| etag.trim().to_string())).unwrap()
    };
    let minute = Duration::from_secs(60);
    send(&store.presign_put(&key("a b/clip.mp4"), minute, None).unwrap(), b"video");
    assert_eq!(as_dyn(&store).read(&key("a b/clip.mp4"), 9).unwrap().0, b"video");
    let object = key("long.mp4");
    let upload = store.start_multipart(&object).unwrap();
    let halves = bytes.split_at(6 * MIB);
    let parts: Vec<UploadedPart> = [(1, halves.0), (2, halves.1)]
        .map(|(number, part)| UploadedPart { number, etag: send(&store.presign_part(&object, &upload, number, minute).unwrap(), part) })
        .into();
    assert_eq!(store.complete_multipart(&object, &upload, &parts).unwrap().size, bytes.len() as u64);
    assert!(as_dyn(&store).read(&object, u64::MAX).unwrap().0 == bytes);
}
