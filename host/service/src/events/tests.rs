//! Notifications as the stores send them, and what is wrong with broken ones.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]

use serde_json::json;

use super::*;

/// As in AWS's documentation of the notification's structure, version 2.1.
fn aws(event_name: &str, object: Value) -> Value {
    json!({ "Records": [{
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-west-2",
        "eventTime": "1970-01-01T00:00:00.000Z",
        "eventName": event_name,
        "userIdentity": { "principalId": "AIDAJDPLRKLG7UEXAMPLE" },
        "requestParameters": { "sourceIPAddress": "127.0.0.1" },
        "responseElements": { "x-amz-request-id": "C3D13FE58DE4C810" },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "testConfigRule",
            "bucket": {
                "name": "amzn-s3-demo-bucket",
                "ownerIdentity": { "principalId": "A3NL1KOZZKExample" },
                "arn": "arn:aws:s3:::amzn-s3-demo-bucket"
            },
            "object": object
        }
    }] })
}

fn aws_object(key: &str) -> Value {
    json!({
        "key": key,
        "size": 1_048_576,
        "eTag": "d41d8cd98f00b204e9800998ecf8427e",
        "versionId": "096fKKXTRTtl3on89fVO.nfljtsv6qko",
        "sequencer": "0055AED6DCD90281E5"
    })
}

fn minio() -> Value {
    json!({
        "EventName": "s3:ObjectCreated:Put",
        "Key": "videos/incoming/café jump+1.mp4",
        "Records": [{
            "eventVersion": "2.0",
            "eventSource": "minio:s3",
            "awsRegion": "",
            "eventTime": "2024-05-01T10:00:00.000Z",
            "eventName": "s3:ObjectCreated:Put",
            "userIdentity": { "principalId": "minioadmin" },
            "requestParameters": { "principalId": "minioadmin", "region": "", "sourceIPAddress": "172.17.0.1" },
            "responseElements": { "x-amz-request-id": "17CB54C0A7E4A5B1", "x-minio-origin-endpoint": "http://172.17.0.2:9000" },
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "Config",
                "bucket": {
                    "name": "videos",
                    "ownerIdentity": { "principalId": "minioadmin" },
                    "arn": "arn:aws:s3:::videos"
                },
                "object": {
                    "key": "incoming%2Fcaf%C3%A9+jump%2B1.mp4",
                    "size": 20_480,
                    "eTag": "5d41402abc4b2a76b9719d911017c592",
                    "contentType": "video/mp4",
                    "userMetadata": { "content-type": "video/mp4" },
                    "sequencer": "17CB54C0A8F1C3D2"
                }
            },
            "source": { "host": "172.17.0.1", "port": "", "userAgent": "MinIO (linux; amd64) minio-go/v7.0.70" }
        }]
    })
}

fn event_bridge(detail_type: &str, key: &str) -> Value {
    json!({
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": detail_type,
        "source": "aws.s3",
        "account": "111122223333",
        "time": "2021-11-12T00:00:00Z",
        "region": "ca-central-1",
        "resources": ["arn:aws:s3:::amzn-s3-demo-bucket1"],
        "detail": {
            "version": "0",
            "bucket": { "name": "amzn-s3-demo-bucket1" },
            "object": {
                "key": key,
                "size": 5,
                "etag": "b1946ac92492d2347c6235b4d2611184",
                "version-id": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
                "sequencer": "617f08299329d189"
            },
            "request-id": "N4N7GDK58NMKJ12R",
            "requester": "123456789012",
            "source-ip-address": "1.2.3.4",
            "reason": "PutObject"
        }
    })
}

fn read(value: &Value) -> Result<Vec<ObjectEvent>, EventError> {
    parse(value.to_string().as_bytes())
}

fn one(value: &Value) -> ObjectEvent {
    let mut events = read(value).unwrap();
    assert_eq!(events.len(), 1);
    events.remove(0)
}

/// The key of an AWS record that has `key`, or the error.
fn key(key: &str) -> Result<String, EventError> {
    read(&aws("ObjectCreated:Put", aws_object(key))).map(|mut events| events.remove(0).key)
}

/// A change to a notification must give an error of this code whose sentence holds `words`.
fn broken(value: &Value, code: &str, words: &[&str]) {
    let error = read(value).unwrap_err();
    assert_eq!(error.code(), code, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "{error} lacks {word}");
    }
    assert_eq!(error.to_string().lines().count(), 1, "{error}");
}

/// A notification with the value at a JSON pointer replaced, or removed.
fn changed(mut value: Value, pointer: &str, new: Option<Value>) -> Value {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    let parent = value.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match new {
        Some(new) => drop(parent.insert(field.to_owned(), new)),
        None => assert!(parent.remove(field).is_some(), "{pointer} is not there"),
    }
    value
}

#[test]
fn an_aws_notification_is_read_in_full() {
    let event = one(&aws("ObjectCreated:Put", aws_object("incoming/caf%C3%A9+jump%2B1.mp4")));
    let expected = ObjectEvent {
        kind: EventKind::Created,
        bucket: "amzn-s3-demo-bucket".into(),
        key: "incoming/café jump+1.mp4".into(),
        size: Some(1_048_576),
        etag: Some("d41d8cd98f00b204e9800998ecf8427e".into()),
        version: Some("096fKKXTRTtl3on89fVO.nfljtsv6qko".into()),
        sequencer: Some("0055AED6DCD90281E5".into()),
    };
    assert_eq!(event, expected);
}

#[test]
fn a_minio_notification_is_read_in_full() {
    let expected = ObjectEvent {
        kind: EventKind::Created,
        bucket: "videos".into(),
        key: "incoming/café jump+1.mp4".into(),
        size: Some(20_480),
        etag: Some("5d41402abc4b2a76b9719d911017c592".into()),
        version: None,
        sequencer: Some("17CB54C0A8F1C3D2".into()),
    };
    assert_eq!(one(&minio()), expected);
}

#[test]
fn an_event_bridge_event_is_read_in_full_and_its_key_is_taken_as_it_is() {
    let expected = ObjectEvent {
        kind: EventKind::Created,
        bucket: "amzn-s3-demo-bucket1".into(),
        key: "incoming/100%+café%2B.mp4".into(),
        size: Some(5),
        etag: Some("b1946ac92492d2347c6235b4d2611184".into()),
        version: Some("IYV3p45BT0ac8hjHg1houSdS1a.Mro8e".into()),
        sequencer: Some("617f08299329d189".into()),
    };
    assert_eq!(one(&event_bridge("Object Created", "incoming/100%+café%2B.mp4")), expected);
}

#[test]
fn the_test_event_of_s3_is_recognised_and_names_no_object() {
    let test = json!({
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": "2014-10-13T15:57:02.089Z",
        "Bucket": "amzn-s3-demo-bucket",
        "RequestId": "5582815E1AEA5ADF",
        "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR+YstdA6Knx4Ip8EXAMPLE"
    });
    assert_eq!(read(&test).unwrap(), []);
}

#[test]
fn every_way_to_create_and_remove_is_known() {
    for name in ["Put", "Post", "Copy", "CompleteMultipartUpload"] {
        for prefix in ["", "s3:"] {
            let name = format!("{prefix}ObjectCreated:{name}");
            assert_eq!(one(&aws(&name, aws_object("a"))).kind, EventKind::Created, "{name}");
        }
    }
    for name in [
        "ObjectRemoved:Delete",
        "ObjectRemoved:DeleteMarkerCreated",
        "s3:ObjectRemoved:Delete",
        "LifecycleExpiration:Delete",
        "LifecycleExpiration:DeleteMarkerCreated",
    ] {
        assert_eq!(one(&aws(name, json!({ "key": "a" }))).kind, EventKind::Removed, "{name}");
    }
    assert_eq!(one(&event_bridge("Object Deleted", "a")).kind, EventKind::Removed);
}

#[test]
fn a_removal_needs_no_size_and_no_etag() {
    let event = one(&aws("ObjectRemoved:Delete", json!({ "key": "incoming/a.mp4", "sequencer": "00" })));
    assert_eq!((event.size, event.etag, event.version, event.sequencer.as_deref()), (None, None, None, Some("00")));
    // null and empty texts count as nothing said
    let event = one(&aws("ObjectRemoved:Delete", json!({ "key": "a", "size": null, "eTag": "", "versionId": "" })));
    assert_eq!((event.size, event.etag, event.version), (None, None, None));
}

#[test]
fn quotes_around_an_etag_are_dropped() {
    let event = one(&aws("ObjectCreated:Put", json!({ "key": "a", "size": 0, "eTag": "\"abc-2\"" })));
    assert_eq!((event.etag.as_deref(), event.size), (Some("abc-2"), Some(0)));
}

#[test]
fn keys_are_decoded_once_and_left_alone_otherwise() {
    for (encoded, decoded) in [
        ("incoming/caf%C3%A9+jump%2B1.mp4", "incoming/café jump+1.mp4"),
        ("incoming%2Fa.mp4", "incoming/a.mp4"),
        ("a%2520b", "a%20b"),
        ("%e6%97%a5%E6%9C%AC", "日本"),
        ("日本.mp4", "日本.mp4"),
        ("a%00b", "a\0b"),
        ("..", ".."),
        ("incoming/%2E%2E/a.mp4", "incoming/../a.mp4"),
        ("/a//b/", "/a//b/"),
        ("+", " "),
    ] {
        assert_eq!(key(encoded).unwrap(), decoded, "{encoded}");
    }
}

#[test]
fn keys_that_cannot_be_decoded_are_refused() {
    for (encoded, word) in [
        ("100%", "two hexadecimal digits"),
        ("a%2", "two hexadecimal digits"),
        ("a%zz", "two hexadecimal digits"),
        ("a%+1", "two hexadecimal digits"),
        ("%%41", "two hexadecimal digits"),
        ("caf%E9.mp4", "not UTF-8"),
        ("%C3%28", "not UTF-8"),
        ("%ED%A0%80", "not UTF-8"),
    ] {
        let error = key(encoded).unwrap_err();
        assert_eq!(error.code(), "event_bad_key_encoding", "{encoded}: {error}");
        let text = error.to_string();
        assert!(text.contains(word) && text.contains("Records[0].s3.object.key") && text.contains(encoded), "{text}");
    }
}

#[test]
fn several_records_keep_their_order_and_the_faulty_one_is_named() {
    let record = |key: &str| aws("ObjectCreated:Put", aws_object(key))["Records"][0].clone();
    let events = read(&json!({ "Records": [record("a"), record("b"), record("c")] })).unwrap();
    assert_eq!(events.iter().map(|e| e.key.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(read(&json!({ "Records": [] })).unwrap(), []);
    broken(&json!({ "Records": [record("a"), record("%")] }), "event_bad_key_encoding", &["Records[1].s3.object.key"]);
    broken(&json!({ "Records": [record("a"), 7] }), "event_missing_field", &["Records[1].eventName"]);
}

#[test]
fn too_many_records_are_refused() {
    let record = aws("ObjectCreated:Put", aws_object("a"))["Records"][0].clone();
    let many = |n: usize| json!({ "Records": vec![record.clone(); n] });
    assert_eq!(read(&many(MAX_RECORDS)).unwrap().len(), MAX_RECORDS);
    broken(&many(MAX_RECORDS + 1), "event_too_many_records", &["1001 records", "at most 1000"]);
}

#[test]
fn what_is_not_json_is_refused() {
    for body in [&b""[..], b"hello", b"{", b"{}{}", b"\xff\xfe", b"{\"Records\": [}"] {
        assert_eq!(parse(body).unwrap_err().code(), "event_not_json", "{body:?}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(parse(deep.as_bytes()).unwrap_err().code(), "event_not_json");
}

#[test]
fn unknown_shapes_are_refused() {
    for value in [json!({}), json!([]), json!(null), json!("Records"), json!(1), json!({ "Event": "s3:Other" }), json!({ "Records": null })]
    {
        broken(&value, "event_unknown_shape", &["Records"]);
    }
    broken(&json!({ "Records": {} }), "event_bad_field", &["Records is not a list"]);
    let queue = json!({ "Records": [{ "messageId": "1", "eventSource": "aws:sqs", "body": "{}" }] });
    broken(&queue, "event_unknown_shape", &["Records[0].eventSource", "aws:sqs"]);
    let other = changed(event_bridge("Object Created", "a"), "/source", Some(json!("aws.ec2")));
    broken(&other, "event_unknown_shape", &["aws.ec2"]);
}

#[test]
fn unknown_events_are_named() {
    for name in ["ObjectRestore:Completed", "s3:ObjectAccessed:Get", "ObjectTagging:Put", "ObjectCreated", "", "objectcreated:Put"] {
        broken(&aws(name, aws_object("a")), "event_unknown_name", &["Records[0].eventName", &format!("{name:?}")]);
    }
    broken(&event_bridge("Object Restore Completed", "a"), "event_unknown_name", &["detail-type", "Object Restore Completed"]);
}

#[test]
fn missing_fields_are_named_by_their_path() {
    for path in ["eventName", "s3", "s3/bucket", "s3/bucket/name", "s3/object", "s3/object/key"] {
        let value = changed(aws("ObjectCreated:Put", aws_object("a")), &format!("/Records/0/{path}"), None);
        broken(&value, "event_missing_field", &[&format!("lacks Records[0].{}", path.replace('/', "."))]);
    }
    for path in ["detail", "detail/bucket", "detail/bucket/name", "detail/object", "detail/object/key"] {
        let value = changed(event_bridge("Object Created", "a"), &format!("/{path}"), None);
        broken(&value, "event_missing_field", &[&format!("lacks {}", path.replace('/', "."))]);
    }
    broken(&changed(minio(), "/Records", None), "event_missing_field", &["lacks Records"]);
}

#[test]
fn fields_of_the_wrong_type_and_empty_names_are_named_by_their_path() {
    for (path, new, word) in [
        ("eventName", json!(7), "a text"),
        ("s3/bucket/name", json!(["a"]), "a text"),
        ("s3/bucket/name", json!(""), "at least one character"),
        ("s3/object/key", json!(""), "at least one character"),
        ("s3/object/key", json!(1), "a text"),
        ("s3/object/size", json!("12"), "a whole number of bytes"),
        ("s3/object/size", json!(-1), "a whole number of bytes"),
        ("s3/object/size", json!(1.5), "a whole number of bytes"),
        ("s3/object/eTag", json!(1), "a text"),
        ("s3/object/versionId", json!({}), "a text"),
        ("s3/object/sequencer", json!(12), "a text"),
    ] {
        let value = changed(aws("ObjectCreated:Put", aws_object("a")), &format!("/Records/0/{path}"), Some(new));
        broken(&value, "event_bad_field", &[&format!("Records[0].{}", path.replace('/', ".")), word]);
    }
    broken(&event_bridge("Object Created", ""), "event_bad_field", &["detail.object.key"]);
}
