//! Output containers: which there are, what sound they hold, and whether a file starts with its index.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use crate::MediaError;

/// A container that can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// MPEG-4 part 14; what browsers play.
    Mp4,
    /// QuickTime.
    Mov,
    /// Matroska. Its clock ticks in milliseconds, so finer timestamps are rounded.
    Mkv,
}

impl Container {
    /// The container for a path, by its extension; MP4 where there is none.
    ///
    /// # Errors
    /// [`MediaError::OutputContainer`] for any other extension.
    pub fn of(path: &Path) -> Result<Self, MediaError> {
        let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
        match extension.as_deref() {
            None | Some("mp4") => Ok(Self::Mp4),
            Some("mov") => Ok(Self::Mov),
            Some("mkv") => Ok(Self::Mkv),
            Some(_) => Err(MediaError::OutputContainer { path: path.to_owned() }),
        }
    }

    /// ffmpeg's name of the muxer.
    pub(crate) const fn muxer(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
            Self::Mov => "mov",
            Self::Mkv => "matroska",
        }
    }

    /// Whether packets of this audio codec can be copied into it and be played from there.
    pub(crate) fn holds(self, codec: &str) -> bool {
        match self {
            Self::Mp4 => matches!(codec, "aac" | "mp3" | "mp2" | "ac3" | "eac3" | "alac" | "opus" | "vorbis" | "dts"),
            Self::Mov => matches!(codec, "aac" | "mp3" | "mp2" | "ac3" | "eac3" | "alac") || codec.starts_with("pcm_"),
            Self::Mkv => true,
        }
    }
}

/// Whether an MP4 or MOV is whole and its index comes before its data: `None` if so, else what is wrong.
pub(crate) fn fault_of_mp4(path: &Path) -> io::Result<Option<String>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let (mut at, mut index_seen, mut data_seen) = (0_u64, false, false);
    while at < length {
        let Some((kind, size)) = box_header(&mut file, at, length)? else {
            return Ok(Some(format!("its box at byte {at} runs past the end")));
        };
        match &kind {
            b"moov" if data_seen => return Ok(Some("its index comes after its data, so it cannot play while it loads".to_owned())),
            b"moov" => index_seen = true,
            b"mdat" => data_seen = true,
            _ => {}
        }
        at += size;
    }
    Ok(match (index_seen, data_seen) {
        (true, true) => None,
        (false, _) => Some("it has no index".to_owned()),
        (true, false) => Some("it has no data".to_owned()),
    })
}

/// Kind and size of the box at `at` (ISO/IEC 14496-12, 4.2); `None` where it does not fit into the file.
fn box_header(file: &mut File, at: u64, length: u64) -> io::Result<Option<([u8; 4], u64)>> {
    if length - at < 8 {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(at))?;
    let (mut size, mut kind) = ([0; 4], [0; 4]);
    file.read_exact(&mut size)?;
    file.read_exact(&mut kind)?;
    let size = match u32::from_be_bytes(size) {
        0 => length - at,
        1 if length - at >= 16 => {
            let mut large = [0; 8];
            file.read_exact(&mut large)?;
            u64::from_be_bytes(large)
        }
        size => size.into(),
    };
    Ok((size >= 8 && size <= length - at).then_some((kind, size)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn fault_of(boxes: &[(&[u8; 4], u32, usize)]) -> Option<String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for (kind, size, body) in boxes {
            file.write_all(&size.to_be_bytes()).unwrap();
            file.write_all(*kind).unwrap();
            file.write_all(&vec![0; *body]).unwrap();
        }
        fault_of_mp4(file.path()).unwrap()
    }

    #[test]
    fn only_an_index_before_the_data_will_do() {
        assert_eq!(fault_of(&[(b"ftyp", 16, 8), (b"moov", 9, 1), (b"mdat", 18, 10)]), None);
        assert!(fault_of(&[(b"mdat", 18, 10), (b"moov", 9, 1)]).unwrap().contains("after its data"));
        assert!(fault_of(&[(b"ftyp", 16, 8), (b"mdat", 18, 10)]).unwrap().contains("no index"));
        assert!(fault_of(&[(b"moov", 9, 1), (b"mdat", 18, 9)]).unwrap().contains("past the end"));
        assert!(fault_of(&[(b"moov", 0, 40)]).unwrap().contains("no data"));
        assert!(fault_of(&[(b"moov", 1, 4)]).unwrap().contains("past the end"));
    }

    #[test]
    fn extensions_choose_the_container() {
        assert_eq!(Container::of(Path::new("a/b.MP4")).unwrap(), Container::Mp4);
        assert_eq!(Container::of(Path::new("a.b/c")).unwrap(), Container::Mp4);
        assert_eq!(Container::of(Path::new("b.mkv")).unwrap(), Container::Mkv);
        let error = Container::of(Path::new("b.avi")).unwrap_err().to_string();
        assert!(error.contains(".mp4, .mov or .mkv"), "{error}");
    }
}
