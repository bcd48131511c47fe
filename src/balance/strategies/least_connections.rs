//! Least connections: the backend with the fewest requests in flight for its weight.

use crate::balance::rotation::Rotation;
use crate::balance::strategy::{Candidate, ClientKey, Strategy};

/// Selects the backend with the fewest requests in flight for its weight. Backends with equal load take turns; otherwise
/// the first in the list would get every request under light load.
///
/// The counters are read one after the other while other workers change them, so two simultaneous requests may select
/// the same backend. The next request sees both.
#[derive(Debug, Default)]
pub struct LeastConnections {
    turns: Rotation,
}

impl Strategy for LeastConnections {
    fn pick(&self, usable: &[Candidate<'_>], _client: &ClientKey) -> usize {
        let loads: Vec<f64> = usable.iter().map(Candidate::load).collect();
        let least = loads.iter().copied().fold(f64::INFINITY, f64::min);
        let equals: Vec<usize> = (0..loads.len()).filter(|&index| loads[index] <= least).collect();
        equals.get(self.turns.turn(equals.len())).copied().unwrap_or_default()
    }

    fn name(&self) -> &'static str {
        "least-connections"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::strategies::tests::{backends, candidates, clients, served};

    #[test]
    fn equally_loaded_backends_take_turns() {
        let backends = backends(3);
        let strategy = LeastConnections::default();
        let picks: Vec<_> = clients(6).map(|client| strategy.pick(&candidates(&backends), &client)).collect();
        assert_eq!(picks, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn picks_the_lowest_load_for_its_weight() {
        let backends = backends(3);
        let strategy = LeastConnections::default();
        let client = clients(1).next().unwrap();
        let _busy = [
            backends[0].try_acquire(usize::MAX).unwrap(),
            backends[0].try_acquire(usize::MAX).unwrap(),
            backends[2].try_acquire(usize::MAX).unwrap(),
        ];
        assert_eq!(strategy.pick(&candidates(&backends), &client), 1);
        let _busier =
            [backends[1].try_acquire(usize::MAX).unwrap(), backends[1].try_acquire(usize::MAX).unwrap()];
        let mut weighted = candidates(&backends);
        assert_eq!(strategy.pick(&weighted, &client), 2);
        weighted[0].weight = 4.0; // two requests for a weight of four: half a request each
        assert_eq!(strategy.pick(&weighted, &client), 0);
    }

    #[test]
    fn a_backend_that_is_ten_times_slower_gets_a_tenth() {
        // Requests come twice as fast as the fast one alone could serve them one at a time.
        let served = served(&LeastConnections::default(), &[2, 20]);
        assert!((60..=240).contains(&served[1]), "{served:?}");
        assert_eq!(served.iter().sum::<usize>(), 1000);
    }

    #[test]
    fn equally_fast_backends_get_equal_shares() {
        for share in served(&LeastConnections::default(), &[3, 3, 3, 3]) {
            assert!((230..=270).contains(&share), "{share} of 1000");
        }
    }
}
