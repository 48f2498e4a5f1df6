//! How long image operations and the catalog's models take on the CPU, at one thread and at two.
//!
//!     make models && cargo bench -p halfpipe-nn
//!
//! Each figure is the median of several calls after one to warm up, in milliseconds a picture, crop or row.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use halfpipe_core::{Colour, Crop, FrameBatch, Matrix, Normalization, Pending, Picture, Range, Rational, Size, VideoFormat};
use halfpipe_nn::catalog::{PortEntry, models_dir};
use halfpipe_nn::image::{ImageJob, ImageWorker, PictureFormat, Sampling};
use halfpipe_nn::ort::{OrtConfig, OrtEngine};
use halfpipe_nn::{Catalog, Device, Engine, NnError, Tensor, TensorType};

/// Free heights and widths are measured at this size, which suits a detector.
const FREE: [usize; 2] = [224, 384];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    images()?;
    let catalog = Arc::new(Catalog::builtin()?);
    let models_dir = models_dir(None)?;
    for threads in [1, 2] {
        models(&catalog, &models_dir, threads)?;
    }
    Ok(())
}

fn median_ms(calls: usize, items: usize, mut work: impl FnMut() -> Result<(), NnError>) -> Result<f64, NnError> {
    work()?;
    let mut times = Vec::with_capacity(calls);
    for _ in 0..calls {
        let start = Instant::now();
        work()?;
        times.push(start.elapsed().as_secs_f64() * 1000.0 / items as f64);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[calls / 2])
}

fn batch(size: Size) -> Option<(FrameBatch, Vec<Arc<Picture>>)> {
    let data = (0..size.picture_bytes()).map(|i| (i * 31 % 251) as u8).collect();
    let pictures = vec![Arc::new(Picture::from_data(size, data)?)];
    let colour = Colour { matrix: Matrix::Bt709, range: Range::Limited };
    let format = VideoFormat { size, colour, time_base: Rational::new(1, 30) };
    Some((FrameBatch { format, first_index: 0, pts: Arc::new([0]), pictures: Pending::ready(pictures.clone()) }, pictures))
}

fn images() -> Result<(), Box<dyn std::error::Error>> {
    let norm = Normalization { mean: [0.0; 3], std: [1.0; 3] };
    let mut worker = ImageWorker::default();
    for (from, to) in [(Size::new(1768, 994), Size::new(384, 224)), (Size::new(720, 1280), Size::new(384, 384))] {
        let (batch, pictures) = batch(from).ok_or("a picture of the wrong length")?;
        let job = ImageJob::fitted(&batch, &[0], PictureFormat::letterbox(to, norm))?;
        let ms = median_ms(51, 1, || worker.run(&batch, &pictures, &job).map(drop))?;
        println!("letterbox {from} -> {to}: {ms:.2} ms");
    }
    let (batch, pictures) = batch(Size::new(720, 1280)).ok_or("a picture of the wrong length")?;
    for (side, rotation) in [(256.0, 0.0), (300.0, 0.3), (500.0, 0.3), (700.0, 0.3), (1100.0, 0.3)] {
        let crops = [Crop { frame: 0, center: [360.0, 640.0], side, rotation }; 4];
        let job = ImageJob::crops(&batch, &crops, Sampling::Averaged, 256, norm)?;
        let ms = median_ms(51, crops.len(), || worker.run(&batch, &pictures, &job).map(drop))?;
        println!("crop {side} px turned by {rotation} -> 256: {ms:.2} ms");
    }
    Ok(())
}

fn models(catalog: &Arc<Catalog>, models_dir: &Path, threads: usize) -> Result<(), Box<dyn std::error::Error>> {
    let config = OrtConfig {
        library: None,
        device: Device::Cpu,
        intra_threads: Some(threads),
        catalog: Arc::clone(catalog),
        models_dir: models_dir.to_owned(),
    };
    let engine = OrtEngine::new(config)?;
    for entry in catalog.entries() {
        let start = Instant::now();
        let mut model = engine.load(entry.name())?;
        let load = start.elapsed().as_secs_f64() * 1000.0;
        for rows in [1, 2, 4, 8] {
            let inputs = zeros(entry.inputs(), rows)?;
            let ms = median_ms(9, rows, || model.run(&inputs).map(drop))?;
            println!("{}, {threads} threads, batch {rows}: {ms:.2} ms a row (load {load:.0} ms)", entry.name());
        }
    }
    Ok(())
}

fn zeros(ports: &[PortEntry], rows: usize) -> Result<Vec<(String, Tensor)>, NnError> {
    let zero = |port: &PortEntry| {
        let free = |(i, d): (usize, &usize)| match (i, *d) {
            (0, 0) => rows,
            (_, 0) => FREE[i - 2],
            (_, d) => d,
        };
        let dims: Vec<usize> = port.dims.iter().enumerate().map(free).collect();
        let bytes = dims.iter().product::<usize>() * TensorType::bytes(port.ty);
        Ok((port.name.clone(), Tensor::from_bytes(dims, port.ty, &vec![0; bytes])?))
    };
    ports.iter().map(zero).collect()
}
