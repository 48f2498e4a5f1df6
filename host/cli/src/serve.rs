//! `halfpipe serve`: the HTTP API, and the jobs it takes in.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use halfpipe_queue::{SqsConfig, SqsQueue};
use halfpipe_runtime::{Limits, RuntimeError};
use halfpipe_service::jobs::ledger::hex;
use halfpipe_service::jobs::{Dispatcher, DispatcherConfig};
use halfpipe_service::{App, Config, Engines, http, server};
use halfpipe_store::{DirectoryStore, EmbeddedServer, ObjectStore, ServerCredentials};
use tokio_util::sync::CancellationToken;

use crate::args::{Devices, Places};
use crate::exit::Environment;
use crate::stores::{Opened, Place};
use crate::{places, signals};

const SERVE_EXAMPLES: &str = "\
Examples:
  halfpipe serve                                     # API on 127.0.0.1:5000, S3-compatible store under ./data
  halfpipe serve --store s3://my-bucket/halfpipe     # a real bucket; credentials as for the AWS command line
  halfpipe serve --store s3://videos --endpoint http://127.0.0.1:9000
  halfpipe serve --store ./results                   # plain folder, no S3
  halfpipe serve --store s3://my-bucket --queue https://sqs.eu-west-1.amazonaws.com/123456789012/jobs   # workers do the work
  HALFPIPE_API_KEYS=secret halfpipe serve --listen 0.0.0.0:5000
  curl -F video=@jump.mp4 http://127.0.0.1:5000/process_video";

/// `halfpipe serve`.
#[derive(Debug, Clone, Args)]
#[command(after_help = SERVE_EXAMPLES)]
pub struct ServeArgs {
    /// Address of the API
    #[arg(long, env = "HALFPIPE_LISTEN", default_value = "127.0.0.1:5000", value_name = "IP:PORT")]
    pub listen: SocketAddr,
    /// Where videos, results and job records are: s3://BUCKET/PREFIX, a folder, or memory: [default: an S3 server of its own under ./data]
    #[arg(long, env = "HALFPIPE_STORE", value_name = "URL|DIR")]
    pub store: Option<String>,
    /// S3 endpoint, where it is not AWS
    #[arg(long, env = "HALFPIPE_S3_ENDPOINT", value_name = "URL", requires = "store")]
    pub endpoint: Option<String>,
    /// S3 region [default: as for the AWS command line]
    #[arg(long, env = "HALFPIPE_S3_REGION", value_name = "NAME")]
    pub region: Option<String>,
    /// Address of the S3 server of its own
    #[arg(long, env = "HALFPIPE_S3_LISTEN", default_value = "127.0.0.1:9000", value_name = "IP:PORT", conflicts_with = "store")]
    pub s3_listen: SocketAddr,
    /// Access key of the S3 server of its own, for clients that use it directly [default: halfpipe]
    #[arg(long, env = "HALFPIPE_S3_ACCESS_KEY", value_name = "TEXT", conflicts_with = "store", requires = "s3_secret")]
    pub s3_access_key: Option<String>,
    /// Its secret [default: one that is drawn and kept in the folder, so that clients use presigned addresses only]
    #[arg(long, env = "HALFPIPE_S3_SECRET", value_name = "TEXT", conflicts_with = "store", hide_env_values = true)]
    pub s3_secret: Option<String>,
    /// Folder of the S3 server of its own
    #[arg(long, env = "HALFPIPE_DATA", default_value = "data", value_name = "DIR", conflicts_with = "store")]
    pub data: PathBuf,
    /// Folder for work in progress [default: the system's folder for temporary files]
    #[arg(long, env = "HALFPIPE_SPOOL", value_name = "DIR")]
    pub spool: Option<PathBuf>,

    /// Keys of which a client must show one (Authorization: Bearer KEY, or X-Api-Key: KEY)
    #[arg(long = "api-key", env = "HALFPIPE_API_KEYS", value_name = "KEY", value_delimiter = ',', hide_env_values = true)]
    pub api_keys: Vec<String>,
    /// Serve strangers: listen beyond loopback without API keys
    #[arg(long, env = "HALFPIPE_INSECURE")]
    pub insecure: bool,
    /// Origins that browsers may call from; * for any
    #[arg(long = "cors-origin", env = "HALFPIPE_CORS_ORIGINS", value_name = "ORIGIN", value_delimiter = ',')]
    pub cors_origins: Vec<String>,
    /// Largest video taken in, MiB
    #[arg(long, env = "HALFPIPE_MAX_UPLOAD_MIB", default_value_t = 2048, value_name = "MIB")]
    pub max_upload_mib: u64,

    /// Jobs worked on at once: they share models and cores, so more than one gains little without a GPU; 0 takes jobs in and leaves
    /// the work to other processes on the same store
    #[arg(long, env = "HALFPIPE_JOBS", default_value_t = 1, value_name = "N")]
    pub jobs: u16,
    /// Announce jobs on this SQS queue and leave the work to `halfpipe worker` on the same queue and store; storage events are
    /// queued as they are
    #[arg(long, env = "HALFPIPE_QUEUE_URL", value_name = "URL", conflicts_with = "jobs")]
    pub queue: Option<String>,
    /// Jobs that may wait before more are refused with 429
    #[arg(long, env = "HALFPIPE_WAITING", default_value_t = 100, value_name = "N")]
    pub waiting: u32,
    /// Seconds after which the job of a process that stopped answering is taken over
    #[arg(long, env = "HALFPIPE_LEASE_SECONDS", default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(2..=3600))]
    pub lease: u64,
    /// Attempts a job gets where its fault may pass
    #[arg(long, env = "HALFPIPE_ATTEMPTS", default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=20))]
    pub attempts: u32,
    /// Seconds that running jobs may go on after Ctrl-C before they are handed over
    #[arg(long, env = "HALFPIPE_DRAIN_SECONDS", default_value_t = 10, value_name = "SECONDS")]
    pub drain: u64,
    /// Longest time one job may take, seconds [default: any]
    #[arg(long, env = "HALFPIPE_JOB_SECONDS", value_name = "SECONDS")]
    pub job_timeout: Option<u64>,
    /// Pipeline of jobs that name none
    #[arg(long, env = "HALFPIPE_PIPELINE", default_value = "overlay", value_name = "NAME")]
    pub pipeline: String,
    /// Planner component that decides on upload events: a name in the guests' folder
    #[arg(long, env = "HALFPIPE_PLANNER", default_value = "planner", value_name = "NAME")]
    pub planner: String,
    /// Signs webhooks; none refuses jobs that want one
    #[arg(long, env = "HALFPIPE_WEBHOOK_SECRET", value_name = "TEXT", hide_env_values = true)]
    pub webhook_secret: Option<String>,
    /// Let webhooks go to loopback and private addresses
    #[arg(long, env = "HALFPIPE_WEBHOOK_PRIVATE")]
    pub webhook_private: bool,
    /// Logs as JSON, one object a line
    #[arg(long, env = "HALFPIPE_LOG_JSON")]
    pub log_json: bool,

    /// Where things are
    #[command(flatten)]
    pub places: Places,
    /// Where the work is done
    #[command(flatten)]
    pub devices: Devices,
}

/// Bucket of the embedded S3 server.
const OWN_BUCKET: &str = "halfpipe";

/// The store, where it is, and what serves it where that is this process.
struct Shelter {
    opened: Opened,
    place: Place,
    server: Option<EmbeddedServer>,
}

/// The folder behind the S3 server of its own.
fn own_folder(args: &ServeArgs) -> anyhow::Result<DirectoryStore> {
    Ok(DirectoryStore::open(args.data.join(OWN_BUCKET))?)
}

fn shelter(args: &ServeArgs) -> anyhow::Result<Shelter> {
    match args.store.as_deref() {
        None => {
            // kept with the folder, so that addresses that were signed outlive this process
            let drawn = own_folder(args)?.secret("s3-server")?.map(|secret| hex(&secret));
            let credentials = ServerCredentials {
                access_key: args.s3_access_key.clone().unwrap_or_else(|| "halfpipe".into()),
                secret: args.s3_secret.clone().or(drawn).context("the folder keeps no secret; give --s3-secret")?,
            };
            let server = EmbeddedServer::start_for_browsers(&args.data, OWN_BUCKET, args.s3_listen, credentials, &args.cors_origins)?;
            let place = Place::Bucket(server.config(""));
            Ok(Shelter { opened: place.open()?, place, server: Some(server) })
        }
        Some(address) => {
            let place = Place::of(address, args.endpoint.as_deref(), args.region.as_deref())?;
            Ok(Shelter { opened: place.open()?, place, server: None })
        }
    }
}

/// Serves until Ctrl-C or SIGTERM.
pub fn serve(args: &ServeArgs) -> anyhow::Result<()> {
    let open_door = !args.listen.ip().is_loopback() && args.api_keys.is_empty() && !args.insecure;
    if open_door {
        let message = format!(
            "{} can be reached from elsewhere and there are no API keys; give --api-key KEY, listen on 127.0.0.1, or say --insecure",
            args.listen
        );
        return Err(RuntimeError::BadInput(message).into());
    }
    // stores block, so they are made outside the async runtime
    let shelter = shelter(args)?;
    let queue = args.queue.as_deref().map(SqsConfig::from_url).transpose()?;
    let mut config = config(args)?;
    shelter.place.set(&mut config);
    let host = places::config(&args.places, &args.devices, Limits::default())?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().context("cannot start the async runtime")?;
    let outcome = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(args.listen)
            .await
            .map_err(|e| Environment(format!("cannot listen on {} ({e}); give another address by --listen", args.listen)))?;
        let address = listener.local_addr()?;
        let running = if queue.is_some() { 0 } else { config.running };
        let engines = Engines::start(host).context("cannot start the engines")?;
        let mut app = App::new(config, Arc::clone(&shelter.opened.store), engines)?;
        if let Some(s3) = &shelter.opened.s3 {
            app = app.with_presign(Arc::clone(s3) as _);
        }
        if let Some(queue) = queue {
            app = app.with_queue(Arc::new(SqsQueue::connect(queue).await?));
        }
        println!("halfpipe listens on http://{address}, store: {}", app.store.name());
        if let Some(server) = &shelter.server {
            println!("S3 endpoint {}, bucket {OWN_BUCKET}, folder {}", server.endpoint(), args.data.display());
        }
        let leaving = CancellationToken::new();
        let token = leaving.clone();
        signals::listen(move || {
            eprintln!("leaving: no new jobs; running ones may finish (again to leave at once)");
            token.cancel();
        })?;
        // a front door of a queue works on nothing
        if app.queue.get().is_none() {
            let warming = Arc::clone(&app);
            tokio::spawn(async move {
                if let Err(error) = warming.warm().await {
                    tracing::error!(%error, "the default pipeline cannot be used");
                }
            });
        }
        let dispatcher = Dispatcher::new(
            Arc::clone(&app),
            DispatcherConfig { drain: Duration::from_secs(args.drain), ..DispatcherConfig::default() },
            leaving.clone(),
        );
        let jobs = if running > 0 { Some(tokio::spawn(dispatcher.run())) } else { None };
        server::serve(listener, http::router(Arc::clone(&app)), leaving).await;
        if let Some(jobs) = jobs {
            jobs.await.context("the dispatcher ended early")?;
        }
        anyhow::Ok(())
    });
    // blocking calls that hang in the network must not keep the process
    runtime.shutdown_timeout(Duration::from_secs(5));
    drop(shelter);
    outcome
}

fn config(args: &ServeArgs) -> anyhow::Result<Config> {
    let spool = args.spool.clone().unwrap_or_else(|| std::env::temp_dir().join("halfpipe"));
    Ok(Config {
        api_keys: args.api_keys.iter().filter(|k| !k.is_empty()).cloned().collect(),
        cors_origins: args.cors_origins.clone(),
        most_upload_bytes: args.max_upload_mib.saturating_mul(1 << 20),
        most_waiting: args.waiting as usize,
        running: usize::from(args.jobs),
        lease: Duration::from_secs(args.lease),
        most_attempts: args.attempts,
        job_timeout: args.job_timeout.map(Duration::from_secs),
        pipeline: args.pipeline.clone(),
        planner: args.planner.clone(),
        webhook_secret: args.webhook_secret.clone(),
        webhook_private: args.webhook_private,
        upload_secret: if args.store.is_none() { own_folder(args)?.secret(Config::UPLOAD_SECRET)? } else { None },
        ..Config::new(spool, args.places.guests_dir()?)
    })
}
