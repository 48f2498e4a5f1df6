//! Lists of records, in either order.

use std::collections::VecDeque;

use super::{Ledger, LedgerError, PAGE};
use crate::clock::now_ms;
use crate::jobs::record::Record;

/// Time that is listed first where the newest jobs are asked for.
const FIRST_SPAN_MS: u64 = 60_000;

/// When an id was made, Unix milliseconds; none for an id that is not one of [`new_id`]'s.
fn made_at(id: &str) -> Option<u64> {
    u64::from_str_radix(id.get(..12)?, 16).ok()
}

impl Ledger {
    /// Up to `limit` records, oldest first, after the id `after`.
    ///
    /// # Errors
    /// [`LedgerError::Store`]; records that cannot be read are left out and logged.
    pub fn list(&self, after: Option<&str>, limit: usize) -> Result<Vec<Record>, LedgerError> {
        let after = after.map(|id| format!("{id}.json"));
        self.records(self.names("jobs", after.as_deref(), limit)?)
    }

    /// Up to `limit` records, newest first, before the id `before`.
    ///
    /// Stores list forwards only, but ids begin with the time at which they were made: the last minute is listed, then the quarter
    /// of an hour before it, and so on, each span sixteen times as long, until there are enough.
    ///
    /// # Errors
    /// As [`Ledger::list`].
    pub fn newest(&self, before: Option<&str>, limit: usize) -> Result<Vec<Record>, LedgerError> {
        let mut names = VecDeque::new();
        let latest = before.and_then(made_at).unwrap_or_else(now_ms);
        let mut end = before.map(|id| format!("{id}.json"));
        let mut span = FIRST_SPAN_MS;
        while names.len() < limit {
            let start = Some(latest.saturating_sub(span)).filter(|ms| *ms > 0).map(|ms| format!("{ms:012x}"));
            let found = self.last_between(start.as_deref(), end.as_deref(), limit - names.len())?;
            found.into_iter().rev().for_each(|name| names.push_front(name));
            if start.is_none() {
                break;
            }
            // keys of a former span must not come again where its start lies before the end of all
            end = match (end, start) {
                (Some(end), Some(start)) if end < start => Some(end),
                (_, start) => start,
            };
            span = span.saturating_mul(16);
        }
        self.records(names.into_iter().rev())
    }

    /// The last `limit` names of records after `start` and before `end`, in their order.
    fn last_between(&self, start: Option<&str>, end: Option<&str>, limit: usize) -> Result<VecDeque<String>, LedgerError> {
        let mut last = VecDeque::new();
        let mut after = start.map(str::to_owned);
        loop {
            let page = self.names("jobs", after.as_deref(), PAGE)?;
            let whole = page.len() == PAGE;
            after = page.last().cloned();
            for name in page {
                if end.is_some_and(|end| name.as_str() >= end) {
                    return Ok(last);
                }
                if last.len() == limit {
                    last.pop_front();
                }
                last.push_back(name);
            }
            if !whole {
                return Ok(last);
            }
        }
    }

    /// The records of these objects.
    fn records(&self, names: impl IntoIterator<Item = String>) -> Result<Vec<Record>, LedgerError> {
        let mut records = Vec::new();
        for name in names {
            let Some(id) = name.strip_suffix(".json") else { continue };
            match self.get(id) {
                Ok(record) => records.push(record),
                Err(LedgerError::Unknown(_)) => {}
                Err(LedgerError::Corrupt { message, .. }) => tracing::warn!(job = id, message, "left out a record that cannot be read"),
                Err(e) => return Err(e),
            }
        }
        Ok(records)
    }
}
