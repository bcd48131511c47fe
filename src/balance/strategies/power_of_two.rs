//! The better of two, drawn by lot.

use super::{Candidate, ClientKey, Strategy};

/// Draws two backends and takes the one with fewer requests under way for its weight.
///
/// Almost as even as looking at all of them, and without their fault: many balancers that all see the same
/// least busy backend all run to it (Mitzenmacher, "The Power of Two Choices in Randomized Load
/// Balancing", 2001). And it looks at two counters, however many backends there are.
#[derive(Clone, Copy, Debug, Default)]
pub struct PowerOfTwo;

impl Strategy for PowerOfTwo {
    fn pick(&self, usable: &[Candidate<'_>], _client: &ClientKey) -> usize {
        if usable.len() < 2 {
            return 0;
        }
        let one = fastrand::usize(..usable.len());
        // Any of the others: those behind it move up by one.
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
    use super::super::tests::{backends, candidates, clients, served};
    use super::*;

    #[test]
    fn the_busier_of_two_is_never_chosen() {
        let backends = backends(2);
        let _busy = backends[0].enter(usize::MAX).unwrap();
        for client in clients(100) {
            assert_eq!(PowerOfTwo.pick(&candidates(&backends), &client), 1);
        }
    }

    #[test]
    fn the_busiest_of_many_is_never_chosen_and_the_idlest_most_often() {
        let backends = backends(4);
        let _busy = [
            backends[0].enter(usize::MAX).unwrap(),
            backends[0].enter(usize::MAX).unwrap(),
            backends[1].enter(usize::MAX).unwrap(),
            backends[2].enter(usize::MAX).unwrap(),
        ];
        let mut chosen = [0; 4];
        for client in clients(2000) {
            chosen[PowerOfTwo.pick(&candidates(&backends), &client)] += 1;
        }
        assert_eq!(chosen[0], 0, "whoever is drawn with it is less busy");
        // It is among the two in half of the draws: 1000, give or take 7 times 22.
        assert!((846..=1154).contains(&chosen[3]), "{chosen:?}");
    }

    #[test]
    fn equals_get_equally_much_and_a_slow_one_gets_less() {
        for share in served(&PowerOfTwo, &[3, 3, 3, 3]) {
            assert!((180..=320).contains(&share), "{share} of 1000");
        }
        let served = served(&PowerOfTwo, &[2, 20]);
        assert!(served[1] < 240, "{served:?}");
    }

    #[test]
    fn one_alone_is_chosen() {
        let backends = backends(1);
        assert_eq!(PowerOfTwo.pick(&candidates(&backends), &clients(1).next().unwrap()), 0);
    }
}
