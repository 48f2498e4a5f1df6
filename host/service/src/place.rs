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
        assert!(of("gs://videos").unwrap_err().to_string().contains("no store"));
    }
}
