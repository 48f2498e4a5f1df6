//! The drawing lane: one named thread that owns the graphics device and works off a bounded queue.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use futures::FutureExt;
use futures::channel::oneshot;
use futures::executor::block_on;
use futures::future::{Either, Shared, select};
use halfpipe_core::{FairClient, FairReceiver, Look, Pending, PendingError, Picture, Resolver, Size, StageClock, Taken, fair_queue};

use crate::body_pass::BodyPass;
use crate::device::{AdapterChoice, AdapterInfo, Backend, Faults, open};
use crate::draw::{DrawFailure, DrawJob, Drawn, Studio};
use crate::error::RenderError;
use crate::renderer::Renderer;
use crate::scratch::Scratch;
use crate::self_test::self_test;
use crate::topology::TopologyCache;

/// How a lane is set up.
#[derive(Debug, Clone)]
pub struct LaneConfig {
    /// Which kind of adapter.
    pub adapter: AdapterChoice,
    /// Ways to reach an adapter, in the order they are tried. Vulkan and then OpenGL, unless one is to be ruled out.
    pub backends: Vec<Backend>,
    /// Batches of one renderer that may wait in the queue before `draw` waits for room, at least 1.
    pub queue: usize,
    /// Where renderers book their stages unless they have a clock of their own.
    pub clock: StageClock,
}

impl Default for LaneConfig {
    fn default() -> Self {
        Self { adapter: AdapterChoice::Auto, backends: vec![Backend::Vulkan, Backend::Gl], queue: 2, clock: StageClock::default() }
    }
}

/// A handle to the lane. Clones share it; the last one to go, renderers included, waits for the thread to end.
///
/// Work that is still queued then is finished if its result is wanted and its frames and vertices are there already; what would
/// have to wait for them is broken off with an error.
///
/// Each renderer has a queue of its own, and renderers take turns by busy time ([`halfpipe_core::fair`]).
#[derive(Debug, Clone)]
pub struct DrawLane(Handle);

/// One client's way to the lane.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    // in this order: the last `Lane` joins a thread that ends only when no client is left
    commands: FairClient<Command>,
    pub(crate) lane: Arc<Lane>,
}

/// The lane as its handles share it.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) adapter: AdapterInfo,
    pub(crate) max_side: u32,
    pub(crate) clock: StageClock,
    faults: Faults,
    // these are there until the drop
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread is asked to do.
pub(crate) enum Command {
    /// Draw a batch.
    Draw(Box<DrawCommand>),
    /// Draw the known triangle again.
    SelfTest(oneshot::Sender<Result<(), RenderError>>),
}

impl Command {
    /// Done when everything it needs is there.
    fn ready(&self) -> impl Future<Output = ()> + Send + use<> {
        let needs = match self {
            Self::Draw(command) => {
                let DrawJob { frames, bodies, .. } = &command.job;
                Some((frames.pictures.settled(), bodies.as_ref().map(|bodies| bodies.positions.settled())))
            }
            Self::SelfTest(_) => None,
        };
        async move {
            let Some((pictures, positions)) = needs else { return };
            pictures.await;
            if let Some(positions) = positions {
                positions.await;
            }
        }
    }
}

/// A batch with everything it takes and everyone who waits for it.
pub(crate) struct DrawCommand {
    pub(crate) job: DrawJob,
    pub(crate) scratch: Arc<Mutex<Scratch>>,
    pub(crate) clock: StageClock,
    pub(crate) pictures: Resolver<Vec<Arc<Picture>>>,
    pub(crate) coverage: Resolver<Vec<u32>>,
}

/// Tells the thread that waiting is pointless: the last handle is gone.
#[derive(Debug, Clone)]
pub(crate) struct Stop(Shared<oneshot::Receiver<()>>);

impl Stop {
    /// Stops when the sender is dropped.
    pub(crate) fn new() -> (oneshot::Sender<()>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(receiver.shared()))
    }

    /// Waits for a value, or for the stop if the value is not there yet. The handle is given up before this returns.
    pub(crate) fn wait<T: Send + Sync + 'static>(&self, pending: Pending<T>) -> Result<Arc<T>, PendingError> {
        let value = pin!(pending.wait());
        match block_on(select(value, self.0.clone())) {
            Either::Left((value, _)) => value,
            Either::Right(_) => Err(PendingError {
                origin: pending.origin().into(),
                message: "the drawing lane was closed before this was there".into(),
                cancelled: true,
            }),
        }
    }
}

impl DrawLane {
    /// Opens a device, tests it, and starts the thread. Blocks until the device is ready (some tenths of a second).
    ///
    /// # Errors
    /// No adapter of the kind asked for, none that passes the self-test, or no thread.
    pub fn start(config: LaneConfig) -> Result<Self, RenderError> {
        let (commands, queue) = fair_queue(config.queue);
        let (stop_sender, stop) = Stop::new();
        let (opened_sender, opened) = std::sync::mpsc::sync_channel(1);
        let LaneConfig { adapter, backends, clock, queue: _ } = config;
        let body = move || {
            // and the software adapter's own threads, which are started here
            halfpipe_core::sched::compute_in_long_turns();
            match open_studio(adapter, &backends) {
                Ok(studio) => {
                    let facts = (studio.gpu.info.clone(), studio.gpu.max_side, studio.gpu.faults.clone());
                    // nobody listens any more only if the starting thread has died
                    if opened_sender.send(Ok(facts)).is_ok() {
                        work(studio, queue, &stop);
                    }
                }
                Err(e) => opened_sender.send(Err(e)).unwrap_or_default(),
            }
        };
        let thread = std::thread::Builder::new().name("draw".into()).spawn(body).map_err(|e| RenderError::Thread(e.to_string()))?;
        let (adapter, max_side, faults) = opened.recv().unwrap_or(Err(RenderError::Stopped))?;
        let lane = Lane { adapter, max_side, clock, faults, stop: Some(stop_sender), thread: Some(thread) };
        Ok(Self(Handle { commands, lane: Arc::new(lane) }))
    }

    /// The adapter that is drawn on.
    #[must_use]
    pub fn adapter(&self) -> &AdapterInfo {
        &self.0.lane.adapter
    }

    /// Why the device is gone for good, if it is; every draw fails with this, and only a new lane helps.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.0.lane.faults.lost()
    }

    /// Draws a known triangle through the whole path and compares what comes out, behind what is queued.
    ///
    /// # Errors
    /// What is wrong with the device, or [`RenderError::Stopped`].
    pub async fn self_test(&self) -> Result<(), RenderError> {
        let (sender, result) = oneshot::channel();
        self.0.send(Command::SelfTest(sender)).await?;
        result.await.unwrap_or(Err(RenderError::Stopped))
    }

    /// A renderer for frames of `size`. Cheap: device memory is taken when something is drawn, and freed with the renderer.
    ///
    /// `look.opacity` is 0..=1; `look.supersample` is 1, 2, or 0 for 2 on hardware and 1 on software.
    ///
    /// # Errors
    /// A size without pixels or larger than the adapter's textures, or a look out of range.
    pub fn renderer(&self, size: Size, look: Look) -> Result<Renderer, RenderError> {
        Renderer::new(self.0.another(), size, look)
    }
}

impl Handle {
    /// The same lane with a queue of its own.
    fn another(&self) -> Self {
        Self { commands: self.commands.another(), lane: Arc::clone(&self.lane) }
    }

    /// Queues a command, waiting for room.
    pub(crate) async fn send(&self, command: Command) -> Result<(), RenderError> {
        let ready = command.ready();
        self.commands.send(command, ready).await.map_err(|_| RenderError::Stopped)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the drawing thread panicked");
        }
    }
}

fn open_studio(choice: AdapterChoice, backends: &[Backend]) -> Result<Studio, RenderError> {
    open(choice, backends, |gpu| {
        let pass = BodyPass::new(&gpu);
        gpu.faults.check()?;
        let mut studio = Studio { pass, topologies: TopologyCache::default(), gpu };
        self_test(&mut studio)?;
        Ok(studio)
    })
}

/// The thread's loop: until all handles are gone and the queue is empty.
fn work(mut studio: Studio, mut queue: FairReceiver<Command>, stop: &Stop) {
    while let Some(Taken { value: command, client, .. }) = queue.take_blocking() {
        let start = Instant::now();
        match command {
            Command::Draw(command) => draw(&mut studio, *command, stop),
            // nobody waiting is fine
            Command::SelfTest(answer) => answer.send(self_test(&mut studio)).unwrap_or_default(),
        }
        studio.topologies.forget_dead();
        queue.charge(client, start.elapsed());
    }
}

fn draw(studio: &mut Studio, command: DrawCommand, stop: &Stop) {
    let DrawCommand { job, scratch, clock, pictures, coverage } = command;
    if pictures.is_unwanted() && coverage.is_unwanted() {
        return;
    }
    let mut scratch = scratch.lock().unwrap_or_else(PoisonError::into_inner);
    match studio.draw(&mut scratch, job, stop, &clock) {
        Ok(Drawn { pictures: drawn, coverage: changed }) => {
            pictures.resolve(drawn);
            coverage.resolve(changed);
        }
        Err(failure) => {
            // what a failed call left on the device is not to be relied on
            *scratch = Scratch::default();
            match failure {
                DrawFailure::Input(e) => {
                    pictures.fail_from(e.clone());
                    coverage.fail_from(e);
                }
                DrawFailure::Render(e) => {
                    let message: Arc<str> = e.to_string().into();
                    pictures.fail(Arc::clone(&message));
                    coverage.fail(message);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_device_fails_every_draw_and_is_remembered() {
        let mut studio = open_studio(AdapterChoice::Software, &[Backend::Vulkan, Backend::Gl]).unwrap();
        assert_eq!(self_test(&mut studio), Ok(()));
        studio.gpu.device.destroy();
        for _ in 0..2 {
            assert!(matches!(self_test(&mut studio), Err(RenderError::Device(_))));
        }
        assert!(studio.gpu.faults.lost().is_some());
    }

    #[test]
    fn a_stop_ends_a_wait_but_not_for_what_is_there() {
        let (sender, stop) = Stop::new();
        let (_resolver, never) = Pending::<u32>::new("decode");
        let waiter = std::thread::spawn({
            let stop = stop.clone();
            move || stop.wait(never).unwrap_err()
        });
        drop(sender);
        let error = waiter.join().unwrap();
        assert_eq!((&*error.origin, error.cancelled), ("decode", true));
        assert_eq!(*stop.wait(Pending::ready(7)).unwrap(), 7);
    }
}
