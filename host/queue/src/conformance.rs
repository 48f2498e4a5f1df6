//! One suite of tests for every queue: what passes it keeps the promises of [`MessageQueue`].
//!
//! It is library code, so that queues of other crates and queues that need a server can be held to it as well.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::{MOST_BYTES, MOST_RECEIVED, Message, MessageQueue, QueueError};

/// Longer than any step takes; a message that is held for so long does not come back within the suite.
const LONG: Duration = Duration::from_secs(300);
/// The shortest hold there is.
const SHORT: Duration = Duration::from_secs(1);
/// How long to wait for a message that must come.
const WAIT: Duration = Duration::from_secs(20);
/// Messages of the test with many.
const MANY: usize = 25;

/// Runs every test on an empty queue whose messages go to `dead`, empty too, after `most_receives` (at least 2) times.
///
/// # Panics
/// With the promise the queue broke.
pub async fn run(queue: &dyn MessageQueue, dead: &dyn MessageQueue, most_receives: u32) {
    assert!(most_receives >= 2, "the suite receives some messages twice");
    none(queue, "at the start").await;
    none(dead, "at the start").await;
    sent_received_deleted(queue).await;
    what_is_not_deleted_comes_again(queue).await;
    holds_are_prolonged_and_given_up(queue).await;
    a_delayed_message_comes_later(queue).await;
    a_waiting_receiver_gets_what_is_sent(queue).await;
    many_messages_come_once_each(queue).await;
    what_cannot_be_carried_is_refused(queue).await;
    spent_messages_go_to_the_dead_letters(queue, dead, most_receives).await;
    none(queue, "at the end").await;
}

fn ok<T>(outcome: Result<T, QueueError>, what: &str) -> T {
    outcome.unwrap_or_else(|error| panic!("{what}: {error}"))
}

/// Nothing can be received now.
async fn none(queue: &dyn MessageQueue, when: &str) {
    let received = ok(queue.receive(MOST_RECEIVED, Duration::ZERO, SHORT).await, "receiving nothing");
    assert_eq!(received, vec![], "{when}, {} has messages", queue.name());
}

/// The one message that must come.
async fn one(queue: &dyn MessageQueue, hold: Duration, when: &str) -> Message {
    let mut received = ok(queue.receive(1, WAIT, hold).await, when);
    assert_eq!(received.len(), 1, "{when}: one message comes");
    received.remove(0)
}

async fn sent_received_deleted(queue: &dyn MessageQueue) {
    let body = "{\"job\": \"é日\u{1f3c2}\",\n\t\"<&>\": \"'\"}";
    let id = ok(queue.send(body, Duration::ZERO).await, "send");
    let message = one(queue, LONG, "receive").await;
    assert_eq!((&message.id, message.body.as_str(), message.receives), (&id, body, 1), "what was sent is received");
    let facts = ok(queue.facts().await, "facts");
    assert_eq!((facts.waiting, facts.held, facts.delayed), (0, 1, 0), "a held message is counted as held");
    none(queue, "while the only message is held").await;
    ok(queue.delete(&message).await, "delete");
    ok(queue.delete(&message).await, "deleting twice is well");
    let facts = ok(queue.facts().await, "facts");
    assert_eq!((facts.waiting, facts.held, facts.delayed), (0, 0, 0), "a deleted message is not counted");
}

async fn what_is_not_deleted_comes_again(queue: &dyn MessageQueue) {
    let id = ok(queue.send("again", Duration::ZERO).await, "send");
    let first = one(queue, SHORT, "receive").await;
    let second = one(queue, LONG, "receive again").await;
    assert_eq!((&second.id, &second.body, second.receives), (&id, &first.body, 2), "the same message, counted");
    assert_ne!(second.receipt, first.receipt, "each time has its own receipt");
    ok(queue.delete(&second).await, "delete");
}

async fn holds_are_prolonged_and_given_up(queue: &dyn MessageQueue) {
    ok(queue.send("held", Duration::ZERO).await, "send");
    let message = one(queue, SHORT, "receive").await;
    ok(queue.hold(&message, LONG).await, "hold for longer");
    tokio::time::sleep(SHORT * 2).await;
    none(queue, "after a hold was prolonged").await;
    ok(queue.hold(&message, Duration::ZERO).await, "give up");
    let again = one(queue, LONG, "receive what was given up").await;
    assert_eq!((again.id.as_str(), again.receives), (message.id.as_str(), 2), "what was given up comes at once");
    ok(queue.delete(&again).await, "delete");
    let late = queue.hold(&again, LONG).await;
    assert!(matches!(late, Err(QueueError::NotHeld { .. })), "a deleted message is not held: {late:?}");
}

async fn a_delayed_message_comes_later(queue: &dyn MessageQueue) {
    ok(queue.send("later", SHORT * 3).await, "send ahead of its time");
    none(queue, "before its time").await;
    let facts = ok(queue.facts().await, "facts");
    assert_eq!((facts.waiting, facts.held, facts.delayed), (0, 0, 1), "a delayed message is counted as such");
    let message = one(queue, LONG, "receive at its time").await;
    assert_eq!(message.body, "later");
    ok(queue.delete(&message).await, "delete");
}

async fn a_waiting_receiver_gets_what_is_sent(queue: &dyn MessageQueue) {
    let send = async {
        tokio::time::sleep(SHORT / 2).await;
        queue.send("while waiting", Duration::ZERO).await
    };
    let (message, sent) = tokio::join!(one(queue, LONG, "wait"), send);
    ok(sent, "send");
    assert_eq!(message.body, "while waiting");
    ok(queue.delete(&message).await, "delete");
}

async fn many_messages_come_once_each(queue: &dyn MessageQueue) {
    for i in 0..MANY {
        ok(queue.send(&format!("number {i}"), Duration::ZERO).await, "send");
    }
    assert_eq!(ok(queue.facts().await, "facts").waiting, MANY as u64, "waiting messages are counted");
    let mut seen = BTreeSet::new();
    while seen.len() < MANY {
        let received = ok(queue.receive(usize::MAX, WAIT, LONG).await, "receive some");
        assert!((1..=MOST_RECEIVED).contains(&received.len()), "{} messages at once", received.len());
        for message in received {
            assert!(seen.insert(message.body.clone()), "{} came twice", message.body);
            ok(queue.delete(&message).await, "delete");
        }
    }
}

async fn what_cannot_be_carried_is_refused(queue: &dyn MessageQueue) {
    for body in ["", "a\0b", &"a".repeat(MOST_BYTES + 1)] {
        let outcome = queue.send(body, Duration::ZERO).await;
        assert!(matches!(outcome, Err(QueueError::Refused { .. })), "{} bytes: {outcome:?}", body.len());
    }
    let large = "é".repeat(MOST_BYTES / 2);
    ok(queue.send(&large, Duration::ZERO).await, "send the largest");
    let message = one(queue, LONG, "receive the largest").await;
    assert!(message.body == large, "the largest message is whole");
    ok(queue.delete(&message).await, "delete");
}

async fn spent_messages_go_to_the_dead_letters(queue: &dyn MessageQueue, dead: &dyn MessageQueue, most_receives: u32) {
    let limit = ok(queue.facts().await, "facts").most_receives;
    assert_eq!(limit, Some(most_receives), "the queue tells its limit");
    assert_eq!(ok(dead.facts().await, "facts").most_receives, None, "the dead-letter queue has none");
    ok(queue.send("poison", Duration::ZERO).await, "send");
    for time in 1..=most_receives {
        let message = one(queue, LONG, "receive").await;
        assert_eq!(message.receives, time, "times are counted");
        ok(queue.hold(&message, Duration::ZERO).await, "give up");
    }
    none(queue, "after the last time").await;
    let message = one(dead, LONG, "receive the dead letter").await;
    assert_eq!(message.body, "poison");
    ok(dead.delete(&message).await, "delete");
}
