//! What can go wrong while opening a device, making a renderer or drawing.

use halfpipe_core::Size;

/// An error of the renderer: one sentence, with the remedy where there is one.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RenderError {
    /// There is no adapter of any kind.
    #[error("no graphics adapter was found; install a Vulkan driver (to draw on the CPU, the packages mesa-vulkan-drivers and libvulkan1)")]
    NoAdapter,
    /// Hardware was asked for and there is none.
    #[error(
        "a hardware graphics adapter was asked for, but only {found} was found; install the GPU's Vulkan driver and give this process \
         access to the device, or choose the adapter `auto` or `software`"
    )]
    NoHardware {
        /// The adapters that are there.
        found: String,
    },
    /// A software adapter was asked for and there is none.
    #[error(
        "a software graphics adapter was asked for, but only {found} was found; install the packages mesa-vulkan-drivers and \
         libvulkan1, or choose the adapter `auto` or `hardware`"
    )]
    NoSoftware {
        /// The adapters that are there.
        found: String,
    },
    /// An adapter choice that is none.
    #[error("`{0}` is not an adapter choice; use auto, hardware or software")]
    UnknownChoice(String),
    /// Adapters are there, but none of them works.
    #[error("no graphics adapter could be used: {}; update the driver or choose another adapter", reasons.join("; "))]
    Unusable {
        /// One reason for each adapter tried.
        reasons: Vec<String>,
    },
    /// The device failed while it worked: lost, out of memory, or a call it refused.
    #[error("the graphics device failed: {0}")]
    Device(String),
    /// The lane's thread could not be started.
    #[error("the drawing thread could not be started: {0}")]
    Thread(String),
    /// The lane's thread has ended.
    #[error("the drawing lane has stopped; start a new one")]
    Stopped,
    /// Frames larger than the adapter's textures.
    #[error("frames of {size} at {supersample} samples along each axis need textures larger than the adapter's {limit} samples a side")]
    TooLarge {
        /// Frame size.
        size: Size,
        /// Samples along each axis of a pixel.
        supersample: u8,
        /// Largest texture side.
        limit: u32,
    },
    /// A frame without pixels.
    #[error("frames of {0} have no pixels to draw on")]
    EmptySize(Size),
    /// A look that is out of range.
    #[error("the look's {field} is {value}; it must be {expected}")]
    Look {
        /// Which field.
        field: &'static str,
        /// Its value.
        value: f32,
        /// What is allowed.
        expected: &'static str,
    },
    /// Frames of another size than the renderer was made for.
    #[error("the renderer draws into frames of {expected}, not {got}")]
    FrameSize {
        /// The renderer's size.
        expected: Size,
        /// The batch's size.
        got: Size,
    },
    /// Not one placement for each body.
    #[error("there are {placements} placements for {bodies} bodies; give one placement for each body")]
    PlacementCount {
        /// Placements given.
        placements: usize,
        /// Bodies given.
        bodies: usize,
    },
    /// A placement in a frame that the batch does not have.
    #[error("placement {placement} is in frame {frame} of a batch of {frames}")]
    FrameIndex {
        /// Which placement.
        placement: usize,
        /// Its frame.
        frame: u32,
        /// Frames in the batch.
        frames: usize,
    },
    /// More bodies in one frame than slots.
    #[error("frame {frame} of the batch has {bodies} bodies; at most {} can be drawn into one frame", crate::MAX_BODIES_PER_FRAME)]
    TooManyBodies {
        /// Frame within the batch.
        frame: usize,
        /// Its bodies.
        bodies: usize,
    },
    /// A number that is not finite, or a focal length that is not above 0.
    #[error("{what} is not a usable number: {value}")]
    Number {
        /// What it is, e.g. `the translation of placement 3`.
        what: String,
        /// Its value.
        value: f32,
    },
    /// A face that names a vertex the topology does not have.
    #[error("face {face} names vertex {vertex} of a topology with {vertices} vertices")]
    Face {
        /// Which face.
        face: usize,
        /// The vertex it names.
        vertex: u32,
        /// Vertices of the topology.
        vertices: u32,
    },
    /// A vertex batch that does not hold what it says.
    #[error("{got} values are not {bodies} bodies of {vertices} vertices with 3 coordinates each")]
    VertexCount {
        /// Values in the batch.
        got: usize,
        /// Bodies it says it has.
        bodies: usize,
        /// Vertices of its topology.
        vertices: u32,
    },
    /// A body with a vertex that is nowhere.
    #[error("body {0} has a vertex that is not at a finite place")]
    VertexNotFinite(usize),
    /// A frame batch whose pictures are not what its format says.
    #[error("the batch should hold {expected} pictures of {size}")]
    Pictures {
        /// Pictures expected.
        expected: usize,
        /// Their size.
        size: Size,
    },
}
