//! The self-test of an adapter: one known triangle through the whole path, compared with what must come out.

use std::sync::Arc;

use halfpipe_core::{
    Colour, FrameBatch, Layout, Matrix, Pending, Picture, Pinhole, Placement, Range, Rational, Rgb, Shading, Size, StageClock, Topology,
    VertexBatch, VideoFormat,
};

use crate::draw::{DrawFailure, DrawJob, Drawn, Studio};
use crate::error::RenderError;
use crate::lane::Stop;
use crate::scratch::Scratch;

const SIZE: Size = Size::new(32, 32);
const BACKGROUND: [u8; 3] = [40, 128, 128];

/// Draws the upper left half of a small frame white and checks every pixel away from the edges.
///
/// # Errors
/// [`RenderError::Device`] with what is wrong.
pub(crate) fn self_test(studio: &mut Studio) -> Result<(), RenderError> {
    let (_still_running, stop) = Stop::new();
    let drawn = match studio.draw(&mut Scratch::default(), triangle(), &stop, &StageClock::default()) {
        Ok(drawn) => drawn,
        Err(DrawFailure::Render(e)) => return Err(e),
        Err(DrawFailure::Input(e)) => return Err(RenderError::Device(e.to_string())),
    };
    check(&drawn).map_err(|wrong| RenderError::Device(format!("it does not draw as it should: {wrong}")))
}

fn triangle() -> DrawJob {
    let format = VideoFormat { size: SIZE, colour: Colour { matrix: Matrix::Bt601, range: Range::Full }, time_base: Rational::new(1, 25) };
    let frames =
        FrameBatch { format, first_index: 0, pts: [0].into(), pictures: Pending::ready(vec![Arc::new(Picture::filled(SIZE, BACKGROUND))]) };
    // corners at the pixels (0, 0), (0, 32) and (32, 0), facing the camera
    let positions = vec![0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0];
    let topology = Arc::new(Topology { vertices: 3, faces: vec![[0, 1, 2]] });
    DrawJob {
        frames,
        bodies: Some(VertexBatch { count: 1, topology, positions: Pending::ready(positions) }),
        placements: vec![Placement {
            frame: 0,
            rotation: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
            translation: [0.0, 0.0, 2.0],
            colour: Rgb(255, 255, 255),
        }],
        camera: Pinhole { focal: 64.0, center: [0.0, 0.0] },
        layout: Layout::Overlay,
        shading: Shading::Soft,
        opacity: 256,
        supersample: 1,
    }
}

/// The tone of a surface that faces the camera, as `body.wgsl` lights it: ambient, headlight and wrapped key light.
const FACING_TONE: f32 = 0.25 + 0.40 + 0.35 * 0.853_553_4 * 0.853_553_4;

fn check(drawn: &Drawn) -> Result<(), String> {
    let Some(picture) = drawn.pictures.first() else { return Err("no picture came back".into()) };
    let white = (255.0 * FACING_TONE).round() as u8;
    for (i, &luma) in picture.planes()[0].iter().enumerate() {
        let (x, y) = (i as u32 % SIZE.width, i as u32 / SIZE.width);
        let expected = match (x + y).cmp(&(SIZE.width - 1)) {
            // the diagonal and its neighbours are the soft edge
            _ if (x + y).abs_diff(SIZE.width - 1) <= 2 => continue,
            std::cmp::Ordering::Less => white,
            _ => BACKGROUND[0],
        };
        if luma.abs_diff(expected) > 2 {
            return Err(format!("the luma at ({x}, {y}) is {luma} instead of {expected}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_picture_does_not_pass() {
        let blank = Drawn { pictures: vec![Arc::new(Picture::filled(SIZE, BACKGROUND))], coverage: vec![0] };
        let wrong = check(&blank).unwrap_err();
        assert!(wrong.starts_with("the luma at (0, 0) is 40 instead of"), "{wrong}");
    }
}
