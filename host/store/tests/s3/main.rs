//! The S3 store against two servers over HTTP: the embedded one, and moto, which others wrote; `s3s_fs` has a third one.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod embedded;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use halfpipe_store::{
    DirectoryStore, EmbeddedServer, Key, ObjectStore, PutMode, S3Config, S3Store, ServerCredentials, StoreError, UploadedPart, conformance,
};
use halfpipe_testkit::moto::Moto;

const MIB: usize = 1 << 20;

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn as_dyn(store: &impl ObjectStore) -> &dyn ObjectStore {
    store
}

fn credentials() -> ServerCredentials {
    ServerCredentials { access_key: "tester".into(), secret: "a secret of the tests".into() }
}

/// A server on a free port over a folder of its own.
struct Served {
    folder: tempfile::TempDir,
    server: EmbeddedServer,
}

impl Served {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = EmbeddedServer::start(folder.path(), "videos", SocketAddr::from(([127, 0, 0, 1], 0)), credentials()).unwrap();
        Self { folder, server }
    }

    fn store(&self, prefix: &str) -> S3Store {
        S3Store::connect(self.server.config(prefix)).unwrap()
    }

    /// Parts and other leftovers of uploads.
    fn uploads(&self) -> Vec<String> {
        let store = DirectoryStore::open(self.folder.path().join(".uploads")).unwrap();
        store.list("", None, 9).unwrap().into_iter().map(|meta| meta.key.to_string()).collect()
    }
}

/// Runs curl; gives the headers and body of the answer.
fn curl(arguments: &[&str]) -> String {
    let output = Command::new("curl").args(["-sS", "-i", "--fail-with-body"]).args(arguments).output().expect("curl is not installed");
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{answer}{}", String::from_utf8_lossy(&output.stderr));
    answer
}

fn header<'a>(answer: &'a str, name: &str) -> &'a str {
    let line = answer.lines().find(|line| line.to_ascii_lowercase().starts_with(name)).unwrap();
    line.split_once(':').unwrap().1.trim()
}

#[test]
fn embedded_server_keeps_the_promises() {
    let served = Served::start();
    conformance::run(&served.store(""));
    conformance::run(&served.store("a/prefix"));
    assert_eq!(served.uploads(), Vec::<String>::new());
}

#[test]
fn moto_keeps_the_promises() {
    let moto = Moto::start_one_by_one();
    moto.make_bucket("videos");
    let config = S3Config::new("videos", "below/here").at_endpoint(moto.endpoint()).with_credentials("any", "any");
    conformance::run(&S3Store::connect(config).unwrap());
}

#[test]
fn keys_are_relative_to_the_prefix() {
    let served = Served::start();
    as_dyn(&served.store("jobs/1")).put(&key("out.mp4"), b"video", PutMode::Create).unwrap();
    as_dyn(&served.store("jobs/10")).put(&key("out.mp4"), b"other", PutMode::Create).unwrap();
    let listed = served.store("jobs/1").list("", None, 9).unwrap();
    assert_eq!(listed.iter().map(|meta| meta.key.as_str()).collect::<Vec<_>>(), ["out.mp4"]);
    assert_eq!(as_dyn(&served.store("")).read(&key("jobs/1/out.mp4"), 9).unwrap().0, b"video");
    assert_eq!(std::fs::read(served.folder.path().join("videos/jobs/1/out.mp4")).unwrap(), b"video", "objects are plain files");
}

#[test]
fn of_racing_creates_in_parts_one_wins() {
    let served = Served::start();
    conformance::racing_creates_in_parts(&served.store(""));
    assert_eq!(served.uploads(), Vec::<String>::new(), "losers clean up");
}

#[test]
fn forty_mebibytes_go_in_parts_and_come_back() {
    let served = Served::start();
    let store = served.store("");
    let bytes: Vec<u8> = (0..40 * MIB + 17).map(|i| (i * 31 % 251) as u8).collect();
    let mut writer = store.create(&key("large"), PutMode::Create).unwrap();
    writer.write_all(&bytes).unwrap();
    assert!(served.uploads().iter().any(|name| name.contains(".part-")), "parts are on their way before the commit");
    let meta = writer.commit().unwrap();
    assert_eq!(meta.size, bytes.len() as u64);
    assert_eq!(store.head(&key("large")).unwrap(), meta);
    assert!(as_dyn(&store).read(&key("large"), u64::MAX).unwrap().0 == bytes);
    assert_eq!(served.uploads(), Vec::<String>::new());
}

#[test]
fn a_writer_given_up_leaves_no_upload() {
    let served = Served::start();
    let store = served.store("");
    let mut writer = store.create(&key("large"), PutMode::Create).unwrap();
    writer.write_all(&vec![0; 20 * MIB]).unwrap();
    assert_ne!(served.uploads(), Vec::<String>::new());
    drop(writer);
    assert_eq!(served.uploads(), Vec::<String>::new());
    assert_eq!(store.list("", None, 9).unwrap(), vec![]);
}

#[test]
fn a_server_that_is_gone_is_named_as_such() {
    let served = Served::start();
    let (store, endpoint) = (served.store(""), served.server.endpoint());
    drop(served);
    let error = store.head(&key("a")).unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(error.to_string().starts_with(&format!("object a of s3://videos at {endpoint} could not be read now: ")), "{error}");
    let error = as_dyn(&store).put(&key("a"), &vec![0; 20 * MIB], PutMode::Create).unwrap_err();
    assert!(error.is_transient(), "{error}");
    let config = S3Config::new("videos", "").at_endpoint(endpoint).with_credentials("a", "b");
    assert!(S3Store::connect(config).unwrap_err().is_transient());
}

#[test]
fn wrong_credentials_and_buckets_are_named_as_such() {
    let served = Served::start();
    for (access_key, secret) in [("tester", "wrong"), ("nobody", "a secret of the tests")] {
        let error = S3Store::connect(served.server.config("").with_credentials(access_key, secret)).unwrap_err();
        assert!(matches!(error, StoreError::Denied { .. }) && !error.is_transient(), "{error}");
        assert!(error.to_string().contains("check the access key") && !error.to_string().contains(secret), "{error}");
    }
    let mut config = served.server.config("");
    config.bucket = "elsewhere".into();
    let error = S3Store::connect(config).unwrap_err();
    assert!(matches!(error, StoreError::NoBucket { .. }), "{error}");
    assert!(error.to_string().starts_with("s3://elsewhere at http://127.0.0.1:"), "{error}");
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    for bucket in ["", "..", ".uploads", "a/b", "UPPER"] {
        let outcome = EmbeddedServer::start(folder.path(), bucket, anywhere, credentials());
        assert!(matches!(outcome, Err(StoreError::Settings { .. })), "{bucket:?}");
    }
    let served = Served::start();
    let taken: SocketAddr = served.server.endpoint().trim_start_matches("http://").parse().unwrap();
    let error = EmbeddedServer::start(folder.path(), "videos", taken, credentials()).unwrap_err();
    assert!(matches!(error, StoreError::Open { .. }) && error.to_string().contains(&taken.to_string()), "{error}");
    for expires in [Duration::ZERO, Duration::from_secs(8 * 24 * 3600)] {
        assert!(matches!(served.store("").presign_get(&key("a"), expires), Err(StoreError::Settings { .. })));
    }
}

/// Passes bytes between clients and `server`; the first `cuts` connections are cut after 3 MiB of answers.
fn cutting_proxy(server: &str, cuts: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, server, cut) = (listener.local_addr().unwrap(), server.to_string(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&cut);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(&server).unwrap());
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            let count = Arc::clone(&count);
            std::thread::spawn(move || {
                let limit = if count.load(Ordering::Relaxed) < cuts { 3 << 20 } else { u64::MAX };
                if std::io::copy(&mut (&server).take(limit), &mut &client).is_ok_and(|passed| passed == limit) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
                // it has gone already where the client was first
                let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
            });
        }
    });
    (address, cut)
}

#[test]
fn reading_goes_on_where_a_connection_broke() {
    let served = Served::start();
    let bytes: Vec<u8> = (0..12 * MIB).map(|i| (i * 31 % 251) as u8).collect();
    as_dyn(&served.store("")).put(&key("large"), &bytes, PutMode::Create).unwrap();
    let (address, cut) = cutting_proxy(served.server.endpoint().trim_start_matches("http://"), 2);
    let store = S3Store::connect(served.server.config("").at_endpoint(format!("http://{address}"))).unwrap();
    let mut object = store.open(&key("large"), Some(1000..12 << 20)).unwrap();
    let mut read = Vec::new();
    object.body.read_to_end(&mut read).unwrap();
    assert!(read == bytes[1000..], "{} bytes came", read.len());
    assert_eq!(cut.load(Ordering::Relaxed), 2, "the connection broke on the way");
}

#[test]
fn reading_does_not_go_on_in_another_version() {
    let served = Served::start();
    let direct = served.store("");
    as_dyn(&direct).put(&key("large"), &vec![1; 60 * MIB], PutMode::Create).unwrap();
    let (address, _) = cutting_proxy(served.server.endpoint().trim_start_matches("http://"), 1);
    let store = S3Store::connect(served.server.config("").at_endpoint(format!("http://{address}"))).unwrap();
    let mut object = store.open(&key("large"), None).unwrap();
    as_dyn(&direct).put(&key("large"), &vec![2; 60 * MIB], PutMode::Overwrite).unwrap();
    let error = object.body.read_to_end(&mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains("the object was changed"), "{error}");
}

#[test]
fn a_presigned_address_takes_an_upload_and_gives_it_back() {
    let served = Served::start();
    let store = served.store("in");
    let source = served.folder.path().join("clip.mp4");
    std::fs::write(&source, b"not really a video").unwrap();
    let source = source.to_str().unwrap();

    let url = store.presign_put(&key("a b/clip.mp4"), Duration::from_secs(60), Some("video/mp4")).unwrap();
    curl(&["-T", source, "-H", "Content-Type: video/mp4", &url]);
    assert_eq!(as_dyn(&store).read(&key("a b/clip.mp4"), 99).unwrap().0, b"not really a video");
    let answer = curl(&[&store.presign_get(&key("a b/clip.mp4"), Duration::from_secs(60)).unwrap()]);
    assert!(answer.ends_with("not really a video"), "{answer}");

    // the signature covers the key
    let elsewhere = url.replace("clip.mp4", "other.mp4");
    let output = Command::new("curl").args(["-sS", "--fail", "-T", source, "-H", "Content-Type: video/mp4", &elsewhere]).output().unwrap();
    assert!(!output.status.success());
    assert!(matches!(store.head(&key("a b/other.mp4")), Err(StoreError::NotFound { .. })));
}

#[test]
fn presigned_parts_become_an_object() {
    let served = Served::start();
    let store = served.store("in");
    let object = key("long.mp4");
    let bytes: Vec<u8> = (0..11 * MIB).map(|i| (i * 7 % 253) as u8).collect();
    let upload = store.start_multipart(&object).unwrap();
    let send = |number: u16, part: &[u8]| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(part).unwrap();
        let url = store.presign_part(&object, &upload, number, Duration::from_secs(60)).unwrap();
        let answer = curl(&["-T", file.path().to_str().unwrap(), &url]);
        UploadedPart { number, etag: header(&answer, "etag").into() }
    };
    let parts = [send(1, &bytes[..6 * MIB]), send(2, &bytes[6 * MIB..])];
    let wrong = [parts[1].clone(), parts[0].clone()];
    assert!(matches!(store.complete_multipart(&object, &upload, &wrong), Err(StoreError::Settings { .. })));
    assert!(matches!(store.head(&object), Err(StoreError::NotFound { .. })));
    assert_eq!(store.complete_multipart(&object, &upload, &parts).unwrap().size, bytes.len() as u64);
    assert!(as_dyn(&store).read(&object, u64::MAX).unwrap().0 == bytes);

    let upload = store.start_multipart(&key("other")).unwrap();
    assert_ne!(served.uploads(), Vec::<String>::new());
    store.abort_multipart(&key("other"), &upload).unwrap();
    assert_eq!(served.uploads(), Vec::<String>::new());
    assert!(store.presign_part(&key("other"), &upload, 0, Duration::from_secs(60)).is_err());
}

/// Asks as a browser does for a page of `origin`; gives headers and body whatever the status is.
fn browse(origin: &str, arguments: &[&str]) -> String {
    let origin = format!("Origin: {origin}");
    let output =
        Command::new("curl").args(["-sS", "-i", "-H", "Expect:", "-H", &origin]).args(arguments).output().expect("curl is not installed");
    String::from_utf8_lossy(&output.stdout).to_ascii_lowercase()
}

#[test]
fn pages_of_allowed_origins_use_presigned_addresses() {
    const FRIEND: &str = "https://app.example";
    let folder = tempfile::tempdir().unwrap();
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let start = |origins: &[String]| EmbeddedServer::start_for_browsers(folder.path(), "videos", anywhere, credentials(), origins);
    let source = folder.path().join("clip.mp4");
    std::fs::write(&source, b"video").unwrap();
    let put = ["-T", source.to_str().unwrap(), "-H", "Content-Type: video/mp4"];
    let preflight =
        ["-X", "OPTIONS", "-H", "Access-Control-Request-Method: PUT", "-H", "Access-Control-Request-Headers: content-type,x-amz-meta-a"];

    let server = start(&[FRIEND.into(), "https://other.example".into()]).unwrap();
    let store = S3Store::connect(server.config("in")).unwrap();
    let url = store.presign_put(&key("clip.mp4"), Duration::from_secs(60), Some("video/mp4")).unwrap();
    let allowed = browse(FRIEND, &[&preflight[..], &[&url]].concat());
    assert!(allowed.starts_with("http/1.1 200"), "{allowed}");
    assert_eq!(header(&allowed, "access-control-allow-origin:"), FRIEND, "{allowed}");
    assert!(header(&allowed, "access-control-allow-methods:").contains("put"), "{allowed}");
    assert_eq!(header(&allowed, "access-control-allow-headers:"), "content-type,x-amz-meta-a", "{allowed}");
    assert!(matches!(store.head(&key("clip.mp4")), Err(StoreError::NotFound { .. })), "a preflight puts nothing");
    let stranger = browse("https://evil.example", &[&preflight[..], &[&url]].concat());
    assert!(!stranger.contains("access-control-allow-origin:"), "{stranger}");

    let sent = browse(FRIEND, &[&put[..], &[&url]].concat());
    assert!(sent.starts_with("http/1.1 200"), "{sent}");
    assert_eq!(header(&sent, "access-control-allow-origin:"), FRIEND, "{sent}");
    assert!(header(&sent, "access-control-expose-headers:").contains("etag") && sent.contains("\netag:"), "{sent}");
    assert_eq!(as_dyn(&store).read(&key("clip.mp4"), 9).unwrap().0, b"video");
    // a page is told why it failed, too
    let forged = browse(FRIEND, &[&put[..], &[&url.replace("clip.mp4", "other.mp4")]].concat());
    assert!(forged.starts_with("http/1.1 403"), "{forged}");
    assert_eq!(header(&forged, "access-control-allow-origin:"), FRIEND, "{forged}");
    drop(server);

    let server = start(&[]).unwrap();
    let url = S3Store::connect(server.config("in")).unwrap().presign_put(&key("a"), Duration::from_secs(60), None).unwrap();
    let closed = browse(FRIEND, &[&preflight[..], &[&url]].concat());
    assert!(!closed.contains("access-control-allow"), "{closed}");
    drop(server);

    let server = start(&["*".into()]).unwrap();
    let url = S3Store::connect(server.config("in")).unwrap().presign_put(&key("a"), Duration::from_secs(60), None).unwrap();
    assert_eq!(header(&browse("https://any.example", &[&preflight[..], &[&url]].concat()), "access-control-allow-origin:"), "*");
    assert!(matches!(start(&["a\nb".into()]), Err(StoreError::Settings { .. })));
}
