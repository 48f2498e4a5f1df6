//! Ctrl-C and SIGTERM: the first asks, the second does not.

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use crate::exit;

/// Calls `ask` at the first signal, which is to end things in order. The second signal ends the process at once.
pub fn listen(ask: impl Fn() + Send + 'static) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    tokio::spawn(async move {
        for first in [true, false] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if !first {
                exit::end(130);
            }
            ask();
        }
    });
    Ok(())
}
