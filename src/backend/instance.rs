//! A backend at run time: its address and role, its limit, its health and its counters.

use super::address::BackendAddress;
use super::counters::BackendCounters;
use super::health_state::HealthState;
use super::limit::InFlightLimit;
use super::waiting_queue::WaitingQueue;
use http::uri::Authority;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// The [id](Backend::id) of the next backend.
static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// A backend that requests are sent to.
#[derive(Debug)]
pub struct Backend {
    id: u64,
    address: BackendAddress,
    weight: AtomicU32,
    backup: AtomicBool,
    limit: InFlightLimit,
    health_state: HealthState,
    tries: AtomicU64,
    failures: AtomicU64,
    counters: Option<BackendCounters>,
}

impl Backend {
    /// Creates a backend of unknown health and without a limit. `queue` is where requests wait once it has one.
    pub(crate) fn new(address: BackendAddress, weight: u32, backup: bool, queue: &Arc<WaitingQueue>) -> Self {
        Backend {
            id: NEXT_ID.fetch_add(1, Relaxed),
            address,
            weight: AtomicU32::new(weight),
            backup: AtomicBool::new(backup),
            limit: InFlightLimit::new(Arc::clone(queue), usize::MAX),
            health_state: HealthState::new(Instant::now()),
            tries: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            counters: None,
        }
    }

    /// Returns this backend with counters attached.
    pub(crate) fn with_counters(self, counters: BackendCounters) -> Self {
        Backend { counters: Some(counters), ..self }
    }

    /// Returns a number that is unique within this process.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Returns host and port as in a URL: the name of the backend.
    pub fn authority(&self) -> &Authority {
        &self.address.authority
    }

    /// Returns its address.
    pub(crate) fn address(&self) -> &BackendAddress {
        &self.address
    }

    /// Returns its configured share relative to the others', without a slow start.
    pub fn weight(&self) -> u32 {
        self.weight.load(Relaxed)
    }

    /// Returns whether it is used only while no other is usable.
    pub fn is_backup(&self) -> bool {
        self.backup.load(Relaxed)
    }

    /// Changes its weight and whether it is a backup.
    pub(crate) fn set_role(&self, weight: u32, backup: bool) {
        self.weight.store(weight, Relaxed);
        self.backup.store(backup, Relaxed);
    }

    /// Returns the limit on the requests that it serves at the same time.
    pub(crate) fn limit(&self) -> &InFlightLimit {
        &self.limit
    }

    /// Returns the number of requests that it is serving.
    pub fn in_flight(&self) -> usize {
        self.limit.in_flight()
    }

    /// Returns its health.
    pub(crate) fn health_state(&self) -> &HealthState {
        &self.health_state
    }

    /// Returns the number of tries, and the number of failed tries.
    pub fn tries(&self) -> (u64, u64) {
        (self.tries.load(Relaxed), self.failures.load(Relaxed))
    }

    /// Returns its counters, or `None` if it was created without.
    pub(crate) fn counters(&self) -> Option<&BackendCounters> {
        self.counters.as_ref()
    }

    /// Counts a failed try.
    pub(crate) fn count_failure(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    /// Returns whether it is draining: it finishes its requests and gets no further ones.
    pub fn is_draining(&self) -> bool {
        self.limit.is_closed()
    }

    /// Sends it no further request until it is resumed.
    pub(crate) fn drain(&self) {
        if !self.is_draining() {
            self.limit.close();
            self.health_state.drain_changed(Instant::now());
            tracing::info!("backend {} is draining", self.authority());
            self.log_if_drained();
        }
    }

    /// Lets it get requests again.
    pub(crate) fn resume(&self) {
        if self.is_draining() {
            self.health_state.drain_changed(Instant::now());
            self.limit.open();
            tracing::info!("backend {} is resumed", self.authority());
        }
    }

    /// Takes a slot under the lower of its own limit and this one, or returns `None`.
    pub(crate) fn try_acquire(&self, limit: usize) -> Option<InFlight<'_>> {
        self.limit.try_acquire_within(limit).then(|| self.in_flight_guard())
    }

    /// Counts a try and returns the guard for a slot that has already been acquired.
    pub(crate) fn in_flight_guard(&self) -> InFlight<'_> {
        self.tries.fetch_add(1, Relaxed);
        InFlight(self)
    }

    fn log_if_drained(&self) {
        if self.is_draining() && self.in_flight() == 0 {
            tracing::info!("backend {} is drained: no request is in flight", self.authority());
        }
    }
}

/// A request that a backend is serving. Releases its slot when dropped, also on a panic.
#[derive(Debug)]
pub struct InFlight<'a>(&'a Backend);

impl<'a> InFlight<'a> {
    /// Returns the backend that serves the request.
    pub fn backend(&self) -> &'a Backend {
        self.0
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.limit.release();
        self.0.log_if_drained();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn backend() -> Backend {
        Backend::new("127.0.0.1:1".parse::<SocketAddr>().unwrap().into(), 1, false, &Arc::default())
    }

    #[test]
    fn a_request_releases_its_slot_on_a_panic() {
        let backend = backend();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _guard = backend.try_acquire(usize::MAX).unwrap();
            assert_eq!(backend.in_flight(), 1);
            std::panic::resume_unwind(Box::new("on purpose"));
        }));
        assert!(outcome.is_err());
        assert_eq!(backend.in_flight(), 0);
    }

    #[test]
    fn a_draining_backend_finishes_its_requests_and_gets_no_further_one() {
        let backend = backend();
        let request = backend.try_acquire(usize::MAX).unwrap();
        backend.drain();
        assert!(backend.try_acquire(usize::MAX).is_none());
        assert_eq!(backend.in_flight(), 1);
        drop(request);
        assert_eq!(backend.in_flight(), 0);
        backend.resume();
        assert!(backend.try_acquire(usize::MAX).is_some());
    }
}
