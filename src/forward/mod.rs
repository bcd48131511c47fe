//! Step 5: the request is sent to a backend, and the head of its reply comes back.
//!
//! Each worker has its own forwarder and connection pool, so that no worker waits for another one's pool.

pub mod agent;
pub mod connector;
pub mod forwarder;
pub mod headers;
pub mod options;
pub mod outcome;
pub mod retry;
pub mod retry_budget;
