//! Frames and poses out: bodies are solved, drawn and written batch by batch; a line follows once its frame is drawn.

use std::collections::{BTreeMap, VecDeque};

use halfpipe_kit::axes;
use halfpipe_kit::body::PlacedBody;
use halfpipe_kit::camera::Pinhole;
use halfpipe_kit::poses::{self, Header, PosesWriter};

use crate::convert;
use crate::host::exports::halfpipe::job::runner::Failure;
use crate::host::failed;
use crate::host::halfpipe::job::objects::{self, File};
use crate::host::halfpipe::media::frames::{FrameBatch, Size};
use crate::host::halfpipe::media::video::{Encoding, Sink};
use crate::host::halfpipe::scene::render::{Coverage, Pinhole as WitPinhole, Placement, Renderer};
use crate::solver::{Solved, Solver, openpose_entry};
use crate::style::Style;

/// Lines are handed over in pieces of about this size.
const CHUNK: usize = 1 << 18;
/// Batches whose lines may wait for their drawing.
const LATE_BATCHES: usize = 2;

/// One body to draw.
pub struct Body {
    /// Frame within the batch.
    pub frame: usize,
    /// Its entry among the frame's people.
    pub person: usize,
    /// Track number, for the colour.
    pub track: u32,
    /// Pose, shape and place.
    pub placed: PlacedBody,
}

/// Where a body's entry is, and where the body stands.
struct Slot {
    frame: usize,
    person: usize,
    translation: [f64; 3],
}

/// Lines that wait for the drawing of their batch.
struct Late {
    frames: Vec<poses::Frame>,
    slots: Vec<Slot>,
    solved: Option<Solved>,
    coverage: Option<Coverage>,
}

/// The video's part.
struct Video {
    renderer: Renderer,
    sink: Sink,
}

/// Everything that is written.
pub struct Output {
    style: Style,
    camera: Pinhole,
    solver: Option<Solver>,
    video: Option<Video>,
    file: Option<(File, PosesWriter)>,
    /// Each pose gets OpenPose's keypoints of its body.
    openpose: bool,
    text: Vec<u8>,
    late: VecDeque<Late>,
    totals: Totals,
}

/// What was written in all.
#[derive(Default)]
pub struct Totals {
    /// Frames.
    pub frames: u64,
    /// Frames in which a body changed pixels.
    pub frames_drawn: u64,
    /// Bodies posed.
    pub people: u64,
    /// Frames by status.
    pub statuses: BTreeMap<&'static str, u64>,
}

impl Totals {
    /// Frames by status, as reports have them.
    #[must_use]
    pub fn statuses(&self) -> Vec<(String, u64)> {
        self.statuses.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect()
    }
}

impl Output {
    /// Starts the outputs that the job was granted. Where the header names OpenPose's keypoints, the body model must give them
    /// (`openpose`, `[n, 25, 3]`, body axes).
    ///
    /// # Errors
    /// Where an output cannot be started or the body model not be loaded.
    pub fn new(style: Style, roles: &[String], size: Size, camera: Pinhole, header: &Header) -> Result<Self, Failure> {
        let granted = |role: &str| roles.iter().any(|r| r == role);
        let video = granted("output").then(|| Video::new(&style, size)).transpose()?;
        let mut text = Vec::new();
        let file = if granted("poses") {
            let file = objects::create_file("poses", "application/jsonl").map_err(failed)?;
            let writer = PosesWriter::new(header, &mut text).map_err(|e| Failure::Failed(e.to_string()))?;
            Some((file, writer))
        } else {
            None
        };
        let openpose = file.is_some() && !header.openpose_names.is_empty();
        let solver = (video.is_some() || openpose).then(|| Solver::new(&style.body)).transpose()?;
        Ok(Self { style, camera, solver, video, file, openpose, text, late: VecDeque::new(), totals: Totals::default() })
    }

    /// Draws and writes one batch with its frames' entries; `bodies` are those to draw.
    ///
    /// # Errors
    /// Where a host call fails.
    pub fn write(&mut self, batch: FrameBatch, frames: Vec<poses::Frame>, bodies: &[Body]) -> Result<(), Failure> {
        self.totals.frames += frames.len() as u64;
        self.totals.people += bodies.len() as u64;
        let mut solved = match &self.solver {
            Some(solver) if !bodies.is_empty() => Some(solver.solve(&bodies.iter().map(|b| &b.placed).collect::<Vec<_>>())?),
            _ => None,
        };
        let coverage = match &self.video {
            Some(video) => video.draw(batch, bodies, solved.as_mut(), &self.style, &self.camera)?,
            None => None,
        };
        let slots = bodies.iter().map(|b| Slot { frame: b.frame, person: b.person, translation: b.placed.translation }).collect();
        self.late.push_back(Late { frames, slots, solved: solved.filter(|_| self.openpose), coverage });
        while self.late.len() > LATE_BATCHES {
            self.settle()?;
        }
        Ok(())
    }

    /// Waits for the oldest batch's drawing and writes its lines.
    fn settle(&mut self) -> Result<(), Failure> {
        let Some(Late { mut frames, slots, solved, coverage }) = self.late.pop_front() else { return Ok(()) };
        if let Some(coverage) = coverage {
            for (slot, pixels) in slots.iter().zip(coverage.pixels().map_err(failed)?) {
                frames[slot.frame].people[slot.person].mesh_drawn = pixels > 0;
            }
        }
        if let Some(solved) = solved {
            for (slot, points) in slots.iter().zip(solved.openpose()?) {
                if let Some(pose) = &mut frames[slot.frame].people[slot.person].pose {
                    pose.openpose = Some(openpose_entry(&points, slot.translation, &self.camera));
                }
            }
        }
        for frame in frames {
            self.totals.frames_drawn += u64::from(frame.people.iter().any(|p| p.mesh_drawn));
            *self.totals.statuses.entry(status_name(frame.status)).or_default() += 1;
            if let Some((_, writer)) = &mut self.file {
                writer.write(&frame, &mut self.text).map_err(|e| Failure::Failed(e.to_string()))?;
            }
        }
        if self.text.len() > CHUNK { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if let Some((file, _)) = &self.file {
            file.append(&self.text).map_err(failed)?;
        }
        self.text.clear();
        Ok(())
    }

    /// Writes what is left and closes everything.
    ///
    /// # Errors
    /// Where a host call fails.
    pub fn finish(mut self) -> Result<Totals, Failure> {
        while !self.late.is_empty() {
            self.settle()?;
        }
        self.flush()?;
        if let Some((file, _)) = self.file.take() {
            File::finish(file).map_err(failed)?;
        }
        if let Some(video) = self.video.take() {
            Sink::finish(video.sink).map_err(failed)?;
        }
        Ok(self.totals)
    }
}

impl Video {
    fn new(style: &Style, size: Size) -> Result<Self, Failure> {
        let renderer = Renderer::open(size, style.look()).map_err(failed)?;
        let encoding = Encoding { size: renderer.output_size(), quality: None };
        let sink = objects::create_video("output", encoding).map_err(failed)?;
        Ok(Self { renderer, sink })
    }

    /// Draws and writes; nothing here waits for pixels or vertices.
    fn draw(
        &self,
        batch: FrameBatch,
        bodies: &[Body],
        solved: Option<&mut Solved>,
        style: &Style,
        camera: &Pinhole,
    ) -> Result<Option<Coverage>, Failure> {
        let meshes = solved.map(Solved::mesh).transpose()?;
        let placements: Vec<Placement> = bodies
            .iter()
            .map(|b| Placement {
                frame: b.frame as u32,
                rotation: convert::mat3(&axes::CAMERA_FROM_BODY),
                translation: convert::vec3(b.placed.translation),
                colour: style.colour_of(b.track),
            })
            .collect();
        let camera = WitPinhole { focal: camera.focal as f32, center_x: camera.center[0] as f32, center_y: camera.center[1] as f32 };
        let drawing = self.renderer.draw(batch, meshes, &placements, camera).map_err(failed)?;
        self.sink.write(drawing.frames).map_err(failed)?;
        Ok((!bodies.is_empty()).then_some(drawing.coverage))
    }
}

const fn status_name(status: poses::FrameStatus) -> &'static str {
    match status {
        poses::FrameStatus::Detected => "detected",
        poses::FrameStatus::Interpolated => "interpolated",
        poses::FrameStatus::NoPerson => "no_person",
        poses::FrameStatus::LowConfidence => "low_confidence",
        poses::FrameStatus::Error => "error",
    }
}
