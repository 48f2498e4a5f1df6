//! Prints what drawing costs: wall and CPU milliseconds a frame, and the split over the stages, for bodies of about 6900 vertices.
//!
//! `cargo run --release -p halfpipe-render --example measure [auto|hardware|software] [vulkan|gl]`. CPU time is that of the whole
//! process, threads of a software driver included.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use halfpipe_core::{
    Colour, FrameBatch, Layout, Look, Matrix, Pending, Picture, Pinhole, Placement, Range, Rational, Rgb, Shading, Size, StageClock,
    Topology, VertexBatch, VideoFormat,
};
use halfpipe_render::{Backend, DrawLane, LaneConfig};

const FRAMES_PER_BATCH: usize = 8;
const WARM_UP_BATCHES: usize = 3;
const BATCHES: usize = 25;

/// An ellipsoid with the vertex and face counts of the usual body models (6890 and 13776), faces turned outward.
fn body(radii: [f32; 3]) -> (Arc<Topology>, Vec<f32>) {
    let (rings, segments) = (82_u32, 84_u32);
    let mut positions = Vec::new();
    for ring in 1..=rings {
        let polar = std::f32::consts::PI * ring as f32 / (rings + 1) as f32;
        for segment in 0..segments {
            let turn = std::f32::consts::TAU * segment as f32 / segments as f32;
            positions.extend([radii[0] * polar.sin() * turn.cos(), -radii[1] * polar.cos(), radii[2] * polar.sin() * turn.sin()]);
        }
    }
    positions.extend([0.0, -radii[1], 0.0, 0.0, radii[1], 0.0]);
    let (top, bottom) = (rings * segments, rings * segments + 1);
    let mut faces = Vec::new();
    for segment in 0..segments {
        let next = (segment + 1) % segments;
        for ring in 0..rings - 1 {
            let (a, b) = (ring * segments + segment, ring * segments + next);
            faces.extend([[a, a + segments, b], [b, a + segments, b + segments]]);
        }
        faces.extend([[top, segment, next], [bottom, (rings - 1) * segments + next, (rings - 1) * segments + segment]]);
    }
    (Arc::new(Topology { vertices: bottom + 1, faces }), positions)
}

struct Case {
    name: &'static str,
    size: Size,
    /// Width and height of each body on the screen, pixels, and where its centre is.
    bodies: &'static [([f32; 2], [f32; 2])],
    supersample: u8,
}

fn cases() -> [Case; 7] {
    const HD: Size = Size::new(1280, 720);
    const WIDE: Size = Size::new(1768, 994);
    const ONE: &[([f32; 2], [f32; 2])] = &[([200.0, 500.0], [640.0, 360.0])];
    const SMALL: &[([f32; 2], [f32; 2])] = &[([75.0, 180.0], [640.0, 360.0])];
    const THREE: &[([f32; 2], [f32; 2])] =
        &[([200.0, 500.0], [300.0, 360.0]), ([200.0, 500.0], [640.0, 360.0]), ([200.0, 500.0], [980.0, 360.0])];
    [
        Case { name: "no body", size: HD, bodies: &[], supersample: 1 },
        Case { name: "1 body 75x180", size: HD, bodies: SMALL, supersample: 1 },
        Case { name: "1 body 200x500", size: HD, bodies: ONE, supersample: 1 },
        Case { name: "1 body 200x500", size: HD, bodies: ONE, supersample: 2 },
        Case { name: "3 bodies 200x500", size: HD, bodies: THREE, supersample: 1 },
        Case { name: "1 body 200x500", size: WIDE, bodies: ONE, supersample: 1 },
        Case { name: "3 bodies 200x500", size: WIDE, bodies: THREE, supersample: 1 },
    ]
}

fn process_cpu() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

fn run(lane: &DrawLane, case: &Case) -> Result<(), Box<dyn std::error::Error>> {
    let Case { name, size, bodies, supersample } = case;
    let clock = StageClock::default();
    let look = Look { layout: Layout::Overlay, shading: Shading::Soft, opacity: 0.6, supersample: *supersample };
    let renderer = lane.renderer(*size, look)?.with_clock(clock.clone());
    let format =
        VideoFormat { size: *size, colour: Colour { matrix: Matrix::Bt709, range: Range::Limited }, time_base: Rational::new(1, 30) };
    let (distance, focal) = (5.0, 1500.0);
    let camera = Pinhole { focal, center: [size.width as f32 / 2.0, size.height as f32 / 2.0] };
    let metres = distance / focal;
    let (topology, _) = body([1.0; 3]);

    let mut drawn = 0;
    let (mut wall, mut cpu) = (Instant::now(), process_cpu());
    for batch in 0..WARM_UP_BATCHES + BATCHES {
        if batch == WARM_UP_BATCHES {
            (wall, cpu) = (Instant::now(), process_cpu());
        }
        let mut positions = Vec::new();
        let mut placements = Vec::new();
        for frame in 0..FRAMES_PER_BATCH as u32 {
            for ([width, height], [u, v]) in *bodies {
                positions.extend(body([width * metres / 2.0, height * metres / 2.0, width * metres / 3.0]).1);
                // a few pixels of motion from frame to frame
                let moved = (batch as u32 * 3 + frame) as f32;
                let at = [(u + moved - camera.center[0]) * metres, (v - camera.center[1]) * metres, distance];
                let rotation = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
                placements.push(Placement { frame, rotation, translation: at, colour: Rgb(166, 189, 219) });
            }
        }
        let pictures = (0..FRAMES_PER_BATCH).map(|_| Arc::new(Picture::filled(*size, [90, 120, 130]))).collect();
        let frames = FrameBatch { format, first_index: 0, pts: (0..FRAMES_PER_BATCH as i64).collect(), pictures: Pending::ready(pictures) };
        let vertices = VertexBatch { count: placements.len(), topology: Arc::clone(&topology), positions: Pending::ready(positions) };
        let drawing = block_on(renderer.draw(frames.clone(), Some(vertices), placements, camera))?;
        drawing.frames.pictures.wait_blocking()?;
        drawn = drawing.coverage.wait_blocking()?.iter().sum::<u32>();
        // held until here, as a caller that still needs the frames would: they are copied and not drawn into in place
        drop(frames);
    }
    let frames = (BATCHES * FRAMES_PER_BATCH) as f64;
    let (wall, cpu) = (wall.elapsed().as_secs_f64() * 1e3 / frames, (process_cpu() - cpu).as_secs_f64() * 1e3 / frames);
    println!(
        "{name}, {size}, supersample {supersample}: {wall:.2} ms and {cpu:.2} CPU-ms a frame; {drawn} pixels changed in the last batch"
    );
    let all = (BATCHES + WARM_UP_BATCHES) as f64 * FRAMES_PER_BATCH as f64;
    for (stage, times) in clock.snapshot() {
        println!("    {stage:<24} {:.3} ms", times.busy_secs * 1e3 / all);
    }
    Ok(())
}

/// What making the input costs, which is in the figures above.
fn input_cost() {
    let cpu = process_cpu();
    for _ in 0..100 {
        std::hint::black_box((body([1.0; 3]), Picture::filled(Size::new(1280, 720), [1, 2, 3])));
    }
    println!("making one frame and one body for the figures above: {:.2} CPU-ms", (process_cpu() - cpu).as_secs_f64() * 10.0);
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut config = LaneConfig { adapter: arguments.next().as_deref().unwrap_or("auto").parse()?, ..Default::default() };
    match arguments.next().as_deref() {
        Some("vulkan") => config.backends = vec![Backend::Vulkan],
        Some("gl") => config.backends = vec![Backend::Gl],
        Some(other) => return Err(format!("`{other}` is no backend; use vulkan or gl").into()),
        None => {}
    }
    let lane = DrawLane::start(config)?;
    println!("{}", lane.adapter());
    for case in cases() {
        run(&lane, &case)?;
    }
    input_cost();
    Ok(())
}
