//! One ffmpeg process with its pipes, served by one thread: whatever the thread waits for, it also reads the messages,
//! so ffmpeg never stands still because nobody listens; and it wakes at once when told to stop.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{ChildStderr, ChildStdin, ChildStdout, ExitStatus};

use ffmpeg_sidecar::child::FfmpegChild;
use ffmpeg_sidecar::command::FfmpegCommand;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::log::{FrameTime, Log};
use super::stop::StopSignal;

/// Bytes asked for each pipe of frames: the most that Linux grants without privileges.
#[cfg(target_os = "linux")]
const PIPE_BYTES: usize = 1 << 20;

/// A running ffmpeg. Dropped, it is killed and waited for.
pub struct Child {
    inner: FfmpegChild,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    log: Log,
    stop: StopSignal,
}

/// How a read or write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    /// All of it was done.
    Whole,
    /// ffmpeg closed its end first.
    Closed,
    /// The stop signal came first.
    Stopped,
}

/// Which of the child's streams to wait for beside its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Want {
    Output,
    Input,
    Messages,
}

impl Child {
    /// Starts ffmpeg. `takes_input` leaves its standard input open; its standard output is a pipe always.
    ///
    /// It gets a process group of its own: a Ctrl-C in the terminal is for us, who then end our children in order.
    pub fn spawn(ffmpeg: &Path, args: Vec<OsString>, takes_input: bool, stop: StopSignal) -> io::Result<Self> {
        let mut command = FfmpegCommand::new_with_path(ffmpeg);
        command.args(args);
        command.as_inner_mut().process_group(0);
        let mut inner = command.spawn()?;
        // before it has threads: the dynamic linker has just begun
        halfpipe_core::sched::let_compute_in_long_turns(inner.as_inner().id());
        let mut child =
            Self { stdin: inner.take_stdin(), stdout: inner.take_stdout(), stderr: inner.take_stderr(), log: Log::default(), inner, stop };
        if !takes_input {
            child.stdin = None;
        }
        child.prepare_pipes()?;
        Ok(child)
    }

    fn prepare_pipes(&self) -> io::Result<()> {
        for fd in [self.stdin.as_ref().map(AsFd::as_fd), self.stdout.as_ref().map(AsFd::as_fd), self.stderr.as_ref().map(AsFd::as_fd)]
            .into_iter()
            .flatten()
        {
            fcntl_setfl(fd, fcntl_getfl(fd)? | OFlags::NONBLOCK)?;
        }
        // a larger pipe saves switches between processes; where it is refused the usual size works as well
        #[cfg(target_os = "linux")]
        for fd in [self.stdin.as_ref().map(AsFd::as_fd), self.stdout.as_ref().map(AsFd::as_fd)].into_iter().flatten() {
            rustix::pipe::fcntl_setpipe_size(fd, PIPE_BYTES).ok();
        }
        Ok(())
    }

    /// Process id.
    pub fn id(&mut self) -> u32 {
        self.inner.as_inner().id()
    }

    /// The messages so far.
    pub const fn log(&self) -> &Log {
        &self.log
    }

    /// The signal, to wait for something else than the child.
    pub const fn stop(&mut self) -> &mut StopSignal {
        &mut self.stop
    }

    /// Reads standard output into the free room of `buffer` until it holds `length` bytes.
    pub fn read(&mut self, buffer: &mut Vec<u8>, length: usize) -> io::Result<Transfer> {
        while buffer.len() < length {
            let Some(stdout) = self.stdout.as_mut() else { return Ok(Transfer::Closed) };
            let room = (length - buffer.len()) as u64;
            match stdout.take(room).read_to_end(buffer) {
                Ok(_) if buffer.len() < length => self.stdout = None,
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if !self.wait(Want::Output)? {
                        return Ok(Transfer::Stopped);
                    }
                }
                Err(e) => return Err(e),
            }
        }
        Ok(Transfer::Whole)
    }

    /// Writes all `bytes` to standard input.
    pub fn write(&mut self, mut bytes: &[u8]) -> io::Result<Transfer> {
        while !bytes.is_empty() {
            let Some(stdin) = self.stdin.as_mut() else { return Ok(Transfer::Closed) };
            match stdin.write(bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => self.stdin = None,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if !self.wait(Want::Input)? {
                        return Ok(Transfer::Stopped);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(Transfer::Whole)
    }

    /// Closes standard input.
    pub fn end_input(&mut self) {
        self.stdin = None;
    }

    /// The timestamp of the next frame, waited for; `None` where the messages end or the stop signal comes first.
    pub fn next_time(&mut self) -> io::Result<Option<FrameTime>> {
        loop {
            if let Some(time) = self.log.next_time() {
                return Ok(Some(time));
            }
            if self.stderr.is_none() || !self.wait(Want::Messages)? {
                return Ok(None);
            }
        }
    }

    /// Closes standard input, reads the messages to their end and waits for the exit. `None` where the stop signal came first.
    pub fn finish(&mut self) -> io::Result<Option<ExitStatus>> {
        self.stdin = None;
        while self.stderr.is_some() {
            if !self.wait(Want::Messages)? {
                return Ok(None);
            }
        }
        self.log.end_line();
        self.inner.wait().map(Some)
    }

    /// Waits until the stream wanted is ready or there were messages; false at the stop signal.
    fn wait(&mut self, want: Want) -> io::Result<bool> {
        let data = match want {
            Want::Output => self.stdout.as_ref().map(|fd| (fd.as_fd(), PollFlags::IN)),
            Want::Input => self.stdin.as_ref().map(|fd| (fd.as_fd(), PollFlags::OUT)),
            Want::Messages => None,
        };
        let messages = self.stderr.as_ref().map(|fd| (fd.as_fd(), PollFlags::IN));
        let mut fds = vec![PollFd::from_borrowed_fd(self.stop.as_fd(), PollFlags::IN)];
        fds.extend([messages, data].into_iter().flatten().map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags)));
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        let stopped = !fds[0].revents().is_empty();
        let messages = messages.is_some() && !fds[1].revents().is_empty();
        if messages {
            self.read_messages()?;
        }
        Ok(!stopped)
    }

    fn read_messages(&mut self) -> io::Result<()> {
        let mut piece = [0; 8192];
        while let Some(stderr) = self.stderr.as_mut() {
            match stderr.read(&mut piece) {
                Ok(0) => self.stderr = None,
                Ok(n) => self.log.push(&piece[..n]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // both fail only where the child has been waited for
        self.inner.kill().ok();
        self.inner.wait().ok();
    }
}

/// `ffmpeg was killed by signal 9`, `ffmpeg ended with exit code 1`.
pub fn describe(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("ffmpeg was killed by signal {signal}"),
        (None, Some(code)) => format!("ffmpeg ended with exit code {code}"),
        (None, None) => "ffmpeg ended in an unknown way".to_owned(),
    }
}
