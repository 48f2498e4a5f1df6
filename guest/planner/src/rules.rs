//! Which events become which jobs. Plain functions over the interface's records; nothing here calls the host.

use serde_json::Value;

use crate::host::exports::halfpipe::job::planning::{Event, Job};

/// Videos put under this prefix become jobs.
pub const INCOMING: &str = "incoming/";
/// Results go under this prefix. It must not lie within [`INCOMING`], or results would become jobs again.
pub const RESULTS: &str = "results/";
/// Pipeline of a job that does not name one.
pub const PIPELINE: &str = "overlay";
/// Extensions of the video containers that are taken, lower case.
pub const EXTENSIONS: [&str; 6] = ["mp4", "mov", "m4v", "mkv", "webm", "avi"];

/// Metadata fields of a request that are read; others are somebody else's and are left alone.
mod field {
    /// Pipeline guest, by name or name@version.
    pub const PIPELINE: &str = "pipeline";
    /// Options of the pipeline, a JSON object.
    pub const OPTIONS: &str = "options";
    /// Prefix under which results go; a `/` at its end is added where it is missing.
    pub const OUTPUT_PREFIX: &str = "output_prefix";
}

/// The jobs that follow from an event.
///
/// # Errors
/// A sentence that says why the event is not understood: an unknown kind, a key that cannot name results, bad fields.
pub fn plan(event: &Event) -> Result<Vec<Job>, String> {
    match event.kind.as_str() {
        "object-created" => created(event),
        "object-removed" => Ok(Vec::new()),
        "request" => requested(event).map(|job| vec![job]),
        other => Err(format!("the event kind {other:?} is not known; known are object-created, object-removed and request")),
    }
}

/// A video under [`INCOMING`] that is not empty becomes one job; everything else becomes none.
fn created(event: &Event) -> Result<Vec<Job>, String> {
    let Some(name) = event.key.strip_prefix(INCOMING) else { return Ok(Vec::new()) };
    if !is_video(name) || event.bytes == Some(0) {
        return Ok(Vec::new());
    }
    check_key(&event.key)?;
    Ok(vec![job(&event.key, format!("{RESULTS}{name}/"), PIPELINE.to_owned(), "{}".to_owned())])
}

/// The job that a request asks for: its key is the input whatever its prefix or extension.
fn requested(event: &Event) -> Result<Job, String> {
    if event.key.ends_with('/') {
        return Err(format!("the key {:?} is a folder; a request names one video", event.key));
    }
    check_key(&event.key)?;
    let pipeline = match field(event, field::PIPELINE)? {
        Some("") => return Err("the field pipeline is empty; leave it out for the default pipeline".into()),
        named => named.unwrap_or(PIPELINE).to_owned(),
    };
    let options = field(event, field::OPTIONS)?.unwrap_or("{}").to_owned();
    match serde_json::from_str::<Value>(&options) {
        Ok(Value::Object(_)) => {}
        Ok(_) => return Err("the field options is JSON but not an object; write it like {\"opacity\": 0.8}".into()),
        Err(e) => return Err(format!("the field options is not JSON: {e}; write it like {{\"opacity\": 0.8}}")),
    }
    let prefix = match field(event, field::OUTPUT_PREFIX)? {
        Some(given) => {
            let folder = given.strip_suffix('/').unwrap_or(given);
            check_key(folder).map_err(|e| format!("the field output_prefix does not fit: {e}"))?;
            format!("{folder}/")
        }
        None => format!("{RESULTS}{}/", event.key.strip_prefix(INCOMING).unwrap_or(&event.key)),
    };
    Ok(job(&event.key, prefix, pipeline, options))
}

fn job(input: &str, output_prefix: String, pipeline: String, options: String) -> Job {
    Job { input: input.to_owned(), output_prefix, pipeline, options }
}

/// The value of a metadata field that may be given once.
fn field<'a>(event: &'a Event, name: &str) -> Result<Option<&'a str>, String> {
    let mut values = event.metadata.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str());
    let value = values.next();
    if values.next().is_some() { Err(format!("the field {name} is given more than once")) } else { Ok(value) }
}

/// Whether the last part of a key is a file name with the extension of a video container.
fn is_video(key: &str) -> bool {
    let file = key.rsplit_once('/').map_or(key, |(_, file)| file);
    let Some((stem, extension)) = file.rsplit_once('.') else { return false };
    !stem.is_empty() && EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// Refuses keys that are legal in S3 but that results cannot be named after in every store.
fn check_key(key: &str) -> Result<(), String> {
    let broken = if key.is_empty() {
        "it is empty"
    } else if key.chars().any(|c| c.is_control() || c == '\\') {
        "it holds a control character or a backslash"
    } else if key.split('/').any(|part| matches!(part, "" | "." | "..")) {
        "a part between slashes is empty, . or .."
    } else {
        return Ok(());
    };
    Err(format!("the key {key:?} cannot be worked on: {broken}; rename the object"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]
    use super::*;

    fn event(kind: &str, key: &str) -> Event {
        Event { kind: kind.into(), bucket: "videos".into(), key: key.into(), bytes: Some(1234), etag: None, metadata: Vec::new() }
    }

    fn request(key: &str, metadata: &[(&str, &str)]) -> Event {
        let metadata = metadata.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Event { metadata, ..event("request", key) }
    }

    fn overlay(input: &str, prefix: &str) -> Job {
        job(input, prefix.into(), "overlay".into(), "{}".into())
    }

    #[test]
    fn a_video_under_incoming_becomes_one_overlay_job() {
        let jobs = plan(&event("object-created", "incoming/jump.mp4")).unwrap();
        assert_eq!(jobs, [overlay("incoming/jump.mp4", "results/jump.mp4/")]);
    }

    #[test]
    fn folders_below_incoming_and_odd_names_are_kept() {
        for (key, prefix) in [
            ("incoming/2026/06/a.mov", "results/2026/06/a.mov/"),
            ("incoming/café jump+1.webm", "results/café jump+1.webm/"),
            ("incoming/incoming/a.avi", "results/incoming/a.avi/"),
            ("incoming/a.tar.mkv", "results/a.tar.mkv/"),
        ] {
            assert_eq!(plan(&event("object-created", key)).unwrap(), [overlay(key, prefix)], "{key}");
        }
    }

    #[test]
    fn every_container_is_taken_in_any_case() {
        for extension in EXTENSIONS {
            for extension in [extension.to_owned(), extension.to_uppercase()] {
                let key = format!("incoming/clip.{extension}");
                assert_eq!(plan(&event("object-created", &key)).unwrap().len(), 1, "{key}");
            }
        }
    }

    #[test]
    fn everything_else_becomes_no_job() {
        for key in [
            "clip.mp4",
            "results/clip.mp4/overlay.mp4",
            "Incoming/clip.mp4",
            "incoming",
            "incoming/",
            "incoming/folder/",
            "incoming/folder.mp4/",
            "incoming/readme.txt",
            "incoming/mp4",
            "incoming/.mp4",
            "incoming/clip.mp4.part",
            "incoming/folder.mp4/notes",
            "",
        ] {
            assert_eq!(plan(&event("object-created", key)).unwrap(), [], "{key}");
        }
        assert_eq!(plan(&event("object-removed", "incoming/clip.mp4")).unwrap(), []);
    }

    #[test]
    fn an_empty_object_becomes_no_job_and_an_unknown_size_is_no_reason_against_one() {
        let sized = |bytes| Event { bytes, ..event("object-created", "incoming/clip.mp4") };
        assert_eq!(plan(&sized(Some(0))).unwrap(), []);
        assert_eq!(plan(&sized(None)).unwrap().len(), 1);
    }

    #[test]
    fn metadata_of_uploads_does_not_choose_the_job() {
        let event = Event { kind: "object-created".into(), ..request("incoming/a.mp4", &[("pipeline", "other"), ("options", "[")]) };
        assert_eq!(plan(&event).unwrap(), [overlay("incoming/a.mp4", "results/a.mp4/")]);
    }

    #[test]
    fn keys_that_could_lead_results_astray_are_refused() {
        for key in ["incoming/../secret/a.mp4", "incoming/./a.mp4", "incoming//a.mp4", "incoming/a\\b.mp4", "incoming/a\n.mp4"] {
            for kind in ["object-created", "request"] {
                let error = plan(&event(kind, key)).unwrap_err();
                assert!(error.contains("cannot be worked on") && error.contains(&format!("{key:?}")), "{kind} {key:?}: {error}");
            }
        }
    }

    #[test]
    fn a_request_without_fields_gets_the_defaults() {
        assert_eq!(plan(&request("incoming/a.mp4", &[])).unwrap(), [overlay("incoming/a.mp4", "results/a.mp4/")]);
        assert_eq!(plan(&request("archive/a", &[])).unwrap(), [overlay("archive/a", "results/archive/a/")]);
    }

    #[test]
    fn a_request_names_pipeline_options_and_prefix() {
        let fields = [("pipeline", "example@0.1.0"), ("options", r#"{"people": 2}"#), ("output_prefix", "out/a"), ("colour", "red")];
        let jobs = plan(&request("archive/a.mp4", &fields)).unwrap();
        assert_eq!(jobs, [job("archive/a.mp4", "out/a/".into(), "example@0.1.0".into(), r#"{"people": 2}"#.into())]);
        let slash = plan(&request("a.mp4", &[("output_prefix", "out/")])).unwrap();
        assert_eq!(slash[0].output_prefix, "out/");
    }

    #[test]
    fn bad_fields_of_a_request_are_named() {
        for (fields, word) in [
            (&[("options", "{")][..], "options is not JSON"),
            (&[("options", "[1]")], "not an object"),
            (&[("options", "")], "options is not JSON"),
            (&[("pipeline", "")], "pipeline is empty"),
            (&[("pipeline", "a"), ("pipeline", "b")], "pipeline is given more than once"),
            (&[("output_prefix", "")], "output_prefix"),
            (&[("output_prefix", "/")], "output_prefix"),
            (&[("output_prefix", "../up")], "output_prefix"),
            (&[("output_prefix", "a//")], "output_prefix"),
        ] {
            let error = plan(&request("a.mp4", fields)).unwrap_err();
            assert!(error.contains(word), "{fields:?}: {error}");
        }
        assert!(plan(&request("folder/", &[])).unwrap_err().contains("folder"));
        assert!(plan(&request("", &[])).unwrap_err().contains("empty"));
    }

    #[test]
    fn an_unknown_kind_is_named() {
        assert!(plan(&event("object-renamed", "incoming/a.mp4")).unwrap_err().contains("object-renamed"));
    }

    #[test]
    fn results_do_not_feed_the_planner() {
        let first = plan(&event("object-created", "incoming/a.mp4")).unwrap();
        let written = format!("{}overlay.mp4", first[0].output_prefix);
        assert_eq!(plan(&event("object-created", &written)).unwrap(), []);
    }
}
