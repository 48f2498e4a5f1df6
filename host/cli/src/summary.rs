//! The one-screen report a person sees after a run.

use std::fmt::Write;

use halfpipe_runtime::JobReport;

/// Rounded to what a person reads.
fn bytes(n: u64) -> String {
    if n >= 1 << 20 { format!("{:.1} MiB", n as f64 / f64::from(1 << 20)) } else { format!("{:.0} KiB", (n as f64 / 1024.0).ceil()) }
}

/// The report as text, at most about 30 lines.
pub fn text(r: &JobReport) -> String {
    let mut s = String::new();
    // writing to a String cannot fail
    let mut line = |text: std::fmt::Arguments<'_>| writeln!(s, "{text}").ok();
    for o in &r.outputs {
        line(format_args!("{:<8} {}  ({})", o.role, o.path, bytes(o.bytes)));
    }
    let c = &r.counts;
    let statuses: Vec<String> = c.statuses.iter().map(|(k, v)| format!("{v} {}", k.replace('_', " "))).collect();
    line(format_args!("frames   {} ({}), bodies drawn on {}", c.frames, statuses.join(", "), c.frames_drawn));
    line(format_args!("people   {} tracks, {} bodies", c.tracks, c.people));
    line(format_args!(
        "time     {:.1} s, {:.1} frames/s, {:.0} CPU-ms a frame (models loaded in {:.1} s)",
        r.wall_seconds,
        r.frames_per_second,
        1000.0 * r.cpu_seconds / c.frames.max(1) as f64,
        r.load_seconds
    ));
    let mut stages: Vec<_> = r.stages.iter().collect();
    stages.sort_by(|a, b| b.1.busy_seconds.total_cmp(&a.1.busy_seconds));
    let stages: Vec<String> = stages.iter().take(8).map(|(name, t)| format!("{name} {:.2}", t.busy_seconds)).collect();
    line(format_args!("stages   {} (busy seconds; they overlap)", stages.join(", ")));
    let guest: Vec<String> = r.sandbox.cpu_seconds.iter().map(|(name, secs)| format!("{name} {secs:.2}")).collect();
    line(format_args!(
        "guest    {} CPU s; {:.2} % of all CPU time without the fit; {} host calls; peak memory {}",
        guest.join(", "),
        100.0 * r.sandbox.share_without_fit,
        r.sandbox.host_calls,
        bytes(r.peak_rss_bytes)
    ));
    let p = &r.provenance;
    line(format_args!(
        "made by  halfpipe {}, {} {} ({}), networks on {}, drawn on {}",
        p.host_version,
        p.guest,
        p.guest_version,
        &p.guest_sha256[..12],
        p.execution_provider,
        p.adapter
    ));
    // software is not worth a line
    let video = |what: &str| r.settings["video"][what].as_str().unwrap_or("none");
    if video("decoder") == "nvidia" || video("encoder") == "h264_nvenc" {
        line(format_args!("video    decoder {}, encoder {}", video("decoder"), video("encoder")));
    }
    for (model, licence) in &p.licences {
        line(format_args!("         {model}: {licence}"));
    }
    for w in &r.warnings {
        line(format_args!("note     {} [{}]", w.message, w.code));
    }
    s
}
