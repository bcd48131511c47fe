//! The parking slab: a slot for each connection.
//!
//! A connection is *parked* in its slot while it waits for its client, or *away*: with the poller for
//! a moment, or with a worker. Readiness is announced once, when bytes come (edge-triggered), so that
//! neither leaving nor coming back costs a system call. Bytes that come for a connection which is away
//! leave a note in its slot instead, and whoever brings it back finds it.

use super::connection::Connection;
use crossbeam_channel::{Receiver, Sender, unbounded};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token, Waker};
use std::io;
use std::mem;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What wakes the poller when it is not a connection.
pub const WAKE: Token = Token(usize::MAX);

/// One slot, and who is in it.
#[derive(Default)]
enum Slot {
    #[default]
    Free,
    /// Waiting for its client, until then at most.
    Parked(Box<Connection>, Instant),
    /// With somebody.
    Away(Readiness),
}

/// What has come for a connection while it was away.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Readiness {
    Nothing,
    Bytes,
    /// Bytes, perhaps, and then the end.
    End,
}

/// A slot to look at, and whether its connection has been announced to end.
pub type WakeUp = (usize, bool);

/// All slots.
pub struct ConnectionSlab {
    slots: Box<[Mutex<Slot>]>,
    free: Mutex<Vec<usize>>,
    /// So many slots from the first one on have ever been taken.
    used: AtomicUsize,
    taken: AtomicUsize,
    woken: Sender<WakeUp>,
    registry: Registry,
    waker: Waker,
}

impl ConnectionSlab {
    /// A slab with so many slots, and what the poller reads: slots to look at without being told by
    /// their socket.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub fn new(slots: usize, registry: &Registry) -> io::Result<(ConnectionSlab, Receiver<WakeUp>)> {
        let (woken, wake_ups) = unbounded();
        let slab = ConnectionSlab {
            slots: (0..slots).map(|_| Mutex::default()).collect(),
            free: Mutex::new((0..slots).rev().collect()),
            used: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
            woken,
            registry: registry.try_clone()?,
            waker: Waker::new(registry, WAKE)?,
        };
        Ok((slab, wake_ups))
    }

    fn slot(&self, number: usize) -> MutexGuard<'_, Slot> {
        self.slots[number].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A free slot, if there is one. It is away until somebody parks there.
    pub fn claim(&self) -> Option<usize> {
        let number = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        *self.slot(number) = Slot::Away(Readiness::Nothing);
        self.used.fetch_max(number + 1, SeqCst);
        if self.taken.fetch_add(1, SeqCst) == 0 {
            self.wake(); // it may be asleep with nobody to watch the time for
        }
        Some(number)
    }

    /// This slot's connection is gone.
    pub fn release(&self, number: usize) {
        *self.slot(number) = Slot::Free;
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(number);
        self.taken.fetch_sub(1, SeqCst);
    }

    /// Places that are taken.
    pub fn taken(&self) -> usize {
        self.taken.load(SeqCst)
    }

    /// From now on the poller hears of this slot's socket.
    ///
    /// # Errors
    /// When the system does not watch it.
    pub fn watch(&self, number: usize, socket: RawFd) -> io::Result<()> {
        self.registry.register(&mut SourceFd(&socket), Token(number), Interest::READABLE)
    }

    /// From now on it does not: whoever has the connection waits for its bytes, and they would wake the
    /// poller for nothing.
    pub fn ignore(&self, socket: RawFd) {
        let _ = self.registry.deregister(&mut SourceFd(&socket)); // or it is woken for nothing
    }

    /// Parks a connection. `again` is for one that has bytes to be looked at already.
    pub fn park(&self, connection: Box<Connection>, again: bool) {
        let (number, until) = (connection.slot(), connection.until());
        let before = mem::replace(&mut *self.slot(number), Slot::Parked(connection, until));
        let ends = matches!(before, Slot::Away(Readiness::End));
        if again || ends || matches!(before, Slot::Away(Readiness::Bytes)) {
            let _ = self.woken.send((number, ends)); // fails only when the poller has ended
            self.wake();
        }
    }

    /// Wakes the poller.
    pub fn wake(&self) {
        let _ = self.waker.wake(); // it fails when the counter is full, and then it is awake
    }

    /// Takes a parked connection out. One that is away is left a note: bytes have come for it, and
    /// perhaps its end.
    pub fn fetch(&self, number: usize, ends: bool) -> Option<Box<Connection>> {
        let mut slot = self.slot(number);
        let news = if ends { Readiness::End } else { Readiness::Bytes };
        let (now, fetched) = match mem::take(&mut *slot) {
            Slot::Parked(connection, _) => (Slot::Away(Readiness::Nothing), Some(connection)),
            Slot::Away(note) => (Slot::Away(note.max(news)), None),
            Slot::Free => (Slot::Free, None),
        };
        *slot = now;
        fetched
    }

    /// Takes out, one after the other, the parked connections whose time is over, or all of them.
    pub fn fetch_expired(&self, now: Option<Instant>) -> impl Iterator<Item = Box<Connection>> {
        (0..self.used.load(SeqCst)).filter_map(move |number| {
            let mut slot = self.slot(number);
            match &*slot {
                Slot::Parked(_, until) if now.is_none_or(|now| *until <= now) => {}
                _ => return None,
            }
            match mem::replace(&mut *slot, Slot::Away(Readiness::Nothing)) {
                Slot::Parked(connection, _) => Some(connection),
                _ => None,
            }
        })
    }
}
