//! `halfpipe:media/errors`: host errors become values for the guest, or traps.

use crate::bindings::halfpipe::media::errors::{Error, Host};
use crate::error::HostError;
use crate::state::JobState;

impl Host for JobState {
    fn convert_error(&mut self, error: HostError) -> wasmtime::Result<Error> {
        match error {
            HostError::Guest(e) => Ok(e),
            HostError::Trap(e) => Err(e),
        }
    }
}
