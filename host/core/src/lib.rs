//! Plain data that the engines share: frames, pending values, byte budgets, units; and how their threads are scheduled. No I/O.
//!
//! Engines (media, nn, render) never see each other; what passes between them is defined here.

pub mod budget;
pub mod fair;
pub mod frame;
pub mod geometry;
pub mod pending;
pub mod recycle;
pub mod scene;
pub mod sched;
pub mod stage;

pub use budget::{ByteBudget, ByteLease, OverBudget};
pub use fair::{FairClient, FairReceiver, LaneEnded, Taken, fair_queue};
pub use frame::{ChromaSize, Colour, FrameBatch, Matrix, Picture, Range, Rational, Size, VideoFormat};
pub use geometry::{Crop, Fit, LetterboxMap, Normalization};
pub use pending::{Pending, PendingError, Resolver};
pub use recycle::Recycler;
pub use scene::{Layout, Look, Pinhole, Placement, Rgb, Shading, Topology, VertexBatch};
pub use stage::{StageClock, StageTimes};
