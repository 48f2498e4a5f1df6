//! Jobs by messages: a worker that takes messages from a queue and works on the jobs they lead to, and what a front door sends.
//!
//! A message is a hint, never the job itself: either `{"job": "<id>"}`, which names a record of the ledger, or a storage event, of
//! which the planner makes jobs. What is done is decided by the ledger alone, with the same leases and the same code as everywhere
//! else, so a message that comes twice, late, or never, changes nothing: [`Worker`] looks into the ledger by itself when the queue
//! is empty.

mod attend;
mod back_off;
mod hint;
mod probes;
mod protect;
mod status;
mod visit;
mod worker;

pub use attend::{Attendant, ComesAgain};
pub use back_off::BackOff;
pub use hint::job_message;
pub use probes::probes;
pub use protect::Protect;
pub use status::{Part, Stage, Status};
pub use worker::{Worker, WorkerConfig, WorkerError};
