//! A worker's end of the queue.

use crate::edge::exchange::Exchange;
use crate::queue::options::STUCK_AFTER;
use crate::queue::state::QueueState;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a reserve worker waits for its next request before it sleeps again.
const LINGER: Duration = Duration::from_millis(200);

/// One worker's end of the queue.
pub struct JobReceiver {
    waiting: Receiver<Exchange>,
    state: Arc<QueueState>,
    /// Wakes a reserve worker; a core worker has none.
    wake_ups: Option<Receiver<()>>,
    /// Whether the reserve worker is awake.
    active: bool,
    /// When the reserve worker took its last request.
    began: Option<Instant>,
}

impl JobReceiver {
    /// Returns the receiver of a core worker, or of a reserve worker where there are wake-ups.
    pub(super) fn new(
        waiting: Receiver<Exchange>,
        state: Arc<QueueState>,
        wake_ups: Option<Receiver<()>>,
    ) -> Self {
        JobReceiver { waiting, state, wake_ups, active: false, began: None }
    }

    /// Returns the next request, or `None` once the queue is closed and empty. A worker that has waited for
    /// `idle` runs `on_idle` once, and goes on waiting.
    pub fn take(&mut self, idle: Duration, on_idle: &dyn Fn()) -> Option<Exchange> {
        let Some(wake_ups) = self.wake_ups.clone() else {
            return self.wait(Some(idle)).or_else(|error| after(error, on_idle, || self.wait(None))).ok();
        };
        loop {
            // The last request was fast, so the core suffices without this worker.
            if self.began.take().is_some_and(|began| began.elapsed() < STUCK_AFTER) {
                self.active = false;
            }
            if !self.active {
                let forever = || wake_ups.recv().map_err(|_| RecvTimeoutError::Disconnected);
                wake_ups.recv_timeout(idle).or_else(|error| after(error, on_idle, forever)).ok()?;
                self.active = true;
            }
            match self.wait(Some(LINGER)) {
                Ok(exchange) => {
                    self.began = Some(Instant::now());
                    return Some(exchange);
                }
                Err(RecvTimeoutError::Timeout) => self.active = false,
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    fn wait(&self, timeout: Option<Duration>) -> Result<Exchange, RecvTimeoutError> {
        let taken = match self.state.pop(&self.waiting) {
            Some(exchange) => Ok(exchange),
            None => self.state.while_idle(|| self.receive(timeout)),
        };
        // The sender may have counted on this worker for a further request. It is busy now.
        self.state.wake_monitor_if_behind(self.waiting.len() + self.state.returned());
        taken
    }

    fn receive(&self, timeout: Option<Duration>) -> Result<Exchange, RecvTimeoutError> {
        let received = match timeout {
            None => self.waiting.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(timeout) => self.waiting.recv_timeout(timeout),
        };
        match received {
            Ok(exchange) => {
                self.state.count_taken();
                Ok(exchange)
            }
            // The channel is closed and empty. A request may have been given back in front of it.
            Err(RecvTimeoutError::Disconnected) => {
                self.state.pop(&self.waiting).ok_or(RecvTimeoutError::Disconnected)
            }
            Err(timeout) => Err(timeout),
        }
    }
}

/// Runs `on_idle` and then `wait_on` after a time-out; passes a closed channel on.
fn after<T>(
    error: RecvTimeoutError,
    on_idle: &dyn Fn(),
    wait_on: impl FnOnce() -> Result<T, RecvTimeoutError>,
) -> Result<T, RecvTimeoutError> {
    match error {
        RecvTimeoutError::Disconnected => Err(error),
        RecvTimeoutError::Timeout => {
            on_idle();
            wait_on()
        }
    }
}
