//! The drawing of one batch, on the lane's thread.
//!
//! Frame by frame the bodies are placed and grouped into patches, and patches gathered on sheets. A full sheet is submitted; while
//! the device draws it the next one is prepared, and a sheet is read back and blended once [`SHEETS_IN_FLIGHT`] are under way.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use halfpipe_core::{
    FrameBatch, Layout, Pending, PendingError, Picture, Pinhole, Placement, Shading, StageClock, Topology, VertexBatch, VideoFormat,
};

use crate::body_pass::{BodyPass, SheetResources};
use crate::canvas::Canvas;
use crate::device::Gpu;
use crate::error::RenderError;
use crate::gpu_data::BodyInstance;
use crate::ink::Ink;
use crate::lane::Stop;
use crate::mesh;
use crate::patch::{Patch, Rect, group};
use crate::readback::PendingRead;
use crate::resolve::Samples;
use crate::scratch::Scratch;
use crate::sheet::{PlacedBody, PlacedPatch};
use crate::topology::{Faces, TopologyCache};

/// Sheets that may be under way on the device at once.
const SHEETS_IN_FLIGHT: usize = 2;

/// What to draw.
pub(crate) struct DrawJob {
    pub(crate) frames: FrameBatch,
    pub(crate) bodies: Option<VertexBatch>,
    /// Placement i is that of body i.
    pub(crate) placements: Vec<Placement>,
    pub(crate) camera: Pinhole,
    pub(crate) layout: Layout,
    pub(crate) shading: Shading,
    /// In 256ths.
    pub(crate) opacity: u16,
    /// Samples along each axis of a pixel, 1 or 2.
    pub(crate) supersample: u32,
}

/// What came of it.
pub(crate) struct Drawn {
    pub(crate) pictures: Vec<Arc<Picture>>,
    /// Changed pixels of each placement.
    pub(crate) coverage: Vec<u32>,
}

/// Why a batch could not be drawn.
#[derive(Debug)]
pub(crate) enum DrawFailure {
    /// Something it depends on never came.
    Input(PendingError),
    /// Its own fault or the device's.
    Render(RenderError),
}

impl From<RenderError> for DrawFailure {
    fn from(e: RenderError) -> Self {
        Self::Render(e)
    }
}

/// What all batches of a lane share.
pub(crate) struct Studio {
    pub(crate) gpu: Gpu,
    pub(crate) pass: BodyPass,
    pub(crate) topologies: TopologyCache,
}

impl Studio {
    /// Draws one batch. Waits for its pictures and vertices until `stop`; books its stages in `clock`.
    pub(crate) fn draw(&mut self, scratch: &mut Scratch, job: DrawJob, stop: &Stop, clock: &StageClock) -> Result<Drawn, DrawFailure> {
        let Self { gpu, pass, topologies } = self;
        gpu.check()?;
        let DrawJob { frames: FrameBatch { format, pts, pictures, .. }, bodies, placements, camera, layout, shading, opacity, supersample } =
            job;
        let bodies = match bodies.filter(|_| !placements.is_empty()) {
            None => None,
            Some(VertexBatch { count, topology, positions }) => {
                let wait = || stop.wait(positions).map_err(DrawFailure::Input);
                let positions = clock.time("draw: wait for vertices", count as u64, wait)?;
                let vertices = topology.vertices;
                if Some(positions.len()) != count.checked_mul(vertices as usize * 3) {
                    return Err(RenderError::VertexCount { got: positions.len(), bodies: count, vertices }.into());
                }
                Some(Bodies { faces: topologies.faces(gpu, &topology)?, topology, positions })
            }
        };
        // what an earlier batch that failed may have left behind
        scratch.sheet.clear();
        let batch = BatchDraw {
            gpu,
            pass,
            scratch,
            stop,
            clock,
            coverage: vec![0; placements.len()],
            placements,
            camera,
            shading,
            opacity,
            supersample,
            pictures: Pictures { pending: pictures, count: pts.len(), format, layout, canvas: None },
            in_flight: VecDeque::new(),
        };
        batch.run(bodies)
    }
}

/// The vertices of a batch, there and checked.
struct Bodies {
    topology: Arc<Topology>,
    faces: Arc<Faces>,
    positions: Arc<Vec<f32>>,
}

impl Bodies {
    /// x, y, z of each vertex of one body.
    fn of(&self, body: usize) -> &[f32] {
        let values = self.topology.vertices as usize * 3;
        &self.positions[body * values..(body + 1) * values]
    }
}

/// The pictures of a batch, waited for when they are first needed.
struct Pictures {
    pending: Pending<Vec<Arc<Picture>>>,
    count: usize,
    format: VideoFormat,
    layout: Layout,
    canvas: Option<Canvas>,
}

impl Pictures {
    fn canvas(&mut self, stop: &Stop, clock: &StageClock) -> Result<&mut Canvas, DrawFailure> {
        match &mut self.canvas {
            Some(canvas) => Ok(canvas),
            none => {
                // our handle goes, so that pictures which nobody else holds can be drawn into in place
                let pending = std::mem::replace(&mut self.pending, Pending::ready(Vec::new()));
                let wait = || stop.wait(pending).map_err(DrawFailure::Input);
                let pictures = clock.time("draw: wait for frames", self.count as u64, wait)?;
                let size = self.format.size;
                if pictures.len() != self.count || pictures.iter().any(|p| p.size() != size) {
                    return Err(RenderError::Pictures { expected: self.count, size }.into());
                }
                Ok(none.insert(Canvas::new(self.layout, Arc::unwrap_or_clone(pictures), size, self.format.colour)))
            }
        }
    }
}

/// A sheet that the device is drawing.
struct SheetInFlight {
    patches: Vec<PlacedPatch>,
    read: PendingRead,
}

/// One batch while it is drawn.
struct BatchDraw<'a> {
    gpu: &'a Gpu,
    pass: &'a BodyPass,
    scratch: &'a mut Scratch,
    stop: &'a Stop,
    clock: &'a StageClock,
    placements: Vec<Placement>,
    camera: Pinhole,
    shading: Shading,
    opacity: u16,
    supersample: u32,
    pictures: Pictures,
    in_flight: VecDeque<SheetInFlight>,
    coverage: Vec<u32>,
}

impl BatchDraw<'_> {
    fn run(mut self, bodies: Option<Bodies>) -> Result<Drawn, DrawFailure> {
        if let Some(bodies) = bodies {
            let mut by_frame = vec![Vec::new(); self.pictures.count];
            for (i, placement) in self.placements.iter().enumerate() {
                by_frame[placement.frame as usize].push(i);
            }
            for (frame, placements) in by_frame.iter().enumerate().filter(|(_, p)| !p.is_empty()) {
                self.gather(&bodies, frame, placements)?;
            }
            self.submit(&bodies)?;
            while let Some(sheet) = self.in_flight.pop_front() {
                self.finish(sheet)?;
            }
        }
        self.pictures.canvas(self.stop, self.clock)?;
        let canvas = self.pictures.canvas.take();
        let pictures = self.clock.time("draw: lay out", self.pictures.count as u64, || canvas.map(Canvas::finish).unwrap_or_default());
        Ok(Drawn { pictures, coverage: self.coverage })
    }

    /// Places the bodies of one frame and puts its patches on sheets.
    fn gather(&mut self, bodies: &Bodies, frame: usize, placements: &[usize]) -> Result<(), DrawFailure> {
        let start = Instant::now();
        let size = self.pictures.format.size;
        let points = &mut self.scratch.points;
        points.resize_with(points.len().max(placements.len()), Vec::new);
        let mut rects = Vec::with_capacity(placements.len());
        for (&i, points) in placements.iter().zip(points) {
            if !mesh::place(bodies.of(i), &self.placements[i], points) {
                return Err(RenderError::VertexNotFinite(i).into());
            }
            let bounds = mesh::screen_bounds(points, &bodies.topology.faces, &self.camera);
            rects.push(bounds.and_then(|(low, high)| Rect::around(low, high, size)));
        }
        let patches = group(&rects);
        self.clock.add("draw: place", start.elapsed(), placements.len() as u64);

        for patch in &patches {
            if !self.scratch.sheet.fits(patch, self.supersample) {
                self.submit(bodies)?;
            }
            self.add_patch(bodies, frame, patch, placements);
        }
        Ok(())
    }

    /// Puts a patch and its bodies on the sheet.
    fn add_patch(&mut self, bodies: &Bodies, frame: usize, patch: &Patch, placements: &[usize]) {
        let start = Instant::now();
        let Scratch { sheet, points, normals, .. } = &mut *self.scratch;
        let placed = sheet.place(frame, patch, self.supersample);
        let clip_from_camera = patch.rect.clip_from_camera(&self.camera);
        for (slot, &body) in patch.bodies.iter().enumerate() {
            let points = &points[body];
            let outward = mesh::write_vertices(points, &bodies.topology.faces, normals, &mut sheet.vertices);
            let solid = bodies.faces.closed && outward && mesh::is_all_in_front(points);
            sheet.bodies.push(BodyInstance { clip_from_camera, slot: (slot + 1) as f32 / 255.0 });
            sheet.patches[placed].bodies.push(PlacedBody { placement: placements[body], solid });
        }
        self.clock.add("draw: normals", start.elapsed(), patch.bodies.len() as u64);
    }

    /// Sends the sheet to the device and starts an empty one.
    fn submit(&mut self, bodies: &Bodies) -> Result<(), DrawFailure> {
        if self.scratch.sheet.patches.is_empty() {
            return Ok(());
        }
        if self.in_flight.len() == SHEETS_IN_FLIGHT
            && let Some(oldest) = self.in_flight.pop_front()
        {
            self.finish(oldest)?;
        }
        let start = Instant::now();
        let gpu = self.gpu;
        let Scratch { targets, vertices, bodies: instances, readback, sheet, .. } = &mut *self.scratch;
        let readback = readback.take(gpu, sheet.read_bytes);
        let with = SheetResources {
            shading: self.shading,
            target: targets.of_size(gpu, sheet.target_size(gpu.max_side)),
            vertices: vertices.write(gpu, "vertices", &sheet.vertices),
            bodies: instances.write(gpu, "bodies", &sheet.bodies),
            faces: &bodies.faces,
            vertices_per_body: bodies.topology.vertices,
            readback: &readback,
        };
        let commands = self.pass.record(gpu, sheet, &with);
        let submission = gpu.queue.submit([commands]);
        let read = PendingRead::start(readback, sheet.read_bytes, submission);
        self.in_flight.push_back(SheetInFlight { patches: std::mem::take(&mut sheet.patches), read });
        let count = sheet.bodies.len() as u64;
        sheet.clear();
        self.clock.add("draw: submit", start.elapsed(), count);
        Ok(())
    }

    /// Waits for a sheet and blends its patches.
    fn finish(&mut self, SheetInFlight { patches, read }: SheetInFlight) -> Result<(), DrawFailure> {
        let Self { gpu, scratch, stop, clock, placements, shading, opacity, supersample, pictures, coverage, .. } = self;
        let colour = pictures.format.colour;
        let canvas = pictures.canvas(stop, clock)?;
        let Scratch { readback, blender, .. } = &mut **scratch;

        let start = Instant::now();
        let mut changed = Vec::new();
        readback.finish(gpu, read, |bytes| {
            clock.add("draw: device", start.elapsed(), patches.len() as u64);
            let start = Instant::now();
            for patch in &patches {
                let ink = Ink::new(patch.bodies.iter().map(|b| placements[b.placement].colour), *shading, colour);
                let samples = Samples {
                    bytes: &bytes[patch.offset as usize..],
                    stride: patch.stride as usize,
                    width: patch.rect.width as usize,
                    height: patch.rect.height as usize,
                    supersample: *supersample as usize,
                };
                changed.clear();
                changed.resize(patch.bodies.len(), 0);
                blender.blend(canvas.frame_mut(patch.frame), patch.rect, &samples, &ink, *opacity, &mut changed);
                for (body, &pixels) in patch.bodies.iter().zip(&changed) {
                    coverage[body.placement] += pixels;
                }
            }
            clock.add("draw: blend", start.elapsed(), patches.len() as u64);
        })?;
        Ok(())
    }
}
