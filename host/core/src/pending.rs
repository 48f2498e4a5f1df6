//! Values that are still in the making: a promise that many may wait for, with the name of the call it came from.

use std::future::Future;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tokio::sync::SetOnce;

/// Why a pending value never came.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message} (in {origin})")]
pub struct PendingError {
    /// The call that started the work, e.g. `compute(pose_landmark_full)`.
    pub origin: Arc<str>,
    /// One sentence.
    pub message: Arc<str>,
    /// Whether the job was cancelled rather than failed.
    pub cancelled: bool,
}

/// How the work ended.
type Outcome<T> = Result<Arc<T>, PendingError>;

/// A shared promise of a `T`. Clones wait for the same value.
pub struct Pending<T: Send + Sync + 'static> {
    origin: Arc<str>,
    value: Value<T>,
}

/// Where the value will be.
enum Value<T: Send + Sync + 'static> {
    /// It is set. Not a shared future, which wakes those who wait under a lock that they need at once.
    Set(Arc<SetOnce<Outcome<T>>>),
    /// It is made of another by whoever waits first.
    Made(Shared<BoxFuture<'static, Outcome<T>>>),
}

impl<T: Send + Sync + 'static> Value<T> {
    async fn outcome(self) -> Outcome<T> {
        match self {
            Self::Set(place) => place.wait().await.clone(),
            Self::Made(made) => made.await,
        }
    }
}

impl<T: Send + Sync + 'static> Clone for Value<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Set(place) => Self::Set(Arc::clone(place)),
            Self::Made(made) => Self::Made(made.clone()),
        }
    }
}

impl<T: Send + Sync + 'static> Clone for Pending<T> {
    fn clone(&self) -> Self {
        Self { origin: Arc::clone(&self.origin), value: self.value.clone() }
    }
}

impl<T: Send + Sync + 'static> std::fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pending({})", self.origin)
    }
}

/// The other end: fulfils or breaks the promise. Dropped unused, it breaks it.
pub struct Resolver<T> {
    origin: Arc<str>,
    end: End<T>,
}

/// Where a value goes.
enum End<T> {
    Place(Place<T>),
    /// Through a function first.
    Through(Box<dyn Deliver<T>>),
}

/// Sets a promise's value, at the latest when it is dropped.
struct Place<T> {
    origin: Arc<str>,
    place: Arc<SetOnce<Outcome<T>>>,
}

impl<T> Drop for Place<T> {
    fn drop(&mut self) {
        if !self.place.initialized() {
            let message = "the work was dropped before it was done".into();
            // nobody else sets it
            self.place.set(Err(PendingError { origin: Arc::clone(&self.origin), message, cancelled: true })).ok();
        }
    }
}

/// Takes a value of another type than the one promised.
trait Deliver<T>: Send {
    fn deliver(self: Box<Self>, result: Result<T, PendingError>);
    fn is_unwanted(&self) -> bool;
}

struct Through<U, F> {
    function: F,
    resolver: Resolver<U>,
}

impl<T, U, F> Deliver<T> for Through<U, F>
where
    U: Send + Sync + 'static,
    F: FnOnce(T) -> Result<U, String> + Send,
{
    fn deliver(self: Box<Self>, result: Result<T, PendingError>) {
        let Self { function, resolver } = *self;
        match result {
            Ok(value) => resolver.settle(function(value)),
            Err(error) => resolver.fail_from(error),
        }
    }

    fn is_unwanted(&self) -> bool {
        self.resolver.is_unwanted()
    }
}

impl<T: Send + Sync + 'static> Pending<T> {
    /// A value that is there already.
    #[must_use]
    pub fn ready(value: T) -> Self {
        Self { origin: "ready".into(), value: Value::Set(Arc::new(SetOnce::new_with(Some(Ok(Arc::new(value)))))) }
    }

    /// A promise and its resolver; `origin` names the call, for error texts.
    #[must_use]
    pub fn new(origin: impl Into<Arc<str>>) -> (Resolver<T>, Self) {
        let origin = origin.into();
        let place = Arc::new(SetOnce::new());
        let end = End::Place(Place { origin: Arc::clone(&origin), place: Arc::clone(&place) });
        (Resolver { origin: Arc::clone(&origin), end }, Self { origin, value: Value::Set(place) })
    }

    /// A promise of `f` of a value, and the resolver that takes the value and calls `f`, whether or not anybody waits. To call it when
    /// somebody does, there is [`map`](Self::map).
    #[must_use]
    pub fn through<V: Send + Sync + 'static>(
        origin: impl Into<Arc<str>>,
        f: impl FnOnce(V) -> Result<T, String> + Send + 'static,
    ) -> (Resolver<V>, Self) {
        let (resolver, pending) = Self::new(origin);
        (Resolver { origin: Arc::clone(&resolver.origin), end: End::Through(Box::new(Through { function: f, resolver })) }, pending)
    }

    /// The call this came from.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The value, if it is there already and did not fail.
    #[must_use]
    pub fn peek(&self) -> Option<Arc<T>> {
        let outcome = match &self.value {
            Value::Set(place) => place.get(),
            Value::Made(made) => made.peek(),
        };
        outcome.and_then(|r| r.as_ref().ok().cloned())
    }

    /// Waits without blocking the thread.
    ///
    /// # Errors
    /// The error the work ended with.
    pub fn wait(&self) -> impl Future<Output = Result<Arc<T>, PendingError>> + Send + use<T> {
        self.value.clone().outcome()
    }

    /// Waits until there is nothing to wait for any more: the value is there, or the work has failed.
    pub fn settled(&self) -> impl Future<Output = ()> + Send + use<T> {
        self.wait().map(drop)
    }

    /// Blocks the thread until the value is there. For lanes, never for async code.
    ///
    /// # Errors
    /// The error the work ended with.
    pub fn wait_blocking(&self) -> Result<Arc<T>, PendingError> {
        futures::executor::block_on(self.wait())
    }

    /// A promise of `f` of the value, computed once, by whoever waits first.
    #[must_use]
    pub fn map<U: Send + Sync + 'static>(&self, f: impl FnOnce(Arc<T>) -> Result<U, String> + Send + 'static) -> Pending<U> {
        let origin = Arc::clone(&self.origin);
        let (from, name) = (self.wait(), Arc::clone(&origin));
        let value = async move {
            let v = from.await?;
            f(v).map(Arc::new).map_err(|m| PendingError { origin: name, message: m.into(), cancelled: false })
        };
        Pending { origin, value: Value::Made(value.boxed().shared()) }
    }
}

impl<T: Send + Sync + 'static> Resolver<T> {
    /// Fulfils the promise.
    pub fn resolve(self, value: T) {
        self.end.deliver(Ok(value));
    }
    /// Breaks it with one sentence.
    pub fn fail(self, message: impl Into<Arc<str>>) {
        self.end.deliver(Err(PendingError { origin: self.origin, message: message.into(), cancelled: false }));
    }
    /// Breaks it with the error of something it depended on, whose origin is kept.
    pub fn fail_from(self, error: PendingError) {
        self.end.deliver(Err(error));
    }
    /// Either, from a result.
    pub fn settle(self, result: Result<T, String>) {
        match result {
            Ok(v) => self.resolve(v),
            Err(m) => self.fail(m),
        }
    }
    /// Whether every handle that could wait for it is gone.
    #[must_use]
    pub fn is_unwanted(&self) -> bool {
        match &self.end {
            // advice only: who holds one may drop it just now
            End::Place(end) => Arc::strong_count(&end.place) == 1,
            End::Through(through) => through.is_unwanted(),
        }
    }
}

impl<T> End<T> {
    fn deliver(self, result: Result<T, PendingError>) {
        match self {
            // it was not set before, for this takes the only one who may
            Self::Place(end) => drop(end.place.set(result.map(Arc::new))),
            Self::Through(through) => through.deliver(result),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_see_one_value_across_threads() {
        let (r, p) = Pending::<u32>::new("test");
        let q = p.map(|v| Ok(*v + 1));
        let t = std::thread::spawn(move || *q.wait_blocking().unwrap());
        r.resolve(41);
        assert_eq!(t.join().unwrap(), 42);
        assert_eq!(*p.wait_blocking().unwrap(), 41);
    }

    #[test]
    fn an_error_names_the_call_it_came_from() {
        let (r, p) = Pending::<u32>::new("compute(body)");
        r.fail("the model wants 24 joints, not 23");
        let e = p.map(|v| Ok(*v)).wait_blocking().unwrap_err();
        assert_eq!(e.to_string(), "the model wants 24 joints, not 23 (in compute(body))");
    }

    #[test]
    fn a_value_goes_through_a_function_though_nobody_waits() {
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let note = Arc::clone(&seen);
        let (r, p) = Pending::<String>::through("lane", move |v: u32| {
            note.lock().unwrap().push(v);
            if v > 9 { Err("too much".to_owned()) } else { Ok(v.to_string()) }
        });
        r.resolve(4);
        assert_eq!(*seen.lock().unwrap(), [4]);
        assert_eq!(*p.wait_blocking().unwrap(), "4");
        let (r, p) = Pending::<String>::through("lane", |_: u32| Err("too much".to_owned()));
        r.resolve(10);
        assert_eq!(p.wait_blocking().unwrap_err().to_string(), "too much (in lane)");
        let (r, p) = Pending::<String>::through("lane", |v: u32| Ok(v.to_string()));
        r.fail("no memory");
        assert_eq!(p.wait_blocking().unwrap_err().to_string(), "no memory (in lane)");
        let (r, p) = Pending::<String>::through("lane", |v: u32| Ok(v.to_string()));
        assert!(!r.is_unwanted());
        drop(p);
        assert!(r.is_unwanted());
        let (r, p) = Pending::<String>::through("lane", |v: u32| Ok(v.to_string()));
        drop(r);
        assert!(p.wait_blocking().unwrap_err().cancelled);
    }

    #[test]
    fn a_dropped_resolver_breaks_the_promise() {
        let (r, p) = Pending::<u32>::new("lane");
        drop(r);
        assert!(p.wait_blocking().unwrap_err().cancelled);
    }

    #[test]
    fn a_dropped_handle_makes_the_work_unwanted() {
        let (r, p) = Pending::<u32>::new("lane");
        assert!(!r.is_unwanted());
        drop(p);
        assert!(r.is_unwanted());
    }
}
