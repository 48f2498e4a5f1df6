//! What a message says.

use serde::{Deserialize, Serialize};

use crate::jobs::ledger::is_id;

/// A message that names a job of the ledger.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JobMessage {
    job: String,
}

/// The message that names a job.
#[must_use]
pub fn job_message(id: &str) -> String {
    serde_json::json!({ "job": id }).to_string()
}

/// The job that a message names; none where it is something else, such as a storage event.
pub(super) fn named_job(body: &str) -> Option<String> {
    serde_json::from_str::<JobMessage>(body).ok().map(|message| message.job).filter(|id| is_id(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_jobs_or_are_something_else() {
        assert_eq!(job_message("0123456789ab"), r#"{"job":"0123456789ab"}"#);
        assert_eq!(named_job(" { \"job\" : \"0123456789ab\" }\n").as_deref(), Some("0123456789ab"));
        for other in
            ["", "0123456789ab", "{}", r#"{"job":7}"#, r#"{"job":"../../etc"}"#, r#"{"job":"0123456789ab","x":1}"#, r#"{"Records":[]}"#]
        {
            assert_eq!(named_job(other), None, "{other}");
        }
    }
}
