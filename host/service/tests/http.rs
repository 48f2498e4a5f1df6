//! The HTTP API's promises: what is asked for wrongly is refused in one form, and what is there is given exactly.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use halfpipe_service::jobs::record::Output;
use halfpipe_service::jobs::{Record, Spec, Submission, Wanted};
use halfpipe_service::{App, Config, Engines, http};
use halfpipe_store::{Key, MemoryStore, PutMode};
use serde_json::{Map, Value, json};
use tower::ServiceExt;

const BOUNDARY: &str = "xXx";
const POSES: &str = "{\"schema\":\"halfpipe.poses/1\"}\n{\"index\":0}\n{\"index\":1}\n{\"index\":2}\n";

/// A service without engines: jobs wait for ever.
struct Service {
    app: Arc<App>,
    folder: tempfile::TempDir,
}

/// What came back.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no header {name}: {:?}", self.headers)).to_str().unwrap()
    }

    /// Makes sure that this is an error of the one form, and gives its code.
    fn code(&self) -> String {
        assert!(self.status.is_client_error() || self.status.is_server_error(), "{}", self.status);
        let body = self.json();
        let error = &body["error"];
        assert!(error["message"].as_str().is_some_and(|m| m.len() > 10), "{body}");
        assert_eq!(error["request_id"].as_str(), Some(self.header("x-request-id")), "{body}");
        error["code"].as_str().unwrap().to_owned()
    }
}

impl Service {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::new(folder.path().join("spool"), folder.path().join("guests"));
        config.disk_reserve_bytes = 0;
        change(&mut config);
        let app = App::new(config, Arc::new(MemoryStore::new()), Engines::absent("this test has no engines")).unwrap();
        Self { app, folder }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = http::router(Arc::clone(&self.app)).oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer { status: parts.status, headers: parts.headers, body: to_bytes(body, 1 << 24).await.unwrap().to_vec() }
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(request(method, path, headers, Body::empty())).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[]).await
    }

    async fn post_json(&self, body: &Value) -> Answer {
        let body = Body::from(body.to_string());
        self.send(request("POST", "/process_video_async", &[("content-type", "application/json")], body)).await
    }

    async fn post_form(&self, path: &str, parts: &[Part<'_>]) -> Answer {
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        self.send(request("POST", path, &[("content-type", &kind)], Body::from(form(parts)))).await
    }

    fn put(&self, key: &str, bytes: &[u8]) -> String {
        self.app.store.put(&Key::new(key).unwrap(), bytes, PutMode::Overwrite).unwrap().etag
    }

    fn queue(&self) -> String {
        let submission = Submission { spec: spec(), idempotency: None, fingerprint: None, id: None };
        self.app.ledger.submit(submission).unwrap().0.id
    }

    /// A complete job with a video and poses, but no .glb.
    fn complete(&self) -> Record {
        let id = self.queue();
        let taken = self.app.ledger.claim("test", 3, &[]).unwrap().unwrap();
        assert_eq!(taken.id, id);
        let output = |role: &str, name: &str, bytes: &[u8]| {
            let key = format!("results/{id}/{name}");
            let etag = self.put(&key, bytes);
            Output { role: role.into(), key, bytes: bytes.len() as u64, etag }
        };
        let outputs = [output("video", "overlay.mp4", b"0123456789"), output("poses", "poses.jsonl", POSES.as_bytes())];
        let report = json!({
            "counts": { "frames": 3, "frames_drawn": 2, "people": 2, "tracks": 1, "statuses": { "detected": 2 }, "other": {} },
            "input": { "width": 64, "height": 48, "frame_rate": 25.0 }, "wall_seconds": 1.5, "warnings": [], "settings": { "batch": 4 },
            "provenance": { "adapter": "none", "adapter_software": true },
        });
        self.app.ledger.complete(&id, taken.lease.unwrap().token, &outputs, &report).unwrap()
    }
}

fn spec() -> Spec {
    Spec {
        pipeline: "overlay".into(),
        input: "incoming/a.mp4".into(),
        input_etag: None,
        input_owned: false,
        output_prefix: "results/a/".into(),
        options: Map::new(),
        batch: 8,
        window: None,
        split: None,
        part_of: None,
        outputs: Wanted::default(),
        metadata: [("rider".to_owned(), "7".to_owned())].into(),
        webhook: None,
    }
}

fn request(method: &str, path: &str, headers: &[(&str, &str)], body: Body) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).unwrap()
}

/// Field name, file name, content.
type Part<'a> = (&'a str, Option<&'a str>, &'a [u8]);

fn form(parts: &[Part<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, file, content) in parts {
        let file = file.map(|f| format!("; filename=\"{f}\"")).unwrap_or_default();
        body.extend(format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n").bytes());
        body.extend(*content);
        body.extend(b"\r\n");
    }
    body.extend(format!("--{BOUNDARY}--\r\n").bytes());
    body
}

/// A second of test picture.
fn clip(folder: &Path) -> Vec<u8> {
    let path = folder.join("clip.mp4");
    let made = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=1", "-pix_fmt", "yuv420p", "-y"])
        .arg(&path)
        .status()
        .unwrap_or_else(|e| panic!("ffmpeg is needed ({e}): install it as the README says"));
    assert!(made.success());
    std::fs::read(path).unwrap()
}

#[tokio::test]
async fn unknown_routes_and_methods_have_the_common_form() {
    let service = Service::new();
    let unknown = service.get("/no/such/route").await;
    assert_eq!((unknown.status, unknown.code().as_str()), (StatusCode::NOT_FOUND, "route_unknown"));
    let method = service.ask("GET", "/process_video", &[]).await;
    assert_eq!((method.status, method.code().as_str()), (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"));
    assert_eq!(method.header("allow"), "POST");
}

#[tokio::test]
async fn request_ids_go_in_and_out() {
    let service = Service::new();
    let given = service.ask("GET", "/jobs", &[("x-request-id", "mine-1")]).await;
    assert_eq!(given.header("x-request-id"), "mine-1");
    let odd = service.ask("GET", "/jobs", &[("x-request-id", &"x".repeat(200))]).await;
    assert_eq!(odd.header("x-request-id").len(), 36, "an id of the service's own");
}

#[tokio::test]
async fn unknown_jobs_are_404_whatever_is_asked_of_them() {
    let service = Service::new();
    let id = "0190c0ffee00700080000000deadbeef";
    for path in ["/job_status/ID", "/jobs/ID", "/jobs/ID/events", "/jobs/ID/video", "/jobs/ID/frames"] {
        for id in [id, "short", "..%2F..%2Fsecret", "%00", "a%2Fb%2Fc%2Fd%2Fe"] {
            let answer = service.get(&path.replace("ID", id)).await;
            assert_eq!((answer.status, answer.code().as_str()), (StatusCode::NOT_FOUND, "job_unknown"), "{path} {id}");
        }
    }
    assert_eq!(service.ask("DELETE", &format!("/jobs/{id}"), &[]).await.code(), "job_unknown");
}

#[tokio::test]
async fn forms_that_are_wrong_are_refused() {
    let service = Service::with(|c| c.most_upload_bytes = 1000);
    let video: Part<'_> = ("video", Some("a.mp4"), b"not a video");
    let cases: [(&[Part<'_>], StatusCode, &str); 13] = [
        (&[], StatusCode::BAD_REQUEST, "video_missing"),
        (&[("batch_size", None, b"8")], StatusCode::BAD_REQUEST, "video_missing"),
        (&[("video", Some("a.mp4"), b"")], StatusCode::BAD_REQUEST, "video_empty"),
        (&[video], StatusCode::BAD_REQUEST, "video_unreadable"),
        (&[video, video], StatusCode::BAD_REQUEST, "bad_form"),
        (&[video, ("path", None, b"/etc/passwd")], StatusCode::BAD_REQUEST, "bad_form"),
        (&[video, ("batch_size", None, b"0")], StatusCode::BAD_REQUEST, "bad_batch_size"),
        (&[video, ("batch_size", None, b"65")], StatusCode::BAD_REQUEST, "bad_batch_size"),
        (&[video, ("batch_size", None, b"many")], StatusCode::BAD_REQUEST, "bad_batch_size"),
        (&[video, ("num_workers", None, b"-1")], StatusCode::BAD_REQUEST, "bad_num_workers"),
        (&[video, ("options", None, b"[1]")], StatusCode::BAD_REQUEST, "bad_options"),
        (&[video, ("metadata", None, b"{\"a\":1}")], StatusCode::BAD_REQUEST, "bad_metadata"),
        (&[("video", Some("a.mp4"), &[7; 1001])], StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
    ];
    for (parts, status, code) in cases {
        let answer = service.post_form("/process_video_async", parts).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code));
    }
    let spool = service.app.config.spool.read_dir().unwrap().count();
    assert_eq!(spool, 0, "nothing is left in the spool");
    assert!(service.app.ledger.open_ids().unwrap().is_empty());
}

#[tokio::test]
async fn a_broken_form_or_content_type_is_refused() {
    let service = Service::new();
    let plain = service.send(request("POST", "/process_video", &[("content-type", "text/plain")], Body::from("x"))).await;
    assert_eq!((plain.status, plain.code().as_str()), (StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_content_type"));
    let none = service.ask("POST", "/process_video_async", &[]).await;
    assert_eq!(none.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let unbounded = service.send(request("POST", "/process_video", &[("content-type", "multipart/form-data")], Body::from("x"))).await;
    assert_eq!((unbounded.status, unbounded.code().as_str()), (StatusCode::BAD_REQUEST, "bad_form"));
    let mut cut = form(&[("video", Some("a.mp4"), &[1; 500])]);
    cut.truncate(200);
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    let cut = service.send(request("POST", "/process_video", &[("content-type", &kind)], Body::from(cut))).await;
    assert_eq!((cut.status, cut.code().as_str()), (StatusCode::BAD_REQUEST, "bad_form"));
}

#[tokio::test]
async fn a_body_that_stops_coming_is_given_up() {
    let service = Service::with(|c| c.body_pause = Duration::from_millis(20));
    let start = form(&[("video", Some("a.mp4"), &[1; 500])])[..200].to_vec();
    let body = futures::StreamExt::chain(futures::stream::once(async move { Ok::<_, std::io::Error>(start) }), futures::stream::pending());
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    let answer = service.send(request("POST", "/process_video", &[("content-type", &kind)], Body::from_stream(body))).await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::REQUEST_TIMEOUT, "body_timeout"));
}

#[tokio::test]
async fn a_json_body_that_stops_coming_is_given_up_too() {
    let service = Service::with(|c| c.body_pause = Duration::from_millis(20));
    for path in ["/uploads", "/events/s3", "/process_video_async"] {
        let start = futures::stream::once(async { Ok::<_, std::io::Error>(b"{".to_vec()) });
        let body = Body::from_stream(futures::StreamExt::chain(start, futures::stream::pending()));
        let answer = service.send(request("POST", path, &[("content-type", "application/json")], body)).await;
        assert_eq!((answer.status, answer.code().as_str()), (StatusCode::REQUEST_TIMEOUT, "body_timeout"), "{path}");
    }
}

#[tokio::test]
async fn a_full_disk_is_said() {
    let service = Service::with(|c| c.disk_reserve_bytes = u64::MAX);
    let answer = service.post_form("/process_video_async", &[("video", Some("a.mp4"), b"x")]).await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::INSUFFICIENT_STORAGE, "disk_full"));
}

#[tokio::test]
async fn a_good_video_becomes_a_job_with_a_safe_key() {
    let service = Service::new();
    let clip = clip(service.folder.path());
    let parts: [Part<'_>; 4] = [
        ("batch_size", None, b"4"),
        ("video", Some("../../x/ride 1.mp4"), &clip),
        ("metadata", None, b"{\"rider\":\"7\"}"),
        ("outputs", None, b"video,poses"),
    ];
    let answer = service.post_form("/process_video_async", &parts).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", String::from_utf8_lossy(&answer.body));
    let body = answer.json();
    assert_eq!(body["status"], "accepted");
    let id = body["job_id"].as_str().unwrap();
    let record = service.app.ledger.get(id).unwrap();
    assert_eq!(record.spec.input, format!("uploads/{id}/ride_1.mp4"));
    assert!(record.spec.input_owned && record.spec.batch == 4 && record.spec.metadata["rider"] == "7");
    assert_eq!(record.spec.outputs, Wanted { video: true, poses: true, glb: false, bvh: false });
    let (stored, _) = service.app.store.read(&Key::new(record.spec.input).unwrap(), 1 << 24).unwrap();
    assert!(stored == clip, "every byte is kept");
    let status = service.get(&format!("/job_status/{id}")).await.json();
    assert_eq!(
        (status["status"].as_str(), status["result"].is_null(), status["progress"]["frames_done"].as_u64()),
        (Some("queued"), true, Some(0))
    );
    // without engines nobody could finish it while the client waits
    let waiting = service.post_form("/process_video", &parts).await;
    assert_eq!((waiting.status, waiting.code().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "engines_unavailable"));
}

#[tokio::test]
async fn equal_keys_make_one_job_and_leave_one_copy() {
    let service = Service::new();
    let clip = clip(service.folder.path());
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    let headers = [("content-type", kind.as_str()), ("idempotency-key", "k1")];
    let mut ids = Vec::new();
    for _ in 0..2 {
        let body = Body::from(form(&[("video", Some("a.mp4"), &clip)]));
        ids.push(service.send(request("POST", "/process_video_async", &headers, body)).await.json()["job_id"].clone());
    }
    assert_eq!(ids[0], ids[1]);
    assert_eq!(service.app.store.list("uploads/", None, 10).unwrap().len(), 1);
}

#[tokio::test]
async fn a_key_that_comes_again_with_other_wishes_is_refused() {
    let service = Service::new();
    let clip = clip(service.folder.path());
    let mut longer = clip.clone();
    longer.extend(b"\0\0\0\x08free");
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    let headers = [("content-type", kind.as_str()), ("idempotency-key", "k1")];
    let send = async |parts: &[Part<'_>]| service.send(request("POST", "/process_video_async", &headers, Body::from(form(parts)))).await;
    let first = send(&[("video", Some("a.mp4"), &clip), ("batch_size", None, b"4")]).await.json()["job_id"].clone();
    // the order of fields and the file's name are no wishes
    let same = send(&[("batch_size", None, b"4"), ("video", Some("b.mp4"), &clip)]).await;
    assert_eq!((same.status, &same.json()["job_id"]), (StatusCode::ACCEPTED, &first));
    for other in [
        &[("video", Some("a.mp4"), longer.as_slice()), ("batch_size", None, b"4".as_slice())][..],
        &[("video", Some("a.mp4"), &clip), ("batch_size", None, b"8")],
        &[("video", Some("a.mp4"), &clip), ("batch_size", None, b"4"), ("metadata", None, b"{\"rider\":\"7\"}")],
    ] {
        let refused = send(other).await;
        assert_eq!((refused.status, refused.code().as_str()), (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused"));
        assert!(refused.json()["error"]["message"].as_str().unwrap().contains(first.as_str().unwrap()), "it names the job");
    }
    assert_eq!(service.app.store.list("uploads/", None, 10).unwrap().len(), 1, "what was refused is not kept");
    assert_eq!(service.app.ledger.open_ids().unwrap().len(), 1);
}

#[tokio::test]
async fn a_key_belongs_to_one_json_body() {
    let service = Service::new();
    service.put("incoming/a.mp4", b"x");
    service.put("incoming/b.mp4", b"x");
    let headers = [("content-type", "application/json"), ("idempotency-key", "k2")];
    let send = async |body: Value| service.send(request("POST", "/process_video_async", &headers, Body::from(body.to_string()))).await;
    let first = send(json!({ "input": "incoming/a.mp4", "options": { "a": 1, "b": 2 } })).await.json()["job_id"].clone();
    let again = send(json!({ "options": { "b": 2, "a": 1 }, "input": "incoming/a.mp4" })).await;
    assert_eq!((again.status, &again.json()["job_id"]), (StatusCode::ACCEPTED, &first));
    for other in [
        json!({ "input": "incoming/b.mp4", "options": { "a": 1, "b": 2 } }),
        json!({ "input": "incoming/a.mp4", "options": { "a": 1 } }),
        json!({ "input": "incoming/a.mp4", "options": { "a": 1, "b": 2 }, "output_prefix": "mine/" }),
    ] {
        let refused = send(other).await;
        assert_eq!((refused.status, refused.code().as_str()), (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused"));
    }
    let shown = service.get(&format!("/jobs/{}", first.as_str().unwrap())).await.json();
    assert!(shown.get("fingerprint").is_none() && shown.get("idempotency").is_none(), "{shown}");
}

#[tokio::test]
async fn json_jobs_are_checked() {
    let service = Service::new();
    service.put("incoming/a.mp4", b"x");
    service.put("incoming/empty.mp4", b"");
    let good = service.post_json(&json!({ "input": "incoming/a.mp4", "batch_size": 2, "outputs": ["poses"] })).await;
    assert_eq!(good.status, StatusCode::ACCEPTED);
    let record = service.app.ledger.get(good.json()["job_id"].as_str().unwrap()).unwrap();
    assert!(!record.spec.input_owned && record.spec.input_etag.is_some() && record.spec.batch == 2);
    for (body, status, code) in [
        (json!({ "input": "incoming/b.mp4" }), 404, "input_unknown"),
        (json!({ "input": "incoming/empty.mp4" }), 400, "video_empty"),
        (json!({ "input": "../secret" }), 400, "bad_key"),
        (json!({ "input": "ledger/jobs/x.json" }), 400, "bad_key"),
        (json!({ "input": "incoming/a.mp4", "output_prefix": "ledger/jobs/" }), 400, "bad_key"),
        (json!({ "input": "incoming/a.mp4", "output_prefix": "x" }), 400, "bad_key"),
        (json!({ "input": "incoming/a.mp4", "output_prefix": "results/another/" }), 400, "bad_key"),
        (json!({ "input": "incoming/a.mp4", "output_prefix": "uploads/another/" }), 400, "bad_key"),
        (json!({ "input": "incoming/a.mp4", "batch_size": 65 }), 400, "bad_batch_size"),
        (json!({ "input": "incoming/a.mp4", "outputs": [] }), 400, "bad_outputs"),
        (json!({ "input": "incoming/a.mp4", "pipeline": "../x" }), 400, "pipeline_unknown"),
        (json!({ "input": "incoming/a.mp4", "webhook": "https://a.example/x" }), 400, "bad_webhook"),
        (json!({ "input": "incoming/a.mp4", "window": { "index": 1 } }), 422, "bad_body"),
        (json!({ "input": "incoming/a.mp4", "surprise": 1 }), 422, "bad_body"),
        (json!({}), 422, "bad_body"),
    ] {
        let answer = service.post_json(&body).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code), "{body}");
    }
    let json = [("content-type", "application/json")];
    let malformed = service.send(request("POST", "/process_video_async", &json, Body::from("{"))).await;
    assert_eq!((malformed.status, malformed.code().as_str()), (StatusCode::BAD_REQUEST, "bad_request"));
    let huge = service.send(request("POST", "/process_video_async", &json, Body::from(vec![b' '; (1 << 20) + 1]))).await;
    assert_eq!((huge.status, huge.code().as_str()), (StatusCode::PAYLOAD_TOO_LARGE, "too_large"));
}

#[tokio::test]
async fn a_full_queue_says_when_to_come_back() {
    let service = Service::with(|c| c.most_waiting = 1);
    service.put("incoming/a.mp4", b"x");
    service.queue();
    let answer = service.post_json(&json!({ "input": "incoming/a.mp4" })).await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::TOO_MANY_REQUESTS, "queue_full"));
    assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0);
}

#[tokio::test]
async fn a_full_queue_is_told_before_the_video_is_taken() {
    let service = Service::with(|c| c.most_waiting = 2);
    let clip = clip(service.folder.path());
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    let known = [("content-type", kind.as_str()), ("idempotency-key", "known")];
    let whole = || Body::from(form(&[("video", Some("a.mp4"), &clip)]));
    let first = service.send(request("POST", "/process_video_async", &known, whole())).await.json();
    service.queue();
    for path in ["/process_video", "/process_video_async"] {
        // whoever reads this body waits for ever
        let endless = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
        let answer = service.send(request("POST", path, &[("content-type", &kind)], endless)).await;
        assert_eq!((answer.status, answer.code().as_str()), (StatusCode::TOO_MANY_REQUESTS, "queue_full"), "{path}");
        assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0);
    }
    let again = service.send(request("POST", "/process_video_async", &known, whole())).await;
    assert_eq!((again.status, &again.json()["job_id"]), (StatusCode::ACCEPTED, &first["job_id"]), "a job that is there is found");
}

#[tokio::test]
async fn keys_open_the_door_and_probes_need_none() {
    let service = Service::with(|c| c.api_keys = vec!["right".into(), "other".into()]);
    let refused = service.get("/jobs").await;
    assert_eq!(
        (refused.status, refused.code().as_str(), refused.header("www-authenticate")),
        (StatusCode::UNAUTHORIZED, "unauthorized", "Bearer")
    );
    for (name, value, status) in [
        ("authorization", "Bearer right", 200),
        ("x-api-key", "other", 200),
        ("authorization", "Bearer wrong", 401),
        ("authorization", "Basic right", 401),
        ("x-api-key", "righ", 401),
    ] {
        assert_eq!(service.ask("GET", "/jobs", &[(name, value)]).await.status.as_u16(), status, "{name}: {value}");
    }
    assert_eq!(service.get("/livez").await.status, StatusCode::OK);
    assert_ne!(service.get("/health").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(service.get("/no/such").await.status, StatusCode::UNAUTHORIZED, "routes are not told to strangers");
}

#[tokio::test]
async fn browsers_are_let_in_by_origin() {
    let service = Service::with(|c| c.cors_origins = vec!["https://app.example".into()]);
    let friend = service.ask("GET", "/jobs", &[("origin", "https://app.example")]).await;
    assert_eq!(friend.header("access-control-allow-origin"), "https://app.example");
    let stranger = service.ask("GET", "/jobs", &[("origin", "https://evil.example")]).await;
    assert!(stranger.headers.get("access-control-allow-origin").is_none());
}

#[tokio::test]
async fn jobs_are_listed_in_pages_and_by_state() {
    let service = Service::new();
    let ids: Vec<String> = (0..3).map(|_| service.queue()).collect();
    service.app.ledger.cancel(&ids[1]).unwrap();
    let oldest: Vec<&String> = ids.iter().collect();
    let newest: Vec<&String> = ids.iter().rev().collect();
    for (query, expected) in [("limit=2", &newest), ("limit=2&order=newest", &newest), ("limit=2&order=oldest", &oldest)] {
        let first = service.get(&format!("/jobs?{query}")).await.json();
        let rest = service.get(&format!("/jobs?{query}&after={}", first["next"].as_str().unwrap())).await.json();
        assert_eq!((rest["jobs"].as_array().unwrap().len(), rest["next"].is_null()), (1, true), "{query}");
        let listed = first["jobs"].as_array().unwrap().iter().chain(rest["jobs"].as_array().unwrap());
        assert_eq!(listed.map(|job| job["id"].as_str().unwrap()).collect::<Vec<_>>(), *expected, "{query}");
    }
    let cancelled = service.get("/jobs?state=cancelled").await.json();
    assert_eq!((cancelled["jobs"].as_array().unwrap().len(), &cancelled["jobs"][0]["id"]), (1, &json!(ids[1])));
    for query in ["order=best", "limit=0", "limit=201", "limit=x", "state=odd", "after=..", "unknown=1"] {
        assert_eq!(service.get(&format!("/jobs?{query}")).await.status, StatusCode::BAD_REQUEST, "{query}");
    }
}

#[tokio::test]
async fn a_waiting_job_is_cancelled_at_once_and_a_running_one_soon() {
    let service = Service::new();
    let id = service.queue();
    let ended = service.ask("DELETE", &format!("/jobs/{id}"), &[]).await;
    assert_eq!((ended.status, ended.json()["state"].as_str()), (StatusCode::OK, Some("cancelled")));
    let id = service.queue();
    service.app.ledger.claim("test", 3, &[]).unwrap().unwrap();
    let asked = service.ask("DELETE", &format!("/jobs/{id}"), &[]).await;
    assert_eq!((asked.status, asked.json()["cancel_requested"].as_bool()), (StatusCode::ACCEPTED, Some(true)));
    let shown = service.get(&format!("/jobs/{id}")).await.json();
    assert!(shown.get("lease").is_none() && shown["state"] == "processing", "{shown}");
}

#[tokio::test]
async fn a_complete_job_has_the_old_form() {
    let service = Service::new();
    let record = service.complete();
    let status = service.get(&format!("/job_status/{}", record.id)).await.json();
    assert_eq!(status["status"], "complete");
    assert_eq!(status["output_url"], format!("/jobs/{}/video", record.id));
    assert_eq!(status["processing_time"], 1.5);
    let result = &status["result"];
    assert_eq!((&result["total_frames"], &result["resolution"], &result["fps"]), (&json!(3), &json!("64x48"), &json!(25.0)));
    assert_eq!(result["mesh_rendering_stats"]["frames_drawn"], 2);
    assert_eq!((&result["batch_size"], &result["num_workers"]), (&json!(4), &json!(1)), "what the hints came to");
}

#[tokio::test]
async fn results_are_given_whole_in_parts_and_not_twice() {
    let service = Service::new();
    let record = service.complete();
    let video = format!("/jobs/{}/video", record.id);
    let whole = service.get(&video).await;
    assert_eq!((whole.status, whole.body.as_slice()), (StatusCode::OK, &b"0123456789"[..]));
    assert_eq!((whole.header("content-type"), whole.header("accept-ranges"), whole.header("content-length")), ("video/mp4", "bytes", "10"));
    assert!(whole.header("content-disposition").starts_with("inline; filename=\""));
    let tag = whole.header("etag").to_owned();
    let head = service.ask("HEAD", &video, &[]).await;
    assert_eq!((head.status, head.body.len(), head.header("content-length")), (StatusCode::OK, 0, "10"));
    let part = service.ask("GET", &video, &[("range", "bytes=2-4")]).await;
    assert_eq!(
        (part.status, part.body.as_slice(), part.header("content-range")),
        (StatusCode::PARTIAL_CONTENT, &b"234"[..], "bytes 2-4/10")
    );
    let tail = service.ask("GET", &video, &[("range", "bytes=-3"), ("if-range", &tag)]).await;
    assert_eq!((tail.status, tail.body.as_slice()), (StatusCode::PARTIAL_CONTENT, &b"789"[..]));
    let changed = service.ask("GET", &video, &[("range", "bytes=-3"), ("if-range", "\"older\"")]).await;
    assert_eq!((changed.status, changed.body.len()), (StatusCode::OK, 10));
    let beyond = service.ask("GET", &video, &[("range", "bytes=10-")]).await;
    assert_eq!(
        (beyond.status, beyond.code().as_str(), beyond.header("content-range")),
        (StatusCode::RANGE_NOT_SATISFIABLE, "bad_range", "bytes */10")
    );
    let known = service.ask("GET", &video, &[("if-none-match", &tag)]).await;
    assert_eq!((known.status, known.body.len(), known.header("etag")), (StatusCode::NOT_MODIFIED, 0, tag.as_str()));
}

#[tokio::test]
async fn results_that_are_not_there_are_said_to_be() {
    let service = Service::new();
    let record = service.complete();
    let glb = service.get(&format!("/jobs/{}/glb", record.id)).await;
    assert_eq!((glb.status, glb.code().as_str()), (StatusCode::NOT_FOUND, "result_unknown"));
    let odd = service.get(&format!("/jobs/{}/secrets", record.id)).await;
    assert_eq!((odd.status, odd.code().as_str()), (StatusCode::NOT_FOUND, "route_unknown"));
    let queued = service.queue();
    let early = service.get(&format!("/jobs/{queued}/video")).await;
    assert_eq!((early.status, early.code().as_str()), (StatusCode::CONFLICT, "not_finished"));
    service.put(&record.output("video").unwrap().key, b"somebody else's");
    let replaced = service.get(&format!("/jobs/{}/video", record.id)).await;
    assert_eq!((replaced.status, replaced.code().as_str()), (StatusCode::GONE, "result_gone"));
    service.app.store.delete(&Key::new(record.output("video").unwrap().key.clone()).unwrap()).unwrap();
    assert_eq!(service.get(&format!("/jobs/{}/video", record.id)).await.code(), "result_gone");
}

#[tokio::test]
async fn frames_come_in_windows() {
    let service = Service::new();
    let record = service.complete();
    let path = format!("/jobs/{}/frames", record.id);
    let some = service.get(&format!("{path}?from=1&to=3")).await.json();
    assert_eq!(some, json!({ "header": { "schema": "halfpipe.poses/1" }, "frames": [{ "index": 1 }, { "index": 2 }] }));
    assert_eq!(service.get(&path).await.json()["frames"].as_array().unwrap().len(), 3);
    assert_eq!(service.get(&format!("{path}?from=7&to=9")).await.json()["frames"], json!([]));
    for query in ["from=2&to=2", "from=0&to=1001", "from=-1", "to=x", "from=3&to=1", "of=1"] {
        assert_eq!(service.get(&format!("{path}?{query}")).await.status, StatusCode::BAD_REQUEST, "{query}");
    }
}

#[tokio::test]
async fn events_end_with_the_final_state() {
    let service = Service::new();
    let record = service.complete();
    let done = service.get(&format!("/jobs/{}/events", record.id)).await;
    assert_eq!(done.header("content-type"), "text/event-stream");
    let text = String::from_utf8(done.body).unwrap();
    assert!(text.starts_with("event: end\n") && text.contains("\"status\":\"complete\""), "{text}");
    let id = service.queue();
    let app = Arc::clone(&service.app);
    let cancelled = id.clone();
    let path = format!("/jobs/{id}/events");
    let (answer, ()) = tokio::join!(service.get(&path), async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        app.ledger.cancel(&cancelled).unwrap();
    });
    let text = String::from_utf8(answer.body).unwrap();
    let (first, last) = (text.find("event: progress\n"), text.find("event: end\n"));
    assert!(first.is_some() && first < last && text.contains("\"status\":\"cancelled\""), "{text}");
}

#[tokio::test]
async fn the_document_describes_every_route() {
    let document = Service::new().get("/openapi.json").await.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    for path in [
        "/process_video",
        "/process_video_async",
        "/job_status/{id}",
        "/jobs",
        "/jobs/{id}",
        "/jobs/{id}/events",
        "/jobs/{id}/{result}",
        "/jobs/{id}/frames",
        "/openapi.json",
        "/health",
        "/livez",
        "/readyz",
        "/warmup",
        "/metrics",
        "/pose/hybrid",
        "/uploads",
        "/uploads/{id}",
        "/uploads/{id}/complete",
        "/events/s3",
    ] {
        let item = document["paths"][path].as_object().unwrap_or_else(|| panic!("{path} is not described"));
        for (method, operation) in item {
            assert!(operation["responses"]["default"].is_object(), "{method} {path} does not describe its errors");
        }
    }
    // every reference leads somewhere
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1).filter_map(|t| t.split('"').next()) {
        assert!(document.pointer(reference).is_some(), "{reference} leads nowhere");
    }
}

#[tokio::test]
async fn the_document_in_the_repository_is_the_one_that_is_served() {
    let served = Service::new().get("/openapi.json").await.json();
    let file = halfpipe_testkit::places::root().join("docs/openapi.json");
    if std::env::var_os("HALFPIPE_UPDATE").is_some() {
        std::fs::write(&file, serde_json::to_string_pretty(&served).unwrap() + "\n").unwrap();
    }
    let kept: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert!(kept == served, "docs/openapi.json is not what the code says; run `make openapi`");
}
