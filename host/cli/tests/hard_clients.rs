//! Clients that ask too much, too often or too long, and one that listens: webhooks.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]

mod common;
#[path = "common/server.rs"]
mod server;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Command;

use common::Desk;
use halfpipe_testkit::{clips, places};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use server::Server;

#[test]
fn a_thousand_polls_at_once_are_answered_while_a_job_runs() {
    let desk = Desk::new();
    let server = Server::start(&desk, &[]);
    let id = server.submit(&places::clip("tfjs_pose_squats.mp4"), &[]);
    server.until(&id, &["processing"]);
    let polls = Command::new("curl")
        .args(["-sS", "--parallel", "--parallel-max", "300", "--max-time", "240", "-o", "/dev/null", "-w", "%{http_code}\n"])
        .arg(format!("{}/job_status/{id}?poll=[1-1000]", server.base))
        .output()
        .unwrap();
    let codes = String::from_utf8_lossy(&polls.stdout);
    assert_eq!(codes.lines().filter(|l| *l == "200").count(), 1000, "{codes}\n{}", String::from_utf8_lossy(&polls.stderr));
    assert_eq!(server.until(&id, &["complete", "error"])["status"], "complete");
}

#[test]
fn floods_of_headers_are_refused_and_harm_nobody() {
    let desk = Desk::new();
    let server = Server::start(&desk, &["--store", "memory:"]);
    let address = server.base.trim_start_matches("http://");
    let mut flood = std::net::TcpStream::connect(address).unwrap();
    let line = format!("X-Flood: {}\r\n", "a".repeat(1000));
    flood.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n").unwrap();
    // the server may hang up while we still write
    let sent = (0..1000).take_while(|_| flood.write_all(line.as_bytes()).is_ok()).count();
    let mut answer = String::new();
    BufReader::new(flood).read_line(&mut answer).ok();
    assert!(sent < 1000 || answer.contains(" 431 "), "a megabyte of headers was taken: {answer:?}");
    assert_eq!(server.curl(&[], "/livez").status, 200);
}

#[test]
fn whoever_is_refused_while_still_sending_learns_why() {
    let desk = Desk::new();
    let server = Server::start(&desk, &["--store", "memory:"]);
    let mut client = std::net::TcpStream::connect(server.base.trim_start_matches("http://")).unwrap();
    let (piece, pieces) = (vec![0; 1 << 20], 64);
    let length = piece.len() * pieces;
    write!(client, "POST /process_video HTTP/1.1\r\nHost: x\r\nContent-Type: video/mp4\r\nContent-Length: {length}\r\n\r\n").unwrap();
    // as many clients do, this one looks for no answer before it has sent everything
    for sent in 0..pieces {
        client.write_all(&piece).unwrap_or_else(|e| panic!("{e} after {sent} MiB"));
    }
    let mut client = BufReader::new(client);
    let mut answer = String::new();
    client.read_line(&mut answer).unwrap();
    assert!(answer.contains(" 415 "), "{answer}");
}

#[test]
fn whoever_asks_for_leave_to_send_and_is_refused_gets_none() {
    let desk = Desk::new();
    let server = Server::start(&desk, &["--store", "memory:"]);
    let mut client = std::net::TcpStream::connect(server.base.trim_start_matches("http://")).unwrap();
    let head = "POST /process_video HTTP/1.1\r\nHost: x\r\nContent-Type: video/mp4\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n";
    client.write_all(head.as_bytes()).unwrap();
    // a server that read on would wait for the body, and the connection would stay open until it gives up
    client.set_read_timeout(Some(std::time::Duration::from_secs(3))).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 415 ") && !answer.contains(" 100 "), "{answer}");
}

/// Takes one request and answers with that status: its signature header and its body.
fn take(listener: &TcpListener, status: &str) -> (String, String) {
    let mut stream = BufReader::new(listener.accept().unwrap().0);
    let (mut signature, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            match name.to_ascii_lowercase().as_str() {
                "x-halfpipe-signature" => value.trim().clone_into(&mut signature),
                "content-length" => length = value.trim().parse().unwrap(),
                _ => {}
            }
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    write!(stream.get_mut(), "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
    (signature, String::from_utf8(body).unwrap())
}

#[test]
fn a_webhook_is_signed_and_sent_again_until_it_is_taken() {
    let desk = Desk::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let hook = format!("webhook=http://{}/done", listener.local_addr().unwrap());
    let nobody = clips::test_pattern(&desk.path("nobody.mp4"), "160x120", "30", 5, false);
    let server = Server::start(&desk, &["--store", "memory:", "--webhook-secret", "s3cret", "--webhook-private"]);
    let id = server.submit(&nobody, &["-F", &hook, "-F", "metadata={\"rider\":\"7\"}"]);
    take(&listener, "503 Service Unavailable");
    let (signature, body) = take(&listener, "200 OK");
    let told: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((told["job_id"].as_str(), told["state"].as_str()), (Some(id.as_str()), Some("complete")), "{told}");
    assert_eq!(told["metadata"]["rider"], "7");
    let (seconds, code) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"s3cret").unwrap();
    mac.update(format!("{seconds}.{body}").as_bytes());
    let expected: String = mac.finalize().into_bytes().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(code, expected);

    // without a secret nothing could be signed, so a job that wants it is refused
    let plain = Server::start(&desk, &["--store", "memory:", "--spool", "spool-2"]);
    let video = format!("video=@{}", nobody.display());
    let refused = plain.curl(&["-F", &video, "-F", &hook], "/process_video_async");
    assert_eq!(refused.status, 400, "{}", String::from_utf8_lossy(&refused.body));
}
