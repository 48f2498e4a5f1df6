//! A model file is used only if its sha256 is the catalog's.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::CatalogError;

/// A file that the catalog pins by digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinnedFile<'a> {
    /// The model or body it belongs to.
    pub name: &'a str,
    /// File name inside the models directory.
    pub file: &'a str,
    /// 64 lower-case hex digits.
    pub sha256: &'a str,
}

/// What tells a file that was hashed before from one that was written since.
#[derive(PartialEq, Eq, Hash)]
struct Stamp {
    path: PathBuf,
    len: u64,
    modified: (i64, i64),
    inode: u64,
}

/// Digests by stamp, so that a file is read once a process as long as nobody touches it.
static DIGESTS: Mutex<Option<HashMap<Stamp, String>>> = Mutex::new(None);

/// Checks that a pinned file is there and has its digest. The file is streamed; a file that was not touched since an
/// earlier check in this process is not read again.
///
/// # Errors
/// [`CatalogError::Missing`], [`CatalogError::Altered`] or [`CatalogError::Read`], each with the path and what to do.
pub fn verify(file: PinnedFile<'_>, dir: &Path) -> Result<(), CatalogError> {
    let path = dir.join(file.file);
    let (handle, meta) = open(file, &path)?;
    let stamp = Stamp { path: path.clone(), len: meta.len(), modified: (meta.mtime(), meta.mtime_nsec()), inode: meta.ino() };
    let known = DIGESTS.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(|d| d.get(&stamp).cloned());
    let digest = match known {
        Some(digest) => digest,
        None => {
            let digest = stream_digest(handle).map_err(|source| CatalogError::Read { path: path.clone(), source })?;
            DIGESTS.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().insert(stamp, digest.clone());
            digest
        }
    };
    compare(file, path, &digest)
}

/// Reads a pinned file whole and checks the very bytes that are returned, so that nothing can change in between.
///
/// # Errors
/// As [`verify`].
pub(crate) fn read_verified(file: PinnedFile<'_>, dir: &Path) -> Result<Vec<u8>, CatalogError> {
    let path = dir.join(file.file);
    let (mut handle, meta) = open(file, &path)?;
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0));
    handle.read_to_end(&mut bytes).map_err(|source| CatalogError::Read { path: path.clone(), source })?;
    compare(file, path, &hex(Sha256::digest(&bytes).as_slice()))?;
    Ok(bytes)
}

/// The same for large files whose bytes are shared and not grown: read straight into their place.
///
/// # Errors
/// As [`verify`].
pub(crate) fn read_verified_shared(file: PinnedFile<'_>, dir: &Path) -> Result<Arc<[u8]>, CatalogError> {
    let path = dir.join(file.file);
    let (handle, meta) = open(file, &path)?;
    let fail = |source: std::io::Error| CatalogError::Read { path: path.clone(), source };
    let length = usize::try_from(meta.len()).map_err(|_| fail(std::io::ErrorKind::FileTooLarge.into()))?;
    // of known length, so it is made in place
    let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, length).collect();
    if let Some(place) = Arc::get_mut(&mut bytes) {
        (&handle).read_exact(place).map_err(fail)?;
    }
    compare(file, path, &hex(Sha256::digest(&bytes).as_slice()))?;
    Ok(bytes)
}

fn open(file: PinnedFile<'_>, path: &Path) -> Result<(File, Metadata), CatalogError> {
    let fail = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => CatalogError::Missing { name: file.name.to_owned(), path: path.to_owned() },
        _ => CatalogError::Read { path: path.to_owned(), source },
    };
    let handle = File::open(path).map_err(fail)?;
    let meta = handle.metadata().map_err(fail)?;
    Ok((handle, meta))
}

fn compare(file: PinnedFile<'_>, path: PathBuf, found: &str) -> Result<(), CatalogError> {
    if found == file.sha256 {
        return Ok(());
    }
    let short = |digest: &str| digest.chars().take(12).collect::<String>();
    Err(CatalogError::Altered { name: file.name.to_owned(), path, expected: short(file.sha256), found: short(found) })
}

fn stream_digest(mut file: File) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(hasher.finalize().as_slice())),
            n => hasher.update(&buffer[..n]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // writing to a string cannot fail
        write!(text, "{byte:02x}").ok();
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// sha256 of "abc" (FIPS 180-2, appendix B.1).
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn abc() -> PinnedFile<'static> {
        PinnedFile { name: "letters", file: "abc.bin", sha256: ABC }
    }

    #[test]
    fn the_right_file_passes_and_an_altered_one_names_both_digests() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("abc.bin"), "abc").unwrap();
        verify(abc(), dir.path()).unwrap();
        verify(abc(), dir.path()).unwrap();
        assert_eq!(read_verified(abc(), dir.path()).unwrap(), b"abc");
        assert_eq!(*read_verified_shared(abc(), dir.path()).unwrap(), *b"abc");
        // same length, other content, after the first digest went into the cache
        std::fs::remove_file(dir.path().join("abc.bin")).unwrap();
        std::fs::write(dir.path().join("other"), "abd").unwrap();
        std::fs::rename(dir.path().join("other"), dir.path().join("abc.bin")).unwrap();
        let shared = read_verified_shared(abc(), dir.path()).unwrap_err();
        for e in [verify(abc(), dir.path()).unwrap_err(), read_verified(abc(), dir.path()).unwrap_err(), shared] {
            let text = e.to_string();
            assert!(text.contains("abc.bin") && text.contains("ba7816bf8f01…") && text.contains("make models"), "{text}");
        }
    }

    #[test]
    fn a_missing_file_says_what_to_run() {
        let dir = tempfile::tempdir().unwrap();
        let text = verify(abc(), dir.path()).unwrap_err().to_string();
        assert!(text.contains("abc.bin") && text.contains("halfpipe models make"), "{text}");
        assert!(matches!(read_verified(abc(), dir.path()), Err(CatalogError::Missing { .. })));
    }
}
