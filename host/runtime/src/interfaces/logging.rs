//! `wasi:logging/logging`: guest logs land in the host's tracing, tagged with job and guest.

use crate::bindings::wasi::logging::logging::{Host, Level};
use crate::state::JobState;

/// Longest message kept; a guest must not flood the log.
const LONGEST: usize = 4096;

impl Host for JobState {
    async fn log(&mut self, level: Level, context: String, message: String) -> wasmtime::Result<()> {
        self.touch();
        let end = message.char_indices().map(|(i, _)| i).take_while(|i| *i <= LONGEST).last().unwrap_or(0);
        let message = if message.len() > LONGEST { &message[..end] } else { &message[..] };
        let (job, guest) = (self.id.as_str(), self.guest.as_str());
        match level {
            Level::Trace => tracing::trace!(target: "guest", job, guest, context, "{message}"),
            Level::Debug => tracing::debug!(target: "guest", job, guest, context, "{message}"),
            Level::Info => tracing::info!(target: "guest", job, guest, context, "{message}"),
            Level::Warn => tracing::warn!(target: "guest", job, guest, context, "{message}"),
            Level::Error | Level::Critical => tracing::error!(target: "guest", job, guest, context, "{message}"),
        }
        Ok(())
    }
}
