//! One invocation: which kind of event it is, and what is answered.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use halfpipe_service::App;
use halfpipe_service::http::Router;
use halfpipe_service::http::notifications::take_events;
use halfpipe_service::queue::Attendant;
use http_body_util::BodyExt;
use lambda_http::lambda_runtime::LambdaEvent;
use lambda_http::request::LambdaRequest;
use lambda_http::tower::Service;
use lambda_http::{Adapter, Body, Context, Error, Request, Response};
use serde_json::{Value, json};
use tower::ServiceExt;

/// Time kept for an orderly answer before Lambda ends the invocation.
const FAREWELL: Duration = Duration::from_secs(3);

/// The function's parts.
pub struct Function {
    app: Arc<App>,
    router: Router,
}

/// What kind of event this is.
enum Kind {
    Http,
    Queue,
    Storage,
}

impl Function {
    pub const fn new(app: Arc<App>, router: Router) -> Self {
        Self { app, router }
    }

    /// Answers an event.
    ///
    /// # Errors
    /// What makes Lambda try the event again, or refuse it: an unknown kind of event, a job that did not end in time.
    pub async fn handle(&self, event: LambdaEvent<Value>) -> Result<Value, Error> {
        match kind(&event.payload) {
            Kind::Http => self.http(event).await,
            Kind::Queue => Ok(self.queue(&event.payload, &event.context).await),
            Kind::Storage => self.storage(event.payload.to_string().as_bytes(), &event.context).await,
        }
    }

    async fn http(&self, event: LambdaEvent<Value>) -> Result<Value, Error> {
        let payload: LambdaRequest = serde_json::from_value(event.payload)?;
        let router = self.router.clone();
        let mut adapter = Adapter::from(lambda_http::service_fn(move |request: Request| {
            let router = router.clone();
            async move {
                let request = request.map(|body| halfpipe_service::http::body(body.to_vec()));
                let (parts, body) = router.oneshot(request).await?.into_parts();
                let bytes = body.collect().await?.to_bytes();
                // text stays readable in Lambda's own logs; anything else goes as base64
                let body = match String::from_utf8(bytes.to_vec()) {
                    Ok(text) => Body::Text(text),
                    Err(other) => Body::Binary(other.into_bytes()),
                };
                Ok::<_, Error>(Response::from_parts(parts, body))
            }
        }));
        let response = adapter.call(LambdaEvent::new(payload, event.context)).await?;
        Ok(serde_json::to_value(response)?)
    }

    /// What does the work of this invocation, as long as it may take.
    fn attendant(&self, context: &Context) -> Attendant {
        let now = SystemTime::now();
        let left = deadline(context.deadline(), now).duration_since(now).unwrap_or_default();
        Attendant::until(Arc::clone(&self.app), tokio::time::Instant::now() + left)
    }

    /// Storage events: the jobs that follow are done before the answer.
    async fn storage(&self, body: &[u8], context: &Context) -> Result<Value, Error> {
        let attendant = self.attendant(context);
        let taken = take_events(&self.app, body).await.map_err(|e| e.message)?;
        let mut jobs = Vec::new();
        for job in &taken.jobs {
            attendant.finish(&job.job_id).await?;
            let id = job.job_id.clone();
            let state = self.app.blocking(move |app| app.ledger.get(&id)).await?.state;
            jobs.push(json!({ "job_id": job.job_id, "input": job.input, "state": state }));
        }
        Ok(json!({ "jobs": jobs, "skipped": taken.skipped }))
    }

    /// A batch of messages, each of which names a job or is a storage event. Those that failed are named, so that only they come back.
    async fn queue(&self, batch: &Value, context: &Context) -> Value {
        let attendant = self.attendant(context);
        let mut failures = Vec::new();
        for message in batch["Records"].as_array().into_iter().flatten() {
            let id = message["messageId"].as_str().unwrap_or_default();
            if let Err(error) = attendant.attend(id, message["body"].as_str().unwrap_or_default()).await {
                tracing::warn!(message = id, %error, "the message comes back");
                failures.push(json!({ "itemIdentifier": id }));
            }
        }
        json!({ "batchItemFailures": failures })
    }
}

/// When to stop waiting. Lambda tells the moment of its end; cargo-lambda 1.9 tells how long the invocation may take, which read as a
/// moment lies in 1970.
fn deadline(told: SystemTime, now: SystemTime) -> SystemTime {
    let day = Duration::from_secs(24 * 3600);
    let end = match told.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(span) if span < day => now + span,
        _ => told,
    };
    end.checked_sub(FAREWELL).unwrap_or(end)
}

fn kind(payload: &Value) -> Kind {
    if payload.get("requestContext").is_some_and(|c| c.get("http").is_some()) {
        return Kind::Http;
    }
    let from_queue = payload["Records"].as_array().is_some_and(|records| records.iter().any(|r| r["eventSource"] == "aws:sqs"));
    if from_queue { Kind::Queue } else { Kind::Storage }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_moments_or_spans() {
        let now = SystemTime::now();
        let minute = Duration::from_secs(60);
        assert_eq!(deadline(now + minute, now), now + minute - FAREWELL);
        assert_eq!(deadline(SystemTime::UNIX_EPOCH + minute, now), now + minute - FAREWELL);
    }

    #[test]
    fn kinds_are_told_apart() {
        assert!(matches!(kind(&json!({ "version": "2.0", "requestContext": { "http": { "method": "GET" } } })), Kind::Http));
        assert!(matches!(kind(&json!({ "Records": [{ "eventSource": "aws:sqs", "messageId": "1", "body": "{}" }] })), Kind::Queue));
        assert!(matches!(kind(&json!({ "Records": [{ "eventSource": "aws:s3" }] })), Kind::Storage));
        assert!(matches!(kind(&json!({ "detail-type": "Object Created" })), Kind::Storage));
    }
}
