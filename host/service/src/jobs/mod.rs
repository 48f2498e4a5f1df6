//! Durable jobs: one record an object, changed by conditional puts, worked on under a lease.

mod batches;
pub mod dispatcher;
pub mod ledger;
pub(crate) mod live;
pub mod record;
pub mod sweep;
pub(crate) mod windows;
pub mod work;

pub use dispatcher::{Dispatcher, DispatcherConfig};
pub use ledger::{Ledger, LedgerError};
pub use record::{JobError, Lease, Parts, ProgressRecord, Record, Spec, Split, State, Submission, Wanted};
