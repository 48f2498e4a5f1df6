//! `halfpipe serve`: the HTTP API, and the jobs it takes in.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use halfpipe_queue::SqsQueue;
use halfpipe_runtime::{Limits, RuntimeError};
use halfpipe_service::jobs::ledger::hex;
use halfpipe_service::jobs::{Dispatcher, DispatcherConfig, sweep};
use halfpipe_service::settings::{ApiSettings, JobSettings, Places, StoreSettings};
use halfpipe_service::webhook::outbox;
use halfpipe_service::{App, Config, Engines, Opened, Place, http, server};
use halfpipe_store::{DirectoryStore, EmbeddedServer, ObjectStore, ServerCredentials};
use tokio_util::sync::CancellationToken;

use crate::args::Devices;
use crate::exit::Environment;
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
    /// Where the store is
    #[command(flatten)]
    pub place: StoreSettings,
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

    /// Who may ask for what
    #[command(flatten)]
    pub api: ApiSettings,
    /// Serve strangers: listen beyond loopback without API keys
    #[arg(long, env = "HALFPIPE_INSECURE")]
    pub insecure: bool,

    /// Seconds that running jobs may go on after Ctrl-C before they are handed over
    #[arg(long, env = "HALFPIPE_DRAIN_SECONDS", default_value_t = 10, value_name = "SECONDS")]
    pub drain: u64,
    /// How jobs are worked on
    #[command(flatten)]
    pub work: JobSettings,
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
    match args.place.place()? {
        None => {
            // kept with the folder, so that addresses that were signed outlive this process
            let drawn = own_folder(args)?.secret("s3-server")?.map(|secret| hex(&secret));
            let credentials = ServerCredentials {
                access_key: args.s3_access_key.clone().unwrap_or_else(|| "halfpipe".into()),
                secret: args.s3_secret.clone().or(drawn).context("the folder keeps no secret; give --s3-secret")?,
            };
            let server = EmbeddedServer::start_for_browsers(&args.data, OWN_BUCKET, args.s3_listen, credentials, &args.api.cors_origins)?;
            let place = Place::Bucket(server.config(""));
            Ok(Shelter { opened: place.open()?, place, server: Some(server) })
        }
        Some(place) => Ok(Shelter { opened: place.open()?, place, server: None }),
    }
}

/// Serves until Ctrl-C or SIGTERM.
pub fn serve(args: &ServeArgs) -> anyhow::Result<()> {
    let open_door = !args.listen.ip().is_loopback() && args.api.api_keys.is_empty() && !args.insecure;
    if open_door {
        let message = format!(
            "{} can be reached from elsewhere and there are no API keys; give --api-key KEY, listen on 127.0.0.1, or say --insecure",
            args.listen
        );
        return Err(RuntimeError::BadInput(message).into());
    }
    // stores block, so they are made outside the async runtime
    let shelter = shelter(args)?;
    let results = args.place.results()?.map(|place| place.open()).transpose()?;
    let queue = args.api.queue()?;
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
        if let Some(results) = results {
            app = app.with_results(results.store);
        }
        if let Some(s3) = &shelter.opened.s3 {
            app = app.with_presign(Arc::clone(s3) as _);
        }
        if let Some(queue) = queue {
            app = app.with_queue(Arc::new(SqsQueue::connect(queue).await?));
        }
        let leaving = CancellationToken::new();
        let token = leaving.clone();
        signals::listen(move || {
            eprintln!("leaving: no new jobs; running ones may finish (again to leave at once)");
            token.cancel();
        })?;
        // who reads this may ask the process to leave: it listens to that by now
        println!("halfpipe listens on http://{address}, store: {}", app.store.name());
        if let Some(server) = &shelter.server {
            println!("S3 endpoint {}, bucket {OWN_BUCKET}, folder {}", server.endpoint(), args.data.display());
        }
        // a front door of a queue works on nothing
        if app.queue.get().is_none() {
            let warming = Arc::clone(&app);
            tokio::spawn(async move {
                if let Err(error) = warming.warm().await {
                    tracing::error!(%error, "the default pipeline cannot be used");
                }
            });
        }
        tokio::spawn(sweep::keep_clean(Arc::clone(&app)));
        tokio::spawn(outbox::keep_telling(Arc::clone(&app)));
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

/// Jobs that may wait where the operator does not say.
const WAITING: u32 = 100;

fn config(args: &ServeArgs) -> anyhow::Result<Config> {
    let mut config = Config {
        upload_secret: if args.place.store.is_none() { own_folder(args)?.secret(Config::UPLOAD_SECRET)? } else { None },
        ..args.work.config(args.places.guests_dir()?)
    };
    args.api.set(&mut config, WAITING);
    Ok(config)
}
