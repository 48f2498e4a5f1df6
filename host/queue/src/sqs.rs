//! Messages in a queue of SQS, or of any server that speaks its protocol.

use std::fmt;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::{Message as Received, MessageSystemAttributeName as About, QueueAttributeName as Attribute};
use halfpipe_store::{AwsAccess, causes};

use crate::{Facts, MOST_DELAY, MOST_HELD, MOST_RECEIVED, MOST_WAIT, Message, MessageQueue, QueueError, check_body, seconds};

/// Time for one attempt at a request: receiving may wait for [`MOST_WAIT`] of it.
const ATTEMPT: Duration = Duration::from_secs(40);

/// How to reach a queue. The address says which server, and for queues of AWS which region.
#[derive(Debug, Clone)]
pub struct SqsConfig {
    /// Address of the queue, as SQS gives it when the queue is made: `https://sqs.<region>.amazonaws.com/<account>/<name>`.
    pub url: String,
    /// Server, region and credentials.
    pub access: AwsAccess,
}

impl SqsConfig {
    /// A queue by its address, credentials from the environment.
    ///
    /// # Errors
    /// [`QueueError::Settings`] says what is wrong with the address.
    pub fn from_url(url: &str) -> Result<Self, QueueError> {
        let bad = |rule: &str| QueueError::Settings {
            queue: format!("queue {url:?}"),
            rule: format!("{rule}; give the address that SQS shows, e.g. https://sqs.eu-west-1.amazonaws.com/123456789012/jobs"),
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| bad("it is no address"))?;
        if scheme != "https" && scheme != "http" {
            return Err(bad("it begins with neither https:// nor http://"));
        }
        let (host, path) = rest.split_once('/').ok_or_else(|| bad("it names a server and no queue"))?;
        if host.is_empty() || host.contains('@') {
            return Err(bad("it names no server, or holds a password"));
        }
        let name = path.rsplit('/').next().unwrap_or_default();
        if name.is_empty() || path.contains(['?', '#']) {
            return Err(bad("it does not end in the name of a queue"));
        }
        if name.ends_with(".fifo") {
            return Err(bad("it is a FIFO queue, which knows no delays and holds messages of a group back; use a standard queue"));
        }
        let access = AwsAccess { endpoint: Some(format!("{scheme}://{host}")), region: region(host), credentials: None };
        Ok(Self { url: url.to_owned(), access })
    }

    /// With this access key and secret.
    #[must_use]
    pub fn with_credentials(mut self, access_key: impl Into<String>, secret: impl Into<String>) -> Self {
        self.access.credentials = Some((access_key.into(), secret.into()));
        self
    }
}

/// The region in a host's name of AWS: `sqs.<region>.amazonaws.com`, its FIPS and VPC endpoints, and `<region>.queue.amazonaws.com`.
fn region(host: &str) -> Option<String> {
    let labels: Vec<&str> = host.split('.').collect();
    if !labels.contains(&"amazonaws") && !host.ends_with(".api.aws") {
        return None;
    }
    let pair = labels.windows(2).find(|pair| matches!(pair[0], "sqs" | "sqs-fips") || pair[1] == "queue")?;
    Some(if pair[1] == "queue" { pair[0] } else { pair[1] }.to_owned())
}

/// A queue of SQS. Clones share one connection pool.
#[derive(Clone)]
pub struct SqsQueue {
    client: Client,
    url: String,
    name: String,
}

impl fmt::Debug for SqsQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqsQueue").field("name", &self.name).finish_non_exhaustive()
    }
}

impl SqsQueue {
    /// Connects, and asks the server whether the queue exists and may be looked at.
    ///
    /// # Errors
    /// [`QueueError::NoQueue`], [`QueueError::Denied`], [`QueueError::Unavailable`] as the server answers.
    pub async fn connect(config: SqsConfig) -> Result<Self, QueueError> {
        let client = Client::new(&config.access.load(ATTEMPT).await);
        let queue = Self { client, name: format!("queue {}", config.url), url: config.url };
        queue.facts().await?;
        Ok(queue)
    }

    fn failed<E>(&self, action: &'static str, error: SdkError<E, HttpResponse>) -> QueueError
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let (queue, text) = (self.name.clone(), causes(&error));
        match &error {
            SdkError::TimeoutError(_) | SdkError::ResponseError(_) => QueueError::Unavailable { queue, action, reason: text },
            // also a connection that was closed before the answer, which is neither I/O nor time-out to the SDK
            SdkError::DispatchFailure(failure) if !failure.is_user() && !text.contains("redentials") => {
                QueueError::Unavailable { queue, action, reason: text }
            }
            SdkError::ServiceError(answer) => {
                let code = answer.err().code().unwrap_or_default();
                let reason = [code, answer.err().message().unwrap_or_default()].join(" ").trim().to_string();
                answered(queue, action, answer.raw().status().as_u16(), code, reason)
            }
            _ if text.contains("redentials") => QueueError::Denied { queue, action, reason: text },
            _ => QueueError::Unexpected { queue, action, reason: text },
        }
    }

    /// A message as the server gave it.
    fn message(&self, received: Received) -> Result<Message, QueueError> {
        let lacks = |what: &str| QueueError::Unexpected {
            queue: self.name.clone(),
            action: "received",
            reason: format!("the server gave a message without {what}"),
        };
        let number = |about: About| received.attributes().and_then(|all| all.get(&about)?.parse::<u64>().ok());
        let receives = number(About::ApproximateReceiveCount).ok_or_else(|| lacks("a count"))?;
        let sent = number(About::SentTimestamp).ok_or_else(|| lacks("the time it was sent"))?;
        Ok(Message {
            receives: u32::try_from(receives).unwrap_or(u32::MAX),
            sent: SystemTime::UNIX_EPOCH + Duration::from_millis(sent),
            id: received.message_id.ok_or_else(|| lacks("an id"))?,
            receipt: received.receipt_handle.ok_or_else(|| lacks("a receipt"))?,
            body: received.body.unwrap_or_default(),
        })
    }
}

/// What an answer that is no success means.
fn answered(queue: String, action: &'static str, status: u16, code: &str, reason: String) -> QueueError {
    let reason = if reason.is_empty() { format!("status {status}") } else { reason };
    // codes come with a namespace from some servers and without from others
    let short = code.rsplit(['.', '#']).next().unwrap_or_default();
    match (status, short) {
        (_, "QueueDoesNotExist" | "NonExistentQueue" | "QueueDeletedRecently") => QueueError::NoQueue { queue },
        (_, "ReceiptHandleIsInvalid" | "MessageNotInflight") => QueueError::NotHeld { queue, reason },
        // the hold would end later than SQS ever holds a message
        (_, "InvalidParameterValue" | "InvalidParameterValueException") if action == "held" => QueueError::NotHeld { queue, reason },
        (_, "InvalidMessageContents" | "BatchRequestTooLong") => QueueError::Refused { queue, reason },
        (_, "RequestThrottled" | "ThrottlingException" | "Throttling" | "KmsThrottled" | "OverLimit" | "SlowDown") | (429 | 500.., _) => {
            QueueError::Unavailable { queue, action, reason }
        }
        (401 | 403, _)
        | (
            _,
            "AccessDenied"
            | "AccessDeniedException"
            | "InvalidClientTokenId"
            | "UnrecognizedClientException"
            | "ExpiredToken"
            | "ExpiredTokenException"
            | "SignatureDoesNotMatch"
            | "InvalidSignatureException"
            | "InvalidSecurity"
            | "KmsAccessDenied"
            | "IncompleteSignature"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
            | "OptInRequired",
        ) => QueueError::Denied { queue, action, reason },
        _ => QueueError::Unexpected { queue, action, reason },
    }
}

#[async_trait]
impl MessageQueue for SqsQueue {
    fn name(&self) -> &str {
        &self.name
    }

    async fn facts(&self) -> Result<Facts, QueueError> {
        let request = self.client.get_queue_attributes().queue_url(&self.url);
        let request = [
            Attribute::ApproximateNumberOfMessages,
            Attribute::ApproximateNumberOfMessagesNotVisible,
            Attribute::ApproximateNumberOfMessagesDelayed,
            Attribute::RedrivePolicy,
        ]
        .into_iter()
        .fold(request, |request, name| request.attribute_names(name));
        let answer = request.send().await.map_err(|e| self.failed("looked at", e))?;
        let told = |name: Attribute| answer.attributes().and_then(|all| all.get(&name));
        let number = |name: Attribute| told(name).and_then(|text| text.parse().ok()).unwrap_or_default();
        Ok(Facts {
            waiting: number(Attribute::ApproximateNumberOfMessages),
            held: number(Attribute::ApproximateNumberOfMessagesNotVisible),
            delayed: number(Attribute::ApproximateNumberOfMessagesDelayed),
            most_receives: told(Attribute::RedrivePolicy).and_then(|policy| most_receives(policy)),
        })
    }

    async fn send(&self, body: &str, delay: Duration) -> Result<String, QueueError> {
        check_body(&self.name, body)?;
        let request = self.client.send_message().queue_url(&self.url).message_body(body).delay_seconds(seconds(delay, MOST_DELAY));
        let sent = request.send().await.map_err(|e| self.failed("sent", e))?;
        Ok(sent.message_id.unwrap_or_default())
    }

    async fn receive(&self, most: usize, wait: Duration, hold: Duration) -> Result<Vec<Message>, QueueError> {
        let most = i32::try_from(most.clamp(1, MOST_RECEIVED)).unwrap_or(1);
        let request = self.client.receive_message().queue_url(&self.url).max_number_of_messages(most);
        let request = request.wait_time_seconds(seconds(wait, MOST_WAIT)).visibility_timeout(seconds(hold, MOST_HELD));
        let request =
            request.message_system_attribute_names(About::ApproximateReceiveCount).message_system_attribute_names(About::SentTimestamp);
        let answer = request.send().await.map_err(|e| self.failed("received", e))?;
        answer.messages.unwrap_or_default().into_iter().map(|received| self.message(received)).collect()
    }

    async fn hold(&self, message: &Message, hold: Duration) -> Result<(), QueueError> {
        let request = self.client.change_message_visibility().queue_url(&self.url).receipt_handle(&message.receipt);
        let request = request.visibility_timeout(seconds(hold, MOST_HELD));
        request.send().await.map(drop).map_err(|e| self.failed("held", e))
    }

    async fn delete(&self, message: &Message) -> Result<(), QueueError> {
        let request = self.client.delete_message().queue_url(&self.url).receipt_handle(&message.receipt);
        request.send().await.map(drop).map_err(|e| self.failed("deleted", e))
    }
}

/// `maxReceiveCount` of a redrive policy, which is JSON; SQS gives a number or a text, depending on who set it.
fn most_receives(policy: &str) -> Option<u32> {
    let policy: serde_json::Value = serde_json::from_str(policy).ok()?;
    let count = &policy["maxReceiveCount"];
    count.as_u64().or_else(|| count.as_str()?.parse().ok()).and_then(|count| u32::try_from(count).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_tell_server_and_region() {
        for (url, endpoint, region) in [
            ("https://sqs.eu-west-1.amazonaws.com/123456789012/jobs", "https://sqs.eu-west-1.amazonaws.com", Some("eu-west-1")),
            ("https://sqs-fips.us-gov-west-1.amazonaws.com/1/jobs", "https://sqs-fips.us-gov-west-1.amazonaws.com", Some("us-gov-west-1")),
            ("https://sqs.cn-north-1.amazonaws.com.cn/1/jobs", "https://sqs.cn-north-1.amazonaws.com.cn", Some("cn-north-1")),
            ("https://eu-west-2.queue.amazonaws.com/1/jobs", "https://eu-west-2.queue.amazonaws.com", Some("eu-west-2")),
            (
                "https://vpce-0a.sqs.us-east-2.vpce.amazonaws.com/1/jobs",
                "https://vpce-0a.sqs.us-east-2.vpce.amazonaws.com",
                Some("us-east-2"),
            ),
            ("https://sqs.us-east-2.api.aws/1/jobs", "https://sqs.us-east-2.api.aws", Some("us-east-2")),
            ("http://127.0.0.1:5000/123456789012/jobs", "http://127.0.0.1:5000", None),
            ("http://sqs.queue.local:9324/queue/jobs", "http://sqs.queue.local:9324", None),
        ] {
            let config = SqsConfig::from_url(url).unwrap();
            assert_eq!(config.access.endpoint.as_deref(), Some(endpoint), "{url}");
            assert_eq!(config.access.region.as_deref(), region, "{url}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_a_reason() {
        for (url, reason) in [
            ("jobs", "no address"),
            ("100", "no address"),
            ("s3://bucket/jobs", "neither https:// nor http://"),
            ("https://sqs.eu-west-1.amazonaws.com", "no queue"),
            ("https://sqs.eu-west-1.amazonaws.com/1/", "does not end in the name"),
            ("https:///1/jobs", "names no server"),
            ("https://key:secret@host/1/jobs", "holds a password"),
            ("https://sqs.eu-west-1.amazonaws.com/1/jobs.fifo", "FIFO"),
        ] {
            let error = SqsConfig::from_url(url).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("amazonaws.com/123456789012/jobs"), "{url}: {error}");
        }
    }

    #[test]
    fn answers_are_told_apart() {
        let of = |action, status, code: &str| answered("q".into(), action, status, code, code.to_string());
        assert!(matches!(of("sent", 400, "AWS.SimpleQueueService.NonExistentQueue"), QueueError::NoQueue { .. }));
        assert!(matches!(of("sent", 400, "com.amazonaws.sqs#QueueDoesNotExist"), QueueError::NoQueue { .. }));
        assert!(matches!(of("held", 400, "MessageNotInflight"), QueueError::NotHeld { .. }));
        assert!(matches!(of("held", 400, "InvalidParameterValue"), QueueError::NotHeld { .. }));
        assert!(matches!(of("sent", 400, "InvalidParameterValue"), QueueError::Unexpected { .. }));
        assert!(matches!(of("sent", 403, "AccessDenied"), QueueError::Denied { .. }));
        assert!(matches!(of("received", 400, "ExpiredToken"), QueueError::Denied { .. }));
        assert!(matches!(of("received", 403, "RequestThrottled"), QueueError::Unavailable { .. }));
        assert!(matches!(of("received", 503, ""), QueueError::Unavailable { reason, .. } if reason == "status 503"));
        assert!(matches!(of("received", 429, ""), QueueError::Unavailable { .. }));
    }

    #[test]
    fn limits_of_redrive_policies_are_numbers_or_texts() {
        for policy in [r#"{"deadLetterTargetArn":"a","maxReceiveCount":5}"#, r#"{"maxReceiveCount":"5"}"#] {
            assert_eq!(most_receives(policy), Some(5), "{policy}");
        }
        assert_eq!(most_receives("{}"), None);
    }
}
