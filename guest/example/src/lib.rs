//! A small complete pipeline guest to copy: one body in T pose turns in front of every frame.
#![allow(unsafe_code, missing_docs, reason = "wit-bindgen generates the component's ABI")]

wit_bindgen::generate!({ path: "../../wit", world: "halfpipe:app/pipeline", generate_all });

use exports::halfpipe::job::runner::{Description, Failure, Guest, Report, Spec};
use halfpipe::job::{objects, progress};
use halfpipe::media::{errors::Error, video::Encoding, video::Sink};
use halfpipe::scene::meshes::{Mat3, MeshBatch, Vec3};
use halfpipe::scene::render::{Layout, Look, Pinhole, Placement, Renderer, Rgb, Shading};
use wasi::nn::{graph, tensor::Tensor, tensor::TensorType};

const BODY: &str = "halfpipe_body";

struct Example;

impl Guest for Example {
    fn describe() -> Description {
        Description {
            name: "example".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: "Draws one turning body in front of every frame.".into(),
            models: vec![BODY.into()],
            options_schema: r#"{"type":"object","additionalProperties":false,"properties":{}}"#.into(),
        }
    }

    fn needs(_options: String) -> Result<Vec<String>, String> {
        Ok(vec![BODY.into()])
    }

    fn run(job: Spec) -> Result<Report, Failure> {
        let source = objects::open_video("input").map_err(failed)?;
        let info = source.info();
        let look = Look { layout: Layout::Overlay, shading: Shading::Soft, opacity: 0.6, supersample: 0 };
        let renderer = Renderer::open(info.size, look).map_err(failed)?;
        let sink = objects::create_video("output", Encoding { size: renderer.output_size(), quality: None }).map_err(failed)?;
        let body = graph::load_by_name(BODY).and_then(|g| g.init_execution_context()).map_err(|e| Failure::BadModel(e.data()))?;
        let focal = 1.1 * info.size.width.max(info.size.height) as f32;
        let camera = Pinhole { focal, center_x: info.size.width as f32 / 2.0, center_y: info.size.height as f32 / 2.0 };
        let (mut frames, mut drawn) = (0u64, 0u64);
        while let Some(batch) = source.next(job.batch).map_err(failed)? {
            let n = batch.len();
            let rotations =
                Tensor::new(&[n, 24, 3, 3], TensorType::Fp32, &floats([1., 0., 0., 0., 1., 0., 0., 0., 1.].repeat(24 * n as usize)));
            let shape = Tensor::new(&[n, 12], TensorType::Fp32, &floats(vec![0.0; 12 * n as usize]));
            let solved =
                body.compute(vec![("rotations".into(), rotations), ("shape".into(), shape)]).map_err(|e| Failure::Failed(e.data()))?;
            let (_, vertices) = solved.into_iter().find(|(name, _)| name == "vertices").ok_or(Failure::BadModel("no vertices".into()))?;
            let bodies = MeshBatch::from_vertices(vertices, BODY).map_err(failed)?;
            let placements: Vec<Placement> = (0..n).map(|i| turned(i, (frames + u64::from(i)) as f32 * 0.1)).collect();
            let drawing = renderer.draw(batch, Some(bodies), &placements, camera).map_err(failed)?;
            sink.write(drawing.frames).map_err(failed)?;
            frames += u64::from(n);
            drawn += drawing.coverage.pixels().map_err(failed)?.iter().filter(|p| **p > 0).count() as u64;
            let go_on = progress::report(progress::Stage::Running, frames, info.frames);
            go_on.then_some(()).ok_or(Failure::Cancelled)?;
        }
        Sink::finish(sink).map_err(failed)?;
        let statuses = vec![("detected".into(), frames)];
        Ok(Report {
            frames,
            frames_drawn: drawn,
            people: frames,
            tracks: 1,
            statuses,
            counts: vec![],
            settings: "{}".into(),
            warnings: vec![],
        })
    }
}

/// Body i of the batch in frame i, 4 m away, turned by `angle`; body axes (y up, z front) to camera axes (y down, z forward).
fn turned(i: u32, angle: f32) -> Placement {
    let (s, c) = angle.sin_cos();
    let row = |x, y, z| Vec3 { x, y, z };
    let rotation = Mat3 { row0: row(c, 0., s), row1: row(0., -1., 0.), row2: row(s, 0., -c) };
    Placement { frame: i, rotation, translation: row(0., 0., 4.), colour: Rgb { r: 166, g: 189, b: 219 } }
}

fn floats(values: Vec<f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

fn failed(e: Error) -> Failure {
    Failure::Failed(format!("{e:?}"))
}

export!(Example);
