//! The renderer as its users see it: checks arguments, queues batches, hands out promises.

use std::sync::{Arc, Mutex};

use halfpipe_core::{FrameBatch, Layout, Look, Pending, Pinhole, Placement, Shading, Size, StageClock, VertexBatch, VideoFormat};

use crate::draw::DrawJob;
use crate::error::RenderError;
use crate::lane::{Command, DrawCommand, Handle};
use crate::scratch::Scratch;

/// How many bodies one frame can have: a slot is one byte of a sample, and 0 is nobody's.
pub const MAX_BODIES_PER_FRAME: usize = 255;

/// Draws bodies into frames of one size. Its device memory goes when it and its queued batches are gone.
#[derive(Debug)]
pub struct Renderer {
    lane: Handle,
    scratch: Arc<Mutex<Scratch>>,
    clock: StageClock,
    size: Size,
    layout: Layout,
    shading: Shading,
    /// In 256ths.
    opacity: u16,
    /// 1 or 2.
    supersample: u32,
}

/// A batch that will be drawn, and what came of it.
#[derive(Debug, Clone)]
pub struct Drawing {
    /// The frames with the bodies, of [`Renderer::output_size`], with the timestamps of the frames that went in.
    pub frames: FrameBatch,
    /// How many pixels each placement changed, in their order. A pixel that two bodies share is counted for the one seen in it.
    pub coverage: Pending<Vec<u32>>,
}

impl Renderer {
    pub(crate) fn new(handle: Handle, size: Size, look: Look) -> Result<Self, RenderError> {
        let Look { layout, shading, opacity, supersample } = look;
        if size.area() == 0 {
            return Err(RenderError::EmptySize(size));
        }
        if !(0.0..=1.0).contains(&opacity) {
            return Err(RenderError::Look { field: "opacity", value: opacity, expected: "0 to 1" });
        }
        let lane = &handle.lane;
        let fits = |samples: u32| size.width.max(size.height).checked_mul(samples).is_some_and(|side| side <= lane.max_side);
        let chosen = match supersample {
            // two samples double what a software adapter has to do, and smoothed silhouettes are as good
            0 if lane.adapter.software || !fits(2) => 1,
            0 => 2,
            1 | 2 => supersample,
            other => return Err(RenderError::Look { field: "supersample", value: f32::from(other), expected: "0, 1 or 2" }),
        };
        if !fits(u32::from(chosen)) {
            return Err(RenderError::TooLarge { size, supersample: chosen, limit: lane.max_side });
        }
        Ok(Self {
            clock: lane.clock.clone(),
            lane: handle,
            scratch: Arc::default(),
            size,
            layout,
            shading,
            opacity: (opacity * 256.0).round() as u16,
            supersample: u32::from(chosen),
        })
    }

    /// Books its stages in `clock` (a job's own) instead of the lane's.
    #[must_use]
    pub fn with_clock(mut self, clock: StageClock) -> Self {
        self.clock = clock;
        self
    }

    /// Samples along each axis of a pixel that are really taken, 1 or 2.
    #[must_use]
    pub const fn supersample(&self) -> u32 {
        self.supersample
    }

    /// Size of the frames that come out: twice as wide for side-by-side.
    #[must_use]
    pub const fn output_size(&self) -> Size {
        match self.layout {
            Layout::Overlay | Layout::MeshOnly => self.size,
            Layout::SideBySide => Size::new(self.size.width * 2, self.size.height),
        }
    }

    /// What `input` becomes: the same but for the size.
    #[must_use]
    pub const fn output_format(&self, input: VideoFormat) -> VideoFormat {
        VideoFormat { size: self.output_size(), ..input }
    }

    /// Checks the arguments, queues the drawing of one batch (waiting for room in the queue, not for the drawing) and hands out
    /// promises of the results.
    ///
    /// Placement i draws body i of `bodies`, so there are as many of either. Nearer bodies hide farther ones; what is nearer to
    /// the camera than 5 cm is not drawn. Frames of an overlay in which nothing is drawn come out as the very same pictures.
    ///
    /// # Errors
    /// At once: frames of another size, not one placement for each body, a frame that is not in the batch, more than
    /// [`MAX_BODIES_PER_FRAME`] bodies in a frame, a number that is not finite, or a lane that has stopped. By the promises: a
    /// failure of the frames or vertices waited for, vertices that are not what the batch says, or a failure of the device.
    pub async fn draw(
        &self,
        frames: FrameBatch,
        bodies: Option<VertexBatch>,
        placements: Vec<Placement>,
        camera: Pinhole,
    ) -> Result<Drawing, RenderError> {
        self.check(&frames, bodies.as_ref(), &placements, &camera)?;
        if self.layout == Layout::Overlay && (placements.is_empty() || self.opacity == 0) {
            return Ok(Drawing { frames, coverage: Pending::ready(vec![0; placements.len()]) });
        }
        let origin: Arc<str> = format!("draw(frames {}..{})", frames.first_index, frames.first_index + frames.len() as u64).into();
        let (pictures, pictures_pending) = Pending::new(Arc::clone(&origin));
        let (coverage, coverage_pending) = Pending::new(origin);
        let drawing = Drawing {
            frames: FrameBatch {
                format: self.output_format(frames.format),
                first_index: frames.first_index,
                pts: Arc::clone(&frames.pts),
                pictures: pictures_pending,
            },
            coverage: coverage_pending,
        };
        let Self { layout, shading, opacity, supersample, .. } = *self;
        let job = DrawJob { frames, bodies, placements, camera, layout, shading, opacity, supersample };
        let command = DrawCommand { job, scratch: Arc::clone(&self.scratch), clock: self.clock.clone(), pictures, coverage };
        self.lane.send(Command::Draw(Box::new(command))).await?;
        Ok(drawing)
    }

    fn check(
        &self,
        frames: &FrameBatch,
        bodies: Option<&VertexBatch>,
        placements: &[Placement],
        camera: &Pinhole,
    ) -> Result<(), RenderError> {
        if frames.format.size != self.size {
            return Err(RenderError::FrameSize { expected: self.size, got: frames.format.size });
        }
        let bodies = bodies.map_or(0, |b| b.count);
        if placements.len() != bodies {
            return Err(RenderError::PlacementCount { placements: placements.len(), bodies });
        }
        let finite = |what: &dyn Fn() -> String, values: &[f32]| match values.iter().find(|v| !v.is_finite()) {
            Some(&value) => Err(RenderError::Number { what: what(), value }),
            None => Ok(()),
        };
        finite(&|| "the camera's centre".into(), &camera.center)?;
        if !(camera.focal.is_finite() && camera.focal > 0.0) {
            return Err(RenderError::Number { what: "the camera's focal length".into(), value: camera.focal });
        }
        let mut in_frame = vec![0_usize; frames.len()];
        for (i, placement) in placements.iter().enumerate() {
            let Some(count) = in_frame.get_mut(placement.frame as usize) else {
                return Err(RenderError::FrameIndex { placement: i, frame: placement.frame, frames: frames.len() });
            };
            *count += 1;
            finite(&|| format!("the rotation of placement {i}"), placement.rotation.as_flattened())?;
            finite(&|| format!("the translation of placement {i}"), &placement.translation)?;
        }
        match in_frame.iter().position(|&count| count > MAX_BODIES_PER_FRAME) {
            Some(frame) => Err(RenderError::TooManyBodies { frame, bodies: in_frame[frame] }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::{DrawLane, LaneConfig};
    use crate::{AdapterChoice, RenderError};
    use futures::executor::block_on;
    use halfpipe_core::{Colour, Matrix, Picture, Range, Rational, Rgb, Topology};

    #[test]
    fn device_memory_goes_with_the_renderer() -> Result<(), RenderError> {
        let lane = DrawLane::start(LaneConfig { adapter: AdapterChoice::Software, ..Default::default() })?;
        let size = Size::new(32, 32);
        let renderer = lane.renderer(size, Look { layout: Layout::Overlay, shading: Shading::Soft, opacity: 1.0, supersample: 1 })?;
        let colour = Colour { matrix: Matrix::Bt601, range: Range::Full };
        let frames = FrameBatch {
            format: VideoFormat { size, colour, time_base: Rational::new(1, 25) },
            first_index: 0,
            pts: [0].into(),
            pictures: Pending::ready(vec![Arc::new(Picture::filled(size, [0; 3]))]),
        };
        let topology = Arc::new(Topology { vertices: 3, faces: vec![[0, 1, 2]] });
        let positions = Pending::ready(vec![0.0, 0.0, 2.0, 0.0, 1.0, 2.0, 1.0, 0.0, 2.0]);
        let bodies = VertexBatch { count: 1, topology, positions };
        let rotation = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        let placement = Placement { frame: 0, rotation, translation: [0.0; 3], colour: Rgb(255, 0, 0) };
        let camera = Pinhole { focal: 40.0, center: [4.0, 4.0] };
        let drawing = block_on(renderer.draw(frames, Some(bodies), vec![placement], camera))?;
        assert!(drawing.coverage.wait_blocking().unwrap()[0] > 50);

        let scratch = Arc::downgrade(&renderer.scratch);
        drop(renderer);
        // behind the batch in the queue, so the thread has let go of it
        block_on(lane.self_test())?;
        assert!(scratch.upgrade().is_none());
        Ok(())
    }
}
