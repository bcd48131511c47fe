//! The retry budget: retries are limited to a fraction of the requests.
//!
//! A retry helps while few tries fail. When many fail because all backends are overloaded, each retry adds to the load
//! and delays their recovery. So the budget grows with the requests and not with the failures.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// The window of the budget, in seconds: long enough that a short pause does not empty it, short enough that the credit
/// of a burst does not outlive it.
pub const WINDOW: u32 = 10;

/// The number of retries that are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryBudgetOptions {
    /// Retries, in per cent of the requests in the [`WINDOW`]. Default: 20, which a fleet that can lose one backend of six
    /// has in reserve.
    pub percent: u32,
    /// Retries per second that are always allowed, as an average over the window. Default: 10. With little traffic a
    /// fifth of it would be less than one, and retries do no harm.
    pub floor: u32,
}

impl Default for RetryBudgetOptions {
    fn default() -> Self {
        RetryBudgetOptions { percent: 20, floor: 10 }
    }
}

impl RetryBudgetOptions {
    /// Returns the retries allowed in a window with this number of requests.
    fn allowed(self, requests: u64) -> u64 {
        let part = u64::from(self.percent).saturating_mul(requests) / 100;
        part.max(u64::from(self.floor) * u64::from(WINDOW))
    }
}

/// Counts requests and retries, and grants retries within the [`RetryBudgetOptions`].
///
/// The window is the last [`WINDOW`] seconds including the current one, counted from the budget's start. The floor
/// allows `floor × WINDOW` retries in any window, also in the first: all of them may be granted within one second, and
/// then none until that second has left the window. A budget that filled slowly would refuse the first retries after a
/// start, when backends are least likely to be ready.
///
/// A retry after a try without a connection cost the backend nothing and needs no grant.
///
/// ```
/// use std::time::Instant;
/// use turnwheel::internals::retry_budget::{RetryBudgetOptions, RetryBudget};
///
/// let now = Instant::now();
/// let budget = RetryBudget::new(RetryBudgetOptions { percent: 50, floor: 0 }, now);
/// budget.count_request(now);
/// budget.count_request(now);
/// assert!(budget.try_grant(now));
/// assert!(!budget.try_grant(now)); // one for two requests
/// ```
#[derive(Debug)]
pub struct RetryBudget {
    options: RetryBudgetOptions,
    start: Instant,
    requests: Seconds,
    /// Locked from counting to granting, or two threads could both take the last one. Requests do not take this lock.
    granted: Mutex<Granted>,
}

#[derive(Debug, Default)]
struct Granted {
    /// The latest second of any call.
    latest: u32,
    seconds: Seconds,
}

impl RetryBudget {
    /// Creates a budget with an empty window.
    pub fn new(options: RetryBudgetOptions, now: Instant) -> Self {
        RetryBudget { options, start: now, requests: Seconds::default(), granted: Mutex::default() }
    }

    /// Counts a request, once, whatever the number of its tries. Takes no lock.
    pub fn count_request(&self, now: Instant) {
        self.requests.add(self.second(now));
    }

    /// Returns whether a retry is granted, and counts it.
    ///
    /// From any number of threads, no more are granted than the options allow for the requests counted so far.
    pub fn try_grant(&self, now: Instant) -> bool {
        // Each number is written whole, so it is valid after a panic too.
        let mut granted = self.granted.lock().unwrap_or_else(PoisonError::into_inner);
        // A thread that waited for the lock after reading the clock is late: its own second would miss the retries
        // granted since.
        granted.latest = granted.latest.max(self.second(now));
        let may = granted.seconds.within(granted.latest)
            < self.options.allowed(self.requests.within(granted.latest));
        if may {
            granted.seconds.add(granted.latest);
        }
        may
    }

    /// Returns the whole seconds since the start. 32 bits last 136 years.
    fn second(&self, now: Instant) -> u32 {
        let passed = now.saturating_duration_since(self.start).as_secs();
        u32::try_from(passed).unwrap_or(u32::MAX)
    }
}

/// The number of seconds in the ring: a window and some more, so that the first request of a new second does not reuse a
/// second that is still in the window of a slightly late thread.
const RING: usize = 16;

/// Events counted by the second, without a lock: a ring with one slot per second.
///
/// A slot holds its second in the upper 32 bits and the count in the lower 32 of one word, so that the first event of a
/// new second claims and clears the slot in one step. No machine sees 2^32 requests in a second, so the count does not
/// overflow into the second.
#[derive(Debug, Default)]
struct Seconds([AtomicU64; RING]);

impl Seconds {
    /// Counts an event in this second, unless the slot already belongs to a later one, which is beyond any window.
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
            // A thread suspended right here for a whole ring counts in a later second: one event too many in its
            // window, and none lost.
            slot.fetch_add(1, Relaxed);
        }
    }

    /// Returns the number of events in the window that ends with this second.
    fn within(&self, second: u32) -> u64 {
        let words = self.0.iter().map(|slot| slot.load(Relaxed));
        words
            .filter(|&word| second.checked_sub(second_of(word)).is_some_and(|age| age < WINDOW))
            .map(|word| word & u64::from(u32::MAX))
            .sum()
    }
}

/// Returns the second of a slot.
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

    /// Returns a budget, and a function from milliseconds since its start to a time.
    fn budget(options: RetryBudgetOptions) -> (RetryBudget, impl Fn(u64) -> Instant) {
        let start = Instant::now();
        (RetryBudget::new(options, start), move |millis| start + Duration::from_millis(millis))
    }

    fn count(budget: &RetryBudget, now: Instant, times: usize) {
        (0..times).for_each(|_| budget.count_request(now));
    }

    /// Asks until a retry is refused, and returns the number granted.
    fn granted(budget: &RetryBudget, now: Instant) -> usize {
        (0..100_000).take_while(|_| budget.try_grant(now)).count()
    }

    #[test]
    fn the_defaults_are_20_per_cent_and_10_a_second() {
        assert_eq!(RetryBudgetOptions::default(), DEFAULT);
    }

    #[test]
    fn allows_a_fraction_of_the_requests_or_the_floor() {
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
    fn the_floor_is_available_from_the_first_second() {
        let (budget, at) = budget(DEFAULT);
        assert_eq!(granted(&budget, at(0)), 100);
        assert_eq!(granted(&budget, at(9_999)), 0);
        assert_eq!(granted(&budget, at(10_000)), 100);
    }

    #[test]
    fn many_requests_allow_a_fifth_of_their_number() {
        let (budget, at) = budget(DEFAULT);
        for second in 0..10 {
            count(&budget, at(second * 1000), 1000);
        }
        assert_eq!(granted(&budget, at(9_000)), 2000);
        count(&budget, at(9_500), 50);
        assert_eq!(granted(&budget, at(9_500)), 10);
    }

    #[test]
    fn the_window_slides_over_requests_and_over_retries() {
        let (budget, at) = budget(NO_FLOOR);
        count(&budget, at(0), 100);
        count(&budget, at(5_000), 50);
        assert_eq!(granted(&budget, at(5_000)), 30);
        // The hundred requests of the first second have left the window; the thirty retries have not.
        assert_eq!(granted(&budget, at(10_000)), 0);
        count(&budget, at(14_000), 100);
        assert_eq!(granted(&budget, at(14_999)), 0); // 150 requests and 30 retries
        assert_eq!(granted(&budget, at(15_000)), 20); // 100 requests and no retries
    }

    #[test]
    fn slots_are_reused_after_a_long_pause() {
        let (budget, at) = budget(NO_FLOOR);
        for hours in [0, 1, 24, 24 * 365 * 20] {
            // The same slot each time, and then its neighbour.
            for second in [hours * 3600 / 16 * 16, hours * 3600 / 16 * 16 + 20] {
                count(&budget, at(second * 1000), 50);
                assert_eq!(granted(&budget, at(second * 1000)), 10, "after {second} s");
            }
        }
    }

    #[test]
    fn beyond_the_last_countable_second_time_stands_still() {
        let (budget, at) = budget(NO_FLOOR);
        let end = u64::from(u32::MAX) * 1000;
        count(&budget, at(end), 50);
        count(&budget, at(end + 3_600_000), 50);
        assert_eq!(granted(&budget, at(end + 7_200_000)), 20);
    }

    #[test]
    fn a_clock_that_is_a_little_late_loses_no_request_and_gains_no_retry() {
        let (budget, at) = budget(NO_FLOOR);
        count(&budget, at(20_000), 50);
        count(&budget, at(17_000), 50); // three seconds late
        assert_eq!(granted(&budget, at(20_000)), 20);
        count(&budget, at(19_000), 5);
        assert_eq!(granted(&budget, at(17_000)), 1); // not 10 of its own
        count(&budget, at(3_000), 1000); // their slot belongs to second 19 now
        assert_eq!(granted(&budget, at(20_000)), 0);
    }

    #[test]
    fn an_earlier_second_sees_its_own_window() {
        let (budget, at) = budget(NO_FLOOR);
        count(&budget, at(15_000), 50);
        count(&budget, at(25_000), 1000);
        assert_eq!(granted(&budget, at(24_999)), 10);
        assert_eq!(granted(&budget, at(25_000)), 190);
    }

    #[test]
    fn a_clock_from_before_the_start_is_the_start() {
        let start = Instant::now() + Duration::from_secs(60);
        let budget = RetryBudget::new(NO_FLOOR, start);
        count(&budget, start - Duration::from_secs(30), 5);
        assert!(budget.try_grant(start));
        assert!(!budget.try_grant(start - Duration::from_secs(30)));
    }

    #[test]
    fn many_threads_lose_no_request_and_get_no_extra_retry() {
        let (budget, at) = budget(NO_FLOOR);
        let retries = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (budget, at, retries) = (&budget, &at, &retries);
                scope.spawn(move || {
                    for turn in 0..10_000 {
                        // Ten seconds go by, for each thread a little earlier or later.
                        let now = at((turn + thread * 50).min(9_999));
                        budget.count_request(now);
                        retries.fetch_add(usize::from(budget.try_grant(now)), Relaxed);
                    }
                });
            }
        });
        retries.fetch_add(granted(&budget, at(9_999)), Relaxed);
        assert_eq!(retries.into_inner(), 16_000); // a fifth of 80 000, and not one more
    }

    #[test]
    fn simultaneous_first_events_of_a_second_are_all_counted() {
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
        fn agrees_with_a_list_of_all_events(
            percent in 0u32..150, floor in 0u32..3,
            steps in proptest::collection::vec((0u64..4_000, 0usize..40, 0usize..40), 1..30),
        ) {
            let (budget, at) = budget(RetryBudgetOptions { percent, floor });
            let (mut requests, mut retries, mut millis) = (Vec::new(), Vec::new(), 0);
            for (pause, noted, asked) in steps {
                millis += pause;
                let second = millis / 1000;
                let recent = |list: &[u64]| list.iter().filter(|&&then| then + 10 > second).count();
                count(&budget, at(millis), noted);
                requests.extend(std::iter::repeat_n(second, noted));
                for _ in 0..asked {
                    let allowed = (percent as usize * recent(&requests) / 100).max(floor as usize * 10);
                    let may = budget.try_grant(at(millis));
                    prop_assert_eq!(may, recent(&retries) < allowed);
                    retries.extend(may.then_some(second));
                }
            }
        }
    }
}
