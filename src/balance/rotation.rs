//! Step 4 of a request's way: whose turn is it?
//!
//! This is the page the project is named after. One number says which backend comes next. Every
//! worker reads it and moves it on, and a [`Mutex`] sees to it that no two workers do so at once:
//! without the lock two of them could read the same number, send their requests to the same
//! backend, and move the wheel on by one where it should have moved by two.
//!
//! The lock is held for the arithmetic and for nothing else. Whoever has got a number lets go of
//! the lock first, and only then talks to the backend. A lock held while talking to a backend
//! would make all workers wait for the slowest one.

use crate::balance::strategies::{Candidate, ClientKey, Strategy};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Round robin: a mutex-guarded index that turns over a list.
///
/// ```
/// use turnwheel::balance::rotation::Rotation;
///
/// let wheel = Rotation::default();
/// let turns: Vec<usize> = (0..5).map(|_| wheel.turn(2)).collect();
/// assert_eq!(turns, [0, 1, 0, 1, 0]);
/// ```
#[derive(Debug, Default)]
pub struct Rotation {
    next: Mutex<usize>,
    /// The same number, for those who only watch: they must not hold the lock that workers wait for.
    shown: AtomicUsize,
}

impl Rotation {
    /// The index whose turn it is in a list of `len`, which must not be empty. The wheel moves on
    /// by one. The list may have another length at each call.
    pub fn turn(&self, len: usize) -> usize {
        // A poisoned lock means that a thread panicked while it held it. The number is a valid
        // number even so: nothing below can leave it half-written.
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = *next % len;
        *next = turn + 1;
        self.shown.store(turn + 1, Relaxed);
        turn
    } // The lock is let go here, before anybody talks to a backend.
}

/// First choices of every request: each backend in turn.
impl Strategy for Rotation {
    fn pick(&self, usable: &[Candidate<'_>], _client: &ClientKey) -> usize {
        self.turn(usable.len())
    }

    fn name(&self) -> &'static str {
        "round-robin"
    }

    fn next(&self, usable: usize) -> Option<usize> {
        self.shown.load(Relaxed).checked_rem(usable)
    }

    fn uses_weights(&self) -> bool {
        false
    }
}

/// Second choices: whose turn is it when a try has failed?
///
/// The obvious way is to turn the first wheel once more, over the backends that are left. It is
/// unfair: of three backends with one dead, the two others get 75 % and 25 %, because the failed
/// try moves the wheel on as well. So second choices have an index of their own. With *two* dead,
/// one such index is unfair again: it turns in step with the failures that it answers. Hence an
/// index for each set of backends that can be left over. Each of them turns over one and the same
/// list, always, and is exact for that reason alone.
#[derive(Debug, Default)]
pub struct SecondChoice {
    wheels: Mutex<HashMap<Box<[usize]>, usize>>,
}

/// Sets of backends remembered at most: beyond it all wheels start anew, which nobody will notice.
const WHEELS: usize = 4096;

impl SecondChoice {
    /// The index, in `left`, of the one whose turn it is. `left` names the backends that have not
    /// been tried yet, in any fixed order, and must not be empty.
    pub fn turn(&self, left: &[usize]) -> usize {
        let mut wheels = self.wheels.lock().unwrap_or_else(PoisonError::into_inner);
        if wheels.len() >= WHEELS {
            wheels.clear();
        }
        let next = wheels.entry(left.into()).or_default();
        let turn = *next % left.len();
        *next = turn + 1;
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::{Rotation, SecondChoice, Strategy as _};
    use proptest::prelude::*;

    /// Sends `requests` over `backends` of which `dead` refuse, and counts who served.
    fn served(backends: usize, dead: &[usize], requests: usize) -> Vec<usize> {
        let (first, second) = (Rotation::default(), SecondChoice::default());
        let mut served = vec![0; backends];
        for _ in 0..requests {
            let mut left: Vec<usize> = (0..backends).collect();
            let mut choice = left.remove(first.turn(backends));
            while dead.contains(&choice) {
                choice = left.remove(second.turn(&left));
            }
            served[choice] += 1;
        }
        served
    }

    #[test]
    fn each_backend_gets_its_exact_share_from_any_number_of_threads() {
        let wheel = Rotation::default();
        let turns: Vec<usize> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| (0..1000).map(|_| wheel.turn(4)).collect::<Vec<_>>()))
                .collect();
            threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
        });
        for backend in 0..4 {
            assert_eq!(turns.iter().filter(|&&turn| turn == backend).count(), 2000);
        }
    }

    #[test]
    fn who_watches_sees_whose_turn_it_is() {
        let wheel = Rotation::default();
        assert_eq!(wheel.next(0), None);
        for _ in 0..7 {
            let next = wheel.next(3);
            assert_eq!(next, wheel.next(3), "to look does not turn it");
            assert_eq!(next, Some(wheel.turn(3)));
        }
    }

    #[test]
    fn a_list_that_shrinks_never_yields_an_index_beyond_its_end() {
        let wheel = Rotation::default();
        let turns: Vec<usize> = [5, 5, 5, 5, 2, 2, 1, 3].map(|len| wheel.turn(len)).into();
        assert_eq!(turns, [0, 1, 2, 3, 0, 1, 0, 1]);
    }

    #[test]
    fn one_dead_of_three_leaves_two_halves() {
        for dead in 0..3 {
            let mut shares = served(3, &[dead], 6000);
            assert_eq!(shares.remove(dead), 0);
            assert_eq!(shares, [3000, 3000]);
        }
    }

    proptest! {
        #[test]
        fn the_living_share_equally_whoever_is_dead(
            backends in 2usize..8, seed in any::<u64>(), requests in 1usize..3000,
        ) {
            let dead: Vec<usize> = (0..backends - 1).filter(|i| seed >> i & 1 == 1).collect();
            let living: Vec<usize> = served(backends, &dead, requests)
                .into_iter().enumerate().filter(|(i, _)| !dead.contains(i)).map(|(_, n)| n).collect();
            let (least, most) = (living.iter().min().unwrap(), living.iter().max().unwrap());
            prop_assert_eq!(living.iter().sum::<usize>(), requests);
            // Each wheel may be one ahead for those early in its list, and the number of wheels that
            // answer is the number of sets of dead ones.
            prop_assert!(most - least <= 1 << dead.len(), "{:?}", living);
        }
    }
}
