//! How long may a worker wait for a client? Decided here, purely; `client_stream` does the waiting.
//!
//! Every client may keep a worker waiting for a moment. One that takes longer needs a permit, and
//! there are permits for half of the workers only: so slow clients, however many, never take the
//! whole pool. While requests have to wait for long there is no moment either: who has no permit is
//! not wait for at all. And a client with a permit has to get on with it.

use super::semaphore::{Permit, Semaphore};
use std::time::{Duration, Instant};

/// What one request may make workers wait in all without a permit. A client on the same network does
/// not need it, and a pool of workers that waste it one after the other is soon through.
const FREE_WAIT: Duration = Duration::from_millis(100);

/// The longest that a worker waits before it looks up: so late, at most, it notices that it is to stop.
pub const WAKE_INTERVAL: Duration = Duration::from_millis(20);

/// What moving a byte may take: ten million a second are no waiting.
const PER_BYTE: Duration = Duration::from_nanos(100);

/// What clients must keep to.
#[derive(Clone, Copy, Debug)]
pub struct SlowClientPolicy {
    /// The longest pause.
    pub pause: Duration,
    /// Bytes a second, once a pause's time has been wait in all. 0: as slow as it likes.
    pub rate: u64,
}

impl SlowClientPolicy {
    /// Has a client that has moved so many bytes been wait for too long?
    pub fn is_too_slow(&self, wait: Duration, moved: u64) -> bool {
        self.grace(moved).is_some_and(|grace| wait > grace)
    }

    /// When a client that has been wait for since `began` and has just moved something must move more.
    pub fn deadline(&self, began: Instant, now: Instant, moved: u64) -> Instant {
        let pause = now + self.pause;
        self.grace(moved).and_then(|grace| began.checked_add(grace)).map_or(pause, |end| end.min(pause))
    }

    /// What moving so many bytes may take in all.
    fn grace(&self, moved: u64) -> Option<Duration> {
        moved.checked_div(self.rate).map(|seconds| self.pause.saturating_add(Duration::from_secs(seconds)))
    }
}

/// How long one request's client has been wait for, in one direction.
#[derive(Debug, Default)]
pub struct ClientWait {
    in_all: Duration,
    in_vain: Duration,
    moved: u64,
    permit: Option<Permit>,
    /// Why it may not be wait for again.
    over: Option<TooSlow>,
}

/// Why a client is not wait for any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooSlow {
    /// It has had its time.
    Client,
    /// No permit was left for it.
    NoPermit,
}

impl ClientWait {
    /// Nothing yet, in the other direction. The permit stays.
    pub fn turn_round(&mut self) {
        *self = ClientWait { permit: self.permit.take(), ..ClientWait::default() };
    }

    /// May the client be wait for once more?
    ///
    /// # Errors
    /// When it has been said that it may not.
    pub fn may_go_on(&self) -> Result<(), TooSlow> {
        self.over.map_or(Ok(()), Err)
    }

    /// Has it a permit, or is there one for it?
    pub fn has_permit(&mut self, permits: &Semaphore) -> bool {
        self.permit = self.permit.take().or_else(|| permits.take(1));
        self.permit.is_some()
    }

    /// Notes that the client has been wait for, and how many bytes came of it.
    ///
    /// # Errors
    /// When it may not be wait for any longer.
    pub fn note(
        &mut self,
        time: Duration,
        moved: usize,
        policy: &SlowClientPolicy,
        permits: &Semaphore,
    ) -> Result<(), TooSlow> {
        let moving = PER_BYTE.saturating_mul(u32::try_from(moved).unwrap_or(u32::MAX));
        let time = time.saturating_sub(moving);
        self.in_all += time;
        self.moved += moved as u64;
        self.in_vain = if moved > 0 { Duration::ZERO } else { self.in_vain + time };
        self.over = if self.in_vain >= policy.pause || policy.is_too_slow(self.in_all, self.moved) {
            Some(TooSlow::Client)
        } else if self.in_all >= FREE_WAIT && !self.has_permit(permits) {
            Some(TooSlow::NoPermit)
        } else {
            None
        };
        self.may_go_on()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: SlowClientPolicy = SlowClientPolicy { pause: Duration::from_secs(30), rate: 100 };
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_moment_is_free_and_more_needs_a_permit() {
        let permits = Semaphore::of(1);
        let (mut one, mut two) = (ClientWait::default(), ClientWait::default());
        for wait in [&mut one, &mut two] {
            assert_eq!(wait.note(FREE_WAIT / 2, 0, &POLICY, &permits), Ok(()));
        }
        assert_eq!(one.note(FREE_WAIT / 2, 0, &POLICY, &permits), Ok(()));
        assert_eq!(two.note(FREE_WAIT / 2, 0, &POLICY, &permits), Err(TooSlow::NoPermit), "it is taken");
        assert_eq!(two.may_go_on(), Err(TooSlow::NoPermit));
        one.turn_round();
        assert_eq!(one.note(SECOND, 0, &POLICY, &permits), Ok(()), "it has it still");
        drop(one);
        assert_eq!(two.note(SECOND, 10, &POLICY, &permits), Ok(()), "it has come back");
    }

    #[test]
    fn who_moves_ten_megabytes_a_second_is_not_waited_for() {
        let (permits, mut wait) = (Semaphore::of(0), ClientWait::default());
        for _ in 0..100 {
            assert_eq!(wait.note(SECOND / 10, 1_000_000, &POLICY, &permits), Ok(()));
        }
        assert_eq!(wait.note(FREE_WAIT, 1, &POLICY, &permits), Ok(()), "all but a moment");
        assert_eq!(wait.note(FREE_WAIT, 1, &POLICY, &permits), Err(TooSlow::NoPermit));
    }

    #[test]
    fn a_pause_ends_when_bytes_move() {
        let (permits, mut wait) = (Semaphore::of(1), ClientWait::default());
        assert_eq!(wait.note(29 * SECOND, 0, &POLICY, &permits), Ok(()));
        assert_eq!(wait.note(SECOND / 2, 1000, &POLICY, &permits), Ok(()));
        assert_eq!(wait.note(29 * SECOND, 1_000_000, &POLICY, &permits), Ok(()));
        assert_eq!(wait.note(30 * SECOND, 0, &POLICY, &permits), Err(TooSlow::Client));
    }

    #[test]
    fn a_trickle_is_too_slow_in_the_end_unless_no_rate_is_asked_for() {
        for (rate, outcome) in [(100, Err(TooSlow::Client)), (0, Ok(()))] {
            let (permits, mut wait) = (Semaphore::of(1), ClientWait::default());
            let policy = SlowClientPolicy { rate, ..POLICY };
            let all = (0..31).try_for_each(|_| wait.note(SECOND, 1, &policy, &permits));
            assert_eq!(all, outcome);
        }
        assert!(!POLICY.is_too_slow(40 * SECOND, 1000), "30 seconds, and 10 for a thousand bytes");
        assert!(POLICY.is_too_slow(41 * SECOND, 1000));
    }
}
