//! Raymond light and silhouettes against pyrender with 4D-Humans' settings (`../fixtures/make_reference.py`), and points before the
//! long lens of 4D-Humans' camera.

use std::path::Path;
use std::sync::Arc;

use halfpipe_core::{Layout, Look, Pinhole, Placement, Rgb, Shading, Size, Topology};
use safetensors::SafeTensors;

use crate::scene::*;

/// One body as another renderer drew it.
struct Reference {
    mesh: Mesh,
    placement: Placement,
    camera: Pinhole,
    picture: Png,
}

/// 8-bit samples of a picture, pixel after pixel.
struct Png {
    size: Size,
    channels: usize,
    samples: Vec<u8>,
}

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn read_png(path: &Path) -> Png {
    let file = std::fs::File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().unwrap();
    let mut samples = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut samples).unwrap();
    Png { size: Size::new(info.width, info.height), channels: info.color_type.samples(), samples }
}

fn write_png(path: &Path, size: Size, rgb: &[u8]) {
    let file = std::fs::File::create(path).unwrap();
    let mut encoder = png::Encoder::new(std::io::BufWriter::new(file), size.width, size.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(rgb).unwrap();
}

fn reference() -> Reference {
    let bytes = include_bytes!("../fixtures/body.safetensors");
    let file = SafeTensors::deserialize(bytes).unwrap();
    let floats =
        |name: &str| -> Vec<f32> { file.tensor(name).unwrap().data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect() };
    let faces: Vec<u32> = file.tensor("faces").unwrap().data().as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b).into()).collect();
    let positions = floats("vertices");
    let topology = Arc::new(Topology { vertices: (positions.len() / 3) as u32, faces: faces.as_chunks::<3>().0.to_vec() });
    let &[r, g, b] = file.tensor("colour").unwrap().data() else { panic!("a colour has three samples") };
    let mut placement = at(0, floats("translation").try_into().unwrap(), Rgb(r, g, b));
    placement.rotation = floats("rotation").as_chunks::<3>().0.to_vec().try_into().unwrap();
    let [focal, x, y] = floats("camera")[..] else { panic!("a camera has three numbers") };
    let picture = read_png(&fixture("body.png"));
    assert_eq!(picture.channels, 4, "body.png has red, green, blue and coverage");
    Reference { mesh: Mesh { topology, positions }, placement, camera: Pinhole { focal, center: [x, y] }, picture }
}

fn raymond(supersample: u8) -> Look {
    Look { layout: Layout::Overlay, shading: Shading::Raymond, opacity: 1.0, supersample }
}

/// The pixels of a mask whose eight neighbours are in it too.
fn inside(mask: &[bool], size: Size) -> Vec<bool> {
    let (width, height) = (size.width as usize, size.height as usize);
    let pixel = |i: usize| {
        let (x, y) = (i % width, i / width);
        let within = (1..width - 1).contains(&x) && (1..height - 1).contains(&y);
        within && (y - 1..=y + 1).all(|y| (x - 1..=x + 1).all(|x| mask[y * width + x]))
    };
    (0..mask.len()).map(pixel).collect()
}

/// Intersection over union of two coverages: pixel by pixel the smaller share over the larger one, summed.
fn overlap(a: &[f32], b: &[f32]) -> f32 {
    let (both, either) = a.iter().zip(b).fold((0.0, 0.0), |(both, either), (a, b)| (both + a.min(*b), either + a.max(*b)));
    both / either
}

#[test]
fn a_bodys_silhouette_is_pyrenders() {
    let Reference { mesh, placement, camera, picture } = reference();
    let theirs: Vec<f32> = picture.samples.chunks_exact(4).map(|p| f32::from(p[3]) / 255.0).collect();
    let halves = |alpha: &[f32]| -> Vec<f32> { alpha.iter().map(|a| f32::from(u8::from(*a >= 0.5))).collect() };
    // a pixel of four samples covers quarters, pyrender's 64ths: rounding alone would take their overlap to 0.993
    let quarters = |alpha: &[f32]| -> Vec<f32> { alpha.iter().map(|a| (4.0 * a).round() / 4.0).collect() };
    for supersample in [1, 2] {
        let ours = alpha(raymond(supersample), picture.size, &mesh, &[placement], camera);
        // one sample is smoothed afterwards, so what counts is where it covers a half; of four, two are exactly a half
        let found =
            if supersample == 1 { overlap(&halves(&ours), &halves(&theirs)) } else { overlap(&quarters(&ours), &quarters(&theirs)) };
        let [(area, ours), (_, theirs)] = [ours, theirs.clone()].map(|mask| moments(&mask, picture.size.width));
        println!("supersample {supersample}: IoU {found:.4}, {area:.0} pixels, centres {ours:?} and {theirs:?}");
        assert!(area > 5000.0 && found > 0.99, "supersample {supersample}: IoU {found} over {area} pixels");
        assert!((0..2).all(|k| (ours[k] - theirs[k]).abs() < 0.1), "centres {ours:?} and {theirs:?}");
    }
}

#[test]
fn raymond_light_is_pyrenders() {
    let Reference { mesh, placement, camera, picture } = reference();
    let drawn = draw_one(raymond(1), picture.size, [0, 128, 128], &mesh, vec![placement], camera);
    let theirs: Vec<bool> = picture.samples.chunks_exact(4).map(|p| p[3] == 255).collect();
    // at its edge a body is mixed with what is behind it
    let inner = inside(&theirs, picture.size);
    let (mut sum, mut most, mut count) = (0.0_f32, 0.0_f32, 0.0_f32);
    for (i, theirs) in picture.samples.chunks_exact(4).enumerate().filter(|(i, _)| inner[*i]) {
        let (x, y) = (i % picture.size.width as usize, i / picture.size.width as usize);
        for (ours, theirs) in rgb(&drawn, FULL_BT601, x, y).into_iter().zip(theirs) {
            let difference = (ours - f32::from(*theirs)).abs();
            sum += difference;
            most = most.max(difference);
            count += 1.0;
        }
    }
    println!("mean difference {:.2} of 255, most {most}, {count} samples", sum / count);
    assert!(count > 10_000.0 && sum / count < 3.0, "a mean difference of {} of 255 over {count} samples", sum / count);
}

#[test]
fn the_picture_in_raymond_light_stays_as_it_is() {
    let Reference { mesh, placement, camera, picture } = reference();
    let size = picture.size;
    let drawn = draw_one(raymond(2), size, [90, 128, 128], &mesh, vec![placement], camera);
    let pixels = (0..size.area()).flat_map(|i| rgb(&drawn, FULL_BT601, i % size.width as usize, i / size.width as usize));
    let pixels: Vec<u8> = pixels.map(|v| v.round().clamp(0.0, 255.0) as u8).collect();
    let (golden, fresh) = (fixture("raymond.png"), Path::new(env!("CARGO_TARGET_TMPDIR")).join("raymond.png"));
    write_png(&fresh, size, &pixels);
    let told = format!("look at {} and, if it is right, copy it to {}", fresh.display(), golden.display());
    assert!(golden.is_file(), "there is no picture to compare with; {told}");
    let golden = read_png(&golden);
    assert_eq!((golden.size, golden.channels), (size, 3), "another size; {told}");
    let differences: Vec<u8> = golden.samples.iter().zip(&pixels).map(|(a, b)| a.abs_diff(*b)).collect();
    let mean = differences.iter().map(|d| f32::from(*d)).sum::<f32>() / differences.len() as f32;
    // drivers may round an edge to another sample
    assert!(mean < 0.2, "{mean} of 255 on average; {told}");
}

#[test]
fn soft_light_is_another() {
    let Reference { mesh, placement, camera, picture } = reference();
    let looks = [raymond(1), look(1.0, 1)];
    let [raymond, soft] = looks.map(|look| draw_one(look, picture.size, [0, 128, 128], &mesh, vec![placement], camera));
    let differ = raymond.planes()[0].iter().zip(soft.planes()[0]).filter(|(a, b)| a.abs_diff(**b) > 10).count();
    assert!(differ > 3000, "{differ} pixels differ");
}

#[test]
fn points_before_a_long_lens_land_where_the_closed_form_puts_them() {
    // 4D-Humans' focal length for this frame, and as far away as it puts people
    let size = Size::new(1280, 720);
    let camera = Pinhole { focal: 5000.0 / 256.0 * 1280.0, center: [640.0, 360.0] };
    let radius = 4.0;
    for distance in [40.0_f32, 111.0] {
        let marker = sphere(radius * distance / camera.focal);
        for (x, y) in [(640.0, 360.0), (640.3, 359.6), (6.2, 7.1), (1273.4, 6.4), (5.8, 713.3), (1274.2, 713.9), (6.0, 360.5), (700.7, 6.6)]
        {
            let point = [(x - camera.center[0]) * distance / camera.focal, (y - camera.center[1]) * distance / camera.focal, distance];
            let alpha = alpha(raymond(2), size, &marker, &[at(0, point, WHITE)], camera);
            let (area, seen) = moments(&alpha, size.width);
            assert!((area - std::f32::consts::PI * radius * radius).abs() < 3.0, "an area of {area} pixels at {x}, {y}");
            assert!((seen[0] - x).abs() < 0.1 && (seen[1] - y).abs() < 0.1, "{distance} m: seen at {seen:?} instead of {x}, {y}");
        }
    }
}
