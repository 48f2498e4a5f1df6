//! What bodies do to the samples under them: opacity, colour, shading and the count of changed pixels.

use std::sync::Arc;

use halfpipe_core::{Colour, Matrix, Picture, Pinhole, Range, Rgb, Size};

use crate::scene::*;

const SIZE: Size = Size::new(120, 90);
const CAMERA: Pinhole = Pinhole { focal: 200.0, center: [60.0, 45.0] };

#[test]
fn a_translucent_body_does_not_show_through_itself() {
    // one body of three spheres, each behind or within another
    let mesh = spheres(&[(0.5, [0.0, 0.0, 0.0]), (0.3, [0.1, 0.0, 0.1]), (0.4, [0.2, 0.1, 0.9])]);
    for supersample in [1, 2] {
        let alpha = alpha(look(0.5, supersample), SIZE, &mesh, &[at(0, [0.0, 0.0, 3.0], WHITE)], CAMERA);
        let whole = alpha.iter().filter(|&&a| (a - 0.5).abs() < 0.01).count();
        let over = alpha.iter().filter(|&&a| a > 0.51).count();
        assert!(whole > 2500, "{whole} pixels are at the body's opacity");
        assert_eq!(over, 0, "supersample {supersample}: pixels more opaque than the body");
    }
}

#[test]
fn two_translucent_bodies_do_not_add_up_either() {
    let placements = [at(0, [-0.1, 0.0, 2.5], WHITE), at(0, [0.1, 0.0, 3.0], WHITE)];
    let alpha = alpha(look(0.6, 1), SIZE, &sphere(0.4), &placements, CAMERA);
    assert!(alpha.iter().all(|&a| a < 0.61));
}

#[test]
fn no_opacity_changes_nothing() {
    let renderer = lane().renderer(SIZE, look(0.0, 1)).unwrap();
    let input = frames(SIZE, FULL_BT601, [80, 90, 100], 1);
    let drawing = draw(&renderer, input.clone(), &sphere(0.5), vec![at(0, [0.0, 0.0, 3.0], RED)], CAMERA);
    assert!(Arc::ptr_eq(&pictures(&drawing)[0], &input.pictures.wait_blocking().unwrap()[0]));
    assert_eq!(coverage(&drawing), [0]);
}

#[test]
fn full_opacity_leaves_nothing_of_the_frame() {
    let alpha = alpha(look(1.0, 1), SIZE, &sphere(0.5), &[at(0, [0.0, 0.0, 3.0], WHITE)], CAMERA);
    assert_eq!(alpha[45 * 120 + 60], 1.0);
}

#[test]
fn colours_come_out_in_the_videos_own_colour_space() {
    for matrix in [Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020] {
        for range in [Range::Limited, Range::Full] {
            let colour = Colour { matrix, range };
            let renderer = lane().renderer(SIZE, look(1.0, 1)).unwrap();
            for (wanted, channel) in [(RED, 0), (Rgb(0, 255, 0), 1), (BLUE, 2)] {
                let input = frames(SIZE, colour, [126, 128, 128], 1);
                let drawing = draw(&renderer, input, &sphere(0.5), vec![at(0, [0.0, 0.0, 3.0], wanted)], CAMERA);
                let seen = rgb(&pictures(&drawing)[0], colour, 60, 45);
                for (k, value) in seen.into_iter().enumerate() {
                    // 0.25 + 0.40 + 0.35 * 0.8536^2 of the colour, for a surface that faces the camera
                    let expected = if k == channel { 255.0 * 0.905 } else { 0.0 };
                    assert!((value - expected).abs() < 4.0, "{colour:?} {wanted:?}: {seen:?}");
                }
            }
        }
    }
}

#[test]
fn a_sphere_is_brightest_towards_the_light_and_darkest_opposite() {
    let picture = draw_one(look(1.0, 1), SIZE, [0, 128, 128], &sphere(0.5), vec![at(0, [0.0, 0.0, 3.0], WHITE)], CAMERA);
    let luma = |x: usize, y: usize| picture.planes()[0][y * 120 + x];
    let (facing, lit, dark) = (luma(60, 45), luma(52, 35), luma(80, 67));
    assert!(lit > facing && facing > dark, "{lit} {facing} {dark}");
    assert!(dark > 50, "{dark}: the ambient light reaches everywhere");
}

/// How many pixels differ in their luma, and how many in that or in the chroma over them.
fn differing(a: &Picture, b: &Picture) -> (u32, u32) {
    let (width, chroma) = (a.size().width as usize, a.size().chroma().width as usize);
    let ([ay, acb, acr], [by, bcb, bcr]) = (a.planes(), b.planes());
    let luma = |i: &usize| ay[*i] != by[*i];
    let any = |i: &usize| {
        let c = i / width / 2 * chroma + i % width / 2;
        luma(i) || acb[c] != bcb[c] || acr[c] != bcr[c]
    };
    ((0..ay.len()).filter(luma).count() as u32, (0..ay.len()).filter(any).count() as u32)
}

#[test]
fn coverage_counts_the_pixels_that_changed() {
    let renderer = lane().renderer(SIZE, look(0.3, 1)).unwrap();
    let mesh = sphere(0.3);
    for ycc in [[200, 128, 128], [40, 90, 170], [255, 128, 128]] {
        let input = frames(SIZE, FULL_BT601, ycc, 1);
        let before = Arc::clone(&input.pictures.wait_blocking().unwrap()[0]);
        // a grey that some of the frames have themselves, so that it changes nothing there
        let placements = vec![at(0, [-0.4, 0.0, 3.0], Rgb(220, 220, 220)), at(0, [0.4, 0.1, 3.0], RED), at(0, [5.0, 0.0, 3.0], RED)];
        let drawing = draw(&renderer, input, &mesh, placements, CAMERA);
        let changed = coverage(&drawing);
        let counted: u32 = changed.iter().sum();
        // a pixel beside a body whose chroma changes because it shares it with a pixel of the body is not counted
        let (luma, any) = differing(&before, &pictures(&drawing)[0]);
        assert!((luma..=any).contains(&counted), "{counted} counted, {luma} to {any} differ");
        assert_eq!(changed[2], 0, "a body outside of the frame");
        assert!(changed[0] > 500 && changed[1] > 900, "{changed:?}");
    }
}

#[test]
fn a_hidden_body_covers_nothing() {
    let renderer = lane().renderer(SIZE, look(0.6, 1)).unwrap();
    let placements = vec![at(0, [0.0, 0.0, 9.0], RED), at(0, [0.0, 0.0, 2.0], BLUE)];
    let drawing = draw(&renderer, frames(SIZE, FULL_BT601, [90, 128, 128], 1), &sphere(0.3), placements, CAMERA);
    let changed = coverage(&drawing);
    assert!(changed[0] == 0 && changed[1] > 2000, "{changed:?}");
}
