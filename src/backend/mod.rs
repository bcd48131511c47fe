//! One backend: its address, its health, its counters and its limit.

pub mod address;
pub mod checks;
pub mod counters;
pub mod ejection;
pub mod health_report;
pub mod health_state;
pub mod instance;
pub mod latency;
pub mod limit;
pub mod member;
pub mod waiting_queue;
