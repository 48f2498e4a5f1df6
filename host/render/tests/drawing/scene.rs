//! Bodies, frames and measurements that the tests share.

use std::sync::{Arc, LazyLock};

use futures::executor::block_on;
use halfpipe_core::{
    Colour, FrameBatch, Layout, Look, Matrix, Pending, Picture, Pinhole, Placement, Range, Rational, Rgb, Shading, Size, Topology,
    VertexBatch, VideoFormat,
};
use halfpipe_render::{AdapterChoice, DrawLane, Drawing, LaneConfig, Renderer};

pub const FULL_BT601: Colour = Colour { matrix: Matrix::Bt601, range: Range::Full };
pub const IDENTITY: [[f32; 3]; 3] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
pub const WHITE: Rgb = Rgb(255, 255, 255);
pub const RED: Rgb = Rgb(255, 0, 0);
pub const BLUE: Rgb = Rgb(0, 0, 255);

/// One lane for all tests that only draw.
pub fn lane() -> &'static DrawLane {
    static LANE: LazyLock<DrawLane> = LazyLock::new(|| start(LaneConfig::default()));
    &LANE
}

/// A lane of its own on the software adapter.
pub fn start(config: LaneConfig) -> DrawLane {
    DrawLane::start(LaneConfig { adapter: AdapterChoice::Software, ..config })
        .expect("these tests need a software driver: install the packages mesa-vulkan-drivers and libvulkan1")
}

pub fn look(opacity: f32, supersample: u8) -> Look {
    Look { layout: Layout::Overlay, shading: Shading::Soft, opacity, supersample }
}

/// A mesh: topology and the positions of one body.
#[derive(Clone)]
pub struct Mesh {
    pub topology: Arc<Topology>,
    pub positions: Vec<f32>,
}

impl Mesh {
    fn new(positions: Vec<[f32; 3]>, faces: Vec<[u32; 3]>) -> Self {
        Self { topology: Arc::new(Topology { vertices: positions.len() as u32, faces }), positions: positions.concat() }
    }

    /// As many bodies of it.
    pub fn batch(&self, count: usize) -> VertexBatch {
        let positions = Pending::ready(self.positions.repeat(count));
        VertexBatch { count, topology: Arc::clone(&self.topology), positions }
    }
}

/// Spheres of these radii around these centres, all one body.
pub fn spheres(list: &[(f32, [f32; 3])]) -> Mesh {
    let (rings, segments) = (63_u32, 128_u32);
    let (mut positions, mut faces) = (Vec::new(), Vec::new());
    for &(radius, centre) in list {
        let first = positions.len() as u32;
        let mut add = |p: [f32; 3]| positions.push([0, 1, 2].map(|k| centre[k] + radius * p[k]));
        for ring in 1..=rings {
            let polar = std::f32::consts::PI * ring as f32 / (rings + 1) as f32;
            for segment in 0..segments {
                let turn = std::f32::consts::TAU * segment as f32 / segments as f32;
                add([polar.sin() * turn.cos(), -polar.cos(), polar.sin() * turn.sin()]);
            }
        }
        add([0.0, -1.0, 0.0]);
        add([0.0, 1.0, 0.0]);
        let (top, bottom) = (first + rings * segments, first + rings * segments + 1);
        for segment in 0..segments {
            let next = (segment + 1) % segments;
            for ring in 0..rings - 1 {
                let (a, b) = (first + ring * segments + segment, first + ring * segments + next);
                faces.extend([[a, a + segments, b], [b, a + segments, b + segments]]);
            }
            let last = first + (rings - 1) * segments;
            faces.extend([[top, first + segment, first + next], [bottom, last + next, last + segment]]);
        }
    }
    Mesh::new(positions, faces)
}

pub fn sphere(radius: f32) -> Mesh {
    spheres(&[(radius, [0.0; 3])])
}

/// A box from `low` to `high`; it lacks its back, so that its inside can be seen from there.
pub fn open_box(low: [f32; 3], high: [f32; 3]) -> Mesh {
    let mut closed = closed_box(low, high);
    let Topology { vertices, faces } = Topology::clone(&closed.topology);
    closed.topology = Arc::new(Topology { vertices, faces: faces[..10].to_vec() });
    closed
}

/// A box from `low` to `high`.
pub fn closed_box(low: [f32; 3], high: [f32; 3]) -> Mesh {
    // corner i takes `high` along the axes whose bit is set
    let corners = (0..8).map(|i| [0, 1, 2].map(|k| if i >> k & 1 == 1 { high[k] } else { low[k] })).collect();
    let sides = [[0, 4, 6, 2], [1, 3, 7, 5], [0, 1, 5, 4], [2, 6, 7, 3], [0, 2, 3, 1], [4, 5, 7, 6]];
    let faces = sides.iter().flat_map(|&[a, b, c, d]| [[a, b, c], [a, c, d]]).collect();
    Mesh::new(corners, faces)
}

pub fn at(frame: u32, translation: [f32; 3], colour: Rgb) -> Placement {
    Placement { frame, rotation: IDENTITY, translation, colour }
}

/// `count` frames of one colour.
pub fn frames(size: Size, colour: Colour, ycc: [u8; 3], count: usize) -> FrameBatch {
    let pictures = (0..count).map(|_| Arc::new(Picture::filled(size, ycc))).collect();
    batch(VideoFormat { size, colour, time_base: Rational::new(1, 25) }, pictures)
}

pub fn batch(format: VideoFormat, pictures: Vec<Arc<Picture>>) -> FrameBatch {
    let pts = (0..pictures.len() as i64).map(|i| 100 + 3 * i).collect();
    FrameBatch { format, first_index: 40, pts, pictures: Pending::ready(pictures) }
}

pub fn draw(renderer: &Renderer, frames: FrameBatch, mesh: &Mesh, placements: Vec<Placement>, camera: Pinhole) -> Drawing {
    block_on(renderer.draw(frames, Some(mesh.batch(placements.len())), placements, camera)).unwrap()
}

pub fn pictures(drawing: &Drawing) -> Vec<Arc<Picture>> {
    drawing.frames.pictures.wait_blocking().unwrap().to_vec()
}

pub fn coverage(drawing: &Drawing) -> Vec<u32> {
    drawing.coverage.wait_blocking().unwrap().to_vec()
}

/// Draws into one frame of one colour.
pub fn draw_one(look: Look, size: Size, ycc: [u8; 3], mesh: &Mesh, placements: Vec<Placement>, camera: Pinhole) -> Arc<Picture> {
    let renderer = lane().renderer(size, look).unwrap();
    let drawing = draw(&renderer, frames(size, FULL_BT601, ycc, 1), mesh, placements, camera);
    Arc::clone(&pictures(&drawing)[0])
}

/// How much of each pixel is replaced, 0..=1, row by row: what is drawn over black and over white differs by what is left of them.
pub fn alpha(look: Look, size: Size, mesh: &Mesh, placements: &[Placement], camera: Pinhole) -> Vec<f32> {
    let [black, white] = [0, 255].map(|y| draw_one(look, size, [y, 128, 128], mesh, placements.to_vec(), camera));
    let (black, white) = (black.planes()[0], white.planes()[0]);
    black.iter().zip(white).map(|(&b, &w)| 1.0 - (f32::from(w) - f32::from(b)) / 255.0).collect()
}

/// Sum of `alpha` (pixels) and its centroid (pixels, pixel centres at +0.5).
pub fn moments(alpha: &[f32], width: u32) -> (f32, [f32; 2]) {
    let (mut area, mut at) = (0.0_f64, [0.0_f64; 2]);
    for (i, &a) in alpha.iter().enumerate() {
        let (x, y) = (i as u32 % width, i as u32 / width);
        area += f64::from(a);
        at[0] += f64::from(a) * (f64::from(x) + 0.5);
        at[1] += f64::from(a) * (f64::from(y) + 0.5);
    }
    (area as f32, at.map(|v| (v / area) as f32))
}

/// RGB, 0..=255, of the pixel (x, y).
pub fn rgb(picture: &Picture, colour: Colour, x: usize, y: usize) -> [f32; 3] {
    let (width, chroma) = (picture.size().width as usize, picture.size().chroma().width as usize);
    let [luma, cb, cr] = picture.planes();
    let c = y / 2 * chroma + x / 2;
    colour.to_rgb([luma[y * width + x], cb[c], cr[c]].map(f32::from))
}
