//! The lane as a queue: waiting, skipping, ending, and several users at once.

use std::sync::Arc;

use futures::FutureExt;
use futures::executor::block_on;
use halfpipe_core::{FrameBatch, Pending, Picture, Pinhole, Resolver, Size, StageClock};
use halfpipe_render::{Drawing, LaneConfig, Renderer};

use crate::scene::*;

const SIZE: Size = Size::new(64, 48);
const CAMERA: Pinhole = Pinhole { focal: 100.0, center: [32.0, 24.0] };

fn ready() -> FrameBatch {
    frames(SIZE, FULL_BT601, [90, 128, 128], 1)
}

/// A batch whose picture is not there yet.
fn pending() -> (Resolver<Vec<Arc<Picture>>>, FrameBatch) {
    let (resolver, pictures) = Pending::new("decode");
    (resolver, FrameBatch { pictures, ..ready() })
}

fn draw_ball(renderer: &Renderer, frames: FrameBatch) -> Drawing {
    draw(renderer, frames, &sphere(0.2), vec![at(0, [0.0, 0.0, 2.0], RED)], CAMERA)
}

#[test]
fn a_full_queue_makes_draw_wait_without_blocking() {
    let lane = start(LaneConfig { queue: 1, ..Default::default() });
    let renderer = lane.renderer(SIZE, look(0.6, 1)).unwrap();
    let (resolver, blocked) = pending();
    let first = draw_ball(&renderer, blocked);
    // one may be in the queue, and the first may have left it: the third finds no room
    let mut waiting = (0..2)
        .map(|_| Box::pin(renderer.draw(ready(), Some(sphere(0.2).batch(1)), vec![at(0, [0.0, 0.0, 2.0], RED)], CAMERA)))
        .collect::<Vec<_>>();
    let at_once: Vec<_> = waiting.iter_mut().map(|w| w.now_or_never()).collect();
    assert!(at_once[1].is_none());
    resolver.resolve(vec![Arc::new(Picture::filled(SIZE, [90, 128, 128]))]);
    assert!(coverage(&first)[0] > 100);
    // room is given in the order of asking, so everyone who waits must be polled
    let rest = waiting.into_iter().zip(&at_once).filter(|(_, done)| done.is_none()).map(|(w, _)| w);
    let third = block_on(futures::future::join_all(rest)).pop().unwrap().unwrap();
    assert_eq!(coverage(&third), coverage(&first));
}

#[test]
fn work_that_nobody_waits_for_is_skipped() {
    let lane = start(LaneConfig::default());
    let renderer = lane.renderer(SIZE, look(0.6, 1)).unwrap();
    let clock = StageClock::default();
    let other = lane.renderer(SIZE, look(0.6, 1)).unwrap().with_clock(clock.clone());
    let (resolver, blocked) = pending();
    let first = draw_ball(&renderer, blocked.clone());
    // it cannot start before it is dropped
    drop(draw_ball(&other, blocked));
    resolver.resolve(vec![Arc::new(Picture::filled(SIZE, [90, 128, 128]))]);
    assert!(coverage(&first)[0] > 100);
    block_on(lane.self_test()).unwrap();
    assert!(clock.snapshot().is_empty(), "{:?}", clock.snapshot());
    // while work that one handle waits for is done
    let Drawing { frames, coverage } = draw_ball(&other, ready());
    drop(frames);
    assert!(coverage.wait_blocking().unwrap()[0] > 100);
    assert_eq!(clock.snapshot()["draw: submit"].items, 1);
}

#[test]
fn dropping_the_last_handle_ends_work_that_cannot_go_on() {
    let lane = start(LaneConfig::default());
    let renderer = lane.renderer(SIZE, look(0.6, 1)).unwrap();
    // this resolver is never used: only the drop can end the waiting
    let (_resolver, blocked) = pending();
    let stuck = draw_ball(&renderer, blocked);
    let wanted = draw_ball(&renderer, ready());
    drop(lane);
    drop(renderer);
    let error = stuck.frames.pictures.wait_blocking().unwrap_err();
    assert!(error.cancelled && error.to_string().contains("the drawing lane was closed"), "{error}");
    assert!(coverage(&wanted)[0] > 100, "what could be finished was");
}

#[test]
fn a_renderer_may_go_before_its_work_is_done() {
    let renderer = lane().renderer(SIZE, look(0.6, 1)).unwrap();
    let drawing = draw_ball(&renderer, ready());
    drop(renderer);
    assert!(coverage(&drawing)[0] > 100);
}

#[test]
fn renderers_of_one_lane_do_not_disturb_each_other() {
    let sizes = [Size::new(64, 48), Size::new(133, 77), Size::new(320, 200)];
    let shapes = [sphere(0.2), closed_box([-0.2; 3], [0.2; 3]), spheres(&[(0.2, [0.0; 3]), (0.1, [0.2, 0.0, 0.0])])];
    let once = |size: Size, shape: usize| {
        let renderer = lane().renderer(size, look(0.6, 1)).unwrap();
        let camera = Pinhole { focal: 100.0, center: [size.width as f32 / 2.0, size.height as f32 / 2.0] };
        let placements = (0..4).map(|f| at(f, [0.05 * f as f32, 0.0, 2.0], RED)).collect();
        pictures(&draw(&renderer, frames(size, FULL_BT601, [90, 128, 128], 4), &shapes[shape], placements, camera))
    };
    let alone: Vec<_> = (0..3).map(|k| once(sizes[k], k)).collect();
    std::thread::scope(|scope| {
        for (k, alone) in alone.iter().enumerate() {
            scope.spawn(move || (0..5).for_each(|_| assert_eq!(once(sizes[k], k), *alone)));
        }
    });
}

#[test]
fn many_large_bodies_take_more_than_one_sheet() {
    let size = Size::new(1280, 720);
    let renderer = lane().renderer(size, look(1.0, 2)).unwrap();
    let camera = Pinhole { focal: 1000.0, center: [640.0, 360.0] };
    // six frames with a ball of 500 pixels each, at two samples a pixel: one a sheet
    let placements: Vec<_> = (0..6).map(|f| at(f, [0.02 * f as f32, 0.0, 2.0], RED)).collect();
    let drawing = draw(&renderer, frames(size, FULL_BT601, [90, 128, 128], 6), &sphere(0.5), placements, camera);
    let expected = std::f32::consts::PI * (1000.0_f32 * 0.5 / (4.0_f32 - 0.25).sqrt()).powi(2);
    for (f, changed) in coverage(&drawing).into_iter().enumerate() {
        // the outermost pixels are changed though covered in part only
        let ratio = changed as f32 / expected;
        assert!((1.0..1.02).contains(&ratio), "frame {f}: {changed} pixels, {expected} expected");
    }
}
