//! The command line.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use halfpipe_media::Encoder;
use halfpipe_service::settings::Places;

/// Draws a 3D body over every person in a video and writes the motion as data.
#[derive(Debug, Parser)]
#[command(name = "halfpipe", version, propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// More log lines on stderr (twice for debugging); HALFPIPE_LOG takes filters
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// Exit codes, shown in the help and kept by `exit.rs`.
pub const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed
  2    the command line is wrong
  3    the input, an output path or an option is wrong
  4    something is missing here: ffmpeg, a model, the ONNX Runtime library, a GPU, disk space
  5    the pipeline component broke a rule
  130  stopped by Ctrl-C";

/// Commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a pipeline on a video
    Run(Box<RunArgs>),
    /// Cut a long video into windows, to be worked on by many
    Split(crate::split::SplitArgs),
    /// Make one video and one pose file of the windows' parts
    Join(Box<crate::join::JoinArgs>),
    /// Serve the HTTP API and work on the jobs it takes in
    Serve(Box<crate::serve::ServeArgs>),
    /// Take messages from a queue and work on the jobs they lead to
    Worker(Box<crate::worker::WorkerArgs>),
    /// Check that everything a job needs is here and works
    Doctor(DoctorArgs),
    /// List the models, check their files, make them, or import licensed ones
    Models(ModelsArgs),
    /// Look at pipeline components
    Guest(GuestArgs),
    /// Measure the pipeline against running it one frame at a time
    Bench(BenchArgs),
}

/// Frames a batch, unless a run says otherwise.
pub const BATCH: u32 = 8;

const RUN_EXAMPLES: &str = "\
Examples:
  halfpipe run jump.mp4 -o jump_overlay.mp4
  halfpipe run jump.mp4 -o overlay.mp4 --poses poses.jsonl --glb motion.glb --bvh motion.bvh
  halfpipe run jump.mov -o side.mp4 --layout side-by-side --opacity 0.8 --people 1
  halfpipe run jump.mp4 --poses poses.jsonl --from 2.5 --to 4        # data only, part of the clip
  halfpipe run match.mp4 --window plan.json:3 -o out_3.mp4 --poses poses_3.jsonl   # see `halfpipe split`
  halfpipe run jump.mp4 -o out.mp4 --device cuda --renderer hardware  # fail rather than fall back
  halfpipe run jump.mp4 -o out.mp4 --video nvidia --preset p6 --quality 23   # decode and encode on the GPU (NVDEC, NVENC)
  halfpipe run jump.mp4 -o out.mp4 --pipeline my_pipeline.wasm --set speed=2 --json";

/// Where the work is done.
#[derive(Debug, Clone, Args)]
pub struct Devices {
    /// Where networks run; anything but auto fails where it is not there
    #[arg(long, env = "HALFPIPE_DEVICE", value_enum, default_value_t = DeviceArg::Auto)]
    pub device: DeviceArg,
    /// Which GPU, where there are several, for networks and videos
    #[arg(long, env = "HALFPIPE_GPU", default_value_t = 0, value_name = "N")]
    pub gpu: u32,
    /// Where bodies are drawn; hardware fails where there is no GPU
    #[arg(long, env = "HALFPIPE_RENDERER", value_enum, default_value_t = RendererArg::Auto)]
    pub renderer: RendererArg,
    /// What decodes and encodes videos; nvidia fails where a GPU does not do it
    #[arg(long, env = "HALFPIPE_VIDEO", value_enum, default_value_t = VideoArg::Auto)]
    pub video: VideoArg,
    /// Threads that networks may use, all together [default: one a core]
    #[arg(long, env = "HALFPIPE_THREADS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
}

/// What is written beside a video: poses, motion and the report.
#[derive(Debug, Clone, Args)]
pub struct DataArgs {
    /// Poses, one JSON line a frame
    #[arg(long, value_name = "FILE")]
    pub poses: Option<PathBuf>,
    /// Skinned, animated glTF
    #[arg(long, value_name = "FILE")]
    pub glb: Option<PathBuf>,
    /// Biovision motion of the longest track; further tracks beside it
    #[arg(long, value_name = "FILE")]
    pub bvh: Option<PathBuf>,
    /// The report as a JSON file
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Print the report as JSON on stdout, and nothing else there
    #[arg(long)]
    pub json: bool,
    /// Replace output files that exist
    #[arg(short = 'y', long)]
    pub overwrite: bool,
}

/// `halfpipe run`.
#[derive(Debug, Clone, Args)]
#[command(after_help = RUN_EXAMPLES)]
pub struct RunArgs {
    /// The video: any container and codec ffmpeg reads
    pub input: PathBuf,
    /// The overlay video (.mp4, .mov or .mkv): H.264, the input's rate, timestamps and sound
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// What is written beside the video
    #[command(flatten)]
    pub data: DataArgs,
    /// No progress
    #[arg(short, long)]
    pub quiet: bool,

    /// The pipeline: a name in the guests' folder, or a .wasm file
    #[arg(long, env = "HALFPIPE_PIPELINE", default_value = "overlay", value_name = "NAME|FILE")]
    pub pipeline: String,
    /// An option of the pipeline (see `halfpipe guest inspect`); the value is JSON or a plain word
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub set: Vec<(String, serde_json::Value)>,
    /// Most people to follow
    #[arg(long, value_name = "N")]
    pub people: Option<u32>,
    /// Opacity of bodies, 0 to 1
    #[arg(long, value_name = "X")]
    pub opacity: Option<f64>,
    /// What the video shows
    #[arg(long, value_enum)]
    pub layout: Option<LayoutArg>,
    /// Landmark network: lite is fastest, heavy most exact
    #[arg(long, value_enum)]
    pub landmarks: Option<LandmarksArg>,

    /// Start of the part to work on, seconds on the input's own clock
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0, requires = "to")]
    pub from: f64,
    /// End of that part (not in it)
    #[arg(long, value_name = "SECONDS")]
    pub to: Option<f64>,
    /// One window of a plan that `halfpipe split` made: the plan's file, `:`, and the window's number
    #[arg(long, value_name = "PLAN:K", conflicts_with_all = ["from", "to"], value_parser = crate::split::window_of_plan)]
    pub window: Option<(PathBuf, u32)>,
    /// Frames a batch: larger ones suit GPUs, smaller ones need less memory
    #[arg(long, default_value_t = BATCH, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub batch: u32,
    /// Constant quality, 0 (lossless) to 51: x264's rate factor or NVENC's target quality [default: 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=51))]
    pub quality: Option<u8>,
    /// The encoder's preset: slower ones make smaller files. ultrafast to veryslow are x264's, p1 (fastest) to p7 NVENC's [default: superfast; p4 for NVENC]
    #[arg(long, value_name = "NAME", value_parser = presets())]
    pub preset: Option<String>,
    /// Longest time the job may take
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    /// Name the pipeline's functions to Linux's perf, in /tmp/perf-<process id>.map (`make flamegraph`)
    #[arg(long)]
    pub perf_map: bool,

    /// Where things are
    #[command(flatten)]
    pub places: Places,
    /// Where the work is done
    #[command(flatten)]
    pub devices: Devices,
}

/// `halfpipe doctor`.
#[derive(Debug, Clone, Args)]
pub struct DoctorArgs {
    /// Print the findings as JSON
    #[arg(long)]
    pub json: bool,
    /// Where things are
    #[command(flatten)]
    pub places: Places,
    /// Where the work is done
    #[command(flatten)]
    pub devices: Devices,
}

/// `halfpipe models`.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ModelsArgs {
    /// What to do instead of listing
    #[command(subcommand)]
    pub command: Option<crate::recipes::ModelsCommand>,
    /// Compare every file with its digest
    #[arg(long)]
    pub check: bool,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
    /// Where things are
    #[command(flatten)]
    pub places: Places,
}

/// `halfpipe guest`.
#[derive(Debug, Clone, Args)]
pub struct GuestArgs {
    /// What to do
    #[command(subcommand)]
    pub command: GuestCommand,
}

/// `halfpipe guest ...`.
#[derive(Debug, Clone, Subcommand)]
pub enum GuestCommand {
    /// Name, version, digest, interfaces, models and options of a component
    Inspect {
        /// A name in the guests' folder, or a .wasm file
        pipeline: String,
        /// Print as JSON
        #[arg(long)]
        json: bool,
        /// Where things are
        #[command(flatten)]
        places: Places,
    },
    /// Compile components ahead of time, so that the next start of the program does not wait for the compiler
    ///
    /// The files are used only by this version of the program, for exactly these components, on this kind of processor; a component
    /// that was exchanged since is compiled as ever.
    ///
    /// Example: halfpipe guest precompile            (all in the guests' folder, beside the program)
    #[command(verbatim_doc_comment)]
    Precompile {
        /// Names in the guests' folder, or .wasm files; everything in the folder where none
        pipelines: Vec<String>,
        /// Folder to write to [default: `precompiled` beside this program]
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Where things are
        #[command(flatten)]
        places: Places,
    },
    /// The components in the guests' folder
    List {
        /// Where things are
        #[command(flatten)]
        places: Places,
    },
}

/// `halfpipe bench`.
#[derive(Debug, Clone, Args)]
pub struct BenchArgs {
    /// Videos to measure on [default: the demo clip and the squats, in the repository]
    #[arg(value_name = "CLIP")]
    pub clips: Vec<PathBuf>,
    /// How often each variant runs; figures are medians
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=99))]
    pub repeats: u8,
    /// Print the figures as JSON on stdout, and nothing else there
    #[arg(long)]
    pub json: bool,
    /// Where things are
    #[command(flatten)]
    pub places: Places,
    /// Where the work is done
    #[command(flatten)]
    pub devices: Devices,
}

/// Where networks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeviceArg {
    /// CUDA where it works, else the CPU; the report says which
    Auto,
    /// The CPU
    Cpu,
    /// An NVIDIA GPU
    Cuda,
    /// An NVIDIA GPU through TensorRT
    Tensorrt,
}

/// Where bodies are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RendererArg {
    /// A GPU where there is one, else the software adapter; the report says which
    Auto,
    /// A GPU
    Hardware,
    /// The software adapter
    Software,
}

/// What decodes and encodes videos.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VideoArg {
    /// An NVIDIA GPU where networks run on it and its codecs work, else software; the report says which
    Auto,
    /// ffmpeg's decoders and x264, on the CPU
    Software,
    /// An NVIDIA GPU's decoder and encoder (NVDEC, NVENC)
    Nvidia,
}

/// What the video shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LayoutArg {
    /// Bodies over the frame
    Overlay,
    /// Bodies on a plain background
    MeshOnly,
    /// Frame left, overlay right
    SideBySide,
}

/// The landmark network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LandmarksArg {
    /// Fastest
    Lite,
    /// Default
    Full,
    /// Most exact
    Heavy,
}

/// All encoders' presets; which of them the one in use has is said when it is known.
fn presets() -> PossibleValuesParser {
    [Encoder::X264, Encoder::Nvenc { gpu: 0 }].into_iter().flat_map(|encoder| encoder.presets().iter().copied()).into()
}

/// `key=value`, the value as JSON where it is JSON, else as a string.
fn key_value(text: &str) -> Result<(String, serde_json::Value), String> {
    let (key, value) = text.split_once('=').ok_or("write it as key=value")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| serde_json::Value::String(value.to_owned()));
    Ok((key.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn values_are_json_or_words() {
        assert_eq!(key_value("a=2").unwrap(), ("a".into(), serde_json::json!(2)));
        assert_eq!(key_value("a=b=c").unwrap(), ("a".into(), serde_json::json!("b=c")));
        assert!(key_value("a").is_err());
    }
}
