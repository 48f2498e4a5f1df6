//! A network with two more sessions, each on half of the threads, that share batches of two rows and more.
//!
//! Threads that share one operation meet at its end, and ONNX Runtime's waiting thread spins until the other is there: on two
//! cores with a decoder and an encoder beside it that is time taken from them. Halves of a batch meet once an inference, and
//! sleep. A single row has no halves; it is taken by all threads, for whoever follows one person waits for each inference
//! (`docs/performance.md`).

use super::session::OrtModel;
use crate::{Model, NnError, Ports, Tensor, rows};

/// Makes the sessions for halves.
type Make = Box<dyn FnOnce() -> Result<[OrtModel; 2], NnError> + Send>;

/// A session for single rows, and two for the halves of a batch.
pub(super) struct Pair {
    name: String,
    whole: OrtModel,
    halves: Halves,
}

/// The sessions for halves, which are made when a batch first needs them: many jobs have one person at a time.
enum Halves {
    Unmade(Make),
    Made(Box<[OrtModel; 2]>),
    /// They could not be made, which was told then.
    Missing,
}

impl Pair {
    /// The session on all threads, and how to make those on half of them.
    pub(super) fn new(name: &str, whole: OrtModel, halves: impl FnOnce() -> Result<[OrtModel; 2], NnError> + Send + 'static) -> Self {
        Self { name: name.to_owned(), whole, halves: Halves::Unmade(Box::new(halves)) }
    }
}

impl Halves {
    /// The sessions, made now if need be; none where they could not be made.
    fn get(&mut self, name: &str) -> Option<&mut [OrtModel; 2]> {
        if matches!(self, Self::Unmade(_))
            && let Self::Unmade(make) = std::mem::replace(self, Self::Missing)
        {
            match make() {
                Ok(halves) => *self = Self::Made(Box::new(halves)),
                // the session on all threads can do everything alone
                Err(error) => tracing::warn!(model = name, %error, "goes on with one session"),
            }
        }
        if let Self::Made(halves) = self { Some(halves) } else { None }
    }
}

impl Model for Pair {
    fn ports(&self) -> &Ports {
        self.whole.ports()
    }

    fn notes(&self) -> &[String] {
        self.whole.notes()
    }

    fn run(&mut self, inputs: &[(String, Tensor)]) -> Result<Vec<Tensor>, NnError> {
        let Some(all) = rows::splittable(self.ports(), inputs) else { return self.whole.run(inputs) };
        let Some([first, second]) = self.halves.get(&self.name) else { return self.whole.run(inputs) };
        let (front, back) = (all - all / 2, all / 2);
        let (mine, theirs) = (rows::part(inputs, 0, front), rows::part(inputs, front, back));
        let (ahead, behind) = std::thread::scope(|scope| {
            let other = std::thread::Builder::new().name("nn".into()).spawn_scoped(scope, || second.run(&theirs));
            let ahead = first.run(&mine);
            match other {
                Ok(other) => (ahead, other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))),
                Err(e) => (ahead, Err(NnError::Lane(format!("the thread for half a batch of `{}` cannot be started: {e}", self.name)))),
            }
        });
        match rows::join(&ahead?, &behind?, front, back) {
            Some(joined) => Ok(joined),
            // an output that does not follow the batch
            None => self.whole.run(inputs),
        }
    }
}
