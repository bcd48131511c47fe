//! The parking lot: a place for each connection.
//!
//! A connection is *parked* in its place while it waits for its client, or *away*: with the poller for
//! a moment, or with a worker. Readiness is announced once, when bytes come (edge-triggered), so that
//! neither leaving nor coming back costs a system call. Bytes that come for a connection which is away
//! leave a note in its place instead, and whoever brings it back finds it.

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

/// One place, and who is in it.
#[derive(Default)]
enum Place {
    #[default]
    Free,
    /// Waiting for its client, until then at most.
    Parked(Box<Connection>, Instant),
    /// With somebody.
    Away(Note),
}

/// What has come for a connection while it was away.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Note {
    Nothing,
    Bytes,
    /// Bytes, perhaps, and then the end.
    End,
}

/// A place to look at, and whether its connection has been announced to end.
pub type Recall = (usize, bool);

/// All places.
pub struct Lot {
    places: Box<[Mutex<Place>]>,
    free: Mutex<Vec<usize>>,
    /// So many places from the first one on have ever been taken.
    used: AtomicUsize,
    taken: AtomicUsize,
    recalled: Sender<Recall>,
    registry: Registry,
    waker: Waker,
}

impl Lot {
    /// A lot with so many places, and what the poller reads: places to look at without being told by
    /// their socket.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub fn new(places: usize, registry: &Registry) -> io::Result<(Lot, Receiver<Recall>)> {
        let (recalled, recalls) = unbounded();
        let lot = Lot {
            places: (0..places).map(|_| Mutex::default()).collect(),
            free: Mutex::new((0..places).rev().collect()),
            used: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
            recalled,
            registry: registry.try_clone()?,
            waker: Waker::new(registry, WAKE)?,
        };
        Ok((lot, recalls))
    }

    fn place(&self, number: usize) -> MutexGuard<'_, Place> {
        self.places[number].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A free place, if there is one. It is away until somebody parks there.
    pub fn claim(&self) -> Option<usize> {
        let number = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        *self.place(number) = Place::Away(Note::Nothing);
        self.used.fetch_max(number + 1, SeqCst);
        if self.taken.fetch_add(1, SeqCst) == 0 {
            self.wake(); // it may be asleep with nobody to watch the time for
        }
        Some(number)
    }

    /// This place's connection is gone.
    pub fn release(&self, number: usize) {
        *self.place(number) = Place::Free;
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(number);
        self.taken.fetch_sub(1, SeqCst);
    }

    /// Places that are taken.
    pub fn taken(&self) -> usize {
        self.taken.load(SeqCst)
    }

    /// From now on the poller hears of this place's socket.
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
        let (number, until) = (connection.place(), connection.until());
        let before = mem::replace(&mut *self.place(number), Place::Parked(connection, until));
        let ends = matches!(before, Place::Away(Note::End));
        if again || ends || matches!(before, Place::Away(Note::Bytes)) {
            let _ = self.recalled.send((number, ends)); // fails only when the poller has ended
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
        let mut place = self.place(number);
        let news = if ends { Note::End } else { Note::Bytes };
        let (now, fetched) = match mem::take(&mut *place) {
            Place::Parked(connection, _) => (Place::Away(Note::Nothing), Some(connection)),
            Place::Away(note) => (Place::Away(note.max(news)), None),
            Place::Free => (Place::Free, None),
        };
        *place = now;
        fetched
    }

    /// Takes out, one after the other, the parked connections whose time is over, or all of them.
    pub fn fetch_expired(&self, now: Option<Instant>) -> impl Iterator<Item = Box<Connection>> {
        (0..self.used.load(SeqCst)).filter_map(move |number| {
            let mut place = self.place(number);
            match &*place {
                Place::Parked(_, until) if now.is_none_or(|now| *until <= now) => {}
                _ => return None,
            }
            match mem::replace(&mut *place, Place::Away(Note::Nothing)) {
                Place::Parked(connection, _) => Some(connection),
                _ => None,
            }
        })
    }
}
