//! Power of two choices: the less loaded of two random backends.

use crate::balance::strategy::{Candidate, ClientKey, Strategy};

/// Draws two backends at random and selects the one with fewer requests in flight for its weight.
///
/// The result is almost as even as with [least connections](super::least_connections::LeastConnections), without its herd effect: several
/// balancers that see the same least loaded backend would all send their requests to it (Mitzenmacher, "The Power of Two
/// Choices in Randomized Load Balancing", 2001). It reads two counters, whatever the number of backends.
#[derive(Clone, Copy, Debug, Default)]
pub struct PowerOfTwo;

impl Strategy for PowerOfTwo {
    fn pick(&self, usable: &[Candidate<'_>], _client: &ClientKey) -> usize {
        if usable.len() < 2 {
            return 0;
        }
        let one = fastrand::usize(..usable.len());
        // Any of the others: the indices from `one` on are shifted by one.
        let other = fastrand::usize(..usable.len() - 1);
        let other = if other < one { other } else { other + 1 };
        if usable[other].load() < usable[one].load() { other } else { one }
    }

    fn name(&self) -> &'static str {
        "power-of-two"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::strategies::tests::{backends, candidates, clients, served};

    #[test]
    fn never_picks_the_busier_of_two() {
        let backends = backends(2);
        let _busy = backends[0].try_acquire(usize::MAX).unwrap();
        for client in clients(100) {
            assert_eq!(PowerOfTwo.pick(&candidates(&backends), &client), 1);
        }
    }

    #[test]
    fn never_picks_the_busiest_of_many_and_the_idlest_most_often() {
        let backends = backends(4);
        let _busy = [
            backends[0].try_acquire(usize::MAX).unwrap(),
            backends[0].try_acquire(usize::MAX).unwrap(),
            backends[1].try_acquire(usize::MAX).unwrap(),
            backends[2].try_acquire(usize::MAX).unwrap(),
        ];
        let mut chosen = [0; 4];
        for client in clients(2000) {
            chosen[PowerOfTwo.pick(&candidates(&backends), &client)] += 1;
        }
        assert_eq!(chosen[0], 0, "the other one drawn is always less busy");
        // It is among the two in half of the draws: 1000, give or take 7 times 22.
        assert!((846..=1154).contains(&chosen[3]), "{chosen:?}");
    }

    #[test]
    fn equal_backends_get_equal_shares_and_a_slow_one_gets_less() {
        for share in served(&PowerOfTwo, &[3, 3, 3, 3]) {
            assert!((180..=320).contains(&share), "{share} of 1000");
        }
        let served = served(&PowerOfTwo, &[2, 20]);
        assert!(served[1] < 240, "{served:?}");
    }

    #[test]
    fn picks_the_only_backend() {
        let backends = backends(1);
        assert_eq!(PowerOfTwo.pick(&candidates(&backends), &clients(1).next().unwrap()), 0);
    }
}
