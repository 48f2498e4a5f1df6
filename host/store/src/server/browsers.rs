//! Pages of other origins: CORS (Fetch standard, section 3.2) for presigned addresses, preflight included.
//!
//! A preflight is answered before any signature is looked at, since browsers sign none. It tells nothing but which origins, methods and
//! headers are allowed.

use std::time::Duration;

use http::{HeaderValue, Method, header};
use s3s::service::S3Service;
use tower::Layer;
use tower_http::cors::{AllowHeaders, Any, Cors, CorsLayer};

/// How long a browser may keep the answer to a preflight.
const KEPT: Duration = Duration::from_secs(3600);

/// The service, with CORS for these origins; `*` for any, none for no CORS headers at all.
///
/// # Errors
/// The origin that no header can hold.
pub(super) fn admit(service: S3Service, origins: &[String]) -> Result<Cors<S3Service>, &str> {
    let layer = if origins.is_empty() {
        // allows nobody anything
        CorsLayer::new()
    } else {
        let layer = CorsLayer::new()
            .allow_methods([Method::GET, Method::HEAD, Method::PUT])
            .allow_headers(AllowHeaders::mirror_request())
            // of a part its sender needs the etag
            .expose_headers([header::ETAG, header::CONTENT_RANGE, header::ACCEPT_RANGES])
            .max_age(KEPT);
        if origins.iter().any(|origin| origin == "*") {
            layer.allow_origin(Any)
        } else {
            let listed = origins.iter().map(|origin| HeaderValue::from_str(origin).map_err(|_| origin.as_str()));
            layer.allow_origin(listed.collect::<Result<Vec<_>, _>>()?)
        }
    };
    Ok(layer.layer(service))
}
