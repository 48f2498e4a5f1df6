//! One frame: who is there, where they are, and how their bodies stand.

use std::collections::BTreeMap;

use halfpipe_bindings::detector::Detector;
use halfpipe_bindings::host::exports::halfpipe::job::runner::Failure;
use halfpipe_bindings::host::halfpipe::job::progress;
use halfpipe_bindings::host::wasi::logging::logging;
use halfpipe_kit::blazepose::{Landmarks, Roi};
use halfpipe_kit::camera::Pinhole;
use halfpipe_kit::detector::PersonBox;
use halfpipe_kit::fit::{Fit, FitOptions, Fitter, Observation as FitObservation};
use halfpipe_kit::gaps;
use halfpipe_kit::poses;
use halfpipe_kit::shape::ShapeEstimator;
use halfpipe_kit::smooth::{LandmarkOptions, Smoothers};
use halfpipe_kit::track::{DetectorSchedule, Observation, Outcome, TrackId, Tracker};

use crate::ahead::{Ahead, Turn};
use crate::networks::Landmarker;
use crate::options::{DETECTOR, Options};
use crate::pose::{self, Measured};

/// How long somebody out of sight is still looked for in the predicted crop without the detector's help, seconds.
const LOOK_AHEAD: f64 = 0.35;

/// A place to look for somebody.
struct Crop {
    roi: Roi,
    hint: Option<TrackId>,
    detection: Option<PersonBox>,
    /// The crop follows from a detection: a second pass, from the landmarks' own alignment, is worth its price.
    fresh: bool,
}

/// What one frame came to.
pub struct Sighting {
    /// People with a fitted body.
    pub posed: Vec<gaps::Person<Measured>>,
    /// People whose pose is not trusted or could not be fitted.
    pub doubtful: Vec<poses::Person>,
    /// Tracks that ended before this frame.
    pub ended: Vec<TrackId>,
}

/// Follows people from frame to frame.
pub struct People<'a> {
    options: &'a Options,
    camera: Pinhole,
    fitter: &'a Fitter,
    detector: Detector,
    ahead: Ahead,
    landmarker: Landmarker,
    tracker: Tracker,
    schedule: DetectorSchedule,
    smoothers: Smoothers,
    shapes: BTreeMap<TrackId, ShapeEstimator>,
    previous: BTreeMap<TrackId, Fit>,
    /// Frames on which the detector ran.
    pub detector_frames: u64,
    /// Crops that the landmark network read.
    pub crops: u64,
    /// Bodies that could not be fitted.
    pub fit_failures: u64,
}

impl<'a> People<'a> {
    /// Nobody yet. Loads both networks.
    pub fn new(options: &'a Options, size: (u32, u32), camera: Pinhole, fitter: &'a Fitter) -> Result<Self, Failure> {
        Ok(Self {
            options,
            camera,
            fitter,
            detector: Detector::new(DETECTOR, &options.detector_sizes, Some(options.detector_score))?,
            ahead: Ahead::default(),
            landmarker: Landmarker::new(options)?,
            tracker: Tracker::new(size, options.track()),
            schedule: DetectorSchedule::new(options.detector()),
            smoothers: Smoothers::new(LandmarkOptions::default()),
            shapes: BTreeMap::new(),
            previous: BTreeMap::new(),
            detector_frames: 0,
            crops: 0,
            fit_failures: 0,
        })
    }

    /// Different people so far.
    pub fn tracks(&self) -> u32 {
        self.tracker.confirmed()
    }

    /// Looks at the frame whose turn it is.
    pub fn look(&mut self, mut turn: Turn<'_>) -> Result<Sighting, Failure> {
        let crops = self.crops(&turn)?;
        let found = self.read(&mut turn, crops)?;
        let time = turn.time;
        let observations: Vec<Option<Observation>> =
            found.iter().map(|(crop, landmarks)| Observation::from_landmarks(landmarks, crop.hint)).collect();
        let usable: Vec<Observation> = observations.iter().flatten().cloned().collect();
        let update = self.tracker.update(time, &usable);
        let ended: Vec<TrackId> = update.removed.iter().map(|r| r.id).collect();
        for id in &ended {
            self.smoothers.remove(*id);
            self.shapes.remove(id);
            self.previous.remove(id);
        }
        let mut sighting = Sighting { posed: Vec::new(), doubtful: Vec::new(), ended };
        let seen = found.into_iter().zip(observations).filter_map(|(f, o)| o.map(|_| f));
        for ((crop, landmarks), outcome) in seen.zip(update.outcomes) {
            match outcome {
                Outcome::Confirmed(id) => self.pose(id, time, landmarks, crop.detection, &mut sighting),
                Outcome::Tentative(id) => sighting.doubtful.push(pose::doubtful(id, &landmarks, crop.detection.as_ref())),
                Outcome::Ghost(_) | Outcome::Ignored => {}
            }
        }
        Ok(sighting)
    }

    /// Where to look: crops that follow from the last frames, and those of the detector where it is due.
    fn crops(&mut self, turn: &Turn<'_>) -> Result<Vec<Crop>, Failure> {
        let (index, time) = (turn.index, turn.time);
        let mut detections: Vec<(PersonBox, Observation, Option<TrackId>)> = Vec::new();
        if let Some(reason) = self.schedule.due(index, time, &self.tracker) {
            self.schedule.ran(index, time);
            self.detector_frames += 1;
            let sizes = self.options.sizes_for(reason);
            let found = match self.ahead.take(index, &sizes) {
                Some(look) => self.detector.people(&look)?,
                None => self.detector.detect_at(turn.batch, &[turn.at], &sizes)?,
            };
            let found = found.into_iter().flatten();
            let found: Vec<(PersonBox, Observation)> = found.filter_map(|p| Observation::from_person(&p).map(|o| (p, o))).collect();
            let candidates: Vec<Observation> = found.iter().map(|(_, o)| o.clone()).collect();
            let ids = self.tracker.assign(time, &candidates);
            detections = found.into_iter().zip(ids).map(|((d, o), id)| (d, o, id)).collect();
        } else {
            self.ahead.give_up(index);
        }
        let mut crops = Vec::new();
        for p in self.tracker.predict(time).into_iter().filter(|p| !p.shadowed) {
            let mine = detections.iter().find(|(_, _, id)| *id == Some(p.id));
            let trusted = p.fault.is_none() && p.unseen <= LOOK_AHEAD;
            match mine {
                Some((d, _, _)) if trusted => crops.push(Crop { roi: p.roi, hint: Some(p.id), detection: Some(d.clone()), fresh: false }),
                Some((d, o, _)) => crops.push(Crop { roi: o.roi, hint: Some(p.id), detection: Some(d.clone()), fresh: true }),
                None if trusted => crops.push(Crop { roi: p.roi, hint: Some(p.id), detection: None, fresh: false }),
                // the detector will be asked again soon
                None => {}
            }
        }
        let room = (2 * self.options.people).saturating_sub(crops.len());
        let new = detections.into_iter().filter(|(_, _, id)| id.is_none()).take(room);
        crops.extend(new.map(|(d, o, _)| Crop { roi: o.roi, hint: None, detection: Some(d), fresh: true }));
        Ok(crops)
    }

    /// Reads the landmarks of all crops; those that hold nobody are left out.
    fn read(&mut self, turn: &mut Turn<'_>, crops: Vec<Crop>) -> Result<Vec<(Crop, Landmarks)>, Failure> {
        self.crops += crops.len() as u64;
        let rois: Vec<Roi> = crops.iter().map(|c| c.roi).collect();
        let first = self.landmarker.queue(turn.batch, turn.at, &rois)?;
        // while the landmarks are read, and then followed and fitted
        self.ahead.queue(turn, &self.detector, self.options, &self.schedule, &self.tracker)?;
        let first = first.landmarks()?;
        let mut found: Vec<(Crop, Landmarks)> = crops.into_iter().zip(first).filter_map(|(c, l)| Some((c, l?))).collect();
        let again = |crop: &Crop, l: &Landmarks| {
            let wanted = (crop.fresh || self.options.landmark_passes > 1) && l.presence >= self.options.presence;
            wanted.then(|| Roi::from_landmarks(l)).flatten()
        };
        let second: Vec<(usize, Roi)> = found.iter().enumerate().filter_map(|(i, (crop, l))| again(crop, l).map(|roi| (i, roi))).collect();
        self.crops += second.len() as u64;
        let rois: Vec<Roi> = second.iter().map(|(_, roi)| *roi).collect();
        for ((i, _), landmarks) in second.iter().zip(self.landmarker.queue(turn.batch, turn.at, &rois)?.landmarks()?) {
            if let Some(landmarks) = landmarks {
                found[*i].1 = landmarks;
            }
        }
        Ok(found)
    }

    /// Smooths and fits somebody who is believed in.
    fn pose(&mut self, id: TrackId, time: f64, landmarks: Landmarks, detection: Option<PersonBox>, sighting: &mut Sighting) {
        let mut landmarks = if self.options.smoothing { self.smoothers.apply(id, time, &landmarks) } else { landmarks };
        progress::section("fit");
        landmarks.world = self.camera.rotate_to_ray(landmarks.roi.center.map(f64::from), &landmarks.world);
        let fit = self.fit(id, &landmarks);
        progress::section("logic");
        match fit {
            Some(fit) => {
                let confidence = Measured::confidence(&landmarks);
                sighting.posed.push(gaps::Person { id, confidence, interpolated: false, pose: Measured { landmarks, fit, detection } });
            }
            None => {
                self.fit_failures += 1;
                sighting.doubtful.push(pose::doubtful(id, &landmarks, detection.as_ref()));
            }
        }
    }

    fn fit(&mut self, id: TrackId, landmarks: &Landmarks) -> Option<Fit> {
        let shape = self.shapes.entry(id).or_default();
        let betas = shape.add(self.fitter.shape(), &landmarks.world, &landmarks.visibility).ok()?;
        let observation = FitObservation { image: &landmarks.image, visibility: &landmarks.visibility, world: &landmarks.world };
        let options =
            FitOptions { steps: self.options.fit_steps, betas: Some(&betas), previous: self.previous.get(&id), ..FitOptions::default() };
        match self.fitter.fit(&observation, &self.camera, &options) {
            Ok(fit) => {
                self.previous.insert(id, fit.clone());
                Some(fit)
            }
            Err(e) => {
                logging::log(logging::Level::Debug, "overlay", &format!("track {id}: {e}"));
                self.previous.remove(&id);
                None
            }
        }
    }
}
