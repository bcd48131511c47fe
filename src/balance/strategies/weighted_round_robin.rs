//! Round robin for backends of unequal strength: each turn goes to whoever is owed most.

use super::{Candidate, ClientKey, Strategy};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Smooth weighted round robin, as nginx does it: with each turn everybody is owed its weight more, whoever
/// is owed most gets the turn, and pays for it with the sum of all weights. Weights of 5, 1 and 1 give
/// `a a b a c a a`, where five turns in a row and then the others would leave b and c idle, then a.
///
/// What is owed is kept under [`Backend::id`](crate::backend::Backend::id), not under a place in the list:
/// the list changes, and what one is owed must not go to another. Who is not in the list is forgotten and
/// comes back with nothing owed to it, like a new one. Were it remembered, it would have to be for ever, as
/// nobody says who is gone for good; and were it paid for the time it was away, it would get a burst just
/// when it has come back.
///
/// Who has no weight above 0 is never chosen, unless nobody in the list has one: then all are equal.
/// Weights are taken in millionths, and a million is the heaviest.
#[derive(Debug, Default)]
pub struct WeightedRoundRobin {
    wheel: Mutex<Wheel>,
}

impl Strategy for WeightedRoundRobin {
    fn pick(&self, usable: &[Candidate<'_>], _client: &ClientKey) -> usize {
        let shares = shares(usable);
        // After a panic elsewhere the numbers are numbers still. At worst a turn is not paid for.
        let turn = self.wheel.lock().unwrap_or_else(PoisonError::into_inner).turn(&shares);
        shares.get(turn).map_or(0, |share| share.index)
    }

    fn name(&self) -> &'static str {
        "weighted-round-robin"
    }
}

/// One who takes part in a turn.
#[derive(Clone, Copy, Debug)]
struct Share {
    /// Its place in the list of those that are usable.
    index: usize,
    id: u64,
    /// In millionths, and above 0. Whole numbers add up exactly, for ever: with floats, three weights of
    /// 0.1 would soon be owed a little more or less than each other, and not take plain turns.
    weight: i64,
}

/// A weight of 1.
const UNIT: f64 = 1e6;

/// A weight of a million. Nine million backends of that weight can be summed up in 64 bits.
const HEAVIEST: f64 = 1e6 * UNIT;

/// Who takes part: those with a weight, or everybody if nobody has one.
fn shares(usable: &[Candidate<'_>]) -> Vec<Share> {
    let share = |(index, candidate): (usize, &Candidate<'_>), weight: f64| Share {
        index,
        id: candidate.backend.id(),
        weight: (weight * UNIT).round().clamp(1.0, HEAVIEST) as i64,
    };
    let everybody = usable.iter().enumerate();
    let weighty: Vec<Share> = everybody
        .clone()
        .filter(|(_, candidate)| candidate.weight > 0.0)
        .map(|one| share(one, one.1.weight))
        .collect();
    if weighty.is_empty() { everybody.map(|one| share(one, 1.0)).collect() } else { weighty }
}

/// What each one is owed after the last turn.
#[derive(Debug, Default)]
struct Wheel {
    /// The sum of the weights in that turn: what one turn cost.
    total: i64,
    /// In the order of that turn's list.
    seats: Vec<Seat>,
}

#[derive(Debug)]
struct Seat {
    id: u64,
    /// What it is owed, in millionths; below 0 for who has had more than its share so far.
    current: i64,
}

impl Wheel {
    /// The index, in `shares`, of the one whose turn it is. The wheel moves on by one.
    fn turn(&mut self, shares: &[Share]) -> usize {
        self.seat(shares);
        self.rate(shares.iter().map(|share| share.weight).sum());
        let mut winner = 0;
        let mut most = i64::MIN;
        for (index, (seat, share)) in self.seats.iter_mut().zip(shares).enumerate() {
            seat.current += share.weight;
            // Of equals the first: equal weights turn like a plain wheel.
            if seat.current > most {
                (winner, most) = (index, seat.current);
            }
        }
        if let Some(seat) = self.seats.get_mut(winner) {
            seat.current -= self.total;
        }
        winner
    }

    /// Sees to it that each share has its seat, in this order, and nobody else has one.
    fn seat(&mut self, shares: &[Share]) {
        // The list is nearly always the one of the turn before.
        if self.seats.iter().map(|seat| seat.id).eq(shares.iter().map(|share| share.id)) {
            return;
        }
        let known: HashMap<u64, i64> = self.seats.drain(..).map(|seat| (seat.id, seat.current)).collect();
        let owed = |id| known.get(&id).copied().unwrap_or_default();
        self.seats.extend(shares.iter().map(|share| Seat { id: share.id, current: owed(share.id) }));
    }

    /// Restates what is owed when a turn costs something else than before: who was owed half a turn is owed
    /// half a turn of today's. Otherwise weights of 1000 that become 1 would leave debts that take a
    /// thousand turns in a row to pay.
    fn rate(&mut self, total: i64) {
        if total == self.total {
            return;
        }
        for seat in &mut self.seats {
            // Before the first turn a turn cost 0, and nothing was owed.
            let owed = (i128::from(seat.current) * i128::from(total)).checked_div(self.total.into());
            seat.current = owed.and_then(|owed| owed.try_into().ok()).unwrap_or_default();
        }
        self.total = total;
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{backends, clients};
    use super::*;
    use crate::backend::Backend;
    use proptest::{prop_assert, prop_assert_eq, proptest};

    /// As many turns as asked for, of those that have a weight here; the others are away.
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

    /// The turns of a new wheel.
    fn first_turns(weights: &[f64], count: usize) -> Vec<usize> {
        let backends = backends(weights.len().try_into().unwrap());
        let weights: Vec<_> = weights.iter().copied().map(Some).collect();
        turns(&WeightedRoundRobin::default(), &backends, &weights, count)
    }

    fn counts(turns: &[usize], backends: usize) -> Vec<usize> {
        (0..backends).map(|index| turns.iter().filter(|&&turn| turn == index).count()).collect()
    }

    /// The most turns that this one has in a row.
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
    fn while_one_is_away_the_others_keep_their_shares_and_it_returns_without_a_burst() {
        let backends = backends(3);
        let strategy = WeightedRoundRobin::default();
        let all = [Some(5.0), Some(1.0), Some(1.0)];
        for before in 0..14 {
            turns(&strategy, &backends, &all, before);
            let away = turns(&strategy, &backends, &[None, Some(1.0), Some(1.0)], 100);
            assert_eq!(counts(&away, 3), [0, 50, 50]);
            let back = turns(&strategy, &backends, &all, 70);
            assert!(longest_run(&back, 0) <= 5, "{back:?}");
            // Exact, give or take what was owed when it came.
            for (count, share) in counts(&back, 3).iter().zip([50, 10, 10]) {
                assert!(count.abs_diff(share) <= 1, "after {before}: {back:?}");
            }
        }
    }

    #[test]
    fn one_that_comes_and_goes_all_the_time_gets_its_share_of_when_it_is_there() {
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
    fn weights_that_fall_leave_no_debts_of_their_former_size() {
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
    fn what_is_no_weight_is_never_chosen_unless_nobody_has_one() {
        for none in [0.0, -0.0, -1.0, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(first_turns(&[none, 2.0, none, 1.0], 6), [1, 3, 1, 1, 3, 1], "{none}");
            assert_eq!(first_turns(&[none; 3], 6), [0, 1, 2, 0, 1, 2], "{none}");
        }
    }

    #[test]
    fn weights_at_the_ends_of_the_scale_stop_nobody() {
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
                // Nobody goes before the heaviest of the others more often than it outweighs it.
                let others = weights.iter().enumerate().filter(|(other, _)| *other != index);
                if let Some(heaviest) = others.map(|(_, &weight)| weight).max() {
                    prop_assert!(longest_run(&turns, index) <= weight.div_ceil(heaviest) as usize);
                }
            }
        }

        #[test]
        fn whoever_comes_and_goes_nobody_who_stays_waits_for_long(
            lists in proptest::collection::vec(1_u32..16, 1..400),
        ) {
            // Four with equal weights; each bit says who is there. A plain rotation would have one wait for
            // three turns, and a burst of somebody else's for any number.
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
