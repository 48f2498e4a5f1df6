//! ffmpeg's messages on its standard error: the last of them for error texts, a count of errors, and frame timestamps.

use std::collections::VecDeque;

/// Messages kept.
const TAIL_LINES: usize = 16;
/// Characters kept of each.
const TAIL_CHARS: usize = 300;
/// Bytes of a line beyond which its end is dropped.
const LINE_BYTES: usize = 8192;

/// What ffmpeg says where a GPU does not decode a video, before it goes on in software.
const GPU_REFUSES: &str = "Failed setup for format cuda";

/// The timestamp that the `showinfo` filter told of one frame, ticks; `None` where the frame had none.
pub type FrameTime = Option<i64>;

/// Messages as they come in, in pieces.
#[derive(Debug, Default)]
pub struct Log {
    line: Vec<u8>,
    /// The last warnings and errors.
    tail: VecDeque<String>,
    /// Number of messages of level error and worse.
    errors: u64,
    /// The same, up to the last frame that was told of.
    errors_before: u64,
    /// Why a GPU does not decode this video.
    refused: Option<String>,
    /// Frame times not asked for yet. No longer than what ffmpeg has filtered, but not yet been relieved of.
    times: VecDeque<FrameTime>,
}

impl Log {
    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|&b| b == b'\n' || b == b'\r') {
            let room = LINE_BYTES.saturating_sub(self.line.len());
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") || piece.ends_with(b"\r") {
                self.end_line();
            }
        }
    }

    /// Ends the last line, which may lack its line feed.
    pub fn end_line(&mut self) {
        let bytes = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&bytes);
        let line = line.trim_end();
        // metadata of the file is printed behind [info]; nothing in it is taken for a frame
        if line.starts_with('[') && !line.starts_with("[info]") {
            let told = self.times.len();
            self.times.extend(frame_times(line));
            if self.times.len() > told {
                self.errors_before = self.errors;
            }
        }
        let level = ["[warning]", "[error]", "[fatal]", "[panic]"].iter().position(|level| line.contains(level));
        if let Some(level) = level {
            self.errors += u64::from(level > 0);
            if self.tail.len() == TAIL_LINES {
                self.tail.pop_front();
            }
            self.tail.push_back(without_address(line).chars().take(TAIL_CHARS).collect());
            if line.contains(GPU_REFUSES) {
                self.note_refusal();
            }
        }
    }

    /// What was said since the last frame is the GPU's reason, and no damage of the video: software goes on with it.
    fn note_refusal(&mut self) {
        let said = usize::try_from(self.errors - self.errors_before).unwrap_or(TAIL_LINES);
        let reason = self.tail.iter().skip(self.tail.len().saturating_sub(said)).map(String::as_str).collect::<Vec<_>>().join("; ");
        self.refused.get_or_insert(reason);
        self.errors = self.errors_before;
    }

    /// Why a GPU that was to decode does not, so that ffmpeg decodes in software.
    pub fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// The next frame's timestamp, once ffmpeg has told it.
    pub fn next_time(&mut self) -> Option<FrameTime> {
        self.times.pop_front()
    }

    /// Number of messages of level error and worse.
    pub const fn errors(&self) -> u64 {
        self.errors
    }

    /// The last warnings and errors, oldest first.
    pub fn tail(&self) -> Vec<String> {
        self.tail.iter().cloned().collect()
    }

    /// The last few messages as one text, without those that only repeat what another means.
    pub fn cause(&self) -> String {
        let few = self.tail.iter().skip(self.tail.len().saturating_sub(4));
        let text = few.map(String::as_str).collect::<Vec<_>>().join("; ");
        if text.is_empty() { "ffmpeg gave no reason".to_owned() } else { text }
    }
}

/// Takes `pts` out of `n:  12 pts:  6144 pts_time:0.4 ...`, which the filter prints in one piece, if perhaps within a line of another's.
fn frame_times(line: &str) -> impl Iterator<Item = FrameTime> {
    line.match_indices(" pts_time:").filter_map(|(end, _)| {
        let (before, pts) = line[..end].rsplit_once(" pts:")?;
        let (_, n) = before.rsplit_once("n:")?;
        n.trim().parse::<u64>().ok()?;
        match pts.trim() {
            "NOPTS" => Some(None),
            ticks => ticks.parse().ok().map(Some),
        }
    })
}

/// `[h264 @ 0x55d0] [error] text` as `h264: text`, and `[error] text` as `text`.
pub fn without_address(line: &str) -> String {
    let mut rest = line;
    let mut origin = "";
    while let Some((inner, after)) = rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
        if let Some((name, _)) = inner.split_once(" @ ") {
            origin = name;
        }
        rest = after.trim_start();
    }
    if origin.is_empty() { rest.to_owned() } else { format!("{origin}: {rest}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_in_order_whatever_the_pieces() {
        let text = "[Parsed_showinfo_2 @ 0x1] [info] config in time_base: 1/15360, frame_rate: 30/1\n\
                    [Parsed_showinfo_2 @ 0x1] [info] n:   0 pts:  80379 pts_time:5.23 pos: 7605 fmt:yuv420p\n\
                    [Parsed_showinfo_2 @ 0x1] [info] n:   1 pts:  NOPTS pts_time:NOPTS pos: 7605[h264 @ 0x2] [error] bad\n\
                    [h264 @ 0x2] [error] half[Parsed_showinfo_2 @ 0x1] [info] n:   2 pts: -5 pts_time:-0.1 x\n";
        for step in [1, 7, 4096] {
            let mut log = Log::default();
            text.as_bytes().chunks(step).for_each(|piece| log.push(piece));
            assert_eq!([log.next_time(), log.next_time(), log.next_time()], [Some(Some(80379)), Some(None), Some(Some(-5))]);
            assert_eq!((log.next_time(), log.errors()), (None, 2));
        }
    }

    #[test]
    fn a_gpu_that_refuses_is_no_damage() {
        let mut log = Log::default();
        log.push(b"[h264 @ 0x2] [error] Hardware is lacking required capabilities\n");
        log.push(b"[h264 @ 0x2] [error] Failed setup for format cuda: hwaccel initialisation returned error.\n");
        assert_eq!(log.errors(), 0);
        let why =
            "h264: Hardware is lacking required capabilities; h264: Failed setup for format cuda: hwaccel initialisation returned error.";
        assert_eq!(log.refused(), Some(why));
        log.push(b"[h264 @ 0x2] [error] bad\n[Parsed_showinfo_2 @ 0x1] [info] n:   0 pts:  7 pts_time:0.1 x\n");
        log.push(b"[h264 @ 0x2] [error] Failed setup for format cuda: hwaccel initialisation returned error.\n");
        assert_eq!(log.errors(), 1, "damage before a frame stays counted");
    }

    #[test]
    fn a_title_cannot_pass_for_a_frame() {
        let mut log = Log::default();
        log.push(b"[info]     title : n:   0 pts:  7 pts_time:0.1\n            : n:   0 pts:  7 pts_time:0.1\n");
        assert_eq!(log.next_time(), None);
    }

    #[test]
    fn the_tail_is_bounded_and_readable() {
        let mut log = Log::default();
        for i in 0..1000 {
            log.push(format!("[h264 @ 0x55d0] [error] message {i} {}\n", "x".repeat(20_000)).as_bytes());
        }
        log.push(b"[fatal] the end");
        log.end_line();
        let tail = log.tail();
        assert_eq!((tail.len(), log.errors()), (TAIL_LINES, 1001));
        assert!(tail.iter().all(|l| l.len() <= TAIL_CHARS));
        assert!(tail[0].starts_with("h264: message 985"), "{}", tail[0]);
        assert_eq!(tail[TAIL_LINES - 1], "the end");
    }
}
