//! Names of objects, checked once so that no store can be led astray.

use std::fmt;
use std::str::FromStr;

/// Longest key, bytes (as in S3).
pub const MAX_KEY_BYTES: usize = 1024;
/// Longest part between slashes, bytes (as in common file systems).
const MAX_PART_BYTES: usize = 255;
/// Where a directory store keeps what is not an object.
pub(crate) const RESERVED: &str = ".halfpipe-store";

/// The name of an object: parts joined by `/`, UTF-8, e.g. `jobs/42/output.mp4`.
///
/// Never empty or longer than 1024 bytes, never absolute, no part is empty, `.`, `..` or longer than 255 bytes, and there are no
/// control characters and no `\`. Keys are ordered by their bytes. A key that is another one's folder (`a` and `a/b`) is not
/// portable: a directory cannot hold both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

/// A text is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key:?} is not a valid object key: {rule}")]
pub struct KeyError {
    /// The text, cut to its first 64 characters.
    pub key: String,
    /// The rule it breaks.
    pub rule: &'static str,
}

impl Key {
    /// Checks a text.
    ///
    /// # Errors
    /// [`KeyError`] names the rule that is broken.
    pub fn new(key: impl Into<String>) -> Result<Self, KeyError> {
        let key = key.into();
        match broken_rule(&key) {
            None => Ok(Self(key)),
            Some(rule) => Err(KeyError { key: key.chars().take(64).collect(), rule }),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part after the last `/`.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, name)| name)
    }
}

fn broken_rule(key: &str) -> Option<&'static str> {
    if key.is_empty() {
        return Some("it is empty");
    }
    if key.len() > MAX_KEY_BYTES {
        return Some("it is longer than 1024 bytes");
    }
    if key.chars().any(|c| c.is_control() || c == '\\') {
        return Some("it holds a control character or a backslash");
    }
    if key.starts_with('/') {
        return Some("it begins with a slash");
    }
    for part in key.split('/') {
        match part {
            "" => return Some("a part between slashes is empty"),
            "." | ".." => return Some("a part is . or .."),
            _ if part.len() > MAX_PART_BYTES => return Some("a part between slashes is longer than 255 bytes"),
            _ => {}
        }
    }
    key.split('/').next().filter(|first| first.eq_ignore_ascii_case(RESERVED)).map(|_| "its first part is reserved for the store itself")
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(key: &str) -> Result<Self, KeyError> {
        Self::new(key)
    }
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_could_lead_astray_are_refused() {
        let long = "x".repeat(1025);
        let long_part = format!("a/{}", "x".repeat(256));
        let bad = [
            "",
            "/",
            "/etc/passwd",
            "a//b",
            "a/",
            "..",
            "../a",
            "a/../b",
            "a/..",
            "./a",
            "a/.",
            "a\0b",
            "a\nb",
            "a\\b",
            "C:\\x",
            &long,
            &long_part,
            ".halfpipe-store",
            ".halfpipe-store/locks/0",
            ".Halfpipe-Store/x",
        ];
        for key in bad {
            assert!(Key::new(key).is_err(), "{key:?}");
        }
        let error = Key::new("a/../b").unwrap_err();
        assert_eq!(error.to_string(), "\"a/../b\" is not a valid object key: a part is . or ..");
        assert!(Key::new(long).unwrap_err().to_string().len() < 200);
    }

    #[test]
    fn ordinary_and_unusual_keys_pass() {
        let part = "é".repeat(127);
        for key in ["a", "jobs/42/output.mp4", ".hidden", "a/..b/c..", "日本語/снег ☃.mp4", "a b", "%2e%2e/x", &part, "x/.halfpipe-store"]
        {
            assert_eq!(Key::new(key).unwrap().as_str(), key);
        }
        assert_eq!(Key::new("a/b/c.mp4").unwrap().file_name(), "c.mp4");
    }
}
