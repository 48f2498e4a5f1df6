//! Uploads that no job has: a process may die between storing a video and writing the job's record, and then nobody knows of it.
//!
//! They are told by their age: a record follows its upload at once, so an old one without a job that may still read it is left over.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use halfpipe_store::{Key, ObjectMeta};

use crate::app::{App, AppError};
use crate::config::Config;
use crate::jobs::ledger::LedgerError;

/// Wait between two sweeps.
const EVERY: Duration = Duration::from_secs(3600);
/// Objects of a page.
const PAGE: usize = 1000;

/// Sweeps at once and then every hour, for as long as it is polled.
pub async fn keep_clean(app: Arc<App>) {
    loop {
        match app.blocking(|app| sweep(app, SystemTime::now())).await {
            Ok(swept) if swept.is_empty() => {}
            Ok(swept) => tracing::info!(objects = swept.len(), "removed uploads that no job has"),
            Err(error) => tracing::warn!(%error, "cannot look for uploads that no job has; trying again in an hour"),
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Removes what lies under `uploads/`, is older than [`Config::orphan_age`] at `now`, and is the input of no job that may still run.
/// Gives the keys.
///
/// # Errors
/// Where the store fails; what was found before is gone then.
pub fn sweep(app: &App, now: SystemTime) -> Result<Vec<Key>, AppError> {
    let mut orphans = Vec::new();
    let mut after: Option<Key> = None;
    loop {
        let page = app.store.list(Config::UPLOADS_PREFIX, after.as_ref(), PAGE)?;
        for object in &page {
            if is_old(object, now, app.config.orphan_age) && !has_job(app, &object.key)? {
                orphans.push(object.key.clone());
            }
        }
        if page.len() < PAGE {
            break;
        }
        after = page.last().map(|object| object.key.clone());
    }
    if orphans.is_empty() {
        return Ok(orphans);
    }
    // a client may have named another job's upload as the input of a job of its own
    let wanted = inputs_of_open_jobs(app)?;
    orphans.retain(|key| !wanted.contains(key.as_str()));
    for key in &orphans {
        app.store.delete(key)?;
        tracing::info!(%key, "removed an upload that no job has");
    }
    Ok(orphans)
}

fn is_old(object: &ObjectMeta, now: SystemTime, age: Duration) -> bool {
    // a clock that is behind makes objects young
    now.duration_since(object.modified).is_ok_and(|passed| passed >= age)
}

/// Whether the job under whose id an upload lies may still read it.
fn has_job(app: &App, key: &Key) -> Result<bool, LedgerError> {
    let id = key.as_str().strip_prefix(Config::UPLOADS_PREFIX).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    match app.ledger.get(id) {
        Ok(record) => Ok(!record.state.is_final() && (record.spec.input == key.as_str() || record.parts.is_some())),
        Err(LedgerError::Unknown(_)) => Ok(false),
        // whoever mends the record wants its input
        Err(LedgerError::Corrupt { .. }) => Ok(true),
        Err(e) => Err(e),
    }
}

fn inputs_of_open_jobs(app: &App) -> Result<BTreeSet<String>, LedgerError> {
    let mut inputs = BTreeSet::new();
    for id in app.ledger.open_ids()? {
        match app.ledger.get(&id) {
            Ok(record) => {
                inputs.insert(record.spec.input);
            }
            Err(LedgerError::Unknown(_) | LedgerError::Corrupt { .. }) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(inputs)
}

#[cfg(test)]
mod tests {
    use halfpipe_store::{MemoryStore, PutMode};

    use super::*;
    use crate::jobs::{Spec, Submission};

    fn put(app: &App, key: &str) -> Key {
        let key = Key::new(key).unwrap();
        app.store.put(&key, b"video", PutMode::Overwrite).unwrap();
        key
    }

    fn job_on(app: &App, id: &str, input: &Key) {
        let spec = Spec { input_owned: true, ..Spec::sample(input.as_str(), &format!("results/{id}/")) };
        let submission = Submission { spec, idempotency: None, fingerprint: None, id: Some(id.into()) };
        app.ledger.submit(submission).unwrap();
    }

    #[test]
    fn old_uploads_without_a_job_go_and_all_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::new(folder.path().join("spool"), folder.path().to_owned());
        let age = config.orphan_age;
        let app = App::new(config, Arc::new(MemoryStore::new()), crate::Engines::absent("a test")).unwrap();
        let orphan = put(&app, "uploads/no-job-at-all/a.mp4");
        let strange = put(&app, "uploads/b.mp4");
        let waiting = put(&app, "uploads/waiting-job/a.mp4");
        job_on(&app, "waiting-job", &waiting);
        let ended = put(&app, "uploads/ended-job/a.mp4");
        job_on(&app, "ended-job", &ended);
        app.ledger.cancel("ended-job").unwrap();
        let borrowed = put(&app, "uploads/another-id/a.mp4");
        job_on(&app, "borrower-job", &borrowed);
        let copy = put(&app, "uploads/waiting-job/copy.mp4");
        let incoming = put(&app, "incoming/x/a.mp4");
        let corrupt = put(&app, "uploads/corrupt-job/a.mp4");
        app.store.put(&Key::new("ledger/jobs/corrupt-job.json").unwrap(), b"{", PutMode::Create).unwrap();

        let now = SystemTime::now();
        assert_eq!(sweep(&app, now).unwrap(), [], "they may be waiting for their records");
        assert_eq!(sweep(&app, now - age).unwrap(), [], "a clock that is behind removes nothing");
        let mut swept = sweep(&app, now + age).unwrap();
        swept.sort();
        let mut due = vec![orphan, strange, ended, copy];
        due.sort();
        assert_eq!(swept, due);
        assert!(due.iter().all(|key| app.store.head(key).is_err()));
        for kept in [&waiting, &borrowed, &incoming, &corrupt] {
            assert!(app.store.head(kept).is_ok(), "{kept}");
        }
        assert_eq!(sweep(&app, now + age).unwrap(), []);
    }
}
