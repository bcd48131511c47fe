//! The seam for algorithms: a strategy sees facts and returns a choice. It does no I/O.

use crate::backend::Backend;
use std::net::IpAddr;

/// One backend that may be chosen now.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The backend and its counters.
    pub backend: &'a Backend,
    /// Its share relative to the others', now. Until backends have weights it is 1 for each.
    pub weight: f64,
}

/// What a strategy may know of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientKey {
    /// The address that the connection came from.
    pub address: IpAddr,
}

/// Chooses the backend that a request is tried on first.
///
/// Where that try fails, the next one is chosen by a
/// [`SecondChoice`](crate::rotation::SecondChoice) over the backends that are left: the strategy is asked once a request.
pub trait Strategy: Send + Sync {
    /// Index of the chosen one in `usable`, which is never empty. An index beyond its end counts
    /// as the last one.
    fn pick(&self, usable: &[Candidate<'_>], client: &ClientKey) -> usize;
}
