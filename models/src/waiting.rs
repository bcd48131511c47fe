//! The limit of requests in flight, and the line of those who wait.

use crate::current::Swap;
use crate::limit::{Slots, Waited, WaitingRoom};
use crate::sys::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use crate::sys::sync::{Arc, PATIENCE, SOUND_SLEEP};
use shuttle::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

// What is left of a deadline decides what may happen to who waits for it. An hour more than it takes,
// because real time goes on.
const HOUR: Duration = Duration::from_secs(3600);

/// Is late at any moment, or never.
fn hurriedly() -> Instant {
    Instant::now() + HOUR
}

/// Is never late, and wakes now and then for no reason.
fn patiently() -> Instant {
    Instant::now() + PATIENCE + HOUR
}

/// Wakes when called, and not before.
fn soundly() -> Instant {
    Instant::now() + SOUND_SLEEP + HOUR
}

/// A backend, and how many are in it by another count than its own.
struct Backend {
    slots: Slots,
    most: usize,
    inside: AtomicUsize,
}

impl Backend {
    fn new(room: &Arc<WaitingRoom>, most: usize) -> Arc<Self> {
        let slots = Slots::new(Arc::clone(room), most);
        Arc::new(Backend { slots, most, inside: AtomicUsize::new(0) })
    }

    /// What a worker does with a slot that it has.
    fn serve(&self) {
        let inside = self.inside.fetch_add(1, SeqCst) + 1;
        assert!(inside <= self.most, "{inside} are in, {} may be", self.most);
        assert!(self.slots.taken() <= self.most);
        self.inside.fetch_sub(1, SeqCst);
        self.slots.leave();
    }

    /// Nobody is in, nobody is expected, and the slots are all there still.
    fn assert_idle(&self) {
        assert_eq!(self.slots.taken(), 0);
        assert!((0..self.most).all(|_| self.slots.try_enter()), "a slot is gone");
        assert!(!self.slots.try_enter(), "there is one more than there were");
    }
}

/// What a worker does: it tries each, and waits if all are full. False if it was too late.
fn enter_and_leave(room: &WaitingRoom, wanted: &[&Backend], deadline: Instant) -> bool {
    let mut place = room.place();
    if let Some(backend) = wanted.iter().find(|backend| backend.slots.try_enter()) {
        backend.serve();
        return true;
    }
    let slots: Vec<&Slots> = wanted.iter().map(|backend| &backend.slots).collect();
    match room.wait(&mut place, &slots, deadline) {
        Waited::Entered(index) => wanted[index].serve(),
        Waited::TooLate => return false,
        Waited::LookAgain => panic!("nobody has said so"),
    }
    true
}

/// A worker that does so `rounds` times.
fn worker(
    room: &Arc<WaitingRoom>,
    wanted: &[&Arc<Backend>],
    rounds: usize,
    deadline: fn() -> Instant,
) -> JoinHandle<()> {
    let (room, wanted) = (Arc::clone(room), wanted.iter().map(|b| Arc::clone(b)).collect::<Vec<_>>());
    thread::spawn(move || {
        let wanted: Vec<&Backend> = wanted.iter().map(AsRef::as_ref).collect();
        for _ in 0..rounds {
            let deadline = deadline();
            let served = enter_and_leave(&room, &wanted, deadline);
            assert!(served || deadline < Instant::now() + PATIENCE, "late, and yet patient");
        }
    })
}

fn join(threads: impl IntoIterator<Item = JoinHandle<()>>) {
    threads.into_iter().for_each(|thread| thread.join().expect("a worker has panicked"));
}

/// Waits for something that others are about to do.
fn until(what: impl Fn() -> bool) {
    while !what() {
        thread::yield_now();
    }
}

/// Two threads and one slot: it is never taken twice.
pub fn two_try_to_enter() {
    let room = Arc::new(WaitingRoom::default());
    let backend = Backend::new(&room, 1);
    let other = Arc::clone(&backend);
    let thread = thread::spawn(move || {
        if other.slots.try_enter() {
            other.serve();
        }
    });
    if backend.slots.try_enter() {
        backend.serve();
    }
    join([thread]);
    backend.assert_idle();
}

/// One leaves while the other sits down to wait: a wake-up that is lost leaves it there, which is a deadlock.
pub fn one_leaves_one_waits() {
    let room = Arc::new(WaitingRoom::default());
    let backend = Backend::new(&room, 1);
    assert!(backend.slots.try_enter());
    let (waiting, other) = (Arc::clone(&room), Arc::clone(&backend));
    let thread = thread::spawn(move || {
        let waited = waiting.wait(&mut waiting.place(), &[&other.slots], soundly());
        assert_eq!(waited, Waited::Entered(0));
    });
    backend.slots.leave();
    join([thread]);
    assert_eq!(backend.slots.taken(), 1);
    assert!(room.is_empty());
}

/// The same with a third who comes by, and takes the slot in between if it can. All 16,274,601 schedules
/// held too; they take three minutes.
pub fn one_comes_by() {
    let room = Arc::new(WaitingRoom::default());
    let backend = Backend::new(&room, 1);
    assert!(backend.slots.try_enter());
    let (waiting, other) = (Arc::clone(&room), Arc::clone(&backend));
    let waits = thread::spawn(move || {
        let waited = waiting.wait(&mut waiting.place(), &[&other.slots], soundly());
        assert_eq!(waited, Waited::Entered(0));
    });
    let other = Arc::clone(&backend);
    let comes_by = thread::spawn(move || {
        if other.slots.try_enter() {
            other.slots.leave();
        }
    });
    backend.slots.leave();
    join([waits, comes_by]);
    assert_eq!(backend.slots.taken(), 1);
}

/// One enters while the other closes: who is not in when it is closed does not get in.
pub fn close_and_enter() {
    let room = Arc::new(WaitingRoom::default());
    let backend = Backend::new(&room, 1);
    let other = Arc::clone(&backend);
    let thread = thread::spawn(move || {
        if other.slots.try_enter() {
            other.slots.leave();
        }
    });
    backend.slots.close();
    if backend.slots.taken() == 0 {
        assert_eq!(backend.slots.taken(), 0, "somebody has slipped in");
    }
    join([thread]);
    backend.slots.open();
    backend.assert_idle();
}

/// Three workers, two backends with a slot each: no slot is ever taken twice, none is lost.
pub fn the_limit_is_exact() {
    let room = Arc::new(WaitingRoom::default());
    let [one, other] = [1, 1].map(|most| Backend::new(&room, most));
    let threads = [[&one, &other], [&other, &one], [&one, &other]];
    join(threads.map(|wanted| worker(&room, &wanted, 2, patiently)));
    one.assert_idle();
    other.assert_idle();
}

/// More workers than slots, and not all want the same: nobody waits for ever.
pub fn everybody_is_served() {
    let room = Arc::new(WaitingRoom::default());
    let [one, other] = [1, 2].map(|most| Backend::new(&room, most));
    let wanted: [&[&Arc<Backend>]; 5] = [&[&one], &[&other], &[&one, &other], &[&other, &one], &[&other]];
    join(wanted.map(|wanted| worker(&room, wanted, 2, patiently)));
    assert!(room.is_empty());
    one.assert_idle();
    other.assert_idle();
}

/// Workers that may be late at any moment, also at that in which they are let in: no slot goes with them,
/// and whoever is patient is served.
pub fn nothing_leaks() {
    let room = Arc::new(WaitingRoom::default());
    let [one, other] = [1, 1].map(|most| Backend::new(&room, most));
    let threads = [
        worker(&room, &[&one, &other], 2, hurriedly),
        worker(&room, &[&one], 2, hurriedly),
        worker(&room, &[&one], 2, patiently),
        worker(&room, &[&other, &one], 1, patiently),
    ];
    join(threads);
    assert!(room.is_empty());
    one.assert_idle();
    other.assert_idle();
}

/// Three wait in a known order, and one comes later and tries its luck: they are served in that order.
pub fn first_come() {
    let room = Arc::new(WaitingRoom::default());
    let backend = Backend::new(&room, 1);
    let served = Arc::new(AtomicUsize::new(0));
    assert!(backend.slots.try_enter());
    let mut threads = Vec::new();
    for who in 0..4 {
        let (room, backend, served) = (Arc::clone(&room), Arc::clone(&backend), Arc::clone(&served));
        let waiting = Arc::clone(&room);
        threads.push(thread::spawn(move || {
            let mut place = room.place();
            if who < 3 || !backend.slots.try_enter() {
                let waited = room.wait(&mut place, &[&backend.slots], patiently());
                assert_eq!(waited, Waited::Entered(0));
            }
            assert_eq!(served.fetch_add(1, SeqCst), who, "out of turn");
            backend.slots.leave();
        }));
        if who < 3 {
            until(|| waiting.len() == who + 1);
        }
    }
    backend.slots.leave();
    join(threads);
    backend.assert_idle();
}

/// A backend is drained while workers come and go: once it is closed and empty it stays so, until it is
/// opened, and then those who wait are served.
pub fn closed_is_closed() {
    let room = Arc::new(WaitingRoom::default());
    let backend = Backend::new(&room, 2);
    let threads = [(); 3].map(|()| worker(&room, &[&backend], 2, patiently));
    backend.slots.close();
    until(|| backend.slots.taken() == 0);
    for _ in 0..3 {
        assert_eq!((backend.inside.load(SeqCst), backend.slots.taken()), (0, 0), "somebody has slipped in");
        thread::yield_now();
    }
    backend.slots.open();
    join(threads);
    backend.assert_idle();
}

/// A limit is lowered while workers come and go: once no more are in than it allows, no more ever are;
/// and when it is raised, those who wait are served.
pub fn a_lowered_limit_holds() {
    let room = Arc::new(WaitingRoom::default());
    let backend = Backend::new(&room, 2);
    let threads = [(); 3].map(|()| worker(&room, &[&backend], 2, patiently));
    backend.slots.set_most(0);
    until(|| backend.slots.taken() == 0);
    for _ in 0..3 {
        assert_eq!(backend.slots.taken(), 0, "somebody has slipped in");
        thread::yield_now();
    }
    backend.slots.set_most(2);
    join(threads);
    backend.assert_idle();
}

/// All backends are replaced while workers look at them, try them and wait for them: every worker comes
/// to the new one. The old one is full, and stays so.
pub fn through_a_swap() {
    come_through_a_swap::<2>(patiently);
}

/// The same with one worker, who never wakes for no reason.
pub fn one_through_a_swap() {
    come_through_a_swap::<1>(soundly);
}

fn come_through_a_swap<const WORKERS: usize>(deadline: fn() -> Instant) {
    let room = Arc::new(WaitingRoom::default());
    let [old, new] = [1, 1].map(|most| Backend::new(&room, most));
    assert!(old.slots.try_enter());
    let current = Arc::new(Swap::new(Arc::clone(&old)));
    let workers = [(); WORKERS].map(|()| {
        let (room, mut view) = (Arc::clone(&room), current.reader());
        thread::spawn(move || {
            let mut place = room.place();
            loop {
                let backend = Arc::clone(view.get());
                let entered = backend.slots.try_enter() || {
                    let waited = room.wait(&mut place, &[&backend.slots], deadline());
                    assert_ne!(waited, Waited::TooLate);
                    waited == Waited::Entered(0)
                };
                if entered {
                    backend.serve();
                    return;
                }
            }
        })
    });
    current.replace(Arc::clone(&new));
    old.slots.close();
    room.look_again();
    join(workers);
    assert_eq!((old.slots.taken(), room.len()), (1, 0));
    new.assert_idle();
}

/// A worker is let in, fails there, and tries again with the same list and the same place, as it does until
/// it is told to look again. A swap that comes just as it is let in must still be told.
pub fn retry_through_a_swap() {
    let room = Arc::new(WaitingRoom::default());
    let [old, new] = [1, 1].map(|most| Backend::new(&room, most));
    assert!(old.slots.try_enter());
    let current = Arc::new(Swap::new(Arc::clone(&old)));
    let (line, mut view, replacement) = (Arc::clone(&room), current.reader(), Arc::clone(&new));
    let worker = thread::spawn(move || {
        let mut place = line.place();
        let mut backend = Arc::clone(view.get());
        loop {
            match line.wait(&mut place, &[&backend.slots], patiently()) {
                Waited::Entered(_) => backend.serve(),
                Waited::LookAgain => backend = Arc::clone(view.get()),
                Waited::TooLate => panic!("late, and yet patient"),
            }
            if Arc::ptr_eq(&*backend, &replacement) {
                return;
            }
            thread::yield_now();
        }
    });
    old.slots.leave();
    current.replace(Arc::clone(&new));
    old.slots.close();
    room.look_again();
    join([worker]);
    old.slots.open();
    old.assert_idle();
}
