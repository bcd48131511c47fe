//! Step 5: the request is sent to a backend, and the head of its reply comes back.
//!
//! Each worker has a forwarder with a connection pool of its own, so that workers never wait for each other's pool.

pub mod agent;
pub mod connector;
pub mod forwarder;
pub mod headers;
pub mod options;
pub mod outcome;
pub mod retry;
pub mod retry_budget;
