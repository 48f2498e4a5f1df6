//! The loop: batches in, people followed, bodies posed, frames settled in order, batches out.

use std::collections::BTreeMap;

use halfpipe_bindings::convert;
use halfpipe_bindings::detector::Detector;
use halfpipe_bindings::header::{Parts, header};
use halfpipe_bindings::host::exports::halfpipe::job::runner::{Failure, Report, Spec};
use halfpipe_bindings::host::failed;
use halfpipe_bindings::host::halfpipe::job::types::Warning;
use halfpipe_bindings::host::halfpipe::job::{objects, progress};
use halfpipe_bindings::host::halfpipe::media::frames::FrameBatch;
use halfpipe_bindings::output::{Body, Output, Totals};
use halfpipe_kit::flow::Batches;
use halfpipe_kit::gaps::{self, GapFiller, GapOptions};
use halfpipe_kit::hmr2;
use halfpipe_kit::poses;
use halfpipe_kit::skeleton::KEYPOINT_NAMES;
use halfpipe_kit::skeleton::openpose::OPENPOSE_NAMES;
use halfpipe_kit::track::{Followed, Follower, Sight, TrackId};

use crate::bodies::{Bodies, Posed};
use crate::options::Options;
use crate::pose::{self, Measured};

/// What goes with a frame while it waits.
#[derive(Default)]
struct Notes {
    doubtful: Vec<poses::Person>,
    ended: Vec<TrackId>,
}

/// Everything between the frames read and the frames written.
struct Flow {
    detector: Detector,
    follower: Follower,
    /// Batches that wait until it is known who is in their frames.
    followed: Batches<FrameBatch, Sight>,
    bodies: Bodies,
    filler: GapFiller<Measured>,
    /// Batches that wait until no gap can close over their frames.
    posed: Batches<FrameBatch, Measured>,
    notes: BTreeMap<u64, Notes>,
    output: Output,
    /// Frames on which the detector ran.
    detector_frames: u64,
}

/// Does the job.
pub fn run(job: &Spec, mut options: Options) -> Result<Report, Failure> {
    progress::report(progress::Stage::Opening, 0, None);
    let source = objects::open_video("input").map_err(failed)?;
    let info = source.info();
    let size = (info.size.width, info.size.height);
    let rig = convert::body_rig(&options.body)?;
    let betas = rig.shape_names().len();
    if betas != hmr2::BETAS {
        let needs = format!("{} has {betas} shape parameters; HMR2 needs an SMPL body with {}", options.body, hmr2::BETAS);
        return Err(Failure::BadModel(needs));
    }
    let camera = hmr2::frame_camera(size.0, size.1);
    let mut detector = Detector::new(&options.detector, &options.detector_sizes, options.detector_score)?;
    detector.score = options.resolve_scores(detector.score);
    let settings = serde_json::to_string(&options).map_err(|e| Failure::Failed(e.to_string()))?;
    let parts = Parts {
        body: &options.body,
        rig: &rig,
        camera: &camera,
        keypoint_names: if detector.has_keypoints() { &KEYPOINT_NAMES } else { &[] },
        landmark_names: &[],
        openpose_names: &OPENPOSE_NAMES,
        settings: &settings,
    };
    let header = header(job, &info, &parts)?;
    let mut flow = Flow {
        follower: Follower::new(size, options.detector_stride, options.track()),
        detector,
        followed: Batches::default(),
        bodies: Bodies::new(&options, rig, camera)?,
        filler: GapFiller::new(GapOptions { max_frames: options.max_gap, ..GapOptions::default() }),
        posed: Batches::default(),
        notes: BTreeMap::new(),
        output: Output::new(options.style(), &job.roles, info.size, camera, &header)?,
        detector_frames: 0,
    };
    // one batch ahead, so that the last frame is known when it comes
    let mut next = source.next(job.batch).map_err(failed)?;
    while let Some(batch) = next {
        next = source.next(job.batch).map_err(failed)?;
        let done = flow.take(batch, next.is_none())?;
        if !progress::report(progress::Stage::Running, done, info.frames) {
            return Err(Failure::Cancelled);
        }
    }
    flow.finish(settings)
}

impl Flow {
    /// Takes the next batch and writes those that are settled by it. Gives how many frames have been taken.
    fn take(&mut self, batch: FrameBatch, last: bool) -> Result<u64, Failure> {
        let first = batch.first_index();
        let times = batch.timestamps();
        let count = times.len() as u32;
        let due: Vec<u32> = (0..count).filter(|i| self.follower.due(u64::from(*i)) || (last && i + 1 == count)).collect();
        let mut found = due.iter().zip(self.detector.detect(&batch, &due)?).peekable();
        self.detector_frames += due.len() as u64;
        self.followed.hold(batch, times.len());
        for (i, time) in times.iter().enumerate() {
            let looked = found.next_if(|(due, _)| **due as usize == i).map(|(_, people)| people);
            let followed = self.follower.push(first + i as u64, *time, looked);
            self.followed(followed)?;
        }
        Ok(first + u64::from(count))
    }

    /// Poses the people of the batches that are complete.
    fn followed(&mut self, frames: Vec<Followed>) -> Result<(), Failure> {
        let mut settled = Vec::with_capacity(frames.len());
        for Followed { frame, tentative, ended } in frames {
            let doubtful = tentative.into_iter().map(|(id, person)| {
                let (confidence, bbox) = (person.score, person.bbox);
                pose::doubtful(id, confidence, &Sight { bbox, detection: Some(person) })
            });
            self.notes.insert(frame.index, Notes { doubtful: doubtful.collect(), ended });
            settled.push(frame);
        }
        for (batch, frames) in self.followed.settle(settled) {
            let posed = self.bodies.pose(&batch, frames)?;
            self.posed.hold(batch, posed.len());
            for frame in posed {
                self.pass(frame)?;
            }
        }
        Ok(())
    }

    /// Passes a posed frame on through the gap filler, and writes the batches that are settled by it.
    fn pass(&mut self, Posed { frame, doubtful }: Posed) -> Result<(), Failure> {
        let notes = self.notes.entry(frame.index).or_default();
        notes.doubtful.extend(doubtful);
        for id in std::mem::take(&mut notes.ended) {
            self.filler.end_track(id);
            self.bodies.forget(id);
        }
        let settled = self.filler.push(frame);
        self.settle(settled)
    }

    fn settle(&mut self, settled: Vec<gaps::Frame<Measured>>) -> Result<(), Failure> {
        for (batch, frames) in self.posed.settle(settled) {
            self.write(batch, frames)?;
        }
        Ok(())
    }

    fn write(&mut self, batch: FrameBatch, mut frames: Vec<gaps::Frame<Measured>>) -> Result<(), Failure> {
        let mut lines = Vec::with_capacity(frames.len());
        let mut bodies = Vec::new();
        for (f, frame) in frames.iter_mut().enumerate() {
            for person in frame.people.iter_mut().filter(|p| p.interpolated) {
                person.pose.settle(&self.bodies.rig, &self.bodies.camera);
            }
            let mut people: Vec<poses::Person> = frame.people.iter().map(pose::entry).collect();
            let doubtful = self.notes.remove(&frame.index).unwrap_or_default().doubtful;
            people.extend(doubtful.into_iter().filter(|d| frame.people.iter().all(|p| p.id != d.track)));
            lines.push(poses::Frame::new(frame.index, frame.time, people));
            bodies.extend(frame.people.iter().enumerate().map(|(person, p)| Body {
                frame: f,
                person,
                track: p.id,
                placed: p.pose.body.clone(),
            }));
        }
        self.output.write(batch, lines, &bodies)
    }

    /// Settles what still waits, closes the outputs and reports.
    fn finish(mut self, settings: String) -> Result<Report, Failure> {
        let rest = self.follower.finish();
        self.followed(rest)?;
        let rest = self.filler.finish();
        self.settle(rest)?;
        let totals = self.output.finish()?;
        Ok(report(settings, &self.follower, &self.bodies, self.detector_frames, totals))
    }
}

fn report(settings: String, follower: &Follower, bodies: &Bodies, detector_frames: u64, totals: Totals) -> Report {
    let mut warnings = Vec::new();
    let mut warn = |code: &str, message: String| warnings.push(Warning { code: code.into(), message });
    if totals.people == 0 {
        warn("no_person", "nobody was found in any frame; the video went out as it came in".into());
    }
    if bodies.failures > 0 {
        let failures = bodies.failures;
        warn("pose_failed", format!("{failures} people got no usable body and were not drawn unless a gap was filled"));
    }
    Report {
        frames: totals.frames,
        frames_drawn: totals.frames_drawn,
        people: totals.people,
        tracks: follower.people(),
        statuses: totals.statuses(),
        counts: vec![
            ("detector_frames".into(), detector_frames as f64),
            ("filled_boxes".into(), follower.filled() as f64),
            ("crops".into(), bodies.network.crops as f64),
            ("network_runs".into(), bodies.network.runs as f64),
            ("pose_failures".into(), bodies.failures as f64),
        ],
        settings,
        warnings,
    }
}
