//! The options of the queue.

use std::time::Duration;

/// If a request waits this long and no other one is taken meanwhile, all core workers are blocked. Backends on the
/// same network answer within this time, and a person does not notice it.
pub(super) const STUCK_AFTER: Duration = Duration::from_millis(1);

/// The capacity of the queue, and the longest wait in it.
#[derive(Clone, Copy, Debug)]
pub struct QueueOptions {
    /// Requests that may wait for a worker; a further one is refused with 503. Default: 1024.
    pub capacity: usize,
    /// How long a request may wait in all, for a worker and for a backend below its limit, before it is refused
    /// with 503. Default: 10 s.
    pub timeout: Duration,
}

impl Default for QueueOptions {
    fn default() -> Self {
        QueueOptions { capacity: 1024, timeout: Duration::from_secs(10) }
    }
}
