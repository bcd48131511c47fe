//! Client hash: a client's requests go to the same backend.

use crate::balance::strategy::{Candidate, ClientKey, Strategy};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use std::net::IpAddr;

/// Rendezvous hashing on the client's address: client and backend together give a number, and the backend with
/// the highest wins (Thaler and Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", 1998).
///
/// When a backend is removed, only its own clients move, and they return with it: no other number changes. The numbers
/// depend on addresses alone, so several balancers agree, before and after a restart.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClientHash;

impl Strategy for ClientHash {
    fn pick(&self, usable: &[Candidate<'_>], client: &ClientKey) -> usize {
        let scores = usable.iter().map(|candidate| score(candidate, client.address));
        let best = scores.enumerate().max_by(|(_, one), (_, other)| one.total_cmp(other));
        best.map_or(0, |(index, _)| index)
    }

    fn name(&self) -> &'static str {
        "client-hash"
    }
}

/// Returns a score. The logarithm makes a backend of twice the weight win twice as often (Schindelhauer and Schomaker,
/// "Weighted Distributed Hash Tables", 2005).
fn score(candidate: &Candidate<'_>, client: IpAddr) -> f64 {
    let mut hasher = SipHasher13::new();
    match client.to_canonical() {
        IpAddr::V4(address) => hasher.write(&address.octets()),
        IpAddr::V6(address) => hasher.write(&address.octets()),
    }
    hasher.write(candidate.backend.authority().as_str().as_bytes());
    // 53 bits, and never 0: a number between 0 and 1 that a float holds exactly.
    let drawn = ((hasher.finish() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -candidate.weight / drawn.ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::strategies::tests::{backends, candidates, clients};

    fn choices(usable: &[Candidate<'_>]) -> Vec<usize> {
        clients(8000).map(|client| ClientHash.pick(usable, &client)).collect()
    }

    fn share(choices: &[usize], index: usize) -> usize {
        choices.iter().filter(|&&choice| choice == index).count()
    }

    #[test]
    fn a_client_keeps_its_backend_and_clients_spread_evenly() {
        let backends = backends(4);
        let chosen = choices(&candidates(&backends));
        assert_eq!(chosen, choices(&candidates(&backends)));
        for index in 0..4 {
            // 2000, give or take 5 times 39.
            assert!((1805..=2195).contains(&share(&chosen, index)), "{}", share(&chosen, index));
        }
    }

    #[test]
    fn a_backend_that_leaves_moves_only_its_own_clients() {
        let backends = backends(4);
        let all = candidates(&backends);
        let left: Vec<_> =
            all.iter().copied().filter(|one| !std::ptr::eq(one.backend, &raw const backends[2])).collect();
        let (before, after) = (choices(&all), choices(&left));
        for (before, after) in before.iter().zip(&after).filter(|(before, _)| **before != 2) {
            let after = if *after < 2 { *after } else { after + 1 };
            assert_eq!(*before, after);
        }
        let moved: Vec<_> =
            before.iter().zip(after).filter(|(before, _)| **before == 2).map(|(_, after)| after).collect();
        for index in 0..3 {
            // A third of some 2000 each, give or take 5 times 21.
            let share = share(&moved, index);
            assert!(
                (moved.len() / 3 - 105..=moved.len() / 3 + 105).contains(&share),
                "{share} of {}",
                moved.len()
            );
        }
    }

    #[test]
    fn a_weight_of_three_gets_three_times_the_clients() {
        let backends = backends(2);
        let mut weighted = candidates(&backends);
        weighted[1].weight = 3.0;
        // 6000, give or take 5 times 39.
        let share = share(&choices(&weighted), 1);
        assert!((5805..=6195).contains(&share), "{share}");
    }

    #[test]
    fn an_ipv4_mapped_address_counts_as_ipv4() {
        let backends = backends(16);
        let usable = candidates(&backends);
        for client in clients(50) {
            let IpAddr::V4(address) = client.address else { panic!("{client:?}") };
            let mapped = ClientKey { address: address.to_ipv6_mapped().into() };
            assert_eq!(ClientHash.pick(&usable, &client), ClientHash.pick(&usable, &mapped));
        }
    }
}
