//! Models of the in-flight limit and its waiting queue.

use crate::backend::limit::{InFlightLimit, wait};
use crate::backend::waiting_queue::{WaitOutcome, WaitingQueue};
use crate::cluster::swap::Swap;
use crate::sys::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use crate::sys::sync::{Arc, NO_SPURIOUS_WAKE_FROM, NO_TIMEOUT_FROM};
use shuttle::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

// The model's condition variable decides by the time left until a deadline whether a wait may time out. The hour is a
// margin, because real time passes while a model runs.
const HOUR: Duration = Duration::from_secs(3600);

/// A deadline that may pass at any moment, or never.
fn may_time_out() -> Instant {
    Instant::now() + HOUR
}

/// A deadline that never passes, with spurious wake-ups.
fn never_times_out() -> Instant {
    Instant::now() + NO_TIMEOUT_FROM + HOUR
}

/// A deadline that never passes, without spurious wake-ups.
fn never_wakes_spuriously() -> Instant {
    Instant::now() + NO_SPURIOUS_WAKE_FROM + HOUR
}

/// A backend with an independent count of the requests in it.
struct Backend {
    limit: InFlightLimit,
    slots: usize,
    inside: AtomicUsize,
}

impl Backend {
    fn new(queue: &Arc<WaitingQueue>, slots: usize) -> Arc<Self> {
        let limit = InFlightLimit::new(Arc::clone(queue), slots);
        Arc::new(Backend { limit, slots, inside: AtomicUsize::new(0) })
    }

    /// Uses and releases a slot.
    fn serve(&self) {
        let inside = self.inside.fetch_add(1, SeqCst) + 1;
        assert!(inside <= self.slots, "{inside} requests, limit {}", self.slots);
        assert!(self.limit.in_flight() <= self.slots);
        self.inside.fetch_sub(1, SeqCst);
        self.limit.release();
    }

    /// Asserts that all slots are free and none is lost.
    fn assert_idle(&self) {
        assert_eq!(self.limit.in_flight(), 0);
        assert!((0..self.slots).all(|_| self.limit.try_acquire()), "a slot is lost");
        assert!(!self.limit.try_acquire(), "there is a slot too many");
    }
}

/// Tries each backend, waits if all are at their limit, and serves. Returns `false` after a timeout.
fn serve_one(queue: &WaitingQueue, accepted: &[&Backend], deadline: Instant) -> bool {
    let mut position = queue.position();
    if let Some(backend) = accepted.iter().find(|backend| backend.limit.try_acquire()) {
        backend.serve();
        return true;
    }
    let limits: Vec<&InFlightLimit> = accepted.iter().map(|backend| &backend.limit).collect();
    match wait(queue, &mut position, &limits, deadline) {
        WaitOutcome::Acquired(index) => accepted[index].serve(),
        WaitOutcome::TimedOut => return false,
        WaitOutcome::Changed => panic!("no change was announced"),
    }
    true
}

/// Starts a worker that calls [`serve_one`] `rounds` times.
fn worker(
    queue: &Arc<WaitingQueue>,
    accepted: &[&Arc<Backend>],
    rounds: usize,
    deadline: fn() -> Instant,
) -> JoinHandle<()> {
    let (queue, accepted) = (Arc::clone(queue), accepted.iter().map(|b| Arc::clone(b)).collect::<Vec<_>>());
    thread::spawn(move || {
        let accepted: Vec<&Backend> = accepted.iter().map(AsRef::as_ref).collect();
        for _ in 0..rounds {
            let deadline = deadline();
            let served = serve_one(&queue, &accepted, deadline);
            assert!(served || deadline < Instant::now() + NO_TIMEOUT_FROM, "timed out without a deadline");
        }
    })
}

fn join(threads: impl IntoIterator<Item = JoinHandle<()>>) {
    threads.into_iter().for_each(|thread| thread.join().expect("a worker has panicked"));
}

/// Waits until other threads have made `what` true.
fn until(what: impl Fn() -> bool) {
    while !what() {
        thread::yield_now();
    }
}

/// Two threads and one slot: it is never acquired twice.
pub fn two_try_to_acquire() {
    let queue = Arc::new(WaitingQueue::default());
    let backend = Backend::new(&queue, 1);
    let other = Arc::clone(&backend);
    let thread = thread::spawn(move || {
        if other.limit.try_acquire() {
            other.serve();
        }
    });
    if backend.limit.try_acquire() {
        backend.serve();
    }
    join([thread]);
    backend.assert_idle();
}

/// A slot is released while another thread begins to wait: a lost wake-up would be a deadlock.
pub fn release_and_wait() {
    let queue = Arc::new(WaitingQueue::default());
    let backend = Backend::new(&queue, 1);
    assert!(backend.limit.try_acquire());
    let (same_queue, other) = (Arc::clone(&queue), Arc::clone(&backend));
    let thread = thread::spawn(move || {
        let outcome =
            wait(&same_queue, &mut same_queue.position(), &[&other.limit], never_wakes_spuriously());
        assert_eq!(outcome, WaitOutcome::Acquired(0));
    });
    backend.limit.release();
    join([thread]);
    assert_eq!(backend.limit.in_flight(), 1);
    assert!(queue.is_empty());
}

/// Like [`release_and_wait`], with a third thread that takes the slot in between if it can. All 16,274,601 schedules held
/// too, in three minutes.
pub fn release_wait_and_try() {
    let queue = Arc::new(WaitingQueue::default());
    let backend = Backend::new(&queue, 1);
    assert!(backend.limit.try_acquire());
    let (same_queue, other) = (Arc::clone(&queue), Arc::clone(&backend));
    let waits = thread::spawn(move || {
        let outcome =
            wait(&same_queue, &mut same_queue.position(), &[&other.limit], never_wakes_spuriously());
        assert_eq!(outcome, WaitOutcome::Acquired(0));
    });
    let other = Arc::clone(&backend);
    let tries = thread::spawn(move || {
        if other.limit.try_acquire() {
            other.limit.release();
        }
    });
    backend.limit.release();
    join([waits, tries]);
    assert_eq!(backend.limit.in_flight(), 1);
}

/// A thread acquires while another closes: no slot is acquired after the close.
pub fn close_and_acquire() {
    let queue = Arc::new(WaitingQueue::default());
    let backend = Backend::new(&queue, 1);
    let other = Arc::clone(&backend);
    let thread = thread::spawn(move || {
        if other.limit.try_acquire() {
            other.limit.release();
        }
    });
    backend.limit.close();
    if backend.limit.in_flight() == 0 {
        assert_eq!(backend.limit.in_flight(), 0, "a slot was acquired after the close");
    }
    join([thread]);
    backend.limit.open();
    backend.assert_idle();
}

/// Three workers, two backends with one slot each: no slot is acquired twice, none is lost.
pub fn the_limit_is_exact() {
    let queue = Arc::new(WaitingQueue::default());
    let [one, other] = [1, 1].map(|slots| Backend::new(&queue, slots));
    let threads = [[&one, &other], [&other, &one], [&one, &other]];
    join(threads.map(|accepted| worker(&queue, &accepted, 2, never_times_out)));
    one.assert_idle();
    other.assert_idle();
}

/// More workers than slots, with different demands: no worker waits without end.
pub fn every_waiter_is_served() {
    let queue = Arc::new(WaitingQueue::default());
    let [one, other] = [1, 2].map(|slots| Backend::new(&queue, slots));
    let accepted: [&[&Arc<Backend>]; 5] = [&[&one], &[&other], &[&one, &other], &[&other, &one], &[&other]];
    join(accepted.map(|accepted| worker(&queue, accepted, 2, never_times_out)));
    assert!(queue.is_empty());
    one.assert_idle();
    other.assert_idle();
}

/// Workers that may time out at any moment, also as they get a slot: no slot is lost, and the others are served.
pub fn no_slot_is_lost_to_a_timeout() {
    let queue = Arc::new(WaitingQueue::default());
    let [one, other] = [1, 1].map(|slots| Backend::new(&queue, slots));
    let threads = [
        worker(&queue, &[&one, &other], 2, may_time_out),
        worker(&queue, &[&one], 2, may_time_out),
        worker(&queue, &[&one], 2, never_times_out),
        worker(&queue, &[&other, &one], 1, never_times_out),
    ];
    join(threads);
    assert!(queue.is_empty());
    one.assert_idle();
    other.assert_idle();
}

/// Three waiters queue in a known order, and a fourth request tries later: all are served in that order.
pub fn first_come() {
    let queue = Arc::new(WaitingQueue::default());
    let backend = Backend::new(&queue, 1);
    let served = Arc::new(AtomicUsize::new(0));
    assert!(backend.limit.try_acquire());
    let mut threads = Vec::new();
    for number in 0..4 {
        let (queue, backend, served) = (Arc::clone(&queue), Arc::clone(&backend), Arc::clone(&served));
        let same_queue = Arc::clone(&queue);
        threads.push(thread::spawn(move || {
            let mut position = queue.position();
            if number < 3 || !backend.limit.try_acquire() {
                let outcome = wait(&queue, &mut position, &[&backend.limit], never_times_out());
                assert_eq!(outcome, WaitOutcome::Acquired(0));
            }
            assert_eq!(served.fetch_add(1, SeqCst), number, "out of order");
            backend.limit.release();
        }));
        if number < 3 {
            until(|| same_queue.len() == number + 1);
        }
    }
    backend.limit.release();
    join(threads);
    backend.assert_idle();
}

/// A backend is drained under load: once closed and empty, it stays empty until it is opened, and then the waiters are
/// served.
pub fn closed_is_closed() {
    let queue = Arc::new(WaitingQueue::default());
    let backend = Backend::new(&queue, 2);
    let threads = [(); 3].map(|()| worker(&queue, &[&backend], 2, never_times_out));
    backend.limit.close();
    until(|| backend.limit.in_flight() == 0);
    for _ in 0..3 {
        assert_eq!(
            (backend.inside.load(SeqCst), backend.limit.in_flight()),
            (0, 0),
            "a slot was acquired after the close"
        );
        thread::yield_now();
    }
    backend.limit.open();
    join(threads);
    backend.assert_idle();
}

/// A limit is lowered under load: once it is met, it is never exceeded; when it is raised, the waiters are served.
pub fn a_lowered_limit_holds() {
    let queue = Arc::new(WaitingQueue::default());
    let backend = Backend::new(&queue, 2);
    let threads = [(); 3].map(|()| worker(&queue, &[&backend], 2, never_times_out));
    backend.limit.set_limit(0);
    until(|| backend.limit.in_flight() == 0);
    for _ in 0..3 {
        assert_eq!(backend.limit.in_flight(), 0, "a slot was acquired after the close");
        thread::yield_now();
    }
    backend.limit.set_limit(2);
    join(threads);
    backend.assert_idle();
}

/// All backends are replaced while workers read the list, try and wait: every worker reaches the new one. The old one
/// stays at its limit.
pub fn waiting_through_a_swap() {
    reach_the_new_backend::<2>(never_times_out);
}

/// Like [`waiting_through_a_swap`], with one worker and without spurious wake-ups.
pub fn one_through_a_swap() {
    reach_the_new_backend::<1>(never_wakes_spuriously);
}

fn reach_the_new_backend<const WORKERS: usize>(deadline: fn() -> Instant) {
    let queue = Arc::new(WaitingQueue::default());
    let [old, new] = [1, 1].map(|slots| Backend::new(&queue, slots));
    assert!(old.limit.try_acquire());
    let swap = Arc::new(Swap::new(Arc::clone(&old)));
    let workers = [(); WORKERS].map(|()| {
        let (queue, mut reader) = (Arc::clone(&queue), swap.reader());
        thread::spawn(move || {
            let mut position = queue.position();
            loop {
                let backend = Arc::clone(reader.get());
                let entered = backend.limit.try_acquire() || {
                    let outcome = wait(&queue, &mut position, &[&backend.limit], deadline());
                    assert_ne!(outcome, WaitOutcome::TimedOut);
                    outcome == WaitOutcome::Acquired(0)
                };
                if entered {
                    backend.serve();
                    return;
                }
            }
        })
    });
    swap.replace(Arc::clone(&new));
    old.limit.close();
    queue.announce_change();
    join(workers);
    assert_eq!((old.limit.in_flight(), queue.len()), (1, 0));
    new.assert_idle();
}

/// A worker gets a slot, fails there and waits again with the same list and position until a change is announced. A swap
/// that happens as the worker gets the slot must still be announced to it.
pub fn retry_through_a_swap() {
    let queue = Arc::new(WaitingQueue::default());
    let [old, new] = [1, 1].map(|slots| Backend::new(&queue, slots));
    assert!(old.limit.try_acquire());
    let swap = Arc::new(Swap::new(Arc::clone(&old)));
    let (own_queue, mut reader, replacement) = (Arc::clone(&queue), swap.reader(), Arc::clone(&new));
    let worker = thread::spawn(move || {
        let mut position = own_queue.position();
        let mut backend = Arc::clone(reader.get());
        loop {
            match wait(&own_queue, &mut position, &[&backend.limit], never_times_out()) {
                WaitOutcome::Acquired(_) => backend.serve(),
                WaitOutcome::Changed => backend = Arc::clone(reader.get()),
                WaitOutcome::TimedOut => panic!("timed out without a deadline"),
            }
            if Arc::ptr_eq(&*backend, &replacement) {
                return;
            }
            thread::yield_now();
        }
    });
    old.limit.release();
    swap.replace(Arc::clone(&new));
    old.limit.close();
    queue.announce_change();
    join([worker]);
    old.limit.open();
    old.assert_idle();
}
