//! Reads a pose file line by line.

use std::io::{BufRead, Read as _};

use serde::Deserialize;

use super::{Frame, Header, Layout, PoseFault};

/// No line of a real file comes near this; it bounds the memory that a broken file can take.
const MAX_LINE: u64 = 16 << 20;

/// A pose file could not be read. Lines count from 1.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file is empty.
    #[error("the pose file is empty: its first line must be a header")]
    Empty,
    /// The stream failed.
    #[error("line {line} of the pose file could not be read: {source}")]
    Io {
        /// The line being read.
        line: u64,
        /// Why.
        source: std::io::Error,
    },
    /// The line is longer than any real one.
    #[error("line {line} of the pose file is longer than {MAX_LINE} bytes: this is no pose file")]
    TooLong {
        /// The line.
        line: u64,
    },
    /// The line is not the JSON object that belongs there.
    #[error("line {line} of the pose file is not a valid {expected}: {source}")]
    Json {
        /// The line.
        line: u64,
        /// `header` or `frame`.
        expected: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// The line breaks a rule of the format.
    #[error("line {line} of the pose file breaks a rule: {fault}")]
    Fault {
        /// The line.
        line: u64,
        /// The rule.
        fault: PoseFault,
    },
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum HeaderLine {
    Header(Box<Header>),
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum FrameLine {
    Frame(Frame),
}

/// Streams the frames of a pose file; holds one line at a time. Every line is checked, unknown fields are errors.
#[derive(Debug)]
pub struct PosesReader<R> {
    input: R,
    header: Header,
    layout: Layout,
    line: u64,
    text: Vec<u8>,
    failed: bool,
}

impl<R: BufRead> PosesReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`ReadError`] where the first line is missing or not a header of a known schema version.
    pub fn new(mut input: R) -> Result<Self, ReadError> {
        let mut text = Vec::new();
        if !next_line(&mut input, &mut text, 1)? {
            return Err(ReadError::Empty);
        }
        let HeaderLine::Header(header) =
            serde_json::from_slice(&text).map_err(|source| ReadError::Json { line: 1, expected: "header", source })?;
        let layout = Layout::new(&header).map_err(|fault| ReadError::Fault { line: 1, fault })?;
        Ok(Self { input, header: *header, layout, line: 1, text, failed: false })
    }

    /// The header.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Number of the line read last, from 1.
    pub const fn line(&self) -> u64 {
        self.line
    }

    fn frame(&mut self) -> Result<Option<Frame>, ReadError> {
        let line = self.line + 1;
        if !next_line(&mut self.input, &mut self.text, line)? {
            return Ok(None);
        }
        self.line = line;
        let FrameLine::Frame(frame) =
            serde_json::from_slice(&self.text).map_err(|source| ReadError::Json { line, expected: "frame", source })?;
        self.layout.check(&frame).map_err(|fault| ReadError::Fault { line, fault })?;
        Ok(Some(frame))
    }
}

/// The frames in order. Ends after the first error.
impl<R: BufRead> Iterator for PosesReader<R> {
    type Item = Result<Frame, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let item = self.frame().transpose();
        self.failed = matches!(item, Some(Err(_)));
        item
    }
}

/// Reads line `line` into `text`, without its end; false at the end of the file.
fn next_line(input: &mut impl BufRead, text: &mut Vec<u8>, line: u64) -> Result<bool, ReadError> {
    text.clear();
    let read = input.by_ref().take(MAX_LINE).read_until(b'\n', text).map_err(|source| ReadError::Io { line, source })?;
    if text.last() == Some(&b'\n') {
        text.pop();
    } else if read as u64 == MAX_LINE {
        return Err(ReadError::TooLong { line });
    }
    Ok(read > 0)
}
