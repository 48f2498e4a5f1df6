//! Scale-in protection: something outside is told when this process begins to work and when it is idle again, so that a scaler takes
//! away idle processes first.
//!
//! The address form is that of the ECS agent: `PUT $ECS_AGENT_URI/task-protection/v1/state` with
//! `{"ProtectionEnabled": true, "ExpiresInMinutes": 60}`
//! (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection-endpoint.html>). Protection is a courtesy:
//! where it cannot be had, jobs are worked on all the same, and a process that is taken away hands its jobs over.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Longest call.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Protection ends by itself after this many minutes, so that a process that hangs is not kept for ever.
const EXPIRES_MINUTES: u32 = 60;
/// How often it is asked for again while jobs run.
const RENEW: Duration = Duration::from_secs(15 * 60);
/// Wait after a call that failed.
const AGAIN: Duration = Duration::from_secs(10);
/// How often a child's end is looked for.
const LOOK: Duration = Duration::from_millis(20);

/// Whom to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protect {
    /// An address that takes what the ECS agent takes.
    Url(String),
    /// A program, called with the one argument `begin` or `end`; exit code 0 is well.
    Command(PathBuf),
}

impl Protect {
    /// Tells once. Blocks.
    fn tell(&self, busy: bool) -> Result<(), String> {
        match self {
            Self::Url(url) => put(url, busy).map_err(|e| format!("{url} did not take it: {e}")),
            Self::Command(program) => call(program, if busy { "begin" } else { "end" }),
        }
    }

    /// Tells of every change between idle and busy, and of the last end when `done` is cancelled.
    pub(super) async fn run(self, mut running: watch::Receiver<usize>, done: CancellationToken) {
        let mut told = false;
        loop {
            let leaving = done.is_cancelled();
            let busy = *running.borrow_and_update() > 0 && !leaving;
            let mut pause = if busy { RENEW } else { Duration::MAX };
            if busy || told {
                let who = self.clone();
                let outcome = tokio::task::spawn_blocking(move || who.tell(busy)).await.unwrap_or_else(|e| Err(e.to_string()));
                match outcome {
                    Ok(()) => told = busy,
                    Err(error) => {
                        tracing::warn!(error, busy, "scale-in protection could not be changed");
                        pause = AGAIN;
                    }
                }
            }
            if leaving {
                return;
            }
            tokio::select! {
                // one job more or less changes nothing as long as there is one; the sender outlives this
                _ = running.wait_for(|jobs| (*jobs > 0) != busy) => {}
                () = tokio::time::sleep(pause) => {}
                () = done.cancelled() => {}
            }
        }
    }
}

fn put(url: &str, busy: bool) -> Result<(), ureq::Error> {
    let body = if busy {
        serde_json::json!({ "ProtectionEnabled": true, "ExpiresInMinutes": EXPIRES_MINUTES })
    } else {
        serde_json::json!({ "ProtectionEnabled": false })
    };
    let agent = ureq::Agent::new_with_config(ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).proxy(None).build());
    agent.put(url).header("Content-Type", "application/json").send(body.to_string()).map(drop)
}

fn call(program: &Path, what: &str) -> Result<(), String> {
    let name = program.display();
    let mut child = Command::new(program)
        .arg(what)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|e| format!("{name} did not start: {e}"))?;
    let begun = Instant::now();
    loop {
        match child.try_wait().map_err(|e| format!("{name} cannot be waited for: {e}"))? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(format!("{name} {what} ended with {status}")),
            None if begun.elapsed() > TIMEOUT => {
                // it may have ended by itself meanwhile
                child.kill().and_then(|()| child.wait()).map_err(|e| format!("{name} cannot be ended: {e}"))?;
                return Err(format!("{name} {what} took longer than {} s", TIMEOUT.as_secs()));
            }
            None => std::thread::sleep(LOOK),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A program that writes down what it was called with.
    fn scribe(folder: &Path) -> PathBuf {
        let program = folder.join("scribe");
        std::fs::write(&program, "#!/bin/sh\necho \"$1\" >>\"$0.log\"\n").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        program
    }

    #[tokio::test]
    async fn a_program_is_told_when_work_begins_and_ends() {
        let folder = tempfile::tempdir().unwrap();
        let program = scribe(folder.path());
        let log = || std::fs::read_to_string(folder.path().join("scribe.log")).unwrap_or_default();
        let (running, seen) = watch::channel(0);
        let done = CancellationToken::new();
        let task = tokio::spawn(Protect::Command(program).run(seen, done.clone()));
        for (jobs, expected) in [(1, "begin\n"), (2, "begin\n"), (0, "begin\nend\n"), (1, "begin\nend\nbegin\n")] {
            running.send_replace(jobs);
            while log() != expected {
                assert!(expected.starts_with(&log()), "{:?}", log());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        done.cancel();
        task.await.unwrap();
        assert_eq!(log(), "begin\nend\nbegin\nend\n", "the last end is told before it leaves");
    }

    #[test]
    fn what_goes_wrong_is_said() {
        let error = Protect::Command("/no/such/program".into()).tell(true).unwrap_err();
        assert!(error.contains("/no/such/program did not start"), "{error}");
        assert!(call(Path::new("false"), "begin").unwrap_err().contains("begin ended with exit status: 1"));
    }

    #[test]
    fn the_agents_address_gets_what_it_takes() {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/task-protection/v1/state", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"}") {
                let mut piece = [0; 1024];
                let n = stream.read(&mut piece).unwrap();
                request.extend_from_slice(&piece[..n]);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
            String::from_utf8(request).unwrap()
        });
        Protect::Url(url).tell(true).unwrap();
        let request = server.join().unwrap();
        assert!(request.starts_with("PUT /task-protection/v1/state HTTP/1.1"), "{request}");
        assert!(request.contains("\"ProtectionEnabled\":true") && request.contains("\"ExpiresInMinutes\":60"), "{request}");
    }
}
