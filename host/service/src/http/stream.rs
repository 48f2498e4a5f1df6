//! A job's progress as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use axum::routing::get;
use futures::Stream;

use crate::App;
use crate::clock::now_ms;
use crate::http::ApiError;
use crate::http::jobs::{JobStatus, find};
use crate::jobs::{ProgressRecord, Record, State as JobState};

/// Wait between two looks at the job.
const LOOK: Duration = Duration::from_millis(500);
/// Looks that may fail in a row before the stream ends: the client asks again then.
const MOST_FAILURES: u32 = 10;

/// The routes of this file.
pub fn routes() -> Router<Arc<App>> {
    Router::new().route("/jobs/{id}/events", get(events))
}

/// What a stream remembers between two events.
struct Watch {
    app: Arc<App>,
    record: Record,
    told: Option<(JobState, ProgressRecord)>,
    ended: bool,
}

impl Watch {
    /// The next event, when there is one.
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        let mut failures = 0;
        while !self.ended {
            let news = (self.record.state, self.record.progress.clone());
            if self.told.as_ref() != Some(&news) {
                self.told = Some(news);
                self.ended = self.record.state.is_final();
                return self.event().map(|event| (Ok(event), self));
            }
            tokio::time::sleep(LOOK).await;
            let id = self.record.id.clone();
            match self.app.blocking(move |app| app.look(&id)).await {
                Ok(record) => (self.record, failures) = (record, 0),
                Err(error) if failures < MOST_FAILURES => {
                    failures += 1;
                    tracing::debug!(%error, "cannot look at a job that is watched; trying again");
                }
                Err(error) => {
                    tracing::warn!(%error, job = self.record.id, "cannot look at a job that is watched");
                    return None;
                }
            }
        }
        None
    }

    fn event(&self) -> Option<Event> {
        let name = if self.ended { "end" } else { "progress" };
        let event = Event::default().event(name).json_data(JobStatus::of(&self.record, now_ms()));
        event.inspect_err(|error| tracing::error!(%error, "an event cannot be written")).ok()
    }
}

/// A job's progress as it happens.
///
/// `event: progress` whenever state or progress change, `event: end` with the final state, then the stream ends. The data of both
/// is what `/job_status/{id}` gives.
#[utoipa::path(
    get, path = "/jobs/{id}/events", tag = "jobs", operation_id = "job_events",
    params(("id" = String, Path, description = "The job", pattern = "^[A-Za-z0-9-]{8,64}$")),
    responses((status = 200, description = "Events", body = String, content_type = "text/event-stream")),
)]
pub async fn events(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let record = find(&app, id).await?;
    let watch = Watch { app, record, told: None, ended: false };
    Ok(Sse::new(futures::stream::unfold(watch, Watch::next)).keep_alive(KeepAlive::default()))
}
