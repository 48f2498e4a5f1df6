//! Tests of the image operations against the slow reference, and of their arguments.

use halfpipe_core::{Colour, Fit, Matrix, Pending, Range, Rational, VideoFormat};

use super::reference::{HD, Rgb, picture, sampled, waves};
use super::*;
use crate::TensorType;

/// Leaves values on the scale 0..=255.
const PLAIN: Normalization = Normalization { mean: [0.0; 3], std: [1.0 / 255.0; 3] };

fn batch(pictures: Vec<Picture>, colour: Colour) -> (FrameBatch, Vec<Arc<Picture>>) {
    let size = pictures[0].size();
    let pictures: Vec<_> = pictures.into_iter().map(Arc::new).collect();
    let format = VideoFormat { size, colour, time_base: Rational::new(1, 30) };
    let pts = (0..pictures.len() as i64).collect();
    (FrameBatch { format, first_index: 0, pts, pictures: Pending::ready(pictures.clone()) }, pictures)
}

fn letterbox(picture: &Picture, colour: Colour, target: Size, norm: Normalization) -> Vec<f32> {
    let (batch, pictures) = batch(vec![picture.clone()], colour);
    let job = ImageJob::fitted(&batch, &[0], PictureFormat::letterbox(target, norm)).unwrap();
    ImageWorker::default().run(&batch, &pictures, &job).unwrap().as_f32().unwrap().to_vec()
}

fn crop(picture: &Picture, colour: Colour, crop: Crop, side: u32) -> Vec<f32> {
    let (batch, pictures) = batch(vec![picture.clone()], colour);
    let job = ImageJob::crops(&batch, &[crop], Sampling::Averaged, side, PLAIN).unwrap();
    ImageWorker::default().run(&batch, &pictures, &job).unwrap().as_f32().unwrap().to_vec()
}

fn square(x: f32, y: f32, side: f32, rotation: f32) -> Crop {
    Crop { frame: 0, center: [x, y], side, rotation }
}

/// Mean and largest difference.
fn difference(got: &[f32], want: &[f64]) -> (f64, f64) {
    assert_eq!(got.len(), want.len());
    let all: Vec<f64> = got.iter().zip(want).map(|(g, w)| (f64::from(*g) - w).abs()).collect();
    (all.iter().sum::<f64>() / all.len() as f64, all.iter().copied().fold(0.0, f64::max))
}

#[test]
fn a_letterbox_is_close_to_an_exact_area_average() {
    for (from, target) in [((353, 199), (96, 64)), ((640, 360), (384, 224)), ((101, 77), (100, 77)), ((64, 48), (200, 160))] {
        let size = Size::new(from.0, from.1);
        for colour in [HD, Colour { matrix: Matrix::Bt601, range: Range::Full }] {
            let picture = picture(size, colour, waves);
            let target = Size::new(target.0, target.1);
            let inner = LetterboxMap::fit(size, target).inner;
            let got = letterbox(&picture, colour, target, PLAIN);
            let want = Rgb::of(&picture, colour).scaled(inner);
            let inside: Vec<f32> = (0..3 * inner.area())
                .map(|i| {
                    let (c, v, u) = (i / inner.area(), i % inner.area() / inner.width as usize, i % inner.width as usize);
                    got[c * target.area() + v * target.width as usize + u]
                })
                .collect();
            let (mean, most) = difference(&inside, &want);
            assert!(mean < 1.5 && most < 8.0, "{size} to {target}: mean {mean}, most {most}");
        }
    }
}

#[test]
fn the_rest_of_a_letterbox_is_normalised_black() {
    let norm = Normalization { mean: [0.5, 0.4, 0.3], std: [0.5, 0.2, 0.1] };
    let white = picture(Size::new(40, 20), HD, |_, _| [255.0; 3]);
    let got = letterbox(&white, HD, Size::new(16, 16), norm);
    for (c, plane) in got.chunks_exact(256).enumerate() {
        for (i, v) in plane.iter().enumerate() {
            let want = (f32::from(u8::from(i / 16 < 8)) - norm.mean[c]) / norm.std[c];
            assert!((v - want).abs() < 1e-2, "channel {c}, element {i}: {v}, not {want}");
        }
    }
}

#[test]
fn the_size_of_the_frame_itself_keeps_every_pixel() {
    let grey = picture(Size::new(31, 17), HD, |x, y| [(x * 5.0 + y * 3.0) % 255.0; 3]);
    let got = letterbox(&grey, HD, grey.size(), PLAIN);
    for (i, y) in grey.planes()[0].iter().enumerate() {
        let want = HD.to_rgb([f32::from(*y), 128.0, 128.0])[0];
        assert!((got[i] - want).abs() < 1e-3);
    }
}

#[test]
fn crops_are_close_to_bilinear_interpolation() {
    let size = Size::new(321, 241);
    for colour in [HD, Colour { matrix: Matrix::Bt601, range: Range::Full }] {
        let picture = picture(size, colour, waves);
        for c in [
            square(160.0, 120.0, 96.0, 0.0),
            square(150.3, 99.8, 64.5, 0.7),
            square(90.0, 130.5, 120.0, -2.5),
            square(200.0, 120.0, 20.0, 3.0),
        ] {
            let (mean, most) = difference(&crop(&picture, colour, c, 64), &sampled(&picture, colour, &c, 64));
            assert!(mean < 0.01 && most < 0.1, "{c:?}: mean {mean}, most {most}");
        }
    }
}

#[test]
fn crops_over_the_edge_are_close_too() {
    let picture = picture(Size::new(97, 83), HD, waves);
    for c in [square(0.0, 0.0, 60.0, 0.3), square(97.0, 83.0, 90.0, -0.4), square(48.0, 40.0, 120.0, 0.8), square(-20.0, 40.0, 60.0, 0.0)] {
        let (mean, most) = difference(&crop(&picture, HD, c, 64), &sampled(&picture, HD, &c, 64));
        assert!(mean < 0.01 && most < 0.1, "{c:?}: mean {mean}, most {most}");
    }
}

#[test]
fn large_crops_are_close_to_the_average_over_each_pixel() {
    let picture = picture(Size::new(403, 307), HD, waves);
    let rgb = Rgb::of(&picture, HD);
    for c in [
        square(200.0, 150.0, 150.0, 0.2),
        square(201.0, 153.0, 250.0, 0.0),
        square(190.0, 160.0, 400.0, 1.2),
        square(300.0, 200.0, 500.0, 0.5),
    ] {
        let (mean, most) = difference(&crop(&picture, HD, c, 48), &rgb.cropped(&c, 48, 12));
        // a frame's edge falls differently into blocks and footprints
        assert!(mean < 1.5, "{c:?}: mean {mean}, most {most}");
    }
}

#[test]
fn blurred_crops_are_close_to_a_plain_blur_and_bilinear_samples_by_index() {
    let pattern = |x: f64, y: f64| if (x / 9.0).floor() as i64 % 3 == (y / 7.0).floor() as i64 % 2 { [230.0; 3] } else { waves(x, y) };
    for (size, crops) in [
        (
            Size::new(203, 157),
            vec![
                (square(100.0, 80.0, 90.0, 0.0), 0.0),
                (square(30.5, 120.25, 75.0, 0.6), 1.3),
                (square(100.0, 80.0, 1500.0, -0.4), 3.0),
                (square(-30.0, 60.0, 50.0, 0.0), 12.0),
            ],
        ),
        // so large that it is made in bands
        (Size::new(1301, 1003), vec![(square(610.0, 480.0, 1400.0, 0.0), 1.3)]),
    ] {
        let picture = picture(size, HD, pattern);
        let rgb = Rgb::of(&picture, HD);
        let (batch, pictures) = batch(vec![picture], HD);
        for (c, sigma) in crops {
            let job = ImageJob::crops(&batch, &[c], Sampling::Blurred(vec![sigma]), 64, PLAIN).unwrap();
            let got = ImageWorker::default().run(&batch, &pictures, &job).unwrap();
            let blurred = if sigma > 0.0 { &rgb.blurred(f64::from(sigma)) } else { &rgb };
            let (mean, most) = difference(got.as_f32().unwrap(), &blurred.cropped_by_index(&c, 64));
            assert!(mean < 0.01 && most < 0.1, "{c:?}, {sigma}: mean {mean}, most {most}");
        }
    }
}

#[test]
fn a_frame_in_the_middle_has_the_fill_around_it() {
    let norm = Normalization { mean: [0.5; 3], std: [0.25; 3] };
    let white = picture(Size::new(40, 20), HD, |_, _| [255.0; 3]);
    let (batch, pictures) = batch(vec![white], HD);
    let boxed = PictureFormat::letterbox(Size::new(16, 15), norm);
    let job = ImageJob::fitted(&batch, &[0], PictureFormat { fit: Fit::LetterboxCenter, fill: [114, 20, 30], ..boxed }).unwrap();
    let got = ImageWorker::default().run(&batch, &pictures, &job).unwrap();
    for (plane, around) in got.as_f32().unwrap().chunks_exact(16 * 15).zip([114.0, 20.0, 30.0]) {
        for (i, v) in plane.iter().enumerate() {
            // eight rows of the frame, three above and four below
            let level = if (3..11).contains(&(i / 16)) { 255.0 } else { around };
            assert!((v - (level / 255.0 - 0.5) / 0.25).abs() < 1e-2, "element {i}: {v}");
        }
    }
    let whole = PictureFormat::letterbox(Size::new(16, 16), PLAIN);
    let job = ImageJob::fitted(&batch, &[0], PictureFormat { fit: Fit::Stretch, fill: [114; 3], ..whole }).unwrap();
    let got = ImageWorker::default().run(&batch, &pictures, &job).unwrap();
    assert!(got.as_f32().unwrap().iter().all(|v| (v - 255.0).abs() < 1.0));
}

#[test]
fn every_layout_order_and_type_holds_the_same_levels() {
    let size = Size::new(20, 12);
    let (batch, pictures) = batch((0..2).map(|i| picture(size, HD, move |x, y| waves(x + 7.0 * f64::from(i), y))).collect(), HD);
    let plain = PictureFormat::letterbox(Size::new(16, 16), PLAIN);
    let run =
        |frames: &[u32], format| ImageWorker::default().run(&batch, &pictures, &ImageJob::fitted(&batch, frames, format).unwrap()).unwrap();
    let planes = run(&[0, 1], plain);
    let level = |n: usize, c: usize, v: usize, u: usize| planes.as_f32().unwrap()[((n * 3 + c) * 16 + v) * 16 + u];
    let nhwc = PictureFormat { layout: PixelLayout::Nhwc, channels: ChannelOrder::Bgr, element: TensorType::U8, ..plain };
    let got = run(&[0, 1], nhwc);
    assert_eq!(got.dims(), [2, 16, 16, 3]);
    for (i, found) in got.as_slice::<u8>().unwrap().iter().enumerate() {
        let wanted = level(i / 768, 2 - i % 3, i % 768 / 48, i % 48 / 3);
        assert!((f32::from(*found) - wanted).abs() <= 0.5, "value {i}: {found}, not {wanted}");
    }
    let chw = PictureFormat { layout: PixelLayout::Chw, channels: ChannelOrder::Bgr, element: TensorType::F16, ..plain };
    let got = run(&[1], chw);
    assert_eq!(got.dims(), [3, 16, 16]);
    for (i, found) in got.as_slice::<half::f16>().unwrap().iter().enumerate() {
        let wanted = level(1, 2 - i / 256, i % 256 / 16, i % 16);
        assert!((found.to_f32() - wanted).abs() < 0.1, "value {i}: {found}, not {wanted}");
    }
    let fault = |frames: &[u32], format| ImageJob::fitted(&batch, frames, format).unwrap_err().to_string();
    assert_eq!(fault(&[0, 1], chw), "there are 2 frames where the layout has room for one");
    assert_eq!(fault(&[0], PictureFormat { element: TensorType::I64, ..plain }), "pictures are f32, f16 or u8, not i64");
}

#[test]
fn blurs_out_of_range_are_named() {
    let (batch, _) = batch(vec![Picture::filled(Size::new(4000, 3000), [0; 3])], HD);
    let cut =
        |crops: &[Crop], blur: &[f32]| ImageJob::crops(&batch, crops, Sampling::Blurred(blur.to_vec()), 8, PLAIN).unwrap_err().to_string();
    let good = square(4.0, 4.0, 4.0, 0.0);
    assert_eq!(cut(&[good], &[]), "there are 0 blurs for 1 crops");
    for blur in [-0.1, 65.0, f32::NAN] {
        assert!(cut(&[good], &[blur]).contains("the blur of crop 0"));
    }
    assert!(cut(&[square(4.0, 4.0, 0.0, 0.0)], &[0.0]).contains("the side of crop 0"));
    assert!(cut(&[square(0.0, 0.0, 1e6, 0.0); 8], &[64.0; 8]).contains("too much work for one call"));
    assert!(ImageJob::crops(&batch, &[square(0.0, 0.0, 1e6, 0.0)], Sampling::Blurred(vec![64.0]), 8, PLAIN).is_ok());
}

#[test]
fn fine_patterns_average_out_instead_of_aliasing() {
    let checks = picture(Size::new(256, 256), HD, |x, y| [if (x.floor() + y.floor()) % 2.0 == 0.0 { 255.0 } else { 0.0 }; 3]);
    let got = crop(&checks, HD, square(128.0, 128.0, 200.0, 0.3), 50);
    assert!(got.iter().all(|v| (v - 127.5).abs() < 2.0), "{:?}", &got[..8]);
}

#[test]
fn an_upright_crop_at_scale_one_is_the_pixels_themselves() {
    let picture = picture(Size::new(61, 47), HD, waves);
    let rgb = Rgb::of(&picture, HD);
    let got = crop(&picture, HD, square(20.0, 25.0, 32.0, 0.0), 32);
    for i in 0..32 * 32 {
        let want = rgb.pixel(4 + i % 32, 9 + i / 32);
        for c in 0..3 {
            assert!((f64::from(got[c * 1024 + i as usize]) - want[c]).abs() < 1e-2, "pixel {i}, channel {c}");
        }
    }
}

#[test]
fn a_quarter_turn_to_the_right_points_the_crops_x_axis_down() {
    // red grows to the right, green downwards
    let picture = picture(Size::new(100, 100), HD, |x, y| [x * 2.0, y * 2.0, 0.0]);
    let got = crop(&picture, HD, square(50.0, 50.0, 40.0, std::f32::consts::FRAC_PI_2), 40);
    let at = |c: usize, u: usize, v: usize| got[c * 1600 + v * 40 + u];
    for i in 2..38 {
        // along the crop's x axis green grows and red stays; along its y axis red falls and green stays
        assert!((at(1, i, 20) - 2.0 * (30.5 + i as f32)).abs() < 3.0 && (at(0, i, 20) - at(0, 2, 20)).abs() < 3.0);
        assert!((at(0, 20, i) - 2.0 * (69.5 - i as f32)).abs() < 3.0 && (at(1, 20, i) - at(1, 20, 2)).abs() < 3.0);
    }
}

#[test]
fn outside_the_frame_is_exactly_black() {
    let white = picture(Size::new(50, 50), HD, |_, _| [255.0; 3]);
    let got = crop(&white, HD, square(50.0, 25.0, 20.0, 0.0), 20);
    for (i, v) in got.iter().enumerate() {
        let want = if i % 20 < 10 { 255.0 } else { 0.0 };
        assert!((v - want).abs() < 0.01, "element {i}: {v}");
    }
    for far in [square(-100.0, 0.0, 20.0, 0.5), square(0.0, 1e6, 10.0, 0.0), square(1e6, 1e6, 1e-3, 1.0)] {
        assert!(crop(&white, HD, far, 20).iter().all(|v| *v == 0.0));
    }
    // a millionth of the square is white
    assert!(crop(&white, HD, square(25.0, 25.0, 1e6, 0.1), 20).iter().all(|v| (0.0..1.0).contains(v)));
}

#[test]
fn a_batch_gives_what_its_pictures_give_one_by_one() {
    let size = Size::new(90, 70);
    let shifted = |d: f64| picture(size, HD, move |x, y| waves(x + d, y));
    let (batch, pictures) = batch(vec![shifted(0.0), shifted(9.0), shifted(30.0)], HD);
    let mut worker = ImageWorker::default();
    let crops: Vec<_> = (0..6).map(|i| Crop { frame: i % 3, ..square(30.0 + i as f32, 40.0, 20.0 + 40.0 * i as f32, i as f32) }).collect();
    let mut run = |job: ImageJob| worker.run(&batch, &pictures, &job).unwrap();
    let together = run(ImageJob::crops(&batch, &crops, Sampling::Averaged, 32, PLAIN).unwrap());
    assert_eq!(together.dims(), [6, 3, 32, 32]);
    for (i, c) in crops.iter().enumerate() {
        assert_eq!(run(ImageJob::crops(&batch, &[*c], Sampling::Averaged, 32, PLAIN).unwrap()), together.rows(i, 1));
    }
    let boxed = PictureFormat::letterbox(Size::new(64, 32), PLAIN);
    let together = run(ImageJob::fitted(&batch, &[2, 0, 2], boxed).unwrap());
    assert_eq!(together.dims(), [3, 3, 32, 64]);
    for (i, f) in [2, 0, 2].into_iter().enumerate() {
        assert_eq!(run(ImageJob::fitted(&batch, &[f], boxed).unwrap()), together.rows(i, 1));
    }
}

#[test]
fn pictures_of_any_size_pass() {
    for (w, h) in [(1, 1), (1, 7), (2, 2), (3, 5), (5, 2), (17, 1)] {
        let size = Size::new(w, h);
        let grey = picture(size, HD, |_, _| [100.0; 3]);
        let boxed = letterbox(&grey, HD, size, PLAIN);
        assert!(boxed.iter().all(|v| (v - 100.0).abs() < 1.5), "{size}: {boxed:?}");
        for side in [0.5, 3.0, 40.0] {
            let c = square(w as f32 / 2.0, h as f32 / 2.0, side, 0.4);
            let (mean, _) = difference(&crop(&grey, HD, c, 9), &Rgb::of(&grey, HD).cropped(&c, 9, if side > 18.0 { 12 } else { 1 }));
            assert!(mean < 1.5, "{size}, side {side}: mean {mean}");
        }
    }
}

#[test]
fn arguments_out_of_range_are_named() {
    let (batch, pictures) = batch(vec![Picture::filled(Size::new(8, 8), [0; 3])], HD);
    let boxed = |frames: &[u32], w: u32, h: u32, norm| {
        ImageJob::fitted(&batch, frames, PictureFormat::letterbox(Size::new(w, h), norm)).unwrap_err().to_string()
    };
    assert_eq!(boxed(&[1], 8, 8, PLAIN), "there is no frame 1 in a batch of 1");
    assert_eq!(boxed(&[], 8, 8, PLAIN), "there are 0 frames, not 1 to 1024 (of 8x8)");
    assert_eq!(boxed(&[0; 6], 4096, 4096, PLAIN), "there are 6 frames, not 1 to 5 (of 4096x4096)");
    assert_eq!(boxed(&[0], 0, 8, PLAIN), "the target's width is 0, not 1 to 4096");
    assert_eq!(boxed(&[0], 8, 4097, PLAIN), "the target's height is 4097, not 1 to 4096");
    for norm in [Normalization { std: [1.0, 0.0, 1.0], ..PLAIN }, Normalization { mean: [f32::NAN; 3], ..PLAIN }] {
        assert!(boxed(&[0], 8, 8, norm).contains("must be finite"));
    }
    let cut = |c: Crop, side: u32| ImageJob::crops(&batch, &[c], Sampling::Averaged, side, PLAIN).unwrap_err().to_string();
    let good = square(4.0, 4.0, 4.0, 0.0);
    assert!(cut(Crop { frame: 3, ..good }, 8).contains("no frame 3"));
    assert!(cut(good, 0).contains("side is 0, not 1 to 2048") && cut(good, 2049).contains("2049"));
    for side in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        assert!(cut(Crop { side, ..good }, 8).contains("the side of crop 0"));
    }
    assert!(cut(Crop { center: [f32::NAN, 0.0], ..good }, 8).contains("the centre of crop 0"));
    assert!(cut(Crop { rotation: f32::INFINITY, ..good }, 8).contains("the rotation of crop 0"));
    let job = ImageJob::fitted(&batch, &[0], PictureFormat::letterbox(Size::new(8, 8), PLAIN)).unwrap();
    let other = [Arc::new(Picture::filled(Size::new(4, 4), [0; 3]))];
    assert!(ImageWorker::default().run(&batch, &other, &job).unwrap_err().to_string().contains("promised"));
    assert!(ImageWorker::default().run(&batch, &pictures, &job).is_ok());
}
