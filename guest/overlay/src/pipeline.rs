//! The loop: batches in, frames settled in order, batches out.

use std::collections::{BTreeMap, VecDeque};

use halfpipe_kit::camera::Pinhole;
use halfpipe_kit::fit::Fitter;
use halfpipe_kit::gaps::{self, GapFiller, GapOptions};
use halfpipe_kit::poses::{self, Axes, Camera, CameraModel, Header, Schema, Skeleton};
use halfpipe_kit::skeleton::{JOINT_NAMES, JOINT_PARENTS, KEYPOINT_NAMES, LANDMARK_NAMES};

use crate::convert;
use crate::host::exports::halfpipe::job::runner::{Failure, Report, Spec};
use crate::host::failed;
use crate::host::halfpipe::job::types::Warning;
use crate::host::halfpipe::job::{catalog, objects, progress};
use crate::host::halfpipe::media::frames::FrameBatch;
use crate::host::halfpipe::media::video::Info;
use crate::host::halfpipe::scene::render::Pinhole as WitPinhole;
use crate::options::Options;
use crate::output::{Body, Output, Totals};
use crate::people::People;
use crate::pose::{self, Measured};

/// A batch that waits until all its frames are settled.
struct Held {
    batch: FrameBatch,
    frames: Vec<gaps::Frame<Measured>>,
    length: usize,
}

/// Everything between the frames read and the frames written.
struct Flow<'a> {
    filler: GapFiller<Measured>,
    held: VecDeque<Held>,
    doubtful: BTreeMap<u64, Vec<poses::Person>>,
    output: Output<'a>,
    fitter: &'a Fitter,
    camera: Pinhole,
}

/// Does the job.
pub fn run(job: &Spec, options: &Options) -> Result<Report, Failure> {
    progress::report(progress::Stage::Opening, 0, None);
    let source = objects::open_video("input").map_err(failed)?;
    let info = source.info();
    let rig = catalog::body(options.body_model()).map_err(failed)?;
    let rig = convert::rig(rig).map_err(|e| Failure::BadModel(format!("{}: {e}", options.body_model())))?;
    let fitter = Fitter::new(&rig).map_err(|e| Failure::BadModel(format!("{}: {e}", options.body_model())))?;
    let (width, height) = (info.size.width, info.size.height);
    let default = Pinhole::for_size(width, height);
    let camera = Pinhole { focal: options.focal.unwrap_or(default.focal), ..default };
    let drawn = WitPinhole { focal: camera.focal as f32, center_x: camera.center[0] as f32, center_y: camera.center[1] as f32 };
    let header = header(job, options, &info, &camera, &fitter)?;
    let mut people = People::new(options, (width, height), camera, &fitter)?;
    let gaps = GapOptions { max_frames: options.max_gap, ..GapOptions::default() };
    let mut flow = Flow {
        filler: GapFiller::new(gaps),
        held: VecDeque::new(),
        doubtful: BTreeMap::new(),
        output: Output::new(options, &job.roles, info.size, drawn, &header)?,
        fitter: &fitter,
        camera,
    };
    while let Some(batch) = source.next(job.batch).map_err(failed)? {
        let first = batch.first_index();
        let times = batch.timestamps();
        flow.held.push_back(Held { length: times.len(), frames: Vec::with_capacity(times.len()), batch });
        for (i, time) in times.iter().enumerate() {
            let Some(held) = flow.held.back() else { break };
            let index = first + i as u64;
            let sighting = people.look(&held.batch, i as u32, index, *time)?;
            flow.take(index, *time, sighting)?;
        }
        if !progress::report(progress::Stage::Running, first + times.len() as u64, info.frames) {
            return Err(Failure::Cancelled);
        }
    }
    let rest = flow.filler.finish();
    flow.settle(rest)?;
    let totals = flow.output.finish()?;
    report(options, &people, totals)
}

impl Flow<'_> {
    /// Takes what was seen in the next frame and writes the batches that are settled by it.
    fn take(&mut self, index: u64, time: f64, sighting: crate::people::Sighting) -> Result<(), Failure> {
        for id in sighting.ended {
            self.filler.end_track(id);
        }
        if !sighting.doubtful.is_empty() {
            self.doubtful.insert(index, sighting.doubtful);
        }
        let settled = self.filler.push(gaps::Frame { index, time, people: sighting.posed });
        self.settle(settled)
    }

    /// Sorts settled frames into their batches and writes those that are complete.
    fn settle(&mut self, settled: Vec<gaps::Frame<Measured>>) -> Result<(), Failure> {
        for frame in settled {
            // frames settle in order, so they belong to the first batch that still misses some
            if let Some(held) = self.held.iter_mut().find(|h| h.frames.len() < h.length) {
                held.frames.push(frame);
            }
        }
        while self.held.front().is_some_and(|h| h.frames.len() == h.length) {
            if let Some(held) = self.held.pop_front() {
                self.write(held)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, held: Held) -> Result<(), Failure> {
        let mut frames = held.frames;
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
                frame.people.iter().enumerate().map(move |(person, p)| Body { frame: f, person, track: p.id, fit: &p.pose.fit })
            })
            .collect();
        self.output.write(held.batch, lines, &bodies)
    }
}

fn names<const N: usize>(names: &[&str; N]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

fn header(job: &Spec, options: &Options, info: &Info, camera: &Pinhole, fitter: &Fitter) -> Result<Header, Failure> {
    let object =
        |text: &str| serde_json::from_str(text).map_err(|e| Failure::Failed(format!("the host's provenance is not an object: {e}")));
    let settings = serde_json::to_string(options).map_err(|e| Failure::Failed(e.to_string()))?;
    Ok(Header {
        schema: Schema::default(),
        video: poses::Video {
            frames: info.frames,
            width: info.size.width,
            height: info.size.height,
            frame_rate: info.frame_rate,
            time_base: None,
            duration: info.duration,
        },
        camera: Camera { model: CameraModel::default(), focal: camera.focal as f32, center: camera.center.map(|c| c as f32) },
        axes: Axes::default(),
        skeleton: Skeleton { joint_names: JOINT_NAMES.map(str::to_owned), parents: JOINT_PARENTS.map(|p| p.map_or(-1, |p| p as i32)) },
        body: poses::Body { name: options.body_model().into(), shape_names: fitter.rig().shape_names().to_vec() },
        keypoint_names: names(&KEYPOINT_NAMES),
        landmark_names: names(&LANDMARK_NAMES),
        settings: object(&settings)?,
        provenance: object(&job.provenance)?,
    })
}

fn report(options: &Options, people: &People, totals: Totals) -> Result<Report, Failure> {
    let mut warnings = Vec::new();
    let mut warn = |code: &str, message: String| warnings.push(Warning { code: code.into(), message });
    if totals.people == 0 {
        warn("no_person", "nobody was found in any frame; the video went out as it came in".into());
    }
    if people.fit_failures > 0 {
        warn("fit_failed", format!("{} poses could not be fitted and were not drawn unless a gap was filled", people.fit_failures));
    }
    Ok(Report {
        frames: totals.frames,
        frames_drawn: totals.frames_drawn,
        people: totals.people,
        tracks: people.tracks(),
        statuses: totals.statuses,
        counts: vec![
            ("detector_frames".into(), people.detector_frames as f64),
            ("landmark_crops".into(), people.crops as f64),
            ("fit_failures".into(), people.fit_failures as f64),
        ],
        settings: serde_json::to_string(options).map_err(|e| Failure::Failed(e.to_string()))?,
        warnings,
    })
}
