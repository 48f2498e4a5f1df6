//! Uploads: addresses of the service and of a store that signs its own.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]
// the engines' types are deep: wgpu's resources stand behind the host
#![recursion_limit = "256"]

mod apps;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use apps::Bench;
use axum::body::Body;
use axum::http::Method;
use halfpipe_service::http::uploads::Presign;
use halfpipe_store::{DirectoryStore, Key, MemoryStore, ObjectMeta, ObjectStore, StoreError, UploadedPart};
use serde_json::json;

async fn put(bench: &Bench, url: &str, body: &[u8]) -> apps::Answer {
    bench.ask(Method::PUT, url, &[], Body::from(body.to_vec())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_go_from_the_signed_address_to_the_store_without_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(DirectoryStore::open(folder.path()).unwrap());
    let bench = Bench::without_engines(store, |config| config.api_keys = vec!["k".into()]);
    let request = json!({ "name": "../my ride.mp4", "size": 5, "content_type": "video/mp4" });
    assert_eq!(bench.post("/uploads", &request).await.code(401), "unauthorized");
    let headers = [("content-type", "application/json"), ("host", "test.example"), ("x-api-key", "k")];
    let made = bench.ask(Method::POST, "/uploads", &headers, request.to_string()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let ticket = made.json();
    let (url, key) = (ticket["url"].as_str().unwrap(), ticket["key"].as_str().unwrap());
    assert!(url.starts_with("http://test.example/uploads/"), "{url}");
    assert!(key.starts_with("incoming/") && key.ends_with("/my_ride.mp4"), "{key}");
    assert_eq!(ticket["headers"]["Content-Type"], "video/mp4");

    assert_eq!(put(&bench, url, b"1234").await.code(400), "size_mismatch");
    assert_eq!(put(&bench, url, b"123456").await.code(413), "too_large");
    assert_eq!(put(&bench, &url.replace("size=5", "size=6"), b"123456").await.code(403), "bad_signature");
    let there = Key::new(key).unwrap();
    assert!(bench.app.store.head(&there).is_err(), "what was refused is stored");

    let done = put(&bench, url, b"12345").await;
    assert_eq!(done.status, 201, "{}", done.text());
    assert_eq!(done.json()["bytes"], 5);
    assert_eq!(bench.app.store.read(&there, 10).unwrap().0, b"12345");
    assert_eq!(put(&bench, url, b"54321").await.code(409), "changed");
    assert_eq!(bench.app.store.read(&there, 10).unwrap().0, b"12345");
    assert_eq!(bench.left_behind(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_is_refused_before_a_byte_is_sent() {
    let bench = Bench::without_engines(Arc::new(MemoryStore::default()), |config| config.most_upload_bytes = 100);
    let ask = |size: u64, kind: &str| json!({ "name": "a.mp4", "size": size, "content_type": kind });
    assert_eq!(bench.post("/uploads", &ask(0, "video/mp4")).await.code(400), "bad_size");
    assert_eq!(bench.post("/uploads", &ask(101, "video/mp4")).await.code(413), "too_large");
    assert_eq!(bench.post("/uploads", &ask(1, "video")).await.code(400), "bad_content_type");
    assert_eq!(bench.post("/uploads", &ask(1, "video/mp4\r\nX: y")).await.code(400), "bad_content_type");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_and_a_body_that_stops_are_told() {
    let bench = Bench::without_engines(Arc::new(MemoryStore::default()), |config| config.disk_reserve_bytes = u64::MAX);
    let url = bench.post("/uploads", &json!({ "name": "a.mp4", "size": 1 })).await.json()["url"].as_str().unwrap().to_owned();
    assert_eq!(put(&bench, &url, b"1").await.code(507), "disk_full");

    let bench = Bench::without_engines(Arc::new(MemoryStore::default()), |config| config.body_pause = Duration::from_millis(50));
    let url = bench.post("/uploads", &json!({ "name": "a.mp4", "size": 9 })).await.json()["url"].as_str().unwrap().to_owned();
    let silent = futures::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    assert_eq!(bench.ask(Method::PUT, &url, &[], Body::from_stream(silent)).await.code(408), "body_timeout");
    assert_eq!(bench.left_behind(), 0);
}

/// A signer that writes down what it was asked.
#[derive(Debug, Default)]
struct Signer {
    store: MemoryStore,
    asked: Mutex<Vec<String>>,
}

impl Signer {
    fn note(&self, what: String) {
        self.asked.lock().unwrap().push(what);
    }
}

impl Presign for Signer {
    fn put(&self, key: &Key, _: Duration, content_type: Option<&str>) -> Result<String, StoreError> {
        self.note(format!("put {content_type:?}"));
        Ok(format!("https://store.example/{key}?signed"))
    }

    fn start_multipart(&self, _: &Key) -> Result<String, StoreError> {
        self.note("start".into());
        Ok("up/1".into())
    }

    fn part_url(&self, key: &Key, upload: &str, number: u16, _: Duration) -> Result<String, StoreError> {
        Ok(format!("https://store.example/{key}?{upload}&{number}"))
    }

    fn complete(&self, key: &Key, upload: &str, parts: &[UploadedPart]) -> Result<ObjectMeta, StoreError> {
        self.note(format!("complete {upload} {}", parts.iter().map(|p| p.number.to_string()).collect::<Vec<_>>().join(",")));
        let store: &dyn ObjectStore = &self.store;
        store.put(key, b"whole", halfpipe_store::PutMode::Overwrite)
    }

    fn abort(&self, _: &Key, upload: &str) -> Result<(), StoreError> {
        self.note(format!("abort {upload}"));
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_signs_gets_two_gigabytes_in_parts() {
    let mut bench = Bench::without_engines(Arc::new(MemoryStore::default()), |_| {});
    let signer = Arc::new(Signer::default());
    bench.app = Arc::clone(&bench.app).with_presign(signer.clone());

    let small = bench.post("/uploads", &json!({ "name": "a.mp4", "size": 9, "content_type": "video/mp4" })).await.json();
    assert!(small["url"].as_str().unwrap().starts_with("https://store.example/incoming/"), "{small}");
    assert!(small.get("parts").is_none());

    let size = 2_u64 << 30;
    let large = bench.post("/uploads", &json!({ "name": "a.mp4", "size": size })).await.json();
    let parts = large["parts"].as_array().unwrap();
    assert_eq!(large["url"], json!(null));
    assert_eq!(parts.iter().map(|p| p["size"].as_u64().unwrap()).sum::<u64>(), size);
    assert_eq!(parts.iter().map(|p| p["number"].as_u64().unwrap()).collect::<Vec<_>>(), (1..=parts.len() as u64).collect::<Vec<_>>());

    let (complete, abort) = (large["complete_url"].as_str().unwrap(), large["abort_url"].as_str().unwrap());
    let gap = json!({ "parts": [{ "number": 2, "etag": "b" }] });
    assert_eq!(bench.post(complete, &gap).await.code(400), "bad_parts");
    assert_eq!(bench.post(&complete.replace("parts=up", "parts=UP"), &gap).await.code(403), "bad_signature");
    let all = json!({ "parts": [{ "number": 2, "etag": "b" }, { "number": 1, "etag": "a" }] });
    let done = bench.post(complete, &all).await;
    assert_eq!((done.status.as_u16(), done.json()["key"].clone()), (201, large["key"].clone()));
    assert_eq!(bench.ask(Method::DELETE, abort, &[], Body::empty()).await.status, 204);
    assert_eq!(*signer.asked.lock().unwrap(), ["put Some(\"video/mp4\")", "start", "complete up/1 1,2", "abort up/1"]);
}
