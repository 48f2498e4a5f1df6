//! SQS over HTTP: moto, which others wrote, and servers that are not there or do not want.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use halfpipe_queue::{MessageQueue, QueueError, SqsConfig, SqsQueue, conformance};
use halfpipe_testkit::moto::Moto;

async fn connect(url: &str) -> Result<SqsQueue, QueueError> {
    SqsQueue::connect(SqsConfig::from_url(url).unwrap().with_credentials("any", "any")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn moto_keeps_the_promises() {
    let moto = Moto::start();
    let url = moto.make_queue("jobs", Some(2));
    let (queue, dead) = (connect(&url).await.unwrap(), connect(&moto.queue("jobs-dead")).await.unwrap());
    conformance::run(&queue, &dead, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_missing_is_named_as_such() {
    let moto = Moto::start();
    let error = connect(&moto.queue("nowhere")).await.unwrap_err();
    assert!(matches!(error, QueueError::NoQueue { .. }) && !error.is_transient(), "{error}");
    assert!(error.to_string().contains("/nowhere does not exist"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_is_named_as_such() {
    let moto = Moto::start();
    let queue = connect(&moto.make_queue("jobs", None)).await.unwrap();
    drop(moto);
    let error = queue.receive(1, Duration::ZERO, Duration::from_secs(1)).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("could not be received now"), "{error}");
    assert!(queue.send("a", Duration::ZERO).await.unwrap_err().is_transient());
}

/// A server that gives everybody this answer, and how often it did.
fn answering(head: &'static str, body: &'static str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            // the whole request comes in one piece: it is small
            let _ = stream.read(&mut [0; 16 << 10]).unwrap();
            let answer = format!(
                "HTTP/1.1 {head}\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    (format!("http://{address}/123456789012/jobs"), count)
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_a_server_that_does_not_want_are_told_apart() {
    let (url, tries) = answering("503 Service Unavailable", "");
    assert!(connect(&url).await.unwrap_err().is_transient());
    assert!(tries.load(Ordering::Relaxed) > 1, "tried again before it is told");
    let (url, _) = answering("", "");
    assert!(connect(&url).await.unwrap_err().is_transient(), "an answer that is none");
    let (url, _) = answering("400 Bad Request", r#"{"__type":"com.amazonaws.sqs#RequestThrottled","message":"slow down"}"#);
    assert!(connect(&url).await.unwrap_err().is_transient());
    let (url, tries) = answering("403 Forbidden", r#"{"__type":"com.amazon.coral.service#ExpiredTokenException","message":"expired"}"#);
    let error = connect(&url).await.unwrap_err();
    assert!(matches!(error, QueueError::Denied { .. }) && error.to_string().contains("expired"), "{error}");
    assert_eq!(tries.load(Ordering::Relaxed), 1, "what stays wrong is not tried again");
}
