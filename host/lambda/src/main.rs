//! `bootstrap`: Halfpipe as an AWS Lambda function. HTTP API v2 and function-URL requests reach the same router as `halfpipe serve`, S3
//! events and SQS batches of the messages that `halfpipe worker` takes the same code as there.
//!
//! Lambda freezes the process between invocations, so an invocation that started a job waits for its end. A job that has not ended
//! when the invocation's time runs out has used up one of its attempts, and the event is retried.

// the engines' types are deep: wgpu's resources stand behind the host
#![recursion_limit = "256"]

mod invocation;
mod settings;

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use clap::Parser;
use halfpipe_queue::SqsQueue;
use halfpipe_service::jobs::{Dispatcher, DispatcherConfig, sweep};
use halfpipe_service::webhook::outbox;
use halfpipe_service::{App, Engines, http};
use lambda_http::lambda_runtime::{self, LambdaEvent, service_fn};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::invocation::Function;
use crate::settings::Settings;

fn main() -> anyhow::Result<()> {
    let begun = Instant::now();
    settle_environment();
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_env("HALFPIPE_LOG").unwrap_or_else(|_| "info,ort=error".into()))
        .with_writer(std::io::stderr)
        .init();
    let settings = Settings::try_parse().map_err(|e| anyhow::anyhow!("the function's variables are wrong: {e}"))?;
    // stores block, so they are made outside the async runtime
    let (store, results) = (settings.store()?, settings.results()?);
    let stored = begun.elapsed();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the async runtime")?;
    let outcome = runtime.block_on(async {
        let engines = Engines::start(settings.host()?).context("cannot start the engines")?;
        let mut app = App::new(settings.config()?, Arc::clone(&store) as _, engines)?.with_presign(store);
        if let Some(results) = results {
            app = app.with_results(results);
        }
        if let Some(queue) = settings.queue()? {
            app = app.with_queue(Arc::new(SqsQueue::connect(queue).await?));
        }
        // Lambda gives its first seconds for nothing: use them for what every job needs
        app.engines.wait().await.map_err(|message| anyhow::anyhow!(message))?;
        let engines_ready = begun.elapsed();
        let warmed = app.warm().await?;
        let milliseconds = |d: std::time::Duration| d.as_millis() as u64;
        tracing::info!(
            store_ms = milliseconds(stored),
            engines_ms = milliseconds(engines_ready.saturating_sub(stored)),
            models = warmed.len(),
            models_failed = warmed.values().filter(|outcome| outcome.is_err()).count(),
            models_ms = milliseconds(begun.elapsed().saturating_sub(engines_ready)),
            total_ms = milliseconds(begun.elapsed()),
            "cold start"
        );
        tokio::spawn(sweep::keep_clean(Arc::clone(&app)));
        tokio::spawn(outbox::keep_telling(Arc::clone(&app)));
        // where there is a queue, jobs are worked on by the invocations that its messages start
        if app.queue.get().is_none() {
            tokio::spawn(Dispatcher::new(Arc::clone(&app), DispatcherConfig::default(), CancellationToken::new()).run());
        }
        let function = Arc::new(Function::new(Arc::clone(&app), http::router(app)));
        let handler = service_fn(move |event: LambdaEvent<Value>| {
            let function = Arc::clone(&function);
            async move { function.handle(event).await }
        });
        lambda_runtime::run(handler).await.map_err(|e| anyhow::anyhow!("the runtime interface ended: {e}"))
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    outcome
}

/// Drivers look for displays and print errors of their own where this variable is not set, as in containers.
#[allow(unsafe_code, reason = "the environment is set before any other thread is started, so nobody can be reading it")]
fn settle_environment() {
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: the first statement of `main`; there is no other thread.
        unsafe { std::env::set_var("XDG_RUNTIME_DIR", std::env::temp_dir()) };
    }
}
