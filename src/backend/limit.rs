//! How many requests a backend may be serving at once, and who is next when all backends are full.
//!
//! [`Slots`] are a backend's: it lets a request in while there is room, and never one more, not even for
//! a moment. When every backend that would do is full, the worker takes a ticket and sits down in the
//! [`WaitingRoom`]. A slot that comes free goes to the lowest number that wants this backend; nobody who
//! comes later passes it.
//!
//! **No lock is taken while nobody waits.** To enter is one exchange of a word, to leave one subtraction
//! and a look at how many want in. With somebody waiting, all that matters is decided under the room's
//! lock, and each freed slot wakes the one thread that gets it.
//!
//! **No wake-up is lost.** A worker first says that it wants in and then tries once more; whoever leaves
//! first frees the slot and then looks whether anybody wants in. All four steps are `SeqCst`, so they have
//! one order that all threads agree on, and at least one of the two sees what the other did.
//!
//! `models/` checks all this against many thousand ways in which threads can take turns.

use crate::sys::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use crate::sys::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::collections::BTreeMap;
use std::time::Instant;

// How many are in, how many may be, and whether it is closed are one word: who enters has seen all three
// at one moment, and finds out if one of them has changed since.
const CLOSED: u64 = 1 << 63;
const TAKEN: u64 = u32::MAX as u64;
const MOST_SHIFT: u32 = 32;

/// The highest limit there is: 2³¹ − 1. A higher one, as good as none, becomes this.
const HIGHEST: usize = (u32::MAX >> 1) as usize;

fn taken(state: u64) -> usize {
    (state & TAKEN) as usize
}

fn most(state: u64) -> usize {
    ((state & !CLOSED) >> MOST_SHIFT) as usize
}

fn with_most(state: u64, most: usize) -> u64 {
    state & (CLOSED | TAKEN) | (most.min(HIGHEST) as u64) << MOST_SHIFT
}

/// The slots of one backend: the requests that it is serving, and how many that may be.
#[derive(Debug)]
pub struct Slots {
    room: Arc<WaitingRoom>,
    /// What tickets call it.
    id: u64,
    state: AtomicU64,
    /// How many tickets name it.
    wanted: AtomicUsize,
}

impl Slots {
    /// So many slots, all free. Whoever finds them taken waits in this room.
    pub fn new(room: Arc<WaitingRoom>, most: usize) -> Self {
        let id = room.lock().number();
        Slots { room, id, state: AtomicU64::new(with_most(0, most)), wanted: AtomicUsize::new(0) }
    }

    /// How many are taken now.
    pub fn taken(&self) -> usize {
        taken(self.state.load(SeqCst))
    }

    /// How many there are, whether it is closed or not.
    pub fn most(&self) -> usize {
        most(self.state.load(SeqCst))
    }

    /// Another limit. If more are in than it allows they may finish, and nobody enters until there is room.
    pub fn set_most(&self, most: usize) {
        let _ = self.state.fetch_update(SeqCst, SeqCst, |state| Some(with_most(state, most)));
        self.let_in_who_waits();
    }

    /// Lets nobody in any more. Once this has returned, the number of slots taken can only fall, until it
    /// is opened again; at 0 the backend is drained.
    ///
    /// Those who wait for it are not told: see [`WaitingRoom::look_again`].
    pub fn close(&self) {
        self.state.fetch_or(CLOSED, SeqCst);
    }

    /// Lets requests in again.
    pub fn open(&self) {
        self.state.fetch_and(!CLOSED, SeqCst);
        self.let_in_who_waits();
    }

    /// Does it let nobody in?
    pub fn is_closed(&self) -> bool {
        self.state.load(SeqCst) & CLOSED != 0
    }

    /// Takes a slot if one is free and nobody waits for it. Each is given back by [`Slots::leave`].
    ///
    /// False with a slot free means that somebody is just being let in. [`WaitingRoom::wait`] sorts it out,
    /// and does not wait if it need not.
    pub fn try_enter(&self) -> bool {
        self.try_enter_within(usize::MAX)
    }

    /// The same with a lower limit, for this once: a backend on trial lets one in. Leave such a backend out
    /// of what you wait for, where its own limit would hold.
    pub fn try_enter_within(&self, most: usize) -> bool {
        // Who waits was here before.
        self.wanted.load(SeqCst) == 0 && self.take(most)
    }

    /// Gives a slot back, and lets in who has waited longest for it. To be called once for each entry, by
    /// a guard's `Drop`. Does not panic.
    pub fn leave(&self) {
        self.state.fetch_sub(1, SeqCst); // There is one to give back, so the limit above it is not touched.
        self.let_in_who_waits();
    }

    fn take(&self, within: usize) -> bool {
        let one_more = |state| {
            let free = state & CLOSED == 0 && taken(state) < most(state).min(within);
            free.then_some(state + 1)
        };
        self.state.fetch_update(SeqCst, SeqCst, one_more).is_ok()
    }

    /// To be called after a slot may have come free, not before: who waits has looked for one already.
    fn let_in_who_waits(&self) {
        if self.wanted.load(SeqCst) > 0 {
            self.let_in(&mut self.room.lock());
        }
    }

    /// Lets in who wants in, by their numbers, while there is room.
    fn let_in(&self, line: &mut Line) {
        for ticket in line.tickets.values_mut().filter(|ticket| ticket.outcome.is_none()) {
            let Some(index) = ticket.wanted.iter().position(|id| *id == self.id) else { continue };
            if !self.take(usize::MAX) {
                break;
            }
            ticket.call(Waited::Entered(index));
        }
    }
}

/// Where workers wait, in line, while every backend that would do is full. One for all backends.
///
/// ```
/// use std::{sync::Arc, time::Instant};
/// use turnwheel::backend::limit::{Slots, Waited, WaitingRoom};
///
/// let room = Arc::new(WaitingRoom::default());
/// let backend = Slots::new(Arc::clone(&room), 1);
/// let mut place = room.place(); // First this, then a look at which backends there are.
/// assert!(backend.try_enter());
/// assert!(!backend.try_enter());
/// assert_eq!(room.wait(&mut place, &[&backend], Instant::now()), Waited::TooLate);
/// backend.leave();
/// assert_eq!(room.wait(&mut place, &[&backend], Instant::now()), Waited::Entered(0));
/// ```
#[derive(Debug, Default)]
pub struct WaitingRoom {
    /// How many are in line.
    waiting: AtomicUsize,
    /// How often everybody was told to look again. Written with the lock held.
    changes: AtomicU64,
    line: Mutex<Line>,
}

/// How waiting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// The worker has a slot of the one at this index among those it wanted, and has to give it back.
    Entered(usize),
    /// Something has changed: look which backends there are, and come back with the same place in line.
    LookAgain,
    /// The deadline has passed.
    TooLate,
}

/// A worker's place in line, kept while it goes to look again. One for each request: see
/// [`WaitingRoom::place`].
#[derive(Debug)]
pub struct Place {
    /// The number on its ticket, once it had to take one.
    number: Option<u64>,
    /// The changes that were known when it looked last.
    seen: u64,
}

#[derive(Debug, Default)]
struct Line {
    tickets: BTreeMap<u64, Ticket>,
    /// The number given out last.
    last: u64,
}

impl Line {
    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn is_waiting(&self, number: u64) -> bool {
        self.tickets.get(&number).is_some_and(|ticket| ticket.outcome.is_none())
    }
}

#[derive(Debug)]
struct Ticket {
    /// The backends that would do, by their ids.
    wanted: Box<[u64]>,
    /// What its worker will find when it wakes; none while it waits.
    outcome: Option<Waited>,
    /// Wakes its worker, and no other.
    bell: Arc<Condvar>,
}

impl Ticket {
    fn call(&mut self, outcome: Waited) {
        self.outcome = Some(outcome);
        self.bell.notify_one();
    }
}

impl WaitingRoom {
    /// A place for one request. To be had *before* a worker looks which backends there are: so a change
    /// that comes between that look and [`WaitingRoom::wait`] is not missed.
    pub fn place(&self) -> Place {
        Place { number: None, seen: self.changes.load(SeqCst) }
    }

    /// Waits until one of these lets the worker in, those that it would rather have first, but not beyond
    /// the deadline. Where there is room it does not wait, whatever the deadline; of none at all it waits
    /// for a change. All must be of this room, and so must the place.
    pub fn wait(&self, place: &mut Place, wanted: &[&Slots], deadline: Instant) -> Waited {
        let mut line = self.lock();
        let number = *place.number.get_or_insert_with(|| line.number());
        let changes = self.changes.load(SeqCst);
        if place.seen != changes {
            place.seen = changes;
            return Waited::LookAgain;
        }
        let bell = Arc::new(Condvar::new());
        let ids = wanted.iter().map(|slots| slots.id).collect();
        line.tickets.insert(number, Ticket { wanted: ids, outcome: None, bell: Arc::clone(&bell) });
        self.waiting.fetch_add(1, SeqCst);
        // Counted first, tried second: a slot that comes free in between is seen here or there.
        for slots in wanted {
            slots.wanted.fetch_add(1, SeqCst);
        }
        for slots in wanted {
            slots.let_in(&mut line);
        }

        let mut late = false;
        while !late && line.is_waiting(number) {
            let left = deadline.saturating_duration_since(Instant::now());
            let woken = bell.wait_timeout(line, left).unwrap_or_else(PoisonError::into_inner);
            (line, late) = (woken.0, woken.1.timed_out());
        }
        for slots in wanted {
            slots.wanted.fetch_sub(1, SeqCst);
        }
        self.waiting.fetch_sub(1, SeqCst);
        // What the ticket says comes first: who was let in while time ran out is in.
        let outcome =
            line.tickets.remove(&number).and_then(|ticket| ticket.outcome).unwrap_or(Waited::TooLate);
        // Who is let in has not been told to look. If it comes back for another try, it is to be told then.
        if outcome == Waited::LookAgain {
            place.seen = self.changes.load(SeqCst);
        }
        outcome
    }

    /// Sends everybody who waits to look again, because other backends are to be had than before. To be
    /// called after the change. They keep their numbers, but while they look, a slot that comes free goes
    /// to who is there.
    pub fn look_again(&self) {
        let mut line = self.lock();
        self.changes.fetch_add(1, SeqCst);
        for ticket in line.tickets.values_mut().filter(|ticket| ticket.outcome.is_none()) {
            ticket.call(Waited::LookAgain);
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.load(SeqCst)
    }

    /// Does nobody wait?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        // Nothing that is done with the lock held can panic half-way and leave the line in disorder.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    fn backends<const N: usize>(limits: [usize; N]) -> (Arc<WaitingRoom>, [Slots; N]) {
        let room = Arc::new(WaitingRoom::default());
        let slots = limits.map(|most| Slots::new(Arc::clone(&room), most));
        (room, slots)
    }

    /// Long enough for any machine.
    fn patiently() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn until(what: impl Fn() -> bool) {
        let deadline = patiently();
        while !what() {
            assert!(Instant::now() < deadline, "it did not come to pass");
            thread::yield_now();
        }
    }

    /// One waits for each of these, in this order of tickets, while `body` runs; whoever enters is heard
    /// of, and stays in.
    fn in_line(room: &WaitingRoom, wanted: &[&[&Slots]], body: impl FnOnce(&mpsc::Receiver<usize>)) {
        thread::scope(|scope| {
            let (entered, heard) = mpsc::channel();
            for (who, wanted) in wanted.iter().enumerate() {
                let entered = entered.clone();
                scope.spawn(move || {
                    let waited = room.wait(&mut room.place(), wanted, patiently());
                    assert!(matches!(waited, Waited::Entered(_)), "{waited:?}");
                    entered.send(who).unwrap();
                });
                until(|| room.len() == who + 1);
            }
            body(&heard);
        });
    }

    #[test]
    fn no_more_enter_than_there_are_slots_however_many_try() {
        let (room, [slots]) = backends([3]);
        let (inside, highest) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..5000 {
                        if !slots.try_enter() {
                            let waited = room.wait(&mut room.place(), &[&slots], patiently());
                            assert_eq!(waited, Waited::Entered(0));
                        }
                        highest.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
                        assert!(slots.taken() <= 3);
                        inside.fetch_sub(1, SeqCst);
                        slots.leave();
                    }
                });
            }
        });
        assert!(highest.load(SeqCst) <= 3);
        assert_eq!((slots.taken(), room.len(), slots.wanted.load(SeqCst)), (0, 0, 0));
    }

    #[test]
    fn who_came_first_is_served_first_and_nobody_jumps_the_line() {
        let (room, [slots]) = backends([1]);
        assert!(slots.try_enter());
        in_line(&room, &[&[&slots], &[&slots], &[&slots]], |heard| {
            for who in 0..3 {
                assert!(!slots.try_enter(), "somebody waits");
                slots.leave();
                assert_eq!(heard.recv(), Ok(who));
                assert_eq!(slots.taken(), 1);
            }
        });
        assert!(room.is_empty());
    }

    #[test]
    fn who_wants_another_backend_is_passed() {
        let (room, [one, other]) = backends([1, 1]);
        assert!(one.try_enter() && other.try_enter());
        in_line(&room, &[&[&one], &[&other], &[&one, &other]], |heard| {
            for (backend, who) in [(&other, 1), (&other, 2), (&one, 0)] {
                backend.leave();
                assert_eq!(heard.recv(), Ok(who));
            }
        });
    }

    #[test]
    fn a_backend_that_nobody_waits_for_is_entered_past_a_line_for_another() {
        let (room, [full, idle]) = backends([1, 2]);
        assert!(full.try_enter());
        in_line(&room, &[&[&full]], |heard| {
            assert!(idle.try_enter());
            assert_eq!(room.wait(&mut room.place(), &[&full, &idle], Instant::now()), Waited::Entered(1));
            full.leave();
            assert_eq!(heard.recv(), Ok(0));
        });
    }

    #[test]
    fn who_is_too_late_leaves_the_line() {
        let (room, [slots]) = backends([1]);
        assert!(slots.try_enter());
        let soon = Instant::now() + Duration::from_millis(20);
        assert_eq!(room.wait(&mut room.place(), &[&slots], soon), Waited::TooLate);
        assert!(Instant::now() >= soon && room.is_empty());
        slots.leave();
        assert_eq!(slots.taken(), 0, "nobody was let in for whom nobody waits");
        assert!(slots.try_enter());
    }

    #[test]
    fn who_looks_again_keeps_the_place_in_line() {
        let (room, [slots]) = backends([1]);
        let (room, slots) = (&*room, &slots);
        assert!(slots.try_enter());
        thread::scope(|scope| {
            let looking = scope.spawn(|| {
                let mut place = room.place();
                assert_eq!(room.wait(&mut place, &[slots], patiently()), Waited::LookAgain);
                place
            });
            until(|| room.len() == 1);
            room.look_again();
            let mut place = looking.join().unwrap();
            assert!(room.is_empty());
            in_line(room, &[&[slots]], |heard| {
                let again = scope.spawn(move || room.wait(&mut place, &[slots], patiently()));
                until(|| room.len() == 2);
                slots.leave();
                assert_eq!(again.join().unwrap(), Waited::Entered(0));
                assert!(heard.try_recv().is_err(), "who came later is not in");
                slots.leave();
                assert_eq!(heard.recv(), Ok(0));
            });
        });
    }

    #[test]
    fn a_change_before_the_wait_is_not_missed() {
        let (room, []) = backends([]);
        let mut place = room.place();
        room.look_again();
        assert_eq!(room.wait(&mut place, &[], patiently()), Waited::LookAgain);
        assert_eq!(room.wait(&mut place, &[], Instant::now()), Waited::TooLate);
    }

    #[test]
    fn nobody_enters_what_is_closed_until_it_is_opened() {
        let (room, [slots]) = backends([2]);
        assert!(slots.try_enter());
        slots.close();
        assert!(!slots.try_enter());
        assert_eq!(room.wait(&mut room.place(), &[&slots], Instant::now()), Waited::TooLate);
        in_line(&room, &[&[&slots]], |heard| {
            slots.leave();
            slots.set_most(5);
            assert_eq!((slots.taken(), slots.most(), heard.try_recv().is_err()), (0, 5, true));
            slots.open();
            assert_eq!(heard.recv(), Ok(0));
        });
        assert_eq!(slots.taken(), 1);
    }

    #[test]
    fn another_limit_holds_at_once_and_lets_in_who_waits() {
        let (room, [slots]) = backends([2]);
        assert!(slots.try_enter() && slots.try_enter());
        slots.set_most(1);
        slots.leave();
        assert!(!slots.try_enter(), "one is in, and one may be");
        in_line(&room, &[&[&slots], &[&slots]], |heard| {
            slots.set_most(usize::MAX);
            let mut both = [heard.recv().unwrap(), heard.recv().unwrap()];
            both.sort();
            assert_eq!((both, slots.taken(), slots.most()), ([0, 1], 3, HIGHEST));
        });
        slots.set_most(0);
        assert!(!slots.try_enter());
    }

    #[test]
    fn a_backend_on_trial_lets_one_in() {
        let (_room, [slots]) = backends([10]);
        assert!(slots.try_enter_within(1));
        assert!(!slots.try_enter_within(1));
        assert!(slots.try_enter());
    }
}
