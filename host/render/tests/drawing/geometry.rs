//! Where bodies land: silhouettes against closed forms, depth order, the frame's edges and the near plane.

use std::sync::Arc;

use halfpipe_core::{Picture, Pinhole, Size};
use halfpipe_render::{Backend, LaneConfig};

use crate::scene::*;

const SIZE: Size = Size::new(200, 150);
const CAMERA: Pinhole = Pinhole { focal: 300.0, center: [101.3, 77.8] };

/// The radius in pixels at which a sphere on the optical axis is seen.
fn seen_radius(radius: f32, distance: f32) -> f32 {
    CAMERA.focal * radius / (distance * distance - radius * radius).sqrt()
}

fn assert_is_sphere(alpha: &[f32], radius: f32, what: &str) {
    let (area, centre) = moments(alpha, SIZE.width);
    let measured = (area / std::f32::consts::PI).sqrt();
    assert!((measured - radius).abs() < 0.5, "{what}: radius {measured} instead of {radius}");
    for k in 0..2 {
        assert!((centre[k] - CAMERA.center[k]).abs() < 0.1, "{what}: centre {centre:?} instead of {:?}", CAMERA.center);
    }
    // and it is a disc: covered within, not without
    for (i, &a) in alpha.iter().enumerate() {
        let (x, y) = ((i as u32 % SIZE.width) as f32 + 0.5, (i as u32 / SIZE.width) as f32 + 0.5);
        let distance = (x - CAMERA.center[0]).hypot(y - CAMERA.center[1]);
        if distance < radius - 2.0 {
            assert!(a > 0.99, "{what}: hole at ({x}, {y})");
        } else if distance > radius + 2.0 {
            assert!(a == 0.0, "{what}: spot at ({x}, {y})");
        }
    }
}

#[test]
fn a_sphere_is_a_circle_of_the_right_size_at_the_right_place() {
    for supersample in [1, 2] {
        let alpha = alpha(look(1.0, supersample), SIZE, &sphere(0.5), &[at(0, [0.0, 0.0, 3.0], WHITE)], CAMERA);
        assert_is_sphere(&alpha, seen_radius(0.5, 3.0), &format!("supersample {supersample}"));
    }
}

#[test]
fn opengl_draws_the_same_sphere() {
    let lane = start(LaneConfig { backends: vec![Backend::Gl], ..Default::default() });
    assert_eq!(lane.adapter().backend, Backend::Gl);
    let renderer = lane.renderer(SIZE, look(1.0, 1)).unwrap();
    let placements = vec![at(0, [0.0, 0.0, 3.0], WHITE), at(1, [0.0, 0.0, 3.0], WHITE)];
    let mut batch = frames(SIZE, FULL_BT601, [0, 128, 128], 2);
    batch.pictures = halfpipe_core::Pending::ready([0, 255].map(|y| Arc::new(Picture::filled(SIZE, [y, 128, 128]))).to_vec());
    let drawn = pictures(&draw(&renderer, batch, &sphere(0.5), placements, CAMERA));
    let alpha: Vec<_> = drawn[0].planes()[0].iter().zip(drawn[1].planes()[0]).map(|(b, w)| 1.0 - f32::from(w - b) / 255.0).collect();
    assert_is_sphere(&alpha, seen_radius(0.5, 3.0), "OpenGL");
}

#[test]
fn points_land_where_the_pinhole_puts_them() {
    let marker = sphere(0.02);
    for point in [[0.0, 0.0, 2.0], [-0.55, -0.4, 2.0], [0.9, 0.7, 3.3], [-1.1, 0.8, 4.1], [0.35, -0.3, 1.25]] {
        let alpha = alpha(look(1.0, 2), SIZE, &marker, &[at(0, point, WHITE)], CAMERA);
        let (_, seen) = moments(&alpha, SIZE.width);
        let expected = [0, 1].map(|k| CAMERA.focal * point[k] / point[2] + CAMERA.center[k]);
        assert!((0..2).all(|k| (seen[k] - expected[k]).abs() < 0.1), "{point:?}: seen at {seen:?}, expected {expected:?}");
    }
}

#[test]
fn a_cubes_face_is_a_square_with_sharp_sides() {
    let cube = closed_box([-0.25; 3], [0.25; 3]);
    let alpha = alpha(look(1.0, 2), SIZE, &cube, &[at(0, [0.0, 0.0, 2.0], WHITE)], CAMERA);
    let (area, centre) = moments(&alpha, SIZE.width);
    let side = CAMERA.focal * 0.5 / 1.75;
    // all of a straight side is rounded to the same sample, half a pixel away from the next
    assert!((area.sqrt() - side).abs() < 0.3, "side {} instead of {side}", area.sqrt());
    assert!((0..2).all(|k| (centre[k] - CAMERA.center[k]).abs() < 0.3), "{centre:?}");
}

#[test]
fn rotations_turn_bodies_as_their_rows_say() {
    // a bar along x, turned by a quarter so that it stands along y
    let bar = closed_box([0.0, -0.05, -0.05], [0.6, 0.05, 0.05]);
    let mut placement = at(0, [0.0, -0.3, 3.0], WHITE);
    placement.rotation = [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]];
    let (_, centre) = moments(&alpha(look(1.0, 2), SIZE, &bar, &[placement], CAMERA), SIZE.width);
    assert!((0..2).all(|k| (centre[k] - CAMERA.center[k]).abs() < 0.3), "{centre:?}");
}

#[test]
fn nearer_bodies_hide_farther_ones_in_either_order() {
    let mesh = sphere(0.4);
    let (near, far) = (at(0, [-0.1, 0.0, 2.0], RED), at(0, [0.1, 0.0, 3.0], BLUE));
    for placements in [vec![near, far], vec![far, near]] {
        for supersample in [1, 2] {
            let picture = draw_one(look(1.0, supersample), SIZE, [90, 128, 128], &mesh, placements.clone(), CAMERA);
            // where both are, and where only the farther one is
            let [r, _, b] = rgb(&picture, FULL_BT601, 101, 77);
            assert!(r > 100.0 && b < 20.0, "{r} {b}");
            let [r, _, b] = rgb(&picture, FULL_BT601, 148, 77);
            assert!(r < 20.0 && b > 60.0, "{r} {b}");
        }
    }
}

/// `(most, mean)` absolute difference of the luma of `part` and of the equally large part of `whole` that starts at (x, y).
fn compare(part: &Picture, whole: &Picture, x: usize, y: usize) -> (u8, f32) {
    let (width, height) = (part.size().width as usize, part.size().height as usize);
    let whole_width = whole.size().width as usize;
    let mut differences = Vec::new();
    for row in 0..height {
        let (a, b) = (&part.planes()[0][row * width..][..width], &whole.planes()[0][(y + row) * whole_width + x..][..width]);
        differences.extend(a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)));
    }
    let sum: f32 = differences.iter().map(|&d| f32::from(d)).sum();
    (differences.iter().copied().max().unwrap(), sum / differences.len() as f32)
}

#[test]
fn bodies_beyond_an_edge_are_cut_there_and_nowhere_else() {
    // the same scene in a frame with a wide border; the inner frame is also one of odd sides
    let border = 64;
    let wide = Size::new(SIZE.width + 2 * border, SIZE.height + 2 * border);
    let shifted = Pinhole { focal: CAMERA.focal, center: CAMERA.center.map(|c| c + border as f32) };
    let mesh = sphere(0.45);
    for inner in [SIZE, Size::new(SIZE.width - 1, SIZE.height - 1)] {
        for (x, y) in [(-1.0, 0.0), (0.95, 0.0), (0.0, -0.75), (0.0, 0.7), (-1.0, -0.75), (0.95, 0.7)] {
            let placements = vec![at(0, [x, y, 3.0], WHITE)];
            let part = draw_one(look(0.8, 2), inner, [30, 100, 150], &mesh, placements.clone(), CAMERA);
            let whole = draw_one(look(0.8, 2), wide, [30, 100, 150], &mesh, placements, shifted);
            let (most, mean) = compare(&part, &whole, border as usize, border as usize);
            // edges of triangles may be rounded to another sample here and there
            assert!(most <= 60 && mean < 0.02, "{inner} ({x}, {y}): differs by up to {most}, {mean} on average");
            let background = part.planes()[0].iter().filter(|&&v| v == 30).count();
            assert!((1000..inner.area() - 500).contains(&background), "{inner} ({x}, {y}): {background} pixels are background");
        }
    }
}

#[test]
fn an_odd_frames_last_chroma_samples_are_drawn_to() {
    let size = Size::new(21, 15);
    let wall = closed_box([-9.0, -9.0, -0.1], [9.0, 9.0, 0.1]);
    let camera = Pinhole { focal: 20.0, center: [10.0, 7.0] };
    let picture = draw_one(look(1.0, 1), size, [0, 128, 128], &wall, vec![at(0, [0.0, 0.0, 2.0], RED)], camera);
    let [_, cb, cr] = picture.planes();
    assert!(cb.iter().all(|&v| v < 110) && cr.iter().all(|&v| v > 180), "{cb:?} {cr:?}");
}

#[test]
fn a_body_that_crosses_the_near_plane_is_clipped_there() {
    // a floor one metre below the camera from a metre behind it to twelve metres ahead
    let floor = closed_box([-20.0, 1.0, -1.0], [20.0, 1.2, 12.0]);
    let alpha = alpha(look(1.0, 2), SIZE, &floor, &[at(0, [0.0; 3], WHITE)], CAMERA);
    let horizon = CAMERA.focal / 12.0 + CAMERA.center[1];
    for (i, &a) in alpha.iter().enumerate() {
        let y = (i as u32 / SIZE.width) as f32 + 0.5;
        let expected = if y > horizon { 1.0 } else { 0.0 };
        if (y - horizon).abs() > 1.0 {
            assert!((a - expected).abs() < 0.01, "{a} in row {y}, horizon {horizon}");
        }
    }
}

#[test]
fn the_inside_of_an_open_body_is_seen_and_lit() {
    // the side towards the camera is missing: what is seen is the inside of the far one
    let mut placement = at(0, [0.0, 0.0, 3.0], WHITE);
    placement.rotation = [[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, -1.0]];
    let picture = draw_one(look(1.0, 1), SIZE, [0, 128, 128], &open_box([-0.4; 3], [0.4; 3]), vec![placement], CAMERA);
    let [r, ..] = rgb(&picture, FULL_BT601, 101, 77);
    assert!(r > 110.0, "{r}");
}

#[test]
fn a_mirrored_body_is_as_solid_as_any() {
    let mut placement = at(0, [0.0, 0.0, 3.0], WHITE);
    let plain = draw_one(look(1.0, 1), SIZE, [0, 128, 128], &sphere(0.5), vec![placement], CAMERA);
    placement.rotation[0][0] = -1.0;
    let mirrored = draw_one(look(1.0, 1), SIZE, [0, 128, 128], &sphere(0.5), vec![placement], CAMERA);
    let (most, mean) = compare(&mirrored, &plain, 0, 0);
    assert!(mean < 0.1, "differs by up to {most}, {mean} on average");
}
