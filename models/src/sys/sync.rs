//! Stands in for turnwheel's `sync` module: locks and atomics that let the checker schedule the threads.
//!
//! Shuttle's condition variable has no timeout. The one here adds it, and needs a guard that refers to its mutex.

pub use shuttle::sync::{Arc, atomic};
use shuttle::{rand::Rng, rand::thread_rng, thread};
use std::ops::{Deref, DerefMut};
use std::sync::LockResult;
pub use std::sync::PoisonError;
use std::time::Duration;

/// A wait of at least this long never times out.
pub const NO_TIMEOUT_FROM: Duration = Duration::from_secs(100 * 24 * 3600);

/// A wait of at least this long does not wake spuriously either.
pub const NO_SPURIOUS_WAKE_FROM: Duration = Duration::from_secs(200 * 24 * 3600);

/// Shuttle's mutex, with a guard that refers to it.
#[derive(Debug, Default)]
pub struct Mutex<T>(shuttle::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub fn new(value: T) -> Self {
        Mutex(shuttle::sync::Mutex::new(value))
    }

    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        let held = self.0.lock().expect("no model panics and goes on");
        Ok(MutexGuard { held, mutex: self })
    }
}

pub struct MutexGuard<'a, T> {
    held: shuttle::sync::MutexGuard<'a, T>,
    mutex: &'a Mutex<T>,
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

    /// Wakes when notified, spuriously, or at its timeout, as the checker's random choice has it. The lock is released
    /// meanwhile, and the checker may run any other thread.
    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        time: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let MutexGuard { held, mutex } = guard;
        let sleeps = time >= NO_SPURIOUS_WAKE_FROM || thread_rng().gen_bool(0.5);
        let timed_out = !sleeps && time < NO_TIMEOUT_FROM && thread_rng().gen_bool(0.5);
        let held = if sleeps {
            self.0.wait(held)
        } else {
            drop(held);
            thread::yield_now();
            mutex.0.lock()
        };
        let held = held.expect("no model panics and goes on");
        Ok((MutexGuard { held, mutex }, WaitTimeoutResult(timed_out)))
    }
}
