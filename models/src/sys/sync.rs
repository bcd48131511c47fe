//! Stands in for turnwheel's `sync` module: locks and atomics that let the checker decide who runs next.
//!
//! Shuttle's condition variable knows no time: nobody who waits at it is ever late. So there is one around
//! it that does, for which the lock has to be known that a guard is of.

pub use shuttle::sync::{Arc, atomic};
use shuttle::{rand::Rng, rand::thread_rng, thread};
use std::ops::{Deref, DerefMut};
use std::sync::LockResult;
pub use std::sync::PoisonError;
use std::time::Duration;

/// Who would wait for so long is never late.
pub const PATIENCE: Duration = Duration::from_secs(100 * 24 * 3600);

/// Who would wait for so long does not even wake for no reason: there is nothing left to chance.
pub const SOUND_SLEEP: Duration = Duration::from_secs(200 * 24 * 3600);

/// Shuttle's, in a coat.
#[derive(Debug, Default)]
pub struct Mutex<T>(shuttle::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub fn new(value: T) -> Self {
        Mutex(shuttle::sync::Mutex::new(value))
    }

    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        let held = self.0.lock().expect("no model panics and goes on");
        Ok(MutexGuard { held, of: self })
    }
}

pub struct MutexGuard<'a, T> {
    held: shuttle::sync::MutexGuard<'a, T>,
    of: &'a Mutex<T>,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.held
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.held
    }
}

#[derive(Debug)]
pub struct Condvar(shuttle::sync::Condvar);

pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    pub fn new() -> Self {
        Condvar(shuttle::sync::Condvar::new())
    }

    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wakes when called, or as well for no reason, or because it is late. When that is, is open: the lock
    /// is let go, and anything may happen until the checker gives it back.
    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        time: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let MutexGuard { held, of } = guard;
        let sleeps = time >= SOUND_SLEEP || thread_rng().gen_bool(0.5);
        let late = !sleeps && time < PATIENCE && thread_rng().gen_bool(0.5);
        let held = if sleeps {
            self.0.wait(held)
        } else {
            drop(held);
            thread::yield_now();
            of.0.lock()
        };
        let held = held.expect("no model panics and goes on");
        Ok((MutexGuard { held, of }, WaitTimeoutResult(late)))
    }
}
