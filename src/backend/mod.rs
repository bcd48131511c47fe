//! One backend: where it is, how many requests it is serving, and whether it may get another one.

pub mod checks;
pub mod counters;
pub mod ejection;
mod health_state;
pub mod latency;
pub mod limit;
mod member;

use crate::backend::limit::{Slots, WaitingRoom};
use counters::BackendCounters;
pub use health_state::{Change, HealthState, Report, Usable};
use http::uri::Authority;
pub use member::{BackendUrl, BadBackendUrl, BadMember, MOST_WEIGHT, Member};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// The next backend's [id](Backend::id).
static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// Where a backend is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendAddress {
    /// Host and port, as they stand in a URL: what the backend is called.
    pub authority: Authority,
    /// Its addresses; never empty. A connection is tried on each in turn.
    pub addresses: Vec<SocketAddr>,
}

impl From<SocketAddr> for BackendAddress {
    fn from(address: SocketAddr) -> Self {
        let text = match address.ip() {
            IpAddr::V4(ip) => format!("{ip}:{}", address.port()),
            IpAddr::V6(ip) => format!("[{ip}]:{}", address.port()),
        };
        // Always one: digits, dots, and colons in brackets.
        let authority = text.parse().unwrap_or_else(|_| Authority::from_static("localhost"));
        BackendAddress { authority, addresses: vec![address] }
    }
}

/// A backend that requests are sent to.
#[derive(Debug)]
pub struct Backend {
    id: u64,
    place: BackendAddress,
    weight: AtomicU32,
    backup: AtomicBool,
    slots: Slots,
    health_state: HealthState,
    tries: AtomicU64,
    failures: AtomicU64,
    counters: Option<BackendCounters>,
}

impl Backend {
    /// A backend that nothing is known of yet, with any number of slots. Who finds them taken waits in this room.
    pub fn new(place: BackendAddress, weight: u32, backup: bool, room: &Arc<WaitingRoom>) -> Self {
        Backend {
            id: NEXT_ID.fetch_add(1, Relaxed),
            place,
            weight: AtomicU32::new(weight),
            backup: AtomicBool::new(backup),
            slots: Slots::new(Arc::clone(room), usize::MAX),
            health_state: HealthState::new(Instant::now()),
            tries: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            counters: None,
        }
    }

    /// The same backend, with what is counted of it.
    pub fn counted(self, counters: BackendCounters) -> Self {
        Backend { counters: Some(counters), ..self }
    }

    /// A number that no other backend of this process has or had.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Host and port, as they stand in a URL.
    pub fn authority(&self) -> &Authority {
        &self.place.authority
    }

    /// Where it is.
    pub fn place(&self) -> &BackendAddress {
        &self.place
    }

    /// Its share relative to the others', before any ramp.
    pub fn weight(&self) -> u32 {
        self.weight.load(Relaxed)
    }

    /// Is it used only when no other is usable?
    pub fn is_backup(&self) -> bool {
        self.backup.load(Relaxed)
    }

    /// Gives it another part to play.
    pub fn set_part(&self, weight: u32, backup: bool) {
        self.weight.store(weight, Relaxed);
        self.backup.store(backup, Relaxed);
    }

    /// Its slots: how many requests it is serving now, and how many those may be.
    pub fn slots(&self) -> &Slots {
        &self.slots
    }

    /// How many requests it is serving now.
    pub fn in_flight(&self) -> usize {
        self.slots.taken()
    }

    /// What is known of how it does.
    pub fn health_state(&self) -> &HealthState {
        &self.health_state
    }

    /// How many tries it has got, and how many of them failed.
    pub fn tries(&self) -> (u64, u64) {
        (self.tries.load(Relaxed), self.failures.load(Relaxed))
    }

    /// What is counted of it, if somebody counts.
    pub fn counters(&self) -> Option<&BackendCounters> {
        self.counters.as_ref()
    }

    /// Counts a try that failed.
    pub fn count_failure(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    /// Has it been asked to finish what it has and take nothing more?
    pub fn is_draining(&self) -> bool {
        self.slots.is_closed()
    }

    /// Sends it nothing more, until it is resumed.
    pub fn drain(&self) {
        if !self.is_draining() {
            self.slots.close();
            self.health_state.turned(Instant::now());
            tracing::info!("backend {} is draining", self.authority());
            self.tell_if_drained();
        }
    }

    /// Lets it take requests again.
    pub fn resume(&self) {
        if self.is_draining() {
            self.health_state.turned(Instant::now());
            self.slots.open();
            tracing::info!("backend {} is used again", self.authority());
        }
    }

    /// Takes one of its slots if there is one for this request; at most so many may be taken.
    pub fn enter(&self, most: usize) -> Option<InFlight<'_>> {
        self.slots.try_enter_within(most).then(|| self.entered())
    }

    /// Stands for a slot that has been taken.
    pub fn entered(&self) -> InFlight<'_> {
        self.tries.fetch_add(1, Relaxed);
        InFlight(self)
    }

    fn tell_if_drained(&self) {
        if self.is_draining() && self.in_flight() == 0 {
            tracing::info!("backend {} is drained: it serves no request any more", self.authority());
        }
    }
}

/// One request that a backend is serving: counts itself out when dropped, on a panic too.
#[derive(Debug)]
pub struct InFlight<'a>(&'a Backend);

impl<'a> InFlight<'a> {
    /// The backend that is serving it.
    pub fn backend(&self) -> &'a Backend {
        self.0
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.slots.leave();
        self.0.tell_if_drained();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend() -> Backend {
        Backend::new("127.0.0.1:1".parse::<SocketAddr>().unwrap().into(), 1, false, &Arc::default())
    }

    #[test]
    fn an_address_is_called_what_stands_in_a_url() {
        for (address, name) in [("127.0.0.1:80", "127.0.0.1:80"), ("[::1]:81", "[::1]:81")] {
            let place = BackendAddress::from(address.parse::<SocketAddr>().unwrap());
            assert_eq!(place.authority, name);
        }
    }

    #[test]
    fn a_request_counts_itself_out_on_a_panic_too() {
        let backend = backend();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _guard = backend.enter(usize::MAX).unwrap();
            assert_eq!(backend.in_flight(), 1);
            std::panic::resume_unwind(Box::new("on purpose"));
        }));
        assert!(outcome.is_err());
        assert_eq!(backend.in_flight(), 0);
    }

    #[test]
    fn a_draining_backend_finishes_what_it_has_and_gets_nothing_new() {
        let backend = backend();
        let request = backend.enter(usize::MAX).unwrap();
        backend.drain();
        assert!(backend.enter(usize::MAX).is_none());
        assert_eq!(backend.in_flight(), 1);
        drop(request);
        assert_eq!(backend.in_flight(), 0);
        backend.resume();
        assert!(backend.enter(usize::MAX).is_some());
    }
}
