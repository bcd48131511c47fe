//! The interface of the selection algorithms: a strategy reads facts and returns a choice. It does no I/O.

use crate::backend::instance::Backend;
use std::net::IpAddr;

/// A backend that may be selected now.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The backend and its counters.
    pub backend: &'a Backend,
    /// Its current share relative to the others': lower than its weight during a slow start.
    pub weight: f64,
}

impl Candidate<'_> {
    /// Returns its requests in flight, divided by its weight.
    pub fn load(&self) -> f64 {
        self.backend.in_flight() as f64 / self.weight
    }
}

/// The facts about a client that a strategy may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientKey {
    /// The peer address of its connection.
    pub address: IpAddr,
}

/// Selects the backend that a request is tried on first.
///
/// A strategy is called once per request. After a failed try, a [`SecondChoice`](crate::balance::rotation::SecondChoice)
/// selects among the remaining backends.
pub trait Strategy: Send + Sync {
    /// Returns the index of a backend in `usable`, which is never empty. An index beyond its end counts as the last.
    fn pick(&self, usable: &[Candidate<'_>], client: &ClientKey) -> usize;

    /// Returns its name, as on the command line.
    fn name(&self) -> &'static str {
        "custom"
    }

    /// Returns the index that it will pick next among this number of usable backends, or `None` if that is not known
    /// beforehand. For display; it is called while workers pick and must not delay them.
    fn next(&self, _usable: usize) -> Option<usize> {
        None
    }

    /// Returns whether it uses weights. Where it does not, a configured weight is refused as a mistake.
    fn uses_weights(&self) -> bool {
        true
    }
}
