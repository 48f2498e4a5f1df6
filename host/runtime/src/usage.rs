//! What this process and its finished children have used, from /proc.

/// CPU seconds of this process, all threads, and of its children that have been waited for.
#[must_use]
pub fn cpu_secs() -> f64 {
    crate::accounting::process_cpu().as_secs_f64() + children_cpu_secs().unwrap_or(0.0)
}

/// CPU seconds of waited-for children: fields 16 and 17 of /proc/self/stat, in clock ticks (proc(5)).
fn children_cpu_secs() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // the command name, in parentheses, may hold spaces
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(13);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / rustix::param::clock_ticks_per_second() as f64)
}

/// Highest resident memory of this process, bytes (VmHWM of /proc/self/status); 0 where the system does not say.
#[must_use]
pub fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|l| l.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    #[test]
    fn figures_are_plausible() {
        let before = super::cpu_secs();
        let mut child = std::process::Command::new("sh").args(["-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"]).spawn().unwrap();
        child.wait().unwrap();
        assert!(super::cpu_secs() - before >= 0.01, "a child's CPU time must count");
        assert!(super::peak_rss_bytes() > 1 << 20);
    }
}
