//! What is refused, with which error, and which adapter is taken.

use futures::executor::block_on;
use halfpipe_core::{FrameBatch, Pending, Pinhole, Placement, Size, Topology, VertexBatch};
use halfpipe_render::{AdapterChoice, Backend, DrawLane, LaneConfig, RenderError};
use std::sync::Arc;

use crate::scene::*;

const SIZE: Size = Size::new(64, 48);
const CAMERA: Pinhole = Pinhole { focal: 100.0, center: [32.0, 24.0] };

fn input() -> FrameBatch {
    frames(SIZE, FULL_BT601, [90, 128, 128], 2)
}

/// The error that `draw` ends with at once.
fn refused(frames: FrameBatch, placements: Vec<Placement>, camera: Pinhole) -> RenderError {
    let renderer = lane().renderer(SIZE, look(0.6, 1)).unwrap();
    let bodies = sphere(0.2).batch(placements.len());
    block_on(renderer.draw(frames, Some(bodies), placements, camera)).unwrap_err()
}

/// The error that the promises of a draw end with.
fn broken(bodies: VertexBatch, placements: Vec<Placement>) -> String {
    let renderer = lane().renderer(SIZE, look(0.6, 1)).unwrap();
    let drawing = block_on(renderer.draw(input(), Some(bodies), placements, CAMERA)).unwrap();
    let error = drawing.frames.pictures.wait_blocking().unwrap_err().to_string();
    assert_eq!(drawing.coverage.wait_blocking().unwrap_err().to_string(), error);
    // and the lane goes on
    let placements = vec![at(0, [0.0, 0.0, 2.0], RED)];
    assert!(coverage(&draw(&renderer, input(), &sphere(0.2), placements, CAMERA))[0] > 100);
    error
}

#[test]
fn arguments_are_checked_at_once() {
    let good = at(0, [0.0, 0.0, 2.0], RED);
    let other = frames(Size::new(64, 50), FULL_BT601, [0; 3], 2);
    assert_eq!(refused(other, vec![good], CAMERA), RenderError::FrameSize { expected: SIZE, got: Size::new(64, 50) });
    assert_eq!(refused(input(), vec![good, at(2, [0.0; 3], RED)], CAMERA), RenderError::FrameIndex { placement: 1, frame: 2, frames: 2 });
    assert_eq!(refused(input(), vec![at(1, [0.0, 0.0, 2.0], RED); 300], CAMERA), RenderError::TooManyBodies { frame: 1, bodies: 300 });
    for (value, what) in [(f32::INFINITY, "the translation of placement 0"), (f32::NEG_INFINITY, "the translation of placement 0")] {
        assert_eq!(refused(input(), vec![at(0, [0.0, value, 2.0], RED)], CAMERA), RenderError::Number { what: what.into(), value });
    }
    let mut turned = good;
    turned.rotation[2][1] = f32::INFINITY;
    assert!(matches!(refused(input(), vec![turned], CAMERA), RenderError::Number { what, .. } if what == "the rotation of placement 0"));
    for focal in [0.0, -1.0, f32::INFINITY] {
        assert!(matches!(refused(input(), vec![good], Pinhole { focal, ..CAMERA }), RenderError::Number { .. }));
    }
    let off = Pinhole { center: [f32::INFINITY, 0.0], ..CAMERA };
    assert!(matches!(refused(input(), vec![good], off), RenderError::Number { .. }));
}

#[test]
fn there_is_one_placement_for_each_body() {
    let renderer = lane().renderer(SIZE, look(0.6, 1)).unwrap();
    let placements = vec![at(0, [0.0, 0.0, 2.0], RED)];
    let error = block_on(renderer.draw(input(), Some(sphere(0.2).batch(2)), placements.clone(), CAMERA)).unwrap_err();
    assert_eq!(error, RenderError::PlacementCount { placements: 1, bodies: 2 });
    let error = block_on(renderer.draw(input(), None, placements, CAMERA)).unwrap_err();
    assert_eq!(error, RenderError::PlacementCount { placements: 1, bodies: 0 });
}

#[test]
fn looks_and_sizes_are_checked() {
    let renderer = |size, opacity, supersample| lane().renderer(size, look(opacity, supersample)).map(|r| r.supersample());
    for opacity in [-0.1, 1.1, f32::NAN] {
        assert!(matches!(renderer(SIZE, opacity, 1), Err(RenderError::Look { field: "opacity", .. })));
    }
    assert!(matches!(renderer(SIZE, 0.6, 3), Err(RenderError::Look { field: "supersample", .. })));
    assert_eq!(renderer(Size::new(0, 48), 0.6, 1), Err(RenderError::EmptySize(Size::new(0, 48))));
    assert!(matches!(renderer(Size::new(1 << 20, 48), 0.6, 1), Err(RenderError::TooLarge { supersample: 1, .. })));
    assert!(matches!(renderer(Size::new(u32::MAX, 1), 0.6, 2), Err(RenderError::TooLarge { supersample: 2, .. })));
    assert_eq!(renderer(SIZE, 0.6, 0), Ok(1), "one sample on a software adapter");
    assert_eq!(renderer(SIZE, 0.6, 2), Ok(2));
}

#[test]
fn vertices_that_are_not_what_they_say_break_the_promises() {
    let mesh = sphere(0.2);
    let placements = vec![at(0, [0.0, 0.0, 2.0], RED)];
    let short = VertexBatch { positions: Pending::ready(vec![0.0; 30]), ..mesh.batch(1) };
    let error = broken(short, placements.clone());
    let vertices = mesh.topology.vertices;
    assert_eq!(error, format!("30 values are not 1 bodies of {vertices} vertices with 3 coordinates each (in draw(frames 40..42))"));

    let mut nowhere = sphere(0.2);
    nowhere.positions[7] = f32::NAN;
    assert!(broken(nowhere.batch(1), placements.clone()).starts_with("body 0 has a vertex that is not at a finite place"));

    let topology = Arc::new(Topology { vertices: 3, faces: vec![[0, 1, 7]] });
    let missing = VertexBatch { count: 1, topology, positions: Pending::ready(vec![0.0; 9]) };
    assert!(broken(missing, placements).starts_with("face 0 names vertex 7 of a topology with 3 vertices"));
}

#[test]
fn pictures_of_another_size_break_the_promises() {
    let renderer = lane().renderer(SIZE, look(0.6, 1)).unwrap();
    let mut lying = input();
    lying.pictures = frames(Size::new(32, 24), FULL_BT601, [0; 3], 2).pictures;
    let drawing = draw(&renderer, lying, &sphere(0.2), vec![at(0, [0.0, 0.0, 2.0], RED)], CAMERA);
    let error = drawing.frames.pictures.wait_blocking().unwrap_err();
    assert!(error.to_string().starts_with("the batch should hold 2 pictures of 64x48"), "{error}");
}

#[test]
fn a_failure_of_an_input_keeps_its_name() {
    let renderer = lane().renderer(SIZE, look(0.6, 1)).unwrap();
    let (resolver, positions) = Pending::new("compute(body)");
    let bodies = VertexBatch { positions, ..sphere(0.2).batch(1) };
    let drawing = block_on(renderer.draw(input(), Some(bodies), vec![at(0, [0.0, 0.0, 2.0], RED)], CAMERA)).unwrap();
    resolver.fail("the model wants 24 joints");
    let error = drawing.coverage.wait_blocking().unwrap_err();
    assert_eq!(error.to_string(), "the model wants 24 joints (in compute(body))");
}

#[test]
fn hardware_is_never_replaced_in_silence() {
    let auto = DrawLane::start(LaneConfig::default()).unwrap();
    let hardware = DrawLane::start(LaneConfig { adapter: AdapterChoice::Hardware, ..Default::default() });
    if auto.adapter().software {
        match hardware {
            Err(e @ RenderError::NoHardware { .. }) => assert!(e.to_string().contains("or choose the adapter `auto`"), "{e}"),
            other => panic!("{other:?}"),
        }
    } else {
        assert!(!hardware.unwrap().adapter().software);
    }
}

#[test]
fn software_is_software_and_says_so() {
    let adapter = lane().adapter();
    assert!(adapter.software && !adapter.name.is_empty() && adapter.passed_over.is_empty(), "{adapter:?}");
    assert!(adapter.to_string().contains("software"), "{adapter}");
    assert_eq!(lane().fault(), None);
    block_on(lane().self_test()).unwrap();
}

#[test]
fn without_a_backend_there_is_no_adapter() {
    let error = DrawLane::start(LaneConfig { backends: Vec::<Backend>::new(), ..Default::default() }).unwrap_err();
    assert_eq!(error, RenderError::NoAdapter);
}
