//! An app over real engines or none and a store of the test's choice, asked through the whole router.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use halfpipe_nn::{Catalog, Device};
use halfpipe_runtime::{HostConfig, Precompiled};
use halfpipe_service::{App, Config, Engines};
use halfpipe_store::ObjectStore;
use halfpipe_testkit::places;
use serde_json::Value;
use tower::ServiceExt;

/// An app with its spool.
pub struct Bench {
    pub app: Arc<App>,
    pub spool: tempfile::TempDir,
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The error's code, which belongs to this status.
    pub fn code(&self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self.json()["error"]["code"].as_str().unwrap().to_owned()
    }
}

impl Bench {
    /// An app whose engines start in the background.
    pub fn new(store: Arc<dyn ObjectStore>, change: impl FnOnce(&mut Config)) -> Self {
        let engines = Engines::start(HostConfig {
            device: Device::Cpu,
            precompiled: Precompiled::default().with_cache(places::compiled()),
            ..HostConfig::new(Catalog::builtin().unwrap(), places::models())
        });
        Self::over(store, engines.unwrap(), change)
    }

    /// An app for what asks no engine anything.
    pub fn without_engines(store: Arc<dyn ObjectStore>, change: impl FnOnce(&mut Config)) -> Self {
        Self::over(store, Engines::absent("this test has no engines"), change)
    }

    fn over(store: Arc<dyn ObjectStore>, engines: Engines, change: impl FnOnce(&mut Config)) -> Self {
        let spool = tempfile::tempdir().unwrap();
        let mut config = Config::new(spool.path().join("spool"), places::guests());
        config.disk_reserve_bytes = 1 << 20;
        change(&mut config);
        Self { app: App::new(config, store, engines).unwrap(), spool }
    }

    /// Asks; `uri` may be absolute.
    pub async fn ask(&self, method: Method, uri: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = halfpipe_service::http::router(Arc::clone(&self.app)).oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer { status: parts.status, headers: parts.headers, body: to_bytes(body, 64 << 20).await.unwrap().to_vec() }
    }

    /// Asks with a JSON body.
    pub async fn post(&self, uri: &str, body: &Value) -> Answer {
        self.ask(Method::POST, uri, &[("content-type", "application/json"), ("host", "test.example")], body.to_string()).await
    }

    /// Asks without a body.
    pub async fn get(&self, uri: &str) -> Answer {
        self.ask(Method::GET, uri, &[], Body::empty()).await
    }

    /// What lies in the spool.
    pub fn left_behind(&self) -> usize {
        std::fs::read_dir(self.spool.path().join("spool")).unwrap().count()
    }
}
