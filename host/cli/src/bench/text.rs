//! The report for a person.

use std::fmt::Write;

use super::report::BenchReport;
use super::spread::Spread;

/// The report for a person.
pub(super) fn text(report: &BenchReport) -> String {
    let mut s = String::new();
    // writing to a String cannot fail
    let mut line = |text: std::fmt::Arguments<'_>| writeln!(s, "{text}").ok();
    let (m, p) = (&report.machine, &report.machine.provenance);
    let load = m.load_average.map_or_else(|| "unknown".to_owned(), |l| format!("{l:.1}"));
    line(format_args!("machine   {} cores, load average {load} before the start", m.cores));
    line(format_args!("networks  {}, {}", p.execution_provider, p.precision));
    line(format_args!("drawing   {}{}", p.adapter, if p.adapter_software { ", software" } else { "" }));
    line(format_args!("made by   halfpipe {}, {} {}, ffmpeg {}", p.host_version, p.guest, p.guest_version, p.ffmpeg));
    for clip in &report.clips {
        let counts = &clip.variants[0].counts;
        line(format_args!(""));
        line(format_args!(
            "{}: {}x{} {}, {} frames, {} tracks; median of {} (lowest to highest)",
            clip.clip.display(),
            clip.width,
            clip.height,
            clip.codec,
            counts.frames,
            counts.tracks,
            report.repeats
        ));
        line(format_args!("  {:<28} {:<24} {:<22} wall s", "", "frames/s", "CPU-ms a frame"));
        for (i, v) in clip.variants.iter().enumerate() {
            let (fps, cpu, wall) = (range(v.frames_per_second, 2), range(v.cpu_ms_per_frame, 0), range(v.wall_seconds, 2));
            line(format_args!("  {} {:<26} {fps:<24} {cpu:<22} {wall}", i + 1, v.name));
        }
        for r in &clip.ratios {
            let (fps, cpu) = (range(r.frames_per_second, 2), range(r.cpu_per_frame, 2));
            let poses = match r.same_poses {
                Some(true) => "the same poses to the last digit",
                Some(false) => "poses that differ in digits",
                None => "options differ",
            };
            line(format_args!("  {:<28} {fps:<24} {cpu:<22} {poses}", r.pair));
        }
        let h = &clip.shipped;
        let mut stages: Vec<_> = h.stages_busy_ms_per_frame.iter().collect();
        stages.sort_by(|a, b| b.1.total_cmp(a.1));
        line(format_args!("  stages of 1, busy ms a frame (they overlap)"));
        for (name, ms) in stages {
            line(format_args!("    {name:<34} {ms:>8.2}"));
        }
        let peak = h.peak_rss_bytes.map_or_else(|| "unknown".to_owned(), |b| format!("{:.0} MiB", b as f64 / f64::from(1 << 20)));
        line(format_args!(
            "  guest of 1: {:.2} % of all CPU time without the fit; fit {:.2} CPU-ms a frame; instantiated in {:.0} us; peak memory {peak}",
            100.0 * h.sandbox_share_without_fit,
            h.fit_cpu_ms_per_frame,
            h.instantiate_microseconds,
        ));
    }
    s
}

/// `19.40 (19.12 to 19.61)`.
fn range(s: Spread, digits: usize) -> String {
    format!("{:.digits$} ({:.digits$} to {:.digits$})", s.median, s.lowest, s.highest)
}
