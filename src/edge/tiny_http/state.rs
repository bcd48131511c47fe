//! The state that the requests of one listener share.

use crate::edge::tiny_http::closed_connections::ClosedConnections;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize};

/// The shared counters and flags of a tiny_http edge.
pub struct TinyHttpState {
    /// The address that was bound.
    pub local: SocketAddr,
    /// Requests that await their reply.
    pub requests: AtomicUsize,
    /// Connections that were leaked together with their thread, because their drop would end the process.
    pub leaked: AtomicUsize,
    /// Set once replies carry `Connection: close`.
    pub stopping: AtomicBool,
    /// Set once the edge's threads have to end.
    pub finished: AtomicBool,
    /// Connections whose further requests are not served.
    pub closed: ClosedConnections,
}

impl TinyHttpState {
    /// Creates the state of an edge that serves on `local`, with no request yet.
    pub fn new(local: SocketAddr) -> Self {
        TinyHttpState {
            local,
            requests: AtomicUsize::new(0),
            leaked: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            finished: AtomicBool::new(false),
            closed: ClosedConnections::default(),
        }
    }
}
