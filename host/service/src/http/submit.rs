//! From what a client asks for to a job: checks everything that can be checked before the job is accepted.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode};
use halfpipe_join::WindowPlan;
use halfpipe_join::cut::MOST_OVERLAP;
use halfpipe_store::{Key, PutMode, StoreError};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::App;
use crate::config::Config;
use crate::engines::EngineStatus;
use crate::http::ApiError;
use crate::http::upload::Form;
use crate::jobs::ledger::{hex, new_id};
use crate::jobs::{Record, Spec, Split, Submission, Wanted};

/// Longest Idempotency-Key.
const MOST_KEY: usize = 255;
/// Bounds of the caller's own words.
const MOST_METADATA: usize = 64;
const MOST_METADATA_BYTES: usize = 16 << 10;

/// A job on a video that is in the store already.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JobRequest {
    /// Key of the video in the store.
    #[schema(min_length = 1, max_length = 1024, example = "incoming/ride.mp4")]
    pub input: String,
    /// Pipeline by name, or name@version; none for the service's own default.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}(@[A-Za-z0-9.+-]{1,32})?$")]
    pub pipeline: Option<String>,
    /// Options of the pipeline.
    #[schema(value_type = Option<Object>)]
    pub options: Option<Map<String, Value>>,
    /// Frames a batch, a hint.
    #[schema(minimum = 1, maximum = 64)]
    pub batch_size: Option<i64>,
    /// Kept for former clients; one model per device works on batches.
    #[schema(minimum = 1, maximum = 64)]
    pub num_workers: Option<i64>,
    /// One window of a plan of `halfpipe split`: the plan's own object, as `jq .windows[K] plan.json` gives it. The overlay holds the
    /// window's own frames, the poses all that it reads; `halfpipe join` makes one video of the windows' results.
    #[schema(value_type = Option<Object>)]
    pub window: Option<WindowPlan>,
    /// Cut the video into windows, each a job of its own that any worker takes up; this job joins them. Either `windows` or `seconds`.
    pub split: Option<Split>,
    /// Which results; all where it is left out.
    #[schema(min_items = 1)]
    pub outputs: Option<Vec<OutputName>>,
    /// The caller's own words, carried through.
    pub metadata: Option<BTreeMap<String, String>>,
    /// Address to tell of the end.
    pub webhook: Option<String>,
    /// Key prefix for the results, ending in `/`; a folder of the job's own where it is left out.
    pub output_prefix: Option<String>,
}

/// A kind of result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutputName {
    /// The overlay video.
    Video,
    /// poses.jsonl.
    Poses,
    /// Animated glTF.
    Glb,
    /// Biovision motion.
    Bvh,
}

/// What the two ways to ask have in common.
#[derive(Debug, Default)]
struct Wishes {
    pipeline: Option<String>,
    options: Map<String, Value>,
    batch_size: Option<i64>,
    num_workers: Option<i64>,
    window: Option<WindowPlan>,
    split: Option<Split>,
    outputs: Option<Vec<OutputName>>,
    metadata: BTreeMap<String, String>,
    webhook: Option<String>,
}

impl Wishes {
    fn of_form(texts: &BTreeMap<String, String>) -> Result<Self, ApiError> {
        let given = |name: &str| texts.get(name).map(|t| t.trim()).filter(|t| !t.is_empty());
        let whole = |name: &'static str| {
            let code = if name == "batch_size" { "bad_batch_size" } else { "bad_num_workers" };
            given(name)
                .map(|t| t.parse().map_err(|_| ApiError::bad_request(code, format!("`{name}` must be a whole number from 1 to 64"))))
                .transpose()
        };
        let options = given("options").map(serde_json::from_str).transpose();
        let options = options.map_err(|e| ApiError::bad_request("bad_options", format!("`options` is not a JSON object: {e}")))?;
        let metadata = given("metadata").map(serde_json::from_str).transpose();
        let metadata =
            metadata.map_err(|e| ApiError::bad_request("bad_metadata", format!("`metadata` is not a JSON object of strings: {e}")))?;
        Ok(Self {
            pipeline: given("pipeline").map(str::to_owned),
            options: options.unwrap_or_default(),
            batch_size: whole("batch_size")?,
            num_workers: whole("num_workers")?,
            // a video that is sent along is sent whole, once for each window: windows are for videos in the store
            window: None,
            split: given("split").map(serde_json::from_str).transpose().map_err(|e| bad_split(&e.to_string()))?,
            outputs: given("outputs").map(outputs_of_text).transpose()?,
            metadata: metadata.unwrap_or_default(),
            webhook: given("webhook").map(str::to_owned),
        })
    }
}

/// `video,poses` or `["video","poses"]`.
fn outputs_of_text(text: &str) -> Result<Vec<OutputName>, ApiError> {
    let names: Value = if text.starts_with('[') {
        serde_json::from_str(text).map_err(|e| bad_outputs(&e))?
    } else {
        text.split(',').map(|name| Value::from(name.trim())).collect()
    };
    serde_json::from_value(names).map_err(|e| bad_outputs(&e))
}

fn bad_outputs(e: &serde_json::Error) -> ApiError {
    ApiError::bad_request("bad_outputs", format!("`outputs` must be a list of video, poses, glb and bvh: {e}"))
}

fn bad_split(what: &str) -> ApiError {
    ApiError::bad_request("bad_split", format!("`split` must be like {{\"windows\": 7}} or {{\"seconds\": 60, \"overlap\": 2}}: {what}"))
}

/// Refuses what no plan can be made of.
fn check_split(split: &Split) -> Result<(), ApiError> {
    match (split.windows, split.seconds) {
        (Some(1..=10_000), None) => {}
        (None, Some(seconds)) if seconds.is_finite() && seconds > 0.0 => {}
        (Some(_), None) => return Err(bad_split("`windows` is 1 to 10000")),
        (None, Some(_)) => return Err(bad_split("`seconds` is above 0")),
        _ => return Err(bad_split("give either `windows` or `seconds`")),
    }
    match split.overlap {
        Some(overlap) if !(0.0..=MOST_OVERLAP).contains(&overlap) => Err(bad_split(&format!("`overlap` is 0 to {MOST_OVERLAP} seconds"))),
        _ => Ok(()),
    }
}

fn checked_size(name: &str, code: &'static str, given: Option<i64>, default: u32) -> Result<u32, ApiError> {
    let Some(given) = given else { return Ok(default) };
    u32::try_from(given)
        .ok()
        .filter(|n| (1..=64).contains(n))
        .ok_or_else(|| ApiError::bad_request(code, format!("`{name}` is {given}, but must be from 1 to 64")))
}

/// Checks the wishes and makes a specification of them.
async fn spec(app: &Arc<App>, wishes: Wishes, input: String, output_prefix: String) -> Result<Spec, ApiError> {
    let batch = checked_size("batch_size", "bad_batch_size", wishes.batch_size, Spec::BATCH)?;
    checked_size("num_workers", "bad_num_workers", wishes.num_workers, 1)?;
    let words: usize = wishes.metadata.iter().map(|(k, v)| k.len() + v.len()).sum();
    if wishes.metadata.len() > MOST_METADATA || words > MOST_METADATA_BYTES {
        let message = format!("`metadata` may hold {MOST_METADATA} entries and {MOST_METADATA_BYTES} bytes; shorten it");
        return Err(ApiError::bad_request("bad_metadata", message));
    }
    let outputs = match wishes.outputs {
        None => Wanted::default(),
        Some(names) if names.is_empty() => {
            return Err(ApiError::bad_request("bad_outputs", "`outputs` is empty; name at least one of video, poses, glb and bvh"));
        }
        Some(names) => Wanted {
            video: names.contains(&OutputName::Video),
            poses: names.contains(&OutputName::Poses),
            glb: names.contains(&OutputName::Glb),
            bvh: names.contains(&OutputName::Bvh),
        },
    };
    if let Some(url) = &wishes.webhook {
        crate::webhook::check(app, url)?;
    }
    let pipeline = wishes.pipeline.unwrap_or_else(|| app.config.pipeline.clone());
    check_pipeline(app, &pipeline, &wishes.options).await?;
    if let Some(fault) = wishes.window.as_ref().and_then(|w| w.window().err()) {
        return Err(ApiError::bad_request("bad_window", format!("`window` is not one of a plan: {fault}")));
    }
    if let Some(split) = &wishes.split {
        check_split(split)?;
        if wishes.window.is_some() {
            return Err(bad_split("a `window` is not split again"));
        }
    }
    Ok(Spec {
        pipeline,
        input,
        input_etag: None,
        input_owned: false,
        output_prefix,
        options: wishes.options,
        batch,
        window: wishes.window,
        split: wishes.split,
        part_of: None,
        outputs,
        metadata: wishes.metadata,
        webhook: wishes.webhook,
    })
}

/// Checks pipeline and options where the engines are there to say; else the job finds out.
async fn check_pipeline(app: &Arc<App>, pipeline: &str, options: &Map<String, Value>) -> Result<(), ApiError> {
    let made_of = |text: &str, most: usize, more: &[u8]| {
        (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || more.contains(&b))
    };
    let (name, version) = pipeline.split_once('@').map_or((pipeline, None), |(name, version)| (name, Some(version)));
    if !made_of(name, 64, b"_-") || version.is_some_and(|v| !made_of(v, 32, b".+-")) {
        let message = "`pipeline` must be a name of letters, digits, `_` and `-`, with or without @ and a version";
        return Err(ApiError::bad_request("pipeline_unknown", message));
    }
    let EngineStatus::Ready(host) = app.engines.status() else { return Ok(()) };
    let guest = app.shelf.get(&host, pipeline).await?;
    halfpipe_runtime::options::check(&guest.description.options_schema, &Value::Object(options.clone()))
        .map_err(|faults| ApiError::bad_request("bad_options", format!("the pipeline {pipeline} does not take these options: {faults}")))
}

/// The request's Idempotency-Key.
pub(super) fn idempotency(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let fits = value.to_str().ok().filter(|t| (1..=MOST_KEY).contains(&t.len()));
    let text = fits.ok_or_else(|| {
        ApiError::bad_request("bad_idempotency_key", format!("the Idempotency-Key must have 1 to {MOST_KEY} visible ASCII characters"))
    })?;
    // upload events have identities of their own
    Ok(Some(format!("client:{text}")))
}

/// Digest of what a client asks for: everything of the specification, with input and output prefix as the client named them.
fn fingerprint(spec: &Spec, input: &str, output_prefix: &str) -> String {
    let wishes = serde_json::json!([
        input,
        output_prefix,
        spec.pipeline,
        sorted(&Value::Object(spec.options.clone())),
        spec.batch,
        spec.window,
        spec.split,
        spec.outputs,
        spec.metadata,
        spec.webhook,
    ]);
    hex(&Sha256::digest(wishes.to_string().as_bytes()))
}

/// The same value with the names of objects in order, so that the order in which a client wrote them does not matter.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let ordered: BTreeMap<&String, Value> = map.iter().map(|(name, value)| (name, sorted(value))).collect();
            ordered.into_iter().map(|(name, value)| (name.clone(), value)).collect()
        }
        Value::Array(list) => list.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

/// Submits a job on a video that came with the request. A request that was seen before gives the job it made then.
pub(super) async fn of_form(app: &Arc<App>, headers: &HeaderMap, form: Form) -> Result<Record, ApiError> {
    let key = idempotency(headers)?;
    let wishes = Wishes::of_form(&form.texts)?;
    let id = new_id();
    let input = Key::new(format!("{}{id}/{}", Config::UPLOADS_PREFIX, form.name))?;
    let prefix = format!("{}{id}/", Config::RESULTS_PREFIX);
    let spec = spec(app, wishes, input.to_string(), prefix).await?;
    // the id is drawn anew for each request, the bytes and the wishes are the client's
    let fingerprint = form.sha256.as_ref().map(|sha256| fingerprint(&spec, &format!("sha256:{sha256}"), ""));
    if let (Some(key), Some(wishes)) = (key.clone(), fingerprint.clone())
        && let Some(former) = app.blocking(move |app| app.ledger.former(&key, Some(&wishes))).await?
    {
        return Ok(former);
    }
    let info = crate::http::upload::check_video(&app.engines, &form).await?;
    let (at, path) = (input.clone(), form.video.clone());
    let meta = app.blocking(move |app| app.store.put_file(&at, &path, PutMode::Create)).await?;
    app.probes.keep(input.as_str(), &meta.etag, info);
    let spec = Spec { input_etag: Some(meta.etag), input_owned: true, ..spec };
    let submitted = app.submit(Submission { spec, idempotency: key, fingerprint, id: Some(id) }).await;
    if !matches!(&submitted, Ok((record, _)) if record.spec.input == input.as_str()) {
        // no job has this copy
        if let Err(error) = app.blocking(move |app| app.store.delete(&input)).await {
            tracing::warn!(%error, "an upload that no job needs could not be removed");
        }
    }
    Ok(submitted?.0)
}

/// Submits a job on a video in the store.
pub(super) async fn of_request(app: &Arc<App>, headers: &HeaderMap, request: JobRequest) -> Result<Record, ApiError> {
    let key = idempotency(headers)?;
    let id = new_id();
    let input = free_key("input", &request.input)?;
    let asked_prefix = request.output_prefix.clone().unwrap_or_default();
    let prefix = match request.output_prefix {
        None => format!("{}{id}/", Config::RESULTS_PREFIX),
        Some(prefix) => {
            let Some(folder) = prefix.strip_suffix('/') else {
                return Err(ApiError::bad_request("bad_key", "`output_prefix` must end in `/`"));
            };
            let key = free_key("output_prefix", folder)?;
            if let Some(own) = [Config::RESULTS_PREFIX, Config::UPLOADS_PREFIX].into_iter().find(|own| prefix.starts_with(own)) {
                // somebody else's results may lie there
                let message = format!("`output_prefix` {key}/ is under {own}, which the service fills; choose another, or leave it out");
                return Err(ApiError::bad_request("bad_key", message));
            }
            prefix
        }
    };
    let wishes = Wishes {
        pipeline: request.pipeline,
        options: request.options.unwrap_or_default(),
        batch_size: request.batch_size,
        num_workers: request.num_workers,
        window: request.window,
        split: request.split,
        outputs: request.outputs,
        metadata: request.metadata.unwrap_or_default(),
        webhook: request.webhook,
    };
    let spec = spec(app, wishes, input.to_string(), prefix).await?;
    let fingerprint = key.is_some().then(|| fingerprint(&spec, &spec.input, &asked_prefix));
    if let (Some(key), Some(wishes)) = (key.clone(), fingerprint.clone())
        && let Some(former) = app.blocking(move |app| app.ledger.former(&key, Some(&wishes))).await?
    {
        return Ok(former);
    }
    let at = input.clone();
    let found = app.blocking(move |app| match app.store.head(&at) {
        Ok(meta) => Ok(Some(meta)),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(e) => Err(e),
    });
    let Some(meta) = found.await? else {
        let message = format!("there is no object {input} in the store; upload it first, or correct `input`");
        return Err(ApiError::new(StatusCode::NOT_FOUND, "input_unknown", message));
    };
    if meta.size == 0 {
        return Err(ApiError::bad_request("video_empty", format!("{input} is empty (0 bytes); upload it again")));
    }
    let spec = Spec { input_etag: Some(meta.etag), ..spec };
    Ok(app.submit(Submission { spec, idempotency: key, fingerprint, id: Some(id) }).await?.0)
}

/// A key that clients may name: any but the service's own records.
fn free_key(field: &str, text: &str) -> Result<Key, ApiError> {
    let key = Key::new(text).map_err(|e| ApiError::bad_request("bad_key", format!("`{field}`: {e}")))?;
    let own = Config::LEDGER_PREFIX.trim_end_matches('/');
    if key.as_str().split('/').next().is_some_and(|first| first.eq_ignore_ascii_case(own)) {
        return Err(ApiError::bad_request("bad_key", format!("`{field}` may not be under {own}/, where the service keeps its records")));
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_outputs_come_in_two_forms() {
        assert_eq!(outputs_of_text("video, poses").unwrap(), [OutputName::Video, OutputName::Poses]);
        assert_eq!(outputs_of_text(r#"["glb"]"#).unwrap(), [OutputName::Glb]);
        assert_eq!(outputs_of_text("mesh").unwrap_err().code, "bad_outputs");
    }

    #[test]
    fn sizes_are_1_to_64() {
        for good in [1, 64] {
            assert!(checked_size("batch_size", "bad_batch_size", Some(good), 8).is_ok());
        }
        for bad in [0, 65, -1, i64::MAX] {
            assert_eq!(checked_size("batch_size", "bad_batch_size", Some(bad), 8).unwrap_err().code, "bad_batch_size");
        }
    }

    #[test]
    fn equal_wishes_have_one_fingerprint_whatever_their_order() {
        let options = |text: &str| serde_json::from_str::<Map<String, Value>>(text).unwrap();
        let spec = |options, batch| Spec {
            pipeline: "overlay".into(),
            input: "a.mp4".into(),
            input_etag: None,
            input_owned: false,
            output_prefix: format!("results/{}/", new_id()),
            options,
            batch,
            window: None,
            split: None,
            part_of: None,
            outputs: Wanted::default(),
            metadata: BTreeMap::new(),
            webhook: None,
        };
        let one = fingerprint(&spec(options(r#"{"a":{"x":1,"y":2},"b":[1,2]}"#), 8), "a.mp4", "");
        assert_eq!(one, fingerprint(&spec(options(r#"{"b":[1,2],"a":{"y":2,"x":1}}"#), 8), "a.mp4", ""));
        assert_ne!(one, fingerprint(&spec(options(r#"{"b":[2,1],"a":{"y":2,"x":1}}"#), 8), "a.mp4", ""));
        assert_ne!(one, fingerprint(&spec(options(r#"{"a":{"x":1,"y":2},"b":[1,2]}"#), 4), "a.mp4", ""));
        assert_ne!(one, fingerprint(&spec(options(r#"{"a":{"x":1,"y":2},"b":[1,2]}"#), 8), "b.mp4", ""));
        assert_ne!(one, fingerprint(&spec(options(r#"{"a":{"x":1,"y":2},"b":[1,2]}"#), 8), "a.mp4", "mine/"));
    }

    #[test]
    fn the_ledger_is_out_of_reach() {
        for bad in ["ledger/jobs/a.json", "Ledger/x", "../x", "/x", "ledger"] {
            assert_eq!(free_key("input", bad).unwrap_err().code, "bad_key", "{bad}");
        }
        assert!(free_key("input", "incoming/ledger/a.mp4").is_ok());
    }
}
