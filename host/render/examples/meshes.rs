//! Draws given bodies into given frames and prints, as a line of JSON, what that costs: the counterpart of `tests/peers/peer/alone.py draw`.
//!
//!     cargo run --release -p halfpipe-render --example meshes FOLDER WIDTH HEIGHT FOCAL [auto|hardware|software]
//!
//! FOLDER holds what `alone.py meshes` writes, all little endian: `vertices.f32` `[bodies, vertices, 3]` (camera axes, metres), `faces.u32`
//! `[faces, 3]`, `frames.u32` `[bodies]` (rising), the frame of each body. The camera's axis goes through the middle of the frame. Frames
//! without bodies are left out. Reading back and blending into the frame are in the figures; CPU time is that of all threads.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use halfpipe_core::{
    Colour, FrameBatch, Layout, Look, Matrix, Pending, Picture, Pinhole, Placement, Range, Rational, Rgb, Shading, Size, Topology,
    VertexBatch, VideoFormat,
};
use halfpipe_render::{DrawLane, LaneConfig};

const FRAMES_PER_BATCH: usize = 8;

type Failure = Box<dyn std::error::Error>;

fn read<const N: usize, T>(folder: &Path, name: &str, value: fn([u8; 4]) -> T) -> Result<Vec<[T; N]>, Failure>
where
    [T; N]: for<'a> TryFrom<Vec<T>>,
{
    let path = folder.join(name);
    let bytes = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let rows = bytes.chunks_exact(4 * N).map(|row| {
        let row: Vec<T> = row.chunks_exact(4).map(|b| value([b[0], b[1], b[2], b[3]])).collect();
        <[T; N]>::try_from(row).map_err(|_| "a row of another length".into())
    });
    rows.collect()
}

fn process_cpu() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

/// The bodies of one batch of frames.
struct Batch {
    frames: usize,
    /// Frame within the batch of each body.
    places: Vec<u32>,
    vertices: Vec<f32>,
}

/// Frames with bodies, eight at a time.
fn batches(vertices: &[[f32; 3]], frames: &[[u32; 1]], per_body: usize) -> Vec<Batch> {
    let mut drawn: Vec<u32> = frames.iter().map(|f| f[0]).collect();
    drawn.dedup();
    let batch = |group: &[u32]| {
        let mine = |frame: u32| group.iter().position(|g| *g == frame);
        let (mut places, mut values) = (Vec::new(), Vec::new());
        for (body, [frame]) in frames.iter().enumerate() {
            if let Some(place) = mine(*frame) {
                places.push(place as u32);
                values.extend_from_slice(vertices[body * per_body..(body + 1) * per_body].as_flattened());
            }
        }
        Batch { frames: group.len(), places, vertices: values }
    };
    drawn.chunks(FRAMES_PER_BATCH).map(batch).collect()
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, width, height, focal, rest @ ..] = arguments.as_slice() else {
        return Err("give FOLDER WIDTH HEIGHT FOCAL [auto|hardware|software]".into());
    };
    let (folder, size, focal) = (Path::new(folder), Size::new(width.parse()?, height.parse()?), focal.parse()?);
    let vertices = read::<3, f32>(folder, "vertices.f32", f32::from_le_bytes)?;
    let frames = read::<1, u32>(folder, "frames.u32", u32::from_le_bytes)?;
    let faces = read::<3, u32>(folder, "faces.u32", u32::from_le_bytes)?;
    let per_body = vertices.len() / frames.len().max(1);
    let topology = Arc::new(Topology { vertices: per_body as u32, faces });

    let adapter = rest.first().map_or("auto", String::as_str).parse()?;
    let lane = DrawLane::start(LaneConfig { adapter, ..Default::default() })?;
    let look = Look { layout: Layout::Overlay, shading: Shading::Soft, opacity: 0.6, supersample: 0 };
    let renderer = lane.renderer(size, look)?;
    let format = VideoFormat { size, colour: Colour { matrix: Matrix::Bt709, range: Range::Limited }, time_base: Rational::new(1, 30) };
    let camera = Pinhole { focal, center: [size.width as f32 / 2.0, size.height as f32 / 2.0] };
    let draw = |batch: &Batch| -> Result<u64, Failure> {
        let pictures = (0..batch.frames).map(|_| Arc::new(Picture::filled(size, [90, 120, 130]))).collect();
        let pts = (0..batch.frames as i64).collect();
        let frames = FrameBatch { format, first_index: 0, pts, pictures: Pending::ready(pictures) };
        let placement = |frame: &u32| Placement {
            frame: *frame,
            // the vertices are in camera axes already
            rotation: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
            translation: [0.0; 3],
            colour: Rgb(166, 189, 219),
        };
        let placements: Vec<Placement> = batch.places.iter().map(placement).collect();
        let positions = Pending::ready(batch.vertices.clone());
        let bodies = VertexBatch { count: placements.len(), topology: Arc::clone(&topology), positions };
        let drawing = block_on(renderer.draw(frames, Some(bodies), placements, camera))?;
        drawing.frames.pictures.wait_blocking()?;
        Ok(drawing.coverage.wait_blocking()?.iter().map(|pixels| u64::from(*pixels)).sum())
    };
    let batches = batches(&vertices, &frames, per_body);
    // pipelines are compiled and buffers made for the first batch
    batches.first().map(draw).transpose()?;
    let (begun, cpu) = (Instant::now(), process_cpu());
    let mut pixels = 0;
    for batch in &batches {
        pixels += draw(batch)?;
    }
    let (wall, cpu) = (begun.elapsed().as_secs_f64(), (process_cpu() - cpu).as_secs_f64());
    let drawn: usize = batches.iter().map(|b| b.frames).sum();
    println!(
        r#"{{"frames": {drawn}, "bodies": {}, "wall_seconds": {wall}, "cpu_seconds": {cpu}, "pixels_drawn": {pixels}, "adapter": "{}"}}"#,
        frames.len(),
        lane.adapter()
    );
    Ok(())
}
