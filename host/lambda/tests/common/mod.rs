//! The function under an emulator of Lambda, over a bucket of this process.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use halfpipe_store::{EmbeddedServer, Key, ObjectStore, PutMode, S3Store, ServerCredentials};
use halfpipe_testkit::places;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Longest wait for anything before the test counts as failed. Nothing is timed by it.
const PATIENCE: Duration = Duration::from_secs(600);
/// How often something that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// The function's name.
const FUNCTION: &str = "halfpipe";
/// The bucket's name.
pub const BUCKET: &str = "halfpipe-videos";

/// A bucket that this process serves.
pub struct Bucket {
    server: EmbeddedServer,
    store: S3Store,
    _folder: TempDir,
}

impl Bucket {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let credentials = ServerCredentials { access_key: "emulated".into(), secret: "emulated-secret".into() };
        let server = EmbeddedServer::start(folder.path(), BUCKET, "127.0.0.1:0".parse().unwrap(), credentials).unwrap();
        let store = S3Store::connect(server.config("")).unwrap();
        Self { server, store, _folder: folder }
    }

    fn store(&self) -> &dyn ObjectStore {
        &self.store
    }

    /// Puts a file.
    pub fn put(&self, key: &str, file: &Path) {
        self.store().put_stream(&Key::new(key).unwrap(), &mut File::open(file).unwrap(), PutMode::Create).unwrap();
    }

    /// Fetches an object into a file.
    pub fn fetch(&self, key: &str, file: &Path) {
        let mut object = self.store().open(&Key::new(key).unwrap(), None).unwrap();
        std::io::copy(&mut object.body, &mut File::create(file).unwrap()).unwrap();
    }
}

/// Which emulator of Lambda.
#[derive(Clone, Copy)]
pub enum Emulator {
    /// `cargo lambda watch`, which our program is started beside.
    CargoLambda,
    /// AWS's runtime interface emulator, which starts our program itself, as Lambda does.
    RuntimeInterface,
}

impl Emulator {
    /// Its program.
    fn program(self) -> PathBuf {
        let (variable, name) = match self {
            Self::CargoLambda => ("HALFPIPE_CARGO_LAMBDA", "cargo-lambda"),
            Self::RuntimeInterface => ("HALFPIPE_RIE", "aws-lambda-rie"),
        };
        let program = std::env::var_os(variable).map_or_else(|| cache().join("emulators/bin").join(name), PathBuf::from);
        assert!(program.is_file(), "{} is missing; run `make peers`", program.display());
        program
    }
}

/// The function under an emulator. Its processes end when it is dropped.
pub struct Function {
    /// The last one was started last, and is ended first.
    children: Vec<Child>,
    invocations: String,
    folder: TempDir,
    /// The queue on which it announces jobs.
    queue: Option<String>,
}

impl Function {
    /// Starts emulator and function; they are ready when the first invocation is answered.
    pub fn start(emulator: Emulator, bucket: &Bucket) -> Self {
        Self::start_with(emulator, bucket, None)
    }

    /// The same, with the address of a queue.
    pub fn start_with(emulator: Emulator, bucket: &Bucket, queue: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [port, runtime_port] = free_ports();
        let invocations = format!("http://127.0.0.1:{port}/2015-03-31/functions");
        let mut started = Self { children: Vec::new(), invocations, folder, queue: queue.map(str::to_owned) };
        match emulator {
            Emulator::CargoLambda => {
                started.invocations += &format!("/{FUNCTION}/invocations");
                // it insists on standing in a package, even where it is to build nothing
                let package = started.folder.path().join("package");
                std::fs::create_dir_all(package.join("src")).unwrap();
                std::fs::write(package.join("src/main.rs"), "fn main() {}\n").unwrap();
                let manifest = format!("[package]\nname = \"{FUNCTION}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n");
                std::fs::write(package.join("Cargo.toml"), manifest).unwrap();
                let mut command = Command::new(emulator.program());
                command.args(["lambda", "watch", "--only-lambda-apis", "--invoke-address", "127.0.0.1", "--invoke-port"]);
                command.arg(port.to_string()).current_dir(&package);
                started.spawn("emulator", command);
                started.until_listening(port);
                let mut function = started.function(Command::new(env!("CARGO_BIN_EXE_bootstrap")), bucket);
                function.env("AWS_LAMBDA_RUNTIME_API", format!("http://127.0.0.1:{port}/.rt/{FUNCTION}"));
                started.spawn("function", function);
            }
            Emulator::RuntimeInterface => {
                started.invocations += "/function/invocations";
                let mut command = Command::new(emulator.program());
                command.args(["--runtime-interface-emulator-address", &format!("127.0.0.1:{port}")]);
                command.args(["--runtime-api-address", &format!("127.0.0.1:{runtime_port}")]);
                command.arg(env!("CARGO_BIN_EXE_bootstrap"));
                let command = started.function(command, bucket);
                started.spawn("emulator", command);
                started.until_listening(port);
            }
        }
        started
    }

    /// With the variables that Lambda, and who set up the function, give it.
    fn function(&self, mut command: Command, bucket: &Bucket) -> Command {
        let credentials = bucket.server.credentials();
        command
            .env("AWS_LAMBDA_FUNCTION_NAME", FUNCTION)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "3008")
            .env("AWS_LAMBDA_FUNCTION_TIMEOUT", "900")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "halfpipe")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "test")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", &credentials.access_key)
            .env("AWS_SECRET_ACCESS_KEY", &credentials.secret)
            .env_remove("AWS_SESSION_TOKEN")
            .env("HALFPIPE_STORE", format!("s3://{BUCKET}"))
            .env("HALFPIPE_S3_ENDPOINT", bucket.server.endpoint())
            .env("HALFPIPE_S3_REGION", "us-east-1")
            .env("HALFPIPE_MODELS", places::models())
            .env("HALFPIPE_GUESTS", places::guests())
            .env("HALFPIPE_SPOOL", self.folder.path().join("spool"));
        if let Some(queue) = &self.queue {
            command.env("HALFPIPE_QUEUE_URL", queue);
        }
        command
    }

    fn spawn(&mut self, name: &str, mut command: Command) {
        let log = File::create(self.folder.path().join(format!("{name}.log"))).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.children.push(command.spawn().unwrap_or_else(|e| panic!("{:?} did not start: {e}", command.get_program())));
    }

    fn until_listening(&mut self, port: u16) {
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = self.children.iter_mut().any(|c| c.try_wait().unwrap().is_some());
            assert!(!ended && begun.elapsed() < PATIENCE, "the emulator does not listen\n{}", self.logs());
            std::thread::sleep(LOOK);
        }
    }

    /// A path in the function's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What emulator and function have logged.
    pub fn logs(&self) -> String {
        ["emulator.log", "function.log"].map(|name| std::fs::read_to_string(self.path(name)).unwrap_or_default()).join("\n")
    }

    /// Invokes the function with an event. Errors are answers too: they have an `errorMessage`.
    pub fn invoke(&self, event: &Value) -> Value {
        let body = self.path("event.json");
        std::fs::write(&body, event.to_string()).unwrap();
        let done = Command::new("curl")
            .args(["-sS", "--max-time", &PATIENCE.as_secs().to_string(), "-H", "Content-Type: application/json", "--data-binary"])
            .arg(format!("@{}", body.display()))
            .arg(&self.invocations)
            .output()
            .unwrap_or_else(|e| panic!("curl did not start ({e}); run `make packages`"));
        let text = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success(), "{}\n{}", String::from_utf8_lossy(&done.stderr), self.logs());
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: the answer is {text:?}\n{}", self.logs()))
    }

    /// Sends a request of HTTP API, version 2, through the function: status and body of the answer.
    pub fn http(&self, method: &str, path: &str, body: Option<&Value>) -> (u64, Value) {
        let answer = self.invoke(&json!({
            "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "", "isBase64Encoded": false,
            "headers": { "content-type": "application/json", "host": "api.example.com" }, "body": body.map(Value::to_string),
            "requestContext": {
                "accountId": "123456789012", "apiId": "api", "domainName": "api.example.com", "domainPrefix": "api", "stage": "$default",
                "requestId": "request", "routeKey": "$default", "time": "24/Nov/2026:10:00:00 +0000", "timeEpoch": 1_795_514_400_000_u64,
                "http": { "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "curl" },
            },
        }));
        let status = answer["statusCode"].as_u64().unwrap_or_else(|| panic!("{answer}\n{}", self.logs()));
        (status, serde_json::from_str(answer["body"].as_str().unwrap()).unwrap_or_else(|e| panic!("{e}: {answer}")))
    }

    /// Asks for a job's state until it is final.
    pub fn until_final(&self, id: &str) -> Value {
        let begun = Instant::now();
        loop {
            let (code, status) = self.http("GET", &format!("/job_status/{id}"), None);
            assert_eq!(code, 200, "{status}\n{}", self.logs());
            if ["complete", "error", "cancelled"].contains(&status["status"].as_str().unwrap()) {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "{status}\n{}", self.logs());
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        for mut child in self.children.drain(..).rev() {
            // asked first, because AWS's emulator has a child of its own, which it ends when it is asked to
            let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
            let begun = Instant::now();
            while asked.is_ok() && child.try_wait().is_ok_and(|status| status.is_none()) && begun.elapsed() < Duration::from_secs(10) {
                std::thread::sleep(LOOK);
            }
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// The user cache of this project, as infra/local/emulators.sh finds it.
fn cache() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME").filter(|base| !base.is_empty()).map(PathBuf::from);
    let base = base.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    base.expect("neither XDG_CACHE_HOME nor HOME is set").join("halfpipe")
}

/// Two ports that nobody listens on.
fn free_ports() -> [u16; 2] {
    // both are held before either is given back, so they differ
    let held = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}
