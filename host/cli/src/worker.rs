//! `halfpipe worker`: takes messages from a queue and works on the jobs they lead to.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::{Arg, Args};
use halfpipe_queue::{SqsConfig, SqsQueue};
use halfpipe_runtime::{HostConfig, Limits, RuntimeError};
use halfpipe_service::queue::{BackOff, Part, Protect, Stage, Status, Worker, WorkerConfig, probes};
use halfpipe_service::settings::{JobSettings, Places, StoreSettings};
use halfpipe_service::webhook::outbox;
use halfpipe_service::{App, AppError, Config, Engines, Place, server};
use halfpipe_store::StoreError;
use tokio_util::sync::CancellationToken;

use crate::args::Devices;
use crate::exit::Environment;
use crate::{places, signals};

const WORKER_EXAMPLES: &str = "\
Examples:
  halfpipe worker --queue https://sqs.eu-west-1.amazonaws.com/123456789012/jobs --store s3://my-bucket/halfpipe
  halfpipe worker --queue http://127.0.0.1:5000/123456789012/jobs --store s3://videos --endpoint http://127.0.0.1:9000
  halfpipe worker --queue URL --store s3://my-bucket --device cuda --renderer hardware --jobs 2 --listen 0.0.0.0:5001
  halfpipe worker --queue URL --store s3://my-bucket --protect-url ecs      # in an ECS service that scales in
  halfpipe worker --queue URL --store s3://my-bucket --idle-exit 30          # for schedulers that start one when there is work
  halfpipe serve --queue URL --store s3://my-bucket/halfpipe                # the front door: announces jobs, works on none

Messages are {\"job\": \"ID\"}, as `halfpipe serve --queue` sends them, and notifications of S3. docs/worker.md has the rest.";

/// A worker's jobs come from other processes.
fn shared(store: Arg) -> Arg {
    store.required(true).help("Where videos, results and job records are: s3://BUCKET/PREFIX, or a folder that all processes share")
}

/// A worker works.
fn some(jobs: Arg) -> Arg {
    let help = "Jobs worked on at once: they share models and cores, so more than one gains little without a GPU";
    jobs.value_parser(clap::value_parser!(u16).range(1..=64)).help(help)
}

/// `halfpipe worker`.
#[derive(Debug, Clone, Args)]
#[command(after_help = WORKER_EXAMPLES, mut_arg("store", shared), mut_arg("jobs", some))]
pub struct WorkerArgs {
    /// Address of the SQS queue, as SQS shows it; credentials as for the AWS command line
    #[arg(long, env = "HALFPIPE_QUEUE_URL", value_name = "URL")]
    pub queue: String,
    /// Where the store is
    #[command(flatten)]
    pub place: StoreSettings,
    /// Address of /livez, /readyz and /metrics
    #[arg(long, env = "HALFPIPE_LISTEN", default_value = "127.0.0.1:5001", value_name = "IP:PORT")]
    pub listen: SocketAddr,

    /// Seconds a message stays invisible; renewed while it is worked on. After so long the messages of a worker that died come again
    #[arg(long, env = "HALFPIPE_HOLD_SECONDS", default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(2..=43200))]
    pub hold: u64,
    /// Longest wait of one request for messages, seconds
    #[arg(long, env = "HALFPIPE_WAIT_SECONDS", default_value_t = 20, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=20))]
    pub wait: u64,
    /// Seconds between two looks of an idle worker for jobs that no message leads to
    #[arg(long, env = "HALFPIPE_LOOK_SECONDS", default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub look: u64,
    /// Seconds that running jobs may go on after SIGTERM before they are handed over
    #[arg(long, env = "HALFPIPE_DRAIN_SECONDS", default_value_t = 10, value_name = "SECONDS")]
    pub drain: u64,
    /// Seconds without anything to do after which it leaves by itself, with exit code 0 [default: never]
    #[arg(long, env = "HALFPIPE_IDLE_EXIT_SECONDS", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub idle_exit: Option<u64>,
    /// Seconds to go on where queue or store refuse in a way that waiting does not mend, such as a queue that was deleted
    #[arg(long, env = "HALFPIPE_PATIENCE_SECONDS", default_value_t = 300, value_name = "SECONDS")]
    pub patience: u64,
    /// Address to tell when work begins and ends, in the form of the ECS agent's scale-in protection; `ecs` for that agent
    #[arg(long, env = "HALFPIPE_PROTECT_URL", value_name = "URL|ecs", conflicts_with = "protect_command")]
    pub protect_url: Option<String>,
    /// Program to call with `begin` and `end` when work begins and ends
    #[arg(long, env = "HALFPIPE_PROTECT_COMMAND", value_name = "PROGRAM")]
    pub protect_command: Option<PathBuf>,
    /// How jobs are worked on; the pipeline's models are loaded before any message is taken
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

/// Works until Ctrl-C or SIGTERM.
pub fn worker(args: &WorkerArgs) -> anyhow::Result<()> {
    let queue = SqsConfig::from_url(&args.queue)?;
    let place = args.place.place()?.filter(|place| !matches!(place, Place::Memory));
    let (Some(place), Some(address)) = (place, &args.place.store) else {
        let message =
            "a worker's jobs come from other processes, which cannot reach its memory; give --store s3://BUCKET/PREFIX or a folder";
        return Err(RuntimeError::BadInput(message.into()).into());
    };
    let results = args.place.results()?;
    let mut config = config(args)?;
    place.set(&mut config);
    let protect = protect(args)?;
    let host = places::config(&args.places, &args.devices, Limits::default())?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().context("cannot start the async runtime")?;
    let outcome = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(args.listen)
            .await
            .map_err(|e| Environment(format!("cannot listen on {} ({e}); give another address by --listen", args.listen)))?;
        let status = Arc::new(Status::default());
        let (leaving, ended) = (CancellationToken::new(), CancellationToken::new());
        let token = leaving.clone();
        signals::listen(move || {
            eprintln!("leaving: no new messages; running jobs may finish (again to leave at once)");
            token.cancel();
        })?;
        // who reads this may ask the process to leave: it listens to that by now
        println!("halfpipe worker of {}, store: {}, probes on http://{}", args.queue, address, listener.local_addr()?);
        // probes answer from the first moment to the last
        let serving = tokio::spawn(server::serve(listener, probes(Arc::clone(&status)), ended.clone()));
        let outcome = Work { args, queue, place, results, config, protect, status, leaving }.run(host).await;
        ended.cancel();
        serving.await.context("the probes ended early")?;
        outcome
    });
    // blocking calls that hang in the network must not keep the process
    runtime.shutdown_timeout(Duration::from_secs(5));
    outcome
}

/// Everything a worker needs, before any of it is connected.
struct Work<'a> {
    args: &'a WorkerArgs,
    queue: SqsConfig,
    place: Place,
    results: Option<Place>,
    config: Config,
    protect: Option<Protect>,
    status: Arc<Status>,
    leaving: CancellationToken,
}

impl Work<'_> {
    /// Connects, loads the models, works. Asked to leave before it works, it just does.
    async fn run(self, host: HostConfig) -> anyhow::Result<()> {
        let (status, leaving, args) = (self.status, self.leaving, self.args);
        let (place, results) = (self.place, self.results);
        let open = async || {
            let (place, results) = (place.clone(), results.clone());
            // stores block
            let both = move || Ok((place.open()?, results.map(|place| place.open()).transpose()?));
            tokio::task::spawn_blocking(both).await.context("the store was lost on the way")
        };
        let Some((opened, results)) =
            patiently(&status, Part::Store, &leaving, async || Ok(open().await?), StoreError::is_transient).await?
        else {
            return Ok(());
        };
        let connect = async || Ok(SqsQueue::connect(self.queue.clone()).await);
        let Some(queue) = patiently(&status, Part::Queue, &leaving, connect, halfpipe_queue::QueueError::is_transient).await? else {
            return Ok(());
        };
        status.reach(Stage::Warming);
        let engines = Engines::start(host).context("cannot start the engines")?;
        let mut app = App::new(self.config, opened.store, engines)?;
        if let Some(results) = results {
            app = app.with_results(results.store);
        }
        tokio::select! {
            warmed = warm(&app) => warmed?,
            () = leaving.cancelled() => return Ok(()),
        }
        // where the front door is a function, which is frozen between requests, nobody else may be there to tell them
        tokio::spawn(outbox::keep_telling(Arc::clone(&app)));
        let config = WorkerConfig {
            hold: Duration::from_secs(args.hold),
            wait: Duration::from_secs(args.wait),
            look: Duration::from_secs(args.look),
            drain: Duration::from_secs(args.drain),
            patience: Duration::from_secs(args.patience),
            protect: self.protect,
            idle_exit: args.idle_exit.map(Duration::from_secs),
            ..WorkerConfig::default()
        };
        Ok(Worker::new(app, Arc::new(queue), status, config, leaving).run().await?)
    }
}

/// Connects as soon as it can be done. None where the process is asked to leave before; an error where waiting does not help.
async fn patiently<T, E>(
    status: &Status,
    part: Part,
    leaving: &CancellationToken,
    connect: impl AsyncFn() -> anyhow::Result<Result<T, E>>,
    transient: impl Fn(&E) -> bool,
) -> anyhow::Result<Option<T>>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let mut back_off = BackOff::default();
    loop {
        let outcome = tokio::select! {
            outcome = connect() => outcome?,
            () = leaving.cancelled() => return Ok(None),
        };
        match outcome {
            Ok(connected) => {
                status.well(part);
                return Ok(Some(connected));
            }
            Err(error) if transient(&error) => {
                tracing::warn!(%error, "cannot connect; trying again");
                status.trouble(part, &error.to_string(), false);
                tokio::select! {
                    () = tokio::time::sleep(back_off.wait()) => {}
                    () = leaving.cancelled() => return Ok(None),
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Loads the models. A worker without them would take messages only to fail the jobs they lead to.
async fn warm(app: &Arc<App>) -> anyhow::Result<()> {
    let warmed = app.warm().await.map_err(|error| match error {
        AppError::Runtime(error) => anyhow::Error::from(error),
        error => Environment(error.to_string()).into(),
    })?;
    for (name, outcome) in warmed {
        outcome.with_context(|| format!("the model {name} cannot be used"))?;
    }
    Ok(())
}

fn protect(args: &WorkerArgs) -> anyhow::Result<Option<Protect>> {
    let bad = |message: String| Err(RuntimeError::BadInput(message).into());
    match (args.protect_url.as_deref(), &args.protect_command) {
        (Some("ecs"), _) => match std::env::var("ECS_AGENT_URI") {
            Ok(agent) => Ok(Some(Protect::Url(format!("{agent}/task-protection/v1/state")))),
            Err(_) => bad("--protect-url ecs needs ECS_AGENT_URI, which the ECS agent sets; leave it out elsewhere".into()),
        },
        (Some(url), _) if url.starts_with("http://") || url.starts_with("https://") => Ok(Some(Protect::Url(url.to_owned()))),
        (Some(url), _) => bad(format!("--protect-url {url} is no address; give http://..., https://... or ecs")),
        (None, Some(program)) => Ok(Some(Protect::Command(program.clone()))),
        (None, None) => Ok(None),
    }
}

fn config(args: &WorkerArgs) -> anyhow::Result<Config> {
    Ok(Config {
        // the queue holds what waits; whoever sends the jobs decides how many
        most_waiting: usize::MAX,
        ..args.work.config(args.places.guests_dir()?)
    })
}
