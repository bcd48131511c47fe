//! Weighted round robin: backends take turns in proportion to their weights.

use crate::balance::strategy::{Candidate, ClientKey, Strategy};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Smooth weighted round robin, as in nginx: each turn adds its weight to each backend's credit; the backend with the
/// highest credit is selected and pays the sum of all weights. Weights of 5, 1 and 1 give `a a b a c a a`, where five
/// turns in a row for a would leave b and c idle, and then a.
///
/// Credit is kept under [`Backend::id`](crate::backend::instance::Backend::id), not under an index, because the list
/// changes. A backend that is not in the list loses its credit and returns with none. Keeping the credit would need a
/// rule for its expiry, and crediting a backend for its absence would give it a burst at its return.
///
/// A backend without a weight above 0 is never selected, unless no backend has one: then all are equal. Weights are
/// taken in millionths, up to a million.
#[derive(Debug, Default)]
pub struct WeightedRoundRobin {
    credits: Mutex<Credits>,
}

impl Strategy for WeightedRoundRobin {
    fn pick(&self, usable: &[Candidate<'_>], _client: &ClientKey) -> usize {
        let entries = weighted_entries(usable);
        // A panic elsewhere cannot leave a credit half-written. At worst one turn is not charged.
        let turn = self.credits.lock().unwrap_or_else(PoisonError::into_inner).turn(&entries);
        entries.get(turn).map_or(0, |entry| entry.index)
    }

    fn name(&self) -> &'static str {
        "weighted-round-robin"
    }
}

/// A backend that takes part in a turn.
#[derive(Clone, Copy, Debug)]
struct WeightedEntry {
    /// Its index in the list of usable backends.
    index: usize,
    id: u64,
    /// In millionths, above 0. Integers add up exactly; with floats, three weights of 0.1 would soon drift apart and
    /// no longer take plain turns.
    weight: i64,
}

/// A weight of 1.
const UNIT: f64 = 1e6;

/// A weight of a million. The sum of nine million such weights fits into 64 bits.
const HEAVIEST: f64 = 1e6 * UNIT;

/// Returns the backends with a weight above 0, or all of them with equal weights if there is none.
fn weighted_entries(usable: &[Candidate<'_>]) -> Vec<WeightedEntry> {
    let entry = |(index, candidate): (usize, &Candidate<'_>), weight: f64| WeightedEntry {
        index,
        id: candidate.backend.id(),
        weight: (weight * UNIT).round().clamp(1.0, HEAVIEST) as i64,
    };
    let all = usable.iter().enumerate();
    let weighted: Vec<WeightedEntry> = all
        .clone()
        .filter(|(_, candidate)| candidate.weight > 0.0)
        .map(|one| entry(one, one.1.weight))
        .collect();
    if weighted.is_empty() { all.map(|one| entry(one, 1.0)).collect() } else { weighted }
}

/// The credits after the last turn.
#[derive(Debug, Default)]
struct Credits {
    /// The sum of the weights in that turn, which the selected backend pays.
    total: i64,
    /// In the order of that turn's entries.
    balances: Vec<Balance>,
}

#[derive(Debug)]
struct Balance {
    id: u64,
    /// In millionths; below 0 for a backend that is ahead of its share.
    credit: i64,
}

impl Credits {
    /// Returns the index in `entries` of the backend whose turn it is, and charges it.
    fn turn(&mut self, entries: &[WeightedEntry]) -> usize {
        self.align(entries);
        self.rescale(entries.iter().map(|entry| entry.weight).sum());
        let mut winner = 0;
        let mut most = i64::MIN;
        for (index, (balance, entry)) in self.balances.iter_mut().zip(entries).enumerate() {
            balance.credit += entry.weight;
            // The first of equals wins: equal weights rotate plainly.
            if balance.credit > most {
                (winner, most) = (index, balance.credit);
            }
        }
        if let Some(balance) = self.balances.get_mut(winner) {
            balance.credit -= self.total;
        }
        winner
    }

    /// Keeps one balance for each entry, in the same order, and no other.
    fn align(&mut self, entries: &[WeightedEntry]) {
        // The list is nearly always the same as in the previous turn.
        if self.balances.iter().map(|balance| balance.id).eq(entries.iter().map(|entry| entry.id)) {
            return;
        }
        let known: HashMap<u64, i64> =
            self.balances.drain(..).map(|balance| (balance.id, balance.credit)).collect();
        let credit = |id| known.get(&id).copied().unwrap_or_default();
        self.balances.extend(entries.iter().map(|entry| Balance { id: entry.id, credit: credit(entry.id) }));
    }

    /// Converts credits to a new price: half a turn stays half a turn. Otherwise weights of 1000 that become 1 would
    /// leave debts of a thousand turns.
    fn rescale(&mut self, total: i64) {
        if total == self.total {
            return;
        }
        for balance in &mut self.balances {
            // Before the first turn the price is 0, and so are all credits.
            let scaled = (i128::from(balance.credit) * i128::from(total)).checked_div(self.total.into());
            balance.credit = scaled.and_then(|scaled| scaled.try_into().ok()).unwrap_or_default();
        }
        self.total = total;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::instance::Backend;
    use crate::balance::strategies::tests::{backends, clients};
    use proptest::{prop_assert, prop_assert_eq, proptest};

    /// Takes `count` turns among the backends that have a weight here; the others are absent.
    fn turns(
        strategy: &WeightedRoundRobin,
        backends: &[Backend],
        weights: &[Option<f64>],
        count: usize,
    ) -> Vec<usize> {
        let present: Vec<usize> = (0..weights.len()).filter(|&index| weights[index].is_some()).collect();
        let usable: Vec<_> = present
            .iter()
            .map(|&index| Candidate { backend: &backends[index], weight: weights[index].unwrap() })
            .collect();
        let client = clients(1).next().unwrap();
        (0..count).map(|_| present[strategy.pick(&usable, &client)]).collect()
    }

    /// Takes the first turns of a new strategy.
    fn first_turns(weights: &[f64], count: usize) -> Vec<usize> {
        let backends = backends(weights.len().try_into().unwrap());
        let weights: Vec<_> = weights.iter().copied().map(Some).collect();
        turns(&WeightedRoundRobin::default(), &backends, &weights, count)
    }

    fn counts(turns: &[usize], backends: usize) -> Vec<usize> {
        (0..backends).map(|index| turns.iter().filter(|&&turn| turn == index).count()).collect()
    }

    /// Returns the longest run of turns of this one.
    fn longest_run(turns: &[usize], index: usize) -> usize {
        turns.split(|&turn| turn != index).map(<[usize]>::len).max().unwrap_or_default()
    }

    #[test]
    fn five_one_one_gives_the_sequence_of_nginx() {
        let period = [0, 0, 1, 0, 2, 0, 0];
        assert_eq!(first_turns(&[5.0, 1.0, 1.0], 21), period.repeat(3));
    }

    #[test]
    fn shares_are_exact() {
        assert_eq!(counts(&first_turns(&[5.0, 1.0, 1.0], 700), 3), [500, 100, 100]);
        assert_eq!(counts(&first_turns(&[1.0, 2.0, 3.0, 4.0], 700), 4), [70, 140, 210, 280]);
    }

    #[test]
    fn equal_weights_are_a_plain_rotation() {
        for weight in [1.0, 3.0, 0.1] {
            let turns = first_turns(&[weight; 3], 300);
            assert!(turns.iter().enumerate().all(|(turn, &choice)| choice == turn % 3), "{weight}");
        }
    }

    #[test]
    fn fractions_turn_like_whole_weights() {
        assert_eq!(first_turns(&[0.5, 0.1, 0.1], 700), first_turns(&[5.0, 1.0, 1.0], 700));
        assert_eq!(counts(&first_turns(&[0.3, 0.7], 1000), 2), [300, 700]);
    }

    #[test]
    fn a_backend_returns_without_a_burst_and_the_others_keep_their_shares() {
        let backends = backends(3);
        let strategy = WeightedRoundRobin::default();
        let all = [Some(5.0), Some(1.0), Some(1.0)];
        for before in 0..14 {
            turns(&strategy, &backends, &all, before);
            let away = turns(&strategy, &backends, &[None, Some(1.0), Some(1.0)], 100);
            assert_eq!(counts(&away, 3), [0, 50, 50]);
            let back = turns(&strategy, &backends, &all, 70);
            assert!(longest_run(&back, 0) <= 5, "{back:?}");
            // Exact, give or take the credit at its return.
            for (count, share) in counts(&back, 3).iter().zip([50, 10, 10]) {
                assert!(count.abs_diff(share) <= 1, "after {before}: {back:?}");
            }
        }
    }

    #[test]
    fn a_backend_that_comes_and_goes_gets_its_share_while_present() {
        let backends = backends(2);
        let strategy = WeightedRoundRobin::default();
        let mut served = [0; 2];
        for _ in 0..600 {
            for weights in [[Some(5.0), Some(1.0)], [Some(5.0), None]] {
                served[turns(&strategy, &backends, &weights, 1)[0]] += 1;
            }
        }
        // A sixth of the 600 turns in which it takes part.
        assert!((90..=110).contains(&served[1]), "{served:?}");
    }

    #[test]
    fn weights_that_fall_leave_no_large_debts() {
        let backends = backends(2);
        let strategy = WeightedRoundRobin::default();
        turns(&strategy, &backends, &[Some(1000.0), Some(999.0)], 1);
        let after = turns(&strategy, &backends, &[Some(1.0), Some(1.0)], 100);
        assert!((0..2).all(|index| longest_run(&after, index) <= 2), "{after:?}");
    }

    #[test]
    fn a_weight_that_rises_slowly_gets_more_with_each_step() {
        let backends = backends(2);
        let strategy = WeightedRoundRobin::default();
        // From a tenth to the whole in a thousand turns: 0.55 on average, which is a share of 0.34.
        let ramp: Vec<usize> = (0..1000)
            .flat_map(|turn| {
                let weight = 0.1 + 0.9 * f64::from(turn) / 1000.0;
                turns(&strategy, &backends, &[Some(1.0), Some(weight)], 1)
            })
            .collect();
        let quarters: Vec<usize> = ramp.chunks(250).map(|quarter| counts(quarter, 2)[1]).collect();
        assert!(quarters.is_sorted_by(|one, next| one < next), "{quarters:?}");
        assert!(longest_run(&ramp, 1) <= 1);
        assert!((325..=350).contains(&counts(&ramp, 2)[1]), "{quarters:?}");
    }

    #[test]
    fn a_backend_without_a_weight_is_picked_only_if_no_backend_has_one() {
        for none in [0.0, -0.0, -1.0, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(first_turns(&[none, 2.0, none, 1.0], 6), [1, 3, 1, 1, 3, 1], "{none}");
            assert_eq!(first_turns(&[none; 3], 6), [0, 1, 2, 0, 1, 2], "{none}");
        }
    }

    #[test]
    fn extreme_weights_do_not_starve_a_backend() {
        let backends = backends(2);
        let strategy = WeightedRoundRobin::default();
        for weights in [[f64::INFINITY; 2], [5e-324; 2], [f64::MAX; 2], [0.0; 2], [f64::MAX, 5e-324]] {
            turns(&strategy, &backends, &weights.map(Some), 10);
        }
        let after = turns(&strategy, &backends, &[Some(1.0), Some(1.0)], 100);
        assert!(counts(&after, 2).iter().all(|count| (48..=52).contains(count)), "{after:?}");
    }

    #[test]
    fn shares_are_exact_from_any_number_of_threads() {
        let backends = backends(3);
        let strategy = WeightedRoundRobin::default();
        let weights = [Some(5.0), Some(1.0), Some(1.0)];
        let all: Vec<usize> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| turns(&strategy, &backends, &weights, 1001))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(counts(&all, 3), [5720, 1144, 1144]);
    }

    proptest! {
        #[test]
        fn whole_weights_get_exact_shares_of_each_period_and_no_bursts(
            weights in proptest::collection::vec(1_u32..=30, 1..8), periods in 1usize..5,
        ) {
            let total = weights.iter().sum::<u32>() as usize;
            let floats: Vec<f64> = weights.iter().copied().map(f64::from).collect();
            let turns = first_turns(&floats, periods * total);
            for period in turns.chunks(total) {
                let shares: Vec<usize> = weights.iter().map(|&weight| weight as usize).collect();
                prop_assert_eq!(counts(period, weights.len()), shares);
            }
            for (index, &weight) in weights.iter().enumerate() {
                // No backend gets more turns in a row than it outweighs the heaviest other.
                let others = weights.iter().enumerate().filter(|(other, _)| *other != index);
                if let Some(heaviest) = others.map(|(_, &weight)| weight).max() {
                    prop_assert!(longest_run(&turns, index) <= weight.div_ceil(heaviest) as usize);
                }
            }
        }

        #[test]
        fn a_backend_that_stays_never_waits_long(
            lists in proptest::collection::vec(1_u32..16, 1..400),
        ) {
            // Four with equal weights; each bit is one backend's presence. In a plain rotation a backend waits three
            // turns; bursts of others could make it wait for any number.
            let backends = backends(4);
            let strategy = WeightedRoundRobin::default();
            let mut waited = [0_usize; 4];
            for list in lists {
                let weights: Vec<_> = (0..4).map(|index| (list >> index & 1 == 1).then_some(1.0)).collect();
                let winner = turns(&strategy, &backends, &weights, 1)[0];
                for index in 0..4 {
                    let waits = index != winner && weights[index].is_some();
                    waited[index] = if waits { waited[index] + 1 } else { 0 };
                    prop_assert!(waited[index] <= 8, "{:?}", waited);
                }
            }
        }
    }
}
