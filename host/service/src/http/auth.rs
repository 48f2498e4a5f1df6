//! Who may ask: API keys, compared in constant time.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::http::ApiError;
use crate::{App, Config};

/// Routes that probes of load balancers and orchestrators ask, who have no keys.
const OPEN: [&str; 3] = ["/livez", "/readyz", "/health"];

/// The accepted keys. Digests are compared: they have one length, so that nothing is told of a key's.
#[derive(Clone)]
struct Keys(Arc<[[u8; 32]]>);

impl Keys {
    fn accept(&self, shown: &str) -> bool {
        let shown: [u8; 32] = Sha256::digest(shown.as_bytes()).into();
        // every key is compared, whichever fits
        self.0.iter().fold(Choice::from(0), |found, key| found | key.ct_eq(&shown)).into()
    }
}

/// The key that a request shows.
fn shown(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|text| {
        let (scheme, key) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    bearer.or_else(|| headers.get("x-api-key").and_then(|v| v.to_str().ok()))
}

/// Lets only those through who show one of the configured keys; everybody where there are none.
pub(super) fn protect(routes: Router<Arc<App>>, config: &Config) -> Router<Arc<App>> {
    if config.api_keys.is_empty() {
        return routes;
    }
    let keys = Keys(config.api_keys.iter().map(|k| Sha256::digest(k.as_bytes()).into()).collect());
    routes.layer(from_fn(move |request: Request, next: Next| check(keys.clone(), request, next)))
}

async fn check(keys: Keys, request: Request, next: Next) -> Response {
    let open = OPEN.contains(&request.uri().path()) || request.method() == Method::OPTIONS;
    if open || shown(request.headers()).is_some_and(|key| keys.accept(key)) {
        return next.run(request).await;
    }
    let message = "show an API key, as `Authorization: Bearer <key>` or `X-Api-Key: <key>`";
    ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", message).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_key_fits() {
        let keys = Keys(["one", "two"].iter().map(|k| Sha256::digest(k.as_bytes()).into()).collect());
        assert!(keys.accept("one") && keys.accept("two"));
        for wrong in ["", "on", "onee", "One", "three"] {
            assert!(!keys.accept(wrong), "{wrong}");
        }
    }

    #[test]
    fn both_headers_show_a_key() {
        let headers = |name: &'static str, value: &'static str| HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
        assert_eq!(shown(&headers("authorization", "Bearer k")), Some("k"));
        assert_eq!(shown(&headers("authorization", "bearer k")), Some("k"));
        assert_eq!(shown(&headers("x-api-key", "k")), Some("k"));
        assert_eq!(shown(&headers("authorization", "Basic k")), None);
    }
}
