//! How services of AWS, and servers that speak like them, are reached: credentials, region, endpoint, limits of time, retries, TLS.
//! The bucket and the message queue are reached in one way.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::Credentials;
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};

/// Attempts at a request, with growing, jittered pauses between.
const ATTEMPTS: u32 = 4;
/// Time to reach the server.
const CONNECT: Duration = Duration::from_secs(5);

/// Where a service is and who asks. The default is AWS with everything from the environment.
#[derive(Clone, Default)]
pub struct AwsAccess {
    /// Address of the server, e.g. `http://127.0.0.1:9000`; None for AWS.
    pub endpoint: Option<String>,
    /// Region; None for what the environment and profile say, or `us-east-1` where there is an endpoint.
    pub region: Option<String>,
    /// Access key and its secret; None for the default chain: environment, profile, web identity, container, machine.
    pub credentials: Option<(String, String)>,
}

impl AwsAccess {
    /// Settings for clients of the SDK. `attempt` is the time for one attempt at a request, up to the first byte of the answer.
    pub async fn load(&self, attempt: Duration) -> SdkConfig {
        let http = aws_smithy_http_client::Builder::new().tls_provider(tls::Provider::Rustls(CryptoMode::Ring)).build_https();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .timeout_config(timeouts(attempt));
        let region = self.region.clone().or_else(|| self.endpoint.is_some().then(|| "us-east-1".to_string()));
        if let Some(region) = region {
            loader = loader.region(Region::new(region));
        }
        if let Some((key, secret)) = &self.credentials {
            loader = loader.credentials_provider(Credentials::new(key, secret, None, None, "halfpipe"));
        }
        if let Some(endpoint) = &self.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        loader.load().await
    }
}

/// What went wrong with a request, with its causes; in one line, without the insides that the SDK's own text shows.
#[must_use]
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let told = cause.to_string();
        if !text.contains(&told) {
            text = format!("{text}: {told}");
        }
        next = cause.source();
    }
    if text.contains("invalid peer certificate") {
        text.push_str(" (name the file with the server's certificate authority by SSL_CERT_FILE)");
    }
    text
}

pub(crate) fn timeouts(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT).read_timeout(attempt).operation_attempt_timeout(attempt).build()
}

impl fmt::Debug for AwsAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // the secret stays out of logs
        f.debug_struct("AwsAccess")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("access_key", &self.credentials.as_ref().map(|(key, _)| key))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let access = AwsAccess { credentials: Some(("key".into(), "very-secret".into())), ..AwsAccess::default() };
        let shown = format!("{access:?}");
        assert!(shown.contains("\"key\"") && !shown.contains("very-secret"), "{shown}");
    }

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Told(&'static str, #[source] Option<Box<Told>>);

    #[test]
    fn causes_are_told_once_and_a_strange_certificate_with_its_remedy() {
        let inner = Told("io error", Some(Box::new(Told("connection refused", None))));
        let outer = Told("dispatch failure: io error", Some(Box::new(inner)));
        assert_eq!(causes(&outer), "dispatch failure: io error: connection refused");
        let strange = Told("TLS handshake failed", Some(Box::new(Told("invalid peer certificate: UnknownIssuer", None))));
        assert!(causes(&strange).ends_with("UnknownIssuer (name the file with the server's certificate authority by SSL_CERT_FILE)"));
    }
}
