//! Stores by their address in the settings.

use std::sync::Arc;

use halfpipe_store::{DirectoryStore, MemoryStore, ObjectStore, S3Config, S3Store, StoreError};

use crate::Config;

/// Where a store is.
#[derive(Debug, Clone)]
pub enum Place {
    /// A bucket.
    Bucket(S3Config),
    /// A folder.
    Folder(String),
    /// This process' memory.
    Memory,
}

/// A store, and the same as a bucket where it is one.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// As what signs addresses of its own.
    pub s3: Option<Arc<S3Store>>,
}

impl Place {
    /// `s3://BUCKET/PREFIX`, a folder, or `memory:`.
    ///
    /// # Errors
    /// [`StoreError::Settings`] says what is wrong with the text.
    pub fn of(address: &str, endpoint: Option<&str>, region: Option<&str>) -> Result<Self, StoreError> {
        if address.starts_with("s3://") {
            let mut config = S3Config::from_url(address)?;
            if let Some(endpoint) = endpoint {
                config = config.at_endpoint(endpoint);
            }
            config.region = region.map(str::to_owned);
            return Ok(Self::Bucket(config));
        }
        match address {
            "memory:" => Ok(Self::Memory),
            folder if folder.contains("://") => {
                let rule = "it is no store; give s3://BUCKET/PREFIX, a folder, or memory:".into();
                Err(StoreError::Settings { store: folder.into(), rule })
            }
            folder => Ok(Self::Folder(folder.to_owned())),
        }
    }

    /// Opens it. Blocks.
    ///
    /// # Errors
    /// As [`S3Store::connect`] and [`DirectoryStore::open`].
    pub fn open(&self) -> Result<Opened, StoreError> {
        let only = |store: Arc<dyn ObjectStore>| Opened { store, s3: None };
        Ok(match self {
            Self::Bucket(config) => {
                let s3 = Arc::new(S3Store::connect(config.clone())?);
                Opened { store: Arc::clone(&s3) as _, s3: Some(s3) }
            }
            Self::Folder(folder) => only(Arc::new(DirectoryStore::open(folder)?)),
            Self::Memory => only(Arc::new(MemoryStore::new())),
        })
    }

    /// Whether one lies within the other.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Bucket(a), Self::Bucket(b)) => {
                let keys = |prefix: &str| if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
                let (one, two) = (keys(&a.prefix), keys(&b.prefix));
                a.bucket == b.bucket && (one.starts_with(&two) || two.starts_with(&one))
            }
            (Self::Folder(a), Self::Folder(b)) => {
                let [a, b] = [a, b].map(|folder| std::path::absolute(folder).unwrap_or_else(|_| folder.into()));
                a.starts_with(&b) || b.starts_with(&a)
            }
            (Self::Memory, Self::Memory) => true,
            _ => false,
        }
    }

    /// Tells the service which bucket events come from, and what their keys begin with before those of the store.
    pub fn set(&self, config: &mut Config) {
        if let Self::Bucket(place) = self {
            config.bucket = Some(place.bucket.clone());
            config.bucket_prefix = if place.prefix.is_empty() { String::new() } else { format!("{}/", place.prefix) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_stores_are_told_apart() {
        let of = |address| Place::of(address, Some("http://127.0.0.1:9"), Some("eu-west-1"));
        let Place::Bucket(config) = of("s3://videos/a").unwrap() else { panic!("a bucket") };
        assert_eq!((config.bucket.as_str(), config.prefix.as_str()), ("videos", "a"));
        assert_eq!((config.endpoint.as_deref(), config.region.as_deref()), (Some("http://127.0.0.1:9"), Some("eu-west-1")));
        let mut service = Config::new("spool".into(), "guests".into());
        Place::Bucket(config).set(&mut service);
        assert_eq!((service.bucket.as_deref(), service.bucket_prefix.as_str()), (Some("videos"), "a/"));
        assert!(matches!(of("./results").unwrap(), Place::Folder(folder) if folder == "./results"));
        assert!(matches!(of("memory:").unwrap(), Place::Memory));
        for (one, two, overlap) in [
            ("s3://videos", "s3://videos/a", true),
            ("s3://videos/a/b", "s3://videos/a", true),
            ("s3://videos/a", "s3://videos/ab", false),
            ("s3://videos", "s3://others", false),
            ("s3://videos", "videos", false),
            ("./a", "a/b", true),
            ("a", "ab", false),
        ] {
            assert_eq!(of(one).unwrap().overlaps(&of(two).unwrap()), overlap, "{one} {two}");
            assert_eq!(of(two).unwrap().overlaps(&of(one).unwrap()), overlap, "{two} {one}");
        }
        assert!(of("gs://videos").unwrap_err().to_string().contains("no store"));
    }
}
