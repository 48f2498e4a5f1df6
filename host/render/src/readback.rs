//! The read-back belt: buffers that the device writes and the CPU maps, used again and again.

use std::sync::mpsc;
use std::time::Duration;

use crate::device::Gpu;
use crate::error::RenderError;

/// A device that has not answered for this long is taken for dead.
const DEVICE_TIMEOUT: Duration = Duration::from_secs(60);
/// Buffers are made in steps of this many bytes.
const BUFFER_STEP: u64 = 256 * 1024;

/// Buffers that nobody uses at the moment.
#[derive(Debug, Default)]
pub(crate) struct ReadbackBelt(Vec<wgpu::Buffer>);

/// A buffer that the device is still writing to.
#[derive(Debug)]
pub(crate) struct PendingRead {
    buffer: wgpu::Buffer,
    bytes: u64,
    submission: wgpu::SubmissionIndex,
    mapped: mpsc::Receiver<Result<(), wgpu::BufferAsyncError>>,
}

impl ReadbackBelt {
    /// A buffer of at least `bytes`.
    pub(crate) fn take(&mut self, gpu: &Gpu, bytes: u64) -> wgpu::Buffer {
        if let Some(i) = self.0.iter().position(|b| b.size() >= bytes) {
            return self.0.swap_remove(i);
        }
        // one that is too small will not be needed again
        self.0.pop();
        gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("read-back"),
            size: bytes.next_multiple_of(BUFFER_STEP),
            usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
            mapped_at_creation: false,
        })
    }

    /// Waits for the device, hands the bytes to `read`, and keeps the buffer for the next time.
    pub(crate) fn finish<R>(&mut self, gpu: &Gpu, pending: PendingRead, read: impl FnOnce(&[u8]) -> R) -> Result<R, RenderError> {
        let PendingRead { buffer, bytes, submission, mapped } = pending;
        gpu.device
            .poll(wgpu::PollType::Wait { submission_index: Some(submission), timeout: Some(DEVICE_TIMEOUT) })
            .map_err(|e| RenderError::Device(format!("it did not finish its work: {e}")))?;
        gpu.faults.check()?;
        match mapped.try_recv() {
            Ok(Ok(())) => {}
            Ok(Err(e)) => return Err(RenderError::Device(format!("its results could not be read: {e}"))),
            Err(_) => return Err(RenderError::Device("its results did not arrive".into())),
        }
        let result = {
            let view = buffer.slice(..bytes).get_mapped_range().map_err(|e| RenderError::Device(e.to_string()))?;
            read(&view)
        };
        buffer.unmap();
        self.0.push(buffer);
        Ok(result)
    }
}

impl PendingRead {
    /// Asks for the first `bytes` of `buffer` once `submission` is done.
    pub(crate) fn start(buffer: wgpu::Buffer, bytes: u64, submission: wgpu::SubmissionIndex) -> Self {
        let (sender, mapped) = mpsc::sync_channel(1);
        // the receiver is gone only where an earlier error has ended the batch
        buffer.slice(..bytes).map_async(wgpu::MapMode::Read, move |result| sender.send(result).unwrap_or_default());
        Self { buffer, bytes, submission, mapped }
    }
}
