//! `halfpipe:media/slices`: parts of tensors.

use halfpipe_nn::Slice;
use wasmtime::component::Resource;

use crate::bindings::halfpipe::media::errors::Error;
use crate::bindings::halfpipe::media::slices::{Host, Slice as WitSlice};
use crate::error::HostError;
use crate::resources::TensorHandle;
use crate::state::JobState;

/// Most slices of one call.
const MOST_SLICES: usize = 1 << 16;
/// Most bytes that one call gives.
const MOST_BYTES: u64 = 16 << 20;

impl Host for JobState {
    async fn read(&mut self, of: Resource<TensorHandle>, slices: Vec<WitSlice>) -> Result<Vec<u8>, HostError> {
        self.touch();
        if slices.len() > MOST_SLICES {
            return Err(Error::InvalidArgument(format!("{} slices were asked for, at most {MOST_SLICES} are given", slices.len())).into());
        }
        let pending = self.table.get(&of).map_err(wasmtime::Error::from)?.value.clone();
        let booked = pending.wait().await?;
        let element = booked.tensor.ty().bytes() as u64;
        // no overflow: there are fewer than 2^17 slices, each of them of at most 2^64 elements
        let bytes = slices.iter().map(|s| u128::from(s.height) * u128::from(s.width)).sum::<u128>() * u128::from(element);
        if bytes > u128::from(MOST_BYTES) {
            return Err(Error::InvalidArgument(format!("slices of {bytes} bytes were asked for, at most {MOST_BYTES} are given")).into());
        }
        let slice = |s: &WitSlice| Slice {
            plane: s.plane as usize,
            top: s.top as usize,
            left: s.left as usize,
            height: s.height as usize,
            width: s.width as usize,
        };
        let slices: Vec<Slice> = slices.iter().map(slice).collect();
        let found = booked.tensor.slices(&slices).map_err(|e| Error::InvalidArgument(e.to_string()))?;
        self.clock.read(pending.origin(), found.len() as u64);
        Ok(found)
    }
}
