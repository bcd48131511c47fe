//! The limit on the requests that one backend serves at the same time.
//!
//! [`InFlightLimit`] admits a request while a slot is free, and never exceeds the limit, not even for a moment. When
//! every eligible backend is at its limit, the request joins the [`WaitingQueue`], and a released slot goes to
//! the lowest ticket that accepts this backend; a later request cannot overtake it.
//!
//! **No lock is taken while the queue is empty.** Acquiring is one compare-and-exchange on one word, releasing is one
//! subtraction and one load. With waiters present, every handover is decided under the queue's lock.
//!
//! **No wake-up is lost.** A waiter first registers its demand and then tries once more; a release first frees the
//! slot and then reads the demand. All four steps are `SeqCst` and therefore have a single total order, so at least
//! one of the two sides sees the other's step.
//!
//! `models/` checks this over many thousands of thread schedules.

use super::waiting_queue::{QueuePosition, WaitOutcome, Waiters, WaitingQueue};
use crate::sys::sync::Arc;
use crate::sys::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::Instant;

// The slots in use, the limit and the closed bit share one word: an exchange that succeeds has seen all three at the
// same moment.
const CLOSED: u64 = 1 << 63;
const IN_FLIGHT: u64 = u32::MAX as u64;
const LIMIT_SHIFT: u32 = 32;

/// The highest limit: 2³¹ − 1. Higher ones are reduced to it.
const HIGHEST: usize = (u32::MAX >> 1) as usize;

fn in_flight(state: u64) -> usize {
    (state & IN_FLIGHT) as usize
}

fn limit(state: u64) -> usize {
    ((state & !CLOSED) >> LIMIT_SHIFT) as usize
}

fn with_limit(state: u64, limit: usize) -> u64 {
    state & (CLOSED | IN_FLIGHT) | (limit.min(HIGHEST) as u64) << LIMIT_SHIFT
}

/// The slots of one backend: the number in use and the limit.
///
/// ```
/// use std::{sync::Arc, time::Instant};
/// use turnwheel::internals::limit::{InFlightLimit, wait};
/// use turnwheel::internals::waiting_queue::{WaitOutcome, WaitingQueue};
///
/// let queue = Arc::new(WaitingQueue::default());
/// let limit = InFlightLimit::new(Arc::clone(&queue), 1);
/// let mut position = queue.position(); // before a backend is selected
/// assert!(limit.try_acquire());
/// assert!(!limit.try_acquire());
/// assert_eq!(wait(&queue, &mut position, &[&limit], Instant::now()), WaitOutcome::TimedOut);
/// limit.release();
/// assert_eq!(wait(&queue, &mut position, &[&limit], Instant::now()), WaitOutcome::Acquired(0));
/// ```
#[derive(Debug)]
pub struct InFlightLimit {
    queue: Arc<WaitingQueue>,
    /// Identifies this limit in the list that a waiter accepts.
    id: u64,
    state: AtomicU64,
    /// The number of waiters that accept this backend.
    demand: AtomicUsize,
}

impl InFlightLimit {
    /// Creates a limit with this number of slots, all free. Requests that find none wait in `queue`.
    pub fn new(queue: Arc<WaitingQueue>, limit: usize) -> Self {
        let id = queue.lock().next_number();
        InFlightLimit { queue, id, state: AtomicU64::new(with_limit(0, limit)), demand: AtomicUsize::new(0) }
    }

    /// Returns the number of slots in use.
    pub fn in_flight(&self) -> usize {
        in_flight(self.state.load(SeqCst))
    }

    /// Returns the number of slots, whether it is closed or not.
    pub fn limit(&self) -> usize {
        limit(self.state.load(SeqCst))
    }

    /// Changes the number of slots. Requests above a lower limit may finish; none is admitted until a slot is free.
    pub fn set_limit(&self, limit: usize) {
        let _ = self.state.fetch_update(SeqCst, SeqCst, |state| Some(with_limit(state, limit)));
        self.admit_waiters();
    }

    /// Admits no further request. From its return on, the number of slots in use can only fall until [`open`]
    /// is called; at 0 the backend is drained.
    ///
    /// Waiters are not woken: see [`WaitingQueue::announce_change`].
    ///
    /// [`open`]: Self::open
    pub fn close(&self) {
        self.state.fetch_or(CLOSED, SeqCst);
    }

    /// Admits requests again.
    pub fn open(&self) {
        self.state.fetch_and(!CLOSED, SeqCst);
        self.admit_waiters();
    }

    /// Returns whether it is closed.
    pub fn is_closed(&self) -> bool {
        self.state.load(SeqCst) & CLOSED != 0
    }

    /// Takes a slot if one is free and no request waits for it. Each slot is given back by [`Self::release`].
    ///
    /// `false` with a slot free means that a waiter is about to get it. [`wait`] resolves that, without blocking
    /// where it need not.
    pub fn try_acquire(&self) -> bool {
        self.try_acquire_within(usize::MAX)
    }

    /// Takes a slot under the lower of its own limit and this one, for a backend on trial. [`wait`] applies the own
    /// limit only, so such a backend must not be waited for.
    pub fn try_acquire_within(&self, limit: usize) -> bool {
        // Waiters have precedence.
        self.demand.load(SeqCst) == 0 && self.take(limit)
    }

    /// Gives a slot back and hands it to the first waiter that accepts this backend. To be called once for each slot
    /// acquired, by a guard's `Drop`. Does not panic.
    pub fn release(&self) {
        self.state.fetch_sub(1, SeqCst); // at least one is in use, so the bits above it are not touched
        self.admit_waiters();
    }

    fn take(&self, within: usize) -> bool {
        let one_more = |state| {
            let free = state & CLOSED == 0 && in_flight(state) < limit(state).min(within);
            free.then_some(state + 1)
        };
        self.state.fetch_update(SeqCst, SeqCst, one_more).is_ok()
    }

    /// Hands free slots to waiters, if there are any. Must be called after a slot may have become free: a waiter tries to
    /// acquire one only once.
    fn admit_waiters(&self) {
        if self.demand.load(SeqCst) > 0 {
            self.hand_over(&mut self.queue.lock());
        }
    }

    /// Hands free slots to the waiters that accept this backend, the lowest ticket first.
    fn hand_over(&self, waiters: &mut Waiters) {
        for waiter in waiters.pending() {
            let Some(index) = waiter.preference(self.id) else { continue };
            if !self.take(usize::MAX) {
                break;
            }
            waiter.wake(WaitOutcome::Acquired(index));
        }
    }
}

/// Waits until one of these limits, in order of preference, hands over a slot, or until the deadline.
///
/// With a slot free it returns at once, whatever the deadline; with no limit to wait for it waits for a change. The
/// limits and the position must belong to `queue`.
pub fn wait(
    queue: &WaitingQueue,
    position: &mut QueuePosition,
    limits: &[&InFlightLimit],
    deadline: Instant,
) -> WaitOutcome {
    let mut waiters = queue.lock();
    let accepts = limits.iter().map(|limit| limit.id).collect();
    let Some(ticket) = queue.join(&mut waiters, position, accepts) else { return WaitOutcome::Changed };
    // Demand first, a try second: a slot released in between is seen by one of the two sides.
    for limit in limits {
        limit.demand.fetch_add(1, SeqCst);
    }
    for limit in limits {
        limit.hand_over(&mut waiters);
    }
    let mut waiters = queue.block(waiters, ticket, deadline);
    for limit in limits {
        limit.demand.fetch_sub(1, SeqCst);
    }
    queue.quit(&mut waiters, position, ticket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    fn backends<const N: usize>(limits: [usize; N]) -> (Arc<WaitingQueue>, [InFlightLimit; N]) {
        let queue = Arc::new(WaitingQueue::default());
        let limits = limits.map(|limit| InFlightLimit::new(Arc::clone(&queue), limit));
        (queue, limits)
    }

    /// Returns a deadline that no wait reaches on a busy machine.
    fn ample_deadline() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn until(what: impl Fn() -> bool) {
        let deadline = ample_deadline();
        while !what() {
            assert!(Instant::now() < deadline, "the condition was not met in time");
            thread::yield_now();
        }
    }

    /// Runs `body` while one waiter for each of these waits, in this order of tickets. An admitted waiter sends its
    /// number and keeps its slot.
    fn with_waiters(
        queue: &WaitingQueue,
        accepted: &[&[&InFlightLimit]],
        body: impl FnOnce(&mpsc::Receiver<usize>),
    ) {
        thread::scope(|scope| {
            let (admit_as, admitted) = mpsc::channel();
            for (number, accepted) in accepted.iter().enumerate() {
                let admit_as = admit_as.clone();
                scope.spawn(move || {
                    let outcome = wait(queue, &mut queue.position(), accepted, ample_deadline());
                    assert!(matches!(outcome, WaitOutcome::Acquired(_)), "{outcome:?}");
                    admit_as.send(number).unwrap();
                });
                until(|| queue.len() == number + 1);
            }
            body(&admitted);
        });
    }

    #[test]
    fn never_admits_more_requests_than_there_are_slots() {
        let (queue, [limit]) = backends([3]);
        let (inside, highest) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..5000 {
                        if !limit.try_acquire() {
                            let outcome = wait(&queue, &mut queue.position(), &[&limit], ample_deadline());
                            assert_eq!(outcome, WaitOutcome::Acquired(0));
                        }
                        highest.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
                        assert!(limit.in_flight() <= 3);
                        inside.fetch_sub(1, SeqCst);
                        limit.release();
                    }
                });
            }
        });
        assert!(highest.load(SeqCst) <= 3);
        assert_eq!((limit.in_flight(), queue.len(), limit.demand.load(SeqCst)), (0, 0, 0));
    }

    #[test]
    fn serves_waiters_in_order_and_admits_no_later_request_first() {
        let (queue, [limit]) = backends([1]);
        assert!(limit.try_acquire());
        with_waiters(&queue, &[&[&limit], &[&limit], &[&limit]], |admitted| {
            for number in 0..3 {
                assert!(!limit.try_acquire(), "a request is waiting");
                limit.release();
                assert_eq!(admitted.recv(), Ok(number));
                assert_eq!(limit.in_flight(), 1);
            }
        });
        assert!(queue.is_empty());
    }

    #[test]
    fn passes_over_a_waiter_for_another_backend() {
        let (queue, [one, other]) = backends([1, 1]);
        assert!(one.try_acquire() && other.try_acquire());
        with_waiters(&queue, &[&[&one], &[&other], &[&one, &other]], |admitted| {
            for (backend, number) in [(&other, 1), (&other, 2), (&one, 0)] {
                backend.release();
                assert_eq!(admitted.recv(), Ok(number));
            }
        });
    }

    #[test]
    fn admits_a_request_past_waiters_for_another_backend() {
        let (queue, [full, idle]) = backends([1, 2]);
        assert!(full.try_acquire());
        with_waiters(&queue, &[&[&full]], |admitted| {
            assert!(idle.try_acquire());
            assert_eq!(
                wait(&queue, &mut queue.position(), &[&full, &idle], Instant::now()),
                WaitOutcome::Acquired(1)
            );
            full.release();
            assert_eq!(admitted.recv(), Ok(0));
        });
    }

    #[test]
    fn a_waiter_that_times_out_leaves_the_queue() {
        let (queue, [limit]) = backends([1]);
        assert!(limit.try_acquire());
        let soon = Instant::now() + Duration::from_millis(20);
        assert_eq!(wait(&queue, &mut queue.position(), &[&limit], soon), WaitOutcome::TimedOut);
        assert!(Instant::now() >= soon && queue.is_empty());
        limit.release();
        assert_eq!(limit.in_flight(), 0, "a slot was handed to a waiter that is gone");
        assert!(limit.try_acquire());
    }

    #[test]
    fn a_waiter_keeps_its_ticket_across_a_change() {
        let (queue, [limit]) = backends([1]);
        let (queue, limit) = (&*queue, &limit);
        assert!(limit.try_acquire());
        thread::scope(|scope| {
            let first = scope.spawn(|| {
                let mut position = queue.position();
                assert_eq!(wait(queue, &mut position, &[limit], ample_deadline()), WaitOutcome::Changed);
                position
            });
            until(|| queue.len() == 1);
            queue.announce_change();
            let mut position = first.join().unwrap();
            assert!(queue.is_empty());
            with_waiters(queue, &[&[limit]], |admitted| {
                let again = scope.spawn(move || wait(queue, &mut position, &[limit], ample_deadline()));
                until(|| queue.len() == 2);
                limit.release();
                assert_eq!(again.join().unwrap(), WaitOutcome::Acquired(0));
                assert!(admitted.try_recv().is_err(), "the later waiter was admitted first");
                limit.release();
                assert_eq!(admitted.recv(), Ok(0));
            });
        });
    }

    #[test]
    fn notices_a_change_announced_before_the_wait() {
        let (queue, []) = backends([]);
        let mut position = queue.position();
        queue.announce_change();
        assert_eq!(wait(&queue, &mut position, &[], ample_deadline()), WaitOutcome::Changed);
        assert_eq!(wait(&queue, &mut position, &[], Instant::now()), WaitOutcome::TimedOut);
    }

    #[test]
    fn admits_no_request_while_closed() {
        let (queue, [limit]) = backends([2]);
        assert!(limit.try_acquire());
        limit.close();
        assert!(!limit.try_acquire());
        assert_eq!(wait(&queue, &mut queue.position(), &[&limit], Instant::now()), WaitOutcome::TimedOut);
        with_waiters(&queue, &[&[&limit]], |admitted| {
            limit.release();
            limit.set_limit(5);
            assert_eq!((limit.in_flight(), limit.limit(), admitted.try_recv().is_err()), (0, 5, true));
            limit.open();
            assert_eq!(admitted.recv(), Ok(0));
        });
        assert_eq!(limit.in_flight(), 1);
    }

    #[test]
    fn a_changed_limit_holds_at_once_and_admits_waiters() {
        let (queue, [limit]) = backends([2]);
        assert!(limit.try_acquire() && limit.try_acquire());
        limit.set_limit(1);
        limit.release();
        assert!(!limit.try_acquire(), "one slot is in use, and the limit is one");
        with_waiters(&queue, &[&[&limit], &[&limit]], |admitted| {
            limit.set_limit(usize::MAX);
            let mut both = [admitted.recv().unwrap(), admitted.recv().unwrap()];
            both.sort();
            assert_eq!((both, limit.in_flight(), limit.limit()), ([0, 1], 3, HIGHEST));
        });
        limit.set_limit(0);
        assert!(!limit.try_acquire());
    }

    #[test]
    fn a_lower_limit_for_one_try_is_kept() {
        let (_queue, [limit]) = backends([10]);
        assert!(limit.try_acquire_within(1));
        assert!(!limit.try_acquire_within(1));
        assert!(limit.try_acquire());
    }
}
