//! A known colour is the same colour after decoding, and after a round trip.

use halfpipe_core::{Matrix, Picture, Range};
use halfpipe_media::VideoInfo;

use crate::common::{Scratch, decode, ffprobe, round_trip};

/// What is painted, and the largest difference of a channel that is still the same colour.
const PATCH: [f32; 3] = [200.0, 50.0, 100.0];
const TOLERANCE: f32 = 3.0;

fn colour_of(picture: &Picture, info: &VideoInfo) -> [f32; 3] {
    let (size, chroma) = (picture.size(), picture.size().chroma());
    let [y, cb, cr] = picture.planes();
    let middle = (size.height / 2 * size.width + size.width / 2) as usize;
    let chroma_middle = (chroma.height / 2 * chroma.width + chroma.width / 2) as usize;
    info.format.colour.to_rgb([y[middle].into(), cb[chroma_middle].into(), cr[chroma_middle].into()])
}

fn same(colour: [f32; 3]) -> bool {
    colour.iter().zip(PATCH).all(|(a, b)| (a - b).abs() <= TOLERANCE)
}

/// Makes a clip of the patch, and checks the colour and the matrix on the way in and after the way out.
fn check(what: &str, size: &str, conversion: &str, encoding: &str, matrix: Matrix) -> VideoInfo {
    let dir = Scratch::new();
    let clip = dir.clip(&format!("-f lavfi -i color=c=0xC83264:s={size}:r=5:d=1,format=gbrp -vf {conversion} {encoding} in.mkv"));
    let (video, _) = round_trip(&clip, &dir.path("out.mp4"), None).unwrap();
    assert_eq!((video.info.format.colour.matrix, video.info.format.colour.range), (matrix, Range::Limited), "{what}");
    let on_the_way_in = colour_of(&video.pictures[2], &video.info);
    assert!(same(on_the_way_in), "{what}: {on_the_way_in:?}");
    let out = decode(&dir.path("out.mp4"), None).unwrap();
    assert_eq!(out.info.format.colour, video.info.format.colour, "{what}");
    let after = colour_of(&out.pictures[2], &out.info);
    assert!(same(after), "{what}: {after:?}");
    // and as another reader sees it
    dir.ffmpeg("-i out.mp4 -frames:v 1 -vf scale=in_color_matrix=auto:in_range=auto:flags=accurate_rnd+full_chroma_int+full_chroma_inp,format=rgb24 -f rawvideo out.rgb");
    let rgb = std::fs::read(dir.path("out.rgb")).unwrap();
    let middle = rgb.len() / 3 / 2 * 3;
    let read = [rgb[middle], rgb[middle + 1], rgb[middle + 2]].map(f32::from);
    assert!(same(read), "{what}: {read:?}");
    video.info
}

#[test]
fn both_matrices_and_both_ranges() {
    // every matrix in both ranges, and every range in each of its formats
    let formats = [[("tv", "yuv420p"), ("pc", "yuv422p10le")], [("pc", "yuv420p"), ("tv", "yuv444p")]];
    let matrices = [("bt709", Matrix::Bt709), ("smpte170m", Matrix::Bt601), ("bt470bg", Matrix::Bt601), ("bt2020nc", Matrix::Bt2020)];
    for ((tag, matrix), formats) in matrices.into_iter().zip(formats.into_iter().cycle()) {
        let name = match tag {
            "bt470bg" => "bt601",
            "bt2020nc" => "bt2020",
            other => other,
        };
        for (range, format) in formats {
            let conversion = format!(
                "scale=out_color_matrix={name}:out_range={range}:flags=accurate_rnd,format={format},setparams=colorspace={tag}:range={range}"
            );
            let encoding = format!("-c:v ffv1 -colorspace {tag} -color_range {range}");
            let info = check(&format!("{tag} {range} {format}"), "128x96", &conversion, &encoding, matrix);
            assert_eq!((info.tags.full_range, info.tags.matrix.as_deref()), (range == "pc", Some(tag)));
        }
    }
}

#[test]
fn untagged_video_follows_its_size() {
    for (size, name, matrix) in [("640x480", "bt601", Matrix::Bt601), ("1280x720", "bt709", Matrix::Bt709)] {
        let conversion =
            format!("scale=out_color_matrix={name}:out_range=tv:flags=accurate_rnd,format=yuv420p,setparams=colorspace=unknown");
        let info = check(size, size, &conversion, "-c:v libx264 -crf 1", matrix);
        assert_eq!(info.tags.matrix, None);
    }
}

#[test]
fn red_green_and_blue_inside_the_file() {
    check("gbrp", "128x96", "format=gbrp", "-c:v ffv1", Matrix::Bt601);
    check("bgr0", "1280x720", "format=bgr0", "-c:v ffv1", Matrix::Bt709);
}

#[test]
fn a_rare_matrix_is_converted() {
    let conversion =
        "scale=out_color_matrix=smpte240m:out_range=tv:flags=accurate_rnd,format=yuv444p,setparams=colorspace=smpte240m:range=tv";
    check("smpte240m", "128x96", conversion, "-c:v ffv1 -colorspace smpte240m -color_range tv", Matrix::Bt709);
}

#[test]
fn all_tags_and_the_shape_of_pixels_are_kept() {
    let dir = Scratch::new();
    let clip = dir.clip(
        "-f lavfi -i testsrc2=s=160x90:r=5:d=1 -vf setsar=118/81:max=1000,setparams=colorspace=bt2020nc:color_primaries=bt2020:color_trc=arib-std-b67:range=tv \
         -c:v libx264 -colorspace bt2020nc -color_primaries bt2020 -color_trc arib-std-b67 -color_range tv in.mp4",
    );
    round_trip(&clip, &dir.path("out.mp4"), None).unwrap();
    let entries = "-show_entries stream=sample_aspect_ratio,color_range,color_space,color_transfer,color_primaries";
    let (before, after) = (ffprobe(&clip, "v:0", entries), ffprobe(&dir.path("out.mp4"), "v:0", entries));
    assert_eq!(before, ["118:81,tv,bt2020nc,arib-std-b67,bt2020"]);
    assert_eq!(before, after);
}
