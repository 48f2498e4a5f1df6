//! A guest that breaks one rule a job, named by its `mode` option; the host must survive each.
#![allow(unsafe_code, missing_docs, reason = "wit-bindgen generates the component's ABI")]

wit_bindgen::generate!({ path: "../../../wit", world: "halfpipe:app/pipeline", generate_all });

use exports::halfpipe::job::runner::{Description, Failure, Guest, Report, Spec};
use halfpipe::job::{catalog, objects, progress};
use halfpipe::media::errors::Error;
use halfpipe::media::frames::{ChannelOrder, Crop, Fit, Normalization, PictureFormat, PixelLayout, Sampling, Size};
use halfpipe::media::slices::{self, Slice};
use halfpipe::media::video::{Encoding, Sink, Source};
use wasi::nn::{graph, tensor::Tensor, tensor::TensorType};

struct Hostile;

const RAW: Normalization = Normalization { mean: (0.0, 0.0, 0.0), std: (1.0, 1.0, 1.0) };

impl Guest for Hostile {
    fn describe() -> Description {
        Description {
            name: "test_hostile".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: "Breaks one rule a job.".into(),
            models: vec!["halfpipe_body".into()],
            options_schema: r#"{"type":"object","required":["mode"],"properties":{"mode":{"type":"string"}}}"#.into(),
        }
    }

    fn needs(_options: String) -> Result<Vec<String>, String> {
        Ok(vec!["halfpipe_body".into()])
    }

    fn run(job: Spec) -> Result<Report, Failure> {
        let options: serde_json::Value = serde_json::from_str(&job.options).map_err(|e| Failure::BadInput(e.to_string()))?;
        match options["mode"].as_str().unwrap_or_default() {
            "well_behaved" => copy(&job, |_| {}),
            // well-behaved too, and quicker done: no video
            "count_frames" => {
                let source = open()?;
                let file = objects::create_file("poses", "application/jsonl").map_err(failed)?;
                let mut frames = 0;
                while let Some(batch) = source.next(job.batch).map_err(failed)? {
                    frames += u64::from(batch.len());
                    file.append(format!("{frames}\n").as_bytes()).map_err(failed)?;
                }
                objects::File::finish(file).map_err(failed)?;
                Ok(report(frames))
            }
            "spin" => loop {
                std::hint::black_box(0);
            },
            // never computes for long, never gets anything done either
            "chatter" => loop {
                progress::report(progress::Stage::Running, 0, None);
            },
            "grow_memory" => {
                let mut hoard = Vec::new();
                loop {
                    hoard.push(vec![1u8; 16 << 20]);
                    std::hint::black_box(&hoard);
                }
            }
            "deep_recursion" => Ok(report(descend(1))),
            "leak_handles" => {
                let mut hoard = Vec::new();
                loop {
                    hoard.push(Tensor::new(&[1], TensorType::U8, &[0]));
                }
            }
            "leak_frames" => {
                let source = open()?;
                let mut hoard = Vec::new();
                while let Some(batch) = source.next(1).map_err(failed)? {
                    for _ in 0..4000 {
                        hoard.push(batch.letterbox(&[0], batch.size(), RAW).map_err(failed)?);
                    }
                }
                Ok(report(0))
            }
            "push_gigabyte" => {
                let mib = vec![0u8; 128 << 20];
                let file = objects::create_file("poses", "application/jsonl").map_err(failed)?;
                for _ in 0..8 {
                    file.append(&mib).map_err(failed)?;
                }
                Ok(report(0))
            }
            "trap_midway" => copy(&job, |frames| assert!(frames < 8, "a bug in the guest")),
            "never_finish" => {
                let source = open()?;
                let sink = sink(&source)?;
                while let Some(batch) = source.next(job.batch).map_err(failed)? {
                    sink.write(batch).map_err(failed)?;
                }
                std::mem::forget(sink);
                Ok(report(source.info().frames.unwrap_or(0)))
            }
            "ungranted_input" => objects::open_video("/etc/passwd").map(|_| report(0)).map_err(failed),
            "ungranted_output" => objects::create_file("../escape", "text/plain").map(|_| report(0)).map_err(failed),
            "ungranted_model" => graph::load_by_name("movenet_multipose").map(|_| report(0)).map_err(|e| Failure::Failed(e.data())),
            "ungranted_body" => catalog::body("halfpipe_body_small").map(|_| report(0)).map_err(failed),
            "raw_model" => graph::load(&[vec![8, 8]], graph::GraphEncoding::Onnx, graph::ExecutionTarget::Cpu)
                .map(|_| report(0))
                .map_err(|e| Failure::Failed(e.data())),
            "wrong_shape" => {
                let body =
                    graph::load_by_name("halfpipe_body").and_then(|g| g.init_execution_context()).map_err(|e| Failure::Failed(e.data()))?;
                let rotations = Tensor::new(&[1, 23, 3, 3], TensorType::Fp32, &[0; 23 * 36]);
                let out = body.compute(vec![("rotations".into(), rotations)]).map_err(|e| Failure::Failed(e.data()))?;
                Ok(report(out[0].1.data().len() as u64))
            }
            mode @ ("wild_slice" | "many_slices" | "large_slices") => {
                let tensor = Tensor::new(&[2, 16, 8], TensorType::Fp32, &[0; 2 * 16 * 8 * 4]);
                let slice = |left: u32| Slice { plane: 1, top: 0, left, height: 16, width: 8 };
                let wanted = match mode {
                    "wild_slice" => vec![slice(u32::MAX)],
                    "many_slices" => vec![slice(0); (1 << 16) + 1],
                    _ => vec![slice(0); 1 << 16],
                };
                slices::read(&tensor, &wanted).map(|_| report(0)).map_err(failed)
            }
            "wild_crop" => {
                let batch = open()?.next(1).map_err(failed)?.ok_or(Failure::Failed("empty".into()))?;
                let crop = Crop { frame: 7, center_x: f32::NAN, center_y: 0.0, side: -1.0, rotation: f32::INFINITY };
                batch.crops(&[crop], &Sampling::Averaged, 256, RAW).map(|_| report(0)).map_err(failed)
            }
            "wild_blur" => {
                let batch = open()?.next(1).map_err(failed)?.ok_or(Failure::Failed("empty".into()))?;
                let crop = Crop { frame: 0, center_x: 5.0, center_y: 5.0, side: 10.0, rotation: 0.0 };
                batch.crops(&[crop], &Sampling::Blurred(vec![f32::NAN]), 256, RAW).map(|_| report(0)).map_err(failed)
            }
            "endless_blur" => {
                let batch = open()?.next(1).map_err(failed)?.ok_or(Failure::Failed("empty".into()))?;
                let crop = Crop { frame: 0, center_x: 5.0, center_y: 5.0, side: 1e6, rotation: 0.3 };
                batch.crops(&[crop; 1024], &Sampling::Blurred(vec![64.0; 1024]), 8, RAW).map(|_| report(0)).map_err(failed)
            }
            "wild_fit" => {
                let batch = open()?.next(1).map_err(failed)?.ok_or(Failure::Failed("empty".into()))?;
                let format = PictureFormat {
                    size: Size { width: u32::MAX, height: 0 },
                    fit: Fit::Stretch,
                    fill: (114, 114, 114),
                    norm: RAW,
                    layout: PixelLayout::Nchw,
                    channels: ChannelOrder::Rgb,
                    element: TensorType::Fp32,
                };
                batch.fitted(&[0], format).map(|_| report(0)).map_err(failed)
            }
            "drop_frame" => {
                let source = open()?;
                let sink = sink(&source)?;
                let mut frames = 0;
                while let Some(batch) = source.next(1).map_err(failed)? {
                    frames += 1;
                    if frames != 3 {
                        sink.write(batch).map_err(failed)?;
                    }
                }
                Sink::finish(sink).map_err(failed)?;
                Ok(report(frames))
            }
            "claim_drawn" => copy(&job, |_| {}).map(|r| Report { frames_drawn: r.frames, ..r }),
            "stop_early" => {
                let source = open()?;
                let sink = sink(&source)?;
                let batch = source.next(1).map_err(failed)?.ok_or(Failure::Failed("empty".into()))?;
                sink.write(batch).map_err(failed)?;
                Sink::finish(sink).map_err(failed)?;
                Ok(report(1))
            }
            "escape" => {
                let seen = std::fs::read_dir("/").map(Iterator::count);
                let env = std::env::vars().count();
                let net = std::net::TcpStream::connect("127.0.0.1:9");
                if seen.is_ok() || env > 0 || net.is_ok() {
                    return Ok(report(0));
                }
                Err(Failure::Failed("no files, no environment, no network".into()))
            }
            other => Err(Failure::BadInput(format!("no mode {other:?}"))),
        }
    }
}

fn open() -> Result<Source, Failure> {
    objects::open_video("input").map_err(failed)
}

fn sink(source: &Source) -> Result<Sink, Failure> {
    objects::create_video("output", Encoding { size: source.info().size, quality: None }).map_err(failed)
}

/// Copies the video; `each` sees the number of frames so far.
fn copy(job: &Spec, each: impl Fn(u64)) -> Result<Report, Failure> {
    let source = open()?;
    let sink = sink(&source)?;
    let mut frames = 0;
    while let Some(batch) = source.next(job.batch).map_err(failed)? {
        frames += u64::from(batch.len());
        each(frames);
        sink.write(batch).map_err(failed)?;
        if !progress::report(progress::Stage::Running, frames, None) {
            return Err(Failure::Cancelled);
        }
    }
    Sink::finish(sink).map_err(failed)?;
    Ok(report(frames))
}

#[inline(never)]
fn descend(n: u64) -> u64 {
    let page = std::hint::black_box([n; 512]);
    if n == 0 { page[0] } else { descend(n + 1) + page[(n % 512) as usize] }
}

fn report(frames: u64) -> Report {
    Report {
        frames,
        frames_drawn: 0,
        people: 0,
        tracks: 0,
        statuses: vec![("no_person".into(), frames)],
        counts: Vec::new(),
        settings: "{}".into(),
        warnings: Vec::new(),
    }
}

fn failed(e: Error) -> Failure {
    Failure::Failed(format!("{e:?}"))
}

export!(Hostile);
