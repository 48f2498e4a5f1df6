//! Planners through the real components: the default rules, and planners that break rules, each ending as one clear error.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]
// the engines' types are deep: wgpu's resources stand behind the store's data
#![recursion_limit = "256"]

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use halfpipe_runtime::{FaultKind, Guest, Limits, PlanEvent, PlanEventKind, PlannedJob, Planner, Precompiled, RuntimeError, Sandbox};
use halfpipe_testkit::places;
use serde_json::{Value, json};

fn limits() -> Limits {
    Limits { memory_bytes: 64 << 20, spin: Duration::from_millis(300), ..Limits::default() }
}

fn sandbox() -> &'static Sandbox {
    static SANDBOX: OnceLock<Sandbox> = OnceLock::new();
    SANDBOX.get_or_init(|| Sandbox::new(&limits(), Precompiled::default()).unwrap())
}

fn planner(name: &str) -> Arc<Planner> {
    Planner::load(sandbox(), &places::guest(name)).unwrap()
}

fn event(kind: PlanEventKind, key: &str) -> PlanEvent {
    PlanEvent { kind, bucket: "videos".into(), key: key.into(), bytes: Some(1234), etag: Some("abc".into()), metadata: Vec::new() }
}

fn plan(planner: &Planner, event: PlanEvent) -> Result<Vec<PlannedJob>, RuntimeError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(planner.plan(sandbox(), &limits(), event))
}

/// Asks the planner that breaks rules; the error must name it, hold `words` and be one line.
fn breaks(mode: &str, words: &[&str]) {
    let hostile = planner("test_hostile_planner");
    let error = plan(&hostile, event(PlanEventKind::ObjectCreated, mode)).expect_err(mode);
    let text = error.to_string();
    assert!(matches!(&error, RuntimeError::Planner { planner, .. } if planner == "test_hostile_planner"), "{mode}: {error:?}");
    for word in words {
        assert!(text.contains(word), "{mode}: {text:?} lacks {word:?}");
    }
    assert_eq!(error.kind(), FaultKind::BadGuest, "{mode}: {text}");
    assert_eq!(text.lines().count(), 1, "{mode}: one line, not {text:?}");
    // the next event finds a planner that works
    assert_eq!(plan(&hostile, event(PlanEventKind::ObjectCreated, "well_behaved")).unwrap().len(), 1, "after {mode}");
}

#[test]
fn a_video_under_incoming_becomes_one_overlay_job() {
    let jobs = plan(&planner("planner"), event(PlanEventKind::ObjectCreated, "incoming/2026/café jump+1.MP4")).unwrap();
    let [job] = jobs.as_slice() else { panic!("one job, not {jobs:?}") };
    assert_eq!(job.input.as_str(), "incoming/2026/café jump+1.MP4");
    assert_eq!(job.output_prefix, "results/2026/café jump+1.MP4/");
    assert_eq!(job.pipeline, "overlay");
    assert!(job.options.is_empty());
}

#[test]
fn other_objects_become_no_job() {
    let planner = planner("planner");
    for key in ["clip.mp4", "results/a.mp4/overlay.mp4", "incoming/", "incoming/a.mp4/", "incoming/notes.txt"] {
        assert_eq!(plan(&planner, event(PlanEventKind::ObjectCreated, key)).unwrap(), [], "{key}");
    }
    assert_eq!(plan(&planner, event(PlanEventKind::ObjectRemoved, "incoming/a.mp4")).unwrap(), []);
    let empty = PlanEvent { bytes: Some(0), ..event(PlanEventKind::ObjectCreated, "incoming/a.mp4") };
    assert_eq!(plan(&planner, empty).unwrap(), []);
    let unknown = PlanEvent { bytes: None, etag: None, ..event(PlanEventKind::ObjectCreated, "incoming/a.mp4") };
    assert_eq!(plan(&planner, unknown).unwrap().len(), 1);
}

#[test]
fn a_request_names_its_job() {
    let fields = [("pipeline", "example"), ("options", r#"{"people": 2}"#), ("output_prefix", "out/a")];
    let metadata = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let jobs = plan(&planner("planner"), PlanEvent { metadata, ..event(PlanEventKind::Request, "archive/a.mp4") }).unwrap();
    let [job] = jobs.as_slice() else { panic!("one job, not {jobs:?}") };
    assert_eq!((job.input.as_str(), job.output_prefix.as_str(), job.pipeline.as_str()), ("archive/a.mp4", "out/a/", "example"));
    assert_eq!(Value::Object(job.options.clone()), json!({ "people": 2 }));
}

#[test]
fn what_a_planner_does_not_understand_comes_back_as_its_sentence() {
    let metadata = vec![("options".to_owned(), "[]".to_owned())];
    let error = plan(&planner("planner"), PlanEvent { metadata, ..event(PlanEventKind::Request, "a.mp4") }).unwrap_err();
    assert!(matches!(error, RuntimeError::EventRefused { .. }), "{error:?}");
    assert_eq!(error.kind(), FaultKind::BadInput);
    let text = error.to_string();
    assert!(text.contains("the planner planner refuses the event") && text.contains("options"), "{text}");
    let error = plan(&planner("planner"), event(PlanEventKind::ObjectCreated, "incoming/../a.mp4")).unwrap_err();
    assert!(error.to_string().contains("\"incoming/../a.mp4\""), "{error}");
}

#[test]
fn events_can_be_planned_side_by_side() {
    let planner = planner("planner");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..16)
            .map(|n| {
                let planner = Arc::clone(&planner);
                tokio::spawn(async move {
                    planner.plan(sandbox(), &limits(), event(PlanEventKind::ObjectCreated, &format!("incoming/{n}.mp4"))).await
                })
            })
            .collect();
        for (n, task) in tasks.into_iter().enumerate() {
            let jobs = task.await.unwrap().unwrap();
            assert_eq!(jobs[0].output_prefix, format!("results/{n}.mp4/"));
        }
    });
}

#[test]
fn the_file_is_known_by_its_digest() {
    use sha2::{Digest, Sha256};
    let planner = planner("planner");
    let file = std::fs::read(&planner.path).unwrap();
    let digest: String = Sha256::digest(&file).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((planner.name(), planner.bytes, &planner.sha256), ("planner", file.len() as u64, &digest));
}

#[test]
fn a_pipeline_is_not_a_planner_and_a_planner_no_pipeline() {
    let error = Planner::load(sandbox(), &places::guest("overlay")).unwrap_err();
    assert!(matches!(error, RuntimeError::PlannerInvalid { .. }), "{error:?}");
    let text = error.to_string();
    for word in ["overlay.wasm is not a Halfpipe planner", "halfpipe:job/runner@0.1.0", "halfpipe:job/planning@0.1.0"] {
        assert!(text.contains(word), "{text:?} lacks {word:?}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let Err(error) = runtime.block_on(Guest::load(sandbox(), &limits(), &places::guest("planner"))) else {
        panic!("a planner was taken for a pipeline")
    };
    assert!(matches!(error, RuntimeError::GuestInvalid { .. }), "{error:?}");
}

#[test]
fn files_that_are_no_component_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        Planner::load(sandbox(), &path).unwrap_err()
    };
    assert!(refused("text.wasm", b"hello").to_string().contains("it is not WebAssembly"));
    // an empty core module, and an empty component
    assert!(matches!(refused("module.wasm", b"\0asm\x01\0\0\0"), RuntimeError::PlannerInvalid { .. }));
    assert!(refused("empty.wasm", b"\0asm\x0d\0\x01\0").to_string().contains("it exports nothing"));
    let error = Planner::load(sandbox(), Path::new("/nowhere/planner.wasm")).unwrap_err();
    assert!(matches!(error, RuntimeError::GuestFile { .. }), "{error:?}");
}

#[test]
fn a_planner_that_never_ends_is_stopped() {
    // side by side, since each lasts as long as it may
    std::thread::scope(|scope| {
        for (mode, words) in [("spin", "endless loop"), ("chatter", "took longer than the 5s"), ("sleep", "took longer than the 5s")] {
            scope.spawn(move || breaks(mode, &[words]));
        }
    });
}

#[test]
fn a_planner_that_traps_is_named() {
    breaks("trap", &["was stopped", "unreachable"]);
}

#[test]
fn a_planner_that_takes_too_much_is_stopped() {
    breaks("grow_memory", &["was stopped", "memory"]);
    breaks("huge_answer", &["was stopped"]);
}

#[test]
fn nonsense_answers_are_refused() {
    breaks("many_jobs", &["1001 jobs", "1000 at most"]);
    breaks("same_prefix", &["two jobs", "results/1/"]);
    breaks("options_array", &["job 1", "options are not a JSON object"]);
    breaks("options_not_json", &["options are not a JSON object"]);
    breaks("input_up", &["its input", "../secret.mp4"]);
    breaks("input_empty", &["its input", "empty"]);
    breaks("prefix_up", &["output-prefix", "a part is . or .."]);
    breaks("prefix_open", &["output-prefix", "does not end with a slash"]);
    breaks("prefix_root", &["output-prefix", "empty"]);
    breaks("pipeline_path", &["neither a name nor name@version"]);
    breaks("pipeline_empty", &["neither a name nor name@version"]);
}

#[test]
fn as_many_jobs_as_allowed_are_taken() {
    assert_eq!(plan(&planner("test_hostile_planner"), event(PlanEventKind::ObjectCreated, "most_jobs")).unwrap().len(), 1000);
}

#[test]
fn sentences_are_cut_and_files_environment_and_network_are_out_of_reach() {
    let hostile = planner("test_hostile_planner");
    let error = plan(&hostile, event(PlanEventKind::ObjectCreated, "long_error")).unwrap_err();
    assert!(matches!(error, RuntimeError::EventRefused { .. }) && error.to_string().len() < 1000);
    let error = plan(&hostile, event(PlanEventKind::ObjectCreated, "escape")).unwrap_err();
    assert!(error.to_string().ends_with("no files, no environment, no network"), "{error}");
}
