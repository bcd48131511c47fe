//! Records how requests end, and shows it: access log, metrics, recent requests, and what each worker is serving.

pub mod access_log;
pub mod ended;
pub mod metrics;
pub mod outcome;
pub mod progress;
pub mod recent;
pub mod recorder;
pub mod worker_status;
