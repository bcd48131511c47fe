//! How any edge is bound, started and ended. What it does in between is in its own module.

use super::Options;
use super::parked::ParkedEdge;
use super::tiny::TinyEdge;
use crate::error::StartError;
use crate::queue::Door;
use std::net::SocketAddr;
use std::time::Instant;

/// Which edge takes requests in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A thread for each connection: the one to read first.
    TinyHttp,
    /// A fixed number of threads, however many connections: the one for real traffic.
    Parked,
}

impl Kind {
    /// What it is called, as the command line has it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::TinyHttp => "tiny-http",
            Kind::Parked => "parked",
        }
    }
}

/// An edge that has its addresses, and is not serving yet.
pub trait Edge: Send {
    /// The addresses that were bound.
    fn local_addrs(&self) -> Vec<SocketAddr>;

    /// Starts serving: every request that comes is offered at the door.
    ///
    /// # Errors
    /// When a thread cannot be started.
    fn start(self: Box<Self>, door: Door) -> Result<Box<dyn Running>, StartError>;
}

/// Says how many there are at the moment.
pub type Counter = Box<dyn Fn() -> usize + Send + Sync>;

/// An edge at work.
pub trait Running: Send {
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

/// Binds the addresses, in order. So many workers may wait for slow clients at a time, where an edge
/// can tell.
///
/// # Errors
/// When an address cannot be bound.
pub fn bind(
    kind: Kind,
    addresses: &[SocketAddr],
    options: &Options,
    permits: usize,
) -> Result<Vec<Box<dyn Edge>>, StartError> {
    match kind {
        Kind::Parked => Ok(vec![Box::new(ParkedEdge::bind(addresses, options, permits)?)]),
        Kind::TinyHttp => {
            let edges = addresses.iter().map(|address| TinyEdge::bind(*address, options));
            edges.map(|edge| edge.map(|edge| Box::new(edge) as Box<dyn Edge>)).collect()
        }
    }
}
