//! How much a guest may use. The limits hold while it waits inside a host call.

use std::time::Duration;

/// Limits of one job's guest.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of linear memory, all memories together.
    pub memory_bytes: usize,
    /// Elements of its tables.
    pub table_elements: usize,
    /// Handles it may hold at once.
    pub handles: usize,
    /// Bytes behind its handles (frames, tensors) at once.
    pub handle_bytes: u64,
    /// Bytes it may pass to the host in one call.
    pub call_bytes: usize,
    /// Bytes of data files it may write.
    pub file_bytes: u64,
    /// CPU time between two host calls.
    pub spin: Duration,
    /// Wall time without a frame read, a frame written or a file finished.
    pub stall: Duration,
    /// Wall time of the whole job; none for no limit.
    pub wall: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            table_elements: 100_000,
            handles: 4096,
            handle_bytes: 768 << 20,
            call_bytes: 16 << 20,
            file_bytes: 8 << 30,
            spin: Duration::from_secs(10),
            stall: Duration::from_secs(300),
            wall: None,
        }
    }
}
