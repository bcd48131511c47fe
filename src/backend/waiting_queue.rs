//! The queue in which requests wait for a backend while every eligible backend is at its limit.
//!
//! One queue serves all backends. Each waiter holds a ticket and names the backends that it accepts; a
//! [limit](super::limit) that gets a free slot hands it to the lowest ticket that names it. Each handover wakes
//! exactly one thread.

use crate::sys::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use crate::sys::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::collections::BTreeMap;
use std::time::Instant;

/// Requests that wait for a slot, in the order of their tickets.
#[derive(Debug, Default)]
pub struct WaitingQueue {
    /// The number of waiters, readable without the lock.
    waiting: AtomicUsize,
    /// The number of changes announced so far. Written with the lock held.
    changes: AtomicU64,
    waiters: Mutex<Waiters>,
}

/// The outcome of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitOutcome {
    /// The caller has a slot of the limit at this index in its list, and has to release it.
    Acquired(usize),
    /// The set of backends has changed. The caller selects again and returns with the same position.
    Changed,
    /// The deadline has passed.
    TimedOut,
}

/// The position of one request in a [`WaitingQueue`]. It survives a [`WaitOutcome::Changed`].
#[derive(Debug)]
pub struct QueuePosition {
    /// Its ticket, from the first wait on.
    ticket: Option<u64>,
    /// The number of changes that the request has taken into account.
    seen: u64,
}

/// The state behind the lock.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    by_ticket: BTreeMap<u64, Waiter>,
    last_number: u64,
}

#[derive(Debug)]
pub(super) struct Waiter {
    /// The ids of the limits that it accepts, in its order of preference.
    accepts: Box<[u64]>,
    /// The outcome that its thread finds when it wakes; `None` while it waits.
    outcome: Option<WaitOutcome>,
    /// Wakes this waiter's thread only.
    condvar: Arc<Condvar>,
}

impl Waiter {
    /// Returns the index of this limit in the list that the waiter accepts, or `None`.
    pub(super) fn preference(&self, limit: u64) -> Option<usize> {
        self.accepts.iter().position(|id| *id == limit)
    }

    pub(super) fn wake(&mut self, outcome: WaitOutcome) {
        self.outcome = Some(outcome);
        self.condvar.notify_one();
    }
}

impl Waiters {
    /// Returns a number that was not returned before: a ticket, or the id of a limit.
    pub(super) fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Returns the waiters without an outcome, the lowest ticket first.
    pub(super) fn pending(&mut self) -> impl Iterator<Item = &mut Waiter> {
        self.by_ticket.values_mut().filter(|waiter| waiter.outcome.is_none())
    }

    fn is_pending(&self, ticket: u64) -> bool {
        self.by_ticket.get(&ticket).is_some_and(|waiter| waiter.outcome.is_none())
    }
}

impl WaitingQueue {
    /// Returns the position of a new request. It must be taken *before* the request selects among the backends: a
    /// change between that selection and the wait is then noticed.
    pub fn position(&self) -> QueuePosition {
        QueuePosition { ticket: None, seen: self.changes.load(SeqCst) }
    }

    /// Wakes every waiter with [`WaitOutcome::Changed`]. To be called after the set of usable backends has changed.
    ///
    /// Waiters keep their tickets, but a slot that is released before they return goes to a waiter that is present.
    pub fn announce_change(&self) {
        let mut waiters = self.lock();
        self.changes.fetch_add(1, SeqCst);
        waiters.pending().for_each(|waiter| waiter.wake(WaitOutcome::Changed));
    }

    /// Returns the number of waiters.
    pub fn len(&self) -> usize {
        self.waiting.load(SeqCst)
    }

    /// Returns whether there is no waiter.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a waiter, or returns `None` after a change that this position has not seen yet.
    pub(super) fn join(
        &self,
        waiters: &mut Waiters,
        position: &mut QueuePosition,
        accepts: Box<[u64]>,
    ) -> Option<u64> {
        let ticket = *position.ticket.get_or_insert_with(|| waiters.next_number());
        let changes = self.changes.load(SeqCst);
        if position.seen != changes {
            position.seen = changes;
            return None;
        }
        let waiter = Waiter { accepts, outcome: None, condvar: Arc::new(Condvar::new()) };
        waiters.by_ticket.insert(ticket, waiter);
        self.waiting.fetch_add(1, SeqCst);
        Some(ticket)
    }

    /// Blocks until this ticket has an outcome or the deadline passes.
    pub(super) fn block<'a>(
        &'a self,
        mut waiters: MutexGuard<'a, Waiters>,
        ticket: u64,
        deadline: Instant,
    ) -> MutexGuard<'a, Waiters> {
        let Some(condvar) = waiters.by_ticket.get(&ticket).map(|waiter| Arc::clone(&waiter.condvar)) else {
            return waiters;
        };
        let mut timed_out = false;
        while !timed_out && waiters.is_pending(ticket) {
            let left = deadline.saturating_duration_since(Instant::now());
            let woken = condvar.wait_timeout(waiters, left).unwrap_or_else(PoisonError::into_inner);
            (waiters, timed_out) = (woken.0, woken.1.timed_out());
        }
        waiters
    }

    /// Removes a waiter and returns its outcome. A slot handed over as the deadline passed still counts.
    pub(super) fn quit(
        &self,
        waiters: &mut Waiters,
        position: &mut QueuePosition,
        ticket: u64,
    ) -> WaitOutcome {
        self.waiting.fetch_sub(1, SeqCst);
        let outcome = waiters.by_ticket.remove(&ticket).and_then(|waiter| waiter.outcome);
        // A waiter with a slot has not seen the change, and may wait again for another try.
        if outcome == Some(WaitOutcome::Changed) {
            position.seen = self.changes.load(SeqCst);
        }
        outcome.unwrap_or(WaitOutcome::TimedOut)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Waiters> {
        // No code that holds the lock can panic between two related writes.
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
