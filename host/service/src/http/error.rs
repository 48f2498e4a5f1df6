//! What a client is told when something is wrong: a status, a stable code, and a sentence that says what to change.

use std::borrow::Cow;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use halfpipe_queue::QueueError;
use halfpipe_runtime::{FaultKind, RuntimeError};
use halfpipe_store::{KeyError, StoreError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::AppError;
use crate::jobs::{JobError, LedgerError};
use crate::webhook::WebhookError;

/// Seconds after which a client that was turned away may come back.
const COME_BACK: u32 = 5;

/// The body of every answer that is not a success.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// What is wrong.
    pub error: ErrorDetail,
}

/// What is wrong with a request.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ErrorDetail {
    /// Stable, lower-case words joined by `_`, e.g. `job_unknown`.
    #[schema(example = "job_unknown")]
    pub code: String,
    /// One sentence that says what to change.
    pub message: String,
    /// The request's id, as in the header `x-request-id` and the service's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// A request that was not met.
#[derive(Debug, Clone)]
pub struct ApiError {
    /// HTTP status, never a success.
    pub status: StatusCode,
    /// Stable code.
    pub code: Cow<'static, str>,
    /// The sentence.
    pub message: String,
    /// Seconds until it makes sense to try again.
    pub retry_after: Option<u32>,
}

impl ApiError {
    /// An error with a code and a sentence.
    pub fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into(), retry_after: None }
    }

    /// 400 with a code.
    pub fn bad_request(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// Something broke here. The client learns that it did, the log what it was.
    fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the service failed; the log has the reason under the request's id")
    }

    /// 503: what is missing may be back soon.
    fn unavailable(code: &'static str, message: String) -> Self {
        Self { retry_after: Some(COME_BACK), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message) }
    }

    /// What became of a job, as an answer to who waited for it.
    #[must_use]
    pub fn of_job(error: &JobError) -> Self {
        let status = match error.code.as_str() {
            "bad_input" => StatusCode::BAD_REQUEST,
            "environment" | "store" | "interrupted" => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let retry_after = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(COME_BACK);
        Self { retry_after, ..Self::new(status, error.code.clone(), error.message.clone()) }
    }

    /// The code for a status that a library chose.
    pub(super) fn of_status(status: StatusCode, message: String) -> Self {
        let code = match status {
            StatusCode::BAD_REQUEST => "bad_request",
            StatusCode::NOT_FOUND => "not_found",
            StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
            StatusCode::REQUEST_TIMEOUT => "timeout",
            StatusCode::PAYLOAD_TOO_LARGE => "too_large",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "bad_content_type",
            StatusCode::UNPROCESSABLE_ENTITY => "bad_body",
            s if s.is_client_error() => "bad_request",
            _ => "internal",
        };
        Self::new(status, code, message)
    }

    /// The answer, with the request's id where it is known.
    pub(super) fn answer(self, request_id: Option<String>) -> Response {
        let body = ErrorBody { error: ErrorDetail { code: self.code.clone().into_owned(), message: self.message.clone(), request_id } };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // kept so that the outermost layer can add the request's id
        response.extensions_mut().insert(self);
        response
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.answer(None)
    }
}

impl From<StoreError> for ApiError {
    fn from(e: StoreError) -> Self {
        match e {
            StoreError::NotFound { key, .. } => Self::new(StatusCode::NOT_FOUND, "object_unknown", format!("there is no object {key}")),
            StoreError::FolderConflict { .. } => Self::bad_request("bad_key", e.to_string()),
            StoreError::AlreadyExists { .. } | StoreError::Changed { .. } => Self::new(StatusCode::CONFLICT, "changed", e.to_string()),
            StoreError::Range { .. } => Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "bad_range", e.to_string()),
            other => {
                // its words may name folders and endpoints of this service
                tracing::error!(error = %other, "the store failed");
                Self::unavailable("store_unavailable", "the store cannot be used at the moment; try again".into())
            }
        }
    }
}

impl From<KeyError> for ApiError {
    fn from(e: KeyError) -> Self {
        Self::bad_request("bad_key", e.to_string())
    }
}

impl From<LedgerError> for ApiError {
    fn from(e: LedgerError) -> Self {
        match e {
            LedgerError::Unknown(_) => Self::new(StatusCode::NOT_FOUND, "job_unknown", e.to_string()),
            LedgerError::Full { .. } => {
                Self { retry_after: Some(COME_BACK), ..Self::new(StatusCode::TOO_MANY_REQUESTS, "queue_full", e.to_string()) }
            }
            LedgerError::KeyReused { .. } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", e.to_string()),
            LedgerError::LeaseLost { .. } => Self::new(StatusCode::CONFLICT, "changed", e.to_string()),
            LedgerError::Contended(_) => Self::unavailable("contended", e.to_string()),
            LedgerError::Store(e) => e.into(),
            LedgerError::Key(e) => e.into(),
            LedgerError::Corrupt { .. } => Self::internal(&e),
        }
    }
}

impl From<RuntimeError> for ApiError {
    fn from(e: RuntimeError) -> Self {
        match (&e, e.kind()) {
            (RuntimeError::GuestUnknown { name, found, .. }, _) => {
                Self::bad_request("pipeline_unknown", format!("there is no pipeline {name}; there are: {found}"))
            }
            (RuntimeError::Options { .. }, _) => Self::bad_request("bad_options", e.to_string()),
            (_, FaultKind::BadInput) => Self::bad_request("bad_input", e.to_string()),
            (_, FaultKind::Environment) => Self::unavailable("environment", e.to_string()),
            (_, FaultKind::Cancelled) => Self::new(StatusCode::CONFLICT, "cancelled", e.to_string()),
            _ => Self::internal(&e),
        }
    }
}

impl From<AppError> for ApiError {
    fn from(e: AppError) -> Self {
        match e {
            AppError::Ledger(e) => e.into(),
            AppError::Store(e) => e.into(),
            AppError::Queue(QueueError::Refused { reason, .. }) => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", format!("the message queue does not take it: {reason}"))
            }
            AppError::Queue(e) => {
                tracing::error!(error = %e, "the message queue failed");
                Self::unavailable("queue_unavailable", "the message queue cannot be used at the moment; try again".into())
            }
            AppError::Runtime(e) => e.into(),
            AppError::Engines(message) => Self::unavailable("engines_unavailable", format!("the engines are not there: {message}")),
            AppError::Spool { .. } | AppError::Task(_) => Self::internal(&e),
        }
    }
}

impl From<WebhookError> for ApiError {
    fn from(e: WebhookError) -> Self {
        Self::bad_request("bad_webhook", e.to_string())
    }
}
