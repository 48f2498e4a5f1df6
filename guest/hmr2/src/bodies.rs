//! From boxes to bodies: a batch's crops through the network, each body placed and smoothed.

use halfpipe_bindings::host::exports::halfpipe::job::runner::Failure;
use halfpipe_bindings::host::halfpipe::job::progress;
use halfpipe_bindings::host::halfpipe::media::frames::FrameBatch;
use halfpipe_kit::camera::Pinhole;
use halfpipe_kit::gaps;
use halfpipe_kit::hmr2::{self, Estimate, PersonCrop};
use halfpipe_kit::poses;
use halfpipe_kit::rig::{Rig, RigError};
use halfpipe_kit::smooth::{BodyOptions, BodySmoothers};
use halfpipe_kit::track::{Sight, TrackId};

use crate::network::Network;
use crate::options::Options;
use crate::pose::{self, Measured};

/// A person of a frame and the crop that shows them; none for a box without area.
type Cropped = (gaps::Person<Sight>, Option<PersonCrop>);

/// One frame's people.
pub struct Posed {
    /// With a body.
    pub frame: gaps::Frame<Measured>,
    /// Those whose body could not be placed.
    pub doubtful: Vec<poses::Person>,
}

/// Gives people bodies.
pub struct Bodies {
    /// The network.
    pub network: Network,
    smoothers: Option<BodySmoothers>,
    /// The body's rig.
    pub rig: Rig,
    /// The frame's camera.
    pub camera: Pinhole,
    body: String,
    /// People for whom the network gave no body, or one behind the camera.
    pub failures: u64,
}

impl Bodies {
    /// Loads the network.
    pub fn new(options: &Options, rig: Rig, camera: Pinhole) -> Result<Self, Failure> {
        let smoothers = options.smoothing.then(|| BodySmoothers::new(BodyOptions::default()));
        let network = Network::new(&options.network, options.crop_batch)?;
        Ok(Self { network, smoothers, rig, camera, body: options.body.clone(), failures: 0 })
    }

    /// Forgets somebody who is gone.
    pub fn forget(&mut self, id: TrackId) {
        if let Some(smoothers) = &mut self.smoothers {
            smoothers.remove(id);
        }
    }

    /// The bodies of all people in a batch's frames, in the order of the video.
    pub fn pose(&mut self, batch: &FrameBatch, frames: Vec<gaps::Frame<Sight>>) -> Result<Vec<Posed>, Failure> {
        let mut crops = Vec::new();
        let mut cropped: Vec<(u64, f64, Vec<Cropped>)> = Vec::with_capacity(frames.len());
        for (i, frame) in frames.into_iter().enumerate() {
            let people: Vec<Cropped> = frame
                .people
                .into_iter()
                .map(|person| {
                    let crop = PersonCrop::from_box(&person.pose.bbox);
                    crops.extend(crop.map(|crop| (i as u32, crop)));
                    (person, crop)
                })
                .collect();
            cropped.push((frame.index, frame.time, people));
        }
        let mut estimates = self.network.read(batch, &crops)?.into_iter();
        progress::section("fit");
        let mut posed = Vec::with_capacity(cropped.len());
        for (index, time, people) in cropped {
            let mut out = Posed { frame: gaps::Frame { index, time, people: Vec::new() }, doubtful: Vec::new() };
            for (person, crop) in people {
                // one estimate for each crop, in their order
                let found = crop.and_then(|crop| Some((crop, estimates.next()??)));
                let measured = found.map(|(crop, estimate)| self.place(&person, time, &crop, &estimate)).transpose();
                let gaps::Person { id, confidence, pose: sight, .. } = person;
                match measured.map_err(|e| Failure::BadModel(format!("{}: {e}", self.body)))?.flatten() {
                    Some((body, joints)) => {
                        let pose = Measured { body, joints, sight };
                        out.frame.people.push(gaps::Person { id, confidence, interpolated: false, pose });
                    }
                    None => {
                        self.failures += 1;
                        out.doubtful.push(pose::doubtful(id, confidence, &sight));
                    }
                }
            }
            posed.push(out);
        }
        progress::section("logic");
        Ok(posed)
    }

    /// The body of one person, before the frame's camera; none where it would stand behind it.
    fn place(
        &mut self,
        person: &gaps::Person<Sight>,
        time: f64,
        crop: &PersonCrop,
        estimate: &Estimate,
    ) -> Result<Option<(halfpipe_kit::body::PlacedBody, halfpipe_kit::body::PlacedJoints)>, RigError> {
        let Some(body) = hmr2::place(estimate, crop, &self.camera, &self.rig)? else { return Ok(None) };
        let body = match &mut self.smoothers {
            Some(smoothers) => smoothers.apply(person.id, time, &body, &self.rig)?,
            None => body,
        };
        Ok(body.joints(&self.rig, &self.camera)?.map(|joints| (body, joints)))
    }
}
