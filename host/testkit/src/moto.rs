//! A server of S3, SQS and IAM that others wrote: moto, from PyPI, as a child process.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// moto's server; ends when dropped. It takes any credentials.
#[derive(Debug)]
pub struct Moto {
    child: Child,
    address: SocketAddr,
    /// Its certificate authority, where it speaks TLS.
    authority: Option<PathBuf>,
}

/// Files of a certificate for 127.0.0.1 and localhost, and of the authority that signed it and that nobody knows.
#[derive(Debug)]
pub struct Certificate {
    /// The authority's certificate, PEM.
    pub authority: PathBuf,
    /// The server's, PEM.
    pub server: PathBuf,
    /// The server's private key, PEM.
    pub key: PathBuf,
}

impl Certificate {
    /// Makes them in `folder`, good for two days.
    ///
    /// # Panics
    /// If openssl is missing or fails.
    #[must_use]
    pub fn make(folder: &Path) -> Self {
        let openssl = |arguments: &str| {
            let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output();
            let output = output.unwrap_or_else(|e| panic!("openssl did not start ({e}); run `make packages`"));
            assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        };
        std::fs::write(folder.join("leaf"), "basicConstraints=critical,CA:FALSE\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n").unwrap();
        let new_key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        openssl(&format!(
            "req -x509 {new_key} -keyout ca.key -out ca.pem -days 2 -subj /CN=tests -addext basicConstraints=critical,CA:TRUE"
        ));
        openssl(&format!("req -new {new_key} -keyout server.key -out server.csr -subj /CN=localhost"));
        openssl("x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile leaf -out server.pem");
        Self { authority: folder.join("ca.pem"), server: folder.join("server.pem"), key: folder.join("server.key") }
    }
}

impl Moto {
    /// Starts it on a free port and waits until it listens.
    ///
    /// # Panics
    /// If it is not there, or does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(Command::new(Self::program()), None)
    }

    /// As [`Moto::start`], but requests are answered one after the other: moto compares the condition of a put and puts in two steps, and
    /// two requests at once may both find it to hold. Requests that wait for messages hold up all others.
    ///
    /// # Panics
    /// As [`Moto::start`].
    #[must_use]
    pub fn start_one_by_one() -> Self {
        const SERVE: &str =
            "import moto.server as s; run = s.run_simple; s.run_simple = lambda *a, **k: run(*a, **{**k, 'threaded': False}); s.main()";
        let mut command = Command::new(Self::python());
        command.args(["-c", SERVE]);
        Self::start_with(command, None)
    }

    /// As [`Moto::start`], over TLS.
    ///
    /// # Panics
    /// As [`Moto::start`].
    #[must_use]
    pub fn start_tls(certificate: &Certificate) -> Self {
        Self::start_with(Command::new(Self::program()), Some(certificate))
    }

    fn start_with(mut command: Command, certificate: Option<&Certificate>) -> Self {
        // the port is free until moto takes it a moment later; moto tells nobody which one it chose
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = command
            .args(["-H", "127.0.0.1", "-p", &address.port().to_string()])
            .args(certificate.iter().flat_map(|c| [Path::new("-c"), &c.server, Path::new("-k"), &c.key]))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut moto = Self { child, address, authority: certificate.map(|c| c.authority.clone()) };
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

    /// `http://` or `https://` and where it listens.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http{}://{}", if self.authority.is_some() { "s" } else { "" }, self.address)
    }

    fn curl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("curl");
        command.args(["-sS", "--fail-with-body"]).args(arguments);
        if let Some(authority) = &self.authority {
            command.arg("--cacert").arg(authority);
        }
        let output = command.output().unwrap_or_else(|e| panic!("curl did not start ({e}); run `make packages`"));
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {answer}{}", String::from_utf8_lossy(&output.stderr));
        answer
    }

    /// Makes a bucket.
    ///
    /// # Panics
    /// If curl is missing or fails.
    pub fn make_bucket(&self, name: &str) {
        self.curl(&["-X", "PUT", &format!("{}/{name}", self.endpoint())]);
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
        self.curl(&["-H", "Content-Type: text/plain", "-d", free, &format!("{}/moto-api/reset-auth", self.endpoint())]);
    }

    fn iam(&self, action: &str, fields: &[(&str, &str)]) -> String {
        let who = "Authorization: AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=any";
        let fields = fields.iter().map(|(name, value)| format!("{name}={value}"));
        let fields: Vec<String> = [format!("Action={action}"), "Version=2010-05-08".into()].into_iter().chain(fields).collect();
        let mut arguments = vec!["-H", who];
        for field in &fields {
            arguments.extend(["--data-urlencode", field]);
        }
        self.curl(&[&arguments[..], &[&self.endpoint()]].concat())
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
        self.curl(&["-H", &target, "-H", "Content-Type: application/x-amz-json-1.0", "-H", who, "-d", body, &self.endpoint()])
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
