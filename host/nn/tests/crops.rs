//! Blurred crops against 4D-Humans' rule as scikit-image and OpenCV carry it out (`fixtures/make_crops.py`).
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;

use halfpipe_core::{Colour, Crop, FrameBatch, Matrix, Normalization, Pending, Picture, Range, Rational, Size, VideoFormat};
use halfpipe_nn::image::{ImageJob, ImageWorker, Sampling};
use safetensors::SafeTensors;

const SIZE: Size = Size::new(256, 192);
const SIDE: u32 = 48;
/// Leaves values on the scale 0..=1.
const PLAIN: Normalization = Normalization { mean: [0.0; 3], std: [1.0; 3] };

struct Reference {
    name: &'static str,
    crop: Crop,
    blur: f32,
    /// `[3, SIDE, SIDE]`, 0..=1.
    rgb: Vec<f32>,
}

fn read() -> (FrameBatch, Vec<Arc<Picture>>, Vec<Reference>) {
    let bytes = include_bytes!("fixtures/crops.safetensors");
    let file = SafeTensors::deserialize(bytes).unwrap();
    let mut picture = Picture::filled(SIZE, [0; 3]);
    for (plane, name) in picture.planes_mut().into_iter().zip(["y", "cb", "cr"]) {
        plane.copy_from_slice(file.tensor(name).unwrap().data());
    }
    let pictures = vec![Arc::new(picture)];
    let format = VideoFormat { size: SIZE, colour: Colour { matrix: Matrix::Bt709, range: Range::Full }, time_base: Rational::new(1, 30) };
    let batch = FrameBatch { format, first_index: 0, pts: [0].into(), pictures: Pending::ready(pictures.clone()) };
    let names = ["inside", "one_to_one", "enlarged", "at_the_corner", "slightly_blurred", "blurred_over_the_edge", "large_blur"];
    let reference = |name: &'static str| {
        let numbers = file.tensor(&format!("{name}.crop")).unwrap();
        let [x, y, side, blur] = numbers.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect::<Vec<_>>()[..] else {
            panic!("{name}.crop has four numbers");
        };
        let levels = file.tensor(&format!("{name}.rgb")).unwrap();
        let rgb = levels.data().as_chunks::<2>().0.iter().map(|b| f32::from(u16::from_le_bytes(*b)) / 128.0 / 255.0).collect();
        Reference { name, crop: Crop { frame: 0, center: [x, y], side, rotation: 0.0 }, blur, rgb }
    };
    (batch, pictures, names.map(reference).into())
}

#[test]
fn crops_are_those_of_opencv_within_a_level_of_255() {
    let (batch, pictures, references) = read();
    assert!(references[0].blur == 0.0 && references[4].blur > 0.1 && references[6].blur > 2.5);
    let mut worker = ImageWorker::default();
    for r in &references {
        let job = ImageJob::crops(&batch, &[r.crop], Sampling::Blurred(vec![r.blur]), SIDE, PLAIN).unwrap();
        let got = worker.run(&batch, &pictures, &job).unwrap();
        assert_eq!(got.dims(), [1, 3, SIDE as usize, SIDE as usize]);
        let differences: Vec<f32> = got.as_f32().unwrap().iter().zip(&r.rgb).map(|(a, b)| (a - b).abs() * 255.0).collect();
        let mean = differences.iter().sum::<f32>() / differences.len() as f32;
        let most = differences.iter().copied().fold(0.0, f32::max);
        println!("{}: mean {mean:.3}, most {most:.2} of 255", r.name);
        // a level of rounding in 8-bit RGB, and a 32nd of a pixel, which is as fine as OpenCV places its samples
        assert!(mean < 1.0 && most < 8.0, "{}: mean {mean}, most {most} of 255", r.name);
    }
}

#[test]
fn a_crop_that_copies_pixels_is_the_frame_itself() {
    let (batch, pictures, references) = read();
    let r = references.iter().find(|r| r.name == "one_to_one").unwrap();
    let job = ImageJob::crops(&batch, &[r.crop], Sampling::Blurred(vec![0.0]), SIDE, PLAIN).unwrap();
    let got = ImageWorker::default().run(&batch, &pictures, &job).unwrap();
    let most = got.as_f32().unwrap().iter().zip(&r.rgb).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
    assert!(most * 255.0 < 0.51, "{}: only the rounding of 8-bit RGB may differ", most * 255.0);
}

#[test]
fn crops_of_one_call_are_those_of_single_calls() {
    let (batch, pictures, references) = read();
    let (crops, blurs): (Vec<Crop>, Vec<f32>) = references.iter().map(|r| (r.crop, r.blur)).unzip();
    let mut worker = ImageWorker::default();
    let together =
        worker.run(&batch, &pictures, &ImageJob::crops(&batch, &crops, Sampling::Blurred(blurs.clone()), SIDE, PLAIN).unwrap()).unwrap();
    let rows = together.as_f32().unwrap().chunks_exact(3 * (SIDE * SIDE) as usize);
    for ((crop, blur), row) in crops.iter().zip(&blurs).zip(rows) {
        let job = ImageJob::crops(&batch, &[*crop], Sampling::Blurred(vec![*blur]), SIDE, PLAIN).unwrap();
        assert_eq!(worker.run(&batch, &pictures, &job).unwrap().as_f32().unwrap(), row);
    }
}
