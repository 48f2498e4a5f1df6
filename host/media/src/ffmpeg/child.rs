//! One ffmpeg process with its streams, served by one thread: whatever the thread waits for, it also reads the messages,
//! so ffmpeg never stands still because nobody listens; and it wakes at once when told to stop.
//!
//! Frames go through socket pairs. Through a pipe Linux takes, books and gives back each page of 4 KiB by itself, so that it costs three
//! times as much CPU time (`docs/performance.md`); to ffmpeg both are a file that is read or written.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{self, ChildStderr, ExitStatus, Stdio};

use ffmpeg_sidecar::command::FfmpegCommand;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::log::{FrameTime, Log};
use super::stop::StopSignal;

/// Bytes asked for on their way in each socket pair. Linux may grant fewer.
const SOCKET_BYTES: usize = 1 << 20;

/// A running ffmpeg. Dropped, it is killed and waited for.
pub struct Child {
    inner: process::Child,
    stdin: Option<File>,
    stdout: Option<File>,
    stderr: Option<ChildStderr>,
    log: Log,
    stop: StopSignal,
}

/// What a child reads from its standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Nothing.
    Nothing,
    /// Some text, through a pipe: what is named `/dev/stdin` can be opened.
    Text,
    /// Frames.
    Frames,
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
    /// Starts ffmpeg. Its standard output is one that frames are read from, always.
    ///
    /// It gets a process group of its own: a Ctrl-C in the terminal is for us, who then end our children in order.
    pub fn spawn(ffmpeg: &Path, args: Vec<OsString>, input: Input, stop: StopSignal) -> io::Result<Self> {
        let mut command = FfmpegCommand::new_with_path(ffmpeg);
        command.args(args);
        command.as_inner_mut().process_group(0);
        let (stdout, theirs) = frame_sockets()?;
        // its own end sends
        rustix::net::sockopt::set_socket_send_buffer_size(&theirs, SOCKET_BYTES).ok();
        command.as_inner_mut().stdout(Stdio::from(theirs));
        let stdin = match input {
            Input::Nothing | Input::Text => None,
            Input::Frames => {
                let (ours, theirs) = frame_sockets()?;
                rustix::net::sockopt::set_socket_send_buffer_size(&ours, SOCKET_BYTES).ok();
                command.as_inner_mut().stdin(Stdio::from(theirs));
                Some(ours)
            }
        };
        // not by its own `spawn`, which panics where a stream is no pipe
        let mut inner = command.as_inner_mut().spawn()?;
        // else the end that was the child's would stay open here, and nobody would see that the child is gone
        drop(command);
        // before it has threads: the dynamic linker has just begun
        halfpipe_core::sched::let_compute_in_long_turns(inner.id());
        // dropped where it takes nothing
        let text = inner.stdin.take().filter(|_| input == Input::Text).map(OwnedFd::from).map(File::from);
        let (stdin, stderr) = (stdin.or(text), inner.stderr.take());
        let child = Self { stdin, stdout: Some(stdout), stderr, log: Log::default(), inner, stop };
        child.set_nonblocking()?;
        Ok(child)
    }

    /// A read or write that would have to wait says so instead.
    fn set_nonblocking(&self) -> io::Result<()> {
        let streams = [self.stdin.as_ref().map(AsFd::as_fd), self.stdout.as_ref().map(AsFd::as_fd), self.stderr.as_ref().map(AsFd::as_fd)];
        for fd in streams.into_iter().flatten() {
            fcntl_setfl(fd, fcntl_getfl(fd)? | OFlags::NONBLOCK)?;
        }
        Ok(())
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.inner.id()
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
                // a socket is reset where its other end was closed with something left to read
                Err(e) if matches!(e.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => self.stdin = None,
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

/// Our end and the child's of a way for frames.
fn frame_sockets() -> io::Result<(File, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair()?;
    Ok((File::from(OwnedFd::from(ours)), OwnedFd::from(theirs)))
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

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::fs;

    use super::*;
    use crate::Tools;
    use crate::ffmpeg::stop::stop_signal;

    /// An ffmpeg that waits for its input.
    fn waiting(input: Input) -> Child {
        let args = ["-f", "rawvideo", "-s", "16x16", "-i", "pipe:0", "-f", "null", "-"];
        // it does not look for the signal: nothing is read or written
        let (_, signal) = stop_signal().unwrap();
        Child::spawn(&Tools::find().unwrap().ffmpeg, args.map(OsString::from).into(), input, signal).unwrap()
    }

    fn stream(child: &Child, number: u32) -> String {
        fs::read_link(format!("/proc/{}/fd/{number}", child.id())).unwrap().display().to_string()
    }

    #[test]
    fn frames_go_through_sockets_and_text_through_a_pipe() {
        let (frames, text) = (waiting(Input::Frames), waiting(Input::Text));
        assert!(stream(&frames, 0).starts_with("socket:") && stream(&frames, 1).starts_with("socket:"));
        assert!(stream(&text, 0).starts_with("pipe:") && stream(&text, 1).starts_with("socket:"));
    }

    #[test]
    fn it_computes_in_long_turns() {
        let child = waiting(Input::Frames);
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        // proc_pid_stat(5): the 41st field is the policy, and SCHED_BATCH is 3; the name before may hold spaces
        let policy = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(38);
        assert_eq!(policy, Some("3"), "{stat}");
    }
}
