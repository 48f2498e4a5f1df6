//! A real `halfpipe serve` on ports of its own, called with the real curl.

#![allow(dead_code, reason = "each test program uses its own part of this module")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::Desk;

/// Longest wait for anything before the test counts as failed. Nothing is timed by it.
const PATIENCE: Duration = Duration::from_secs(240);

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    pub base: String,
    /// The embedded store's endpoint, where there is one.
    pub s3: Option<String>,
    log: PathBuf,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let wanted = format!("{}:", name.to_ascii_lowercase());
        self.headers.lines().find(|l| l.to_ascii_lowercase().starts_with(&wanted)).map(|l| l[wanted.len()..].trim())
    }
}

impl Server {
    /// Starts the server and waits until it listens.
    pub fn start(desk: &Desk, args: &[&str]) -> Self {
        // what the SDK needs to ask anybody at all; most servers of tests take anything
        Self::start_as(desk, args, &("any".into(), "any".into()))
    }

    /// As [`Server::start`], with this access key and secret for a store at another endpoint.
    pub fn start_as(desk: &Desk, args: &[&str], credentials: &(String, String)) -> Self {
        Self::of(desk, Self::command(desk, args, credentials), !args.contains(&"--store"))
    }

    /// The command that starts a server.
    pub fn command(desk: &Desk, args: &[&str], (access_key, secret): &(String, String)) -> Command {
        let mut command = desk.command();
        command.args(["serve", "--listen", "127.0.0.1:0", "--drain", "1"]).args(args);
        if !args.contains(&"--store") && !args.contains(&"--s3-listen") {
            command.args(["--s3-listen", "127.0.0.1:0"]);
        }
        if !args.contains(&"--spool") {
            command.arg("--spool").arg(desk.path("spool"));
        }
        if args.contains(&"--endpoint") {
            command.env("AWS_ACCESS_KEY_ID", access_key).env("AWS_SECRET_ACCESS_KEY", secret).env("AWS_EC2_METADATA_DISABLED", "true");
        }
        command.env("HALFPIPE_LOG", "info,ort=error").stdin(Stdio::null());
        command
    }

    /// Starts the command and waits until the server listens; with a store of its own, until that does, too.
    pub fn of(desk: &Desk, mut command: Command, own_store: bool) -> Self {
        let log = desk.path(&format!("server-{}.log", uuid()));
        command.stdout(Stdio::piped()).stderr(std::fs::File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let told = |line: Option<std::io::Result<String>>| {
            line.and_then(Result::ok).unwrap_or_else(|| panic!("the server did not start: {}", std::fs::read_to_string(&log).unwrap()))
        };
        let first = told(lines.next());
        let base = first.split_whitespace().find(|w| w.starts_with("http://")).unwrap().trim_end_matches(',').to_owned();
        let s3 = own_store
            .then(|| told(lines.next()).split_whitespace().find(|w| w.starts_with("http://")).unwrap().trim_end_matches(',').to_owned());
        Self { child, base, s3, log }
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Calls curl; `path` begins with `/` or is a whole URL.
    pub fn curl(&self, args: &[&str], path: &str) -> Answer {
        let url = if path.starts_with('/') { format!("{}{path}", self.base) } else { path.to_owned() };
        curl(args, &url)
    }

    pub fn get(&self, path: &str) -> Value {
        let answer = self.curl(&[], path);
        assert_eq!(answer.status, 200, "{path}: {}\n{}", String::from_utf8_lossy(&answer.body), self.log());
        answer.json()
    }

    /// Submits a file asynchronously and gives the job's id.
    pub fn submit(&self, file: &Path, more: &[&str]) -> String {
        let video = format!("video=@{}", file.display());
        let answer = self.curl(&[&["-F", &video], more].concat(), "/process_video_async");
        assert_eq!(answer.status, 202, "{}\n{}", String::from_utf8_lossy(&answer.body), self.log());
        let body = answer.json();
        assert_eq!(body["status"], "accepted");
        body["job_id"].as_str().unwrap().to_owned()
    }

    /// Waits until the job's state is one of those, and gives the status.
    pub fn until(&self, id: &str, states: &[&str]) -> Value {
        let begun = Instant::now();
        loop {
            let (code, body) = peek(&self.base, &format!("/job_status/{id}"));
            assert_eq!(code, 200, "{body}\n{}", self.log());
            let status: Value = serde_json::from_str(&body).unwrap();
            if states.contains(&status["status"].as_str().unwrap()) {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "job {id} is still {status}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until the models are loaded.
    pub fn until_ready(&self) {
        let begun = Instant::now();
        while peek(&self.base, "/readyz").0 != 200 {
            assert!(begun.elapsed() < PATIENCE, "{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Forgets the most memory that the process had so far.
    pub fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
    }

    /// Memory of the process that is in RAM, now and at most so far, KiB.
    pub fn memory_kib(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse().unwrap()
        };
        (field("VmRSS:"), field("VmHWM:"))
    }

    /// kill -9, and waits for its end.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to leave, and gives its exit code.
    pub fn leave(mut self) -> Option<i32> {
        let kill = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the server does not leave: {}", self.log());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Calls curl.
pub fn curl(args: &[&str], url: &str) -> Answer {
    let dir = tempfile::tempdir().unwrap();
    let (head, body) = (dir.path().join("head"), dir.path().join("body"));
    let done = Command::new("curl")
        .args(["-sS", "--max-time", "240", "-w", "%{http_code}", "-D"])
        .arg(&head)
        .arg("-o")
        .arg(&body)
        .args(args)
        .arg(url)
        .output()
        .unwrap();
    let status = String::from_utf8_lossy(&done.stdout).trim().parse().unwrap_or(0);
    assert!(status != 0, "curl {args:?} {url}: {}", String::from_utf8_lossy(&done.stderr));
    Answer { status, headers: std::fs::read_to_string(&head).unwrap_or_default(), body: std::fs::read(&body).unwrap_or_default() }
}

/// Status and body of a GET, for what is asked again and again: a start of curl costs more than the answer. No answer: status 0.
pub fn peek(base: &str, path: &str) -> (u16, String) {
    let address = base.trim_start_matches("http://");
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().unwrap_or_default();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    (head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0), body.to_owned())
}

/// A name that was not there before.
fn uuid() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed).to_string()
}
