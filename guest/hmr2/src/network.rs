//! HMR2 itself: crops in, estimates out, in batches over frames and people.

use halfpipe_bindings::convert;
use halfpipe_bindings::host::exports::halfpipe::job::runner::Failure;
use halfpipe_bindings::host::failed;
use halfpipe_bindings::host::halfpipe::media::frames::{Crop, FrameBatch, Normalization, Sampling};
use halfpipe_bindings::models::{self, Named};
use halfpipe_kit::hmr2::{Estimate, INPUT, Outputs, PersonCrop};

/// The network.
pub struct Network {
    graph: models::Network,
    norm: Normalization,
    /// Crops in one run.
    batch: usize,
    /// Crops read so far.
    pub crops: u64,
    /// Runs so far.
    pub runs: u64,
}

impl Network {
    /// Loads it. `batch` is how many crops it gets at most in one run.
    pub fn new(model: &str, batch: usize) -> Result<Self, Failure> {
        let (graph, norm) = (models::Network::load(model)?, convert::normalization(model)?);
        Ok(Self { graph, norm, batch: batch.max(1), crops: 0, runs: 0 })
    }

    /// What it says of each crop (with its frame within the batch); none where it gave no numbers.
    pub fn read(&mut self, batch: &FrameBatch, crops: &[(u32, PersonCrop)]) -> Result<Vec<Option<Estimate>>, Failure> {
        // all runs are queued before any is waited for
        let mut queued = Vec::with_capacity(crops.len().div_ceil(self.batch));
        for part in crops.chunks(self.batch) {
            queued.push((part.len(), self.queue(batch, part)?));
        }
        self.crops += crops.len() as u64;
        self.runs += queued.len() as u64;
        let mut estimates = Vec::with_capacity(crops.len());
        for (people, outputs) in queued {
            let [global_orient, body_pose] = ["global_orient", "body_pose"].map(|name| outputs.floats(name));
            let [betas, pred_cam] = ["betas", "pred_cam"].map(|name| outputs.floats(name));
            let decoded =
                Outputs { global_orient: &global_orient?, body_pose: &body_pose?, betas: &betas?, pred_cam: &pred_cam? }.decode(people);
            estimates.extend(decoded.map_err(|e| outputs.fault(e))?);
        }
        Ok(estimates)
    }

    fn queue(&self, batch: &FrameBatch, crops: &[(u32, PersonCrop)]) -> Result<Named, Failure> {
        let blur = Sampling::Blurred(crops.iter().map(|(_, crop)| crop.blur).collect());
        let squares: Vec<Crop> = crops
            .iter()
            .map(|(frame, c)| Crop { frame: *frame, center_x: c.center[0], center_y: c.center[1], side: c.side, rotation: 0.0 })
            .collect();
        let tensor = batch.crops(&squares, &blur, INPUT, self.norm).map_err(failed)?;
        self.graph.compute(vec![("img".into(), tensor)])
    }
}
