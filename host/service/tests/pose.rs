//! Pictures and health over the real engines.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]
// the engines' types are deep: wgpu's resources stand behind the host
#![recursion_limit = "256"]

mod apps;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use apps::Bench;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use halfpipe_store::MemoryStore;
use halfpipe_testkit::places;
use serde_json::json;

/// One picture that ffmpeg makes, base64.
fn picture(input: &[&str], name: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(name);
    let made = Command::new("ffmpeg").args(["-v", "error"]).args(input).args(["-frames:v", "1"]).arg(&file).status().unwrap();
    assert!(made.success());
    BASE64_STANDARD.encode(std::fs::read(file).unwrap())
}

fn person(clip: &Path, name: &str) -> String {
    picture(&["-ss", "1", "-i", clip.to_str().unwrap()], name)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_gives_its_people_with_names() {
    let bench = Bench::new(Arc::new(MemoryStore::default()), |_| {});
    let clip = places::clip("tfjs_pose_squats.mp4");
    let request =
        json!({ "image_base64": format!("data:image/jpeg;base64,{}", person(&clip, "p.jpg")), "frame_number": 7, "visualize": true });
    let answer = bench.post("/pose/hybrid", &request).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    assert_eq!((answer["status"].clone(), answer["frame_number"].clone()), (json!("success"), json!(7)));
    let one = &answer["people"][0];
    let (width, height) = (answer["image"]["width"].as_f64().unwrap(), answer["image"]["height"].as_f64().unwrap());
    let head = &one["joints2d"]["head"];
    let foot = &one["joints2d"]["left_foot"];
    assert!(head["y"].as_f64().unwrap() < foot["y"].as_f64().unwrap(), "{one}");
    assert!((0.0..width).contains(&head["x"].as_f64().unwrap()) && (0.0..height).contains(&head["y"].as_f64().unwrap()), "{one}");
    assert_eq!(one["joints3d"].as_object().unwrap().len(), 24);
    assert!(one["joints3d"]["pelvis"]["z"].as_f64().unwrap() > 0.0);
    assert!((0.0..=1.0).contains(&one["confidence"].as_f64().unwrap()));
    assert!(one["angles"]["left_knee"].as_f64().is_some_and(|a| (0.0..=180.0).contains(&a)), "{one}");
    assert_eq!((one["mesh_drawn"].clone(), answer["mesh"]["frames_drawn"].clone()), (json!(true), json!(1)));
    let png = BASE64_STANDARD.decode(answer["visualization"].as_str().unwrap()).unwrap();
    assert!(png.starts_with(b"\x89PNG"));
    assert_eq!(u32::from_be_bytes(png[16..20].try_into().unwrap()), width as u32);

    // without drawing nothing is said of meshes
    let plain = bench.post("/pose/hybrid", &json!({ "image_base64": person(&clip, "p.png") })).await.json();
    assert!(!plain["people"].as_array().unwrap().is_empty(), "{plain}");
    assert_eq!((plain["people"][0]["mesh_drawn"].clone(), plain["mesh"]["drawn"].clone()), (json!(null), json!(null)));
    assert!(plain.get("visualization").is_none());
    assert_eq!(bench.left_behind(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_without_people_is_no_error_and_what_is_no_picture_is_one() {
    let bench = Bench::new(Arc::new(MemoryStore::default()), |_| {});
    let empty = picture(&["-f", "lavfi", "-i", "color=gray:s=320x240"], "p.png");
    let answer = bench.post("/pose/hybrid", &json!({ "image_base64": empty, "visualize": true })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    assert_eq!((answer["people"].clone(), answer["mesh"]["frames_drawn"].clone()), (json!([]), json!(0)));
    assert_eq!(answer["warnings"][0]["code"], "no_person");

    let text = BASE64_STANDARD.encode("this is no picture");
    assert_eq!(bench.post("/pose/hybrid", &json!({ "image_base64": text })).await.code(400), "bad_image");
    assert_eq!(bench.post("/pose/hybrid", &json!({ "image_base64": "%%%" })).await.code(400), "bad_image");
    let large = "A".repeat((20 << 20) / 3 * 4 + (128 << 10));
    assert_eq!(bench.post("/pose/hybrid", &json!({ "image_base64": large })).await.code(413), "too_large");
    assert_eq!(bench.left_behind(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_tells_what_is_loaded_before_and_after_the_warm_up() {
    let bench = Bench::new(Arc::new(MemoryStore::default()), |_| {});
    assert_eq!(bench.get("/livez").await.status, 200);
    assert!(bench.app.engines.wait().await.is_ok());
    let before = bench.get("/health").await.json();
    assert_eq!((before["status"].clone(), before["ready"].clone()), (json!("warming_up"), json!(false)));
    assert!(before["models"].as_object().unwrap().values().all(|m| m == "not_loaded"), "{before}");

    assert_eq!(before["pipelines"].as_array().unwrap().iter().filter(|p| *p == "planner").count(), 0, "{before}");
    assert!(before["pipelines"].as_array().unwrap().contains(&json!("overlay")), "{before}");
    let early = bench.get("/readyz").await;
    assert_eq!(early.status, 503);
    assert!(early.json()["reason"].as_str().unwrap().contains("being loaded"), "{}", early.text());

    let warmed = bench.get("/warmup").await;
    assert_eq!(warmed.status, 200, "{}", warmed.text());
    let warmed = warmed.json();
    let models = warmed["models"].as_object().unwrap();
    assert!(!models.is_empty());
    for (name, model) in models {
        assert!(model["load_ms"].as_f64() > Some(0.0), "{warmed}");
        let runs = model["runs"].as_array().unwrap();
        assert!(runs.iter().all(|run| run["ms"].as_f64() > Some(0.0)), "{warmed}");
        let batches: Vec<u64> = runs.iter().map(|run| run["batch"].as_u64().unwrap()).collect();
        // pictures come alone, frames of a job by eight
        assert_eq!(batches, [1, 8], "{name}: {warmed}");
    }

    let after = bench.get("/health").await.json();
    assert_eq!((after["status"].clone(), after["ready"].clone()), (json!("ready"), json!(true)));
    assert!(after["models"].as_object().unwrap().values().all(|m| m == "loaded"), "{after}");
    assert!(after["execution_provider"].as_str().unwrap().contains("cpu"), "{after}");
    assert_eq!(bench.get("/readyz").await.status, 200);

    let metrics = bench.get("/metrics").await.text();
    assert!(metrics.contains("halfpipe_queue_length 0"), "{metrics}");
    assert!(metrics.contains("halfpipe_http_requests_total{method=\"GET\",route=\"/livez\",status=\"200\"}"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_its_pipeline_says_that_it_is_not_ready() {
    let bench = Bench::new(Arc::new(MemoryStore::default()), |config| config.pipeline = "nowhere".into());
    assert!(bench.app.engines.wait().await.is_ok());
    let probe = bench.get("/readyz").await;
    assert_eq!(probe.status, 503);
    assert!(probe.json()["reason"].as_str().unwrap().contains("nowhere"));
    assert_eq!(bench.get("/health").await.json()["status"], "not_ready");
    assert_eq!(bench.post("/warmup", &json!({})).await.code(503), "pipeline_unavailable");
}
