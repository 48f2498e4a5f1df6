//! The loop: batches in, frames settled in order, batches out.

use std::collections::BTreeMap;

use halfpipe_bindings::convert;
use halfpipe_bindings::header::{Parts, header};
use halfpipe_bindings::host::exports::halfpipe::job::runner::{Failure, Report, Spec};
use halfpipe_bindings::host::failed;
use halfpipe_bindings::host::halfpipe::job::types::Warning;
use halfpipe_bindings::host::halfpipe::job::{objects, progress};
use halfpipe_bindings::host::halfpipe::media::frames::FrameBatch;
use halfpipe_bindings::output::{Body, Output, Totals};
use halfpipe_kit::camera::Pinhole;
use halfpipe_kit::fit::Fitter;
use halfpipe_kit::flow::Batches;
use halfpipe_kit::gaps::{self, GapFiller, GapOptions};
use halfpipe_kit::poses;
use halfpipe_kit::skeleton::{KEYPOINT_NAMES, LANDMARK_NAMES};

use crate::ahead::Turn;
use crate::options::Options;
use crate::people::{People, Sighting};
use crate::pose::{self, Measured};
use crate::reader::{Batch, Reader};

/// Everything between the frames read and the frames written.
struct Flow<'a> {
    filler: GapFiller<Measured>,
    batches: Batches<FrameBatch, Measured>,
    doubtful: BTreeMap<u64, Vec<poses::Person>>,
    output: Output,
    fitter: &'a Fitter,
    camera: Pinhole,
}

/// Does the job.
pub fn run(job: &Spec, options: &Options) -> Result<Report, Failure> {
    progress::report(progress::Stage::Opening, 0, None);
    let source = objects::open_video("input").map_err(failed)?;
    let info = source.info();
    let rig = convert::body_rig(options.body_model())?;
    let fitter = Fitter::new(&rig).map_err(|e| Failure::BadModel(format!("{}: {e}", options.body_model())))?;
    let (width, height) = (info.size.width, info.size.height);
    let default = Pinhole::for_size(width, height);
    let camera = Pinhole { focal: options.focal.unwrap_or(default.focal), ..default };
    let settings = serde_json::to_string(options).map_err(|e| Failure::Failed(e.to_string()))?;
    let parts = Parts {
        body: options.body_model(),
        rig: &rig,
        camera: &camera,
        keypoint_names: &KEYPOINT_NAMES,
        landmark_names: &LANDMARK_NAMES,
        openpose_names: &[],
        settings: &settings,
    };
    let header = header(job, &info, &parts)?;
    let mut people = People::new(options, (width, height), camera, &fitter)?;
    let mut flow = Flow {
        filler: GapFiller::new(GapOptions { max_frames: options.max_gap, ..GapOptions::default() }),
        batches: Batches::default(),
        doubtful: BTreeMap::new(),
        output: Output::new(options.style(), &job.roles, info.size, camera, &header)?,
        fitter: &fitter,
        camera,
    };
    let mut reader = Reader::new(source, job.batch);
    while let Some(Batch { frames, first, times }) = reader.next()? {
        flow.batches.hold(frames, times.len());
        for (i, time) in times.iter().enumerate() {
            let Some(batch) = flow.batches.last() else { break };
            let index = first + i as u64;
            let turn = Turn { batch, at: i as u32, index, time: *time, later: &times[i + 1..], reader: &mut reader };
            let sighting = people.look(turn)?;
            flow.take(index, *time, sighting)?;
        }
        if !progress::report(progress::Stage::Running, first + times.len() as u64, info.frames) {
            return Err(Failure::Cancelled);
        }
    }
    let rest = flow.filler.finish();
    flow.settle(rest)?;
    let totals = flow.output.finish()?;
    Ok(report(settings, &people, totals))
}

impl Flow<'_> {
    /// Takes what was seen in the next frame and writes the batches that are settled by it.
    fn take(&mut self, index: u64, time: f64, sighting: Sighting) -> Result<(), Failure> {
        for id in sighting.ended {
            self.filler.end_track(id);
        }
        if !sighting.doubtful.is_empty() {
            self.doubtful.insert(index, sighting.doubtful);
        }
        let settled = self.filler.push(gaps::Frame { index, time, people: sighting.posed });
        self.settle(settled)
    }

    /// Writes the batches that settled frames complete.
    fn settle(&mut self, settled: Vec<gaps::Frame<Measured>>) -> Result<(), Failure> {
        for (batch, frames) in self.batches.settle(settled) {
            self.write(batch, frames)?;
        }
        Ok(())
    }

    fn write(&mut self, batch: FrameBatch, mut frames: Vec<gaps::Frame<Measured>>) -> Result<(), Failure> {
        let mut lines = Vec::with_capacity(frames.len());
        for frame in &mut frames {
            for person in frame.people.iter_mut().filter(|p| p.interpolated) {
                person.pose.settle(self.fitter.rig(), &self.camera);
            }
            let mut people: Vec<poses::Person> = frame.people.iter().map(pose::entry).collect();
            let doubtful = self.doubtful.remove(&frame.index).unwrap_or_default();
            people.extend(doubtful.into_iter().filter(|d| frame.people.iter().all(|p| p.id != d.track)));
            lines.push(poses::Frame::new(frame.index, frame.time, people));
        }
        let bodies: Vec<Body> = frames
            .iter()
            .enumerate()
            .flat_map(|(f, frame)| {
                let body = move |(person, p): (usize, &gaps::Person<Measured>)| Body {
                    frame: f,
                    person,
                    track: p.id,
                    placed: p.pose.fit.placed(),
                };
                frame.people.iter().enumerate().map(body)
            })
            .collect();
        self.output.write(batch, lines, &bodies)
    }
}

fn report(settings: String, people: &People, totals: Totals) -> Report {
    let mut warnings = Vec::new();
    let mut warn = |code: &str, message: String| warnings.push(Warning { code: code.into(), message });
    if totals.people == 0 {
        warn("no_person", "nobody was found in any frame; the video went out as it came in".into());
    }
    if people.fit_failures > 0 {
        warn("fit_failed", format!("{} poses could not be fitted and were not drawn unless a gap was filled", people.fit_failures));
    }
    Report {
        frames: totals.frames,
        frames_drawn: totals.frames_drawn,
        people: totals.people,
        tracks: people.tracks(),
        statuses: totals.statuses(),
        counts: vec![
            ("detector_frames".into(), people.detector_frames as f64),
            ("landmark_crops".into(), people.crops as f64),
            ("fit_failures".into(), people.fit_failures as f64),
        ],
        settings,
        warnings,
    }
}
