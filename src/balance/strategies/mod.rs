//! The seam for algorithms: a strategy sees facts and returns a choice. It does no I/O.
//!
//! Round robin is the one to read first: [`rotation`](crate::balance::rotation). The others each have a short file here.

pub mod client_hash;
pub mod least_connections;
pub mod power_of_two;
pub mod weighted_round_robin;

use crate::backend::Backend;
use std::net::IpAddr;

/// One backend that may be chosen now.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The backend and its counters.
    pub backend: &'a Backend,
    /// Its share relative to the others', now: less than usual while it starts slowly.
    pub weight: f64,
}

impl Candidate<'_> {
    /// Requests that it is serving, for its share.
    pub fn load(&self) -> f64 {
        self.backend.in_flight() as f64 / self.weight
    }
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
/// [`SecondChoice`](crate::balance::rotation::SecondChoice) over the backends that are left: the strategy is asked once a request.
pub trait Strategy: Send + Sync {
    /// Index of the chosen one in `usable`, which is never empty. An index beyond its end counts
    /// as the last one.
    fn pick(&self, usable: &[Candidate<'_>], client: &ClientKey) -> usize;

    /// What it is called, as the command line has it.
    fn name(&self) -> &'static str {
        "custom"
    }

    /// Which of so many usable ones is the next to be chosen, if that is settled beforehand: for those who watch. It is asked
    /// while workers are choosing, and must not hold them up.
    fn next(&self, _usable: usize) -> Option<usize> {
        None
    }

    /// Does it look at weights? Where it does not, setting one is a mistake, and is refused.
    fn uses_weights(&self) -> bool {
        true
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::backend::InFlight;

    /// Backends that are nowhere.
    pub fn backends(count: u16) -> Vec<Backend> {
        let place = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port)).into();
        let room = std::sync::Arc::default();
        (1..=count).map(|port| Backend::new(place(port), 1, false, &room)).collect()
    }

    /// All of them, with the same weight.
    pub fn candidates(backends: &[Backend]) -> Vec<Candidate<'_>> {
        backends.iter().map(|backend| Candidate { backend, weight: 1.0 }).collect()
    }

    /// Clients with addresses of their own.
    pub fn clients(count: u32) -> impl Iterator<Item = ClientKey> {
        (0..count)
            .map(|number| ClientKey { address: std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).into() })
    }

    /// Serves requests for a thousand ticks: one comes with each, and a backend takes so many ticks. How many
    /// each of them got.
    pub fn served(strategy: &dyn Strategy, ticks: &[usize]) -> Vec<usize> {
        let backends = backends(ticks.len().try_into().unwrap());
        let mut under_way: Vec<(usize, InFlight<'_>)> = Vec::new();
        let mut served = vec![0; ticks.len()];
        for (now, client) in clients(1000).enumerate() {
            under_way.retain(|(until, _)| *until > now);
            let choice = strategy.pick(&candidates(&backends), &client);
            under_way.push((now + ticks[choice], backends[choice].enter(usize::MAX).unwrap()));
            served[choice] += 1;
        }
        served
    }
}
