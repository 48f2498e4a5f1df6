//! Where a bucket is and how to reach it.

use std::fmt;

use crate::StoreError;

/// How to reach a bucket.
#[derive(Clone)]
pub struct S3Config {
    /// The bucket's name.
    pub bucket: String,
    /// What the keys in the bucket begin with before a `/` that need not be given; empty for the whole bucket.
    pub prefix: String,
    /// Address of the server, e.g. `http://127.0.0.1:9000`; None for AWS.
    pub endpoint: Option<String>,
    /// Region; None for what the environment and profile say, or `us-east-1` where there is an endpoint.
    pub region: Option<String>,
    /// The bucket stands in the path, not in the host's name: what servers other than AWS mostly expect.
    pub force_path_style: bool,
    /// Access key and its secret; None for the default chain: environment, profile, web identity, container, machine.
    pub credentials: Option<(String, String)>,
}

impl S3Config {
    /// A bucket of AWS by its name, everything else from the environment.
    #[must_use]
    pub fn new(bucket: impl Into<String>, prefix: impl Into<String>) -> Self {
        let (bucket, prefix) = (bucket.into(), prefix.into());
        Self { bucket, prefix, endpoint: None, region: None, force_path_style: false, credentials: None }
    }

    /// The bucket and prefix of a text such as `s3://bucket` or `s3://bucket/a/prefix`.
    ///
    /// # Errors
    /// [`StoreError::Settings`] says what is wrong with the text.
    pub fn from_url(url: &str) -> Result<Self, StoreError> {
        let bad = |rule: &str| StoreError::Settings {
            store: format!("S3 location {url:?}"),
            rule: format!("{rule}; write s3://bucket or s3://bucket/prefix"),
        };
        let rest = url.strip_prefix("s3://").ok_or_else(|| bad("it does not begin with s3://"))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(bad("it names no bucket"));
        }
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-';
        if !(3..=63).contains(&bucket.len()) || !bucket.chars().all(legal) {
            return Err(bad("a bucket's name has 3 to 63 lowercase letters, digits, dots and hyphens"));
        }
        let prefix = prefix.trim_end_matches('/');
        if prefix.contains(['?', '#']) {
            return Err(bad("it has a query or fragment, which mean nothing here"));
        }
        if !prefix.is_empty() {
            crate::Key::new(prefix).map_err(|e| bad(&format!("its prefix cannot begin a key: {}", e.rule)))?;
        }
        Ok(Self::new(bucket, prefix))
    }

    /// The same bucket name at another server than AWS, with the bucket in the path.
    #[must_use]
    pub fn at_endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self.force_path_style = true;
        self
    }

    /// With this access key and secret.
    #[must_use]
    pub fn with_credentials(mut self, access_key: impl Into<String>, secret: impl Into<String>) -> Self {
        self.credentials = Some((access_key.into(), secret.into()));
        self
    }

    /// As error messages call the store: the location, and the endpoint where it is not AWS's.
    pub(super) fn name(&self) -> String {
        let prefix = self.prefix.trim_matches('/');
        let location = format!("s3://{}{}{prefix}", self.bucket, if prefix.is_empty() { "" } else { "/" });
        match &self.endpoint {
            Some(endpoint) => format!("{location} at {endpoint}"),
            None => location,
        }
    }
}

impl fmt::Debug for S3Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // the secret stays out of logs
        f.debug_struct("S3Config")
            .field("bucket", &self.bucket)
            .field("prefix", &self.prefix)
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("force_path_style", &self.force_path_style)
            .field("access_key", &self.credentials.as_ref().map(|(key, _)| key))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_taken_apart() {
        for (url, bucket, prefix) in [
            ("s3://videos", "videos", ""),
            ("s3://videos/", "videos", ""),
            ("s3://my.videos-2/a/b", "my.videos-2", "a/b"),
            ("s3://videos/a/b/", "videos", "a/b"),
        ] {
            let config = S3Config::from_url(url).unwrap();
            assert_eq!((config.bucket.as_str(), config.prefix.as_str()), (bucket, prefix), "{url}");
        }
    }

    #[test]
    fn what_is_no_location_is_refused_with_a_reason() {
        for (url, reason) in [
            ("videos", "does not begin with s3://"),
            ("S3://videos", "does not begin with s3://"),
            ("s3://", "names no bucket"),
            ("s3:///key", "names no bucket"),
            ("s3://Videos", "lowercase"),
            ("s3://ab", "3 to 63"),
            ("s3://videos/a//b", "prefix cannot begin a key"),
            ("s3://videos/../b", "prefix cannot begin a key"),
            ("s3://videos/a?region=x", "query"),
        ] {
            let error = S3Config::from_url(url).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("s3://bucket/prefix"), "{url}: {error}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let config = S3Config::new("videos", "p").at_endpoint("http://host:1").with_credentials("key", "very-secret");
        assert!(!format!("{config:?}{}", config.name()).contains("very-secret"));
        assert_eq!(config.name(), "s3://videos/p at http://host:1");
    }
}
