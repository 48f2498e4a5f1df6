//! A signal to end work at once, for a thread that waits in `poll` as well as for one that waits for a future.

use std::future::Future;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};

use futures::channel::oneshot;
use futures::executor::block_on;
use futures::future::{Either, select};

/// Dropping it gives the signal.
#[derive(Debug)]
pub struct StopHandle {
    _pipe: PipeWriter,
    _future: oneshot::Sender<()>,
}

/// The thread's end.
#[derive(Debug)]
pub struct StopSignal {
    pipe: PipeReader,
    future: oneshot::Receiver<()>,
}

/// A signal and its handle.
pub fn stop_signal() -> io::Result<(StopHandle, StopSignal)> {
    let (reader, writer) = io::pipe()?;
    let (sender, receiver) = oneshot::channel();
    Ok((StopHandle { _pipe: writer, _future: sender }, StopSignal { pipe: reader, future: receiver }))
}

impl StopSignal {
    /// Blocks the thread until `work` is done; `None` where the signal came, even if both did.
    pub fn block_on<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        match block_on(select(&mut self.future, std::pin::pin!(work))) {
            Either::Left(_) => None,
            Either::Right((value, _)) => Some(value),
        }
    }
}

impl AsFd for StopSignal {
    /// Hangs up (`POLLHUP`) with the signal.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_waited_for_until_the_signal() {
        let (handle, mut signal) = stop_signal().unwrap();
        assert_eq!(signal.block_on(async { 5 }), Some(5));
        let waiting = std::thread::spawn(move || signal.block_on(futures::future::pending::<()>()));
        drop(handle);
        assert_eq!(waiting.join().unwrap(), None);
    }
}
