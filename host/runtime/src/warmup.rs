//! Warm-up: models are loaded and run on zeros, at the batch sizes that jobs use, before the first job needs them.

use std::time::Instant;

use halfpipe_core::{Pending, StageClock};
use halfpipe_nn::{ModelHandle, Tensor};

use crate::error::{FaultKind, RuntimeError};
use crate::host::Host;

/// Size taken for a dimension that may be anything, beside the first: a small picture's side.
const ANY: usize = 256;

/// What a model's warm-up took.
#[derive(Debug, Clone, PartialEq)]
pub struct Warmed {
    /// Seconds to read, check and load it; spent once, maybe earlier.
    pub load_secs: f64,
    /// Its runs, in the order asked for. A model that takes one batch size only has run once, with that.
    pub runs: Vec<WarmRun>,
}

/// One run of a model on zeros.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WarmRun {
    /// Size of the batch.
    pub batch: usize,
    /// Seconds. The first run of a size also allocates for it.
    pub secs: f64,
}

impl Host {
    /// Loads a model or body as a job does that needs it, and runs it on zeros, once for each batch size.
    ///
    /// # Errors
    /// As [`Host::load_model`]; [`RuntimeError::Reported`] where it loads and does not run.
    pub async fn warm(&self, name: &str, batches: &[usize]) -> Result<Warmed, RuntimeError> {
        let model = self.load_model(name).await?;
        let mut runs: Vec<WarmRun> = Vec::new();
        for batch in batches {
            // where no input leaves its first dimension free, the model decides
            let free = model.ports().inputs.iter().any(|port| port.dims.first().is_some_and(|d| *d == 0));
            let fixed = model.ports().inputs.iter().find_map(|port| port.dims.first().copied());
            let batch = if free { *batch } else { fixed.unwrap_or(1) };
            if runs.iter().all(|run| run.batch != batch) {
                runs.push(WarmRun { batch, secs: self.run_on_zeros(name, &model, batch).await? });
            }
        }
        Ok(Warmed { load_secs: model.load_secs(), runs })
    }

    /// Seconds of one run.
    async fn run_on_zeros(&self, name: &str, model: &ModelHandle, batch: usize) -> Result<f64, RuntimeError> {
        let fault = |what: String| RuntimeError::Reported {
            kind: FaultKind::BadModel,
            message: format!("the model {name} was loaded and does not run on a batch of {batch}: {what}"),
        };
        let inputs = model.ports().inputs.iter().map(|port| {
            let dims: Vec<usize> = port
                .dims
                .iter()
                .enumerate()
                .map(|(i, d)| {
                    if *d > 0 {
                        *d
                    } else if i == 0 {
                        batch
                    } else {
                        ANY
                    }
                })
                .collect();
            let zeros = vec![0; dims.iter().product::<usize>() * port.ty.bytes()];
            let tensor = Tensor::from_bytes(dims, port.ty, &zeros).map_err(|e| fault(e.to_string()))?;
            Ok((port.name.clone(), Pending::ready(tensor)))
        });
        let inputs = inputs.collect::<Result<Vec<_>, RuntimeError>>()?;
        let started = Instant::now();
        for (_, output) in self.shared.nn.compute(model, inputs, &StageClock::default()).await? {
            output.wait().await.map_err(|e| fault(e.to_string()))?;
        }
        Ok(started.elapsed().as_secs_f64())
    }
}
