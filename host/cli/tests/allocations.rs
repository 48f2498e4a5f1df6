//! How often the host allocates memory for a frame, and what a frame leaves behind: counted, so that no clock is needed. What C and C++
//! libraries allocate is not seen.
#![allow(clippy::unwrap_used, reason = "test code: what cannot be had ends the test")]
// the engines' types are deep: wgpu's resources stand behind the host
#![recursion_limit = "256"]

use std::alloc::System;
use std::path::Path;
use std::sync::Arc;

use halfpipe_nn::{Catalog, Device};
use halfpipe_runtime::{CancelToken, Guest, Host, HostConfig, Job, Outputs, Precompiled};
use halfpipe_testkit::{clips, places};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Allocations of a frame with one person, of all threads: handles, messages between threads, and wgpu's and wasmtime's own.
const MOST_ALLOCATIONS: f64 = 2_000.0;
/// Bytes of a frame with one person: its picture, tensors, vertices.
const MOST_BYTES: f64 = 8_500_000.0;

/// Bytes that a frame leaves behind when its job has ended: none of its own. What threads keep for the next job comes to up to 1 KB a frame
/// here, now more, now less.
const MOST_LEFT: f64 = 4_000.0;

/// What a job on the first frames of the squats allocates.
async fn spent(host: &Host, guest: &Arc<Guest>, folder: &Path, frames: u32) -> Stats {
    let whole = places::clip("tfjs_pose_squats.mp4");
    let (whole, count) = (whole.to_str().unwrap(), frames.to_string());
    let input = clips::ffmpeg(&["-i", whole, "-frames:v", &count, "-an"], &folder.join(format!("{frames}-in.mp4")));
    let region = Region::new(ALLOCATOR);
    let job = Job {
        id: format!("frames-{frames}"),
        guest: Arc::clone(guest),
        input,
        outputs: Outputs {
            video: Some(folder.join(format!("{frames}.mp4"))),
            poses: Some(folder.join(format!("{frames}.jsonl"))),
            ..Outputs::default()
        },
        // as much is done for every frame
        options: serde_json::json!({ "detector_frames": 1, "landmark_passes": 2, "detector_sizes": [256] }),
        probed: None,
        batch: 8,
        window: None,
        quality: None,
        preset: None,
        lockstep: false,
        cancel: CancelToken::default(),
        progress: Arc::new(|_| {}),
    };
    let report = host.run(job).await.unwrap();
    assert_eq!((report.counts.frames, report.counts.people), (u64::from(frames), u64::from(frames)));
    region.change()
}

#[test]
fn a_frame_costs_few_allocations() {
    let folder = tempfile::tempdir().unwrap();
    let config = HostConfig {
        device: Device::Cpu,
        precompiled: Precompiled::default().with_cache(places::compiled()),
        ..HostConfig::new(Catalog::builtin().unwrap(), places::models())
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (few, many) = runtime.block_on(async {
        let host = Host::start(config).unwrap();
        let guest = host.load_guest(&places::guest("overlay")).await.unwrap();
        // the first job makes buffers and pipelines that later ones find
        spent(&host, &guest, folder.path(), 32).await;
        let few = spent(&host, &guest, folder.path(), 8).await;
        let mut many = Vec::new();
        for _ in 0..3 {
            many.push(spent(&host, &guest, folder.path(), 32).await);
        }
        (few, many)
    });
    // a thread may make its own buffers later than in the first job, once: what every job costs is in the least
    let least = |of: fn(&Stats) -> isize| many.iter().map(of).min().unwrap() as f64;
    let per_frame = |few: usize, many: f64| (many - few as f64) / 24.0;
    let allocations = per_frame(few.allocations + few.reallocations, least(|s| (s.allocations + s.reallocations) as isize));
    let bytes = per_frame(few.bytes_allocated, least(|s| s.bytes_allocated as isize));
    let left = least(|s| s.bytes_allocated as isize - s.bytes_deallocated as isize) / 32.0;
    println!("a frame: {allocations:.0} allocations, {bytes:.0} bytes, {left:.0} left behind");
    assert!(allocations < MOST_ALLOCATIONS, "{allocations:.0} allocations a frame");
    assert!(bytes < MOST_BYTES, "{bytes:.0} bytes a frame");
    assert!(left < MOST_LEFT, "{left:.0} bytes a frame are left behind");
}
