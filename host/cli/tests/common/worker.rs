//! A real `halfpipe worker` beside moto, which is both its queue and its store; and a proxy that keeps them apart.
#![allow(dead_code, reason = "each test program uses its own part of this module")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use halfpipe_testkit::moto::Moto;
use serde_json::{Value, json};

use super::server::{Answer, Server, curl, peek};
use crate::common::Desk;

/// Longest wait for anything before the test counts as failed. Nothing is timed by it.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// The bucket.
pub const BUCKET: &str = "videos";

/// A desk with a bucket and a queue.
pub struct Yard {
    pub desk: Desk,
    pub moto: Moto,
    /// Address of the queue `jobs`; its dead letters go to `jobs-dead`.
    pub queue: String,
}

impl Yard {
    /// A bucket and a queue that gives out each message so many times.
    pub fn new(most_receives: u32) -> Self {
        let moto = Moto::start();
        moto.make_bucket(BUCKET);
        let queue = moto.make_queue("jobs", Some(most_receives));
        Self { desk: Desk::new(), moto, queue }
    }

    /// The program with credentials that moto takes.
    pub fn command(&self) -> Command {
        let mut command = self.desk.command();
        credentials(&mut command);
        command
    }

    /// A front door that announces its jobs on the queue.
    pub fn front_door(&self) -> Server {
        Server::start(
            &self.desk,
            &["--store", "s3://videos", "--endpoint", &self.moto.endpoint(), "--queue", &self.queue, "--waiting", "1000"],
        )
    }

    /// A worker with further arguments.
    pub fn worker(&self, args: &[&str]) -> Worker {
        self.worker_through(self.moto.address(), args)
    }

    /// A worker that reaches queue and store at another address.
    pub fn worker_through(&self, address: SocketAddr, args: &[&str]) -> Worker {
        Worker::start(self, &format!("http://{address}"), args)
    }

    /// Puts a file into the bucket.
    pub fn put(&self, key: &str, file: &Path) {
        let url = format!("{}/{BUCKET}/{key}", self.moto.endpoint());
        assert_eq!(curl(&["-T", crate::common::text(file)], &url).status, 200, "{key}");
    }

    /// An object of the bucket.
    pub fn object(&self, key: &str) -> Value {
        let who = ["--aws-sigv4", "aws:amz:us-east-1:s3", "--user", "any:any"];
        curl(&who, &format!("{}/{BUCKET}/{key}", self.moto.endpoint())).json()
    }

    /// Keys of the bucket that begin with `prefix`.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        self.keys_of(BUCKET, prefix)
    }

    /// All objects of the bucket.
    pub fn bucket(&self) -> Vec<(String, Vec<u8>)> {
        let object = |key: &String| {
            curl(&["--aws-sigv4", "aws:amz:us-east-1:s3", "--user", "any:any"], &format!("{}/{BUCKET}/{key}", self.moto.endpoint()))
        };
        self.keys("")
            .into_iter()
            .map(|key| {
                let bytes = object(&key).body;
                (key, bytes)
            })
            .collect()
    }

    /// Removes the bucket and all that is in it.
    pub fn remove_bucket(&self) {
        let remove = |path: &str| {
            curl(&["-X", "DELETE", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", "any:any"], &format!("{}/{path}", self.moto.endpoint()))
                .status
        };
        for key in self.keys("") {
            assert_eq!(remove(&format!("{BUCKET}/{key}")), 204, "{key}");
        }
        assert_eq!(remove(BUCKET), 204);
    }

    /// Keys of a bucket that begin with `prefix`.
    pub fn keys_of(&self, bucket: &str, prefix: &str) -> Vec<String> {
        let answer = curl(&[], &format!("{}/{bucket}?list-type=2&prefix={prefix}", self.moto.endpoint()));
        let text = String::from_utf8(answer.body).unwrap();
        text.split("<Key>").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned()).collect()
    }

    /// Sends a message and gives its id.
    pub fn send(&self, body: &str) -> String {
        let answer = self.moto.sqs("SendMessage", &json!({ "QueueUrl": self.queue, "MessageBody": body }).to_string());
        serde_json::from_str::<Value>(&answer).unwrap()["MessageId"].as_str().unwrap().to_owned()
    }

    /// How many messages wait, and how many are held, in a queue.
    pub fn messages(&self, queue: &str) -> (u64, u64) {
        let ask = json!({ "QueueUrl": self.moto.queue(queue), "AttributeNames": ["All"] });
        let answer: Value = serde_json::from_str(&self.moto.sqs("GetQueueAttributes", &ask.to_string())).unwrap();
        let number = |name: &str| answer["Attributes"][name].as_str().unwrap().parse::<u64>().unwrap();
        (number("ApproximateNumberOfMessages"), number("ApproximateNumberOfMessagesNotVisible"))
    }

    /// Bodies of up to ten messages of a queue, which are held from now on.
    pub fn bodies(&self, queue: &str) -> Vec<String> {
        let ask = json!({ "QueueUrl": self.moto.queue(queue), "MaxNumberOfMessages": 10, "VisibilityTimeout": 600 });
        let answer: Value = serde_json::from_str(&self.moto.sqs("ReceiveMessage", &ask.to_string())).unwrap();
        answer["Messages"].as_array().into_iter().flatten().map(|m| m["Body"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until no job is open.
    pub fn until_done(&self, workers: &[&Worker]) {
        // a list of many keys keeps moto busy, which has other things to do
        until_at(Duration::from_millis(500), "jobs are still open", workers, || self.keys("ledger/open/").is_empty());
    }
}

/// Waits for a condition; shows the workers' logs where it does not come.
pub fn until(what: &str, workers: &[&Worker], condition: impl Fn() -> bool) {
    until_at(Duration::from_millis(100), what, workers, condition);
}

/// The same, looking after each pause.
fn until_at(pause: Duration, what: &str, workers: &[&Worker], condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        let logs = || workers.iter().map(|w| w.log()).collect::<Vec<_>>().join("\n---\n");
        assert!(begun.elapsed() < PATIENCE, "{what}\n{}", logs());
        std::thread::sleep(pause);
    }
}

/// What the SDK needs to ask anybody at all.
pub fn credentials(command: &mut Command) {
    command.env("AWS_ACCESS_KEY_ID", "any").env("AWS_SECRET_ACCESS_KEY", "any").env("AWS_EC2_METADATA_DISABLED", "true");
}

/// A running worker; killed when dropped.
pub struct Worker {
    child: Child,
    /// Its probes.
    pub base: String,
    log: PathBuf,
}

impl Worker {
    fn start(yard: &Yard, endpoint: &str, args: &[&str]) -> Self {
        let number = yard.desk.names().len();
        let log = yard.desk.path(&format!("worker-{number}.log"));
        let mut command = yard.command();
        command.args(["worker", "--listen", "127.0.0.1:0", "--wait", "1"]);
        if !args.contains(&"--store") {
            command.args(["--store", "s3://videos", "--endpoint", endpoint]);
        }
        command.args(["--queue", &format!("{endpoint}/123456789012/jobs"), "--spool"]).arg(yard.desk.path(&format!("spool-{number}")));
        if !args.contains(&"--pipeline") {
            // one model, quickly loaded
            command.args(["--pipeline", "example"]);
        }
        command.args(args).env("HALFPIPE_LOG", "info,ort=error").stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(std::fs::File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let base = first.rsplit_once("probes on ").map(|(_, base)| base.trim().to_owned());
        let base = base.unwrap_or_else(|| panic!("the worker did not start: {first}{}", std::fs::read_to_string(&log).unwrap()));
        Self { child, base, log }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn get(&self, path: &str) -> Answer {
        curl(&[], &format!("{}{path}", self.base))
    }

    /// Waits until it takes messages.
    pub fn until_ready(&self) {
        until("the worker is not ready", &[self], || peek(&self.base, "/readyz").0 == 200);
    }

    /// A value of /metrics; none where it is not there.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let text = peek(&self.base, "/metrics").1;
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        Some(line.trim().parse().unwrap())
    }

    /// kill -9, and waits for its end.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to leave, and gives its exit code.
    pub fn leave(self) -> Option<i32> {
        let kill = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        self.end()
    }

    /// Waits for its end and gives its exit code.
    pub fn end(mut self) -> Option<i32> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(begun.elapsed() < PATIENCE, "the worker does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What a proxy does with connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Passes them on.
    Fair,
    /// Ends them.
    Refuse,
    /// Answers everything with this head and body.
    Answer(&'static str, &'static str),
    /// Passes requests on to a server whose clock is so many seconds ahead, and which refuses what was signed at another time.
    ClockAhead(i64),
}

/// Stands between a client and moto.
pub struct Proxy {
    pub address: SocketAddr,
    weather: Arc<Mutex<Weather>>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    pub fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (weather, open) = (Arc::new(Mutex::new(Weather::Fair)), Arc::new(Mutex::new(Vec::new())));
        let (seen, kept) = (Arc::clone(&weather), Arc::clone(&open));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let weather = *seen.lock().unwrap();
                match weather {
                    Weather::Fair => {
                        kept.lock().unwrap().push(client.try_clone().unwrap());
                        pass(client, server);
                    }
                    Weather::Refuse => drop(client),
                    Weather::ClockAhead(seconds) => {
                        std::thread::spawn(move || by_another_clock(client, server, seconds));
                    }
                    Weather::Answer(head, body) => {
                        std::thread::spawn(move || answer(client, head, body));
                    }
                }
            }
        });
        Self { address, weather, open }
    }

    /// Changes the weather, for open connections too.
    pub fn turn(&self, weather: Weather) {
        *self.weather.lock().unwrap() = weather;
        for stream in self.open.lock().unwrap().drain(..) {
            // it may have gone by itself
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn pass(client: TcpStream, server: SocketAddr) {
    let Ok(server) = TcpStream::connect(server) else { return };
    for (mut from, mut to) in
        [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server.try_clone().unwrap(), client.try_clone().unwrap())]
    {
        std::thread::spawn(move || {
            // a connection that breaks is what a proxy is for
            let _ = std::io::copy(&mut from, &mut to);
            let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
        });
    }
}

/// The head of a request or an answer, as far as the empty line, and what came with it of the body.
fn read_head(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let body = bytes.split_off(end + 4);
            bytes.truncate(end);
            return Some((String::from_utf8_lossy(&bytes).into_owned(), body));
        }
        match stream.read(&mut piece) {
            Ok(n) if n > 0 => bytes.extend_from_slice(&piece[..n]),
            _ => return None,
        }
    }
}

/// The value of a header.
fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().filter_map(|line| line.split_once(':')).find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// A head without a header.
fn without(head: &str, name: &str) -> String {
    let others = head.lines().filter(|line| !line.split_once(':').is_some_and(|(n, _)| n.eq_ignore_ascii_case(name)));
    others.collect::<Vec<_>>().join("\r\n")
}

/// One request to a server whose clock is elsewhere: both services of AWS refuse what was signed more than a quarter of an hour off.
fn by_another_clock(mut client: TcpStream, server: SocketAddr, ahead: i64) {
    let Some((head, body)) = read_head(&mut client) else { return };
    let now = time::OffsetDateTime::now_utc() + time::Duration::seconds(ahead);
    let date = now.format(&time::format_description::well_known::Rfc2822).unwrap().replace("+0000", "GMT");
    let form = time::format_description::parse_borrowed::<2>("[year][month][day]T[hour][minute][second]Z").unwrap();
    let signed = header(&head, "x-amz-date").and_then(|text| time::PrimitiveDateTime::parse(text, &form).ok());
    let off = signed.map_or(i64::MAX, |signed| (signed.assume_utc() - now).whole_seconds().abs());
    if off > 900 {
        let (kind, text) = match header(&head, "x-amz-target") {
            Some(_) => (
                "application/x-amz-json-1.0",
                r#"{"__type":"com.amazon.coral.service#InvalidSignatureException","message":"Signature expired"}"#,
            ),
            None => (
                "application/xml",
                "<?xml version=\"1.0\"?><Error><Code>RequestTimeTooSkewed</Code><Message>The difference is too large.</Message></Error>",
            ),
        };
        let answer = format!(
            "HTTP/1.1 403 Forbidden\r\ndate: {date}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
            text.len()
        );
        let _ = client.write_all(answer.as_bytes());
        return;
    }
    let Ok(mut server) = TcpStream::connect(server) else { return };
    let request = format!("{}\r\nconnection: close\r\n\r\n", without(&head, "connection"));
    let (Ok(mut rest), Ok(mut on)) = (client.try_clone(), server.try_clone()) else { return };
    if server.write_all(request.as_bytes()).and_then(|()| server.write_all(&body)).is_err() {
        return;
    }
    std::thread::spawn(move || std::io::copy(&mut rest, &mut on).ok());
    if let Some((head, body)) = read_head(&mut server) {
        let head = format!("{}\r\ndate: {date}\r\n\r\n", without(&head, "date"));
        let _ = client.write_all(head.as_bytes()).and_then(|()| client.write_all(&body));
        let _ = std::io::copy(&mut server, &mut client);
    }
    let _ = client.shutdown(Shutdown::Both);
}

fn answer(mut client: TcpStream, head: &str, body: &str) {
    client.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    // the beginning of the request is enough; the answer ends the connection
    let _ = client.read(&mut [0; 64 << 10]);
    let text = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    let _ = client.write_all(text.as_bytes());
}
