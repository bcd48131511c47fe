//! The policy for slow clients: how long a worker may wait for one. Pure: `client_stream` does the waiting.
//!
//! A worker waits for any client for up to `FREE_WAIT`. A longer wait needs a permit, and there are permits for
//! half of the workers only, so that slow clients, in any number, never hold the whole pool. Under congestion, a
//! worker does not wait for a client without a permit at all. A client with a permit has to keep a minimum rate.

use crate::edge::parked::semaphore::{Permit, Semaphore};
use std::time::{Duration, Instant};

/// Longest total wait for one request's client without a permit. It is long for a client on the same network, and short
/// enough that waits without a permit do not exhaust the pool.
const FREE_WAIT: Duration = Duration::from_millis(100);

/// Longest time that a worker blocks on a socket before it checks whether it has to stop.
pub const WAKE_INTERVAL: Duration = Duration::from_millis(20);

/// Time per byte that does not count as waiting, equal to ten million bytes per second.
const TRANSFER_TIME: Duration = Duration::from_nanos(100);

/// The longest pause and the lowest rate that a client is allowed in one direction.
#[derive(Clone, Copy, Debug)]
pub struct SlowClientPolicy {
    /// Longest pause between two bytes.
    pub max_pause: Duration,
    /// Lowest rate in bytes per second, which applies once the total wait exceeds `max_pause`. 0 means no limit.
    pub min_rate: u64,
}

impl SlowClientPolicy {
    /// Returns whether a client that has moved `moved` bytes in `waited` is below the minimum rate.
    pub fn is_too_slow(&self, waited: Duration, moved: u64) -> bool {
        self.allowed_time(moved).is_some_and(|allowed| waited > allowed)
    }

    /// Returns when a client that began at `began` and has moved `moved` bytes by `now` must have moved
    /// more.
    pub fn deadline(&self, began: Instant, now: Instant, moved: u64) -> Instant {
        let pause_end = now + self.max_pause;
        let rate_end = self.allowed_time(moved).and_then(|allowed| began.checked_add(allowed));
        rate_end.map_or(pause_end, |end| end.min(pause_end))
    }

    /// Returns the time that `moved` bytes may take in all, or `None` if there is no minimum rate.
    fn allowed_time(&self, moved: u64) -> Option<Duration> {
        let at_min_rate = Duration::from_secs(moved.checked_div(self.min_rate)?);
        Some(self.max_pause.saturating_add(at_min_rate))
    }
}

/// The total wait for one request's client in one direction.
#[derive(Debug, Default)]
pub struct ClientWait {
    total: Duration,
    since_last_byte: Duration,
    moved: u64,
    permit: Option<Permit>,
    /// The reason why no further wait is allowed, or `None`.
    refused: Option<WaitRefused>,
}

/// The reason why a client may not be waited for any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitRefused {
    /// It was too slow.
    TooSlow,
    /// No permit was left for it.
    NoPermit,
}

impl ClientWait {
    /// Resets the wait for the other direction. A permit is kept.
    pub fn change_direction(&mut self) {
        *self = ClientWait { permit: self.permit.take(), ..ClientWait::default() };
    }

    /// Checks that the client may be waited for.
    ///
    /// # Errors
    /// The reason of an earlier [`record`](ClientWait::record) that it may not.
    pub fn check(&self) -> Result<(), WaitRefused> {
        self.refused.map_or(Ok(()), Err)
    }

    /// Acquires a permit unless the client has one. Returns whether it has one now.
    pub fn acquire_permit(&mut self, permits: &Semaphore) -> bool {
        self.permit = self.permit.take().or_else(|| permits.try_acquire(1));
        self.permit.is_some()
    }

    /// Records that the client has been waited for during `time`, and has moved `moved` bytes in it.
    ///
    /// # Errors
    /// When the client may not be waited for any longer.
    pub fn record(
        &mut self,
        time: Duration,
        moved: usize,
        policy: &SlowClientPolicy,
        permits: &Semaphore,
    ) -> Result<(), WaitRefused> {
        let transfer = TRANSFER_TIME.saturating_mul(u32::try_from(moved).unwrap_or(u32::MAX));
        let waited = time.saturating_sub(transfer);
        self.total += waited;
        self.moved += moved as u64;
        self.since_last_byte = if moved > 0 { Duration::ZERO } else { self.since_last_byte + waited };
        let too_slow = self.since_last_byte >= policy.max_pause || policy.is_too_slow(self.total, self.moved);
        self.refused = if too_slow {
            Some(WaitRefused::TooSlow)
        } else if self.total >= FREE_WAIT && !self.acquire_permit(permits) {
            Some(WaitRefused::NoPermit)
        } else {
            None
        };
        self.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: SlowClientPolicy = SlowClientPolicy { max_pause: Duration::from_secs(30), min_rate: 100 };
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn needs_a_permit_beyond_the_free_wait() {
        let permits = Semaphore::new(1);
        let (mut one, mut two) = (ClientWait::default(), ClientWait::default());
        for wait in [&mut one, &mut two] {
            assert_eq!(wait.record(FREE_WAIT / 2, 0, &POLICY, &permits), Ok(()));
        }
        assert_eq!(one.record(FREE_WAIT / 2, 0, &POLICY, &permits), Ok(()));
        assert_eq!(
            two.record(FREE_WAIT / 2, 0, &POLICY, &permits),
            Err(WaitRefused::NoPermit),
            "the one permit is taken"
        );
        assert_eq!(two.check(), Err(WaitRefused::NoPermit));
        one.change_direction();
        assert_eq!(one.record(SECOND, 0, &POLICY, &permits), Ok(()), "it still has its permit");
        drop(one);
        assert_eq!(two.record(SECOND, 10, &POLICY, &permits), Ok(()), "the permit has been returned");
    }

    #[test]
    fn counts_no_wait_at_ten_megabytes_a_second() {
        let (permits, mut wait) = (Semaphore::new(0), ClientWait::default());
        for _ in 0..100 {
            assert_eq!(wait.record(SECOND / 10, 1_000_000, &POLICY, &permits), Ok(()));
        }
        assert_eq!(wait.record(FREE_WAIT, 1, &POLICY, &permits), Ok(()), "within the free wait");
        assert_eq!(wait.record(FREE_WAIT, 1, &POLICY, &permits), Err(WaitRefused::NoPermit));
    }

    #[test]
    fn measures_a_pause_from_the_last_byte() {
        let (permits, mut wait) = (Semaphore::new(1), ClientWait::default());
        assert_eq!(wait.record(29 * SECOND, 0, &POLICY, &permits), Ok(()));
        assert_eq!(wait.record(SECOND / 2, 1000, &POLICY, &permits), Ok(()));
        assert_eq!(wait.record(29 * SECOND, 1_000_000, &POLICY, &permits), Ok(()));
        assert_eq!(wait.record(30 * SECOND, 0, &POLICY, &permits), Err(WaitRefused::TooSlow));
    }

    #[test]
    fn refuses_a_trickle_below_the_minimum_rate() {
        for (min_rate, outcome) in [(100, Err(WaitRefused::TooSlow)), (0, Ok(()))] {
            let (permits, mut wait) = (Semaphore::new(1), ClientWait::default());
            let policy = SlowClientPolicy { min_rate, ..POLICY };
            let all = (0..31).try_for_each(|_| wait.record(SECOND, 1, &policy, &permits));
            assert_eq!(all, outcome);
        }
        assert!(!POLICY.is_too_slow(40 * SECOND, 1000), "30 s of pause, and 10 s for a thousand bytes");
        assert!(POLICY.is_too_slow(41 * SECOND, 1000));
    }
}
