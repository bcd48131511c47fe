//! One way to start a thread: it has a name, so that a debugger, `top -H` and a panic message can
//! tell it from the others, and a [`Crew`] holds its handle until it is joined.

use crate::error::StartError;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Builder, JoinHandle};
use std::time::{Duration, Instant};

/// How often a crew that is being joined is looked at. Only at the end of a program's life.
const GLANCE: Duration = Duration::from_millis(2);

/// Threads that belong together.
#[derive(Debug, Default)]
pub struct Crew(Mutex<Vec<JoinHandle<()>>>);

impl Crew {
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
        let thread = Builder::new().name(name.clone()).spawn(run);
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
