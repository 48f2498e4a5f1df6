//! A server of S3 and SQS that others wrote: moto, from PyPI, as a child process.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// moto's server; ends when dropped. It takes any credentials.
#[derive(Debug)]
pub struct Moto {
    child: Child,
    address: SocketAddr,
}

impl Moto {
    /// Starts it on a free port and waits until it listens.
    ///
    /// # Panics
    /// If it is not there, or does not start.
    #[must_use]
    pub fn start() -> Self {
        let program = std::env::var_os("HALFPIPE_MOTO").map_or_else(|| crate::places::cache().join("moto/bin/moto_server"), PathBuf::from);
        assert!(program.is_file(), "there is no {}; run infra/local/moto.sh, or set HALFPIPE_MOTO to moto's server", program.display());
        // the port is free until moto takes it a moment later; moto tells nobody which one it chose
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &address.port().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut moto = Self { child, address };
        while TcpStream::connect(address).is_err() {
            assert!(moto.child.try_wait().unwrap().is_none(), "moto's server ended at once; run it by hand to see why");
            std::thread::sleep(Duration::from_millis(50));
        }
        moto
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://` and where it listens.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes a bucket.
    ///
    /// # Panics
    /// If curl is missing or fails.
    pub fn make_bucket(&self, name: &str) {
        curl(&["-X", "PUT", &format!("{}/{name}", self.endpoint())]);
    }

    /// Calls SQS with a JSON body and gives the answer's.
    ///
    /// # Panics
    /// If curl is missing or the call fails.
    #[must_use]
    pub fn sqs(&self, operation: &str, body: &str) -> String {
        let target = format!("X-Amz-Target: AmazonSQS.{operation}");
        // only who asks decides which service answers; signatures are not looked at
        let who = "Authorization: AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=any";
        curl(&["-H", &target, "-H", "Content-Type: application/x-amz-json-1.0", "-H", who, "-d", body, &self.endpoint()])
    }

    /// Makes a queue, with a dead-letter queue `<name>-dead` where `most_receives` is given, and gives its address.
    ///
    /// # Panics
    /// As [`Moto::sqs`].
    #[must_use]
    pub fn make_queue(&self, name: &str, most_receives: Option<u32>) -> String {
        let policy = most_receives.map(|most| {
            let _ = self.sqs("CreateQueue", &format!(r#"{{"QueueName":"{name}-dead"}}"#));
            let arn = format!("arn:aws:sqs:us-east-1:123456789012:{name}-dead");
            format!(r#","Attributes":{{"RedrivePolicy":"{{\"deadLetterTargetArn\":\"{arn}\",\"maxReceiveCount\":{most}}}"}}"#)
        });
        let _ = self.sqs("CreateQueue", &format!(r#"{{"QueueName":"{name}"{}}}"#, policy.unwrap_or_default()));
        self.queue(name)
    }

    /// Address of a queue.
    #[must_use]
    pub fn queue(&self, name: &str) -> String {
        format!("{}/123456789012/{name}", self.endpoint())
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn curl(arguments: &[&str]) -> String {
    let output = Command::new("curl").args(["-sS", "--fail-with-body"]).args(arguments).output();
    let output = output.unwrap_or_else(|e| panic!("curl did not start ({e}); run `make packages`"));
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {answer}{}", String::from_utf8_lossy(&output.stderr));
    answer
}
