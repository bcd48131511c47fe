//! The slab: a slot for each connection.
//!
//! An entry is *parked* in its slot while the connection waits for its client, or *taken out* while the
//! poller or a worker has it. The system reports readiness once, when bytes arrive (edge-triggered), so
//! that neither taking out nor parking costs a system call. Bytes that arrive for an entry that is taken
//! out set the slot's readiness flag, which is checked when the entry is parked again.

use crossbeam_channel::{Receiver, Sender, unbounded};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token, Waker};
use std::io;
use std::mem;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The token of the waker, which wakes the poller without a connection.
pub const WAKE: Token = Token(usize::MAX);

#[derive(Default)]
enum Slot<T> {
    #[default]
    Free,
    /// Waiting for the client, until the deadline at most.
    Parked(T, Instant),
    TakenOut(Readiness),
}

/// The events that have arrived for a connection while it was taken out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Readiness {
    Nothing,
    Bytes,
    /// The end of the stream, perhaps after some bytes.
    End,
}

/// A slot whose connection has bytes to read though the system will not report them again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WakeUp {
    /// The slot's number.
    pub slot: usize,
    /// Whether the end of the stream has been reported.
    pub ended: bool,
}

/// All slots, each with room for one `T`.
pub struct Slab<T> {
    slots: Box<[Mutex<Slot<T>>]>,
    free: Mutex<Vec<usize>>,
    /// All slots from this one on have never been claimed.
    never_claimed: AtomicUsize,
    claimed: AtomicUsize,
    wake_ups: Sender<WakeUp>,
    registry: Registry,
    waker: Waker,
}

impl<T> Slab<T> {
    /// Makes a slab of `slots` slots, and the receiver of its wake-ups.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub fn new(slots: usize, registry: &Registry) -> io::Result<(Self, Receiver<WakeUp>)> {
        let (wake_ups, receiver) = unbounded();
        let slab = Slab {
            slots: (0..slots).map(|_| Mutex::new(Slot::Free)).collect(),
            free: Mutex::new((0..slots).rev().collect()),
            never_claimed: AtomicUsize::new(0),
            claimed: AtomicUsize::new(0),
            wake_ups,
            registry: registry.try_clone()?,
            waker: Waker::new(registry, WAKE)?,
        };
        Ok((slab, receiver))
    }

    fn slot(&self, number: usize) -> MutexGuard<'_, Slot<T>> {
        self.slots[number].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims a free slot, or returns `None` if there is none. The slot's entry counts as taken out until
    /// it is parked.
    pub fn claim(&self) -> Option<usize> {
        let number = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        *self.slot(number) = Slot::TakenOut(Readiness::Nothing);
        self.never_claimed.fetch_max(number + 1, SeqCst);
        if self.claimed.fetch_add(1, SeqCst) == 0 {
            self.wake(); // with no connections the poller sleeps without a timeout, and now there is one
        }
        Some(number)
    }

    /// Frees a slot whose connection is closed.
    pub fn release(&self, number: usize) {
        *self.slot(number) = Slot::Free;
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(number);
        self.claimed.fetch_sub(1, SeqCst);
    }

    /// Returns how many slots are claimed.
    pub fn claimed(&self) -> usize {
        self.claimed.load(SeqCst)
    }

    /// Makes the poller report readiness of this slot's socket.
    ///
    /// # Errors
    /// When the system cannot watch it.
    pub fn watch(&self, number: usize, socket: RawFd) -> io::Result<()> {
        self.registry.register(&mut SourceFd(&socket), Token(number), Interest::READABLE)
    }

    /// Stops the reports of a socket. A worker calls this before it waits for the socket's bytes, because each event
    /// would wake the poller needlessly.
    pub fn unwatch(&self, socket: RawFd) {
        let _ = self.registry.deregister(&mut SourceFd(&socket)); // on failure the poller wakes needlessly
    }

    /// Parks an entry in its slot until `deadline`. If it `has_input` already, or if its readiness flag
    /// was set meanwhile, the poller gets a wake-up.
    pub fn park(&self, number: usize, entry: T, deadline: Instant, has_input: bool) {
        let before = mem::replace(&mut *self.slot(number), Slot::Parked(entry, deadline));
        let readiness = match before {
            Slot::TakenOut(readiness) => readiness,
            Slot::Free | Slot::Parked(..) => Readiness::Nothing,
        };
        if has_input || readiness != Readiness::Nothing {
            let wake_up = WakeUp { slot: number, ended: readiness == Readiness::End };
            let _ = self.wake_ups.send(wake_up); // fails only when the poller has ended
            self.wake();
        }
    }

    /// Wakes the poller.
    pub fn wake(&self) {
        let _ = self.waker.wake(); // fails when the waker's counter is full, and then the poller is awake
    }

    /// Takes out a parked entry for which bytes, or the end of the stream if `ended`, have arrived. If the
    /// entry is taken out already, sets its readiness flag and returns `None`.
    pub fn take_out(&self, number: usize, ended: bool) -> Option<T> {
        let mut slot = self.slot(number);
        let arrived = if ended { Readiness::End } else { Readiness::Bytes };
        let (now, entry) = match mem::take(&mut *slot) {
            Slot::Parked(entry, _) => (Slot::TakenOut(Readiness::Nothing), Some(entry)),
            Slot::TakenOut(readiness) => (Slot::TakenOut(readiness.max(arrived)), None),
            Slot::Free => (Slot::Free, None),
        };
        *slot = now;
        entry
    }

    /// Takes out, one after the other, the parked entries whose deadline has passed at `now`, or all of
    /// them for `None`.
    pub fn take_out_expired(&self, now: Option<Instant>) -> impl Iterator<Item = T> {
        (0..self.never_claimed.load(SeqCst)).filter_map(move |number| {
            let mut slot = self.slot(number);
            match &*slot {
                Slot::Parked(_, deadline) if now.is_none_or(|now| *deadline <= now) => {}
                _ => return None,
            }
            match mem::replace(&mut *slot, Slot::TakenOut(Readiness::Nothing)) {
                Slot::Parked(entry, _) => Some(entry),
                _ => None,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::Poll;
    use std::time::Duration;

    fn slab(slots: usize) -> (Slab<&'static str>, Receiver<WakeUp>, Poll) {
        let poll = Poll::new().unwrap();
        let (slab, wake_ups) = Slab::new(slots, poll.registry()).unwrap();
        (slab, wake_ups, poll)
    }

    #[test]
    fn hands_out_each_slot_once_until_it_is_released() {
        let (slab, _wake_ups, _poll) = slab(2);
        assert_eq!([slab.claim(), slab.claim(), slab.claim()], [Some(0), Some(1), None]);
        slab.release(1);
        assert_eq!((slab.claimed(), slab.claim()), (1, Some(1)));
    }

    #[test]
    fn takes_out_a_parked_entry_once() {
        let (slab, wake_ups, _poll) = slab(1);
        let number = slab.claim().unwrap();
        slab.park(number, "entry", Instant::now(), false);
        assert_eq!(slab.take_out(number, false), Some("entry"));
        assert_eq!(slab.take_out(number, false), None);
        assert!(wake_ups.is_empty());
    }

    #[test]
    fn wakes_the_poller_for_what_arrived_while_an_entry_was_taken_out() {
        let (slab, wake_ups, _poll) = slab(1);
        let number = slab.claim().unwrap();
        for (reports, ended) in [(&[false][..], false), (&[false, true], true), (&[true, false], true)] {
            for report in reports {
                assert_eq!(slab.take_out(number, *report), None);
            }
            slab.park(number, "entry", Instant::now(), false);
            assert_eq!(wake_ups.try_recv(), Ok(WakeUp { slot: number, ended }));
            assert_eq!(slab.take_out(number, false), Some("entry"));
        }
        slab.park(number, "entry", Instant::now(), true);
        assert_eq!(wake_ups.try_recv(), Ok(WakeUp { slot: number, ended: false }));
    }

    #[test]
    fn takes_out_entries_whose_deadline_has_passed() {
        let (slab, _wake_ups, _poll) = slab(3);
        let now = Instant::now();
        for (entry, deadline) in [("early", now), ("late", now + Duration::from_secs(1))] {
            slab.park(slab.claim().unwrap(), entry, deadline, false);
        }
        assert_eq!(slab.take_out_expired(Some(now)).collect::<Vec<_>>(), ["early"]);
        assert_eq!(slab.take_out_expired(None).collect::<Vec<_>>(), ["late"]);
    }
}
