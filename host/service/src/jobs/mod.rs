//! Durable jobs: one record an object, changed by conditional puts, worked on under a lease.

mod batches;
pub mod dispatcher;
pub mod ledger;
pub mod record;
pub mod sweep;
pub mod work;

pub use dispatcher::{Dispatcher, DispatcherConfig};
pub use ledger::{Ledger, LedgerError};
pub use record::{JobError, Lease, ProgressRecord, Record, Spec, State, Submission, Wanted};
