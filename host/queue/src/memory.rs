//! A queue in memory, for tests: it keeps the promises of SQS, within one process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::{Facts, MOST_DELAY, MOST_HELD, MOST_RECEIVED, MOST_WAIT, Message, MessageQueue, QueueError, check_body, seconds};

/// A message that waits, is held, or is ahead of its time.
#[derive(Debug)]
struct Letter {
    id: String,
    body: String,
    sent: SystemTime,
    receives: u32,
    /// When it can be received (again).
    free: Instant,
    /// The receipt of the last time it was received.
    receipt: Option<String>,
}

/// Messages in memory.
#[derive(Debug)]
pub struct MemoryQueue {
    name: String,
    letters: Mutex<BTreeMap<u64, Letter>>,
    told: Notify,
    redrive: Option<(u32, Arc<Self>)>,
}

impl MemoryQueue {
    /// An empty queue.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: format!("queue {name} in memory"), letters: Mutex::default(), told: Notify::new(), redrive: None }
    }

    /// The same, with a dead-letter queue for messages that were given out `most_receives` times.
    #[must_use]
    pub fn with_dead_letters(mut self, most_receives: u32, queue: Arc<Self>) -> Self {
        self.redrive = Some((most_receives, queue));
        self
    }

    fn letters(&self) -> MutexGuard<'_, BTreeMap<u64, Letter>> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, letter: Letter) {
        let mut letters = self.letters();
        let number = letters.last_key_value().map_or(0, |(number, _)| number + 1);
        letters.insert(number, letter);
        drop(letters);
        self.told.notify_waiters();
    }

    /// What can be received now.
    fn take(&self, most: usize, hold: Duration) -> Vec<Message> {
        let now = Instant::now();
        let mut letters = self.letters();
        if let Some((limit, dead)) = &self.redrive {
            let spent: Vec<u64> = letters.iter().filter(|(_, l)| l.free <= now && l.receives >= *limit).map(|(n, _)| *n).collect();
            for letter in spent.into_iter().filter_map(|number| letters.remove(&number)) {
                dead.add(Letter { free: now, receipt: None, ..letter });
            }
        }
        let free = letters.values_mut().filter(|letter| letter.free <= now).take(most);
        let receive = |letter: &mut Letter| {
            letter.receives += 1;
            letter.free = now + hold;
            let receipt = uuid::Uuid::new_v4().to_string();
            letter.receipt = Some(receipt.clone());
            Message { id: letter.id.clone(), body: letter.body.clone(), receipt, receives: letter.receives, sent: letter.sent }
        };
        free.map(receive).collect()
    }

    fn whole(span: Duration, most: Duration) -> Duration {
        Duration::from_secs(u64::try_from(seconds(span, most)).unwrap_or_default())
    }
}

#[async_trait]
impl MessageQueue for MemoryQueue {
    fn name(&self) -> &str {
        &self.name
    }

    async fn facts(&self) -> Result<Facts, QueueError> {
        let now = Instant::now();
        let mut facts = Facts { most_receives: self.redrive.as_ref().map(|(limit, _)| *limit), ..Facts::default() };
        for letter in self.letters().values() {
            match (letter.free <= now, letter.receives) {
                (true, _) => facts.waiting += 1,
                (false, 0) => facts.delayed += 1,
                (false, _) => facts.held += 1,
            }
        }
        Ok(facts)
    }

    async fn send(&self, body: &str, delay: Duration) -> Result<String, QueueError> {
        check_body(&self.name, body)?;
        let id = uuid::Uuid::new_v4().to_string();
        let free = Instant::now() + Self::whole(delay, MOST_DELAY);
        self.add(Letter { id: id.clone(), body: body.to_owned(), sent: SystemTime::now(), receives: 0, free, receipt: None });
        Ok(id)
    }

    async fn receive(&self, most: usize, wait: Duration, hold: Duration) -> Result<Vec<Message>, QueueError> {
        let (until, hold) = (Instant::now() + Self::whole(wait, MOST_WAIT), Self::whole(hold, MOST_HELD));
        loop {
            let told = self.told.notified();
            let received = self.take(most.clamp(1, MOST_RECEIVED), hold);
            let now = Instant::now();
            if !received.is_empty() || now >= until {
                return Ok(received);
            }
            // the next message may come by being sent, or by the end of a hold
            let next = self.letters().values().map(|letter| letter.free).filter(|free| *free > now).min();
            let pause = next.map_or(until, |next| next.min(until));
            tokio::select! {
                () = told => {}
                () = tokio::time::sleep_until(pause.into()) => {}
            }
        }
    }

    async fn hold(&self, message: &Message, hold: Duration) -> Result<(), QueueError> {
        let now = Instant::now();
        let mut letters = self.letters();
        let held = letters.values_mut().find(|letter| letter.receipt.as_ref() == Some(&message.receipt) && letter.free > now);
        let Some(letter) = held else {
            return Err(QueueError::NotHeld { queue: self.name.clone(), reason: "its time has run out".into() });
        };
        letter.free = now + Self::whole(hold, MOST_HELD);
        drop(letters);
        self.told.notify_waiters();
        Ok(())
    }

    async fn delete(&self, message: &Message) -> Result<(), QueueError> {
        self.letters().retain(|_, letter| letter.receipt.as_ref() != Some(&message.receipt));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn it_keeps_the_promises() {
        let dead = Arc::new(MemoryQueue::new("dead"));
        let queue = MemoryQueue::new("jobs").with_dead_letters(2, Arc::clone(&dead));
        crate::conformance::run(&queue, dead.as_ref(), 2).await;
    }
}
