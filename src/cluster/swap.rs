//! A value that is replaced as a whole while workers read it without a lock.
//!
//! [`Swap`] holds the value behind a lock. Each worker reads it through its own [`CachedReader`], which keeps the pointer
//! and its version: an unchanged value costs one load of a number that is rarely written. Only the first read after a
//! replacement takes the lock. `arc_swap::Cache` works the same way; this one is small enough to be model-checked.
//!
//! Guarantees, which `models/` checks:
//!
//! - A read that begins after [`Swap::replace`] has returned finds the new value or a newer one.
//! - A reader never returns to an older value.
//! - A value is dropped by its last user, and never with the lock held.

use crate::sys::sync::atomic::{AtomicU64, Ordering::SeqCst};
use crate::sys::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A replaceable value. See the [module](self).
#[derive(Debug)]
pub struct Swap<T> {
    /// The version of `value`. Written with the lock held, so that the two belong together under the lock.
    version: AtomicU64,
    value: Mutex<Arc<T>>,
}

impl<T> Swap<T> {
    /// Creates a swap with this value.
    pub fn new(value: T) -> Self {
        Swap { version: AtomicU64::new(0), value: Mutex::new(Arc::new(value)) }
    }

    /// Replaces the value. A reader keeps the old one until its next read.
    pub fn replace(&self, value: T) {
        let mut held = self.lock();
        let old = std::mem::replace(&mut *held, Arc::new(value));
        self.version.fetch_add(1, SeqCst);
        drop(held);
        drop(old); // after the lock: dropping the last reference may take long
    }

    /// Returns the current value. Takes the lock; a worker uses a [`CachedReader`] instead.
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.lock())
    }

    /// Returns a reader for one thread.
    pub fn reader(self: &Arc<Self>) -> CachedReader<T> {
        let (value, version) = self.read();
        CachedReader { swap: Arc::clone(self), value, version }
    }

    /// Returns the value and its version, both read under the lock: a version read without it could be newer than the
    /// value, and the reader would keep the old value.
    fn read(&self) -> (Arc<T>, u64) {
        let held = self.lock();
        (Arc::clone(&held), self.version.load(SeqCst))
    }

    fn lock(&self) -> MutexGuard<'_, Arc<T>> {
        // A pointer is replaced in one step, so a panic cannot leave it half-written.
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One thread's view of a [`Swap`]. It keeps the value that it read last alive.
#[derive(Debug)]
pub struct CachedReader<T> {
    swap: Arc<Swap<T>>,
    value: Arc<T>,
    version: u64,
}

impl<T> CachedReader<T> {
    /// Returns the current value. Takes the lock only if it was replaced since the last read.
    pub fn get(&mut self) -> &Arc<T> {
        if self.swap.version.load(SeqCst) != self.version {
            // The lock is released before the old value is dropped.
            (self.value, self.version) = self.swap.read();
        }
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn every_read_finds_the_last_value() {
        let swap = Arc::new(Swap::new(1));
        let mut reader = swap.reader();
        assert_eq!((**reader.get(), *swap.get()), (1, 1));
        swap.replace(2);
        assert_eq!((**reader.get(), *swap.get(), **swap.reader().get()), (2, 2, 2));
    }

    #[test]
    fn an_old_value_is_dropped_after_the_last_reader_has_moved_on() {
        let swap = Arc::new(Swap::new(1));
        let (mut one, mut other) = (swap.reader(), swap.reader());
        let old = Arc::downgrade(one.get());
        swap.replace(2);
        one.get();
        assert!(old.upgrade().is_some(), "the other reader still has it");
        other.get();
        assert!(old.upgrade().is_none());
    }

    #[test]
    fn readers_never_go_back_while_the_value_is_replaced() {
        const LAST: u64 = 10_000;
        let swap = Arc::new(Swap::new(0));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let (mut reader, mut seen) = (swap.reader(), 0);
                    while seen < LAST {
                        let now = **reader.get();
                        assert!(now >= seen, "{now} after {seen}");
                        seen = now;
                    }
                });
            }
            (1..=LAST).for_each(|value| swap.replace(value));
        });
    }
}
