//! How any edge is bound, started and ended. What it does in between is in its own module.

use crate::error::StartError;
use crate::queue::JobSender;
use std::net::SocketAddr;
use std::time::Instant;

/// An edge that has its addresses, and is not serving yet.
pub trait Edge: Send {
    /// The addresses that were bound.
    fn local_addrs(&self) -> Vec<SocketAddr>;

    /// Starts serving: every request that comes is offered at the jobs.
    ///
    /// # Errors
    /// When a thread cannot be started.
    fn start(self: Box<Self>, jobs: JobSender) -> Result<Box<dyn RunningEdge>, StartError>;
}

/// Says how many there are at the moment.
pub type Counter = Box<dyn Fn() -> usize + Send + Sync>;

/// An edge at work.
pub trait RunningEdge: Send {
    /// From now on, replies say `Connection: close`.
    fn announce_stop(&self);

    /// Accepts no further connection. Requests on those that are open are still served.
    fn stop_accepting(&mut self);

    /// What counts the connections that are open, where the edge knows: tiny_http does not say.
    fn connections(&self) -> Option<Counter>;

    /// Is no request waiting for its reply?
    fn is_idle(&self) -> bool;

    /// Ends the edge's threads, and returns how many were still at work at the deadline.
    fn finish(self: Box<Self>, deadline: Instant) -> usize;
}
