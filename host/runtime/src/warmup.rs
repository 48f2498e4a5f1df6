//! Warm-up: models are loaded and run once on zeros before the first job needs them.

use std::time::Instant;

use halfpipe_core::{Pending, StageClock};
use halfpipe_nn::Tensor;

use crate::error::{FaultKind, RuntimeError};
use crate::host::Host;

/// Size taken for a dimension that may be anything, beside the first: a small picture's side.
const ANY: usize = 256;

/// What a model's warm-up took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Warmed {
    /// Seconds to read, check and load it; spent once, maybe earlier.
    pub load_secs: f64,
    /// Seconds of one run with a batch of one. The first run of a process also allocates.
    pub run_secs: f64,
}

impl Host {
    /// Loads a model or body as a job does that needs it, and runs it once on zeros, batch of one.
    ///
    /// # Errors
    /// As [`Host::load_model`]; [`RuntimeError::Reported`] where it loads and does not run.
    pub async fn warm(&self, name: &str) -> Result<Warmed, RuntimeError> {
        let fault = |what: String| RuntimeError::Reported {
            kind: FaultKind::BadModel,
            message: format!("the model {name} was loaded and does not run: {what}"),
        };
        let model = self.load_model(name).await?;
        let inputs = model.ports().inputs.iter().map(|port| {
            let dims: Vec<usize> = port
                .dims
                .iter()
                .enumerate()
                .map(|(i, d)| {
                    if *d > 0 {
                        *d
                    } else if i == 0 {
                        1
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
        for (_, output) in self.shared.nn.compute(&model, inputs, &StageClock::default()).await? {
            output.wait().await.map_err(|e| fault(e.to_string()))?;
        }
        Ok(Warmed { load_secs: model.load_secs(), run_secs: started.elapsed().as_secs_f64() })
    }
}
