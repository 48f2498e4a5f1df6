//! A server of S3, SQS and IAM that others wrote: moto, from PyPI, as a child process.

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
        let program = Self::program();
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

    fn program() -> PathBuf {
        let program = std::env::var_os("HALFPIPE_MOTO").map_or_else(|| crate::places::cache().join("moto/bin/moto_server"), PathBuf::from);
        assert!(program.is_file(), "there is no {}; run infra/local/moto.sh, or set HALFPIPE_MOTO to moto's server", program.display());
        program
    }

    /// The Python that has moto and what it needs, PyYAML among it.
    ///
    /// # Panics
    /// If moto is not there.
    #[must_use]
    pub fn python() -> PathBuf {
        Self::program().with_file_name("python")
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

    /// Makes a user without permissions, and gives its access key and secret.
    ///
    /// # Panics
    /// If curl is missing or the calls fail.
    #[must_use]
    pub fn make_user(&self, name: &str) -> (String, String) {
        let _ = self.iam("CreateUser", &[("UserName", name)]);
        let answer = self.iam("CreateAccessKey", &[("UserName", name)]);
        let field = |tag: &str| {
            let value = answer.split_once(&format!("<{tag}>")).and_then(|(_, rest)| rest.split_once('<'));
            value.unwrap_or_else(|| panic!("no {tag} in {answer}")).0.to_owned()
        };
        (field("AccessKeyId"), field("SecretAccessKey"))
    }

    /// Gives a user this policy (JSON) in place of the one before.
    ///
    /// # Panics
    /// As [`Moto::make_user`].
    pub fn allow(&self, user: &str, policy: &str) {
        let _ = self.iam("PutUserPolicy", &[("UserName", user), ("PolicyName", "only"), ("PolicyDocument", policy)]);
    }

    /// Whether signatures and permissions are looked at from now on. At first they are not. Requests that are signed in their address
    /// cannot be looked at by moto: it fails at them.
    ///
    /// # Panics
    /// As [`Moto::make_user`].
    pub fn enforce(&self, permissions: bool) {
        let free = if permissions { "0" } else { "1e9" };
        curl(&["-H", "Content-Type: text/plain", "-d", free, &format!("{}/moto-api/reset-auth", self.endpoint())]);
    }

    fn iam(&self, action: &str, fields: &[(&str, &str)]) -> String {
        let who = "Authorization: AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=any";
        let fields = fields.iter().map(|(name, value)| format!("{name}={value}"));
        let fields: Vec<String> = [format!("Action={action}"), "Version=2010-05-08".into()].into_iter().chain(fields).collect();
        let mut arguments = vec!["-H", who];
        for field in &fields {
            arguments.extend(["--data-urlencode", field]);
        }
        curl(&[&arguments[..], &[&self.endpoint()]].concat())
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
