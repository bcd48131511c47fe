//! The lifecycle of an edge: bound, started, stopped.

use crate::error::StartError;
use crate::queue::sender::JobSender;
use std::net::SocketAddr;
use std::time::Instant;

/// An edge that is bound to its addresses and not serving yet.
pub trait Edge: Send {
    /// Returns the addresses that were bound.
    fn local_addrs(&self) -> Vec<SocketAddr>;

    /// Starts serving: each valid request is offered to `jobs`.
    ///
    /// # Errors
    /// When a thread cannot be started.
    fn start(self: Box<Self>, jobs: JobSender) -> Result<Box<dyn RunningEdge>, StartError>;
}

/// A function that returns a current count.
pub type Counter = Box<dyn Fn() -> usize + Send + Sync>;

/// A running edge.
pub trait RunningEdge: Send {
    /// Makes all further replies carry `Connection: close`.
    fn announce_stop(&self);

    /// Stops accepting connections. Requests on open connections are still served.
    fn stop_accepting(&mut self);

    /// Returns a function that counts the open connections, or `None` where the edge does not know
    /// them, as with tiny_http.
    fn connections(&self) -> Option<Counter>;

    /// Returns whether no request awaits its reply.
    fn is_idle(&self) -> bool;

    /// Stops the edge's threads. Returns how many still run at the deadline.
    fn finish(self: Box<Self>, deadline: Instant) -> usize;
}
