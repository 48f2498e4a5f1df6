//! An NVIDIA GPU's decoder and encoder, as far as that goes without one: what ffmpeg is asked for, and what comes of frames as NVDEC gives
//! them. Not run on a GPU.

use futures::executor::block_on;
use halfpipe_core::{ByteBudget, FrameBatch, Pending};
use halfpipe_media::{
    DecodeOptions, Decoder, EncodeOptions, Encoder, Expect, ExpectedTimes, FfmpegSink, FfmpegSource, FrameSink as _, FrameSource as _,
    NvidiaFault, SourceFile, Tools, probe, probe_nvidia, verify,
};
use halfpipe_testkit::gpu::GpuFfmpeg;

use crate::common::{BUDGET, Decoded, Scratch, decode, read_all, tools};

fn with(gpu: &GpuFfmpeg) -> Tools {
    let mut tools = tools();
    tools.ffmpeg.clone_from(&gpu.path);
    tools
}

fn decode_on_gpu(tools: &Tools, clip: &std::path::Path) -> Decoded {
    let options = DecodeOptions { decoder: Decoder::Nvidia { gpu: 1 }, ..DecodeOptions::new(ByteBudget::new(BUDGET)) };
    let mut source = FfmpegSource::open(tools, clip, options).unwrap();
    let (pts, pictures) = read_all(&mut source).unwrap();
    Decoded { info: source.info().clone(), pts, pictures, report: source.report() }
}

/// The largest difference between two samples of the same place.
fn most_difference(a: &Decoded, b: &Decoded) -> u8 {
    let samples = |d: &Decoded| d.pictures.iter().flat_map(|p| p.data().to_vec()).collect::<Vec<u8>>();
    samples(a).iter().zip(&samples(b)).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

#[test]
fn frames_that_come_down_from_a_gpu_are_those_of_software() {
    let source = "-f lavfi -i testsrc2=s=320x180:r=30:d=1";
    for (codec, down, most) in [
        ("-pix_fmt yuv420p", "format=nv12", 0),
        ("-pix_fmt yuvj420p", "scale=out_range=pc,format=nv12", 0),
        // P010 has its ten bits at the other end of the word, and is rounded to eight otherwise
        ("-pix_fmt yuv420p10le", "format=p010le", 1),
    ] {
        let dir = Scratch::new();
        let clip = dir.clip(&format!("{source} -c:v libx264 -preset ultrafast {codec} -bf 2 in.mp4"));
        let gpu = GpuFfmpeg::new(clip.parent().unwrap(), down, "");
        let (on_gpu, software) = (decode_on_gpu(&with(&gpu), &clip), decode(&clip, None).unwrap());
        assert!(gpu.calls()[0].contains("-hwaccel cuda -hwaccel_device 1 ") && gpu.calls().len() == 1, "{:?}", gpu.calls());
        assert_eq!((&on_gpu.pts, on_gpu.pictures.len(), &on_gpu.info), (&software.pts, 30, &software.info), "{codec}");
        assert!(most_difference(&on_gpu, &software) <= most, "{codec}: {}", most_difference(&on_gpu, &software));
        assert_eq!((on_gpu.report.decoder, on_gpu.report.warnings()), (Decoder::Nvidia { gpu: 1 }, Vec::<String>::new()));
    }
}

#[test]
fn a_gpu_that_does_not_know_a_video_gives_way_and_it_is_told() {
    let dir = Scratch::new();
    let clip = dir.clip("-f lavfi -i testsrc2=s=320x180:r=30:d=1 -c:v libx264 -preset ultrafast -pix_fmt yuv420p in.mp4");
    let says = "[h264 @ 0x1] [error] Failed setup for format cuda: hwaccel initialisation returned error.";
    let gpu = GpuFfmpeg::new(clip.parent().unwrap(), "null", says);
    let refused = decode_on_gpu(&with(&gpu), &clip).report;
    assert_eq!((refused.decoder, refused.decode_errors, refused.frames), (Decoder::Software, 0, 30));
    assert!(refused.warnings()[0].contains("decoded in software") && refused.warnings()[0].contains("format cuda"), "{refused:?}");
    // what is no codec of bits is not even given to it
    let clip = dir.clip("-f lavfi -i testsrc2=s=320x180:r=30:d=1 -c:v mpeg4 old.avi");
    let other = decode_on_gpu(&with(&gpu), &clip).report;
    assert_eq!((other.decoder, other.decode_errors), (Decoder::Software, 0));
    assert!(other.warnings()[0].contains("mpeg4") && !gpu.calls()[1].contains("-hwaccel"), "{:?}", gpu.calls());
    // a GPU that refuses what every GPU decodes is none to be used
    let fault = probe_nvidia(&with(&gpu), 0).unwrap().unwrap();
    assert!(matches!(&fault, NvidiaFault::DecoderRefused { words } if words.contains("format cuda")), "{fault:?}");
}

#[test]
fn frames_times_and_sound_are_kept_by_nvenc_as_by_x264() {
    let dir = Scratch::new();
    // frames that are not evenly spaced, and start late
    let uneven = "-vf setpts='(N+floor(N/3)*2)/30/TB+1/TB' -fps_mode passthrough -frames:v 25";
    let clip = dir.clip(&format!(
        "-f lavfi -i testsrc2=s=320x180:r=30 -f lavfi -i sine=d=3 {uneven} -c:v libx264 -pix_fmt yuv420p -colorspace bt709 -c:a aac in.mp4"
    ));
    let gpu = GpuFfmpeg::new(clip.parent().unwrap(), "format=nv12", "");
    let tools = with(&gpu);
    let video = decode(&clip, None).unwrap();
    let source = SourceFile { path: clip.clone(), info: probe(&tools, &clip).unwrap() };
    for (quality, wanted) in [(30, "-rc vbr -cq 30 -b:v 0"), (0, "-tune lossless")] {
        let options = EncodeOptions {
            quality,
            ..EncodeOptions::following(source.clone(), ByteBudget::new(BUDGET)).with_encoder(Encoder::Nvenc { gpu: 2 })
        };
        let out = dir.path("out.mp4");
        let mut sink = Box::new(FfmpegSink::create(&tools, &out, options).unwrap());
        let batch = FrameBatch {
            format: video.info.format,
            first_index: 0,
            pts: video.pts.clone().into(),
            pictures: Pending::ready(video.pictures.clone()),
        };
        block_on(sink.write(batch)).unwrap();
        let written = block_on(sink.finish()).unwrap();
        assert_eq!((written.frames, written.warnings), (25, Vec::new()));
        let times = ExpectedTimes { time_base: video.info.format.time_base, pts: &video.pts };
        verify(&tools, &out, Expect { frames: 25, size: written.size, times: Some(times) }).unwrap();
        let info = probe(&tools, &out).unwrap();
        assert_eq!((info.tags, info.audio), (source.info.tags.clone(), source.info.audio.clone()));
        let call = gpu.calls().pop().unwrap();
        for words in ["-c:v h264_nvenc -pix_fmt yuv420p -preset p4 -gpu 2 ", wanted, "-bf 0"] {
            assert!(call.contains(words), "{call} lacks {words}");
        }
    }
}

#[test]
fn the_probe_believes_a_gpu_that_does_it_and_names_what_is_missing() {
    let dir = Scratch::new();
    let gpu = GpuFfmpeg::new(dir.path("x").parent().unwrap(), "format=nv12", "");
    assert_eq!(probe_nvidia(&with(&gpu), 3).unwrap(), None);
    let calls = gpu.calls();
    assert_eq!(calls.len(), 2, "{calls:?}");
    assert!(calls[0].contains("h264_nvenc") && calls[0].contains("-gpu 3") && calls[1].contains("-hwaccel_device 3"), "{calls:?}");
    // an ffmpeg without NVENC
    let without = dir.path("ffmpeg-without");
    let script = std::fs::read_to_string(&gpu.path).unwrap().replace("value=libx264", "value=no_such_encoder");
    std::fs::write(&without, script).unwrap();
    std::fs::set_permissions(&without, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut tools = tools();
    tools.ffmpeg = without;
    let fault = probe_nvidia(&tools, 0).unwrap();
    assert_eq!(fault, Some(NvidiaFault::NoEncoder));
}
