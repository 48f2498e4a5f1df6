//! How the operating system shares cores among threads that compute: in long turns, since throughput is all they are for.
//!
//! On few cores networks, codecs and the renderer's own threads take the cores from each other whenever one wakes, and each time
//! read their data into the core's caches anew. In Linux's batch policy a thread that wakes waits its turn, and with a long slice
//! (kernel 6.12 and later) turns are long. `docs/performance.md` has figures.

/// How long a thread that computes goes on before another has its turn: the most that Linux takes, nanoseconds.
#[cfg(target_os = "linux")]
const SLICE: u64 = 100_000_000;

/// Lets the calling thread, and every thread it starts from now on, compute in long turns. Where the system has no such policy, or
/// refuses it, all stays as it was: nothing but speed depends on it.
pub fn compute_in_long_turns() {
    #[cfg(target_os = "linux")]
    linux::set(0);
}

/// The same for a process that was just started, by its id: for its first thread, and all threads that this one starts later.
pub fn let_compute_in_long_turns(process: u32) {
    #[cfg(target_os = "linux")]
    if let Ok(process @ 1..) = libc::pid_t::try_from(process) {
        linux::set(process);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = process;
}

#[cfg(target_os = "linux")]
mod linux {
    use super::SLICE;

    /// The first version of the kernel's `struct sched_attr` (`include/uapi/linux/sched/types.h`), which every kernel takes.
    #[repr(C)]
    pub(super) struct Attributes {
        size: u32,
        pub policy: u32,
        flags: u64,
        pub nice: i32,
        priority: u32,
        pub runtime: u64,
        deadline: u64,
        period: u64,
    }

    const SIZE: u32 = size_of::<Attributes>() as u32;

    /// The policy and the slice for a thread; its nice value stays. 0 is the calling thread.
    pub(super) fn set(thread: libc::pid_t) {
        let Some(now) = get(thread) else { return };
        // somebody who chose another policy than the usual one keeps it
        if now.policy != libc::SCHED_OTHER as u32 {
            return;
        }
        let wanted = Attributes { policy: libc::SCHED_BATCH as u32, runtime: SLICE, ..now };
        #[allow(unsafe_code, reason = "a system call for which no crate has a function; it reads one structure, which outlives it")]
        // SAFETY: the pointer is to a whole `sched_attr` whose size is in it
        unsafe {
            // refused in some containers, which costs nothing but speed
            libc::syscall(libc::SYS_sched_setattr, thread, &raw const wanted, 0);
        }
    }

    /// What a thread has now.
    pub(super) fn get(thread: libc::pid_t) -> Option<Attributes> {
        let mut now = Attributes { size: SIZE, policy: 0, flags: 0, nice: 0, priority: 0, runtime: 0, deadline: 0, period: 0 };
        #[allow(unsafe_code, reason = "a system call for which no crate has a function; it writes one structure, which outlives it")]
        // SAFETY: the pointer is to a `sched_attr` of the size that is passed
        let failed = unsafe { libc::syscall(libc::SYS_sched_getattr, thread, &raw mut now, SIZE, 0) } != 0;
        (!failed).then_some(Attributes { size: SIZE, ..now })
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn a_thread_and_what_it_starts_compute_in_long_turns_and_others_do_not() {
        let policy = || linux::get(0).unwrap().policy;
        let (own, started) = std::thread::spawn(move || {
            compute_in_long_turns();
            (policy(), std::thread::spawn(policy).join().unwrap())
        })
        .join()
        .unwrap();
        let batch = libc::SCHED_BATCH as u32;
        assert_eq!((own, started), (batch, batch));
        assert_eq!(policy(), libc::SCHED_OTHER as u32);
    }

    #[test]
    fn so_does_a_process() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let id = child.id();
        let policy = || linux::get(id as libc::pid_t).unwrap().policy;
        let_compute_in_long_turns(id);
        let found = policy();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found, libc::SCHED_BATCH as u32);
        // it is gone: nothing happens
        let_compute_in_long_turns(id);
    }
}
