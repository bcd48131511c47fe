//! Step 4: round robin, the rotation that the project is named after.
//!
//! One index says which backend is next. Every worker reads and advances it, under a [`Mutex`]: without the lock two
//! workers could read the same index, send their requests to the same backend, and advance it by one instead of two.
//!
//! The lock is held for the arithmetic only. A worker releases it before it talks to the backend; a lock held while
//! talking to a backend would make all workers wait for the slowest one.

use crate::balance::strategy::{Candidate, ClientKey, Strategy};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Round robin: a mutex-guarded index that rotates over a list.
///
/// ```
/// use turnwheel::strategy::Rotation;
///
/// let rotation = Rotation::default();
/// let turns: Vec<usize> = (0..5).map(|_| rotation.turn(2)).collect();
/// assert_eq!(turns, [0, 1, 0, 1, 0]);
/// ```
#[derive(Debug, Default)]
pub struct Rotation {
    next: Mutex<usize>,
    /// A copy for display, which must not take the lock that workers wait for.
    shown: AtomicUsize,
}

impl Rotation {
    /// Returns the index whose turn it is in a list of this length, which must not be 0, and advances by one. The
    /// length may differ from call to call.
    pub fn turn(&self, len: usize) -> usize {
        // A poisoned lock means that a thread panicked while it held it. The index is valid even so: nothing below can
        // leave it half-written.
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = *next % len;
        *next = turn + 1;
        self.shown.store(turn + 1, Relaxed);
        turn
    } // The lock is released here, before the worker talks to a backend.
}

/// First choices: each backend in turn.
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

/// Choices after a failed try.
///
/// Advancing the first index once more, over the remaining backends, would be unfair: of three backends with one dead,
/// the others get 75 % and 25 %, because the failed try advances the index as well. A second index mends this for one
/// dead backend. With *two* dead, a single second index is unfair again, because it advances in step with the failures.
/// Therefore there is one index for each set of remaining backends: each rotates over one fixed list and so is exact.
#[derive(Debug, Default)]
pub struct SecondChoice {
    indices: Mutex<HashMap<Box<[usize]>, usize>>,
}

/// The most sets that are remembered. Beyond it, all indices are reset, at the cost of one uneven turn for each set.
const MOST_SETS: usize = 4096;

impl SecondChoice {
    /// Returns the position in `left` whose turn it is. `left` holds the indices of the backends not tried yet, in
    /// any fixed order, and must not be empty.
    pub fn turn(&self, left: &[usize]) -> usize {
        let mut indices = self.indices.lock().unwrap_or_else(PoisonError::into_inner);
        if indices.len() >= MOST_SETS {
            indices.clear();
        }
        let next = indices.entry(left.into()).or_default();
        let turn = *next % left.len();
        *next = turn + 1;
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::{Rotation, SecondChoice, Strategy as _};
    use proptest::prelude::*;

    /// Sends `requests` to `backends` of which `dead` fail, and returns the number that each one served.
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
        let rotation = Rotation::default();
        let turns: Vec<usize> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| (0..1000).map(|_| rotation.turn(4)).collect::<Vec<_>>()))
                .collect();
            threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
        });
        for backend in 0..4 {
            assert_eq!(turns.iter().filter(|&&turn| turn == backend).count(), 2000);
        }
    }

    #[test]
    fn the_next_turn_can_be_read_without_taking_it() {
        let rotation = Rotation::default();
        assert_eq!(rotation.next(0), None);
        for _ in 0..7 {
            let next = rotation.next(3);
            assert_eq!(next, rotation.next(3), "reading does not advance it");
            assert_eq!(next, Some(rotation.turn(3)));
        }
    }

    #[test]
    fn a_list_that_shrinks_never_yields_an_index_beyond_its_end() {
        let rotation = Rotation::default();
        let turns: Vec<usize> = [5, 5, 5, 5, 2, 2, 1, 3].map(|len| rotation.turn(len)).into();
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
        fn the_living_share_equally_whichever_are_dead(
            backends in 2usize..8, seed in any::<u64>(), requests in 1usize..3000,
        ) {
            let dead: Vec<usize> = (0..backends - 1).filter(|i| seed >> i & 1 == 1).collect();
            let living: Vec<usize> = served(backends, &dead, requests)
                .into_iter().enumerate().filter(|(i, _)| !dead.contains(i)).map(|(_, n)| n).collect();
            let (least, most) = (living.iter().min().unwrap(), living.iter().max().unwrap());
            prop_assert_eq!(living.iter().sum::<usize>(), requests);
            // Each index may give the backends early in its list one request more, and there is one for each dead set.
            prop_assert!(most - least <= 1 << dead.len(), "{:?}", living);
        }
    }
}
