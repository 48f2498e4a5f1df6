//! The queue in front of a lane: one thread takes commands that many clients (jobs) put in, and none of them starves another.
//!
//! Each client has a bounded queue of its own and its commands are taken in order. Between clients, the one whose commands have
//! kept the thread busy least goes first, among those whose first command has everything it needs: a job that waits for its
//! decoder does not hold up another. This is start-time fair queuing (Goyal, Vin, Cheng, 1996) with busy time as the cost and
//! equal weights; it is counted after the fact, as nobody knows beforehand what a command takes.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use tokio::sync::mpsc;

/// The thread of the lane has ended: nothing is taken any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the thread that takes the commands has ended")]
pub struct LaneEnded;

struct Entry<T> {
    value: T,
    /// Done when the command has everything it needs.
    ready: BoxFuture<'static, ()>,
    /// Position among all commands of all clients.
    sequence: u64,
}

/// One client's end. Clones put into the same queue.
pub struct FairClient<T> {
    entries: mpsc::Sender<Entry<T>>,
    newcomers: mpsc::UnboundedSender<mpsc::Receiver<Entry<T>>>,
    sequence: Arc<AtomicU64>,
    capacity: usize,
}

impl<T> Clone for FairClient<T> {
    fn clone(&self) -> Self {
        Self {
            entries: self.entries.clone(),
            newcomers: self.newcomers.clone(),
            sequence: Arc::clone(&self.sequence),
            capacity: self.capacity,
        }
    }
}

impl<T> std::fmt::Debug for FairClient<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FairClient").field("room", &self.entries.capacity()).finish_non_exhaustive()
    }
}

impl<T> FairClient<T> {
    /// Another client of the same thread, with a queue and an account of its own.
    #[must_use]
    pub fn another(&self) -> Self {
        let (entries, receiver) = mpsc::channel(self.capacity);
        // where the thread has ended, the receiver is dropped here and every send says so
        self.newcomers.send(receiver).ok();
        Self { entries, ..self.clone() }
    }

    /// Puts a command in that can be done once `ready` is; waits while this client's queue is full.
    ///
    /// # Errors
    /// [`LaneEnded`].
    pub async fn send(&self, value: T, ready: impl Future<Output = ()> + Send + 'static) -> Result<(), LaneEnded> {
        self.entries.send(self.entry(value, ready)).await.map_err(|_| LaneEnded)
    }

    /// [`send`](Self::send), blocking the thread. Never call it from async code.
    ///
    /// # Errors
    /// [`LaneEnded`].
    pub fn send_blocking(&self, value: T, ready: impl Future<Output = ()> + Send + 'static) -> Result<(), LaneEnded> {
        self.entries.blocking_send(self.entry(value, ready)).map_err(|_| LaneEnded)
    }

    fn entry(&self, value: T, ready: impl Future<Output = ()> + Send + 'static) -> Entry<T> {
        Entry { value, ready: Box::pin(ready), sequence: self.sequence.fetch_add(1, Ordering::Relaxed) }
    }
}

/// A command that was taken.
#[derive(Debug)]
pub struct Taken<T> {
    /// What was put in.
    pub value: T,
    /// Whose account its busy time goes to; see [`FairReceiver::charge`].
    pub client: u64,
    /// How long the thread had commands but none that could be done.
    pub waited: Duration,
}

struct Queue<T> {
    entries: mpsc::Receiver<Entry<T>>,
    /// The first command, once it was looked at.
    head: Option<Entry<T>>,
    /// Busy time so far, raised to the least of the others' after a rest.
    served: Duration,
    /// Whether it had nothing to do when last looked at.
    idle: bool,
}

/// The thread's end.
pub struct FairReceiver<T> {
    newcomers: mpsc::UnboundedReceiver<mpsc::Receiver<Entry<T>>>,
    queues: BTreeMap<u64, Queue<T>>,
    next_client: u64,
    /// The least account of those that were served last: where who comes back or is new starts.
    floor: Duration,
}

/// A queue with its first client, for at most `capacity` (at least 1) commands a client beside those the thread works on.
#[must_use]
pub fn fair_queue<T>(capacity: usize) -> (FairClient<T>, FairReceiver<T>) {
    let capacity = capacity.max(1);
    let (entries, receiver) = mpsc::channel(capacity);
    // One entry for each living client handle, so its length is bounded by what its senders keep alive; being unbounded lets a
    // client be made without waiting.
    let (newcomers, arrivals) = mpsc::unbounded_channel();
    let mut fair = FairReceiver { newcomers: arrivals, queues: BTreeMap::new(), next_client: 0, floor: Duration::ZERO };
    fair.admit(receiver);
    (FairClient { entries, newcomers, sequence: Arc::default(), capacity }, fair)
}

impl<T> FairReceiver<T> {
    /// Takes the next command, blocking the thread until one can be done. When every client is gone, what is left is taken
    /// whether it can be done or not, in the order in which it was put in; then none.
    pub fn take_blocking(&mut self) -> Option<Taken<T>> {
        let mut stuck_since = None;
        let taken = futures::executor::block_on(poll_fn(|cx| self.poll_take(cx, &mut stuck_since)));
        let (client, value) = taken?;
        Some(Taken { value, client, waited: stuck_since.map_or(Duration::ZERO, |since: Instant| since.elapsed()) })
    }

    /// Books the time that a client's command kept the thread busy.
    pub fn charge(&mut self, client: u64, busy: Duration) {
        // a client that has gone needs no account
        if let Some(queue) = self.queues.get_mut(&client) {
            queue.served += busy;
        }
    }

    fn admit(&mut self, entries: mpsc::Receiver<Entry<T>>) {
        self.queues.insert(self.next_client, Queue { entries, head: None, served: self.floor, idle: true });
        self.next_client += 1;
    }

    fn poll_take(&mut self, cx: &mut Context<'_>, stuck_since: &mut Option<Instant>) -> Poll<Option<(u64, T)>> {
        let mut all_gone = false;
        loop {
            match self.newcomers.poll_recv(cx) {
                Poll::Ready(Some(entries)) => self.admit(entries),
                Poll::Ready(None) => break all_gone = true,
                Poll::Pending => break,
            }
        }
        self.fill_heads(cx);
        if let Some(least) = self.queues.values().filter(|q| !q.idle).map(|q| q.served).min() {
            self.floor = self.floor.max(least);
        }
        let ready = |head: &mut Entry<T>, cx: &mut Context<'_>| head.ready.as_mut().poll(cx).is_ready();
        let mut order: Vec<_> = self.queues.iter().filter(|(_, q)| q.head.is_some()).map(|(&id, q)| (q.served, id)).collect();
        order.sort_unstable();
        let mut chosen = order.iter().map(|&(_, id)| id).find(|id| {
            let head = self.queues.get_mut(id).and_then(|q| q.head.as_mut());
            head.is_some_and(|head| ready(head, cx))
        });
        if chosen.is_none() && all_gone {
            let oldest = |(_, q): &(&u64, &Queue<T>)| q.head.as_ref().map(|h| h.sequence);
            chosen = self.queues.iter().filter(|(_, q)| q.head.is_some()).min_by_key(oldest).map(|(&id, _)| id);
        }
        let taken = chosen.and_then(|id| Some((id, self.queues.get_mut(&id)?.head.take()?.value)));
        match taken {
            Some(taken) => Poll::Ready(Some(taken)),
            None if all_gone && self.queues.is_empty() => Poll::Ready(None),
            None => {
                if !order.is_empty() {
                    stuck_since.get_or_insert_with(Instant::now);
                }
                Poll::Pending
            }
        }
    }

    /// Looks at the first command of every client, and forgets those that are gone and done with.
    fn fill_heads(&mut self, cx: &mut Context<'_>) {
        let floor = self.floor;
        self.queues.retain(|_, queue| {
            if queue.head.is_none() {
                match queue.entries.poll_recv(cx) {
                    Poll::Ready(Some(entry)) => queue.head = Some(entry),
                    Poll::Ready(None) => return false,
                    Poll::Pending => {}
                }
            }
            let idle = queue.head.is_none();
            if queue.idle && !idle {
                // time not asked for is not saved up
                queue.served = queue.served.max(floor);
            }
            queue.idle = idle;
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures::FutureExt;
    use futures::channel::oneshot;

    use super::*;

    const COST: Duration = Duration::from_millis(10);

    fn put(client: &FairClient<&'static str>, name: &'static str) {
        client.send_blocking(name, ready(())).unwrap();
    }

    /// Takes `n` commands that cost the same each.
    fn take(queue: &mut FairReceiver<&'static str>, n: usize) -> Vec<&'static str> {
        let one = |_| {
            let taken = queue.take_blocking().unwrap();
            queue.charge(taken.client, COST);
            taken.value
        };
        (0..n).map(one).collect()
    }

    #[test]
    fn a_client_with_little_does_not_wait_behind_one_with_much() {
        let (flood, mut queue) = fair_queue(16);
        (0..6).for_each(|_| put(&flood, "flood"));
        assert_eq!(take(&mut queue, 2), ["flood", "flood"]);
        let other = flood.another();
        put(&other, "other 1");
        put(&other, "other 2");
        let order = take(&mut queue, 6);
        assert!(order[..2].contains(&"other 1") && order[..4].contains(&"other 2"), "{order:?}");
    }

    #[test]
    fn turns_go_by_busy_time_and_not_by_number() {
        let (costly, mut queue) = fair_queue(16);
        let cheap = costly.another();
        (0..8).for_each(|_| put(&costly, "costly"));
        (0..8).for_each(|_| put(&cheap, "cheap"));
        let mut order = Vec::new();
        for _ in 0..10 {
            let taken = queue.take_blocking().unwrap();
            queue.charge(taken.client, if taken.value == "costly" { COST * 4 } else { COST });
            order.push(taken.value);
        }
        assert_eq!(order.iter().filter(|n| **n == "costly").count(), 2, "{order:?}");
    }

    #[test]
    fn a_rest_saves_nothing_up() {
        let (busy, mut queue) = fair_queue(32);
        let rested = busy.another();
        put(&rested, "rested");
        take(&mut queue, 1);
        (0..10).for_each(|_| put(&busy, "busy"));
        take(&mut queue, 10);
        (0..5).for_each(|_| put(&busy, "busy"));
        (0..5).for_each(|_| put(&rested, "rested"));
        let order = take(&mut queue, 6);
        assert_eq!(order.iter().filter(|n| **n == "rested").count(), 3, "{order:?}");
    }

    #[test]
    fn who_waits_for_something_holds_nobody_up() {
        let (waiting, mut queue) = fair_queue(4);
        let other = waiting.another();
        let (arrive, arrival) = oneshot::channel::<()>();
        waiting.send_blocking("waiting", arrival.map(drop)).unwrap();
        put(&waiting, "behind it");
        put(&other, "other");
        assert_eq!(take(&mut queue, 1), ["other"]);
        let late = std::thread::spawn(move || arrive.send(()).unwrap());
        assert_eq!(take(&mut queue, 2), ["waiting", "behind it"], "a client's own order is kept");
        late.join().unwrap();
    }

    #[test]
    fn a_full_queue_holds_up_its_own_client_only() {
        let (full, mut queue) = fair_queue(2);
        let other = full.another();
        put(&full, "1");
        put(&full, "2");
        assert!(full.send("3", ready(())).now_or_never().is_none());
        put(&other, "other");
        assert_eq!(take(&mut queue, 3).len(), 3);
    }

    #[test]
    fn when_all_are_gone_the_rest_comes_in_order_and_then_the_end() {
        let (one, mut queue) = fair_queue(4);
        let two = one.another();
        one.send_blocking("never ready, first", pending()).unwrap();
        two.send_blocking("never ready, second", pending()).unwrap();
        put(&one, "ready");
        drop((one, two));
        assert_eq!(take(&mut queue, 3), ["never ready, first", "ready", "never ready, second"]);
        assert!(queue.take_blocking().is_none());
    }

    #[test]
    fn a_lane_that_ended_says_so_to_old_and_new_clients() {
        let (client, queue) = fair_queue(4);
        drop(queue);
        assert_eq!(client.send_blocking("late", ready(())), Err(LaneEnded));
        assert_eq!(client.another().send_blocking("later", ready(())), Err(LaneEnded));
    }
}
