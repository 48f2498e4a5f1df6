//! What the answers of an S3 server mean.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::causes;

/// Why a request came to nothing.
#[derive(Debug)]
pub(super) enum Fault {
    /// No such object (or, where the answer has no body to tell, no such bucket).
    NoObject,
    /// No such bucket.
    NoBucket,
    /// The condition of a put does not hold, or another put came at the same time.
    Condition,
    /// The range has no byte of the object.
    Range,
    /// Credentials are missing, wrong or not good enough.
    Denied(String),
    /// Not reached, or not able now.
    Unavailable(String),
    /// Anything else.
    Other(String),
}

impl Fault {
    pub fn of<E>(error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let text = causes(&error);
        match &error {
            SdkError::TimeoutError(_) | SdkError::ResponseError(_) => Self::Unavailable(text),
            // also a connection that was closed before the answer, which is neither I/O nor time-out to the SDK
            SdkError::DispatchFailure(failure) if !failure.is_user() && !text.contains("redentials") => Self::Unavailable(text),
            SdkError::ServiceError(answer) => {
                let code = answer.err().code().unwrap_or_default();
                let reason = [code, answer.err().message().unwrap_or_default()].join(" ").trim().to_string();
                Self::of_status(answer.raw().status().as_u16(), code, reason)
            }
            _ if text.contains("redentials") => Self::Denied(text),
            _ => Self::Other(text),
        }
    }

    fn of_status(status: u16, code: &str, reason: String) -> Self {
        let reason = if reason.is_empty() { format!("status {status}") } else { reason };
        match (status, code) {
            (_, "NoSuchBucket") => Self::NoBucket,
            (404, "NoSuchUpload") => Self::Other(reason),
            (404, _) => Self::NoObject,
            (412, _) | (_, "ConditionalRequestConflict") => Self::Condition,
            (416, _) => Self::Range,
            (401 | 403, _) => Self::Denied(reason),
            (429 | 500.., _) | (_, "SlowDown" | "RequestTimeout" | "OperationAborted") => Self::Unavailable(reason),
            _ => Self::Other(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let of = |status, code: &str| Fault::of_status(status, code, code.to_string());
        assert!(matches!(of(404, "NoSuchBucket"), Fault::NoBucket));
        assert!(matches!(of(404, ""), Fault::NoObject));
        assert!(matches!(of(412, "PreconditionFailed"), Fault::Condition));
        assert!(matches!(of(409, "ConditionalRequestConflict"), Fault::Condition));
        assert!(matches!(of(409, "OperationAborted"), Fault::Unavailable(_)));
        assert!(matches!(of(409, "BucketAlreadyExists"), Fault::Other(_)));
        assert!(matches!(of(403, "SignatureDoesNotMatch"), Fault::Denied(_)));
        assert!(matches!(of(503, "SlowDown"), Fault::Unavailable(_)));
        assert!(matches!(of(400, "RequestTimeout"), Fault::Unavailable(_)));
        assert!(matches!(of(400, "EntityTooSmall"), Fault::Other(_)));
        assert!(matches!(of(403, ""), Fault::Denied(reason) if reason == "status 403"));
    }
}
