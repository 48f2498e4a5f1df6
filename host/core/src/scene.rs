//! Bodies to draw: vertices, faces, placements, the camera and the look.

use std::sync::Arc;

use crate::Pending;

/// Faces that many bodies share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// Vertices of one body.
    pub vertices: u32,
    /// Triangles as vertex indices, counter-clockwise seen from outside in the body's right-handed axes.
    pub faces: Vec<[u32; 3]>,
}

/// Bodies of one topology: `count x vertices x 3` values, metres, body axes.
#[derive(Debug, Clone)]
pub struct VertexBatch {
    /// Number of bodies.
    pub count: usize,
    /// Their faces.
    pub topology: Arc<Topology>,
    /// `[count, vertices, 3]`, row-major.
    pub positions: Pending<Vec<f32>>,
}

/// An sRGB colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rgb(pub u8, pub u8, pub u8);

/// Where one body stands and in which frame it is seen: `p_camera = rotation * p_body + translation`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placement {
    /// Frame within the batch.
    pub frame: u32,
    /// Rows of camera_from_body; camera axes are x right, y down, z forward.
    pub rotation: [[f32; 3]; 3],
    /// Metres, camera axes.
    pub translation: [f32; 3],
    /// Colour of the body.
    pub colour: Rgb,
}

/// An ideal camera: `u = focal * x / z + center[0]`, `v = focal * y / z + center[1]`, in pixels (pixel centres at +0.5).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pinhole {
    /// Pixels.
    pub focal: f32,
    /// Principal point, pixels.
    pub center: [f32; 2],
}

/// What goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Bodies over the frame.
    Overlay,
    /// Bodies on a plain background.
    MeshOnly,
    /// Frame left, overlay right, twice as wide.
    SideBySide,
}

/// How bodies are lit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shading {
    /// A soft key light and a headlight; tone times colour.
    Soft,
    /// A slightly metallic, rough material under a headlight and three raymond lights, as 4D-Humans draws on whole frames.
    Raymond,
}

/// How bodies look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// What goes out.
    pub layout: Layout,
    /// How bodies are lit.
    pub shading: Shading,
    /// 0 (invisible) to 1 (solid).
    pub opacity: f32,
    /// Samples along each axis of a pixel, 1 or 2; 0 leaves the choice to the renderer.
    pub supersample: u8,
}
