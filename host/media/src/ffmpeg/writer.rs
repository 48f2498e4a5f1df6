//! The thread that hands frames to the encoder and sees the output through.

use std::io;
use std::path::PathBuf;
use std::time::Instant;

use halfpipe_core::{ByteLease, FrameBatch, Picture, Rational, Size, StageClock, VideoFormat};
use tokio::sync::mpsc;

use super::child::{Child, Transfer, describe};
use super::encode::even;
use super::matroska;
use crate::container::fault_of_mp4;
use crate::{Container, MediaError, Part, Written};

/// What the writer is told.
pub enum Message {
    /// Write these; the lease is their share of the queue's budget.
    Batch(FrameBatch, ByteLease),
    /// That was all.
    Finish,
}

/// All that the thread needs.
pub struct Writer {
    pub child: Child,
    pub path: PathBuf,
    pub format: VideoFormat,
    pub frame_rate: Rational,
    /// Ticks added to every timestamp.
    pub shift: i64,
    /// Only these frames are written.
    pub part: Option<Part>,
    pub clock: StageClock,
    pub warnings: Vec<String>,
    pub messages: mpsc::Receiver<Message>,
    /// Frames handed to the encoder.
    pub frames: u64,
}

impl Writer {
    /// Writes until told that it was all; unless that ends well, no file is left.
    pub fn run(mut self) -> Result<Written, MediaError> {
        let result = self.write();
        let path = self.path.clone();
        // before the file is removed the process must be gone, or it might go on writing
        drop(self);
        if result.is_err() {
            std::fs::remove_file(path).ok();
        }
        result
    }

    fn write(&mut self) -> Result<Written, MediaError> {
        let header = matroska::header(even(self.format.size), self.frame_rate);
        self.send(&header)?;
        loop {
            match self.messages.blocking_recv() {
                Some(Message::Batch(batch, _lease)) => self.batch(&batch)?,
                Some(Message::Finish) => return self.finish(),
                None => return Err(self.failed("it was given up unfinished".to_owned())),
            }
        }
    }

    fn batch(&mut self, batch: &FrameBatch) -> Result<(), MediaError> {
        let waiting = batch.pictures.wait();
        let pictures = match self.child.stop().block_on(waiting) {
            None => return Err(self.failed("it was given up unfinished".to_owned())),
            Some(Err(source)) => return Err(MediaError::FramesLost { path: self.path.clone(), source }),
            Some(Ok(pictures)) => pictures,
        };
        let size = self.format.size;
        if pictures.len() != batch.len() || pictures.iter().any(|p| p.size() != size) {
            return Err(self.failed(format!("it was promised {} frames of {size}, and others came", batch.len())));
        }
        let start = Instant::now();
        let before = self.frames;
        let part = self.part;
        for (picture, &pts) in pictures.iter().zip(batch.pts.iter()).filter(|(_, pts)| part.is_none_or(|part| part.has(**pts))) {
            let Some(nanos) = matroska::nanos(pts + self.shift, self.format.time_base) else {
                return Err(self.failed(format!("the timestamp {pts} ticks cannot be written")));
            };
            self.send(&matroska::frame_head(nanos, even(size).picture_bytes()))?;
            if even(size) == size {
                self.send(picture.data())?;
            } else {
                // chroma planes have the same size either way
                self.send(&padded_luma(picture))?;
                self.send(&picture.data()[size.area()..])?;
            }
            self.frames += 1;
        }
        self.clock.add("encode", start.elapsed(), self.frames - before);
        Ok(())
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), MediaError> {
        match self.child.write(bytes) {
            Ok(Transfer::Whole) => Ok(()),
            Ok(Transfer::Stopped) => Err(self.failed("it was given up unfinished".to_owned())),
            // ffmpeg ended on its own; its messages say why
            Ok(Transfer::Closed) => Err(match self.child.finish() {
                Ok(Some(status)) => self.failed(format!("{} ({})", describe(status), self.child.log().cause())),
                Ok(None) => self.failed("it was given up unfinished".to_owned()),
                Err(e) => self.broken(&e),
            }),
            Err(e) => Err(self.broken(&e)),
        }
    }

    fn finish(&mut self) -> Result<Written, MediaError> {
        if self.frames == 0 {
            return Err(self.failed("a video needs at least one frame".to_owned()));
        }
        let start = Instant::now();
        let status = match self.child.finish() {
            Ok(Some(status)) => status,
            Ok(None) => return Err(self.failed("it was given up unfinished".to_owned())),
            Err(e) => return Err(self.broken(&e)),
        };
        self.clock.add("encode", start.elapsed(), 0);
        if !status.success() {
            return Err(self.failed(format!("{} ({})", describe(status), self.child.log().cause())));
        }
        // old releases end well even where the last bytes found no room
        if Container::of(&self.path)? != Container::Mkv
            && let Some(fault) = fault_of_mp4(&self.path).map_err(|e| MediaError::io("read", &self.path, e))?
        {
            return Err(self.failed(format!("{fault} ({})", self.child.log().cause())));
        }
        let bytes = std::fs::metadata(&self.path).map_err(|e| MediaError::io("read", &self.path, e))?.len();
        let warnings = std::mem::take(&mut self.warnings);
        Ok(Written { frames: self.frames, bytes, size: even(self.format.size), warnings })
    }

    fn failed(&self, cause: String) -> MediaError {
        MediaError::Encode { path: self.path.clone(), frames: self.frames, cause }
    }

    fn broken(&self, error: &io::Error) -> MediaError {
        self.failed(format!("writing to ffmpeg failed: {error}"))
    }
}

/// The luma plane with even sides: the last column and row are repeated.
fn padded_luma(picture: &Picture) -> Vec<u8> {
    let (from, to): (Size, Size) = (picture.size(), even(picture.size()));
    let mut luma = Vec::with_capacity(to.area());
    let [y, ..] = picture.planes();
    for row in y.chunks_exact(from.width as usize) {
        luma.extend_from_slice(row);
        if to.width > from.width {
            luma.extend(row.last());
        }
    }
    if to.height > from.height {
        luma.extend_from_within(luma.len() - to.width as usize..);
    }
    luma
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_repeated() {
        let size = Size::new(3, 3);
        let mut data: Vec<u8> = (1..=9).collect();
        data.resize(size.picture_bytes(), 128);
        let luma = padded_luma(&Picture::from_data(size, data).unwrap());
        assert_eq!(luma, [1, 2, 3, 3, 4, 5, 6, 6, 7, 8, 9, 9, 7, 8, 9, 9]);
    }
}
