//! Writes the lines of a pose file into a buffer of the caller's.

use serde::Serialize;

use super::{Frame, Header, Layout, PoseFault};

/// A line could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The header or frame breaks a rule; nothing was written.
    #[error("not written to the pose file: {0}")]
    Fault(#[from] PoseFault),
    /// JSON could not be made of it.
    #[error("not written to the pose file: {0}")]
    Json(#[from] serde_json::Error),
}

/// Appends lines to a buffer, which the caller empties as it likes (e.g. into a host's file).
#[derive(Debug)]
pub struct PosesWriter {
    layout: Layout,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    Header(&'a Header),
    Frame(&'a Frame),
}

impl PosesWriter {
    /// Starts a file: appends the header line to `out`.
    ///
    /// # Errors
    /// [`WriteError::Fault`] names the header's field and the rule that it breaks.
    pub fn new(header: &Header, out: &mut Vec<u8>) -> Result<Self, WriteError> {
        let layout = Layout::new(header)?;
        line(&Line::Header(header), out)?;
        Ok(Self { layout })
    }

    /// Appends the line of one frame to `out`.
    ///
    /// # Errors
    /// [`WriteError::Fault`] names the frame, the field and the rule that a value breaks, e.g. that it is not finite.
    pub fn write(&mut self, frame: &Frame, out: &mut Vec<u8>) -> Result<(), WriteError> {
        self.layout.check(frame)?;
        line(&Line::Frame(frame), out)
    }
}

fn line(line: &Line<'_>, out: &mut Vec<u8>) -> Result<(), WriteError> {
    serde_json::to_writer(&mut *out, line)?;
    out.push(b'\n');
    Ok(())
}
