//! What is recorded of requests, and how it can be seen.

pub mod access_log;
mod ended;
pub mod metrics;
mod progress;
pub mod recent;
mod recorder;
pub mod worker_status;

pub use ended::Ended;
pub use progress::{Progress, Sent};
pub use recorder::{Outcome, Recorder};
