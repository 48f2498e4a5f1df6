//! Who decodes and who encodes: ffmpeg's own code on the CPU, or the circuits of an NVIDIA GPU. Not run on a GPU so far.

use halfpipe_core::Size;

use crate::MediaError;
use crate::nvidia::NvidiaFault;

/// What libx264 calls its trade-offs between speed and size, fastest first.
const X264_PRESETS: &[&str] = &["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"];
/// What NVENC calls them, fastest first.
const NVENC_PRESETS: &[&str] = &["p1", "p2", "p3", "p4", "p5", "p6", "p7"];
/// Smallest and largest frames that NVENC makes H.264 of on all GPUs that have these presets (NVIDIA's Video Codec SDK, application note
/// of the encoder), rounded to whole macroblocks inwards.
const NVENC_SIZES: (Size, Size) = (Size::new(160, 64), Size::new(4096, 4096));
/// Codecs whose frames are defined to the bit, so that it does not show who decodes them, and whose decoder in ffmpeg goes on in software
/// where the GPU refuses. That of AV1 cannot: ffmpeg has it from another library, which knows nothing of GPUs.
const NVDEC_CODECS: &[&str] = &["h264", "hevc", "vp8", "vp9"];

/// What decodes a video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Decoder {
    /// ffmpeg's own decoders, on the CPU.
    #[default]
    Software,
    /// NVDEC, the decoder of an NVIDIA GPU, for H.264, HEVC, VP8 and VP9. Other codecs, and kinds of these that the GPU does not know
    /// (4:2:2, or 10 bits in H.264, on most), ffmpeg decodes in software; [`crate::SourceReport`] tells.
    Nvidia {
        /// Number of the GPU, as CUDA counts them.
        gpu: u32,
    },
}

impl Decoder {
    /// As reports have it: `software` or `nvidia`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Software => "software",
            Self::Nvidia { .. } => "nvidia",
        }
    }

    /// Whether videos of this codec are given to it.
    pub(crate) fn takes(self, codec: &str) -> bool {
        self == Self::Software || NVDEC_CODECS.contains(&codec)
    }
}

/// What makes H.264 of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoder {
    /// libx264, on the CPU.
    #[default]
    X264,
    /// NVENC, the encoder of an NVIDIA GPU.
    Nvenc {
        /// Number of the GPU, as CUDA counts them.
        gpu: u32,
    },
}

impl Encoder {
    /// ffmpeg's name: `libx264` or `h264_nvenc`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::X264 => "libx264",
            Self::Nvenc { .. } => "h264_nvenc",
        }
    }

    /// Its presets, fastest first.
    #[must_use]
    pub const fn presets(self) -> &'static [&'static str] {
        match self {
            Self::X264 => X264_PRESETS,
            Self::Nvenc { .. } => NVENC_PRESETS,
        }
    }

    /// The preset where nobody names one: `superfast` (`docs/performance.md` says why), and NVENC's own default, `p4`.
    #[must_use]
    pub const fn default_preset(self) -> &'static str {
        match self {
            Self::X264 => "superfast",
            Self::Nvenc { .. } => "p4",
        }
    }

    /// Whether it has this preset. One encoder's preset is never taken for another's.
    ///
    /// # Errors
    /// [`MediaError::InvalidArgument`] with those that it has.
    pub fn check_preset(self, preset: &str) -> Result<(), MediaError> {
        let presets = self.presets();
        if presets.contains(&preset) {
            return Ok(());
        }
        let other = match self {
            Self::X264 if NVENC_PRESETS.contains(&preset) => "; that one is NVENC's, which is used with `--video nvidia`",
            Self::Nvenc { .. } if X264_PRESETS.contains(&preset) => "; that one is x264's, which is used with `--video software`",
            _ => "",
        };
        let what = format!("the preset of {} must be one of {}, not {preset}{other}", self.name(), presets.join(", "));
        Err(MediaError::InvalidArgument { what })
    }

    /// Whether it makes videos of this size.
    ///
    /// # Errors
    /// [`MediaError::InvalidArgument`] with the sizes that it takes.
    pub fn check_size(self, size: Size) -> Result<(), MediaError> {
        let (least, most) = NVENC_SIZES;
        let inside = (least.width..=most.width).contains(&size.width) && (least.height..=most.height).contains(&size.height);
        if inside || self == Self::X264 {
            return Ok(());
        }
        let what = format!("{} takes frames of {least} to {most}, not {size}: encode with `--video software`", self.name());
        Err(MediaError::InvalidArgument { what })
    }
}

/// What the user wants for decoding and encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VideoChoice {
    /// An NVIDIA GPU where networks run on it and its codecs work, else software. CPU-only starts look for nothing.
    #[default]
    Auto,
    /// Software; nothing is looked for.
    Software,
    /// An NVIDIA GPU, or an error.
    Nvidia {
        /// Number of the GPU, as CUDA counts them.
        gpu: u32,
    },
}

/// What a process decodes and encodes with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Codecs {
    /// What decodes.
    pub decoder: Decoder,
    /// What encodes.
    pub encoder: Encoder,
    /// Whether the user named them. Where `auto` chose the GPU, software takes what the GPU does not.
    pub named: bool,
    /// Why `auto` did not choose the GPU that networks run on; one sentence.
    pub warning: Option<String>,
}

impl Codecs {
    /// Turns what is wanted into what is used. `networks` is the GPU that networks run on; `probe` tells why a GPU's codecs do not work
    /// (none where they do), and is called only where that matters.
    ///
    /// # Errors
    /// [`MediaError::NvidiaAbsent`] where the GPU was asked for and does not do it; those of `probe`.
    pub fn settle(
        choice: VideoChoice,
        networks: Option<u32>,
        probe: impl FnOnce(u32) -> Result<Option<NvidiaFault>, MediaError>,
    ) -> Result<Self, MediaError> {
        let (gpu, named) = match (choice, networks) {
            (VideoChoice::Software, _) => return Ok(Self { named: true, ..Self::default() }),
            (VideoChoice::Auto, None) => return Ok(Self::default()),
            (VideoChoice::Auto, Some(gpu)) => (gpu, false),
            (VideoChoice::Nvidia { gpu }, _) => (gpu, true),
        };
        match probe(gpu)? {
            None => Ok(Self { decoder: Decoder::Nvidia { gpu }, encoder: Encoder::Nvenc { gpu }, named, warning: None }),
            Some(why) if named => Err(MediaError::NvidiaAbsent { gpu, why }),
            Some(why) => {
                let warning = format!("videos are decoded and encoded in software, though networks run on GPU {gpu}: {why}");
                Ok(Self { warning: Some(warning), ..Self::default() })
            }
        }
    }

    /// What encodes the whole of a video, or a part of one that is cut into windows. Parts must come from one encoder, or they cannot be
    /// joined, and machines with and without a GPU may share them: so they are x264's unless the user named NVENC.
    #[must_use]
    pub const fn encoder_of(&self, part: bool) -> Encoder {
        if part && !self.named { Encoder::X264 } else { self.encoder }
    }

    /// What encodes frames of this size instead of `encoder`: x264, where `auto` chose NVENC and it does not take them. Where the user
    /// named it, it stays, and a sink refuses.
    #[must_use]
    pub fn encoder_for(&self, encoder: Encoder, size: Size) -> Encoder {
        if self.named || encoder.check_size(size).is_ok() { encoder } else { Encoder::X264 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_probe(_: u32) -> Result<Option<NvidiaFault>, MediaError> {
        panic!("nothing is looked for");
    }

    #[test]
    fn nothing_is_looked_for_where_no_gpu_is_wanted() {
        let auto = Codecs::settle(VideoChoice::Auto, None, no_probe).unwrap();
        assert_eq!(auto, Codecs::default());
        for networks in [None, Some(0)] {
            let software = Codecs::settle(VideoChoice::Software, networks, no_probe).unwrap();
            assert_eq!((software.decoder, software.encoder, software.warning), (Decoder::Software, Encoder::X264, None));
        }
    }

    #[test]
    fn auto_follows_the_networks_to_their_gpu_or_says_why_not() {
        let seen = std::cell::Cell::new(None);
        let probe = |gpu| {
            seen.set(Some(gpu));
            Ok(None)
        };
        let codecs = Codecs::settle(VideoChoice::Auto, Some(2), probe).unwrap();
        assert_eq!(seen.get(), Some(2));
        assert_eq!((codecs.decoder, codecs.encoder), (Decoder::Nvidia { gpu: 2 }, Encoder::Nvenc { gpu: 2 }));
        assert_eq!(codecs.encoder_of(true), Encoder::X264, "parts fit those of machines without a GPU");
        assert_eq!(codecs.encoder_of(false), Encoder::Nvenc { gpu: 2 });
        let refused = |_| Ok(Some(NvidiaFault::EncoderRefused { words: "no encode device".into() }));
        let codecs = Codecs::settle(VideoChoice::Auto, Some(0), refused).unwrap();
        assert_eq!((codecs.decoder, codecs.encoder), (Decoder::Software, Encoder::X264));
        let warning = codecs.warning.unwrap();
        assert!(warning.contains("GPU 0") && warning.contains("no encode device"), "{warning}");
    }

    #[test]
    fn a_gpu_that_was_named_is_used_or_is_an_error() {
        let nvidia = VideoChoice::Nvidia { gpu: 1 };
        let codecs = Codecs::settle(nvidia, None, |_| Ok(None)).unwrap();
        assert_eq!(codecs.encoder_of(true), Encoder::Nvenc { gpu: 1 }, "also for parts");
        let error =
            Codecs::settle(nvidia, Some(0), |_| Ok(Some(NvidiaFault::NoDriver { words: "Cannot load libcuda.so.1".into() }))).unwrap_err();
        let text = error.to_string();
        for words in ["GPU 1", "libcuda.so.1", "--video software", "auto"] {
            assert!(text.contains(words), "{text}");
        }
        assert!(!error.is_bad_input() && !text.contains('\n'), "{text}");
    }

    #[test]
    fn presets_belong_to_their_encoder() {
        let (x264, nvenc) = (Encoder::X264, Encoder::Nvenc { gpu: 0 });
        for encoder in [x264, nvenc] {
            encoder.check_preset(encoder.default_preset()).unwrap();
        }
        let text = nvenc.check_preset("superfast").unwrap_err().to_string();
        assert!(text.contains("p1, p2, p3, p4, p5, p6, p7, not superfast") && text.contains("--video software"), "{text}");
        let text = x264.check_preset("p4").unwrap_err().to_string();
        assert!(text.contains("ultrafast, ") && text.contains("not p4") && text.contains("--video nvidia"), "{text}");
        for encoder in [x264, nvenc] {
            let error = encoder.check_preset("warp -i /etc/passwd").unwrap_err();
            assert!(error.is_bad_input() && !error.to_string().contains("--video"), "{error}");
        }
    }

    #[test]
    fn sizes_that_nvenc_does_not_take_are_named() {
        let nvenc = Encoder::Nvenc { gpu: 0 };
        nvenc.check_size(Size::new(1920, 1080)).unwrap();
        for size in [Size::new(7680, 2160), Size::new(128, 128), Size::new(640, 32)] {
            Encoder::X264.check_size(size).unwrap();
            let text = nvenc.check_size(size).unwrap_err().to_string();
            assert!(text.contains(&size.to_string()) && text.contains("4096"), "{text}");
            for (named, encoder) in [(false, Encoder::X264), (true, nvenc)] {
                assert_eq!(Codecs { encoder: nvenc, named, ..Codecs::default() }.encoder_for(nvenc, size), encoder);
            }
        }
    }

    #[test]
    fn only_codecs_defined_to_the_bit_go_to_the_gpu() {
        let nvdec = Decoder::Nvidia { gpu: 0 };
        assert!(nvdec.takes("h264") && nvdec.takes("hevc"));
        assert!(!nvdec.takes("av1") && !nvdec.takes("mjpeg") && Decoder::Software.takes("av1"));
    }
}
