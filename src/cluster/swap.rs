//! A value that is replaced as a whole while workers use it, without a lock on their way.
//!
//! [`Swap`] holds the value, behind a lock. A worker looks at it through a [`CachedReader`] of its own, which
//! keeps a copy of the pointer and the version that it belongs to: to find that nothing has changed
//! takes one load of a number that is hardly ever written. Only after a replacement does a reader take the
//! lock, once.
//!
//! What holds, and `models/` checks it:
//!
//! - Once [`Swap::replace`] has returned, every look begun after that finds the new value or a newer one.
//! - A reader never goes back to an older value.
//! - A value is dropped when the last who uses it lets go, and never with the lock held.

use crate::sys::sync::atomic::{AtomicU64, Ordering::SeqCst};
use crate::sys::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The value that holds now. See the [module](self).
#[derive(Debug)]
pub struct Swap<T> {
    /// Of `value`. Written with the lock held, so that whoever holds it finds the two together.
    version: AtomicU64,
    value: Mutex<Arc<T>>,
}

impl<T> Swap<T> {
    /// Begins with this value.
    pub fn new(value: T) -> Self {
        Swap { version: AtomicU64::new(0), value: Mutex::new(Arc::new(value)) }
    }

    /// Puts another value in its place. Who is using the old one keeps it until the next look.
    pub fn replace(&self, value: T) {
        let mut held = self.lock();
        let old = std::mem::replace(&mut *held, Arc::new(value));
        self.version.fetch_add(1, SeqCst);
        drop(held);
        drop(old); // Perhaps it is the last of it, and takes its time: nobody has to wait for that.
    }

    /// The value that holds now. Takes the lock: a worker has a [`CachedReader`].
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.lock())
    }

    /// Another pair of eyes, for a thread of its own.
    pub fn reader(self: &Arc<Self>) -> CachedReader<T> {
        let (value, version) = self.read();
        CachedReader { current: Arc::clone(self), value, version }
    }

    /// The value and its version. Both are read with the lock held: a version read without it could be
    /// newer than the value, and the reader would keep an old value for a new one.
    fn read(&self) -> (Arc<T>, u64) {
        let held = self.lock();
        (Arc::clone(&held), self.version.load(SeqCst))
    }

    fn lock(&self) -> MutexGuard<'_, Arc<T>> {
        // A pointer is replaced in one step: a thread that panicked has not left half of one.
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One thread's look at a [`Swap`] value. It keeps alive what it has seen last.
#[derive(Debug)]
pub struct CachedReader<T> {
    current: Arc<Swap<T>>,
    value: Arc<T>,
    version: u64,
}

impl<T> CachedReader<T> {
    /// The value that holds now. Takes a lock only if it has been replaced since the last look.
    pub fn get(&mut self) -> &Arc<T> {
        if self.current.version.load(SeqCst) != self.version {
            // The lock is let go before the old value is.
            (self.value, self.version) = self.current.read();
        }
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn every_look_finds_what_was_put_in_last() {
        let current = Arc::new(Swap::new(1));
        let mut reader = current.reader();
        assert_eq!((**reader.get(), *current.get()), (1, 1));
        current.replace(2);
        assert_eq!((**reader.get(), *current.get(), **current.reader().get()), (2, 2, 2));
    }

    #[test]
    fn an_old_value_goes_when_the_last_view_has_looked_again() {
        let current = Arc::new(Swap::new(1));
        let (mut one, mut other) = (current.reader(), current.reader());
        let old = Arc::downgrade(one.get());
        current.replace(2);
        one.get();
        assert!(old.upgrade().is_some(), "the other reader still has it");
        other.get();
        assert!(old.upgrade().is_none());
    }

    #[test]
    fn views_follow_and_never_go_back_while_the_value_is_replaced() {
        const LAST: u64 = 10_000;
        let current = Arc::new(Swap::new(0));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let (mut reader, mut seen) = (current.reader(), 0);
                    while seen < LAST {
                        let now = **reader.get();
                        assert!(now >= seen, "{now} after {seen}");
                        seen = now;
                    }
                });
            }
            (1..=LAST).for_each(|value| current.replace(value));
        });
    }
}
