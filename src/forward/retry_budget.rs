//! How many retries there may be: a small part of what there is to do anyway.
//!
//! A retry helps while few tries fail. When many fail, because all backends are at their limit, each retry
//! is more work for those that have too much already, and they do not recover. So retries come out of a
//! budget that grows with the requests and not with the failures.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// How far back the budget looks, in seconds. Long enough for a moment's pause between requests not to
/// empty it, short enough for a burst's credit not to outlive the burst.
pub const WINDOW: u32 = 10;

/// How many retries there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryBudgetOptions {
    /// Retries, in per cent of the requests of the last [`WINDOW`]. 20: the load never grows by more than a
    /// fifth, and that much room a fleet has that can lose one of six.
    pub percent: u32,
    /// Retries a second that there may always be, taken over the whole window. 10: where there is little to
    /// do, a fifth of it would be less than one, and retries cannot harm anybody.
    pub floor: u32,
}

impl Default for RetryBudgetOptions {
    fn default() -> Self {
        RetryBudgetOptions { percent: 20, floor: 10 }
    }
}

impl RetryBudgetOptions {
    /// Retries that may fall into a window with so many requests.
    fn allowed(self, requests: u64) -> u64 {
        let part = u64::from(self.percent).saturating_mul(requests) / 100;
        part.max(u64::from(self.floor) * u64::from(WINDOW))
    }
}

/// Counts requests and retries, and says whether one more retry is within the [`RetryBudgetOptions`].
///
/// The window is the second that runs now and those before it, [`WINDOW`] in all; seconds are counted from
/// the budget's start. The floor counts as `floor × WINDOW` retries in a window, at the start too, when
/// less than a window has passed: all of them may be granted within one second, and then no more until that
/// second has left the window. A budget that filled slowly from nothing would refuse the first retry after
/// a start, which is when backends are likeliest to be not quite ready.
///
/// Ask for a retry whose try may have cost the backend something. Where no connection came about it cost
/// nothing, and nobody needs to ask.
///
/// ```
/// use std::time::Instant;
/// use turnwheel::forward::retry_budget::{RetryBudgetOptions, RetryBudget};
///
/// let now = Instant::now();
/// let budget = RetryBudget::new(RetryBudgetOptions { percent: 50, floor: 0 }, now);
/// budget.note_request(now);
/// budget.note_request(now);
/// assert!(budget.may_retry(now));
/// assert!(!budget.may_retry(now)); // one for two requests
/// ```
#[derive(Debug)]
pub struct RetryBudget {
    options: RetryBudgetOptions,
    start: Instant,
    requests: Seconds,
    /// Locked for the time between counting what was granted and granting one more: two who count at once
    /// would both take the last one. Retries are rare, requests never come here.
    granted: Mutex<Granted>,
}

#[derive(Debug, Default)]
struct Granted {
    /// The latest second that anybody asked in.
    latest: u32,
    seconds: Seconds,
}

impl RetryBudget {
    /// A budget in whose window nothing has happened yet.
    pub fn new(options: RetryBudgetOptions, now: Instant) -> Self {
        RetryBudget { options, start: now, requests: Seconds::default(), granted: Mutex::default() }
    }

    /// Counts a request, its first try only. Takes no lock.
    pub fn note_request(&self, now: Instant) {
        self.requests.add(self.second(now));
    }

    /// May there be one more retry? Who gets a yes has it counted, and goes on to retry.
    ///
    /// However many threads ask, no more is granted than [`RetryBudgetOptions`] allow for the requests that had been
    /// counted by then.
    pub fn may_retry(&self, now: Instant) -> bool {
        // Each word of it is written whole, so it is valid after a panic too.
        let mut granted = self.granted.lock().unwrap_or_else(PoisonError::into_inner);
        // Who looked at the clock and then waited for the lock is late. Its own second may not see what was
        // granted since, so it asks in the latest one.
        granted.latest = granted.latest.max(self.second(now));
        let may = granted.seconds.within(granted.latest)
            < self.options.allowed(self.requests.within(granted.latest));
        if may {
            granted.seconds.add(granted.latest);
        }
        may
    }

    /// Whole seconds since the start. 32 bits of them are 136 years.
    fn second(&self, now: Instant) -> u32 {
        let passed = now.saturating_duration_since(self.start).as_secs();
        u32::try_from(passed).unwrap_or(u32::MAX)
    }
}

/// Seconds that a ring remembers: a window, and some more, so that the first request of a new second does
/// not take the window's oldest second from a thread that looked at the clock just before.
const RING: usize = 16;

/// Counts things by the second, without a lock: a ring with a slot for each second.
///
/// A slot holds the second that it counts for in its upper 32 bits and the count in its lower 32, in one
/// word, so that whoever comes first in a new second claims the slot and empties it in one step. No machine
/// sees 2^32 requests in a second, so the count never runs over into the second.
#[derive(Debug, Default)]
struct Seconds([AtomicU64; RING]);

impl Seconds {
    /// Counts one in this second. One that is more than a ring behind the others is not counted: no window
    /// reaches back that far.
    fn add(&self, second: u32) {
        let slot = &self.0[second as usize % RING];
        let mut seen = slot.load(Relaxed);
        while second_of(seen) < second {
            let fresh = u64::from(second) << 32 | 1;
            match slot.compare_exchange_weak(seen, fresh, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(other) => seen = other,
            }
        }
        if second_of(seen) == second {
            // Who is held up right here for a whole ring counts in a later second: one request too many in
            // its window, and none lost.
            slot.fetch_add(1, Relaxed);
        }
    }

    /// How many were counted in this second and those before it that are in the window.
    fn within(&self, second: u32) -> u64 {
        let words = self.0.iter().map(|slot| slot.load(Relaxed));
        words
            .filter(|&word| second.checked_sub(second_of(word)).is_some_and(|age| age < WINDOW))
            .map(|word| word & u64::from(u32::MAX))
            .sum()
    }
}

/// The second that a slot counts for.
fn second_of(word: u64) -> u32 {
    (word >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    const DEFAULT: RetryBudgetOptions = RetryBudgetOptions { percent: 20, floor: 10 };
    const NO_FLOOR: RetryBudgetOptions = RetryBudgetOptions { percent: 20, floor: 0 };

    /// A budget, and its clock in milliseconds since the start.
    fn budget(options: RetryBudgetOptions) -> (RetryBudget, impl Fn(u64) -> Instant) {
        let start = Instant::now();
        (RetryBudget::new(options, start), move |millis| start + Duration::from_millis(millis))
    }

    fn note(budget: &RetryBudget, now: Instant, count: usize) {
        (0..count).for_each(|_| budget.note_request(now));
    }

    /// How many are granted to somebody who asks until there are no more.
    fn granted(budget: &RetryBudget, now: Instant) -> usize {
        (0..100_000).take_while(|_| budget.may_retry(now)).count()
    }

    #[test]
    fn the_defaults() {
        assert_eq!(RetryBudgetOptions::default(), DEFAULT);
    }

    #[test]
    fn what_is_allowed_is_a_part_of_the_requests_or_the_floor() {
        for (percent, floor, requests, allowed) in [
            (20, 10, 0, 100),
            (20, 10, 500, 100),
            (20, 10, 505, 101),
            (20, 0, 4, 0),
            (20, 0, 5, 1),
            (0, 0, 1000, 0),
            (100, 0, 7, 7),
            (200, 0, 7, 14),
            (u32::MAX, u32::MAX, u64::MAX, u64::MAX / 100),
        ] {
            assert_eq!(
                RetryBudgetOptions { percent, floor }.allowed(requests),
                allowed,
                "{percent} {floor} {requests}"
            );
        }
    }

    #[test]
    fn without_requests_there_is_the_floor_from_the_first_second_on() {
        let (budget, at) = budget(DEFAULT);
        assert_eq!(granted(&budget, at(0)), 100);
        assert_eq!(granted(&budget, at(9_999)), 0);
        assert_eq!(granted(&budget, at(10_000)), 100);
    }

    #[test]
    fn with_many_requests_there_is_a_fifth_of_them() {
        let (budget, at) = budget(DEFAULT);
        for second in 0..10 {
            note(&budget, at(second * 1000), 1000);
        }
        assert_eq!(granted(&budget, at(9_000)), 2000);
        note(&budget, at(9_500), 50);
        assert_eq!(granted(&budget, at(9_500)), 10);
    }

    #[test]
    fn the_window_slides_over_requests_and_over_retries() {
        let (budget, at) = budget(NO_FLOOR);
        note(&budget, at(0), 100);
        note(&budget, at(5_000), 50);
        assert_eq!(granted(&budget, at(5_000)), 30);
        // The hundred of the first second are gone; the thirty retries are not.
        assert_eq!(granted(&budget, at(10_000)), 0);
        note(&budget, at(14_000), 100);
        assert_eq!(granted(&budget, at(14_999)), 0); // 150 requests and 30 retries
        assert_eq!(granted(&budget, at(15_000)), 20); // 100 requests and no retries
    }

    #[test]
    fn slots_are_used_again_after_a_long_silence() {
        let (budget, at) = budget(NO_FLOOR);
        for hours in [0, 1, 24, 24 * 365 * 20] {
            // The same slot each time, and then its neighbour.
            for second in [hours * 3600 / 16 * 16, hours * 3600 / 16 * 16 + 20] {
                note(&budget, at(second * 1000), 50);
                assert_eq!(granted(&budget, at(second * 1000)), 10, "after {second} s");
            }
        }
    }

    #[test]
    fn after_the_last_second_that_can_be_counted_it_stands_still() {
        let (budget, at) = budget(NO_FLOOR);
        let end = u64::from(u32::MAX) * 1000;
        note(&budget, at(end), 50);
        note(&budget, at(end + 3_600_000), 50);
        assert_eq!(granted(&budget, at(end + 7_200_000)), 20);
    }

    #[test]
    fn a_clock_that_is_a_little_late_loses_no_request_and_gains_no_retry() {
        let (budget, at) = budget(NO_FLOOR);
        note(&budget, at(20_000), 50);
        note(&budget, at(17_000), 50); // three seconds late
        assert_eq!(granted(&budget, at(20_000)), 20);
        note(&budget, at(19_000), 5);
        assert_eq!(granted(&budget, at(17_000)), 1); // not 10 of its own
        note(&budget, at(3_000), 1000); // its slot belongs to second 19 now
        assert_eq!(granted(&budget, at(20_000)), 0);
    }

    #[test]
    fn who_asks_a_little_late_sees_the_window_as_it_was() {
        let (budget, at) = budget(NO_FLOOR);
        note(&budget, at(15_000), 50);
        note(&budget, at(25_000), 1000);
        assert_eq!(granted(&budget, at(24_999)), 10);
        assert_eq!(granted(&budget, at(25_000)), 190);
    }

    #[test]
    fn a_clock_from_before_the_start_is_the_start() {
        let start = Instant::now() + Duration::from_secs(60);
        let budget = RetryBudget::new(NO_FLOOR, start);
        note(&budget, start - Duration::from_secs(30), 5);
        assert!(budget.may_retry(start));
        assert!(!budget.may_retry(start - Duration::from_secs(30)));
    }

    #[test]
    fn no_request_is_lost_and_no_retry_too_many_is_granted_from_many_threads() {
        let (budget, at) = budget(NO_FLOOR);
        let retries = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (budget, at, retries) = (&budget, &at, &retries);
                scope.spawn(move || {
                    for turn in 0..10_000 {
                        // Ten seconds go by, for each thread a little earlier or later.
                        let now = at((turn + thread * 50).min(9_999));
                        budget.note_request(now);
                        retries.fetch_add(usize::from(budget.may_retry(now)), Relaxed);
                    }
                });
            }
        });
        retries.fetch_add(granted(&budget, at(9_999)), Relaxed);
        assert_eq!(retries.into_inner(), 16_000); // a fifth of 80 000, and not one more
    }

    #[test]
    fn the_first_in_a_new_second_do_not_wipe_out_one_another() {
        for round in 0..200 {
            let seconds = Seconds::default();
            seconds.add(round);
            std::thread::scope(|scope| {
                (0..4).for_each(|_| drop(scope.spawn(|| seconds.add(round + 16))));
            });
            assert_eq!(seconds.within(round + 16), 4);
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_list_of_everything_that_happened(
            percent in 0u32..150, floor in 0u32..3,
            steps in proptest::collection::vec((0u64..4_000, 0usize..40, 0usize..40), 1..30),
        ) {
            let (budget, at) = budget(RetryBudgetOptions { percent, floor });
            let (mut requests, mut retries, mut millis) = (Vec::new(), Vec::new(), 0);
            for (pause, noted, asked) in steps {
                millis += pause;
                let second = millis / 1000;
                let recent = |list: &[u64]| list.iter().filter(|&&then| then + 10 > second).count();
                note(&budget, at(millis), noted);
                requests.extend(std::iter::repeat_n(second, noted));
                for _ in 0..asked {
                    let allowed = (percent as usize * recent(&requests) / 100).max(floor as usize * 10);
                    let may = budget.may_retry(at(millis));
                    prop_assert_eq!(may, recent(&retries) < allowed);
                    retries.extend(may.then_some(second));
                }
            }
        }
    }
}
