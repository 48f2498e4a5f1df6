//! Listing in the order of keys, though the file system knows no order.

use std::fs;
use std::io;
use std::path::Path;

use super::{is_missing, meta};
use crate::key::RESERVED;
use crate::{Key, MAX_KEY_BYTES, ObjectMeta};

/// What to list.
struct Walk<'a> {
    prefix: &'a str,
    after: &'a str,
    limit: usize,
    found: Vec<ObjectMeta>,
}

pub(super) fn list(root: &Path, prefix: &str, after: Option<&Key>, limit: usize) -> io::Result<Vec<ObjectMeta>> {
    let mut walk = Walk { prefix, after: after.map_or("", Key::as_str), limit, found: Vec::new() };
    walk.folder(root, "")?;
    Ok(walk.found)
}

impl Walk<'_> {
    /// Lists below `path`, whose keys begin with `base` (empty, or ending in a slash).
    fn folder(&mut self, path: &Path, base: &str) -> io::Result<()> {
        // a folder sorts as its name and a slash, which is how its keys go on
        let mut names = Vec::new();
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(e) if is_missing(&e) => return Ok(()),
            Err(e) => return Err(e),
        };
        for entry in entries {
            let entry = entry?;
            let kind = match entry.file_type() {
                Ok(kind) => kind,
                Err(e) if is_missing(&e) => continue,
                Err(e) => return Err(e),
            };
            let Ok(name) = entry.file_name().into_string() else {
                tracing::warn!(path = %entry.path().display(), "not listed: its name is not UTF-8");
                continue;
            };
            if base.is_empty() && name.eq_ignore_ascii_case(RESERVED) || base.len() + name.len() > MAX_KEY_BYTES {
                continue;
            }
            if kind.is_dir() {
                names.push(format!("{name}/"));
            } else if kind.is_file() {
                names.push(name);
            }
        }
        names.sort_unstable();
        for name in names {
            if self.found.len() >= self.limit {
                break;
            }
            let (key, path) = (format!("{base}{name}"), path.join(&name));
            if name.ends_with('/') {
                let may_match = key.starts_with(self.prefix) || self.prefix.starts_with(&key);
                let passed = key.as_str() < self.after && !self.after.starts_with(&key);
                if may_match && !passed {
                    self.folder(&path, &key)?;
                }
            } else if key.starts_with(self.prefix) && key.as_str() > self.after {
                self.file(&path, key)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, key: String) -> io::Result<()> {
        let key = match Key::new(key) {
            Ok(key) => key,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "not listed");
                return Ok(());
            }
        };
        match fs::symlink_metadata(path) {
            Ok(metadata) => self.found.push(meta(&key, &metadata)?),
            Err(e) if is_missing(&e) => {}
            Err(e) => return Err(e),
        }
        Ok(())
    }
}
