//! Frames and poses out: bodies are solved, drawn and written batch by batch; a line follows once its frame is drawn.

use std::collections::{BTreeMap, VecDeque};

use halfpipe_kit::axes;
use halfpipe_kit::fit::Fit;
use halfpipe_kit::poses::{self, Header, PosesWriter};
use halfpipe_kit::skeleton::JOINTS;

use crate::convert;
use crate::host::exports::halfpipe::job::runner::Failure;
use crate::host::failed;
use crate::host::halfpipe::job::objects::{self, File};
use crate::host::halfpipe::media::frames::{FrameBatch, Size};
use crate::host::halfpipe::media::video::{Encoding, Sink};
use crate::host::halfpipe::scene::meshes::MeshBatch;
use crate::host::halfpipe::scene::render::{Coverage, Layout as WitLayout, Look, Pinhole, Placement, Renderer, Rgb, Shading};
use crate::host::wasi::logging::logging;
use crate::host::wasi::nn::inference::GraphExecutionContext;
use crate::host::{bad_model, wasi::nn::tensor::Tensor};
use crate::networks;
use crate::options::{Layout, Options};

/// Lines are handed over in pieces of about this size.
const CHUNK: usize = 1 << 18;
/// Batches whose lines may wait for their drawing.
const LATE_BATCHES: usize = 2;
/// Colours of the second and further people.
const FURTHER_COLOURS: [[u8; 3]; 5] = [[219, 179, 158], [179, 219, 168], [217, 166, 217], [217, 209, 153], [153, 209, 217]];

/// A message for whoever debugs.
pub fn debug(message: &str) {
    logging::log(logging::Level::Debug, "overlay", message);
}

/// One body to draw.
pub struct Body<'a> {
    /// Frame within the batch.
    pub frame: usize,
    /// Its entry among the frame's people.
    pub person: usize,
    /// Track number, for the colour.
    pub track: u32,
    /// The pose.
    pub fit: &'a Fit,
}

/// Lines that wait for the drawing of their batch.
struct Late {
    frames: Vec<poses::Frame>,
    slots: Vec<(usize, usize)>,
    coverage: Option<Coverage>,
}

/// The video's part.
struct Video {
    renderer: Renderer,
    sink: Sink,
    context: GraphExecutionContext,
}

/// Everything that is written.
pub struct Output<'a> {
    options: &'a Options,
    camera: Pinhole,
    video: Option<Video>,
    file: Option<(File, PosesWriter)>,
    text: Vec<u8>,
    late: VecDeque<Late>,
    /// Frames written.
    pub frames: u64,
    /// Frames in which a body changed pixels.
    pub frames_drawn: u64,
    /// Bodies posed.
    pub people: u64,
    /// Frames by status.
    pub statuses: BTreeMap<&'static str, u64>,
}

impl<'a> Output<'a> {
    /// Starts the outputs that the job was granted.
    pub fn new(options: &'a Options, roles: &[String], size: Size, camera: Pinhole, header: &Header) -> Result<Self, Failure> {
        let granted = |role: &str| roles.iter().any(|r| r == role);
        let video = granted("output").then(|| Video::new(options, size)).transpose()?;
        let mut text = Vec::new();
        let file = if granted("poses") {
            let file = objects::create_file("poses", "application/jsonl").map_err(failed)?;
            let writer = PosesWriter::new(header, &mut text).map_err(|e| Failure::Failed(e.to_string()))?;
            Some((file, writer))
        } else {
            None
        };
        let statuses = BTreeMap::new();
        Ok(Self { options, camera, video, file, text, late: VecDeque::new(), frames: 0, frames_drawn: 0, people: 0, statuses })
    }

    /// Draws and writes one batch with its frames' entries; `bodies` are those to draw.
    pub fn write(&mut self, batch: FrameBatch, frames: Vec<poses::Frame>, bodies: &[Body]) -> Result<(), Failure> {
        self.frames += frames.len() as u64;
        self.people += bodies.len() as u64;
        let coverage = match &self.video {
            Some(video) => video.draw(batch, bodies, self.options, self.camera)?,
            None => None,
        };
        let slots = bodies.iter().map(|b| (b.frame, b.person)).collect();
        self.late.push_back(Late { frames, slots, coverage });
        while self.late.len() > LATE_BATCHES {
            self.settle()?;
        }
        Ok(())
    }

    /// Waits for the oldest batch's drawing and writes its lines.
    fn settle(&mut self) -> Result<(), Failure> {
        let Some(Late { mut frames, slots, coverage }) = self.late.pop_front() else { return Ok(()) };
        if let Some(coverage) = coverage {
            for ((frame, person), pixels) in slots.into_iter().zip(coverage.pixels().map_err(failed)?) {
                frames[frame].people[person].mesh_drawn = pixels > 0;
            }
        }
        for frame in frames {
            self.frames_drawn += u64::from(frame.people.iter().any(|p| p.mesh_drawn));
            *self.statuses.entry(status_name(frame.status)).or_default() += 1;
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
        let statuses = self.statuses.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        Ok(Totals { frames: self.frames, frames_drawn: self.frames_drawn, people: self.people, statuses })
    }
}

/// What was written in all.
pub struct Totals {
    /// Frames.
    pub frames: u64,
    /// Frames in which a body changed pixels.
    pub frames_drawn: u64,
    /// Bodies posed.
    pub people: u64,
    /// Frames by status.
    pub statuses: Vec<(String, u64)>,
}

impl Video {
    fn new(options: &Options, size: Size) -> Result<Self, Failure> {
        let layout = match options.layout {
            Layout::Overlay => WitLayout::Overlay,
            Layout::MeshOnly => WitLayout::MeshOnly,
            Layout::SideBySide => WitLayout::SideBySide,
        };
        let look = Look { layout, shading: Shading::Soft, opacity: options.opacity, supersample: options.supersample };
        let renderer = Renderer::open(size, look).map_err(failed)?;
        let encoding = Encoding { size: renderer.output_size(), quality: None };
        let sink = objects::create_video("output", encoding).map_err(failed)?;
        Ok(Self { renderer, sink, context: networks::load(options.body_model())? })
    }

    /// Solves, draws and writes; nothing here waits for pixels or vertices.
    fn draw(&self, batch: FrameBatch, bodies: &[Body], options: &Options, camera: Pinhole) -> Result<Option<Coverage>, Failure> {
        let meshes = if bodies.is_empty() {
            None
        } else {
            let vertices = self.solve(bodies)?;
            Some(MeshBatch::from_vertices(vertices, options.body_model()).map_err(failed)?)
        };
        let placements: Vec<Placement> = bodies
            .iter()
            .map(|b| Placement {
                frame: b.frame as u32,
                rotation: convert::mat3(&axes::CAMERA_FROM_BODY),
                translation: convert::vec3(b.fit.translation),
                colour: colour(b.track, options),
            })
            .collect();
        let drawing = self.renderer.draw(batch, meshes, &placements, camera).map_err(failed)?;
        self.sink.write(drawing.frames).map_err(failed)?;
        Ok((!bodies.is_empty()).then_some(drawing.coverage))
    }

    /// The body model: rotations and shape to vertices, which stay on the host.
    fn solve(&self, bodies: &[Body]) -> Result<Tensor, Failure> {
        let n = bodies.len() as u32;
        let mut rotations = Vec::with_capacity(bodies.len() * JOINTS * 9);
        for b in bodies {
            for local in &b.fit.local {
                convert::push_rows(&mut rotations, local);
            }
        }
        let shape: Vec<f32> = bodies.iter().flat_map(|b| b.fit.betas.iter().map(|v| *v as f32)).collect();
        let width = (shape.len() / bodies.len()) as u32;
        let inputs = vec![
            ("rotations".to_owned(), convert::tensor(&[n, JOINTS as u32, 3, 3], &rotations)),
            ("shape".to_owned(), convert::tensor(&[n, width], &shape)),
        ];
        let outputs = self.context.compute(inputs).map_err(bad_model)?;
        let vertices = outputs.into_iter().find(|(name, _)| name == "vertices");
        vertices.map(|(_, t)| t).ok_or_else(|| Failure::BadModel("the body model has no output vertices".into()))
    }
}

fn colour(track: u32, options: &Options) -> Rgb {
    let further = (track as usize).saturating_sub(1) % (FURTHER_COLOURS.len() + 1);
    let [r, g, b] = if options.one_colour || further == 0 { options.colour } else { FURTHER_COLOURS[further - 1] };
    Rgb { r, g, b }
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
