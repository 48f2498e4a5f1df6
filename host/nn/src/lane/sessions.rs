//! A model's sessions, and which of them does an inference.
//!
//! Where a lane has several workers, each runs an inference on its share of the threads: that is the cheapest way, since threads that
//! share an operation wait for each other at its end. A further session of a model is made only while cores stand idle, or once workers
//! have waited for one for some time: making one takes as long as several inferences, which a short video does not get back, and while the
//! cores are busy a worker that waits leaves its core to the decoder, the encoder and the renderer. A batch is split over two sessions only
//! while cores stand idle, for that costs copies. The numbers that come out are the same in every way (`docs/performance.md` has the figures).

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::halving;
use super::spare::Spare;
use crate::{Engine, Model, NnError, Ports, Tensor, rows};

/// The sessions of one model.
pub(super) struct Sessions {
    name: String,
    ports: Ports,
    /// See [`PATIENCE`].
    patience: Duration,
    pool: Mutex<Pool>,
    returned: Condvar,
}

/// A further session is made once workers have waited for so many times as long as the first one took to load.
const PATIENCE: u32 = 4;

struct Pool {
    /// Those that nobody uses at the moment.
    idle: Vec<Box<dyn Model>>,
    /// How many more may be made.
    more: usize,
    /// For how long workers have waited for one, all together, since the last was made.
    waited: Duration,
}

/// A session while it is used.
struct Borrowed<'a> {
    sessions: &'a Sessions,
    /// None only while dropping.
    model: Option<Box<dyn Model>>,
}

impl Sessions {
    /// The first session, which took so long to load, for a lane of so many workers.
    pub(super) fn new(name: &str, first: Box<dyn Model>, loading: Duration, workers: usize) -> Self {
        Self {
            name: name.to_owned(),
            ports: first.ports().clone(),
            patience: loading * PATIENCE,
            pool: Mutex::new(Pool { idle: vec![first], more: workers.saturating_sub(1), waited: Duration::ZERO }),
            returned: Condvar::new(),
        }
    }

    /// Inputs and outputs.
    pub(super) const fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Computes all outputs; where memory runs out, in halves, whose rows are added to `halved`.
    pub(super) fn run(
        &self,
        engine: &dyn Engine,
        spare: &Spare,
        inputs: &[(String, Tensor)],
        halved: &mut u64,
    ) -> Result<Vec<Tensor>, NnError> {
        let batch = rows::splittable(&self.ports, inputs);
        let mut first = self.take(engine, spare)?;
        let second = batch.filter(|_| spare.is_there()).and_then(|rows| Some((rows, self.take_idle().or_else(|| self.make(engine))?)));
        match second {
            None => first.run(inputs, halved),
            Some((rows, mut second)) => match self.run_split(&mut first, &mut second, inputs, rows, halved)? {
                Some(outputs) => Ok(outputs),
                // an output that does not follow the batch
                None => first.run(inputs, halved),
            },
        }
    }

    /// Each of two sessions computes half of the batch; none where the halves do not make a whole.
    fn run_split(
        &self,
        first: &mut Borrowed<'_>,
        second: &mut Borrowed<'_>,
        inputs: &[(String, Tensor)],
        all: usize,
        halved: &mut u64,
    ) -> Result<Option<Vec<Tensor>>, NnError> {
        let (front, back) = (all - all / 2, all / 2);
        let (mine, theirs) = (rows::part(inputs, 0, front), rows::part(inputs, front, back));
        let mut halved_there = 0;
        let (ahead, behind) = std::thread::scope(|scope| {
            let there = || second.run(&theirs, &mut halved_there);
            let other = std::thread::Builder::new().name("nn".into()).spawn_scoped(scope, there);
            let ahead = first.run(&mine, halved);
            match other {
                Ok(other) => (ahead, other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))),
                Err(e) => (ahead, Err(NnError::Lane(format!("the thread for half a batch of `{}` cannot be started: {e}", self.name)))),
            }
        });
        *halved += halved_there;
        Ok(rows::join(&[(ahead?, front), (behind?, back)]))
    }

    /// A session; waits where all are in use, unless it is time for one more.
    fn take(&self, engine: &dyn Engine, spare: &Spare) -> Result<Borrowed<'_>, NnError> {
        loop {
            if let Some(session) = self.take_idle() {
                return Ok(session);
            }
            if (lock(&self.pool).waited >= self.patience || spare.is_there())
                && let Some(session) = self.make(engine)
            {
                return Ok(session);
            }
            let (pool, start) = (lock(&self.pool), Instant::now());
            let mut pool = self.returned.wait_while(pool, |pool| pool.idle.is_empty()).unwrap_or_else(PoisonError::into_inner);
            pool.waited += start.elapsed();
        }
    }

    /// A session that is not in use.
    fn take_idle(&self) -> Option<Borrowed<'_>> {
        let model = lock(&self.pool).idle.pop()?;
        Some(Borrowed { sessions: self, model: Some(model) })
    }

    /// One session more, if there may be.
    fn make(&self, engine: &dyn Engine) -> Option<Borrowed<'_>> {
        let mut pool = lock(&self.pool);
        if pool.more == 0 {
            return None;
        }
        pool.more -= 1;
        pool.waited = Duration::ZERO;
        drop(pool);
        match engine.load_more(&self.name)? {
            Ok(model) => Some(Borrowed { sessions: self, model: Some(model) }),
            Err(error) => {
                // the first can do everything alone
                tracing::warn!(model = self.name, %error, "goes on with fewer sessions");
                None
            }
        }
    }
}

impl Borrowed<'_> {
    fn run(&mut self, inputs: &[(String, Tensor)], halved: &mut u64) -> Result<Vec<Tensor>, NnError> {
        match &mut self.model {
            Some(model) => halving::run(model.as_mut(), &self.sessions.name, inputs, halved),
            None => Err(NnError::Lane("a session is used after it was given back".into())),
        }
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        if let Some(model) = self.model.take() {
            lock(&self.sessions.pool).idle.push(model);
            self.sessions.returned.notify_one();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeEngine;
    use crate::{Port, TensorType};

    /// A model that doubles rows of three; with `whole` its output does not follow the batch.
    fn doubling(whole: bool) -> FakeEngine {
        let port = |name: &str| Port { name: name.into(), ty: TensorType::F32, dims: vec![0, 3] };
        FakeEngine::default().with_model("double", Ports { inputs: vec![port("x")], outputs: vec![port("y")] }, move |inputs| {
            let x = &inputs[0].1;
            let dims = if whole { vec![1, x.as_f32()?.len()] } else { x.dims().to_vec() };
            Ok(vec![Tensor::from_vec(dims, x.as_f32()?.iter().map(|v| 2.0 * v).collect())?])
        })
    }

    /// What comes of so many rows, and what the engine was asked for.
    fn run(engine: &FakeEngine, spare: &Spare, rows: usize) -> (Vec<f32>, Vec<String>) {
        let sessions = Sessions::new("double", engine.load("double").unwrap(), Duration::ZERO, engine.workers());
        let before = engine.log().calls().len();
        let x = Tensor::from_vec(vec![rows, 3], (0..3 * rows).map(|i| i as f32).collect()).unwrap();
        let y = sessions.run(engine, spare, &[("x".into(), x)], &mut 0).unwrap();
        let mut calls = engine.log().calls().split_off(before);
        calls.sort();
        (y[0].as_f32().unwrap().to_vec(), calls)
    }

    #[test]
    fn a_batch_is_split_while_cores_stand_idle_and_comes_out_as_it_is() {
        let want: Vec<f32> = (0..15u8).map(|i| 2.0 * f32::from(i)).collect();
        let engine = doubling(false).with_workers(2, true);
        assert_eq!(run(&engine, &Spare::fixed(false), 5), (want.clone(), vec!["run double 5".into()]));
        let split = ["load double", "run double 2", "run double 3"].map(String::from).to_vec();
        assert_eq!(run(&engine, &Spare::fixed(true), 5), (want.clone(), split));
        assert_eq!(run(&engine, &Spare::fixed(true), 1), (want[..3].to_vec(), vec!["run double 1".into()]));
        let one = doubling(false);
        assert_eq!(run(&one, &Spare::fixed(true), 5), (want.clone(), vec!["run double 5".into()]), "there is nobody to split it with");
        let alone = doubling(false).with_workers(2, false);
        assert_eq!(run(&alone, &Spare::fixed(true), 5), (want, vec!["run double 5".into()]), "nor another session");
    }

    #[test]
    fn an_output_that_does_not_follow_the_batch_is_computed_whole() {
        let (values, calls) = run(&doubling(true).with_workers(2, true), &Spare::fixed(true), 4);
        assert_eq!(values, (0..12u8).map(|i| 2.0 * f32::from(i)).collect::<Vec<_>>());
        assert_eq!(calls, ["load double", "run double 2", "run double 2", "run double 4"]);
    }
}
