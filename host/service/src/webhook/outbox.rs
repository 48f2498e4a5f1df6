//! Webhooks that are owed, whatever becomes of the process that should send them.
//!
//! A job that wants one leaves a mark, `ledger/hooks/<id>`, which goes when it was told. Marks of jobs that have ended and that nobody
//! told for a while are taken up by any server on the store: the telling process died, was frozen, or the receiver was away for longer.
//! So a webhook comes at least once, and may come twice.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use halfpipe_store::{Key, ObjectMeta, PutMode, StoreError};

use super::tell;
use crate::app::{App, AppError};
use crate::clock::now_ms;
use crate::jobs::Record;
use crate::jobs::ledger::LedgerError;

/// Where marks are.
const PREFIX: &str = "ledger/hooks/";
/// Wait between two looks.
const EVERY: Duration = Duration::from_secs(60);
/// Age of a mark that nobody is telling: a series of deliveries takes 65 seconds of waiting for answers and 15 between them.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long after a job's end its webhook is tried.
const GIVEN_UP: Duration = Duration::from_secs(24 * 3600);
/// Objects of a page.
const PAGE: usize = 1000;

fn mark(id: &str) -> Result<Key, AppError> {
    Ok(Key::new(format!("{PREFIX}{id}")).map_err(LedgerError::from)?)
}

/// Notes that a job's end is to be told, if somebody wants to know.
///
/// # Errors
/// Where the store fails.
pub(crate) fn owe(app: &App, record: &Record) -> Result<(), AppError> {
    if record.spec.webhook.is_none() || record.state.is_final() {
        return Ok(());
    }
    match app.store.put(&mark(&record.id)?, now_ms().to_string().as_bytes(), PutMode::Create) {
        // the same submission again
        Ok(_) | Err(StoreError::AlreadyExists { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Notes that it was told.
pub(super) async fn settle(app: &Arc<App>, id: &str) {
    let forget = |id: String| move |app: &App| Ok::<_, AppError>(app.store.delete(&mark(&id)?)?);
    if let Err(error) = app.blocking(forget(id.to_owned())).await {
        tracing::warn!(job = id, %error, "the mark of a webhook that was delivered could not be removed; it will come again");
    }
}

/// Looks at once and then every minute for webhooks that nobody tells, for as long as it is polled.
pub async fn keep_telling(app: Arc<App>) {
    loop {
        if app.config.webhook_secret.is_some()
            && let Err(error) = tell_overdue(&app, SystemTime::now()).await
        {
            tracing::warn!(%error, "cannot look for webhooks that were not delivered; trying again in a minute");
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Takes up what at `now` nobody has told for a while; gives the jobs' ids.
///
/// # Errors
/// Where the store fails.
pub async fn tell_overdue(app: &Arc<App>, now: SystemTime) -> Result<Vec<String>, AppError> {
    let (mut taken, mut after) = (Vec::new(), None::<Key>);
    loop {
        let from = after.clone();
        let page = app.blocking(move |app| app.store.list(PREFIX, from.as_ref(), PAGE)).await?;
        for found in &page {
            // a clock that is behind makes marks young
            if now.duration_since(found.modified).is_ok_and(|age| age >= PATIENCE)
                && let Some(record) = take(app, found.clone(), now).await?
            {
                tell(app, &record).await;
                taken.push(record.id);
            }
        }
        if page.len() < PAGE {
            return Ok(taken);
        }
        after = page.last().map(|found| found.key.clone());
    }
}

/// The job of a mark, if it has ended and this process is the one to tell.
async fn take(app: &Arc<App>, found: ObjectMeta, now: SystemTime) -> Result<Option<Record>, AppError> {
    app.blocking(move |app| {
        let id = found.key.as_str().trim_start_matches(PREFIX);
        let record = match app.ledger.get(id) {
            Ok(record) => record,
            Err(LedgerError::Unknown(_)) => {
                app.store.delete(&found.key)?;
                return Ok(None);
            }
            Err(error) => return Err(AppError::from(error)),
        };
        let Some(finished) = record.finished_ms.filter(|_| record.state.is_final()) else { return Ok(None) };
        let finished = SystemTime::UNIX_EPOCH + Duration::from_millis(finished);
        if now.duration_since(finished).is_ok_and(|age| age >= GIVEN_UP) {
            tracing::error!(job = record.id, "the webhook was not delivered within a day; it is given up");
            app.store.delete(&found.key)?;
            return Ok(None);
        }
        // of several processes that look, the one whose put comes first
        match app.store.put(&found.key, now_ms().to_string().as_bytes(), PutMode::Update(found.etag)) {
            Ok(_) => Ok(Some(record)),
            Err(StoreError::Changed { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use halfpipe_store::MemoryStore;

    use super::*;
    use crate::jobs::{Spec, Submission};
    use crate::{Config, Engines};

    fn marks(app: &App) -> usize {
        app.store.list(PREFIX, None, 10).unwrap().len()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_webhook_that_nobody_sent_is_taken_up_once_and_later() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::new(folder.path().join("spool"), folder.path().to_owned());
        config.webhook_secret = Some("s".into());
        config.webhook_private = true;
        let app = App::new(config, Arc::new(MemoryStore::new()), Engines::absent("a test")).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let webhook = Some(format!("http://{}/done", listener.local_addr().unwrap()));
        let spec = Spec { webhook, ..Spec::sample("incoming/a.mp4", "results/a/") };
        let submission = Submission { spec, idempotency: None, fingerprint: None, id: None };
        let id = app.submit(submission).await.unwrap().0.id;
        let later = |seconds: u64| SystemTime::now() + Duration::from_secs(seconds);
        assert_eq!(marks(&app), 1);
        assert_eq!(tell_overdue(&app, later(130)).await.unwrap(), Vec::<String>::new(), "the job has not ended");
        // it ends, and the process that ended it tells nobody
        app.ledger.cancel(&id).unwrap();
        assert_eq!(tell_overdue(&app, later(60)).await.unwrap(), Vec::<String>::new(), "somebody may be telling");
        let seen = app.store.list(PREFIX, None, 1).unwrap().remove(0);
        assert!(take(&app, seen.clone(), later(130)).await.unwrap().is_some());
        assert!(take(&app, seen, later(130)).await.unwrap().is_none(), "another process that looked at the same time");
        assert_eq!(tell_overdue(&app, later(130)).await.unwrap(), std::slice::from_ref(&id), "who took it has not told, and died");
        let told = tokio::task::spawn_blocking(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut text, mut piece) = (String::new(), [0; 4096]);
            while !text.contains("\"job_id\"") {
                let n = stream.read(&mut piece).unwrap();
                text.push_str(std::str::from_utf8(&piece[..n]).unwrap());
            }
            stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").unwrap();
            text
        });
        assert!(told.await.unwrap().contains(&id));
        while marks(&app) > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // what no job has, and what is too old, goes
        app.store.put(&mark("no-such-job").unwrap(), b"1", PutMode::Create).unwrap();
        app.store.put(&mark(&id).unwrap(), b"1", PutMode::Create).unwrap();
        assert_eq!(tell_overdue(&app, later(25 * 3600)).await.unwrap(), Vec::<String>::new());
        assert_eq!(marks(&app), 0);
    }
}
