//! `halfpipe serve` over a bucket of others: its permissions, and TLS.
//!
//! The policy of docs/security.md under moto's IAM: enough for `halfpipe serve` over a bucket, and nothing in it too much; and
//! infra/lambda/template.yaml gives the same.
//!
//! moto looks at signatures, actions and resources. It calls the permission of HeadBucket by the operation's name, where AWS asks for
//! `s3:ListBucket`, so that name is added beside it. It fails at addresses that are signed themselves, so they are tried without
//! permissions; AWS gives such an address what its signer may.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]

mod common;
#[path = "common/server.rs"]
mod server;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use common::{Desk, text};
use halfpipe_store::{Key, ObjectStore, PutMode, S3Config, S3Store, StoreError};
use halfpipe_testkit::moto::{Certificate, Moto};
use halfpipe_testkit::{clips, places};
use serde_json::{Value, json};
use server::{Server, curl};

const BUCKET: &str = "videos";
const PREFIX: &str = "halfpipe";
const USER: &str = "role";
/// Frames of the clip.
const FRAMES: u32 = 5;
/// More than goes in one request, bytes.
const LARGE: u64 = 20 << 20;

/// moto with a bucket and a user who may do what the last policy allows.
struct Account {
    moto: Moto,
    credentials: (String, String),
}

impl Account {
    fn new() -> Self {
        let moto = Moto::start();
        moto.make_bucket(BUCKET);
        let credentials = moto.make_user(USER);
        Self { moto, credentials }
    }

    fn allow(&self, policy: &Value) {
        self.moto.enforce(false);
        self.moto.allow(USER, &as_moto_calls_it(policy).to_string());
        self.moto.enforce(true);
    }

    fn config(&self) -> S3Config {
        let config = S3Config::new(BUCKET, PREFIX).at_endpoint(self.moto.endpoint());
        config.with_credentials(&self.credentials.0, &self.credentials.1)
    }
}

/// The policy of the page, for our bucket.
fn documented() -> Value {
    let page = std::fs::read_to_string(places::root().join("docs/security.md")).unwrap();
    let (_, rest) = page.split_once("```json\n").expect("docs/security.md has no policy");
    let policy = rest.split_once("```").unwrap().0;
    serde_json::from_str(&policy.replace("BUCKET", BUCKET).replace("PREFIX", PREFIX)).unwrap()
}

/// The policy that the template gives both functions and the workers, for our bucket.
fn deployed() -> Value {
    // YAML with CloudFormation's tags, read by the library that comes with moto
    const READ: &str = "
import json, sys, yaml
class Loader(yaml.SafeLoader): pass
def value(loader, tag, node):
    if tag == 'If':
        # as where the condition does not hold: results go into the store
        return loader.construct_sequence(node, deep=True)[2]
    return node.value if tag == 'Sub' else None
Loader.add_multi_constructor('!', value)
template = yaml.load(open(sys.argv[1]), Loader)
print(json.dumps(template['Resources']['StoreAccess']['Properties']['PolicyDocument']))
";
    let read = Command::new(Moto::python()).args(["-c", READ]).arg(places::root().join("infra/lambda/template.yaml")).output().unwrap();
    let policy = String::from_utf8(read.stdout).unwrap();
    let policy = policy.replace("${AWS::Partition}", "aws").replace("${BucketName}", BUCKET).replace("${StorePrefix}", PREFIX);
    let mut policy: Value =
        serde_json::from_str(&policy).unwrap_or_else(|e| panic!("{e}: {policy}{}", String::from_utf8_lossy(&read.stderr)));
    policy["Statement"].as_array_mut().unwrap().retain(|statement| !statement.is_null());
    policy
}

/// One or a list of them.
fn texts(value: &Value) -> Vec<String> {
    let all = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
    all.iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn as_moto_calls_it(policy: &Value) -> Value {
    let mut policy = policy.clone();
    for statement in policy["Statement"].as_array_mut().unwrap() {
        let mut actions = texts(&statement["Action"]);
        if actions.iter().any(|action| action == "s3:ListBucket") {
            actions.push("s3:HeadBucket".into());
        }
        statement["Action"] = json!(actions);
    }
    policy
}

/// Every policy that lacks one action on one resource, with what it lacks.
fn each_without_one(policy: &Value) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for (i, statement) in policy["Statement"].as_array().unwrap().iter().enumerate() {
        let (actions, resources) = (texts(&statement["Action"]), texts(&statement["Resource"]));
        for lost in actions.iter().flat_map(|action| resources.iter().map(move |resource| (action, resource))) {
            let left = actions.iter().flat_map(|action| resources.iter().map(move |resource| (action, resource)));
            let left = left.filter(|pair| *pair != lost);
            let mut fewer = policy.clone();
            let statements = fewer["Statement"].as_array_mut().unwrap();
            statements.remove(i);
            statements.extend(left.map(|(action, resource)| json!({ "Effect": "Allow", "Action": action, "Resource": resource })));
            all.push((format!("{} on {}", lost.0, lost.1), fewer));
        }
    }
    all
}

/// What the service asks of a bucket; gives what was refused.
fn ask_for_everything(config: &S3Config) -> Result<(), StoreError> {
    let key = |text: &str| Key::new(text).unwrap();
    let bucket = S3Store::connect(config.clone())?;
    let store: &dyn ObjectStore = &bucket;
    let record = key("ledger/jobs/a.json");
    let first = store.put(&record, b"1", PutMode::Create).or_else(|e| match e {
        StoreError::AlreadyExists { .. } => store.head(&record),
        e => Err(e),
    })?;
    store.put(&record, format!("{}+", first.etag).as_bytes(), PutMode::Update(first.etag))?;
    store.read(&record, 100)?;
    store.list("ledger/jobs/", None, 10)?;
    store.put_stream(&key("uploads/a/video.mp4"), &mut std::io::Read::take(std::io::repeat(7), LARGE), PutMode::Overwrite)?;
    let parts = bucket.start_multipart(&key("incoming/b.mp4"))?;
    bucket.abort_multipart(&key("incoming/b.mp4"), &parts)?;
    store.put(&key("ledger/open/a"), b"", PutMode::Overwrite)?;
    store.delete(&key("ledger/open/a"))?;
    store.delete(&key("ledger/hooks/a"))?;
    store.delete(&key("uploads/a/video.mp4"))
}

#[test]
fn nothing_in_the_documented_policy_is_too_much() {
    let account = Account::new();
    let policy = documented();
    account.allow(&policy);
    ask_for_everything(&account.config()).unwrap();
    let fewer = each_without_one(&policy);
    assert_eq!(fewer.len(), 7, "{fewer:?}");
    for (lost, policy) in fewer {
        account.allow(&policy);
        let outcome = ask_for_everything(&account.config());
        assert!(matches!(outcome, Err(StoreError::Denied { .. })), "without {lost}: {outcome:?}");
    }
    // and it reaches nothing beyond its prefix
    account.allow(&policy);
    let mut elsewhere = account.config();
    elsewhere.prefix = "other".into();
    let elsewhere = S3Store::connect(elsewhere).unwrap();
    let key = Key::new("ledger/open/a").unwrap();
    let refused = (&elsewhere as &dyn ObjectStore).put(&key, b"", PutMode::Create);
    assert!(matches!(refused, Err(StoreError::Denied { .. })), "{refused:?}");
    assert!(matches!(elsewhere.delete(&key), Err(StoreError::Denied { .. })));
}

/// A clip that a `free` box (ISO/IEC 14496-12, 8.1.2) makes too large for one request.
fn large_clip(desk: &Desk) -> PathBuf {
    let path = clips::test_pattern(&desk.path("large.mp4"), "320x180", "30", FRAMES, false);
    let mut file = std::fs::File::options().append(true).open(&path).unwrap();
    file.write_all(&[&u32::try_from(LARGE).unwrap().to_be_bytes()[..], b"free"].concat()).unwrap();
    file.write_all(&vec![0; usize::try_from(LARGE).unwrap() - 8]).unwrap();
    path
}

/// Jobs by form and by event, over a bucket with this policy.
#[test]
fn the_documented_policy_is_enough() {
    let desk = Desk::new();
    let account = Account::new();
    account.allow(&documented());
    let arguments = ["--store", "s3://videos/halfpipe", "--endpoint", &account.moto.endpoint()];
    let server = Server::start_as(&desk, &arguments, &account.credentials);
    server.until_ready();
    let ends = |id: &str| {
        let status = server.until(id, &["complete", "error"]);
        assert_eq!((&status["status"], &status["result"]["total_frames"]), (&json!("complete"), &json!(FRAMES)), "{}", server.log());
    };
    let clip = large_clip(&desk);
    let id = server.submit(&clip, &[]);
    ends(&id);
    let part = server.curl(&["-H", "Range: bytes=0-99"], &format!("/jobs/{id}/video"));
    assert_eq!((part.status, part.body.len()), (206, 100), "{}", server.log());

    let size = std::fs::metadata(&clip).unwrap().len();
    let send = |body: Value, path: &str| server.curl(&["-H", "Content-Type: application/json", "-d", &body.to_string()], path);
    let upload = send(json!({ "name": "jump.mp4", "size": size }), "/uploads").json();
    account.moto.enforce(false);
    let put = curl(&["-T", text(&clip)], upload["url"].as_str().unwrap());
    account.moto.enforce(true);
    assert_eq!(put.status, 200, "{}", String::from_utf8_lossy(&put.body));
    let key = format!("{PREFIX}/{}", upload["key"].as_str().unwrap());
    let object = json!({ "key": key, "size": size, "sequencer": "0055AED6DCD90281E5" });
    let record = json!({ "eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
        "s3": { "bucket": { "name": BUCKET }, "object": object } });
    let answer = send(json!({ "Records": [record] }), "/events/s3");
    assert_eq!(answer.status, 202, "{}\n{}", String::from_utf8_lossy(&answer.body), server.log());
    let id = answer.json()["jobs"][0]["job_id"].as_str().unwrap().to_owned();
    ends(&id);
    // a job that is stopped leaves its upload and its marks to be removed as well
    let id = server.submit(&clip, &[]);
    assert!((200..300).contains(&server.curl(&["-X", "DELETE"], &format!("/jobs/{id}")).status));
    server.until(&id, &["cancelled", "complete"]);
    let log = server.log();
    assert!(!log.contains("denied") && !log.contains("AccessDenied") && !log.contains("may not"), "{log}");
    assert_eq!(server.leave(), Some(0));
    account.moto.enforce(false);
    for prefix in ["uploads/", "ledger/open/"] {
        let left = S3Store::connect(account.config()).unwrap().list(prefix, None, 10).unwrap();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn the_template_allows_what_is_documented_and_no_more() {
    let pairs = |policy: &Value| -> BTreeSet<(String, String)> {
        let statements = policy["Statement"].as_array().unwrap().iter();
        let all = statements.flat_map(|statement| {
            assert_eq!(statement["Effect"], "Allow");
            let resources = texts(&statement["Resource"]);
            texts(&statement["Action"]).into_iter().flat_map(move |action| resources.clone().into_iter().map(move |r| (action.clone(), r)))
        });
        all.collect()
    };
    assert_eq!(pairs(&deployed()), pairs(&documented()));
}

/// A bucket behind an authority that nobody knows is used by who is told of it.
#[test]
fn a_bucket_is_reached_over_tls_with_an_authority_of_ones_own() {
    let desk = Desk::new();
    let certificate = Certificate::make(desk.dir.path());
    let moto = Moto::start_tls(&certificate);
    moto.make_bucket(BUCKET);
    let endpoint = moto.endpoint();
    assert!(endpoint.starts_with("https://"));
    let arguments = ["--store", "s3://videos/halfpipe", "--endpoint", &endpoint, "--jobs", "0"];
    let credentials = ("any".to_owned(), "any".to_owned());
    let strange = Server::command(&desk, &arguments, &credentials).output().unwrap();
    let error = String::from_utf8_lossy(&strange.stderr);
    assert_eq!(strange.status.code(), Some(4), "{error}");
    assert!(error.contains("invalid peer certificate") && error.contains("SSL_CERT_FILE"), "{error}");

    let mut command = Server::command(&desk, &arguments, &credentials);
    command.env("SSL_CERT_FILE", &certificate.authority);
    let server = Server::of(&desk, command, false);
    let id = server.submit(&large_clip(&desk), &[]);
    assert_eq!(server.get(&format!("/job_status/{id}"))["status"], "queued");
    assert_eq!(server.leave(), Some(0));
}
