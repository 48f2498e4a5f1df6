//! The `halfpipe` command: run jobs, serve them, take them from a queue, check the machine, look at models and guests, measure.

// the engines' types are deep: wgpu's resources stand behind the host
#![recursion_limit = "256"]

mod args;
mod bar;
mod bench;
mod doctor;
mod exit;
mod guests;
mod join;
mod models;
mod places;
mod recipes;
mod run;
mod serve;
mod signals;
mod split;
mod summary;
mod worker;

use clap::Parser;

use crate::args::{Cli, Command};

fn main() -> ! {
    settle_environment();
    let cli = Cli::parse();
    let as_json = match &cli.command {
        Command::Serve(args) => args.log_json,
        Command::Worker(args) => args.log_json,
        _ => false,
    };
    init_logging(cli.verbose, as_json);
    let outcome = match cli.command {
        Command::Run(args) => run::run(*args),
        Command::Split(args) => split::split(&args),
        Command::Join(args) => join::join(&args),
        Command::Serve(args) => serve::serve(&args),
        Command::Worker(args) => worker::worker(&args),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Models(args) => models::models(&args),
        Command::Guest(args) => guests::guest(&args),
        Command::Bench(args) => bench::bench(&args),
    };
    exit::finish(outcome)
}

/// Drivers look for displays and print errors of their own where this variable is not set, as in containers.
#[allow(unsafe_code, reason = "the environment is set before any other thread is started, so nobody can be reading it")]
fn settle_environment() {
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: the first statement of `main`; there is no other thread.
        unsafe { std::env::set_var("XDG_RUNTIME_DIR", std::env::temp_dir()) };
    }
}

/// Logs go to stderr; `HALFPIPE_LOG` takes filter directives such as `halfpipe=debug,guest=trace`.
fn init_logging(verbose: u8, as_json: bool) {
    use std::io::IsTerminal;
    use tracing_subscriber::EnvFilter;
    let default = match verbose {
        0 => "warn,ort=error",
        1 => "info,ort=warn,wgpu=warn",
        _ => "debug,ort=info,wgpu=info,wasmtime=info,cranelift=info",
    };
    let filter = EnvFilter::try_from_env("HALFPIPE_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if as_json {
        lines.json().with_current_span(true).init();
    } else {
        lines.with_ansi(std::io::stderr().is_terminal()).init();
    }
}
