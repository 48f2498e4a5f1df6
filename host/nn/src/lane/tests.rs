//! Tests of the lane on the fake engine.

use std::sync::mpsc as std_mpsc;

use futures::FutureExt;
use futures::executor::block_on;
use halfpipe_core::{Colour, Crop, Matrix, Normalization, Picture, Range, Rational, Size, VideoFormat};

use super::spare::Spare;
use super::*;
use crate::fake::FakeEngine;
use crate::image::{PictureFormat, Sampling};
use crate::{Port, TensorType};

fn rows(n: usize) -> Tensor {
    Tensor::from_vec(vec![n, 3], (0..3 * n).map(|i| i as f32).collect()).unwrap()
}

fn lane(engine: FakeEngine) -> NnLane {
    NnLane::with_engine(Box::new(engine), StageClock::default()).unwrap()
}

fn double_ports() -> Ports {
    let port = |name: &str| Port { name: name.into(), ty: TensorType::F32, dims: vec![0, 3] };
    Ports { inputs: vec![port("x")], outputs: vec![port("y")] }
}

/// Queues x through a model with one input and one output.
fn queue(lane: &NnLane, model: &ModelHandle, x: Pending<Tensor>) -> Pending<Tensor> {
    let mut out = block_on(lane.compute(model, vec![("x".into(), x)], &StageClock::default())).unwrap();
    assert_eq!((out.len(), out[0].0.as_str()), (1, "y"));
    out.remove(0).1
}

fn result(lane: &NnLane, model: &ModelHandle, x: Tensor) -> Result<Tensor, String> {
    queue(lane, model, Pending::ready(x)).wait_blocking().map(|t| t.as_ref().clone()).map_err(|e| e.to_string())
}

/// A model `gate` that says when it has begun and then waits to be let through.
fn gated(engine: FakeEngine) -> (FakeEngine, std_mpsc::Receiver<()>, std_mpsc::Sender<()>) {
    let (begun, has_begun) = std_mpsc::channel();
    let (open, opened) = std_mpsc::channel();
    let opened = Mutex::new(opened);
    let engine = engine.with_model("gate", double_ports(), move |inputs| {
        begun.send(()).unwrap();
        opened.lock().unwrap().recv().unwrap();
        Ok(vec![inputs[0].1.clone()])
    });
    (engine, has_begun, open)
}

#[test]
fn promises_are_kept_and_a_model_is_loaded_once() {
    let engine = FakeEngine::default().with_conformance_models();
    let log = engine.log();
    let lane = lane(engine);
    let double = block_on(lane.load("double")).unwrap();
    let again = lane.load_blocking("double").unwrap();
    let first = queue(&lane, &double, Pending::ready(rows(2)));
    let second = queue(&lane, &again, first);
    assert_eq!(second.wait_blocking().unwrap().as_f32().unwrap(), [0.0, 4.0, 8.0, 12.0, 16.0, 20.0]);
    assert_eq!(second.origin(), "compute(double)");
    assert_eq!(log.calls(), ["load double", "run double 2", "run double 2"]);
    assert_eq!(lane.loaded().iter().map(ModelHandle::name).collect::<Vec<_>>(), ["double"]);
}

#[test]
fn blocking_calls_do_the_same() {
    let lane = lane(FakeEngine::default().with_conformance_models());
    let pair = lane.load_blocking("pair").unwrap();
    let inputs = vec![("b".into(), Pending::ready(rows(1))), ("a".into(), Pending::ready(rows(1)))];
    let out = lane.compute_blocking(&pair, inputs, &StageClock::default()).unwrap();
    assert_eq!(out.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>(), ["sum", "difference"]);
    assert_eq!(out[0].1.wait_blocking().unwrap().as_f32().unwrap(), [0.0, 2.0, 4.0]);
}

#[test]
fn errors_name_model_and_input_and_the_lane_lives_on() {
    let engine = FakeEngine::default()
        .with_conformance_models()
        .with_model("broken", double_ports(), |_| Err(NnError::Engine { model: "broken".into(), message: "no luck".into() }))
        .with_model("buggy", double_ports(), |_| panic!("index out of reach"))
        .with_model("mute", double_ports(), |_| Ok(vec![]));
    let lane = lane(engine);
    let [double, broken, buggy, mute] = ["double", "broken", "buggy", "mute"].map(|n| lane.load_blocking(n).unwrap());
    let wide = Tensor::from_vec(vec![1, 4], vec![0f32; 4]).unwrap();
    assert_eq!(result(&lane, &double, wide).unwrap_err(), "model `double`: the input `x` is [any, 3], not [1, 4] (in compute(double))");
    assert_eq!(result(&lane, &broken, rows(1)).unwrap_err(), "model `broken` failed: no luck (in compute(broken))");
    assert!(result(&lane, &buggy, rows(1)).unwrap_err().contains("a bug in the host: index out of reach"));
    assert!(result(&lane, &mute, rows(1)).unwrap_err().contains("0 outputs instead of 1"));
    assert!(lane.load_blocking("none").unwrap_err().to_string().contains("`none`"));
    assert!(result(&lane, &double, rows(1)).is_ok());
}

#[test]
fn a_failed_input_keeps_its_origin() {
    let lane = lane(FakeEngine::default().with_conformance_models());
    let double = lane.load_blocking("double").unwrap();
    let (resolver, x) = Pending::new("decode");
    let y = queue(&lane, &double, x);
    resolver.fail("the file is cut short");
    assert_eq!(y.wait_blocking().unwrap_err().to_string(), "the file is cut short (in decode)");
}

#[test]
fn a_handle_of_another_lane_is_refused() {
    let (one, other) = (lane(FakeEngine::default().with_conformance_models()), lane(FakeEngine::default().with_conformance_models()));
    let double = one.load_blocking("double").unwrap();
    assert!(result(&other, &double, rows(1)).unwrap_err().contains("another lane"));
}

#[test]
fn work_that_nobody_wants_is_skipped() {
    let (engine, begun, open) = gated(FakeEngine::default().with_conformance_models());
    let log = engine.log();
    let lane = lane(engine);
    let [gate, double] = ["gate", "double"].map(|n| lane.load_blocking(n).unwrap());
    let first = queue(&lane, &gate, Pending::ready(rows(1)));
    begun.recv().unwrap();
    drop(queue(&lane, &double, Pending::ready(rows(7))));
    let kept = queue(&lane, &double, Pending::ready(rows(2)));
    open.send(()).unwrap();
    kept.wait_blocking().unwrap();
    first.wait_blocking().unwrap();
    assert_eq!(log.calls()[2..], ["run gate 1", "run double 2"]);
}

#[test]
fn two_workers_work_side_by_side() {
    let (engine, begun, open) = gated(FakeEngine::default().with_workers(2, true).with_conformance_models());
    let lane = NnLane::watching(Box::new(engine), StageClock::default(), Spare::fixed(true)).unwrap();
    let [gate, double] = ["gate", "double"].map(|n| lane.load_blocking(n).unwrap());
    let held = queue(&lane, &gate, Pending::ready(rows(1)));
    begun.recv().unwrap();
    let second = queue(&lane, &double, queue(&lane, &double, Pending::ready(rows(2))));
    assert_eq!(second.wait_blocking().unwrap().as_f32().unwrap()[5], 20.0, "it passed the one that is held up");
    assert!(held.peek().is_none());
    // while cores stand idle, the same model gets a second session
    let other = queue(&lane, &gate, Pending::ready(rows(1)));
    begun.recv().unwrap();
    for promise in [held, other] {
        open.send(()).unwrap();
        promise.wait_blocking().unwrap();
    }
}

/// A lane that thinks the cores busy, with the model `gate`, which took so many milliseconds or more to load.
fn busy(more: bool, loading: u64) -> (NnLane, ModelHandle, crate::fake::FakeLog, std_mpsc::Receiver<()>, std_mpsc::Sender<()>) {
    let engine = FakeEngine::default().with_workers(2, more).with_load_time(std::time::Duration::from_millis(loading));
    let (engine, begun, open) = gated(engine);
    let log = engine.log();
    let lane = NnLane::watching(Box::new(engine), StageClock::default(), Spare::fixed(false)).unwrap();
    let gate = lane.load_blocking("gate").unwrap();
    (lane, gate, log, begun, open)
}

#[test]
fn a_model_with_one_session_is_used_by_one_worker_at_a_time() {
    for more in [false, true] {
        let (lane, gate, log, begun, open) = busy(more, 20);
        let promises = [1, 2].map(|n| queue(&lane, &gate, Pending::ready(rows(n))));
        begun.recv().unwrap();
        assert!(begun.recv_timeout(std::time::Duration::from_millis(50)).is_err(), "the second waits for the first");
        open.send(()).unwrap();
        begun.recv().unwrap();
        open.send(()).unwrap();
        promises.iter().for_each(|promise| drop(promise.wait_blocking().unwrap()));
        assert_eq!(log.calls().len(), 3, "loaded once, run twice");
    }
}

#[test]
fn a_model_that_is_waited_for_gets_another_session() {
    let (lane, gate, log, begun, open) = busy(true, 0);
    let mut promises: Vec<_> = (0..2).map(|_| queue(&lane, &gate, Pending::ready(rows(1)))).collect();
    begun.recv().unwrap();
    // many times what it took to load
    assert!(begun.recv_timeout(std::time::Duration::from_millis(300)).is_err(), "the second waits for the first");
    open.send(()).unwrap();
    begun.recv().unwrap();
    promises.push(queue(&lane, &gate, Pending::ready(rows(1))));
    begun.recv_timeout(std::time::Duration::from_secs(30)).expect("the third has a session of its own");
    assert_eq!(log.calls().iter().filter(|call| *call == "load gate").count(), 2);
    for _ in 0..2 {
        open.send(()).unwrap();
    }
    promises.iter().for_each(|promise| drop(promise.wait_blocking().unwrap()));
}

#[test]
fn two_workers_load_a_model_once() {
    let engine = FakeEngine::default().with_workers(2, true).with_load_time(std::time::Duration::from_millis(20)).with_conformance_models();
    let log = engine.log();
    let lane = lane(engine);
    let clients: Vec<_> = (0..8).map(|_| lane.client()).collect();
    std::thread::scope(|scope| clients.iter().for_each(|client| drop(scope.spawn(|| client.load_blocking("double").unwrap()))));
    assert_eq!(log.calls(), ["load double"]);
}

#[test]
fn a_full_queue_makes_callers_wait() {
    let (engine, begun, open) = gated(FakeEngine::default().with_conformance_models());
    let lane = lane(engine);
    let [gate, double] = ["gate", "double"].map(|n| lane.load_blocking(n).unwrap());
    let first = queue(&lane, &gate, Pending::ready(rows(1)));
    begun.recv().unwrap();
    let waiting: Vec<_> = (0..QUEUE).map(|_| queue(&lane, &double, Pending::ready(rows(1)))).collect();
    let clock = StageClock::default();
    let mut one_more = Box::pin(lane.compute(&double, vec![("x".into(), Pending::ready(rows(1)))], &clock));
    assert!(one_more.as_mut().now_or_never().is_none());
    open.send(()).unwrap();
    let last = block_on(one_more).unwrap();
    for promise in waiting.iter().chain([&first, &last[0].1]) {
        promise.wait_blocking().unwrap();
    }
}

#[test]
fn clients_take_turns() {
    let (engine, begun, open) = gated(FakeEngine::default().with_conformance_models());
    let log = engine.log();
    let flood = lane(engine);
    let [gate, double] = ["gate", "double"].map(|n| flood.load_blocking(n).unwrap());
    let first = queue(&flood, &gate, Pending::ready(rows(1)));
    begun.recv().unwrap();
    let much: Vec<_> = (0..QUEUE).map(|_| queue(&flood, &double, Pending::ready(rows(1)))).collect();
    // another job comes later, and its frames come later still
    let (decode, frames) = Pending::new("decode");
    let late = flood.client();
    let waiting = queue(&late, &double, frames);
    let other = flood.client();
    let little = queue(&other, &double, Pending::ready(rows(5)));
    open.send(()).unwrap();
    little.wait_blocking().unwrap();
    first.wait_blocking().unwrap();
    much.iter().for_each(|m| drop(m.wait_blocking().unwrap()));
    decode.resolve(rows(7));
    waiting.wait_blocking().unwrap();
    let runs = &log.calls()[3..];
    // the gate's time was booked to the first client, so the newcomer with its work at hand is next
    assert_eq!((runs[0].as_str(), runs.last().unwrap().as_str()), ("run double 5", "run double 7"), "{runs:?}");
    assert_eq!(runs.len(), QUEUE + 2);
}

/// A model that doubles up to `most` rows at once.
fn hungry(most: usize) -> FakeEngine {
    FakeEngine::default().with_model("hungry", double_ports(), move |inputs| {
        let x = &inputs[0].1;
        if x.dims()[0] > most {
            return Err(NnError::OutOfMemory { model: "hungry".into(), batch: x.dims()[0], message: "too much".into() });
        }
        Ok(vec![Tensor::from_vec(x.dims().to_vec(), x.as_f32()?.iter().map(|v| 2.0 * v).collect())?])
    })
}

#[test]
fn out_of_memory_is_tried_again_in_halves() {
    let engine = hungry(2);
    let log = engine.log();
    let clock = StageClock::default();
    let lane = NnLane::with_engine(Box::new(engine), clock.clone()).unwrap();
    let model = lane.load_blocking("hungry").unwrap();
    let y = result(&lane, &model, rows(7)).unwrap();
    let want: Vec<f32> = (0..21u8).map(|i| 2.0 * f32::from(i)).collect();
    assert_eq!((y.dims(), y.as_f32().unwrap()), (&[7, 3][..], &want[..]));
    let runs: Vec<_> = log.calls().iter().filter_map(|c| c.strip_prefix("run hungry ").map(str::to_owned)).collect();
    assert_eq!(runs, ["7", "3", "1", "2", "4", "2", "2"]);
    assert_eq!(clock.snapshot()["nn.halved.hungry"].items, 7 + 3 + 4);
}

#[test]
fn out_of_memory_with_a_single_row_fails_clearly() {
    let lane = lane(hungry(0));
    let model = lane.load_blocking("hungry").unwrap();
    let error = result(&lane, &model, rows(3)).unwrap_err();
    assert_eq!(error, "model `hungry` ran out of memory with a batch of 1: too much (in compute(hungry))");
}

fn frames(n: usize) -> FrameBatch {
    let format = VideoFormat {
        size: Size::new(8, 4),
        colour: Colour { matrix: Matrix::Bt709, range: Range::Limited },
        time_base: Rational::new(1, 25),
    };
    let white = Arc::new(Picture::filled(format.size, [235, 128, 128]));
    FrameBatch { format, first_index: 0, pts: (0..n as i64).collect(), pictures: Pending::ready(vec![white; n]) }
}

const NORM: Normalization = Normalization { mean: [0.5; 3], std: [0.5; 3] };

fn boxed_to_four() -> PictureFormat {
    PictureFormat::letterbox(Size::new(4, 4), NORM)
}

#[test]
fn image_operations_make_tensors_that_models_take() {
    let lane_clock = StageClock::default();
    let ports = Ports {
        inputs: vec![Port { name: "x".into(), ty: TensorType::F32, dims: vec![0, 3, 4, 4] }],
        outputs: vec![Port { name: "y".into(), ty: TensorType::F32, dims: vec![0, 3, 4, 4] }],
    };
    let engine = FakeEngine::default().with_model("same", ports, |inputs| Ok(vec![inputs[0].1.clone()]));
    let lane = NnLane::with_engine(Box::new(engine), lane_clock.clone()).unwrap();
    let clock = StageClock::default();
    let batch = frames(2);
    let (boxed, map) = block_on(lane.fitted(&batch, &[1, 0], boxed_to_four(), &clock)).unwrap();
    assert_eq!((map.inner, map.scale, boxed.origin()), (Size::new(4, 2), [0.5; 2], "fitted"));
    let same = lane.load_blocking("same").unwrap();
    let y = block_on(lane.compute(&same, vec![("x".into(), boxed)], &clock)).unwrap().remove(0).1.wait_blocking().unwrap();
    assert_eq!(y.dims(), [2, 3, 4, 4]);
    for (i, v) in y.as_f32().unwrap().iter().enumerate() {
        let want = if i % 16 < 8 { 1.0 } else { -1.0 };
        assert!((v - want).abs() < 0.01, "element {i} is {v}");
    }
    let crop = Crop { frame: 1, center: [4.0, 2.0], side: 2.0, rotation: 0.1 };
    let cut = block_on(lane.crops(&batch, &[crop; 3], Sampling::Averaged, 4, NORM, &clock)).unwrap();
    assert_eq!(cut.wait_blocking().unwrap().dims(), [3, 3, 4, 4]);
    for book in [clock.snapshot(), lane_clock.snapshot()] {
        assert_eq!(["nn.letterbox", "nn.infer.same", "nn.crops", "nn.wait"].map(|s| book[s].items), [2, 2, 3, 3]);
    }
    assert_eq!(lane_clock.snapshot()["nn.load.same"].calls, 1);
}

#[test]
fn wrong_arguments_are_refused_at_once() {
    let lane = lane(FakeEngine::default());
    let clock = StageClock::default();
    let error = block_on(lane.fitted(&frames(2), &[2], boxed_to_four(), &clock)).unwrap_err();
    assert_eq!(error.to_string(), "there is no frame 2 in a batch of 2");
    let error = block_on(lane.crops(&frames(2), &[], Sampling::Averaged, 4, NORM, &clock)).unwrap_err();
    assert!(error.to_string().starts_with("there are 0 crops"), "{error}");
}

#[test]
fn frames_that_failed_keep_their_origin() {
    let lane = lane(FakeEngine::default());
    let (resolver, pictures) = Pending::new("decode");
    let batch = FrameBatch { pictures, ..frames(1) };
    let (tensor, _) = block_on(lane.fitted(&batch, &[0], boxed_to_four(), &StageClock::default())).unwrap();
    resolver.fail("no more frames");
    assert_eq!(tensor.wait_blocking().unwrap_err().to_string(), "no more frames (in decode)");
}

#[test]
fn the_last_drop_finishes_what_is_wanted_and_joins() {
    let alive = Arc::new(());
    let held = Arc::clone(&alive);
    let engine = FakeEngine::default().with_model("held", double_ports(), move |inputs| {
        assert!(Arc::strong_count(&held) > 0);
        Ok(vec![inputs[0].1.clone()])
    });
    let lane = lane(engine);
    let model = lane.load_blocking("held").unwrap();
    let y = queue(&lane, &model, Pending::ready(rows(1)));
    let clone = lane.clone();
    drop(lane);
    assert_eq!(Arc::strong_count(&alive), 2);
    drop(clone);
    assert_eq!(Arc::strong_count(&alive), 1, "the thread still holds its models");
    assert!(y.peek().is_some() || y.wait_blocking().is_ok());
}
