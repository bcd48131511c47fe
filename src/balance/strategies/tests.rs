//! Fixtures for tests of strategies.

use crate::backend::instance::{Backend, InFlight};
use crate::balance::strategy::{Candidate, ClientKey, Strategy};

/// Returns backends whose addresses are never connected to.
pub fn backends(count: u16) -> Vec<Backend> {
    let address = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port)).into();
    let queue = std::sync::Arc::default();
    (1..=count).map(|port| Backend::new(address(port), 1, false, &queue)).collect()
}

/// Returns all of them with a weight of 1.
pub fn candidates(backends: &[Backend]) -> Vec<Candidate<'_>> {
    backends.iter().map(|backend| Candidate { backend, weight: 1.0 }).collect()
}

/// Returns clients with distinct addresses.
pub fn clients(count: u32) -> impl Iterator<Item = ClientKey> {
    (0..count).map(|number| ClientKey { address: std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).into() })
}

/// Sends one request per tick for a thousand ticks to backends that take this many ticks each, and returns the
/// number of requests that each one got.
pub fn served(strategy: &dyn Strategy, ticks: &[usize]) -> Vec<usize> {
    let backends = backends(ticks.len().try_into().unwrap());
    let mut in_flight: Vec<(usize, InFlight<'_>)> = Vec::new();
    let mut served = vec![0; ticks.len()];
    for (now, client) in clients(1000).enumerate() {
        in_flight.retain(|(until, _)| *until > now);
        let choice = strategy.pick(&candidates(&backends), &client);
        in_flight.push((now + ticks[choice], backends[choice].try_acquire(usize::MAX).unwrap()));
        served[choice] += 1;
    }
    served
}
