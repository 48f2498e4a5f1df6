//! Spans of a job's batches, below the job's own, so that the log tells where its time went.
//!
//! A batch ends when the guest reports progress and the next one begins there. Guests queue work and go on, so the seconds are those
//! between two reports, and a batch's own drawing and encoding may fall into the next one's.

use std::time::Instant;

use tracing::Span;

/// The batches of one attempt.
#[derive(Debug)]
pub(super) struct Batches {
    job: Span,
    open: Option<Open>,
    next: u64,
}

/// The batch that is worked on.
#[derive(Debug)]
struct Open {
    span: Span,
    begun: Instant,
    /// Frames that were done before it.
    from: u64,
}

impl Batches {
    /// No batch yet, below the job's span.
    pub(super) const fn new(job: Span) -> Self {
        Self { job, open: None, next: 0 }
    }

    /// The first batch begins now.
    pub(super) fn begin(&mut self) {
        self.next = 0;
        self.open(0);
    }

    fn open(&mut self, from: u64) {
        let empty = tracing::field::Empty;
        let span = tracing::info_span!(parent: &self.job, "batch", batch = self.next, first_frame = from, frames = empty, seconds = empty);
        self.open = Some(Open { span, begun: Instant::now(), from });
        self.next += 1;
    }

    /// So many frames of so many are done: ends the batch, and begins the next one where there is one.
    pub(super) fn reached(&mut self, done: u64, total: Option<u64>) {
        let Some(batch) = self.open.take_if(|batch| done > batch.from) else { return };
        batch.span.record("frames", done - batch.from);
        batch.span.record("seconds", batch.begun.elapsed().as_secs_f64());
        batch.span.in_scope(|| tracing::info!("batch done"));
        if total.is_none_or(|total| done < total) {
            self.open(done);
        }
    }

    /// No batch is worked on any more.
    pub(super) fn end(&mut self) {
        self.open = None;
    }
}
