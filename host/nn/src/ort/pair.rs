//! Two sessions of one network, each on half of the threads, that share batches of two rows and more.
//!
//! Threads that share one operation meet at its end, and ONNX Runtime's waiting thread spins until the other is there: on two
//! cores with a decoder and an encoder beside it that is time taken from them (`docs/performance.md`). Halves of a batch meet
//! once an inference, and sleep.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::session::OrtModel;
use crate::{Model, NnError, Ports, Tensor, rows};

/// Makes the second session.
type Make = Box<dyn FnOnce() -> Result<OrtModel, NnError> + Send>;

/// A session here, and one on a thread of its own.
pub(super) struct Pair {
    name: String,
    first: OrtModel,
    second: Second,
}

/// The other session, which is made when a batch first needs it: many jobs have one person at a time.
enum Second {
    Unmade(Make),
    Made(Partner),
    /// It could not be made, which was told then.
    Missing,
}

impl Pair {
    /// A session, and how to make one more like it.
    pub(super) fn new(name: &str, first: OrtModel, second: impl FnOnce() -> Result<OrtModel, NnError> + Send + 'static) -> Self {
        Self { name: name.to_owned(), first, second: Second::Unmade(Box::new(second)) }
    }
}

impl Second {
    /// The session, made now if need be; none where it could not be made.
    fn get(&mut self, name: &str) -> Option<&mut Partner> {
        if matches!(self, Self::Unmade(_))
            && let Self::Unmade(make) = std::mem::replace(self, Self::Missing)
        {
            match make().and_then(|model| Partner::start(name, model)) {
                Ok(partner) => *self = Self::Made(partner),
                // the first one can do everything alone
                Err(error) => tracing::warn!(model = name, %error, "goes on with one session"),
            }
        }
        if let Self::Made(partner) = self { Some(partner) } else { None }
    }
}

/// The second session's thread.
struct Partner {
    name: String,
    /// None once it is being dropped, which is what ends the thread.
    requests: Option<SyncSender<Vec<(String, Tensor)>>>,
    replies: Receiver<Result<Vec<Tensor>, NnError>>,
    thread: Option<JoinHandle<()>>,
}

impl Partner {
    fn start(name: &str, mut model: OrtModel) -> Result<Self, NnError> {
        let (requests, work) = sync_channel::<Vec<(String, Tensor)>>(1);
        let (done, replies) = sync_channel(1);
        let body = move || {
            for inputs in work {
                if done.send(model.run(&inputs)).is_err() {
                    break;
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("nn".into())
            .spawn(body)
            .map_err(|e| NnError::Lane(format!("the thread of the second session of `{name}` cannot be started: {e}")))?;
        Ok(Self { name: name.to_owned(), requests: Some(requests), replies, thread: Some(thread) })
    }

    fn gone(&self) -> NnError {
        NnError::Engine { model: self.name.clone(), message: "the thread of its second session ended; start the program again".into() }
    }

    /// Runs `mine` here and `theirs` on the other thread, at once.
    fn share(
        &mut self,
        first: &mut OrtModel,
        mine: &[(String, Tensor)],
        theirs: Vec<(String, Tensor)>,
    ) -> Result<[Vec<Tensor>; 2], NnError> {
        let requests = self.requests.as_ref().ok_or_else(|| self.gone())?;
        requests.send(theirs).map_err(|_| self.gone())?;
        let front = first.run(mine);
        // the other half is waited for whatever became of this one, or its answer would be taken for the next batch's
        let back = self.replies.recv().map_err(|_| self.gone())?;
        Ok([front?, back?])
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(model = self.name, "the thread of its second session panicked");
        }
    }
}

impl Model for Pair {
    fn ports(&self) -> &Ports {
        self.first.ports()
    }

    fn notes(&self) -> &[String] {
        self.first.notes()
    }

    fn run(&mut self, inputs: &[(String, Tensor)]) -> Result<Vec<Tensor>, NnError> {
        let Some(all) = rows::splittable(self.ports(), inputs) else { return self.first.run(inputs) };
        let Some(partner) = self.second.get(&self.name) else { return self.first.run(inputs) };
        let (front, back) = (all - all / 2, all / 2);
        let outputs = partner.share(&mut self.first, &rows::part(inputs, 0, front), rows::part(inputs, front, back))?;
        match rows::join(&outputs[0], &outputs[1], front, back) {
            Some(joined) => Ok(joined),
            // an output that does not follow the batch
            None => self.first.run(inputs),
        }
    }
}
