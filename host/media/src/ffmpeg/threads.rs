//! How many threads decoding and encoding take.

/// More than these x264 cuts a picture into too little for each.
const MOST: usize = 16;

/// Half of the cores: the other half is the networks'. ffmpeg's own number, one and a half times the cores for x264, costs
/// 5 to 8 % more CPU time on two cores (`docs/performance.md`).
pub fn half_the_cores() -> u32 {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    (cores / 2).clamp(1, MOST) as u32
}
