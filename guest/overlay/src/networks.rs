//! BlazePose's landmark network: crops in, landmarks out.

use halfpipe_bindings::convert;
use halfpipe_bindings::host::exports::halfpipe::job::runner::Failure;
use halfpipe_bindings::host::failed;
use halfpipe_bindings::host::halfpipe::media::frames::{Crop, FrameBatch, Normalization, Sampling};
use halfpipe_bindings::models::{Named, Network};
use halfpipe_kit::blazepose::{INPUT, Landmarks, Outputs, Roi};

use crate::options::Options;

/// The network.
pub struct Landmarker {
    network: Network,
    norm: Normalization,
}

impl Landmarker {
    /// Loads it.
    pub fn new(options: &Options) -> Result<Self, Failure> {
        let model = options.landmark_model();
        Ok(Self { network: Network::load(model)?, norm: convert::normalization(model)? })
    }

    /// Queues the reading of each crop of frame `index` of a batch.
    pub fn queue<'r>(&self, batch: &FrameBatch, index: u32, rois: &'r [Roi]) -> Result<Reading<'r>, Failure> {
        if rois.is_empty() {
            return Ok(Reading { rois, named: None });
        }
        let crops: Vec<_> = rois.iter().map(|roi| crop(index, roi)).collect();
        let tensor = batch.crops(&crops, &Sampling::Averaged, INPUT, self.norm).map_err(failed)?;
        let named = self.network.compute(vec![("image".into(), tensor)])?;
        Ok(Reading { rois, named: Some(named) })
    }
}

/// A run of the network that was queued.
pub struct Reading<'r> {
    rois: &'r [Roi],
    /// None where there was nothing to read.
    named: Option<Named>,
}

impl Reading<'_> {
    /// The landmarks in each crop, none where the network gave no numbers. Waits for them.
    pub fn landmarks(self) -> Result<Vec<Option<Landmarks>>, Failure> {
        let Some(named) = self.named else { return Ok(Vec::new()) };
        let [landmarks, presence, world_landmarks] = ["landmarks", "presence", "world_landmarks"].map(|name| named.floats(name));
        let outputs = Outputs { landmarks: &landmarks?, presence: &presence?, world_landmarks: &world_landmarks?, heatmap: &named };
        outputs.decode(self.rois)
    }
}

/// A crop of frame `frame` of a batch.
fn crop(frame: u32, roi: &Roi) -> Crop {
    Crop { frame, center_x: roi.center[0], center_y: roi.center[1], side: roi.side, rotation: roi.rotation }
}
