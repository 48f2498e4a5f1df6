//! The API's own description, in OpenAPI 3.1.

use std::sync::Arc;

use axum::routing::get;
use axum::{Json, Router};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi as Document, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use crate::App;
use crate::http::error::{ErrorBody, ErrorDetail};
use crate::http::{health, jobs, notifications, pose, process, results, stream, submit, uploads};

/// Everything the routes say of themselves.
#[derive(OpenApi)]
#[openapi(
    info(title = "Halfpipe", description = "A video with people in, the same video with body meshes on it and motion data out."),
    paths(
        process::process_video, process::process_video_async,
        jobs::job_status, jobs::list, jobs::job, jobs::cancel, stream::events,
        results::result, results::frames, openapi,
        health::health, health::livez, health::readyz, health::warmup, health::warmup_post, health::metrics_text,
        pose::pose_hybrid, uploads::start, uploads::receive, uploads::complete, uploads::abort, notifications::s3_events,
    ),
    components(schemas(ErrorBody, ErrorDetail, submit::JobRequest, process::VideoForm, results::ResultName)),
    modifiers(&Errors, &Security),
    tags((name = "jobs", description = "Videos to work on"), (name = "results", description = "What came of them")),
)]
struct Api;

/// Every route may answer with an error, always in one form.
struct Errors;

impl Modify for Errors {
    fn modify(&self, document: &mut Document) {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("ErrorBody"))).build();
        let error = ResponseBuilder::new().description("What is wrong").content("application/json", content).build();
        for item in document.paths.paths.values_mut() {
            let operations = [&mut item.get, &mut item.post, &mut item.put, &mut item.delete, &mut item.head];
            for operation in operations.into_iter().flatten() {
                let answers = &mut operation.responses.responses;
                answers.entry("default".into()).or_insert_with(|| RefOr::T(error.clone()));
            }
        }
    }
}

/// The two ways to show a key. Both are optional in the document: a service without keys asks for none.
struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build()));
        components.add_security_scheme("api_key", SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-Api-Key"))));
        let none: [&str; 0] = [];
        document.security =
            Some(vec![SecurityRequirement::default(), SecurityRequirement::new("bearer", none), SecurityRequirement::new("api_key", none)]);
    }
}

/// The whole document.
#[must_use]
pub fn document() -> Document {
    Api::openapi()
}

/// The routes of this file.
pub fn routes() -> Router<Arc<App>> {
    Router::new().route("/openapi.json", get(openapi))
}

/// This document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "service", operation_id = "openapi",
    responses((status = 200, description = "The document", body = Object)),
)]
pub async fn openapi() -> Json<Document> {
    Json(document())
}
