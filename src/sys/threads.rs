//! One way to start a thread: it has a name, so that a debugger, `top -H` and a panic message can
//! tell it from the others, and a [`ThreadGroup`] holds its handle until it is joined.

use crate::error::StartError;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Builder, JoinHandle};
use std::time::{Duration, Instant};

/// How often a threads that is being joined is looked at. Only at the end of a program's life.
const GLANCE: Duration = Duration::from_millis(2);

/// Threads that belong together.
#[derive(Debug, Default)]
pub struct ThreadGroup(Mutex<Vec<JoinHandle<()>>>);

impl ThreadGroup {
    /// Starts a named thread.
    ///
    /// # Errors
    /// When the operating system gives none.
    pub fn start(
        &self,
        name: impl Into<String>,
        run: impl FnOnce() + Send + 'static,
    ) -> Result<(), StartError> {
        let name = name.into();
        let thread = Builder::new().name(name.clone()).spawn(|| {
            prefer_batches();
            run();
        });
        let thread = thread.map_err(|cause| StartError::Thread { name, cause })?;
        let mut threads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
        Ok(())
    }

    /// Waits for all of them, until the deadline at most. Returns how many are still at work: they
    /// go on by themselves, or end with the process.
    pub fn join(&self, deadline: Instant) -> usize {
        loop {
            let mut threads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            threads.retain(|thread| !thread.is_finished());
            if threads.is_empty() || Instant::now() >= deadline {
                return threads.len();
            }
            drop(threads);
            thread::sleep(GLANCE);
        }
    }
}

/// Asks the scheduler not to interrupt whoever is running when this thread wakes up.
///
/// A worker wakes with each reply that a backend sends. Taking the processor away from the backend, or
/// from the client, then means that they get through one request at a time; if they may go on, there
/// are several when it is this thread's turn. With 32 connections this spares a third of the context
/// switches and a fifth of the processor time. Where processors are idle it changes nothing.
fn prefer_batches() {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: all zeros is a value of this plain struct.
        let parameters: libc::sched_param = unsafe { std::mem::zeroed() };
        // SAFETY: it reads the struct, which lives as long as the call, and 0 means the calling thread.
        // Where it is not allowed, all stays as it is.
        unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters) };
    }
}
