//! Secrets that everybody who opens the folder shares, kept beside the objects and out of reach of their keys.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The secret in `path`; drawn and kept there where there is none yet. Of several processes that draw at once one wins, and all
/// give its secret.
pub(super) fn shared(path: &Path) -> io::Result<[u8; 32]> {
    loop {
        match read(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            outcome => return outcome,
        }
        let folder = path.parent().unwrap_or(path);
        // made with mode 600
        let mut drawn = tempfile::Builder::new().prefix("secret-").tempfile_in(folder)?;
        let mut secret = [0; 32];
        File::open("/dev/urandom")?.read_exact(&mut secret)?;
        drawn.write_all(&secret)?;
        drawn.as_file().sync_all()?;
        match drawn.persist_noclobber(path) {
            Ok(_) => {
                super::sync_folder(folder)?;
                return Ok(secret);
            }
            Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e.error),
        }
    }
}

fn read(path: &Path) -> io::Result<[u8; 32]> {
    let mut file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode();
    if mode & 0o077 != 0 {
        let message = format!(
            "{} can be read by others (mode {:o}); run chmod 600 on it, or remove it to draw a new one",
            path.display(),
            mode & 0o777
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    let mut secret = [0; 32];
    file.read_exact(&mut secret).map_err(|e| {
        let message = format!("{} has not 32 bytes ({e}); remove it to draw a new one", path.display());
        io::Error::new(io::ErrorKind::InvalidData, message)
    })?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Barrier;

    use super::*;
    use crate::{DirectoryStore, ObjectStore};

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn it_outlives_the_process_and_is_nobody_elses_to_read() {
        let folder = tempfile::tempdir().unwrap();
        let open = || DirectoryStore::open(folder.path()).unwrap();
        let first = open().secret("addresses").unwrap().unwrap();
        assert_eq!(open().secret("addresses").unwrap(), Some(first));
        assert_ne!(open().secret("another").unwrap(), Some(first));
        let elsewhere = tempfile::tempdir().unwrap();
        assert_ne!(DirectoryStore::open(elsewhere.path()).unwrap().secret("addresses").unwrap(), Some(first));
        let path = folder.path().join(".halfpipe-store/addresses");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(open().list("", None, 9).unwrap(), vec![], "it is no object");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = open().secret("addresses").unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn all_who_draw_at_once_get_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let gate = Barrier::new(8);
        let drawn: Vec<[u8; 32]> = std::thread::scope(|scope| {
            let draw = || {
                gate.wait();
                shared(&folder.path().join("secret")).unwrap()
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(draw)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(drawn.iter().all(|secret| *secret == drawn[0] && *secret != [0; 32]));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "losers leave nothing");
    }
}
