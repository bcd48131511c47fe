//! What is recorded of requests, and how it can be seen.

pub mod access_log;
pub mod ended;
pub mod metrics;
pub mod outcome;
pub mod progress;
pub mod recent;
pub mod recorder;
pub mod worker_status;

pub use ended::Ended;
pub use outcome::Outcome;
pub use recorder::Recorder;
