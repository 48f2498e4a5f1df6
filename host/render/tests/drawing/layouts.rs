//! Overlay, mesh only and side by side; batches of frames with and without bodies.

use std::sync::Arc;

use futures::executor::block_on;
use halfpipe_core::{Layout, Look, Picture, Pinhole, Rational, Size, VideoFormat};

use crate::scene::*;

const SIZE: Size = Size::new(64, 48);
const CAMERA: Pinhole = Pinhole { focal: 100.0, center: [32.0, 24.0] };

/// Frames with a pattern, so that a shift or a mixed-up plane shows.
fn patterned(size: Size, count: usize) -> Vec<Arc<Picture>> {
    let pattern = |f: usize| (0..size.picture_bytes()).map(|i| (i * 7 + f * 31) as u8).collect();
    (0..count).map(|f| Arc::new(Picture::from_data(size, pattern(f)).unwrap())).collect()
}

fn format(size: Size) -> VideoFormat {
    VideoFormat { size, colour: FULL_BT601, time_base: Rational::new(1, 25) }
}

#[test]
fn an_overlay_without_bodies_is_the_same_batch() {
    let renderer = lane().renderer(SIZE, look(0.6, 0)).unwrap();
    let input = patterned(SIZE, 3);
    let drawing = block_on(renderer.draw(batch(format(SIZE), input.clone()), None, Vec::new(), CAMERA)).unwrap();
    for (out, input) in pictures(&drawing).iter().zip(&input) {
        assert!(Arc::ptr_eq(out, input));
    }
    assert!(coverage(&drawing).is_empty());
}

#[test]
fn frames_of_a_batch_are_drawn_each_with_its_own_bodies() {
    let renderer = lane().renderer(SIZE, look(0.6, 0)).unwrap();
    let input = patterned(SIZE, 5);
    let mesh = sphere(0.2);
    // frame 0 without, 1 with one, 2 behind the camera, 3 outside of the frame, 4 with two; not in the frames' order
    let placements = vec![
        at(4, [0.3, 0.0, 2.0], RED),
        at(1, [0.0, 0.0, 2.0], RED),
        at(2, [0.0, 0.0, -2.0], RED),
        at(4, [-0.3, 0.0, 2.0], BLUE),
        at(3, [3.0, 0.0, 2.0], RED),
    ];
    let drawing = draw(&renderer, batch(format(SIZE), input.clone()), &mesh, placements, CAMERA);
    let output = pictures(&drawing);
    let untouched: Vec<_> = output.iter().zip(&input).map(|(a, b)| Arc::ptr_eq(a, b)).collect();
    assert_eq!(untouched, [true, false, true, true, false]);
    assert_eq!(coverage(&drawing).iter().map(|&c| c > 100).collect::<Vec<_>>(), [true, true, false, true, false]);
    assert!(coverage(&drawing)[2] == 0 && coverage(&drawing)[4] == 0);
    // a pixel in a corner is as it was
    assert_eq!(output[4].planes()[0][0], input[4].planes()[0][0]);
    let [r, _, b] = rgb(&output[4], FULL_BT601, 17, 24);
    assert!(b > r, "the blue body is on the left: {r} {b}");
    let output_facts = (drawing.frames.format, drawing.frames.first_index, drawing.frames.pts.to_vec());
    assert_eq!(output_facts, (format(SIZE), 40, vec![100, 103, 106, 109, 112]));
}

#[test]
fn frames_that_nobody_else_holds_are_drawn_into_in_place() {
    let renderer = lane().renderer(SIZE, look(0.6, 1)).unwrap();
    let input = frames(SIZE, FULL_BT601, [90, 128, 128], 1);
    let address = input.pictures.wait_blocking().unwrap()[0].data().as_ptr();
    let drawing = draw(&renderer, input, &sphere(0.2), vec![at(0, [0.0, 0.0, 2.0], RED)], CAMERA);
    let output = pictures(&drawing);
    assert!(output[0].data().as_ptr() == address && coverage(&drawing)[0] > 100);
}

#[test]
fn frames_that_others_hold_stay_as_they_are() {
    let renderer = lane().renderer(SIZE, look(0.6, 1)).unwrap();
    let input = patterned(SIZE, 1);
    let copy = Picture::clone(&input[0]);
    let drawing = draw(&renderer, batch(format(SIZE), input.clone()), &sphere(0.2), vec![at(0, [0.0, 0.0, 2.0], RED)], CAMERA);
    assert_ne!(*pictures(&drawing)[0], copy);
    assert_eq!(*input[0], copy);
}

#[test]
fn side_by_side_has_the_frame_on_the_left_and_the_overlay_on_the_right() {
    for size in [SIZE, Size::new(63, 47)] {
        let (input, mesh) = (patterned(size, 2), sphere(0.2));
        let placements = vec![at(0, [0.0, 0.0, 2.0], RED)];
        let overlay = lane().renderer(size, look(0.6, 1)).unwrap();
        let overlay = pictures(&draw(&overlay, batch(format(size), input.clone()), &mesh, placements.clone(), CAMERA));
        let pair = lane().renderer(size, Look { layout: Layout::SideBySide, ..look(0.6, 1) }).unwrap();
        let wide = Size::new(size.width * 2, size.height);
        assert_eq!((pair.output_size(), pair.output_format(format(size)).size), (wide, wide));
        let drawing = draw(&pair, batch(format(size), input.clone()), &mesh, placements, CAMERA);
        assert_eq!(drawing.frames.format.size, wide);
        for (f, out) in pictures(&drawing).iter().enumerate() {
            let width = size.width as usize;
            for (y, row) in out.planes()[0].chunks_exact(2 * width).enumerate() {
                assert_eq!(row[..width], input[f].planes()[0][y * width..][..width], "left, frame {f}, row {y}");
                assert_eq!(row[width..], overlay[f].planes()[0][y * width..][..width], "right, frame {f}, row {y}");
            }
        }
        assert!(coverage(&drawing)[0] > 100);
    }
}

#[test]
fn mesh_only_has_bodies_on_plain_grey() {
    let renderer = lane().renderer(SIZE, Look { layout: Layout::MeshOnly, ..look(1.0, 1) }).unwrap();
    let drawing = draw(&renderer, batch(format(SIZE), patterned(SIZE, 2)), &sphere(0.2), vec![at(1, [0.0, 0.0, 2.0], RED)], CAMERA);
    let output = pictures(&drawing);
    assert_eq!(*output[0], Picture::filled(SIZE, [128; 3]));
    assert_eq!(rgb(&output[1], FULL_BT601, 2, 2), [128.0; 3]);
    let [r, g, b] = rgb(&output[1], FULL_BT601, 32, 24);
    assert!(r > 200.0 && g < 10.0 && b < 10.0, "{r} {g} {b}");
    // also where there is no body at all
    let drawing = block_on(renderer.draw(batch(format(SIZE), patterned(SIZE, 1)), None, Vec::new(), CAMERA)).unwrap();
    assert_eq!(*pictures(&drawing)[0], Picture::filled(SIZE, [128; 3]));
}
